"""Tiny releases of noise, written in NIH's layout."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
LABELS = ("No Finding", "Cardiomegaly", "Mass|Nodule", "Hernia", "Pleural_Thickening|Edema")


@dataclasses.dataclass(frozen=True)
class ReleaseFolder:
    """A release on disk, whose lists a test may damage."""

    root: Path

    @property
    def metadata(self) -> Path:
        return next(self.root.glob("Data_Entry_2017*.csv"))

    @property
    def boxes(self) -> Path:
        return self.root / "BBox_List_2017.csv"

    @property
    def train_val(self) -> Path:
        return self.root / "train_val_list.txt"

    @property
    def test(self) -> Path:
        return self.root / "test_list.txt"

    def image(self, name: str) -> Path:
        return next(self.root.rglob(name))

    @staticmethod
    def edit(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


def write_release(
    root: Path, *, patients: int = 20, size: int = 40, older: bool = False, kaggle: bool = False
) -> ReleaseFolder:
    """Writes two radiographs of noise per patient; every fifth patient is on the test list.

    The first two test patients have a box each, their second radiographs another: (1.5, 2.5, 10,
    8.25) in pixels of a file of 40×40. The list has them in pixels of 1024×1024, as NIH's has.
    """
    rng = np.random.default_rng(patients)
    rows, lists, boxes = [], {"train_val": [], "test": []}, []
    for patient in range(1, patients + 1):
        for follow_up in range(2):
            name = f"{patient:08d}_{follow_up:03d}.png"
            label = LABELS[(patient + follow_up) % len(LABELS)]
            age, sex, view = 20 + patient, "FM"[patient % 2], ("PA", "AP")[follow_up]
            tail = "2500,2048,0.168,0.168" + ("," if older else "")
            rows.append(f"{name},{label},{follow_up},{patient},{age},{sex},{view},{tail}")
            lists["test" if patient % 5 == 0 else "train_val"].append(name)
            if patient in (5, 10):
                boxes.append(f"{name},{'Infiltrate' if follow_up else 'Mass'},38.4,64,256,211.2")
            folder = root / (f"images_{1 + patient % 3:03d}/images" if kaggle else "images")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (size, size), np.uint8)).save(folder / name)
    metadata = "Data_Entry_2017.csv" if older else "Data_Entry_2017_v2020.csv"
    header = HEADER + ("," if older else "")
    (root / metadata).write_text("\n".join([header, *rows]) + "\n")
    for name, names in lists.items():
        (root / f"{name}_list.txt").write_text("\n".join(names))
    box_header = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    (root / "BBox_List_2017.csv").write_text("\n".join([box_header, *boxes]) + "\n")
    return ReleaseFolder(root)


def small_pixels(path: Path, side: int) -> np.ndarray:
    """Returns a gray picture as (side, side) uint8, as Pillow alone reads it."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((side, side), Image.Resampling.BILINEAR))


def spoil(path: Path) -> None:
    """Changes a byte of the pixels of a PNG file, which only decoding shows."""
    content = bytearray(path.read_bytes())
    content[100] ^= 255
    path.write_bytes(content)


@pytest.fixture
def make_release(tmp_path: Path) -> Callable[..., ReleaseFolder]:
    """Writes a release of its own for a test: `make_release(name="release", **settings)`."""

    def make(name: str = "release", **settings: object) -> ReleaseFolder:
        return write_release(tmp_path / name, **settings)

    return make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReleaseFolder, Path]:
    """Returns a release of 100 radiographs and the folder where it is prepared at 32×32."""
    from jaxcxr.data import prepare, read_release

    root = tmp_path_factory.mktemp("prepared")
    folder = write_release(root / "release", patients=50)
    prepare(read_release(folder.root), root / "datasets", image_size=32)
    return folder, root / "datasets"
