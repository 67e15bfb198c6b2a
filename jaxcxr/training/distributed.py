"""Several processes, on one machine or many, that work as one.

A program that scores a file needs no JAX, so it is imported where it is used.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

_POSITION = "position"


def is_primary_process() -> bool:
    """Returns whether this is the process that writes files and prints for all."""
    import jax

    return jax.process_index() == 0


def share_of_rows(batch: int, batch_size: int) -> np.ndarray:
    """Returns the places, within a split, of this process's rows of a batch.

    Args:
        batch: Number of the batch, from 0.
        batch_size: Of the global batch; a multiple of the number of processes.
    """
    import jax

    share = batch_size // jax.process_count()
    return batch * batch_size + jax.process_index() * share + np.arange(share)


def gather_rows(table: pd.DataFrame, places: np.ndarray) -> pd.DataFrame:
    """Returns the rows that all processes have, in each process; all must call it.

    Args:
        table: This process's rows; the same columns in each process.
        places: (rows,) the place of each in the complete table.
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
    rows = pd.concat(parts, ignore_index=True).sort_values(_POSITION, ignore_index=True)
    return rows.drop(columns=_POSITION).astype(table.dtypes)
