from benchmarks.grown import grow
from jaxcxr.data import load
from jaxcxr.data.variant import Variant


def names_of(split):
    return sorted(name for batch in split.batches(16) for name in batch["image_name"] if name)


def test_a_grown_dataset_opens_and_holds_each_radiograph_as_often(prepared, tmp_path):
    variant = Variant(32)
    grown = grow(variant.folder(prepared[1]), variant.folder(tmp_path), 250)
    assert grown.records == 300
    small, large = (load(folder, 32) for folder in (prepared[1], grown.data_dir))
    for split in ("train", "validation", "test"):
        assert names_of(getattr(large, split)) == sorted(3 * names_of(getattr(small, split)))
