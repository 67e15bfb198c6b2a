import shutil

import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.reporting.runs import read_runs


def test_a_run_is_read_completely(three_runs):
    run = read_runs(three_runs)[1]
    assert run.name == "space_attention"
    assert run.config["model"]["head"]["name"] == "SpaceAttention"
    assert run.facts["commit"] == "abc1234"
    assert list(run.history["val_loss"]) == [9.5, 8, 8.5]
    assert run.classification is not None
    assert list(run.classification.auc["finding"]) == [*FINDINGS, "Mean"]
    assert run.localization is not None
    assert {"ci_low", "ci_high", "afp"} <= set(run.localization.scores)
    assert run.cases is not None
    assert len(run.cases.annotated) == len(run.cases.heatmaps)


def test_image_names_that_look_like_numbers_stay_text(make_run):
    (run,) = read_runs([make_run(images=("007", "008", "009", "010"))])
    assert run.cases is not None
    assert list(run.cases.annotated["image_name"]) == ["007", "008", "009", "010"]


def test_runs_without_scores_of_one_name_are_called_by_their_paths(make_run):
    workdirs = [make_run(), make_run(), make_run("c")]
    for workdir in workdirs:
        shutil.rmtree(workdir / "evaluation")
        for name in ("history.csv", "run.json"):
            (workdir / name).unlink()
    runs = read_runs(workdirs)
    assert [run.name for run in runs] == [*map(str, workdirs[:2]), "c"]
    assert (runs[0].classification, runs[0].localization, runs[0].cases) == (None, None, None)
    assert runs[0].facts == {}
    assert runs[0].history.empty


def test_diverged_run_is_refused(make_run):
    workdir = make_run()
    history = pd.read_csv(workdir / "history.csv")
    history.assign(val_loss=np.nan).to_csv(workdir / "history.csv", index=False)
    with pytest.raises(UserError, match="no usable epoch: its validation loss is not finite"):
        read_runs([workdir])


def test_other_folders_and_repeats_are_refused(three_runs, tmp_path):
    with pytest.raises(UserError, match="no run is given"):
        read_runs([])
    with pytest.raises(UserError, match="twice"):
        read_runs([three_runs[0], three_runs[0] / ".." / "baseline"])
    with pytest.raises(UserError, match=r"not the folder of a run.*config\.json"):
        read_runs([tmp_path])


def refused(workdir, name, damaged: str | bytes):
    """Reads a run one of whose files is damaged, and puts the file back."""
    path = workdir / name
    content = path.read_bytes()
    path.write_bytes(damaged.encode() if isinstance(damaged, str) else damaged)
    remedy = r"run evaluate_\w+ again$" if "/" in name else "restore it or train again$"
    with pytest.raises(UserError, match=remedy) as caught:
        read_runs([workdir])
    path.write_bytes(content)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("auc", "positives"),
        ("labels", "Mass"),
        ("predictions", "Hernia"),
        ("localization", "boxes"),
        ("localization_intervals", "ci_low"),
        ("localization_published", "accuracy"),
        ("localization_rules", "mean_iou"),
        ("localization_cuts", "area_ratio"),
        ("pointing_game", "accuracy"),
        ("annotated_boxes", "x"),
        ("boxes", "h"),
    ],
)
def test_damaged_tables_are_named(make_run, name, column):
    workdir, name = make_run(), f"evaluation/{name}.csv"
    table = pd.read_csv(workdir / name, dtype=str)
    for damaged in ("", table.to_csv(index=False)[:-2], b"\xff"):
        refused(workdir, name, damaged)
    refused(workdir, name, table.drop(columns=column).to_csv(index=False))
    refused(workdir, name, table.assign(**{column: "high"}).to_csv(index=False))


def test_other_damaged_files_are_named(make_run, tmp_path):
    workdir = make_run()
    refused(workdir, "history.csv", "epoch,loss\n1,high\n")
    for name in ("config.json", "run.json"):
        for damaged in ("", '{"model": ', "[1]", b"\xff"):
            refused(workdir, name, damaged)
    cases = workdir / "evaluation/cases.npz"
    content = bytearray(cases.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 16)
    flipped = bytes(255 - byte for byte in content[middle])
    np.savez(tmp_path / "pickled.npz", images=np.array([object()]))
    np.save(tmp_path / "array.npy", np.zeros(3))
    for damaged in (
        b"",
        bytes(content[:100]),
        bytes(content[: middle.start] + flipped + content[middle.stop :]),
        (tmp_path / "pickled.npz").read_bytes(),
        (tmp_path / "array.npy").read_bytes(),
    ):
        refused(workdir, "evaluation/cases.npz", damaged)
    path = workdir / "evaluation/predictions.csv"
    pd.read_csv(path).iloc[1:].to_csv(path, index=False)
    with pytest.raises(UserError, match=r"about other radiographs; run evaluate_auc again$"):
        read_runs([workdir])
    path.unlink()
    with pytest.raises(UserError, match=r"predictions\.csv is damaged \(No such file"):
        read_runs([workdir])


def test_scores_of_another_epoch_are_reported(make_run):
    workdir = make_run("run")
    evaluation = workdir / "evaluation"
    (evaluation / "epochs.json").write_text('{"auc": 2, "boxes": 2}')
    assert read_runs([workdir])[0].outdated is None
    (evaluation / "epochs.json").write_text('{"auc": 2, "boxes": 1}')
    assert "was scored at epoch 1 and its best epoch is 2 now" in read_runs([workdir])[0].outdated
    (evaluation / "epochs.json").write_text('{"auc": "x"}')
    with pytest.raises(UserError, match=r"epochs\.json"):
        read_runs([workdir])
