"""Random changes of the training radiographs, made on the device inside the jitted step."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jaxcxr.errors import UserError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What may happen to a training radiograph; each is off by default (the paper uses none).

    Attributes:
        horizontal_flip: Mirror it left to right, every second time (CheXNet).
        crop_scale: Smallest share of the area that a random square crop keeps; it is resized to the
            image's size. 1 keeps all.
        rotation: Largest angle of a random rotation about the center, in degrees.
        translation: Largest random shift along each axis, as a share of the image's size.
        intensity_shift: Largest random change of brightness, as a share of the gray range, and of
            contrast, as a share of the contrast.
    """

    horizontal_flip: bool = False
    crop_scale: float = 1.0
    rotation: float = 0.0
    translation: float = 0.0
    intensity_shift: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.crop_scale <= 1:
            raise UserError(f"crop_scale is {self.crop_scale}; it must be above 0 and at most 1")
        for name in ("rotation", "translation", "intensity_shift"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UserError(
                    f"{name} is {getattr(self, name)}; it must be 0 or more, and finite"
                )

    @property
    def moves_pixels(self) -> bool:
        """Whether anything but flips and gray values changes."""
        return self.crop_scale < 1 or self.rotation > 0 or self.translation > 0


def augment(key: jax.Array, image: jax.Array, augmentation: Augmentation) -> jax.Array:
    """Changes one radiograph at random.

    Args:
        key: Decides about everything.
        image: (H, W, 1), gray values 0 to 255.
        augmentation: What may happen.

    Returns:
        float32 (H, W, 1), gray values 0 to 255. Places from outside the radiograph repeat its edge.
    """
    flip_key, warp_key, gray_key = jax.random.split(key, 3)
    image = image.astype(jnp.float32)
    if augmentation.horizontal_flip:
        image = jnp.where(jax.random.bernoulli(flip_key), image[:, ::-1], image)
    if augmentation.moves_pixels:
        image = _warp(warp_key, image, augmentation)
    if augmentation.intensity_shift:
        image = _shift_gray(gray_key, image, augmentation.intensity_shift)
    return image


def _warp(key: jax.Array, image: jax.Array, augmentation: Augmentation) -> jax.Array:
    """Crops, rotates and shifts in one bilinear interpolation."""
    crop_key, place_key, angle_key, shift_key = jax.random.split(key, 4)
    size = jnp.array(image.shape[:2], jnp.float32)
    side = jnp.sqrt(jax.random.uniform(crop_key, minval=augmentation.crop_scale, maxval=1.0))
    place = jax.random.uniform(place_key, (2,), minval=-1.0, maxval=1.0) * (1 - side) / 2
    shift = augmentation.translation * jax.random.uniform(shift_key, (2,), minval=-1, maxval=1)
    angle = math.radians(augmentation.rotation) * jax.random.uniform(angle_key, minval=-1, maxval=1)
    cos, sin = jnp.cos(angle), jnp.sin(angle)

    center = (size - 1) / 2
    rows, columns = jnp.meshgrid(*(jnp.arange(n) for n in image.shape[:2]), indexing="ij")
    y, x = side * (rows - center[0]), side * (columns - center[1])
    origin = center + (place + shift) * size
    source = [cos * y - sin * x + origin[0], sin * y + cos * x + origin[1]]
    return map_coordinates(image[..., 0], source, order=1, mode="nearest")[..., None]


def _shift_gray(key: jax.Array, image: jax.Array, most: float) -> jax.Array:
    brightness, contrast = jax.random.uniform(key, (2,), minval=-most, maxval=most)
    mean = image.mean()
    return ((image - mean) * (1 + contrast) + mean + 255 * brightness).clip(0, 255)
