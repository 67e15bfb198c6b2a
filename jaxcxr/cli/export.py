"""Exports a trained model.

    jaxcxr export --model runs/baseline --format folder --out models/baseline
    jaxcxr export --model models/baseline --format onnx --out onnx/baseline

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, or a name
of the catalog. The format "folder" is a model folder: config.json (network, findings, image size,
source), model.safetensors, the model's tables where it has them (operating points, calibration, box
rule, scores) and README.md, a model card. It predicts the same as the model, to the last bit.

The other formats are for other runtimes: gray images (B, size, size, 1) uint8 in, "probabilities"
and "heatmaps" out. The written file is run by its own runtime on synthetic radiographs; --out
appears only if it agrees with JAX to 1e-4. model.json describes the model, parity.json has the
differences.
"""

# isort: split
from absl import flags

from jaxcxr.cli import models
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.export import FORMATS

models.define_model_flags()
_FORMAT = flags.DEFINE_enum("format", "folder", ["folder", *FORMATS], "What to write.")
_OUT = flags.DEFINE_string("out", None, "The new folder.", required=True)
models.define_license_flag()
define_import_flag()


def main() -> None:
    """Exports the model that the flags name."""
    from jaxcxr.export.exporting import export
    from jaxcxr.inference.predictor import load_model

    predictor = models.with_license(load_model(models.model_named()))
    if _FORMAT.value == "folder":
        predictor.save(_OUT.value)
    else:
        parity = export(predictor, _OUT.value, _FORMAT.value)
        print(
            f"{parity.runtime} against JAX on {parity.images} synthetic radiographs, largest "
            f"differences: {parity.probabilities:.1e} in probabilities, {parity.heatmaps:.1e} in "
            f"heat maps of up to {parity.heatmaps_maximum:.1e}"
        )
    print(f"{predictor} written to {_OUT.value}")
