"""`benchmarks/scale.py` grows releases faithfully, measures programs and finds what grows."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.scale import ONCE, PARTS, growth
from jaxcxr.data.releases.sources import read_release
from jaxcxr.findings import FINDINGS

REPOSITORY = Path(__file__).parents[1]


def scale(out, *words):
    """Runs the benchmark; returns its table."""
    command = [sys.executable, "-m", "benchmarks.scale", f"--out={out}", *words]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    return pd.read_csv(out / "scale.csv")


def test_measures_programs_on_copies_of_phantoms_of_other_patients(tmp_path):
    words = "--records=48", "--drawn=24", "--times=1"
    table = scale(tmp_path, *words, "--parts=prepare,evaluate_boxes")

    drawn, grown = (read_release(tmp_path / name) for name in ("drawn", "48/release"))
    both = pd.concat([drawn.images, drawn.images])
    for column in (*FINDINGS, "official_split", "age", "view"):
        assert sorted(grown.images[column]) == sorted(both[column])
    assert grown.images["patient"].nunique() == 2 * drawn.images["patient"].nunique()
    assert len(grown.boxes) == 2 * len(drawn.boxes)
    assert table["part"].tolist() == ["prepare", "evaluate_boxes"]
    assert table["images"].tolist() == [48, 48]
    assert table["processor_seconds"].min() > 0.5  # of the programs, not of their parent
    assert table["peak_mib"].min() > 100
    assert (tmp_path / "scale.png").stat().st_size > 1000


@pytest.mark.slow
def test_measures_every_part_and_no_row_twice(tmp_path):
    words = "--records=96", "--drawn=96", "--times=1,2", "--batch_size=8"
    table = scale(tmp_path, *words)
    assert sorted(table["part"]) == sorted([*PARTS, *(set(PARTS) - ONCE)])
    losses = table.loc[(table["times"] == 1), "val_loss"].dropna()
    assert len(losses) == 3
    assert losses.max() < 1.01 * losses.min()  # however many devices and processes
    pd.testing.assert_frame_equal(scale(tmp_path, *words), table)


def test_growth_is_one_for_linear_time_and_flat_memory_and_above_for_worse():
    times = [1, 2, 4]
    rows = {
        "linear": ([5 + n for n in times], [300, 300, 300]),
        "quadratic": ([n * n for n in times], [100, 200, 400]),
    }
    table = pd.concat(
        pd.DataFrame({"part": part, "times": times, "processor_seconds": s, "peak_mib": m})
        for part, (s, m) in rows.items()
    )
    result = growth(table)
    assert result.loc["linear"].tolist() == [1, 1]
    assert result.loc["quadratic"].tolist() == [16 / 10, 4]
