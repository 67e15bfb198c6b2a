"""Sweeps: which runs they hold, how machines share them, and what their table contains."""

import json

import numpy as np
import pytest

from jaxcxr.cli.trials import (
    LEARNING_RATES,
    RESULT,
    is_scored,
    make_trials,
    read_shard,
    record_result,
    refuse_varied,
    split_values,
    summarize,
    summary_text,
)
from jaxcxr.errors import UserError

SCORES = dict.fromkeys(("val_loss", "val_auc", "AUC", "IoU > 0.1", "IoU > 0.3", "IoBB > 0.25"), 0.5)

WITHOUT_EPOCH = {"loss_settings": {}} | SCORES


def write_result(sweep, trial, loss_settings=None, **scores):
    path = sweep / trial.folder / RESULT
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"loss_settings": loss_settings, "best_epoch": 1} | SCORES | scores
    path.write_text(json.dumps(result))
    return path


def test_the_papers_grid():
    assert len(LEARNING_RATES) == 10
    assert LEARNING_RATES[0] == 1e-3
    assert LEARNING_RATES[-1] == 1e-6
    ratios = np.divide(LEARNING_RATES[1:], LEARNING_RATES[:-1])
    np.testing.assert_allclose(ratios, ratios.mean(), rtol=0.05)


def test_every_combination_has_a_folder_of_its_own():
    trials = make_trials(["a.py", "b.py"], "optimizer.learning_rate", ["1e-3", "1e-4"], 3)
    assert len(trials) == 12
    assert len({trial.folder for trial in trials}) == 12
    assert trials[1].overrides == ["--config.optimizer.learning_rate=1e-3", "--config.seed=1"]
    assert make_trials(["a.py"], "", [], 1)[0].overrides == ["--config.seed=0"]


def test_no_value_leads_out_of_the_sweep_or_into_the_folder_of_another():
    values = ["../../../x", "..%2F..%2F..%2Fx", "/x", "x", "x/", "é", "a\0b", "\udcff", "[2, 2]"]
    values += ["v" * 400, "v" * 399 + "w", "v" * 399 + "/", "é" * 100]
    trials = make_trials(["a.py"], "initial_weights", values, 1)
    names = [trial.folder.removeprefix("a/").removesuffix("/seed_0") for trial in trials]
    assert len(set(names)) == len(values)
    assert not any(set(name) & set("/\0[*?") or name in (".", "..") for name in names)
    assert max(len(name.encode()) for name in names) <= 150
    assert trials[0].overrides[0] == "--config.initial_weights=../../../x"
    (plain,) = make_trials(["a.py"], "data.x", ["(2, 2)"], 1)
    assert plain.folder == "a/data.x=(2, 2)/seed_0"
    (trial,) = make_trials(["a.py"], "../../x", ["1"], 1)
    assert trial.folder == "a/..%2F..%2Fx=1/seed_0"


def test_shards_are_a_partition():
    trials = make_trials(["a.py"], "batch_size", ["8", "16", "32"], 4)
    shards = [trials[read_shard(f"{index}/5")] for index in range(1, 6)]
    assert sorted(t.folder for shard in shards for t in shard) == sorted(t.folder for t in trials)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1/0", "-1/-1", "1", "a/b", "1/2/3"])
def test_shard_that_is_not_a_part_is_refused(shard):
    with pytest.raises(UserError, match="shard is"):
        read_shard(shard)


@pytest.mark.parametrize(
    ("configs", "key", "values", "message"),
    [
        (["a.py"], "batch_size", [], "--key and --values"),
        (["a.py"], "batch_size", ["1", "2", "1"], "2 runs would share the folder a/batch_size=1/"),
        (["a.py", "c.py", "a.py"], "", [], "2 runs would share the folder a/"),
        (["a.py", "b/a.py"], "", [], "2 runs would share the folder a/"),
    ],
)
def test_runs_of_one_folder_and_half_a_search_are_refused(configs, key, values, message):
    with pytest.raises(UserError, match=message):
        make_trials(configs, key, values, 1)


def test_settings_of_every_run_leave_alone_what_varies():
    refuse_varied("batch_size", ["epochs=3", "optimizer.batch_size=3", "data.split_seed=1"])
    refuse_varied("", ["epochs=3"])
    with pytest.raises(UserError, match="sets batch_size, which --key searches over"):
        refuse_varied("batch_size", ["epochs=3", "batch_size=8"])
    for key, settings in (("", ["seed=3"]), ("seed", [])):
        with pytest.raises(UserError, match="a sweep sets the seed itself; give --seeds=N"):
            refuse_varied(key, settings)


def test_table_has_mean_and_deviation_over_seeds_best_first(tmp_path):
    trials = make_trials(["a.py"], "batch_size", ["8", "16", "32"], 2)
    for trial in trials[:4]:  # the last value is not finished
        write_result(tmp_path, trial, val_loss={"8": 3.0, "16": 2.0}[trial.value] + trial.seed)
    table = summarize(tmp_path, trials)
    assert list(table["batch_size"]) == ["16", "8"]
    assert list(table["seeds"]) == [2, 2]
    np.testing.assert_allclose(table["val_loss"], [2.5, 3.5])
    np.testing.assert_allclose(table["val_loss sd"], [np.sqrt(0.5)] * 2)
    assert "2.500 ± 0.707" in summary_text(table)


def test_runs_of_different_losses_are_ranked_by_validation_auc(tmp_path):
    trials = make_trials(["a.py"], "loss", ["x", "y", "z"], 1)
    scores = [{"val_loss": 1.0, "val_auc": 0.7}, {"val_loss": 2.0, "val_auc": 0.9}]
    scores.append({"val_loss": 3.0, "val_auc": 0.8})
    for trial, of_trial in zip(trials, scores, strict=True):
        write_result(tmp_path, trial, {"loss": trial.value}, **of_trial)
    assert list(summarize(tmp_path, trials)["loss"]) == ["y", "z", "x"]
    for trial, of_trial in zip(trials, scores, strict=True):
        write_result(tmp_path, trial, {"loss": "x"}, **of_trial)
    assert list(summarize(tmp_path, trials)["loss"]) == ["x", "y", "z"]


def test_table_without_a_finished_trial_has_its_columns(tmp_path):
    for key, values, column in (("batch_size", ["8"], "batch_size"), ("", [], "setting")):
        table = summarize(tmp_path, make_trials(["a.py"], key, values, 2))
        assert table.to_csv(index=False) == f"config,{column},seeds\n"
        assert summary_text(table) == "no trial is finished"


def test_result_is_that_of_the_best_epoch_and_outdated_by_a_better_one(tmp_path):
    assert not is_scored(tmp_path)
    (tmp_path / "evaluation").mkdir()
    history = "epoch,loss,val_loss,val_auc\n1,5,4,0.5\n2,4,3,0.75\n3,3,inf,0.5\n4,3,,0.5\n"
    (tmp_path / "history.csv").write_text(history)
    (tmp_path / "config.json").write_text('{"loss": "focal_loss", "batch_size": 8, "seed": 0}')
    (tmp_path / "evaluation/auc.csv").write_text("finding,auc\nMass,0.6\nMean,0.7\n")
    boxes = [f"Mean,{score.replace(' > ', ',')},0.2" for score in ("IoU > 0.1", "IoU > 0.3")]
    boxes += ["Mean,IoBB,0.25,0.3", "Mass,IoU,0.1,0.1", "Mean,IoGT,0.1,0.9"]
    (tmp_path / "evaluation/localization.csv").write_text(
        "\n".join(["finding,metric,threshold,accuracy", *boxes, ""])
    )
    record_result(tmp_path)
    assert json.loads((tmp_path / RESULT).read_text()) == {
        "loss_settings": {
            "loss": "focal_loss",
            "label_smoothing": None,
            "batch_size": 8,
            "findings": None,
        },
        "val_loss": 3.0,
        "val_auc": 0.75,
        "best_epoch": 2,
        "AUC": 0.7,
        "IoU > 0.1": 0.2,
        "IoU > 0.3": 0.2,
        "IoBB > 0.25": 0.3,
    }
    assert is_scored(tmp_path)
    (tmp_path / "history.csv").write_text(history + "5,3,6,0.5\n")
    assert is_scored(tmp_path)
    (tmp_path / "history.csv").write_text(history + "5,3,2,0.5\n")
    assert not is_scored(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        pytest.param("[" * 100_000, id="deep"),
        json.dumps(WITHOUT_EPOCH),
        json.dumps({"best_epoch": 1} | SCORES),
        '{"loss_settings": {}}',
        *(
            json.dumps({"loss_settings": {}} | SCORES | {"best_epoch": bad})
            for bad in ("low", None, [1])
        ),
    ],
)
def test_a_damaged_result_is_named(tmp_path, content):
    trials = make_trials(["a.py"], "", [], 1)
    path = write_result(tmp_path, trials[0])
    path.write_text(content)
    for read in (lambda: is_scored(path.parent), lambda: summarize(tmp_path, trials)):
        with pytest.raises(UserError, match=f"{RESULT} is damaged; remove it"):
            read()


def test_commas_part_values_but_not_inside_brackets():
    assert split_values("1e-3, 1e-4") == ["1e-3", "1e-4"]
    assert split_values("(2, 2),(3, 4, 6, 3)") == ["(2, 2)", "(3, 4, 6, 3)"]
    assert split_values("[2, 2], [3, 4]") == ["[2, 2]", "[3, 4]"]
    assert split_values("") == []
