"""Augmentation against plain NumPy where it has a closed form."""

import jax
import numpy as np
import pytest

from jaxcxr.errors import UserError
from jaxcxr.training.augmentation import Augmentation, augment

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 24, 1)).astype(np.uint8)
KEYS = jax.random.split(jax.random.key(1), 40)


def augmented(**settings) -> np.ndarray:
    return np.asarray(jax.vmap(lambda key: augment(key, IMAGE, Augmentation(**settings)))(KEYS))


def test_off_by_default():
    np.testing.assert_array_equal(augmented(), np.broadcast_to(IMAGE, (40, 24, 24, 1)))


def test_flip_mirrors_about_half_of_them():
    images = augmented(horizontal_flip=True)
    mirrored = [np.array_equal(image, IMAGE[:, ::-1]) for image in images]
    kept = [np.array_equal(image, IMAGE) for image in images]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 10 <= sum(mirrored) <= 30


def test_rotation_turns_about_the_center():
    rows, columns = np.mgrid[:33, :33]
    spot = 255 * np.exp(-((rows - 16) ** 2 + (columns - 26) ** 2) / 8)  # 10 pixels off the center
    spot = spot[..., None].astype(np.float32)
    images = np.asarray(jax.vmap(lambda key: augment(key, spot, Augmentation(rotation=30.0)))(KEYS))
    mass = images[..., 0].sum((1, 2))
    y, x = ((images[..., 0] * axis).sum((1, 2)) / mass - 16 for axis in (rows, columns))
    np.testing.assert_allclose(np.hypot(y, x), 10, atol=0.05)
    angles = np.degrees(np.arctan2(y, x))
    assert np.abs(angles).max() <= 30.2
    assert angles.std() > 10


def test_crop_shows_a_part_enlarged():
    ramp = np.broadcast_to(np.arange(0, 240, 10)[None, :, None], (24, 24, 1)).astype(np.uint8)
    images = jax.vmap(lambda key: augment(key, ramp, Augmentation(crop_scale=0.25)))(KEYS)
    slopes = np.asarray(np.diff(images[:, 12, 4:20, 0], axis=1)).mean(1)
    assert (slopes > 4.9).all()  # the side shrinks to a half at most
    assert (slopes < 10.01).all()
    assert slopes.std() > 0.5
    assert np.asarray(images).min() >= 0
    assert np.asarray(images).max() <= 230.001


def test_translation_is_bounded():
    spot = np.zeros((25, 25, 1), np.uint8)
    spot[12, 12] = 255
    images = np.asarray(
        jax.vmap(lambda key: augment(key, spot, Augmentation(translation=0.2)))(KEYS)
    )
    rows, columns = np.mgrid[:25, :25]
    mass = images[..., 0].sum((1, 2))
    centers = np.stack([(images[..., 0] * axis).sum((1, 2)) / mass for axis in (rows, columns)])
    assert (np.abs(centers - 12) <= 5.001).all()
    assert centers.std() > 1


def test_intensity_shift_stays_in_the_gray_range():
    images = augmented(intensity_shift=0.3)
    assert images.min() >= 0
    assert images.max() <= 255
    means = images.mean((1, 2, 3))
    assert means.std() > 10
    assert np.abs(means - IMAGE.mean()).max() < 0.35 * 255


@pytest.mark.parametrize("settings", [{"crop_scale": 0.0}, {"crop_scale": 2}, {"rotation": -1}])
def test_senseless_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Augmentation(**settings)
