"""Checkpoints of a run: Orbax folders, one per epoch, under `workdir/checkpoints`.

Each holds three items: `evaluated` (the parameters and batch norm statistics to predict with),
`training` (all else that the next step starts from) and `history` (JSON). Orbax writes a checkpoint
aside and renames it when it is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from orbax.checkpoint import checkpoint_managers

from jaxcxr.errors import UserError
from jaxcxr.training.history import History
from jaxcxr.training.state import TrainState, Variables

KEEP_LATEST = 2


def open_checkpoints(workdir: str | Path, *, read_only: bool = False) -> ocp.CheckpointManager:
    """Opens the checkpoints of a run: the best by its monitored loss and the latest are kept."""
    kept = checkpoint_managers.AnyPreservationPolicy(
        [
            checkpoint_managers.LatestN(KEEP_LATEST),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics["monitored"], reverse=True, n=1
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=kept,
        best_fn=lambda metrics: metrics["monitored"],
        best_mode="min",
        read_only=read_only,
    )
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # it warns of what read_only means
    try:
        return ocp.CheckpointManager(Path(workdir).absolute() / "checkpoints", options=options)
    finally:
        logging.set_verbosity(verbosity)


def save(manager: ocp.CheckpointManager, state: TrainState, history: History) -> None:
    """Saves the state after the last epoch of `history`; the writing goes on in the background."""
    manager.save(
        len(history),
        args=ocp.args.Composite(
            evaluated=ocp.args.StandardSave(state.evaluated),  # pyright: ignore[reportCallIssue]
            training=ocp.args.StandardSave(_beyond(state)),  # pyright: ignore[reportCallIssue]
            history=ocp.args.JsonSave({"epochs": list(history.epochs)}),  # pyright: ignore[reportCallIssue]
        ),
        metrics={"monitored": history.monitored()[-1]},
    )


def restore_latest(
    manager: ocp.CheckpointManager, state: TrainState
) -> tuple[TrainState, History] | None:
    """Returns the state and history of the latest checkpoint, or None where there is none.

    Args:
        manager: See `open_checkpoints`.
        state: A state of the same network and optimizer; its shapes, dtypes and devices are those
            of the result.
    """
    epoch = manager.latest_step()
    if epoch is None:
        return None
    restored = _restore(
        manager,
        epoch,
        evaluated=ocp.args.StandardRestore(_abstract(state.evaluated)),
        training=ocp.args.StandardRestore(_abstract(_beyond(state))),
        history=ocp.args.JsonRestore(),
    )
    averaged = state.average is not None
    variables = restored.training["variables"] if averaged else restored.evaluated
    state = TrainState(
        step=restored.training["step"],
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=restored.training["opt_state"],
        average=restored.evaluated if averaged else None,
    )
    return state, History(tuple(restored.history["epochs"]))


def restore_best(workdir: str | Path, like: Variables) -> tuple[Variables, int]:
    """Returns the variables of the best epoch and its number.

    Args:
        workdir: Folder of the run.
        like: Variables (or their shapes and dtypes) of the run's network.

    Raises:
        UserError: The run has no finished epoch, or the best one's files are damaged.
    """
    folder = Path(workdir) / "checkpoints"
    if not folder.is_dir():
        raise UserError(f"{workdir} holds no checkpoints; train it first with launch/train.py")
    with open_checkpoints(workdir, read_only=True) as manager:
        epoch = manager.best_step()
        if epoch is None:
            raise UserError(
                f"{folder} holds no finished epoch; go on training with launch/train.py"
            )
        restored = _restore(manager, epoch, evaluated=ocp.args.StandardRestore(_abstract(like)))
    return restored.evaluated, epoch


def _restore(manager: ocp.CheckpointManager, epoch: int, **items: Any) -> Any:
    """Restores items of an epoch.

    Raises:
        UserError: Its files are damaged, or of another network than config.json says.
    """
    try:
        return manager.restore(epoch, args=ocp.args.Composite(**items))
    except Exception as error:  # Orbax and TensorStore meet damaged files with any there is
        folder = Path(manager.directory) / str(epoch)
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise UserError(
            f"{folder} is damaged, or of another network than config.json describes ({reason}); "
            "restore it, or remove this folder to go on from an earlier epoch"
        ) from error


def _beyond(state: TrainState) -> dict[str, Any]:
    """Returns what `state` holds beside the variables to predict with."""
    beyond: dict[str, Any] = {"step": state.step, "opt_state": state.opt_state}
    if state.average is not None:
        beyond["variables"] = state.variables
    return beyond


def _abstract(tree: Any) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
