"""The reference: a picture with a white box, resized by Pillow as people resize the release."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jaxcxr.data import prepare, read_release
from jaxcxr.data.releases.box_pixels import in_png_pixels
from jaxcxr.data.releases.problems import Problems
from jaxcxr.errors import UserError

LIST = [(38.4, 64.0, 256.0, 211.2), (700.0, 90.5, 300.0, 70.0)]


def table(boxes) -> pd.DataFrame:
    return pd.DataFrame(boxes, columns=["x", "y", "w", "h"]).assign(image_name="a", finding="Mass")


def resized(box, side, size) -> np.ndarray:
    """Returns where a box of a square picture lies after the picture has been resized."""
    x, y, w, h = (round(value) for value in box)
    picture = np.zeros((side, side), np.uint8)
    picture[y : y + h, x : x + w] = 255
    pixels = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)) > 127
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return np.array([columns[0], rows[0], len(columns), len(rows)])


def scale(boxes, sizes, side=None):
    """Returns the boxes as (N, 4), the notes and the problems."""
    problems = Problems()
    scaled, notes = in_png_pixels(table(boxes), np.array(sizes, np.float64), side, problems)
    return scaled[["x", "y", "w", "h"]].to_numpy(), notes, problems


@pytest.mark.parametrize("size", [(224, 224), (256, 256), (768, 768), (1024, 1024), (1250, 1024)])
def test_boxes_of_nih_follow_resized_files(size):
    boxes, notes, problems = scale(LIST, [size, size])
    for box, expected in zip(boxes, LIST, strict=True):
        np.testing.assert_allclose(box, resized(expected, 1024, size), atol=1.5)
    problems.raise_any(Path())
    assert len(notes) == (size != (1024, 1024))
    for note in notes:
        assert "2 boxes are scaled from 1024×1024 pixels to those of the PNG files" in note
        assert note.endswith(f"{size[0]}×{size[1]}; box_image_size=0 keeps them as they are")


@pytest.mark.parametrize(
    ("side", "size", "factor"),
    [(0, 768, 1), (512, 1024, 2), (None, 2500, 1), (1024, 2500, 2500 / 1024)],
)
def test_the_pictures_of_the_list_can_be_given(side, size, factor):
    """Where none are given, boxes beyond 1024 pixels that fit the files are in their pixels."""
    far = 900.0 if size == 2500 and not side else 5.0
    listed = [(10.0, 20.0, 300.0, 200.0), (far, 1.0, 500.0, 9.0)]
    boxes, notes, problems = scale(listed, np.full((2, 2), size), side)
    np.testing.assert_allclose(boxes, factor * np.array(listed))
    problems.raise_any(Path())
    assert len(notes) == (side != 0)


def test_boxes_beyond_both_are_outside_and_files_that_are_unknown_change_nothing():
    boxes, _, problems = scale(
        [(900, 0, 300, 10), (100, 0, 50, 50)], [[512, 512], [np.inf, np.inf]]
    )
    with pytest.raises(UserError, match=r"outside their image \(1\)") as caught:
        problems.raise_any(Path())
    assert caught.value.argument == "box_image_size"
    assert boxes[1].tolist() == [100, 0, 50, 50]


def test_boxes_of_a_phantom_stay(make_release):
    folder = make_release(size=64)
    assert read_release(folder.root).boxes["w"].tolist() == [16] * 4
    (folder.root / "phantom.json").write_text(json.dumps({"synthetic": True}))
    folder.boxes.write_text(folder.boxes.read_text().replace("38.4,64,256,211.2", "1,2,30,40"))
    release = read_release(folder.root)
    assert release.boxes["w"].tolist() == [30] * 4
    assert not release.notes
    assert read_release(folder.root, box_image_size=128).boxes["w"].tolist() == [15] * 4


def test_lists_alone_keep_their_pixels(make_release, tmp_path):
    folder = make_release()
    alone = read_release(folder.root, require_images=False)
    assert alone.boxes["w"].tolist() == [256] * 4
    assert not alone.notes
    prepare(read_release(folder.root), tmp_path / "out", image_size=16)
    with pytest.raises(ValueError, match="prepared from other lists or files"):
        prepare(read_release(folder.root, box_image_size=2048), tmp_path / "out", image_size=16)
