import pytest

from jaxcxr.errors import UserError
from jaxcxr.inference.scored_epochs import record_epoch, scored_epochs


def test_epochs_are_recorded_side_by_side(tmp_path):
    assert scored_epochs(tmp_path) == {}
    record_epoch(tmp_path, "auc", 3)
    record_epoch(tmp_path, "boxes", None)
    record_epoch(tmp_path, "auc", 4)
    assert scored_epochs(tmp_path) == {"auc": 4, "boxes": None}


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"auc": [1]}', '{"auc": "x", "boxes": 3}', "[" * 9999]
)
def test_a_damaged_file_is_refused_until_the_run_is_scored_again(tmp_path, text):
    path = tmp_path / "epochs.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"epochs\.json.*run evaluate_auc"):
        scored_epochs(tmp_path)
    record_epoch(tmp_path, "auc", 2)
    assert scored_epochs(tmp_path) == {"auc": 2}
