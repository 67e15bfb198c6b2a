"""From stored radiographs to what a network expects; runs inside the jitted step."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxcxr.errors import UserError


@dataclasses.dataclass(frozen=True)
class Pixels:
    """How gray values become a network's input: (gray / 255 − mean) / std for each channel.

    Attributes:
        mean: Of each channel, for gray values from 0 to 1; one channel or three.
        std: Of each channel; as many.

    Raises:
        UserError: The numbers of channels differ or are others, or a std is not positive.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(map(float, self.mean)))  # lists of a JSON file
        object.__setattr__(self, "std", tuple(map(float, self.std)))
        if self.channels not in (1, 3) or len(self.std) != self.channels or min(self.std) <= 0:
            raise UserError(
                f"pixels has mean {self.mean} and std {self.std}; expected numbers for one channel "
                "or three, std above 0"
            )

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return len(self.mean)


IMAGENET = Pixels()
"""Three channels, torchvision's mean and standard deviation of ImageNet."""


def normalize(images: jax.Array, pixels: Pixels = IMAGENET) -> jax.Array:
    """Scales gray values as `pixels` describes.

    Args:
        images: (B, H, W, 1), gray values from 0 to 255.
        pixels: Scale of every channel; ImageNet's by default.

    Returns:
        (B, H, W, channels) float32.
    """
    scaled = images.astype(jnp.float32) / 255
    return (scaled - jnp.array(pixels.mean)) / jnp.array(pixels.std)
