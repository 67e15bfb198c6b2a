"""The flags by which several processes, on one machine or many, work as one.

    jaxcxr train … --coordinator=HOST:PORT --processes=2 --process=0
    jaxcxr train … --coordinator=HOST:PORT --processes=2 --process=1

Under Slurm, Open MPI or Kubernetes JAX finds these values: `--distributed` is enough there.
"""

from __future__ import annotations

from absl import flags

from jaxcxr.errors import UserError

flags.disclaim_key_flags()


def define_flags() -> None:
    """Defines the flags that `connect` reads."""
    flags.DEFINE_bool(
        "distributed", False, "Work with the other processes of a job of Slurm or the like."
    )
    flags.DEFINE_string(
        "coordinator",
        None,
        "HOST:PORT of process 0, a free port; for processes outside of such a job.",
    )
    flags.DEFINE_integer("processes", None, "Number of processes.", lower_bound=1)
    flags.DEFINE_integer("process", None, "Which of them this is, from 0.", lower_bound=0)
    flags.register_multi_flags_validator(
        ["coordinator", "processes", "process"],
        lambda given: len({value is None for value in given.values()}) == 1,
        message="--coordinator, --processes and --process go together",
    )


def connect() -> None:
    """Connects this process with the others, where the flags ask for it; before JAX starts.

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
