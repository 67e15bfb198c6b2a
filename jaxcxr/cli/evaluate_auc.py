"""Scores probabilities: AUC with intervals, operating points, calibration, by view, sex and age.

Of a run, on the test radiographs of its prepared dataset:

    python launch/evaluate_auc.py --workdir runs/baseline --data_dir DIR

Of any system, from a CSV file (Image Index and a column per finding) and the release's metadata:

    python launch/evaluate_auc.py --predictions FILE.csv --release DIR --out DIR

Writes predictions.csv, labels.csv, auc.csv, subgroups.csv and roc.png under WORKDIR/evaluation or
--out; of a run also operating_points.csv and calibration.csv, both chosen on its validation split.
"""

# isort: split
import dataclasses
from functools import partial
from pathlib import Path

import pandas as pd
from absl import flags

from jaxcxr.cli import cluster
from jaxcxr.data.releases.nih import read_release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import finding_scores, tables
from jaxcxr.files import atomic_write, refuse_overwriting_inputs
from jaxcxr.reporting.figures import roc_figure
from jaxcxr.reporting.score_text import auc_text
from jaxcxr.training import distributed

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where launch/prepare.py wrote.")
_PREDICTIONS = flags.DEFINE_string("predictions", None, "CSV file of any system.")
_RELEASE = flags.DEFINE_string("release", None, "Folder of the release; its lists suffice.")
_OUT = flags.DEFINE_string("out", None, "Folder for the scores of --predictions.")
_SPLIT = flags.DEFINE_enum(
    "split", "all", ["all", "test"], "Score all of --predictions, or the official test list only."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "Radiographs at a time.", lower_bound=1)
_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 1000, "Draws per interval.", 2, 1_000_000)
_SEED = flags.DEFINE_integer("seed", 0, "Of the draws.", lower_bound=0)
cluster.define_flags()

flags.register_multi_flags_validator(
    ["workdir", "data_dir", "predictions", "release", "out"],
    lambda given: (
        {name for name, value in given.items() if value}
        in ({"workdir", "data_dir"}, {"predictions", "release", "out"})
    ),
    message="give --workdir and --data_dir to score a run, "
    "or --predictions, --release and --out to score a file",
)


def main() -> None:
    """Scores a run or a file."""
    if _WORKDIR.value and _DATA_DIR.value:
        score_run(Path(_WORKDIR.value), _DATA_DIR.value)
    elif _PREDICTIONS.value and _RELEASE.value and _OUT.value:
        score_file(_PREDICTIONS.value, _RELEASE.value, Path(_OUT.value))


def score_run(workdir: Path, data_dir: str) -> None:
    """Scores the network of a run; thresholds and temperatures come from its validation split."""
    from jaxcxr import data
    from jaxcxr.inference.predictor import Predictor, require_all_findings
    from jaxcxr.inference.prepared import predict_split
    from jaxcxr.inference.scored_epochs import record_epoch
    from jaxcxr.runs.workdir import read_variant, trained_on_other_data

    cluster.connect()
    predictor = Predictor.from_run(workdir)
    require_all_findings(predictor)
    prepared = data.load(data_dir, **dataclasses.asdict(read_variant(workdir)))
    if remark := trained_on_other_data(workdir, prepared.facts):
        print(f"note: {remark}")
    out = workdir / "evaluation"
    validation, test = (
        predict_split(predictor, split, _BATCH_SIZE.value)
        for split in (prepared.validation, prepared.test)
    )
    if not distributed.is_primary_process():
        return
    for name, (labels, predictions) in {"validation_": validation, "": test}.items():
        tables.write(labels, out / f"{name}labels.csv")
        tables.write(predictions, out / f"{name}predictions.csv")
    points = finding_scores.operating_points(*validation)
    rates = finding_scores.by_group(partial(finding_scores.rates_table, points=points), *test)
    tables.write(rates, out / "operating_points.csv")
    fitted = finding_scores.fit_calibration(*validation)
    tables.write(finding_scores.calibration_table(*test, fitted), out / "calibration.csv")
    write_scores(*test, out)
    record_epoch(workdir, "auc", predictor.epoch)


def score_file(path: str, release_folder: str, out: Path) -> None:
    """Scores the probabilities in a CSV file against the release's labels."""
    refuse_overwriting_inputs([out / "predictions.csv", out / "labels.csv"], [path])
    release = read_release(release_folder, require_images=False)
    for note in release.notes:
        print(f"note: {note}")
    predictions = tables.read_predictions(path, release.images["image_name"])
    official = tables.on_test_list(predictions, release.images)
    print(
        f"{path}: {len(predictions)} radiographs, {official.sum()} of them among the "
        f"{(release.images['official_split'] == 'test').sum()} of the official test list"
    )
    if _SPLIT.value == "test":
        predictions = predictions.loc[official]
    if predictions.empty:
        raise UserError(f"{path} has no radiograph of the official test list; leave out --split")
    labels = tables.label_table(release.images, predictions[tables.IMAGE])
    tables.write(labels, out / "labels.csv")
    tables.write(predictions, out / "predictions.csv")
    write_scores(labels, predictions, out)


def write_scores(labels: pd.DataFrame, predictions: pd.DataFrame, out: Path) -> None:
    """Writes and prints what can be said without a validation split."""
    score = partial(finding_scores.score_table, bootstraps=_BOOTSTRAPS.value, seed=_SEED.value)
    scores = finding_scores.by_group(score, labels, predictions)
    overall = scores.loc[scores["group"] == finding_scores.EVERYONE]
    tables.write(scores, out / "subgroups.csv")
    curves = finding_scores.roc_curves(labels, predictions)
    aucs = dict(zip(overall["finding"], overall["auc"], strict=True))
    with atomic_write(out / "roc.png") as aside:
        roc_figure(curves, {name: aucs[name] for name in curves}).savefig(aside)
    tables.write(overall.loc[:, finding_scores.AUC_COLUMNS], out / "auc.csv")  # last: all is there
    print(auc_text(overall, predictions))
    print(f"written to {out}")
