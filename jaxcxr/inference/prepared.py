"""A trained network over the radiographs of a prepared dataset."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import jax
import numpy as np
import pandas as pd
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.boxes import BoxRule, heatmap_boxes, peak_point
from jaxcxr.findings import FINDINGS, counterparts
from jaxcxr.images.grid import PIXELS, Grid
from jaxcxr.images.square import Square, SquareRule
from jaxcxr.inference.heatmaps import PredictFn
from jaxcxr.training import distributed


class PreparedSplit(Protocol):
    """What is needed of a split; see `jaxcxr.data.pipeline`."""

    @property
    def num_images(self) -> int:
        """Number of radiographs."""
        ...

    def batches(
        self, batch_size: int, *, process_index: int = 0, process_count: int = 1
    ) -> Iterator[dict[str, np.ndarray]]:
        """Yields batches in order; the last one is padded, `mask` is False there."""
        ...

    def boxes(self) -> pd.DataFrame:
        """Returns the annotated boxes: image_name, finding, x, y, w, h (original pixels)."""
        ...


@dataclasses.dataclass(frozen=True)
class AnnotatedCases:
    """Annotated boxes, their radiographs, and the network's heat maps of them.

    Attributes:
        annotated: One row per annotated box: image_name, finding, x, y, w, h (pixels of the
            original image), its width and height, patient.
        image_names: (N,) of the radiographs that have annotated boxes.
        images: (N, S, S) uint8.
        png_sizes: (N, 2) int32, width and height of the original images in pixels.
        case_image: (M,) row of each annotated box's radiograph in `images`.
        heatmaps: (M, h, w) float32, the heat map of each annotated box's finding.
        probabilities: (M,) of that finding.
        grid: Where rows and columns of the heat maps lie, in pixels of `images`.
        square: How the original images became square.
    """

    annotated: pd.DataFrame
    image_names: np.ndarray
    images: np.ndarray
    png_sizes: np.ndarray
    case_image: np.ndarray
    heatmaps: np.ndarray
    probabilities: np.ndarray
    grid: Grid
    square: SquareRule

    def original_grid(self, case: int) -> tuple[Grid, Grid]:
        """Returns where a heat map's columns and rows lie, in pixels of the original image."""
        width, height = self.png_sizes[self.case_image[case]]
        size = self.images.shape[1]
        return Square.fit(width, height, size, self.square).in_original(self.grid, self.grid)

    def peaks(self) -> np.ndarray:
        """Returns (M, 2) where each heat map is hottest, x and y in pixels of the original."""
        sizes = self.png_sizes[self.case_image]
        return np.stack(
            [
                peak_point(heatmap, width, height, self.original_grid(case))
                for case, (heatmap, (width, height)) in enumerate(
                    zip(self.heatmaps, sizes, strict=True)
                )
            ]
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns what cases.npz holds for the report."""
        return {
            "image_names": self.image_names,
            "images": self.images,
            "png_size": self.png_sizes,
            "case_image": self.case_image,
            "case_finding": self.annotated["finding"].to_numpy(str),
            "heatmaps": self.heatmaps,
            "grid": np.array(self.grid),
            "square": np.array(self.square),
        }


def predict_split(
    predict: PredictFn, split: PreparedSplit, batch_size: int, findings: Sequence[str] = FINDINGS
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predicts every radiograph of a split; each of several processes predicts its rows.

    Args:
        predict: The network.
        split: The split.
        batch_size: Radiographs at a time.
        findings: The network's findings; those without a counterpart among the 14 are left out.

    Returns:
        Labels and predictions in the forms of labels.csv and predictions.csv, in the same rows;
        labels with the column Source where the radiographs are of several sources.
    """
    outputs = counterparts(findings)
    predicted = [f"predicted {finding}" for finding in outputs]
    processes = jax.process_count()
    batch_size = math.ceil(min(batch_size, split.num_images) / processes) * processes
    rows, places = [], []
    batches = _real_rows(split, batch_size, "predicting", jax.process_index(), processes)
    for index, (batch, real) in enumerate(batches):
        columns = ("image_name", "source", "patient", "age", "sex", "view")
        people = pd.DataFrame({name: batch[name][real] for name in columns if name in batch})
        labels = pd.DataFrame(batch["labels"][real], columns=list(FINDINGS))
        found = predict(batch["image"])[0][real][:, list(outputs.values())]
        probabilities = pd.DataFrame(found, columns=predicted)
        rows.append(people.join([labels, probabilities]))
        places.append(distributed.share_of_rows(index, batch_size)[real])
    whole = distributed.gather_rows(pd.concat(rows, ignore_index=True), np.concatenate(places))
    predictions = whole.loc[:, predicted].set_axis(list(outputs), axis=1)
    several = "source" in whole and len(set(whole["source"])) > 1
    labels = tables.label_table(whole if several else whole.drop(columns="source", errors="ignore"))
    predictions.insert(0, tables.IMAGE, labels[tables.IMAGE])
    return labels, predictions


def _real_rows(
    split: PreparedSplit, batch_size: int, task: str, process_index: int = 0, process_count: int = 1
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Yields batches with their mask under a progress bar."""
    with tqdm(total=split.num_images, desc=task, unit="image", disable=None) as progress:
        shared = {"process_index": process_index, "process_count": process_count}
        for batch in split.batches(batch_size, **shared):
            yield batch, batch["mask"]
            progress.update(int(batch["mask"].sum()))


def annotated_cases(
    predict: PredictFn,
    split: PreparedSplit,
    batch_size: int,
    square: SquareRule = "squash",
    findings: Sequence[str] = FINDINGS,
) -> AnnotatedCases:
    """Predicts the radiographs of a split that have annotated boxes.

    Args:
        predict: The network.
        split: The split.
        batch_size: Radiographs at a time.
        square: How its radiographs became square.
        findings: The network's findings; boxes of others are left out.

    Raises:
        UserError: The split has no annotated box of the network's findings.
    """
    batch_size = min(batch_size, split.num_images)
    boxes, outputs = split.boxes(), counterparts(findings)
    boxes = boxes.loc[boxes["finding"].isin(list(outputs))].reset_index(drop=True)
    if boxes.empty:
        raise UserError(
            "the test split has no annotated boxes of the network's findings: there is nothing to "
            "localize"
        )
    known = _radiographs_with(boxes, split, batch_size)
    images = known["image"]
    row = pd.Series(np.arange(len(images)), index=known["image_name"])
    case_image = row.loc[boxes["image_name"]].to_numpy()
    finding = np.array([outputs[name] for name in boxes["finding"]])
    probabilities = np.zeros(len(boxes))
    heatmaps: list[np.ndarray] = [np.zeros(0)] * len(boxes)
    grid = PIXELS
    starts = range(0, len(images), batch_size)
    for start in tqdm(starts, desc="heat maps", unit="batch", disable=None):
        batch, maps = predict(_padded(images[start : start + batch_size], batch_size))
        grid = maps.grid
        # Of all the maps of each radiograph, only those of annotated findings are kept.
        for case in np.flatnonzero((case_image >= start) & (case_image < start + batch_size)):
            place = case_image[case] - start
            probabilities[case] = batch[place, finding[case]]
            heatmaps[case] = maps.values[place, :, :, finding[case]].copy()
    width, height = known["png_size"][case_image].T
    return AnnotatedCases(
        annotated=boxes.assign(width=width, height=height, patient=known["patient"][case_image]),
        image_names=known["image_name"].astype(str),
        images=images[..., 0],
        png_sizes=known["png_size"],
        case_image=case_image,
        heatmaps=np.stack(heatmaps),
        probabilities=probabilities,
        grid=grid,
        square=square,
    )


def draw_boxes(cases: AnnotatedCases, rule: BoxRule, *, as_tiles: bool = False) -> pd.DataFrame:
    """Draws the boxes that each annotated finding's heat map gives in its radiograph.

    Args:
        cases: The cases.
        rule: How heat maps become boxes.
        as_tiles: Whether heat maps are enlarged as if their cells tiled the image, wherever they
            really lie.

    Returns:
        The table of `RegionBoxes.table`, in original pixels.
    """
    parts = []
    once = cases.annotated.reset_index(drop=True).drop_duplicates(["image_name", "finding"])
    for case in tqdm(once.index, desc="boxes", unit="heat map", disable=None):
        width, height = cases.png_sizes[cases.case_image[case]]
        name, finding = cases.annotated[["image_name", "finding"]].iloc[case]
        grid = None if as_tiles else cases.original_grid(case)
        found = heatmap_boxes(cases.heatmaps[case], width, height, grid, rule.of(finding))
        parts.append(found.table(name, finding, float(cases.probabilities[case]), width, height))
    return pd.concat(parts, ignore_index=True)


def _radiographs_with(
    boxes: pd.DataFrame, split: PreparedSplit, batch_size: int
) -> dict[str, np.ndarray]:
    """Returns image_name, image, png_size, patient of the radiographs that have boxes."""
    parts: dict[str, list[np.ndarray]] = {
        "image_name": [],
        "image": [],
        "png_size": [],
        "patient": [],
    }
    for batch, real in _real_rows(split, batch_size, "radiographs with boxes"):
        chosen = real & np.isin(batch["image_name"].astype(str), boxes["image_name"].to_numpy(str))
        for name, arrays in parts.items():
            arrays.append(batch[name][chosen])
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _padded(images: np.ndarray, batch_size: int) -> np.ndarray:
    return np.pad(images, [(0, batch_size - len(images)), (0, 0), (0, 0), (0, 0)])
