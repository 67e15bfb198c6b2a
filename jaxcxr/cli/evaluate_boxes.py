"""Scores boxes: how often they meet the annotated ones, at every threshold of IoU, IoBB and IoGT.

Of a trained model (a run, a model folder, hf:owner/name, a name of the catalog), on the test
radiographs with annotated boxes of a prepared dataset:

    jaxcxr evaluate_boxes --model runs/baseline --data_dir DIR

Of any system, from a CSV file (Image Index,Finding Label,x,y,w,h,score; corners, NIH's own list and
COCO's JSON are read, too) and the release's lists:

    jaxcxr evaluate_boxes --boxes FILE.csv --release DIR --out DIR

Boxes are in pixels of the release's PNG files. A file with columns width and height, as jaxcxr
predict writes it, gives the size of the images that its boxes are in; for others --box_image_size
does. Such boxes are scaled to the PNG files.

Writes boxes.csv, annotated_boxes.csv, localization.csv, localization_intervals.csv and, by the
published arithmetic with its faults (docs/explanations/published_localization.md),
localization_published.csv under MODEL/evaluation or --out; of a file with scores also froc.csv and
froc_curve.csv (sensitivity against false positives per image); of a model also pointing_game.csv,
cases.npz for the report, and

    localization_rules.csv  how well the boxes fit by the rule in use (the model's box_rule.csv, by
                            jaxcxr tune_boxes, or the flags) and by the paper's; drawn_by names
                            the heat maps, the scale and the cut
    localization_cuts.csv   the same at every cut of the heat maps
"""

from __future__ import annotations

# isort: split
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from absl import flags

from jaxcxr.cli import box_files, box_flags, scoring
from jaxcxr.data.releases.release import Release
from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.box_tuning import ALL_CUTS, boxes_digest
from jaxcxr.evaluation.boxes import BoxRule, distinct_boxes
from jaxcxr.evaluation.froc import froc
from jaxcxr.evaluation.localization import cut_table, overlap_table, pointing_game, score_boxes
from jaxcxr.evaluation.outcome import Outcome, localization_intervals, localization_table
from jaxcxr.evaluation.published_protocol import PUBLISHED_RULE, published_outcome
from jaxcxr.files import atomic_write, refuse_overwriting_inputs
from jaxcxr.reporting.score_text import froc_text, localization_text, rules_text

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Data
    from jaxcxr.inference.predictor import Predictor
    from jaxcxr.inference.prepared import AnnotatedCases

FLAGS = flags.FLAGS
scoring.define_flags("boxes")
flags.adopt_module_key_flags(box_flags)
flags.adopt_module_key_flags(box_files)


def main() -> None:
    """Scores a model or a file."""
    scoring.score("boxes", score_model, score_file)


def score_model(predictor: Predictor, prepared: Data, out: Path) -> None:
    """Scores the boxes and peaks of a network's heat maps."""
    from jaxcxr.inference.prepared import annotated_cases, draw_boxes
    from jaxcxr.inference.scored_epochs import record_epoch

    maps, chosen = box_flags.maps_and_rule(predictor)
    cases = annotated_cases(
        maps.predict_fn(predictor),
        prepared.test,
        FLAGS.batch_size,
        predictor.square,
        predictor.named_findings,
    )
    if boxes_digest(cases.annotated) == chosen.chosen_with:
        raise UserError(
            f"{predictor.folder}/box_rule.csv was chosen with the boxes to be scored, which gives "
            "scores that are too high; remove it, or run tune_boxes with other annotated "
            "radiographs"
        )
    predicted = distinct_boxes(draw_boxes(cases, chosen.rule))
    with atomic_write(out / "cases.npz") as aside:
        np.savez_compressed(aside, allow_pickle=False, **cases.arrays())
    pointing = pointing_game(cases.annotated, cases.peaks())
    table = localization_table(pointing).merge(intervals(pointing, cases.annotated))
    columns = ["finding", "accuracy", "ci_low", "ci_high", "boxes"]
    tables.write(table.loc[:, columns], out / "pointing_game.csv")
    published = draw_boxes(cases, PUBLISHED_RULE, as_tiles=True)
    write_scores(cases.annotated, predicted, out, published)
    write_rules(cases, chosen.rule, str(maps), out)
    record_epoch(out, "boxes", predictor.epoch)


def write_rules(cases: AnnotatedCases, in_use: BoxRule, maps: str, out: Path) -> None:
    """Writes how well the boxes of the rule in use, of the paper's and of every cut fit."""
    from jaxcxr.inference.prepared import draw_boxes

    rules = {"in use": in_use, "paper": BoxRule()}
    if in_use == BoxRule():
        del rules["in use"]
    fits = {}
    for name, rule in rules.items():
        fit = overlap_table(cases.annotated, draw_boxes(cases, rule))
        own_rules = [*(rule.of(finding) for finding in fit["finding"][:-1]), rule]
        drawn_by = [f"{maps}; {box_flags.rule_text(own)}" for own in own_rules]
        fits[name] = fit.assign(drawn_by=drawn_by)
    by_cut = {
        scale: cut_table(cases.annotated, draw_boxes(cases, BoxRule(scale, ALL_CUTS)), ALL_CUTS)
        for scale in ("range", in_use.scale)
    }
    by_rule = pd.concat(fits, names=["rule"]).reset_index(level=0)
    by_scale = pd.concat(by_cut, names=["scale"]).reset_index(level=0)
    tables.write(by_rule, out / "localization_rules.csv")
    tables.write(by_scale, out / "localization_cuts.csv")
    print(rules_text(by_rule))


def score_file(path: str, out: Path, release: Release | None) -> None:
    """Scores the boxes in a CSV file against the annotated boxes of a release."""
    assert release is not None, "the flags name one"
    refuse_overwriting_inputs([out / "boxes.csv", out / "annotated_boxes.csv"], [path])
    annotated = box_files.annotated_boxes(release)
    predicted = box_files.predicted_boxes(path, annotated, release)
    official = tables.on_test_list(predicted, release.images)
    print(f"{path}: {len(predicted)} boxes, {official.sum()} of them on the official test list")
    if FLAGS.split == "test":
        predicted = predicted.loc[official]
        annotated = annotated.loc[annotated["official_split"] == "test"]
    if annotated.empty:
        raise UserError(f"{release.root}: no annotated boxes to compare with")
    write_scores(annotated, predicted, out)


def write_scores(
    annotated: pd.DataFrame,
    predicted: pd.DataFrame,
    out: Path,
    drawn_as_published: pd.DataFrame | None = None,
) -> None:
    """Writes the boxes and their scores, and prints the scores.

    The published arithmetic scores boxes drawn as the authors drew them, if they are given.
    """
    tables.write(tables.box_table(predicted), out / "boxes.csv")
    tables.write(tables.box_table(annotated), out / "annotated_boxes.csv")
    outcome = score_boxes(annotated, predicted)
    table, ends = localization_table(outcome), intervals(outcome, annotated)
    tables.write(ends, out / "localization_intervals.csv")
    as_published = predicted if drawn_as_published is None else drawn_as_published
    published = localization_table(published_outcome(annotated, as_published))
    tables.write(published, out / "localization_published.csv")
    tables.write(table, out / "localization.csv")  # last: all is there
    print(localization_text(table, ends))
    write_froc(annotated, predicted, out)
    silent = set(annotated["image_name"]) - set(predicted["image_name"])
    if silent:
        print(f"{len(silent)} radiographs with annotated boxes have no predicted box: all missed")
    if outcome.unjudged:
        print(
            f"{outcome.unjudged} predicted boxes are of findings that have no annotated box in "
            "their radiograph: they count neither for nor against"
        )
    print(f"written to {out}")


def write_froc(annotated: pd.DataFrame, predicted: pd.DataFrame, out: Path) -> None:
    """Writes and prints the free-response ROC of a file's boxes, which are of every finding."""
    if not FLAGS.boxes:
        return
    if np.isnan(predicted["score"].to_numpy(np.float64)).any():
        print("no free-response ROC: the boxes have no scores")
        return
    result = froc(annotated, predicted, bootstraps=FLAGS.bootstraps, seed=FLAGS.seed)
    tables.write(result.curves, out / "froc_curve.csv")
    tables.write(result.table, out / "froc.csv")
    print("\nsensitivity (IoU > 0.3) at false positives per image:")
    print(froc_text(result.table), end="\n\n")


def intervals(outcome: Outcome, annotated: pd.DataFrame) -> pd.DataFrame:
    """Returns the intervals of all accuracies."""
    patients = annotated["patient"].to_numpy()
    return localization_intervals(outcome, patients, bootstraps=FLAGS.bootstraps, seed=FLAGS.seed)
