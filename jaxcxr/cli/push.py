"""Uploads a trained model to the Hugging Face hub.

    jaxcxr push --model models/baseline hf:owner/name

--model names a run, a model folder, hf:owner/name[@revision] of the Hugging Face hub, or a name
of the catalog. A run is uploaded as the model folder that jaxcxr export writes; a model card that
was edited by hand is kept. Nothing else of the folder is uploaded: no labels, no predictions. The
repository is made where it does not exist. The token comes from hf auth login or HF_TOKEN.

Anyone with access loads it as --model=hf:owner/name, or cxr.load_model("hf:owner/name").
"""

# isort: split
from absl import flags

from jaxcxr.cli import models
from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.errors import UserError

models.define_model_flags()
models.define_license_flag()
_PRIVATE = flags.DEFINE_bool("private", False, "Only you and your organization may see it.")
_REVISION = flags.DEFINE_string("revision", None, "Branch to write; made if missing.")
define_import_flag()

POSITIONAL = "hf:owner/name"
"""What the words that are not flags mean."""


def main(arguments: list[str]) -> None:
    """Uploads the model that the flags name."""
    from jaxcxr.export.hub import push
    from jaxcxr.inference.predictor import load_model

    if len(arguments) != 1:
        raise UserError(f"{len(arguments)} repositories are named; expected one, hf:owner/name")
    predictor = models.with_license(load_model(models.model_named()))
    if not predictor.source.get("license"):
        print("note: the license is not known, and the model card says so; name one (--license)")
    target, revision = arguments[0], _REVISION.value
    print(f"written: {push(predictor, target, private=_PRIVATE.value, revision=revision)}")
    at = f"@{revision}" if revision else ""
    print(f"to predict with it: --model={target}{at}")
