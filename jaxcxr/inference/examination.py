"""Files of new radiographs through a network: which findings, and where."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import RegionChoice, heatmap_boxes
from jaxcxr.findings import FINDINGS, finding_index
from jaxcxr.images.radiograph import Radiograph, read_radiograph
from jaxcxr.images.square import make_square
from jaxcxr.inference.flip_averaging import PredictFn


@dataclasses.dataclass(frozen=True, eq=False)
class PredictionResult:
    """A radiograph and what the network says of it.

    Attributes:
        name: What the result files call it; see `unique_names`.
        radiograph: Its pixels.
        probabilities: (14,) float32.
        heatmaps: (h, w, 14) float32 over the radiograph, without what the network saw beside it.
    """

    name: str
    radiograph: Radiograph
    probabilities: np.ndarray
    heatmaps: np.ndarray

    def notable_findings(self, thresholds: np.ndarray) -> list[str]:
        """Returns the findings at or above their thresholds (14,), else the most probable one."""
        notable = np.flatnonzero(self.probabilities.astype(np.float64) >= thresholds)
        if not notable.size:
            notable = [np.argmax(self.probabilities)]
        return [FINDINGS[index] for index in notable]

    def boxes(
        self, findings: Sequence[str], *, threshold: float = 180, regions: RegionChoice = "largest"
    ) -> pd.DataFrame:
        """Draws boxes around the hot regions of some findings' heat maps.

        Args:
            findings: Whose heat maps.
            threshold: As `jaxcxr.evaluation.boxes.heatmap_boxes` cuts them, 0..255.
            regions: Which of the hot regions get a box.

        Returns:
            image_name, finding, x, y, w, h in the radiograph's own pixels, score (the finding's
            probability times the greatest heat in the box, 0..1), and width and height of the
            radiograph.
        """
        tables = []
        for finding in findings:
            index = finding_index(finding)
            boxes, peaks = heatmap_boxes(
                self.heatmaps[..., index],
                self.radiograph.width,
                self.radiograph.height,
                thresholds=[threshold],
                regions=regions,
            )
            table = pd.DataFrame(boxes, columns=list("xywh"))
            table.insert(0, "image_name", self.name)
            table.insert(1, "finding", finding)
            score = self.probabilities[index] * peaks / 255
            width, height = self.radiograph.width, self.radiograph.height
            tables.append(table.assign(score=score, width=width, height=height))
        return pd.concat(tables, ignore_index=True)


def examine(
    look: PredictFn,
    image_size: int,
    paths: Sequence[Path],
    *,
    batch_size: int,
    refuse: Callable[[str, str], None],
) -> Iterator[PredictionResult]:
    """Looks at radiographs, one batch after the other; a terminal sees a progress bar.

    Args:
        look: The network.
        image_size: Height and width in pixels of what it takes.
        paths: The files.
        batch_size: DataSource at a time; the last batch is filled up with black.
        refuse: Is told the path of a file that is no radiograph and the reason; the others go on.

    Yields:
        Each radiograph that could be read, in the order of `paths`.
    """
    names = unique_names(paths)
    with tqdm(total=len(paths), desc="looking", unit="image", disable=None) as progress:

        def read(numbered: tuple[str, Path]) -> tuple[str, Radiograph] | None:
            name, path = numbered
            progress.update()
            try:
                return name, read_radiograph(path)
            except UserError as error:
                told = str(UserError(f"{path}: "))  # as the message has it: nothing unprintable
                reason = str(error).removeprefix(told)
                refuse(_printable(str(path)), _printable(reason))
                return None

        readable = filter(None, map(read, zip(names, paths, strict=True)))
        while batch := list(itertools.islice(readable, batch_size)):
            yield from _look_at(look, image_size, batch, batch_size)


def _look_at(
    look: PredictFn, image_size: int, batch: Sequence[tuple[str, Radiograph]], batch_size: int
) -> Iterator[PredictionResult]:
    squares = np.zeros((batch_size, image_size, image_size, 1), np.uint8)
    for row, (_, radiograph) in enumerate(batch):
        squares[row, ..., 0], _ = make_square(radiograph.pixels, image_size, "squash")
    probabilities, heatmaps = look(squares)
    for row, (name, radiograph) in enumerate(batch):
        yield PredictionResult(name, radiograph, probabilities[row], heatmaps[row])


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Names files by their base names, as NIH's lists do; equal ones also by their folders.

    Folders are told from the one on that all equally named files share. Bytes of a name that are no
    text are written as escapes.
    """
    count = Counter(path.name for path in paths)
    namesakes = [os.path.abspath(path) for path in paths if count[path.name] > 1]
    shared = os.path.commonpath(map(os.path.dirname, namesakes)) if namesakes else ""
    names = [os.path.relpath(path, shared) if count[path.name] > 1 else path.name for path in paths]
    return [_printable(name) for name in names]


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
