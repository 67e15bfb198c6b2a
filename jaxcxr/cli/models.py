"""Flags that name a trained model, and what the programs share that predict or score with one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS, counterparts

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Data
    from jaxcxr.inference.predictor import Predictor

flags.disclaim_key_flags()  # they are those of the program that defines them


def define_model_flags(required: bool = True) -> None:
    """Defines --model and, for runs, --workdir."""
    flags.DEFINE_string(
        "model",
        None,
        "Trained model: a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, "
        "or a name of the catalog.",
    )
    flags.DEFINE_string("workdir", None, "Folder of a run; the same as --model.")
    flags.mark_flags_as_mutual_exclusive(["model", "workdir"], required=required)


def model_named() -> str:
    """Returns the model that the flags name, or the catalog's default."""
    from jaxcxr.models.weights import catalog

    return str(flags.FLAGS.model or flags.FLAGS.workdir or catalog.default())


def own_folder(remedy: str, argument: str | None = None) -> Path:
    """Returns the folder of the model, to write in.

    Raises:
        UserError: The model was downloaded or is a file; the message ends with `remedy`.
    """
    from jaxcxr.models.weights.sources import is_downloaded

    if is_downloaded(model_named()):
        raise UserError(f"{model_named()} was downloaded: {remedy}", argument=argument)
    folder = Path(model_named()).expanduser()
    if folder.is_file():
        raise UserError(f"{folder} is a file: {remedy}", argument=argument)
    return folder


def prepared_data(predictor: Predictor, data_dir: str) -> Data:
    """Opens the prepared dataset of a run, or one of the image size of a model folder.

    Prints which findings are scored where they are others than the 14.
    """
    from jaxcxr import data
    from jaxcxr.data.variant import Variant
    from jaxcxr.models.weights.model_folder import is_model_folder
    from jaxcxr.runs.workdir import read_variant

    names = predictor.named_findings
    outputs = counterparts(names)
    unknown = [name for index, name in enumerate(names) if index not in outputs.values()]
    missing = [finding for finding in FINDINGS if finding not in outputs]
    if not outputs:
        raise UserError(
            f"none of the model's findings is among the {len(FINDINGS)} that are scored: "
            f"{', '.join(unknown)}"
        )
    if unknown:
        print(f"note: not scored, no counterpart among the 14 findings: {', '.join(unknown)}")
    if missing:
        print(f"note: not scored, no output of the model: {', '.join(missing)}")
    if predictor.folder is None or is_model_folder(predictor.folder):
        variant = Variant(image_size=predictor.image_size, square=predictor.square)
    else:
        variant = read_variant(predictor.folder)
    return data.load(data_dir, **dataclasses.asdict(variant))
