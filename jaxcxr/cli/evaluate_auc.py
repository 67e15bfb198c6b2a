"""Scores probabilities: AUC with intervals, operating points, calibration, by view, sex and age.

Of a trained model (a run, a model folder, hf:owner/name, a name of the catalog), on the test
radiographs of a prepared dataset:

    jaxcxr evaluate_auc --model runs/baseline --data_dir DIR

Of any system, from a CSV file (Image Index and a column per finding) and the release's metadata:

    jaxcxr evaluate_auc --predictions FILE.csv --release DIR --out DIR

Against labels of one's own (Image Index and 0 or 1 for some findings, or NIH's Finding Labels), of
which --release gives patients, views, sexes and ages:

    jaxcxr evaluate_auc --predictions FILE.csv --labels FILE.csv --out DIR

Writes predictions.csv, labels.csv, auc.csv, subgroups.csv and roc.png under MODEL/evaluation or
--out; of a model also operating_points.csv and calibration.csv, both chosen on the validation
split. Findings of a model that are not among the 14 are left out, and said.
"""

from __future__ import annotations

# isort: split
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from absl import flags

from jaxcxr.cli import cluster, scoring
from jaxcxr.data.releases.release import Release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import finding_scores, tables
from jaxcxr.files import atomic_write, refuse_overwriting_inputs
from jaxcxr.reporting.score_text import auc_text
from jaxcxr.training import distributed

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Data
    from jaxcxr.inference.predictor import Predictor

FLAGS = flags.FLAGS
scoring.define_flags("predictions", instead_of_release="labels")
cluster.define_flags()


def main() -> None:
    """Scores a model or a file."""
    cluster.connect()
    scoring.score("predictions", score_model, score_file)


def score_model(predictor: Predictor, prepared: Data, out: Path) -> None:
    """Scores a model; thresholds and calibration come from the validation split."""
    from jaxcxr.inference.prepared import predict_split
    from jaxcxr.inference.scored_epochs import record_epoch

    validation, test = (
        predict_split(predictor, split, FLAGS.batch_size, predictor.named_findings)
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
    record_epoch(out, "auc", predictor.epoch)


def score_file(path: str, out: Path, release: Release | None) -> None:
    """Scores the probabilities in a CSV file against labels of the release, or of a file."""
    refuse_overwriting_inputs(
        [out / "predictions.csv", out / "labels.csv"], [path, *filter(None, [FLAGS.labels])]
    )
    labels = scoring.chosen_labels(FLAGS.labels, release)
    predictions, notes = tables.read_predictions(
        path, labels[tables.IMAGE], leave_out_unknown=bool(FLAGS.labels)
    )
    scoring.print_notes(notes)
    print(f"{path}: {len(predictions)} radiographs", end="")
    if release is not None:
        official = tables.on_test_list(predictions, release.images)
        of = (release.images["official_split"] == "test").sum()
        print(f", {official.sum()} of them among the {of} of the official test list", end="")
        if FLAGS.split == "test":
            predictions = predictions.loc[official]
    print()
    if predictions.empty:
        raise UserError(f"{path} has no radiograph of the official test list; leave out --split")
    if FLAGS.labels and (rest := len(labels) - len(predictions)):
        print(f"{FLAGS.labels}: {rest} of its radiographs are not scored")
    labels = labels.set_index(tables.IMAGE).loc[predictions[tables.IMAGE]].reset_index()
    tables.write(labels, out / "labels.csv")
    tables.write(predictions, out / "predictions.csv")
    write_scores(labels, predictions, out)


def write_scores(labels: pd.DataFrame, predictions: pd.DataFrame, out: Path) -> None:
    """Writes and prints what can be said without a validation split."""
    from jaxcxr.reporting.figures import roc_figure  # takes long to import

    score = partial(finding_scores.score_table, bootstraps=FLAGS.bootstraps, seed=FLAGS.seed)
    scores = finding_scores.by_group(score, labels, predictions)
    overall = scores.loc[scores["group"] == finding_scores.EVERYONE]
    tables.write(scores, out / "subgroups.csv")
    curves = finding_scores.roc_curves(labels, predictions)
    with atomic_write(out / "roc.png") as temporary:
        roc_figure(curves).savefig(temporary)
    tables.write(overall.loc[:, finding_scores.AUC_COLUMNS], out / "auc.csv")  # last: all is there
    print(auc_text(overall, predictions))
    for source, table in scores.loc[scores["group"] == tables.SOURCE].groupby("value"):
        print(f"\n{source}:\n{auc_text(table, predictions)}")
    print(f"written to {out}")
