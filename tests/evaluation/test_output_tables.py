import math

import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.evaluation import tables
from jaxcxr.evaluation.output_tables import ANY, PROBABILITY, SCORE, read_table, require_rows

COLUMNS = {"finding": None, "auc": SCORE, "loss": ANY}


def test_what_was_written_is_read_to_the_last_digit(tmp_path):
    numbers = np.random.default_rng(0).random(1000)
    numbers[:2] = np.nan, 1
    table = pd.DataFrame({"finding": "NA", "auc": numbers, "loss": 1 / numbers})
    table.loc[3, "loss"] = math.inf
    tables.write(table, tmp_path / "a.csv")
    read = read_table(tmp_path / "a.csv", COLUMNS, "again")
    assert list(read["finding"]) == ["NA"] * 1000
    np.testing.assert_array_equal(read[["auc", "loss"]], table[["auc", "loss"]])


def test_optional_columns_may_be_missing(tmp_path):
    (tmp_path / "a.csv").write_text("finding,auc\nMass,0.5\n")
    assert list(read_table(tmp_path / "a.csv", COLUMNS, "again", ["loss"])) == ["finding", "auc"]
    with pytest.raises(UserError, match="has no column loss; again"):
        read_table(tmp_path / "a.csv", COLUMNS, "again")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "cannot be read"),
        ('auc\n0.5\n"0.6\n', "cannot be read"),
        ("auc\n0.5\n0.", "ends within a line"),
        ("auc,auc\n0.5,0.5\n", "two columns"),
        ("auc\n0.5\n0.5,1\n", "line 3: 2 values for 1 columns"),
        ("auc\n0.5\nhigh\n", "line 3: auc is 'high'; expected a number from 0 to 1"),
        ("auc\n0.5\n1.5\n", "line 3: auc is '1.5'"),
        ("auc\ninf\n", "line 2: auc is 'inf'"),
        ('auc\n""\n', "line 2: auc is ''"),
    ],
)
def test_damage_is_told_with_its_place(tmp_path, text, told):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=rf"a\.csv.*{told}.*; again$"):
        read_table(tmp_path / "a.csv", {"auc": PROBABILITY}, "again")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("a", 1.0)], "has no row of name b, level 2"),
        ([("a", 1.0), ("b", 2.0), ("b", 2.0)], "has one more row of name b, level 2"),
        ([("a", 1.0), ("b", 2.0), ("c", 2.0)], "has one more row of name c, level 2"),
    ],
)
def test_rows_are_there_once(tmp_path, rows, told):
    table = pd.DataFrame(rows, columns=["name", "level"])
    with pytest.raises(UserError, match=told):
        require_rows(tmp_path / "a.csv", table, ["name", "level"], [("b", 2), ("a", 1)], "again")
    require_rows(tmp_path / "a.csv", table.iloc[:1], ["name", "level"], [("a", 1)], "again")
