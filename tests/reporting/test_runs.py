import numpy as np
import pandas as pd
import pytest

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.reporting.runs import read_runs


def test_a_run_is_read_whole(three_runs):
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
    images = ["007", "008", "009", "010"] * 1
    (run,) = read_runs([make_run(images=images)])
    assert run.cases is not None
    assert list(run.cases.annotated["image_name"]) == images


def test_what_is_not_there_yet_is_none(make_run):
    workdir = make_run(evaluated=False)
    (workdir / "history.csv").unlink()
    (workdir / "run.json").unlink()
    (run,) = read_runs([workdir])
    assert (run.classification, run.localization, run.cases) == (None, None, None)
    assert run.facts == {}
    assert run.history.empty


def test_runs_of_one_name_are_called_by_their_paths(make_run):
    workdirs = [make_run(evaluated=False), make_run(evaluated=False), make_run("c")]
    assert [run.name for run in read_runs(workdirs)] == [*map(str, workdirs[:2]), "c"]


def test_no_run_is_refused():
    with pytest.raises(UserError, match="--workdirs"):
        read_runs([])


def test_a_run_named_twice_is_refused(three_runs):
    with pytest.raises(UserError, match="twice"):
        read_runs([three_runs[0], three_runs[0] / ".." / "baseline"])


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"not the folder of a run.*config\.json"):
        read_runs([tmp_path])


def drop_mean(path):
    table = pd.read_csv(path)
    table.loc[table["finding"] != "Mean"].to_csv(path, index=False)


def reverse(path):
    pd.read_csv(path).iloc[::-1].to_csv(path, index=False)


def drop_column(path):
    pd.read_csv(path).iloc[:, 1:].to_csv(path, index=False)


def truncate(path):
    path.write_bytes(path.read_bytes()[:100])


def empty(path):
    path.write_text("")


def no_object(path):
    path.write_text("[1]")


def pickled(path):
    np.savez(path, images=np.array([object()]))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("config.json", truncate),
        ("config.json", no_object),
        ("run.json", empty),
        ("history.csv", drop_column),
        ("history.csv", empty),
        ("evaluation/auc.csv", drop_mean),
        ("evaluation/labels.csv", reverse),
        ("evaluation/predictions.csv", lambda path: path.unlink()),
        ("evaluation/localization.csv", drop_column),
        ("evaluation/pointing_game.csv", empty),
        ("evaluation/annotated_boxes.csv", reverse),
        ("evaluation/boxes.csv", drop_column),
        ("evaluation/cases.npz", truncate),
        ("evaluation/cases.npz", pickled),
    ],
)
def test_damaged_files_are_named(make_run, name, damage):
    workdir = make_run()
    damage(workdir / name)
    with pytest.raises(UserError, match=r"again|restore") as told:
        read_runs([workdir])
    assert name.rpartition("/")[2] in str(told.value)
    assert str(workdir) in str(told.value)


def test_scores_of_another_epoch_are_told(make_run):
    workdir = make_run("run")
    evaluation = workdir / "evaluation"
    (evaluation / "epochs.json").write_text('{"auc": 2, "boxes": 2}')
    assert read_runs([workdir])[0].outdated is None
    (evaluation / "epochs.json").write_text('{"auc": 2, "boxes": 1}')
    assert "was scored at epoch 1 and its best epoch is 2 now" in read_runs([workdir])[0].outdated
