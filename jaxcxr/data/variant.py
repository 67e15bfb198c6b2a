"""Which of the datasets that can be prepared from one release is meant."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from jaxcxr.data.splits import SPLIT_METHODS
from jaxcxr.errors import UserError

DATASET = "chest_xray14"
VERSION = "1.0.0"
SMALLEST, LARGEST = 16, 2048


@dataclasses.dataclass(frozen=True)
class Variant:
    """A choice of image size and split.

    Attributes:
        image_size: Height and width S of the prepared radiographs in pixels.
        split: How validation is taken from the official train_val list: "by_patient" (drawn) or
            "authors" (the end of the list).
        split_seed: Of the draw.

    Raises:
        UserError: A value is not among the possible ones.
    """

    image_size: int = 256
    split: str = "by_patient"
    split_seed: int = 0

    def __post_init__(self) -> None:
        if not SMALLEST <= self.image_size <= LARGEST:
            raise UserError(
                f"image_size is {self.image_size}; it must lie from {SMALLEST} to {LARGEST} pixels"
            )
        if self.split not in SPLIT_METHODS:
            raise UserError(f"split is {self.split!r}; use one of {', '.join(SPLIT_METHODS)}")
        if self.split_seed < 0:
            raise UserError(f"split_seed is {self.split_seed}; it must be 0 or more")

    @property
    def name(self) -> str:
        """Name of the TFDS config: "256", "256_seed3" or "256_authors"."""
        if self.split == "authors":
            return f"{self.image_size}_authors"
        return (
            f"{self.image_size}_seed{self.split_seed}" if self.split_seed else f"{self.image_size}"
        )

    @property
    def arguments(self) -> str:
        """The arguments of `prepare` that make this variant: ``image_size=256, split_seed=3``."""
        arguments = [f"image_size={self.image_size}"]
        if self.split != "by_patient":
            arguments.append(f"split={self.split}")
        elif self.split_seed:
            arguments.append(f"split_seed={self.split_seed}")
        return ", ".join(arguments)

    def folder(self, data_dir: str | os.PathLike[str]) -> Path:
        """Returns the folder of the prepared dataset, as TFDS names it."""
        return Path(data_dir).expanduser() / DATASET / self.name / VERSION
