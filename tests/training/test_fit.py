"""`fit`, its callbacks and its checkpoints."""

import dataclasses
import math
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

import jaxcxr as cxr
from jaxcxr.inference.predictor import Predictor
from jaxcxr.models.ops.normalization import in_part
from jaxcxr.runs.workdir import claim_workdir, read_config, read_variant, trained_on_other_data
from jaxcxr.training.augmentation import Augmentation
from jaxcxr.training.fit import starting_variables
from jaxcxr.training.history import History
from jaxcxr.training.losses import binary_cross_entropy
from jaxcxr.training.state import initial_variables
from tests.tiny import make_split


def history_of(losses: list[float]) -> History:
    return History(
        tuple({"epoch": i + 1, "loss": 9.0, "val_loss": v} for i, v in enumerate(losses))
    )


def assert_same(ours, theirs) -> None:
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def train(model, epochs, *callbacks, images=48, **settings):
    return cxr.fit(
        model,
        make_split(images),
        validation_data=make_split(20, seed=1),
        epochs=epochs,
        batch_size=16,
        callbacks=callbacks,
        **{"optimizer": cxr.adam(1e-2), "verbose": False, **settings},
    )


def test_learns_and_repeats_itself_bit_for_bit(tiny_model):
    run, again = train(tiny_model, 4), train(tiny_model, 4, initial_weights="random")
    assert run.history["loss"][-1] < run.history["loss"][0]
    assert len(run.history["val_loss"]) == 4
    assert run.history["loss"] == again.history["loss"]
    assert_same(run.variables, again.variables)


def test_folder_and_config_json_of_another_network_are_refused(tiny_model, tmp_path):
    train(tiny_model, 1, cxr.BackupAndRestore(tmp_path))
    other = cxr.Classifier(tiny_model.backbone.clone(width=8), cxr.Baseline())
    message = r"model\.backbone\.width is 4 there and 8 here"
    with pytest.raises(cxr.UserError, match=message):
        train(other, 1, cxr.BackupAndRestore(tmp_path))
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"width": 4', '"width": 8'))
    with pytest.raises(cxr.UserError, match=message):
        Predictor.from_run(tmp_path)


@pytest.mark.parametrize("frozen", ["backbone", ("backbone/stage1", "backbone/conv1")])
@pytest.mark.parametrize("ema_decay", [0.0, 0.97])
def test_frozen_parts_keep_every_bit(tiny_model, frozen, ema_decay):
    """In the moving average, too, and beside parts that move."""
    start = initial_variables(tiny_model, 16, seed=0)
    run = train(tiny_model, 2, frozen=frozen, ema_decay=ema_decay)
    moved = {"frozen": 0, "trained": 0}

    def compare(path, before, after):
        names = [key.key for key in path[1:]]
        parts = (frozen,) if isinstance(frozen, str) else frozen
        part = "frozen" if in_part(names, parts) else "trained"
        moved[part] += not np.array_equal(before, after)

    jax.tree_util.tree_map_with_path(compare, start, run.variables)
    assert moved["frozen"] == 0
    assert moved["trained"] > 0


def test_early_stopping_counts_from_the_best_loss():
    stop = cxr.EarlyStopping(patience=3, min_delta=0.001)
    assert not stop.should_stop(history_of([5, 4, 4, 4]))
    assert stop.should_stop(history_of([5, 4, 4, 4, 4]))
    assert stop.should_stop(history_of([5, 4, 3.9995, 3.9994, 3.9993]))  # too little
    assert not stop.should_stop(history_of([5, 4, 4, 4, 3.9]))
    assert stop.should_stop(history_of([math.nan] * 3))
    equal = cxr.EarlyStopping(patience=1, min_delta=0)
    assert equal.should_stop(history_of([5, 5]))
    assert not equal.should_stop(history_of([5, np.nextafter(5, 0)]))


def test_best_epoch_is_the_first_lowest_and_always_finite():
    assert history_of([3, 1, 2, 1]).best_epoch() == 2
    assert history_of([math.nan, -math.inf, 2, math.inf]).best_epoch() == 3
    assert history_of([math.nan, math.inf]).best_epoch() is None
    assert history_of([]).best_epoch() is None
    assert history_of([3, 1, 2]).best_epoch(mode="max") == 1


def test_learning_rate_drops_exactly_at_the_epoch():
    """For 1 to 1,200 steps per epoch, compiled, against the powers of Python's integers."""
    adam, sizes = cxr.adam(1.0, drop_every=1, drop_factor=0.5), range(1, 1201, 37)
    counts = [np.array([30 * n - 1, 30 * n, 60 * n - 1, 60 * n], np.int32) for n in sizes]

    @jax.jit
    def found(counts):
        return [adam.schedule(n, 100)(count) for n, count in zip(sizes, counts, strict=True)]

    expected = [[0.5**29, 0.5**30, 0.5**59, 0.5**60]] * len(sizes)
    np.testing.assert_allclose(found(counts), expected, rtol=1e-5)


@pytest.mark.parametrize("decoupled", [False, True], ids=["Adam of PyTorch", "AdamW"])
def test_weight_decay_is_the_papers(decoupled):
    """Two steps written out (Kingma and Ba 2014, algorithm 1; Loshchilov and Hutter 2019)."""
    rate, decay, p, m, v = 0.01, 0.1, 2.0, 0.0, 0.0
    adam = cxr.adam(rate, weight_decay=decay, decoupled=decoupled).transformation(1, 1)
    ours = {"w": np.float32(p)}
    state = adam.init(ours)
    for t, gradient in enumerate((0.5, -0.3), start=1):
        g = gradient + (0 if decoupled else decay * p)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        scaled = m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
        p -= rate * (scaled + (decay * p if decoupled else 0))
        updates, state = adam.update({"w": np.float32(gradient)}, state, ours)
        ours = {"w": ours["w"] + updates["w"]}
    np.testing.assert_allclose(ours["w"], p, rtol=1e-5)


def test_warmup_rises_in_a_line_and_cosine_falls_to_zero():
    schedule = cxr.adam(1e-3, warmup_epochs=2, cosine=True).schedule(steps_per_epoch=10, epochs=12)
    np.testing.assert_allclose([schedule(t) for t in (0, 5, 20)], [0, 2.5e-4, 1e-3], rtol=1e-5)
    for step in (20, 45, 70, 120):
        expected = 1e-3 * (1 + math.cos(math.pi * (step - 20) / 100)) / 2
        np.testing.assert_allclose(schedule(step), expected, rtol=1e-4, atol=1e-9)


def test_clipping_scales_large_gradients_down():
    adam, params = cxr.adam(1.0, clip_norm=1.0).transformation(1, 1), {"w": np.zeros(2, np.float32)}
    gradients = {"w": np.array([30.0, 40.0], np.float32)}
    _, state = adam.update(gradients, adam.init(params), params)
    moments = [leaf for leaf in jax.tree.leaves(state) if leaf.shape == (2,)]
    np.testing.assert_allclose(moments[0], 0.1 * np.array([0.6, 0.8]), rtol=1e-5)


def test_moving_average_is_its_closed_form(tiny_model):
    states = []

    class Watch(cxr.Callback):
        def on_epoch_end(self, epoch, logs):
            states.append(jax.tree.map(np.array, self.progress.state))

    run = train(tiny_model, 3, Watch(), images=16, ema_decay=0.8)  # epochs of one step
    average = initial_variables(tiny_model, 16, seed=0)
    for state in states:
        average = jax.tree.map(lambda a, v: 0.8 * a + 0.2 * v, average, state.variables)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
        run.variables,
        average,
    )


def test_augmentation_changes_what_is_learned_and_repeats_itself(tiny_model):
    augmentation = Augmentation(horizontal_flip=True, rotation=10.0, intensity_shift=0.1)
    plain, changed = train(tiny_model, 1), train(tiny_model, 1, augmentation=augmentation)
    again = train(tiny_model, 1, augmentation=augmentation)
    assert changed.history["loss"] != plain.history["loss"]
    assert_same(changed.variables, again.variables)


def test_starts_from_a_file_of_weights(tiny_model, tmp_path):
    from jaxcxr.models.weights.pretrained import to_torch
    from jaxcxr.models.weights.torch_files import write_torch_file

    trained = initial_variables(tiny_model, 16, seed=5)
    path = tmp_path / "trained.safetensors"
    write_torch_file(path, to_torch(trained, "ResNet18"))
    run = train(tiny_model, 1, initial_weights=path, frozen=("backbone", "head"))
    assert_same(run.variables["params"], trained["params"])
    with pytest.raises(cxr.UserError, match=r"nothing\.safetensors"):
        train(tiny_model, 1, initial_weights=tmp_path / "nothing.safetensors")


def by_epochs(steps_per_epoch, epochs):
    return optax.sgd(optax.linear_schedule(0.1, 0.0, steps_per_epoch * epochs))


@pytest.mark.parametrize(
    ("optimizer", "rates"),
    [
        (optax.sgd(0.1), None),
        (by_epochs, None),
        (optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), [0.1, 0.1]),
        (cxr.adam(0.1, drop_every=1), [0.1, 0.01]),
    ],
    ids=["transformation", "function", "injected", "Adam"],
)
def test_any_optimizer_trains_and_is_resumed(tiny_model, tmp_path, optimizer, rates):
    def epochs(number, *callbacks, **settings):
        return cxr.fit(
            tiny_model,
            make_split(32),
            epochs=number,
            batch_size=16,
            **{"optimizer": optimizer, "verbose": False, **settings},
            callbacks=callbacks,
        )

    run = epochs(2)
    if rates is not None:
        np.testing.assert_allclose(run.history["learning_rate"], rates, rtol=1e-6)
    else:
        assert "learning_rate" not in run.history.epochs[0]
    if optimizer is not by_epochs:  # whose schedule depends on the number of epochs
        epochs(1, cxr.BackupAndRestore(tmp_path))
        assert_same(epochs(2, cxr.BackupAndRestore(tmp_path)).variables, run.variables)
        for other in (optax.rmsprop(0.1), cxr.adam(0.2, drop_every=1)):
            with pytest.raises(cxr.UserError, match=r"another run: opt|another network or opt"):
                epochs(2, cxr.BackupAndRestore(tmp_path), optimizer=other)


def test_sgd_of_optax_is_the_gradient_step_of_an_own_loss(tiny_model):
    """One step of a loss that is the mean of the logits: its gradient for their bias is known."""

    def mean_logit(logits, labels, mask):
        return logits.mean()

    start = starting_variables(tiny_model, 16, None, seed=0)
    run = cxr.fit(
        tiny_model,
        make_split(16),
        epochs=1,
        batch_size=16,
        optimizer=optax.sgd(0.7),
        loss=mean_logit,
        verbose=False,
    )
    before, after = (v["params"]["head"]["classifier"]["bias"] for v in (start, run.variables))
    np.testing.assert_allclose(after, before - 0.7 / 14, rtol=1e-5)


@pytest.mark.parametrize("optimizer", [None, optax.sgd(0.1)])
def test_the_second_of_two_equal_trainings_compiles_nothing(tiny_model, optimizer):
    traced = []

    def counted(logits, labels, mask):
        traced.append(logits.shape)
        return (logits**2).mean()

    for _ in range(3):
        train(tiny_model, 1, loss=counted, **({"optimizer": optimizer} if optimizer else {}))
    assert traced == [(16, 14), (20, 14)]  # a step and the validation, once each


def test_hooks_are_called_in_keras_order(tiny_model):
    calls = []

    class Note(cxr.Callback):
        def on_train_begin(self):
            calls.append("train")

        def on_train_end(self):
            calls.append("end")

        def on_epoch_begin(self, epoch):
            calls.append(f"epoch {epoch}")

        def on_epoch_end(self, epoch, logs):
            assert logs == self.progress.history.epochs[-1]
            assert logs["epoch"] == epoch == len(self.progress.history)
            calls.append(f"end of {epoch}")
            losses = [loss for loss in calls if isinstance(loss, float)][-3:]
            np.testing.assert_allclose(logs["loss"], np.mean(losses))

        def on_train_batch_end(self, batch, logs):
            calls.extend([batch, logs["loss"]])

    train(tiny_model, 2, Note())
    named = [call for call in calls if not isinstance(call, float)]
    epochs = [[f"epoch {n}", 1, 2, 3, f"end of {n}"] for n in (1, 2)]
    assert named == ["train", *epochs[0], *epochs[1], "end"]


def test_a_run_shows_itself_in_one_line_and_as_a_table(tiny_model):
    run = train(tiny_model, 2)
    best = run.history.best_epoch()
    loss = run.history["val_loss"][best - 1]
    assert repr(run) == (
        f"<Run: ResNet18 with Baseline, 2 epochs, best epoch {best}: val_loss {loss:.4f}>"
    )
    assert run._repr_html_().count("<tr") == 3
    assert "<p>ResNet18 with Baseline, 2 epochs, best" in run._repr_html_()


def test_training_imports_where_unix_modules_are_missing():
    program = """
import signal, sys
sys.modules["fcntl"] = sys.modules["resource"] = None
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
import jaxcxr.training.fit, jaxcxr.runs.callbacks, jaxcxr.runs.experiment
assert before == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_learning_rate_is_printed_when_it_changes(tiny_model, capsys):
    train(tiny_model, 4, optimizer=cxr.adam(1e-2, drop_every=2), images=16, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    rates = [line.partition("learning rate ")[2].split("  ")[0] for line in lines]
    assert rates == ["0.01", "", "0.001", ""]


def test_a_folder_without_a_finished_epoch_can_be_claimed_again(tiny_model, tmp_path):
    with pytest.raises(cxr.UserError, match="less than one batch"):
        train(tiny_model, 1, cxr.BackupAndRestore(tmp_path), images=8)
    claim_workdir(tmp_path, {"batch_size": 9999})
    (tmp_path / "run.json").write_text("{}")
    train(tiny_model, np.int64(1), cxr.BackupAndRestore(tmp_path), seed=np.int32(3))
    assert {"batch_size": 16, "seed": 3}.items() <= read_config(tmp_path).items()
    assert not (tmp_path / "run.json").exists()


def test_another_dataset_is_named(tmp_path):
    facts = {"release": "ward", "fingerprint": "a"}
    assert trained_on_other_data(tmp_path, facts) is None
    (tmp_path / "run.json").write_text('{"data": {"release": "ward", "fingerprint": "a"}}')
    assert trained_on_other_data(tmp_path, facts) is None
    assert "release 'ward'" in trained_on_other_data(tmp_path, {**facts, "fingerprint": "b"})
    (tmp_path / "run.json").write_text('{"data": 5}')
    assert trained_on_other_data(tmp_path, facts) is None


@pytest.mark.parametrize("content", ["[]", '[["model", 1]]', "3", "null", "{"])
def test_a_config_json_that_is_none_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(cxr.UserError, match=r"config\.json is damaged"):
        read_config(tmp_path)


@pytest.mark.parametrize("data", ["5", '{"size": 5}', '{"image_size": "5"}'])
def test_a_config_json_that_names_no_dataset_is_refused(tmp_path, data):
    (tmp_path / "config.json").write_text(f'{{"data": {data}}}')
    with pytest.raises(cxr.UserError, match=r"config\.json does not name the prepared"):
        read_variant(tmp_path)
    (tmp_path / "config.json").write_text('{"data": {"image_size": 64}}')
    assert read_variant(tmp_path).image_size == 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frozen": ("bakbone",)}, "frozen names 'bakbone'; .*backbone/conv1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 33}, "32 images, less than one batch of 33"),
        ({"data_placement": "disk"}, "'disk'; use one of streamed, host, device"),
        ({"compute_dtype": "float16"}, "'float16'; use one of float32, bfloat16"),
        ({"seed": -1}, "seed is -1"),
        ({"epochs": 1.5}, r"epochs is 1\.5; expected an integer"),
        ({"optimizer": "adam"}, r"optimizer is .*expected jaxcxr\.Adam, an Optax"),
        ({"optimizer": lambda steps, epochs: "adam"}, r"optimizer is .*expected jaxcxr\.Adam"),
        ({"loss": lambda x, y, m: (x * y).mean(-1)}, r"the loss returns an array of shape \(16,\)"),
        ({"optimizer": cxr.adam(warmup_epochs=1)}, "warmup_epochs is 1"),
        ({"validation_data": make_split(4, size=32)}, "of 32 pixels, those for training of 16"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_invalid_arguments_are_named(tiny_model, settings, message):
    with pytest.raises(cxr.UserError, match=message):
        cxr.fit(tiny_model, make_split(32), **{"epochs": 1, "batch_size": 16, **settings})


def test_a_folder_with_brackets_is_refused(tiny_model, tmp_path):
    for folder in (tmp_path / "run[1]", tmp_path / "[a]" / "run"):
        with pytest.raises(cxr.UserError, match="contains a bracket"):
            cxr.BackupAndRestore(folder)
    strange = tmp_path / "a * ? {b} %20 'ü\n"
    train(tiny_model, 1, cxr.BackupAndRestore(strange))
    assert Predictor.from_run(strange).epoch == 1


def test_a_network_of_another_number_of_findings_is_named(tiny_model):
    five = make_split(32)
    five = cxr.ArraySplit(five.image, five.labels[:, :5])
    with pytest.raises(cxr.UserError, match="14 findings, the radiographs have labels of 5"):
        cxr.fit(tiny_model, five, epochs=1, batch_size=16, verbose=False)
    with pytest.raises(cxr.UserError, match="14 findings, the radiographs have labels of 5"):
        cxr.fit(tiny_model, make_split(16), validation_data=five, epochs=1, batch_size=16)
    of_five = cxr.Classifier(tiny_model.backbone, cxr.Baseline(num_classes=5))
    run = cxr.fit(of_five, five, epochs=1, batch_size=16, verbose=False)
    assert run.variables["params"]["head"]["classifier"]["bias"].shape == (5,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cxr.EarlyStopping(mode="maximum"), "mode is 'maximum'; use one of auto, min, max"),
        (lambda: cxr.ModelCheckpoint("m", mode="maximum"), "mode is 'maximum'; use one of auto"),
        (lambda: cxr.EarlyStopping(patience=0), "patience is 0"),
        (lambda: cxr.BackupAndRestore("m", every=-1), "checkpoint_every is -1"),
        (lambda: cxr.BackupAndRestore("m", keep=0), "keep_checkpoints is 0"),
    ],
)
def test_invalid_settings_of_callbacks_are_refused(make, message):
    with pytest.raises(cxr.UserError, match=message):
        make()


def test_a_loss_that_cannot_be_hashed_trains_as_a_function(tiny_model):
    @dataclasses.dataclass
    class Scaled:
        factor: float

        def __call__(self, logits, labels, mask):
            return self.factor * binary_cross_entropy(logits, labels, mask)

    run = train(tiny_model, 2, loss=Scaled(1.0))
    assert (
        run.history["val_loss"]
        == train(tiny_model, 2, loss=binary_cross_entropy).history["val_loss"]
    )


def test_optimizers_get_the_loss_of_the_batch(tiny_model):
    values = optax.GradientTransformationExtraArgs(
        lambda params: np.zeros(()), lambda grads, state, params, *, value, **_: (grads, value)
    )
    plateau = optax.chain(optax.sgd(1e-2), optax.contrib.reduce_on_plateau(), values)
    assert_same(
        train(tiny_model, 1, optimizer=plateau, images=16).variables,
        train(tiny_model, 1, optimizer=optax.sgd(1e-2), images=16).variables,
    )


def test_gradients_of_several_steps_are_collected_by_multi_steps(tiny_model):
    still = train(tiny_model, 1, optimizer=optax.MultiSteps(optax.sgd(1e-2), 4)).variables
    start = starting_variables(tiny_model, 16, None, 0)
    assert_same(still["params"], start["params"])  # 3 of 4 steps
