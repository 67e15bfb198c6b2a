"""The test radiographs of a scored model: which of them it gets right, and where."""

# pandas annotates what indexing gives as wide unions:
# pyright: reportArgumentType=false, reportReturnType=false, reportCallIssue=false
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from jaxcxr.data.releases.archives import find_images, list_files
from jaxcxr.data.releases.problems import Problems
from jaxcxr.errors import UserError
from jaxcxr.evaluation.localization import best_overlaps
from jaxcxr.evaluation.tables import AGE, BOX, IMAGE, PATIENT, PEOPLE, SEX, VIEW, read_table
from jaxcxr.findings import FINDINGS, counterparts
from jaxcxr.images.radiograph import Radiograph
from jaxcxr.images.search import SUFFIXES
from jaxcxr.images.square import Square, SquareRule
from jaxcxr.inference.prediction import Prepared, prepare
from jaxcxr.inference.predictor import Predictor

if TYPE_CHECKING:
    from jaxcxr.data.pipeline import Split

ALL = "All"
OUTCOMES = ("True positive", "False positive", "True negative", "False negative")
HIT_IOU = 0.3
"""A box is hit where a predicted one overlaps it by more, as in the paper's Table 2."""

SORTS = {
    "Probability, highest first": ("Probability", False),
    "Probability, lowest first": ("Probability", True),
    "IoU, highest first": ("IoU", False),
    "IoU, lowest first": ("IoU", True),
    "Age, youngest first": ("Age", True),
    "Age, oldest first": ("Age", False),
    "Name": ("Image", True),
}
"""Orders of the table: the column, and whether it ascends."""

_AUC_AGAIN = "run evaluate_auc again"
_BOXES_AGAIN = "run evaluate_boxes again"


class Filter(NamedTuple):
    """Which test radiographs are listed, and in which order; the fields of a link.

    Attributes:
        finding: Which finding the table is about.
        outcome: One of `OUTCOMES` at the operating point, or "All".
        box: "Hit" or "Miss" of an annotated box, or "All".
        view: "PA" or "AP", or "All".
        sex: "F" or "M", or "All".
        min_age: Youngest patients, in years.
        max_age: Oldest patients, in years.
        sort: One of `SORTS`.
    """

    finding: str
    outcome: str = ALL
    box: str = ALL
    view: str = ALL
    sex: str = ALL
    min_age: float = 0
    max_age: float = 120
    sort: str = next(iter(SORTS))


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredSplit:
    """What evaluate_auc and evaluate_boxes wrote about a model, and the radiographs.

    Attributes:
        predictor: The model.
        radiographs: In the order of `labels`, or their files by name.
        labels: labels.csv.
        predictions: predictions.csv.
        annotated: Annotated boxes: image_name, finding, x, y, w, h; empty if not scored.
        predicted: Predicted boxes, likewise.
    """

    predictor: Predictor
    radiographs: Split | Mapping[str, Path]
    labels: pd.DataFrame
    predictions: pd.DataFrame
    annotated: pd.DataFrame
    predicted: pd.DataFrame

    @classmethod
    def read(cls, predictor: Predictor, place: Split | Path) -> ScoredSplit:
        """Reads the scores beside a model.

        Args:
            predictor: The model.
            place: The prepared test radiographs, or the folder of a release.

        Raises:
            UserError: The model was not scored on these radiographs, or a file is damaged.
        """
        folder = predictor.folder and predictor.folder / "evaluation"
        if folder is None or not (folder / "predictions.csv").exists():
            raise UserError(
                f"{predictor.folder or predictor} has no predictions of test radiographs to "
                "browse; run evaluate_auc, and evaluate_boxes for boxes, first"
            )
        texts = [IMAGE, SEX, VIEW]
        labels = read_table(folder / "labels.csv", texts, [PATIENT, AGE, *FINDINGS], _AUC_AGAIN)
        predictions = read_table(folder / "predictions.csv", [IMAGE], None, _AUC_AGAIN)
        radiographs = _files(place, labels[IMAGE]) if isinstance(place, Path) else place
        count = len(labels) if isinstance(place, Path) else place.num_images
        if len(labels) != count or not labels[IMAGE].equals(predictions[IMAGE]):
            raise UserError(
                f"{folder}: labels.csv and predictions.csv are not about the "
                f"{count} test radiographs; {_AUC_AGAIN}"
            )
        annotated, predicted = (_read_boxes(folder / f"{name}boxes.csv") for name in _TABLES)
        return cls(predictor, radiographs, labels, predictions, annotated, predicted)

    def findings(self) -> list[str]:
        """Returns the findings that can be browsed."""
        return [finding for finding in FINDINGS if finding in self.predictions]

    def threshold(self, finding: str) -> float:
        """Returns the operating point of a finding; NaN where there is none."""
        index = counterparts(self.predictor.named_findings)[finding]
        return float(self.predictor.operating_points.thresholds[index])

    def table(self, chosen: Filter) -> pd.DataFrame:
        """Returns the radiographs that pass a filter.

        Returns:
            Image, Probability, Outcome ("" without operating point), IoU (NaN without annotated
            box) of the best predicted box, Box ("Hit", "Miss" or ""), Age, Sex, View.
        """
        probability = self.predictions[chosen.finding].to_numpy()
        truth = self.labels[chosen.finding].to_numpy() > 0
        threshold = self.threshold(chosen.finding)
        place = np.where(truth, 0, 2) + np.where((probability >= threshold) == truth, 0, 1)
        # positives: found, missed; negatives: left alone, alarmed
        names = np.array([OUTCOMES[0], OUTCOMES[3], OUTCOMES[2], OUTCOMES[1]])
        iou = self.labels[IMAGE].map(self._ious(chosen.finding))
        table = pd.DataFrame(
            {
                "Image": self.labels[IMAGE],
                "Probability": probability,
                "Outcome": "" if np.isnan(threshold) else names[place],
                "IoU": iou,
                "Box": np.where(iou.isna(), "", np.where(iou > HIT_IOU, "Hit", "Miss")),
                "Age": self.labels[AGE].astype(int),
                "Sex": self.labels[SEX],
                "View": self.labels[VIEW],
            }
        )
        wanted = {"Outcome": chosen.outcome, "Box": chosen.box}
        wanted |= {"View": chosen.view, "Sex": chosen.sex}
        kept = table["Age"].between(chosen.min_age, chosen.max_age)
        for column, value in wanted.items():
            kept &= (table[column] == value) | (value == ALL)
        column, ascending = SORTS[chosen.sort]
        return table[kept].sort_values(column, ascending=ascending, kind="stable")

    def _ious(self, finding: str) -> pd.Series:
        """Returns the IoU of each radiograph's best predicted box of a finding."""
        annotated = self.annotated[self.annotated["finding"] == finding]
        predicted = self.predicted[self.predicted["finding"] == finding]
        ious = best_overlaps(annotated, predicted)["IoU"]
        return ious.groupby(annotated["image_name"].to_numpy()).max()

    def prepared(self, name: str) -> Prepared:
        """Reads a radiograph.

        Raises:
            UserError: It is missing or damaged.
        """
        if isinstance(self.radiographs, Mapping):
            if name not in self.radiographs:
                raise UserError(f"the release's folders have no file of {name}")
            path, predictor = self.radiographs[name], self.predictor
            return prepare(name, path, predictor.image_size, predictor.square)
        rows = np.flatnonzero(self.labels[IMAGE] == name)
        record = self.radiographs.record(int(rows[0])) if rows.size else {}
        if record.get("image_name") != name:
            raise UserError(f"the dataset has no test radiograph {name}; {_AUC_AGAIN}")
        image, (width, height) = record["image"][..., 0], record["png_size"].tolist()
        rule: SquareRule = self.predictor.square
        square = Square.fit(width, height, len(image), rule)
        original = Image.fromarray(square.crop(image)).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        return Prepared(name, Radiograph(Path(name), "PNG", np.asarray(original)), image, square)

    def boxes_of(self, name: str) -> pd.DataFrame:
        """Returns the annotated boxes of a radiograph."""
        return self.annotated[self.annotated["image_name"] == name]


_TABLES = ("annotated_", "")


def _files(folder: Path, names: Iterable[str]) -> Mapping[str, Path]:
    """Finds radiographs in the folders of a release; one in an archive takes too long to read."""
    pictures = [path for path in list_files(folder) if path.suffix.lower() in SUFFIXES]
    found, *_ = find_images(pictures, names, Problems())
    if not found:
        raise UserError(
            f"{folder} has no file of a test radiograph; unpack its archives", argument="release"
        )
    return found


def _read_boxes(path: Path) -> pd.DataFrame:
    names = {IMAGE: PEOPLE[IMAGE], "Finding Label": "finding"}
    if not path.exists():
        return pd.DataFrame(columns=["image_name", "finding", *"xywh"])
    return read_table(path, BOX[:2], BOX[2:], _BOXES_AGAIN).rename(columns=names)
