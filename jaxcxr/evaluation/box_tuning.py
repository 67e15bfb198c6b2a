"""Choose where heat maps are cut, from annotated boxes that no score is computed with.

Where maps are cut decides about localization as much as the network does. Choe et al. 2020,
"Evaluating weakly supervised object localization methods right": a cut chosen with the test boxes
scores better than any that a user could know of, so it is chosen with a few other boxes.
"""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pandas as pd

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import PAPER_CUT, BoxRule, Cut, Scale
from jaxcxr.evaluation.localization import best_overlaps
from jaxcxr.evaluation.tables import read_table, require_findings, write
from jaxcxr.findings import FINDINGS

CUTS: tuple[float, ...] = tuple(sorted({PAPER_CUT, *(step / 20 for step in range(1, 20))}))
"""The cuts that are tried: 0.05 to 0.95, and the paper's."""

ALL_CUTS: tuple[Cut, ...] = (*CUTS, "otsu")
"""These and Otsu's, which needs no choice."""

_AGAIN = "run tune_boxes again"


class ChosenRule(NamedTuple):
    """A rule that was chosen for a run.

    Attributes:
        rule: The rule, with a cut for every finding.
        heatmap: The heat maps that it was chosen for, as the program names them.
        chosen_with: `boxes_digest` of the annotated boxes that it was chosen with.
    """

    rule: BoxRule
    heatmap: str
    chosen_with: str


def tune_boxes(
    annotated: pd.DataFrame, predicted: Mapping[Scale, pd.DataFrame], *, min_boxes: int = 10
) -> pd.DataFrame:
    """Chooses scale and cuts with the greatest mean IoU.

    Every finding with enough boxes gets the cut that is best for it, the others the one that is
    best on average over the findings. Of equal cuts the middle one is taken. The scale, one for
    all, is the one whose cuts have the greatest mean IoU on average over the findings.

    Args:
        annotated: Annotated boxes (image_name, finding, x, y, w, h).
        predicted: Per scale the boxes that the heat maps give at each of `CUTS`, with a column cut.
        min_boxes: Boxes that a finding needs for a cut of its own.

    Returns:
        finding (all 14), scale, threshold (the cut), boxes, mean_iou (NaN without boxes).
    """
    finding = annotated["finding"].to_numpy(str)
    tables = []
    for scale, boxes in predicted.items():
        parts = [best_overlaps(annotated, boxes[boxes["cut"] == cut])["IoU"] for cut in CUTS]
        table = choose_cuts(finding, np.stack(parts, axis=1), CUTS, min_boxes=min_boxes)
        table.insert(1, "scale", scale)
        tables.append(table)
    return max(tables, key=lambda table: table["mean_iou"].mean())


def choose_cuts(
    finding: np.ndarray, ious: np.ndarray, cuts: Sequence[float], *, min_boxes: int = 10
) -> pd.DataFrame:
    """Chooses the cut of every finding on one scale; see `tune_boxes`.

    Args:
        finding: (M,) of each annotated box.
        ious: (M, K), its IoU with the predicted boxes at each cut.
        cuts: The K cuts, ascending.
        min_boxes: Boxes that a finding needs for a cut of its own.

    Returns:
        finding (all 14), threshold, boxes, mean_iou.
    """
    means = {name: ious[finding == name].mean(axis=0) for name in np.unique(finding)}
    common = _best(np.mean(list(means.values()), axis=0))
    rows = []
    for name in FINDINGS:
        count = int(np.sum(finding == name))
        best = _best(means[name]) if count >= max(min_boxes, 1) else common
        rows.append((name, cuts[best], count, means[name][best] if count else np.nan))
    return pd.DataFrame(rows, columns=["finding", "threshold", "boxes", "mean_iou"])


def _best(means: np.ndarray) -> int:
    """Returns the place of the greatest value, the middle one of equals."""
    greatest = np.flatnonzero(means >= means.max() - 1e-12)
    return int(greatest[(len(greatest) - 1) // 2])


def boxes_digest(annotated: pd.DataFrame) -> str:
    """Returns a short digest of annotated boxes, whatever their order."""
    columns = ["image_name", "finding", *"xywh"]
    rows = annotated.loc[:, columns].astype(dict.fromkeys("xywh", float)).sort_values(columns)
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()[:16]


def write_box_rule(table: pd.DataFrame, heatmap: str, chosen_with: str, path: Path) -> None:
    """Writes the table of `tune_boxes`; see `ChosenRule` for the other arguments."""
    write(table.assign(heatmap=heatmap, chosen_with=chosen_with), path)


def read_box_rule(path: Path) -> ChosenRule:
    """Reads what `write_box_rule` wrote.

    Raises:
        UserError: The file is damaged.
    """
    texts = ["finding", "scale", "heatmap", "chosen_with"]
    table = read_table(path, texts, ["threshold"], _AGAIN)
    require_findings(path, table, _AGAIN)
    cuts: dict[str, Cut] = dict(zip(table["finding"], table["threshold"], strict=True))
    try:
        rule = BoxRule(cast(Scale, table["scale"].iloc[0]), by_finding=cuts)
    except UserError as error:
        raise UserError(f"{path}: {error}; {_AGAIN}") from error
    return ChosenRule(rule, table["heatmap"].iloc[0], table["chosen_with"].iloc[0])
