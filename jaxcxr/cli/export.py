"""Exports a trained model.

    jaxcxr export --model runs/baseline --format folder --out models/baseline

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, or a name
of the catalog. The format "folder" is a model folder: config.json (network, findings, image size,
source), model.safetensors, the model's tables where it has them (operating points, calibration, box
rule, scores) and README.md, a model card. It predicts the same as the model, to the last bit.
"""

# isort: split
from pathlib import Path

from absl import flags

from jaxcxr.cli import models
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.export import FORMATS
from jaxcxr.inference.predictor import load_model

models.define_model_flags()
_FORMAT = flags.DEFINE_enum("format", "folder", [*FORMATS], "What to write.")
_OUT = flags.DEFINE_string("out", None, "The new folder.", required=True)
models.define_license_flag()
define_import_flag()


def main() -> None:
    """Exports the model that the flags name."""
    predictor = models.with_license(load_model(models.model_named()))
    FORMATS[_FORMAT.value](predictor, Path(_OUT.value))
    print(f"{predictor} written to {_OUT.value}")
