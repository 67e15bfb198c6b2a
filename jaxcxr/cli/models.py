"""Flags that name a trained model, and what the programs share that predict or score with one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from jaxcxr.data.variant import LARGEST, SMALLEST, Variant
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


def define_license_flag() -> None:
    """Defines --license."""
    flags.DEFINE_string(
        "license", None, "License of the weights, for the card: apache-2.0. Default: the model's."
    )


def with_license(predictor: Predictor) -> Predictor:
    """Returns a model under the license that the flag names."""
    if not flags.FLAGS.license:
        return predictor
    source = {**predictor.source, "license": flags.FLAGS.license}
    return dataclasses.replace(predictor, source=source)


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


def prepared_data(predictor: Predictor, data_dir: str) -> tuple[Predictor, Data]:
    """Opens the prepared dataset of a run, or one for a model folder.

    Prints which findings are scored where they are others than the 14.

    Returns:
        The model, which reads radiographs of the dataset's size, and the dataset.
    """
    from jaxcxr import data
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
        wanted = Variant(image_size=predictor.image_size, square=predictor.square)
        variant = _nearest_prepared(wanted, data_dir)
        predictor = dataclasses.replace(predictor, image_size=variant.image_size)
    else:
        variant = read_variant(predictor.folder)
    return predictor, data.load(data_dir, **dataclasses.asdict(variant))


def _nearest_prepared(wanted: Variant, data_dir: str) -> Variant:
    """Returns the dataset of another image size, and says so, where it is the only one."""
    names = (path.name.split("_")[0] for path in wanted.folder(data_dir).parent.parent.glob("*"))
    sizes = [int(name) for name in names if name.isdigit() and SMALLEST <= int(name) <= LARGEST]
    variants = {dataclasses.replace(wanted, image_size=size) for size in sizes}
    prepared = [variant for variant in variants if variant.folder(data_dir).is_dir()]
    if wanted in prepared or len(prepared) != 1:
        return wanted
    size = prepared[0].image_size
    print(
        f"note: the model takes radiographs of {wanted.image_size} pixels, the dataset has "
        f"{size}: it is scored with {size}, which may lower its scores"
    )
    return prepared[0]
