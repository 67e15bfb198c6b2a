"""Several processes, on one machine or many, that work as one.

    python launch/train.py … --coordinator=HOST:PORT --processes=2 --process=0
    python launch/train.py … --coordinator=HOST:PORT --processes=2 --process=1

Under Slurm, Open MPI or Kubernetes JAX finds these out: `--distributed` is enough there. A program
that scores a file needs no JAX, so it is imported where it is used.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from absl import flags

from jaxcxr.errors import UserError

_POSITION = "position"


def define_flags() -> None:
    """Defines the flags that `connect` reads."""
    flags.DEFINE_bool(
        "distributed", False, "Work with the other processes of a job of Slurm or the like."
    )
    flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of process 0, where no such job says it; a free port."
    )
    flags.DEFINE_integer("processes", None, "Number of processes.", lower_bound=1)
    flags.DEFINE_integer("process", None, "Which of them this is, from 0.", lower_bound=0)
    by_hand = ["coordinator", "processes", "process"]
    flags.register_multi_flags_validator(
        by_hand,
        lambda given: len({value is None for value in given.values()}) == 1,
        message="--coordinator, --processes and --process go together",
    )


def connect() -> None:
    """Connects this process with the others, where the flags say so; before JAX does anything.

    Raises:
        UserError: The flags contradict each other, or the others cannot be reached.
    """
    values = flags.FLAGS
    if values.coordinator is None and not values.distributed:
        return
    if values.coordinator and values.process >= values.processes:
        raise UserError(
            f"--process is {values.process}; of {values.processes} processes it is one of 0 to "
            f"{values.processes - 1}"
        )
    import jax

    try:
        jax.distributed.initialize(values.coordinator, values.processes, values.process)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the processes cannot find each other: {str(error).strip().splitlines()[0]}; start "
            "them by srun, or give each --coordinator=HOST:PORT, --processes and --process"
        ) from error


def is_primary_process() -> bool:
    """Tells whether this is the process that writes what all would write alike."""
    import jax

    return jax.process_index() == 0


def share_of_rows(batch: int, batch_size: int) -> np.ndarray:
    """Returns the places, within a split, of this process's rows of a batch.

    Args:
        batch: Number of the batch, from 0.
        batch_size: Of the whole batch; a multiple of the number of processes.
    """
    import jax

    share = batch_size // jax.process_count()
    return batch * batch_size + jax.process_index() * share + np.arange(share)


def gather_rows(table: pd.DataFrame, places: np.ndarray) -> pd.DataFrame:
    """Returns the rows that all processes have, in each process; all must call it.

    Args:
        table: This process's rows; the same columns in each process.
        places: (rows,) where in the whole table each of them belongs.
    """
    import jax
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        return table.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
    text = table.assign(**{_POSITION: places}).to_json(orient="split", double_precision=15)
    own = np.frombuffer(str(text).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.array(len(own))))
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: len(own)] = own
    everyones = np.asarray(multihost_utils.process_allgather(padded))
    tables = [json.loads(row[:size].tobytes()) for row, size in zip(everyones, sizes, strict=True)]
    parts = [pd.DataFrame(each["data"], columns=each["columns"]) for each in tables]
    whole = pd.concat(parts, ignore_index=True).sort_values(_POSITION, ignore_index=True)
    return whole.drop(columns=_POSITION).astype(table.dtypes)
