"""Apache Beam's direct runner makes the records that threads make."""

import numpy as np
import pytest

from jaxcxr.data import load, prepare, read_release
from jaxcxr.data.chest_xray14 import beam_pipeline
from jaxcxr.errors import UserError
from tests.data.conftest import spoil


def test_settings_of_beam_that_cannot_work(prepared, tmp_path, monkeypatch):
    release, runner = read_release(prepared[0].root), {"beam_runner": "DirectRunner"}
    with pytest.raises(UserError, match="beam_options need a runner"):
        prepare(release, tmp_path, beam_options=["--direct_num_workers=2"])
    with pytest.raises(UserError, match="Beam cannot leave out damaged files"):
        prepare(release, tmp_path, on_bad_image="skip", **runner)
    monkeypatch.setattr(beam_pipeline, "PipelineOptions", None)
    with pytest.raises(UserError, match="pip install"):
        prepare(release, tmp_path, **runner)
    assert not list(tmp_path.iterdir())


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
def test_a_damaged_file_is_named(make_release, tmp_path):
    folder = make_release(patients=10)
    spoil(folder.image("00000003_001.png"))
    with pytest.raises(UserError, match=r"damaged radiographs: 1; .*\n.*/00000003_001.png: dam"):
        prepare(read_release(folder.root), tmp_path, image_size=32, beam_runner="DirectRunner")
    assert not list(tmp_path.rglob("*.tfrecord*"))
