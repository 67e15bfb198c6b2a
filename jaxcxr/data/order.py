"""In which order the images of a split come, decided before anything is read.

The order is a pure function of the sizes of the record files, the seed and the epoch. Reading only
follows it, so that streamed, cached and resumed epochs are the same bit for bit.

Images of an epoch are shuffled in two steps that need bounded memory. The record files are taken in
random order, up to `FILES_PER_GROUP` at a time, and read in turns, some records from each. The
stream that results is cut into windows, and each window is shuffled as a whole; it has room for
`_TURNS` turns of `FILES_PER_GROUP` files. Within a file, records already lie in the order of their
names' hashes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

FILES_PER_GROUP = 16
"""Record files that are read in turns, at most."""

WINDOW_BYTES = 64 * 1024**2
"""Memory of a window, in which images are shuffled."""

_TURNS = 2


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """The order of one epoch.

    Attributes:
        groups: Record files, by index, in the order of reading; those of a group are read in turns.
        turn: Records that are read from a file at a time; fewer at its end.
        window: Length of the windows of the stream that results.
        rows: (N,) Position in the stream of each image of the epoch. Image i lies in window
            i // window, so that windows can be read one after the other.
    """

    groups: tuple[tuple[int, ...], ...]
    turn: int
    window: int
    rows: np.ndarray

    def turns(self, lengths: Sequence[int]) -> np.ndarray:
        """Returns (T, 3) every turn of the stream: group, place in `stored_order`, records.

        Args:
            lengths: Number of records in each record file.
        """
        starts = np.cumsum([0, *lengths])
        return np.array(
            [
                (index, starts[file] + done, min(self.turn, lengths[file] - done))
                for index, group in enumerate(self.groups)
                for done in range(0, max(lengths[file] for file in group), self.turn)
                for file in group
                if done < lengths[file]
            ]
        ).reshape(-1, 3)


def stored_order(lengths: Sequence[int], image_size: int) -> Order:
    """Returns the order in which the images are stored.

    Args:
        lengths: Number of records in each record file.
        image_size: Height and width of the images in pixels.
    """
    files = tuple((index,) for index in range(len(lengths)))
    window = _window(image_size)
    return Order(files, _turn(window), window, np.arange(sum(lengths)))


def shuffled_order(lengths: Sequence[int], image_size: int, seed: int, epoch: int) -> Order:
    """Returns the order of an epoch; another seed or epoch gives another one."""
    rng = np.random.default_rng((seed, epoch))
    files = rng.permutation(len(lengths))
    parts = np.array_split(files, math.ceil(len(files) / FILES_PER_GROUP))
    groups = tuple(tuple(part.tolist()) for part in parts)
    window = _window(image_size)
    rows = np.arange(sum(lengths))
    for start in range(0, len(rows), window):
        rng.shuffle(rows[start : start + window])
    return Order(groups, _turn(window), window, rows)


def stored_positions(order: Order, lengths: Sequence[int]) -> np.ndarray:
    """Returns (N,) for each image of the epoch its place in `stored_order`.

    With it, images that lie in memory in stored order can be taken in the epoch's order.
    """
    _, firsts, counts = order.turns(lengths).T
    stream = np.repeat(firsts - np.cumsum(counts) + counts, counts) + np.arange(sum(lengths))
    return stream[order.rows]


def _window(image_size: int) -> int:
    return max(WINDOW_BYTES // image_size**2, 256)


def _turn(window: int) -> int:
    return max(window // (_TURNS * FILES_PER_GROUP), 1)
