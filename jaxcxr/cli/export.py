"""Exports a trained model.

    jaxcxr export --model runs/baseline --format folder --out models/baseline

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, or a name
of the catalog. The format "folder" is a model folder: config.json (network, findings, image size,
source), model.safetensors, the model's tables where it has them (operating points, calibration, box
rule, scores) and README.md, a model card. It predicts the same as the model, to the last bit.
"""

# isort: split
import dataclasses
from pathlib import Path

from absl import flags

from jaxcxr.cli import models
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.export import FORMATS
from jaxcxr.inference.predictor import load_model

models.define_model_flags()
_FORMAT = flags.DEFINE_enum("format", "folder", [*FORMATS], "What to write.")
_OUT = flags.DEFINE_string("out", None, "The new folder.", required=True)
_LICENSE = flags.DEFINE_string(
    "license", None, "License of the weights, for the model card: apache-2.0. Default: the model's."
)
define_import_flag()


def main() -> None:
    """Exports the model that the flags name."""
    predictor = load_model(models.model_named())
    if _LICENSE.value:
        source = {**predictor.source, "license": _LICENSE.value}
        predictor = dataclasses.replace(predictor, source=source)
    FORMATS[_FORMAT.value](predictor, Path(_OUT.value))
    print(f"{predictor} written to {_OUT.value}")
