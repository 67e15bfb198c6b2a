"""A network trained on releases of two hospitals, and scored on those of others, in one report."""

import pandas as pd
import pytest

from tests.data.conftest import write_release
from tests.data.releases import other_sources
from tests.programs import launch
from tests.tiny import TINY_CONFIG

pytest.importorskip("pydicom")


def run(verb, *words) -> str:
    ended = launch(verb, *words)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_training_on_two_sources_and_scores_on_another(tmp_path):
    (tmp_path / "tiny.py").write_text(TINY_CONFIG)
    nih = write_release(tmp_path / "nih", patients=20).root
    chexpert = other_sources.write_chexpert(tmp_path / "chexpert", patients=16)
    vindr = other_sources.write_vindr(tmp_path / "vindr", images=20)
    size = "--image_size=64"
    together, other, out = tmp_path / "together", tmp_path / "other", tmp_path / "run"
    run("prepare", f"--release={nih}", f"--release={chexpert}", f"--data_dir={together}", size)
    noted = run("prepare", f"--release={vindr}", f"--data_dir={other}", size)
    assert "note: VinDr-CXR does not say which radiographs are of one patient" in noted
    run(
        "train", f"--config={tmp_path / 'tiny.py'}", f"--data_dir={together}", f"--workdir={out}",
        "--config.epochs=1",
    )  # fmt: skip
    history = pd.read_csv(out / "history.csv")
    assert history[["loss", "val_loss"]].notna().all(axis=None)
    printed = run("evaluate_auc", f"--workdir={out}", f"--data_dir={together}", "--bootstraps=10")
    assert "\nchexpert:\n" in printed
    assert "\nnih:\n" in printed
    groups = pd.read_csv(out / "evaluation/subgroups.csv")
    assert {"chexpert", "nih"} == set(groups.loc[groups["group"] == "Source", "value"])
    printed = run("evaluate_auc", f"--workdir={out}", f"--data_dir={other}", "--bootstraps=10")
    lines = {line.split()[0]: line for line in printed.splitlines() if line}
    assert "no known label" in lines["Hernia"]
    scores = pd.read_csv(out / "evaluation/auc.csv").set_index("finding")
    assert scores.loc["Hernia", "unknown"] == 4
    assert scores.loc["Atelectasis", ["positives", "negatives", "unknown"]].tolist() == [2, 2, 0]
    assert scores["auc"].notna().sum() == 2  # atelectasis and the mean
    run("report", f"--workdirs={out}", f"--out={tmp_path / 'report.html'}")
    assert (tmp_path / "report.html").stat().st_size > 10_000
