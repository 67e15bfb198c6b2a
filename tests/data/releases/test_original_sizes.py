import numpy as np
import pytest

from jaxcxr.data.releases.original_sizes import original_sizes
from jaxcxr.errors import UserError

PLAIN = "OriginalImage[Width,Height]"
ROWS = "b.png,2500,2048\na.png,2992,2991\n"


@pytest.mark.parametrize("columns", [PLAIN, '"OriginalImage[Width","Height]"'])
def test_sizes_of_the_originals_are_those_of_the_metadata(tmp_path, columns):
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(f"Image Index,{columns}\n{ROWS}")
    sizes = original_sizes(tmp_path, ["a.png", "b.png"])
    np.testing.assert_array_equal(sizes, [[2992, 2991], [2500, 2048]])


def test_metadata_without_sizes_of_the_originals_are_refused(tmp_path):
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text("Image Index\na.png\n")
    with pytest.raises(UserError, match="no column OriginalImage"):
        original_sizes(tmp_path, ["a.png"])
