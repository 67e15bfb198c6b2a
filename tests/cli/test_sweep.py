"""Sweeps: which runs they hold, how machines share them, and what their table contains."""

import asyncio
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from jaxcxr.cli.run_trials import TrialRunner
from jaxcxr.cli.time_left import is_done
from jaxcxr.cli.trials import (
    LEARNING_RATES,
    Trial,
    is_scored,
    make_trials,
    read_shard,
    refuse_varied,
    split_values,
    summarize,
    summary_text,
)
from jaxcxr.errors import UserError
from jaxcxr.runs.lock import acquire
from jaxcxr.training.callbacks import EarlyStopping


def write_run(workdir, losses=(0.5,), aucs=(0.5,), scored=1, **config):
    """Writes what trials read of a trained and scored run."""
    (workdir / "evaluation").mkdir(parents=True, exist_ok=True)
    history = pd.DataFrame({"val_loss": losses, "val_auc": aucs})
    history.index += 1
    history.to_csv(workdir / "history.csv", index_label="epoch")
    (workdir / "config.json").write_text(json.dumps(config))
    for name, text in {
        "epochs.json": json.dumps({"auc": scored, "boxes": scored}),
        "auc.csv": "finding,auc\nMass,0.6\nMean,0.7\n",
        "localization.csv": "finding,metric,threshold,accuracy\nMean,IoU,0.1,0.4\n"
        "Mean,IoU,0.3,0.2\nMean,IoBB,0.25,0.3\nMass,IoU,0.1,0.1\nMean,IoGT,0.1,0.9\n",
    }.items():
        (workdir / "evaluation" / name).write_text(text)


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
    trials = make_trials(["a.py"], "initial_weights", values, 1)
    names = [trial.folder.removeprefix("a/").removesuffix("/seed_0") for trial in trials]
    assert len(set(names)) == len(values)
    assert not any(set(name) & set("/\0[*?") or name in (".", "..") for name in names)
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


@pytest.mark.parametrize("shard", ["0/2", "3/2", "-1/-1", "1", "a/b"])
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
    for trial in trials[:4]:
        loss = {"8": 3.0, "16": 2.0}[trial.value] + trial.seed
        write_run(tmp_path / trial.folder, [loss + 1, loss, np.inf, np.nan], [0.6] * 4, scored=2)
    write_run(tmp_path / trials[4].folder, [2.0, 1.0], [0.6] * 2, scored=1)  # not of its best epoch
    table = summarize(tmp_path, trials)
    assert list(table["batch_size"]) == ["16", "8"]
    assert list(table["seeds"]) == [2, 2]
    np.testing.assert_allclose(table["val_loss"], [2.5, 3.5])
    np.testing.assert_allclose(table["val_loss sd"], [np.sqrt(0.5)] * 2)
    scores = ["AUC", "IoU > 0.1", "IoU > 0.3", "IoBB > 0.25", "best_epoch"]
    np.testing.assert_allclose(table.loc[0, scores].to_numpy(float), [0.7, 0.4, 0.2, 0.3, 2])
    assert "2.500 ± 0.707" in summary_text(table)
    write_run(tmp_path / trials[0].folder)
    assert summary_text(summarize(tmp_path, trials[:1])).split()[-6:] == [
        "0.500", "0.500", "0.700", "0.400", "0.200", "0.300",
    ]  # fmt: skip


def test_runs_of_different_losses_are_ranked_by_validation_auc(tmp_path):
    trials = make_trials(["a.py"], "loss", ["x", "y", "z"], 1)
    for losses, order in ((["x", "y", "z"], ["y", "z", "x"]), (["x"] * 3, ["x", "y", "z"])):
        for index, trial in enumerate(trials):
            auc = (0.7, 0.9, 0.8)[index]
            write_run(tmp_path / trial.folder, [index + 1], [auc], loss=losses[index])
        assert list(summarize(tmp_path, trials)["loss"]) == order


def test_table_without_a_finished_trial_has_its_columns(tmp_path):
    for key, values, column in (("batch_size", ["8"], "batch_size"), ("", [], "setting")):
        table = summarize(tmp_path, make_trials(["a.py"], key, values, 2))
        assert table.to_csv(index=False) == f"config,{column},seeds\n"
        assert summary_text(table) == "no trial is finished"


def test_run_is_scored_until_a_better_epoch_comes(tmp_path):
    assert not is_scored(tmp_path)
    write_run(tmp_path, [4, 3, np.inf, np.nan, 6], [0.5] * 5, scored=2)
    assert is_scored(tmp_path)
    write_run(tmp_path, [4, 3, np.inf, np.nan, 2], [0.5] * 5, scored=2)
    assert not is_scored(tmp_path)
    (tmp_path / "evaluation/epochs.json").write_text('{"auc": 5}')
    assert not is_scored(tmp_path)


def test_scored_run_is_done_unless_its_training_would_go_on(tmp_path):
    def done(epochs, patience):
        config = SimpleNamespace(epochs=epochs)
        stopping = EarlyStopping(patience=patience)
        return is_done(tmp_path, SimpleNamespace(config=config, early_stopping=stopping))

    write_run(tmp_path, [4, 3, 5, 6], [0.5] * 4, scored=2)
    assert [done(epochs, 3) for epochs in (3, 4, 5)] == [True, True, False]
    assert done(5, patience=2)  # it stopped early
    write_run(tmp_path, [4, 3, 5, 6], [0.5] * 4, scored=1)
    assert not done(4, 3)


def test_commas_part_values_but_not_inside_brackets():
    assert split_values("1e-3, 1e-4") == ["1e-3", "1e-4"]
    assert split_values("(2, 2),(3, 4, 6, 3)") == ["(2, 2)", "(3, 4, 6, 3)"]
    assert split_values("[2, 2], [3, 4]") == ["[2, 2]", "[3, 4]"]
    assert split_values("") == []


def test_training_of_a_killed_sweep_is_waited_for(tmp_path):
    trial = Trial("nosuch.py", "", "", 0)
    workdir = tmp_path / trial.folder

    async def sweep_while_locked() -> tuple[int, str | None]:
        lock = acquire(workdir)
        sweep = asyncio.create_task(TrialRunner(tmp_path, "nosuch", ()).run([trial]))
        await asyncio.sleep(1.2)
        assert not (workdir / "log.txt").exists()
        lock.release()
        return await sweep

    assert asyncio.run(sweep_while_locked()) == (1, None)
    assert "nosuch.py" in (workdir / "log.txt").read_text()
