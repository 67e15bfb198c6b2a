"""Turns a release (NIH ChestX-ray14 or a phantom) into a dataset that training reads at full speed.

jaxcxr prepare --release ~/nih --data_dir ~/tensorflow_datasets --image_size 256

Writes a TFDS folder, DATA_DIR/chest_xray14/256/1.0.0, which appears when it is complete; called
again, it reports that the dataset exists. Beside the records, skipped.csv lists what was left out,
and suspicious.csv what may be no upright frontal chest radiograph; the latter is not left out.
"""

# isort: split
from typing import Any, cast

from absl import flags

from jaxcxr.cli.own_modules import define_import_flag
from jaxcxr.data.releases.sources import read_release
from jaxcxr.data.splits import SPLIT_METHODS
from jaxcxr.data.variant import LARGEST, SMALLEST
from jaxcxr.images.square import SQUARE_RULES, SquareRule

_RELEASE = flags.DEFINE_multi_string(
    "release",
    None,
    "Folder of the release; may be repeated: the dataset then has all of them.",
    required=True,
)
_SOURCE = flags.DEFINE_string(
    "source", "auto", "Whose release it is, for example nih; auto recognizes it by its files."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of prepared datasets.", required=True)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size",
    256,
    "Height and width to store, in pixels.",
    lower_bound=SMALLEST,
    upper_bound=LARGEST,
)
_SQUARE = flags.DEFINE_enum(
    "square",
    "squash",
    SQUARE_RULES,
    "How radiographs become square: squash resizes each axis, as NIH did to its originals; pad "
    "keeps the aspect and adds black; crop keeps the middle of the longer side.",
)
_SPLIT = flags.DEFINE_enum(
    "split", "by_patient", SPLIT_METHODS, "How validation is taken from training."
)
_SPLIT_SEED = flags.DEFINE_integer("split_seed", 0, "Seed of the draw by patient.", lower_bound=0)
_ON_BAD_IMAGE = flags.DEFINE_enum(
    "on_bad_image", "error", ["error", "skip"], "What to do about damaged radiographs."
)
_ALLOW_MISSING = flags.DEFINE_bool(
    "allow_missing", False, "Leave out radiographs without a file or metadata."
)
_BOX_IMAGE_SIZE = flags.DEFINE_integer(
    "box_image_size",
    None,
    "Height and width of the pictures that the box list is about, in pixels; 0: the PNG files "
    "themselves. If not given: 1024, NIH's, or 0 in a phantom or where boxes reach beyond.",
    lower_bound=0,
)
_LABELS = flags.DEFINE_string(
    "labels", None, "Table of labels to read in place of the release's, in NIH's form."
)
_BEAM_RUNNER = flags.DEFINE_string(
    "beam_runner", None, "Runner by which Apache Beam prepares, for example FlinkRunner."
)
_BEAM_OPTIONS = flags.DEFINE_multi_string(
    "beam_options", [], "Option of the runner, as --direct_num_workers=4; may be repeated."
)
define_import_flag()


def main() -> None:
    """Prepares the dataset."""
    settings: dict[str, Any] = {"box_image_size": _BOX_IMAGE_SIZE.value, "labels": _LABELS.value}
    settings = {name: value for name, value in settings.items() if value is not None}
    releases = []
    for folder in _RELEASE.value:
        release = read_release(
            folder, source=_SOURCE.value, allow_missing=_ALLOW_MISSING.value, **settings
        )
        releases.append(release)
        for note in release.notes:
            print(f"note: {note}")
    from jaxcxr.data.preparation import OnBadImage, prepare  # loads TensorFlow: seconds

    done = prepare(
        releases,
        _DATA_DIR.value,
        image_size=_IMAGE_SIZE.value,
        split=_SPLIT.value,
        split_seed=_SPLIT_SEED.value,
        square=cast(SquareRule, _SQUARE.value),
        on_bad_image=cast(OnBadImage, _ON_BAD_IMAGE.value),
        beam_runner=_BEAM_RUNNER.value,
        beam_options=_BEAM_OPTIONS.value,
    )
    counts = ", ".join(f"{name} {count:,}" for name, count in done.images.items())
    print(f"{'already prepared' if done.reused else 'prepared'}: {counts} images in {done.folder}")
    if done.left_out:
        print(f"left out: {len(done.left_out):,} images, see {done.folder / 'skipped.csv'}")
    if done.suspicious:
        print(
            f"check: {len(done.suspicious):,} images may be no upright frontal chest radiographs, "
            f"see {done.folder / 'suspicious.csv'}"
        )
