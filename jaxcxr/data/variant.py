"""Which of the datasets that can be prepared from one release is meant."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from jaxcxr.data.splits import SPLIT_METHODS
from jaxcxr.errors import UserError
from jaxcxr.images.square import SQUARE_RULES, SquareRule

DATASET = "chest_xray14"
VERSION = "1.0.0"
SMALLEST, LARGEST = 16, 2048


@dataclasses.dataclass(frozen=True)
class Variant:
    """A choice of image size, square and split.

    Attributes:
        image_size: Height and width S of the prepared radiographs in pixels.
        split: How validation is taken from the official train_val list: "by_patient" (drawn) or
            "authors" (the end of the list).
        split_seed: Seed of the draw.
        square: How radiographs become square: "squash" (each axis is resized to S, as NIH did to
            its originals) or "pad" (the aspect is kept, the rest is black).

    Raises:
        UserError: A value is not among the possible ones.
    """

    image_size: int = 256
    split: str = "by_patient"
    split_seed: int = 0
    square: SquareRule = "squash"

    def __post_init__(self) -> None:
        if not SMALLEST <= self.image_size <= LARGEST:
            raise UserError(
                f"image_size is {self.image_size}; it must lie from {SMALLEST} to {LARGEST} pixels",
                argument="image_size",
            )
        for name, choices in (("split", SPLIT_METHODS), ("square", SQUARE_RULES)):
            if (value := getattr(self, name)) not in choices:
                raise UserError(
                    f"{name} is {value!r}; use one of {', '.join(choices)}", argument=name
                )
        if self.split_seed < 0:
            raise UserError(
                f"split_seed is {self.split_seed}; it must be 0 or more", argument="split_seed"
            )

    @property
    def name(self) -> str:
        """Name of the TFDS config: "256", "256_seed3", "256_authors", "256_pad" or so."""
        parts = [str(self.image_size)]
        if self.split == "authors":
            parts.append("authors")
        elif self.split_seed:
            parts.append(f"seed{self.split_seed}")
        if self.square != "squash":
            parts.append(self.square)
        return "_".join(parts)

    def __str__(self) -> str:
        """Returns the arguments of `prepare` that make this variant."""
        return ", ".join(f"{name}={value}" for name, value in dataclasses.asdict(self).items())

    def folder(self, data_dir: str | os.PathLike[str]) -> Path:
        """Returns the folder of the prepared dataset, as TFDS names it."""
        return Path(data_dir).expanduser() / DATASET / self.name / VERSION
