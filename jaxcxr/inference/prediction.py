"""Files of new radiographs through a network: which findings, and where."""

from __future__ import annotations

import base64
import dataclasses
import html
import io
import itertools
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from jaxcxr.errors import UserError
from jaxcxr.evaluation.boxes import (
    BoxRule,
    distinct_boxes,
    enlarge,
    heatmap_boxes,
    scale_heatmap,
)
from jaxcxr.findings import FINDINGS, match_finding
from jaxcxr.images.grid import Grid
from jaxcxr.images.radiograph import Radiograph, read_radiograph
from jaxcxr.images.square import Square, SquareRule, make_square
from jaxcxr.inference.heatmaps import PredictFn
from jaxcxr.inference.operating_points import OperatingPoints
from jaxcxr.models.weights.model_card import RESEARCH_ONLY, SYNTHETIC

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PredictionResult:
    """A radiograph and what a network predicts of it.

    Attributes:
        name: Its name in the result files; see `unique_names`.
        radiograph: The file's content.
        square: Where the radiograph lies in the network's square input.
        probabilities: (F,) float32.
        heatmaps: (h, w, F) float32.
        grid: Where rows and columns of the heat maps lie, in pixels of the square.
        findings: The F names of the network's findings.
        points: Operating points and calibration; default: none.
        synthetic: Whether the network was trained on synthetic radiographs.
    """

    name: str
    radiograph: Radiograph
    square: Square
    probabilities: np.ndarray
    heatmaps: np.ndarray
    grid: Grid
    findings: tuple[str, ...] = FINDINGS
    points: OperatingPoints | None = None
    synthetic: bool = False

    def table(self) -> pd.DataFrame:
        """Returns a row per finding, the most probable first.

        Returns:
            Columns probability, operating_point and calibrated_probability, the latter two NaN
            where they are not known; the index has the findings.
        """
        count = len(self.findings)
        points = self.points or OperatingPoints(*np.full((3, count), np.nan))
        columns = {
            "probability": self.probabilities,
            "operating_point": points.thresholds,
            "calibrated_probability": points.calibrate(self.probabilities),
        }
        table = pd.DataFrame(columns, index=pd.Index(self.findings, name="finding"))
        return table.sort_values("probability", ascending=False)

    def __repr__(self) -> str:
        """Returns a line with the three most probable findings."""
        shown = [f"{name} {p:.3f}" for name, p in self.table()["probability"].head(3).items()]
        return f"PredictionResult({self.name}: {', '.join(shown)}, …)"

    def _repr_html_(self) -> str:
        """Shows the table, and the heat map of the most probable finding, in a notebook."""
        table = self.table()
        warnings = [RESEARCH_ONLY, SYNTHETIC] if self.synthetic else [RESEARCH_ONLY]
        stream = io.BytesIO()
        self._picture(table.index[0]).save(stream, "PNG")
        uri = f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"
        return (
            f"<p>{html.escape(self.name)}; heat map: {html.escape(table.index[0])}</p>"
            f"<div style='display:flex'><img src='{uri}'>"
            f"{table.to_html(float_format='{:.3f}'.format, na_rep='–')}</div>"
            f"<p>{' '.join(warnings)}</p>"
        )

    def _picture(self, finding: str) -> Image.Image:
        gray = Image.fromarray(self.radiograph.pixels)
        gray.thumbnail((400, 400))
        zoom = gray.width / self.radiograph.width, gray.height / self.radiograph.height
        columns, rows = (g.scaled(z) for g, z in zip(self.original_grid, zoom, strict=True))
        values = self.heatmaps[..., self.findings.index(finding)]
        heat = scale_heatmap(enlarge(values, *gray.size, (columns, rows)))[..., None]
        red = np.array([255.0, 60.0, 0.0])
        tinted = np.asarray(gray, float)[..., None] * (1 - heat / 2) + red * heat / 2
        return Image.fromarray(tinted.astype(np.uint8))

    @property
    def original_grid(self) -> tuple[Grid, Grid]:
        """Where columns and rows of the heat maps lie, in pixels of the radiograph."""
        return self.square.in_original(self.grid, self.grid)

    def notable_findings(self, thresholds: np.ndarray) -> list[str]:
        """Returns the findings at or above their thresholds (F,), else the most probable one."""
        notable = np.flatnonzero(self.probabilities.astype(np.float64) >= thresholds)
        if not notable.size:
            notable = [np.argmax(self.probabilities)]
        return [self.findings[index] for index in notable]

    def boxes(self, findings: Sequence[str], rule: BoxRule | None = None) -> pd.DataFrame:
        """Draws boxes around the hot regions of some findings' heat maps.

        Args:
            findings: Whose heat maps.
            rule: How heat maps become boxes; default: the paper's rule.

        Returns:
            image_name, finding, x, y, w, h in the radiograph's own pixels, score, width, height;
            see `RegionBoxes.table`. A box that two cuts share is given once.
        """
        rule = rule or BoxRule()
        size = self.radiograph.width, self.radiograph.height
        parts = []
        for finding in findings:
            index = self.findings.index(match_finding(finding, self.findings))
            heatmap = self.heatmaps[..., index]
            found = heatmap_boxes(heatmap, *size, self.original_grid, rule.of(finding))
            parts.append(found.table(self.name, finding, self.probabilities[index], *size))
        return distinct_boxes(pd.concat(parts, ignore_index=True))


class Prepared(NamedTuple):
    """A radiograph as a network takes it.

    Attributes:
        name: Its name in the result files.
        radiograph: The file's content.
        image: (S, S) uint8 or float32; see `make_square`.
        square: Where the radiograph lies in `image`.
    """

    name: str
    radiograph: Radiograph
    image: np.ndarray
    square: Square


def prepare(name: str, path: Path, image_size: int, rule: SquareRule) -> Prepared:
    """Reads a radiograph and makes it square.

    Args:
        name: Its name in the result files.
        path: The file.
        image_size: Height and width in pixels of the network's input.
        rule: How radiographs become square.

    Raises:
        UserError: The file cannot be used.
    """
    radiograph = read_radiograph(path)
    return Prepared(name, radiograph, *make_square(radiograph.pixels, image_size, rule))


def predict_files(
    predict: PredictFn,
    image_size: int,
    square: SquareRule,
    paths: Sequence[Path],
    *,
    batch_size: int,
    refuse: Callable[[str, str], None],
    names: Sequence[str] | None = None,
    findings: tuple[str, ...] = FINDINGS,
    points: OperatingPoints | None = None,
) -> Iterator[PredictionResult]:
    """Predicts radiographs batch by batch; a terminal shows a progress bar.

    Threads decode the next radiographs while the network predicts, and the network predicts while
    the caller uses what is yielded. Memory does not grow with the number of files.

    Args:
        predict: The network.
        image_size: Height and width in pixels of the network's input.
        square: How radiographs become square.
        paths: The files.
        batch_size: Radiographs at a time; the last batch is filled up with black.
        refuse: Called with the path of a file that cannot be used and the reason; the other files
            are still predicted.
        names: Their names in the result files; default: `unique_names`.
        findings: The network's findings.
        points: Their operating points and calibration.

    Yields:
        Each radiograph that could be read, in the order of `paths`.
    """

    def read(named: tuple[str, Path]) -> tuple[Path, Prepared | UserError]:
        try:
            return named[1], prepare(*named, image_size, square)
        except UserError as error:
            return named[1], error

    def readable(progress: tqdm) -> Iterator[Prepared]:
        files = zip(names or unique_names(paths), paths, strict=True)
        for path, result in in_threads(read, files, ahead=2 * batch_size):
            progress.update()
            if isinstance(result, UserError):
                prefix = str(UserError(f"{path}: "))  # as in the message: unprintables escaped
                refuse(_printable(str(path)), _printable(str(result).removeprefix(prefix)))
            else:
                yield result

    def predicted(batch: list[Prepared]) -> list[PredictionResult]:
        results = predict_batch(predict, batch, batch_size)
        return [dataclasses.replace(one, findings=findings, points=points) for one in results]

    with tqdm(total=len(paths), desc="predicting", unit="image", disable=None) as progress:
        rest = readable(progress)
        batches = iter(lambda: list(itertools.islice(rest, batch_size)), [])
        for results in in_threads(predicted, batches, threads=1, ahead=1):
            yield from results


def in_threads(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    ahead: int,
    threads: int | None = None,
) -> Iterator[_Result]:
    """Yields a function's results of items in their order, computed in threads ahead of their use.

    Args:
        function: The function.
        items: Its arguments, taken in the caller's thread.
        ahead: Most results that wait to be used.
        threads: Number of threads; default: that of the processor's cores.
    """
    waiting: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def predict_batch(
    predict: PredictFn, batch: Sequence[Prepared], batch_size: int
) -> list[PredictionResult]:
    """Predicts radiographs together.

    Args:
        predict: The network.
        batch: The radiographs.
        batch_size: At least as many; the batch is filled up with black.

    Returns:
        The prediction of each, as of a network of the 14 findings.
    """
    images = np.stack([one.image for one in batch])[..., None]
    images = np.pad(images, [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)])
    probabilities, maps = predict(images)
    return [
        PredictionResult(name, radiograph, square, probability, heatmaps, maps.grid)
        for (name, radiograph, _, square), probability, heatmaps in zip(
            batch, probabilities, maps.values, strict=False
        )
    ]


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Names files by their base names, as NIH's lists do; equal ones also by their folders.

    The folders start below the one that all files of equal names share. Bytes of a name that are
    not text are written as escapes.
    """
    count = Counter(path.name for path in paths)
    namesakes = [os.path.abspath(path) for path in paths if count[path.name] > 1]
    shared = os.path.commonpath(map(os.path.dirname, namesakes)) if namesakes else ""
    names = [os.path.relpath(path, shared) if count[path.name] > 1 else path.name for path in paths]
    return [_printable(name) for name in names]


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()
