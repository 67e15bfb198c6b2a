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
    with pytest.raises(UserError, match="no run is given"):
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


def plain_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def flip_bytes(path):
    content = bytearray(path.read_bytes())
    middle = slice(len(content) // 2, len(content) // 2 + 16)
    content[middle] = bytes(255 - byte for byte in content[middle])
    path.write_bytes(content)


def fewer_images(path):
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    kept = {name: arrays[name][:-1] for name in ("images", "png_size")}
    np.savez(path, **arrays | kept)


def cut_in_the_last_number(path):
    path.write_bytes(path.read_bytes()[:-2])


def drop_rows(path):
    pd.read_csv(path).iloc[[0, 1, -1]].to_csv(path, index=False)


def repeat_row(path):
    table = pd.read_csv(path)
    pd.concat([table, table.iloc[-1:]]).to_csv(path, index=False)


def header_alone(path):
    pd.read_csv(path).iloc[:0].to_csv(path, index=False)


def put(column, field):
    """Returns the damage of a field in a table's second row."""

    def damage(path):
        table = pd.read_csv(path, dtype=str)
        table.loc[1, column] = field
        table.to_csv(path, index=False)

    return damage


def write(text):
    """Returns the damage of another text."""
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("config.json", truncate),
        ("config.json", no_object),
        ("config.json", write("{}")),
        ("config.json", write('{"model": 5}')),
        ("config.json", write('{"model": {"backbone": {"name": "ResNet18"}, "head": 5}}')),
        ("run.json", empty),
        ("run.json", write('{"data": 5}')),
        ("history.csv", drop_column),
        ("history.csv", empty),
        ("history.csv", header_alone),
        ("history.csv", put("loss", "low")),
        ("history.csv", put("val_loss", "low")),
        ("history.csv", put("epoch", "3")),
        ("evaluation/auc.csv", drop_mean),
        ("evaluation/auc.csv", drop_rows),
        ("evaluation/auc.csv", repeat_row),
        ("evaluation/auc.csv", cut_in_the_last_number),
        ("evaluation/auc.csv", put("auc", "high")),
        ("evaluation/auc.csv", put("positives", "many")),
        ("evaluation/auc.csv", put("positives", "")),
        ("evaluation/auc.csv", put("negatives", "many")),
        ("evaluation/labels.csv", reverse),
        ("evaluation/labels.csv", put("Mass", "yes")),
        ("evaluation/predictions.csv", lambda path: path.unlink()),
        ("evaluation/predictions.csv", put("Mass", "high")),
        ("evaluation/predictions.csv", put("Mass", "")),
        ("evaluation/predictions.csv", put("Mass", "7")),
        ("evaluation/localization.csv", drop_column),
        ("evaluation/localization.csv", drop_rows),
        ("evaluation/localization.csv", repeat_row),
        ("evaluation/localization.csv", put("threshold", "low")),
        ("evaluation/localization.csv", put("boxes", "")),
        ("evaluation/localization_intervals.csv", drop_rows),
        ("evaluation/localization_intervals.csv", put("ci_low", "low")),
        ("evaluation/localization_published.csv", drop_rows),
        ("evaluation/localization_published.csv", put("accuracy", "low")),
        ("evaluation/pointing_game.csv", empty),
        ("evaluation/pointing_game.csv", drop_rows),
        ("evaluation/pointing_game.csv", put("accuracy", "high")),
        ("evaluation/annotated_boxes.csv", reverse),
        ("evaluation/annotated_boxes.csv", put("x", "left")),
        ("evaluation/annotated_boxes.csv", put("w", "inf")),
        ("evaluation/boxes.csv", drop_column),
        ("evaluation/boxes.csv", put("h", "high")),
        ("evaluation/boxes.csv", put("h", "")),
        ("evaluation/boxes.csv", cut_in_the_last_number),
        ("evaluation/cases.npz", truncate),
        ("evaluation/cases.npz", pickled),
        ("evaluation/cases.npz", empty),
        ("evaluation/cases.npz", plain_array),
        ("evaluation/cases.npz", flip_bytes),
        ("evaluation/cases.npz", fewer_images),
        ("evaluation/epochs.json", write('{"auc": [1]}')),
        ("evaluation/epochs.json", write('{"auc": "x", "boxes": 3}')),
    ],
)
def test_damaged_files_are_named(make_run, name, damage):
    workdir = make_run()
    damage(workdir / name)
    remedy = r"run evaluate_\w+.* again$" if "/" in name else "restore it or train again$"
    with pytest.raises(UserError, match=remedy) as caught:
        read_runs([workdir])
    assert name.rpartition("/")[2] in str(caught.value)
    assert str(workdir) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scores_of_another_epoch_are_reported(make_run):
    workdir = make_run("run")
    evaluation = workdir / "evaluation"
    (evaluation / "epochs.json").write_text('{"auc": 2, "boxes": 2}')
    assert read_runs([workdir])[0].outdated is None
    (evaluation / "epochs.json").write_text('{"auc": 2, "boxes": 1}')
    assert "was scored at epoch 1 and its best epoch is 2 now" in read_runs([workdir])[0].outdated
