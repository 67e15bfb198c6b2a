"""Apache Beam's direct runner makes the records that threads make."""

import numpy as np
import pytest

from jaxcxr.data import load, prepare, read_release
from jaxcxr.data.chest_xray14 import beam_pipeline
from jaxcxr.errors import UserError


def test_a_wrong_pair_of_flags(prepared, tmp_path):
    release = read_release(prepared[0].root)
    with pytest.raises(UserError, match="beam_options need a runner"):
        prepare(release, tmp_path, image_size=32, beam_options=["--direct_num_workers=2"])
    with pytest.raises(UserError, match="Beam cannot leave out damaged files"):
        prepare(release, tmp_path, image_size=32, beam_runner="DirectRunner", on_bad_image="skip")
    assert not list(tmp_path.iterdir())


def test_without_the_package(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(beam_pipeline, "PipelineOptions", None)
    with pytest.raises(UserError, match="pip install"):
        prepare(read_release(prepared[0].root), tmp_path, image_size=32, beam_runner="DirectRunner")


@pytest.mark.filterwarnings("ignore")  # of Beam's own
def test_the_same_records(prepared, tmp_path):
    folder, here = prepared
    prepare(read_release(folder.root), tmp_path, image_size=32, beam_runner="DirectRunner")
    ours, theirs = load(here, image_size=32), load(tmp_path, image_size=32)
    assert ours.facts == theirs.facts
    for name in ("train", "validation", "test"):
        one, other = getattr(ours, name), getattr(theirs, name)
        for some, others in zip(one.batches(16), other.batches(16), strict=True):
            for field in some:
                np.testing.assert_array_equal(some[field], others[field], strict=True)
        assert one.boxes().equals(other.boxes())


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_named(prepared, tmp_path):
    release = read_release(prepared[0].root)
    path = next(iter(release.image_paths.values()))
    complete = path.read_bytes()
    middle = len(complete) // 2
    try:
        path.write_bytes(complete[:middle] + bytes(8) + complete[middle + 8 :])
        with pytest.raises(UserError, match=path.name):
            prepare(release, tmp_path, image_size=32, beam_runner="DirectRunner")
    finally:
        path.write_bytes(complete)
    assert not list(tmp_path.rglob("*.tfrecord*"))
