"""Trains and scores the runs of a sweep, each by the programs train and evaluate."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import sys
from asyncio.subprocess import create_subprocess_exec
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from jaxcxr.cli.trials import Trial, is_scored
from jaxcxr.files import make_folder
from jaxcxr.runs.lock import is_held
from jaxcxr.runs.signals import SignalWatch

_STATUS = "status"
_USAGE = f"{_STATUS} 2:"
"""Status of a program that does not know a flag or a setting: every other run would fail, too."""

_STOPPED = 128 + signal.SIGTERM
"""Status of a training that a signal stopped: it is not scored."""


@dataclasses.dataclass(frozen=True)
class TrialRunner:
    """Trains and scores trials.

    Attributes:
        out: Folder of all runs.
        data_dir: Where the prepared dataset is.
        settings: Settings of every run, as "epochs=3".
        modules: Files or modules with heads of one's own, as --import takes them.
        jobs: Number of runs side by side.
    """

    out: Path
    data_dir: str
    settings: Sequence[str]
    modules: Sequence[str] = ()
    jobs: int = 1

    async def run(self, trials: Sequence[Trial]) -> tuple[int, str | None]:
        """Trains and scores runs; prints each that ends, and why it failed.

        Returns:
            How many failed; a wrong setting ends all at once. And the signal that ended all, if
            any.
        """
        failed, watch, slots = 0, SignalWatch(), asyncio.Semaphore(self.jobs)
        tasks = {asyncio.create_task(self._run_one(trial, slots)) for trial in trials}
        watch.start()
        try:
            with tqdm(total=len(tasks), desc="runs", unit="run", disable=None) as bar:
                while tasks and watch.received is None:
                    done, tasks = await asyncio.wait(
                        tasks, timeout=1, return_when="FIRST_COMPLETED"
                    )
                    bar.update(len(done))
                    for failure in filter(None, (task.result() for task in done)):
                        tqdm.write(failure, file=sys.stderr)
                        failed += 1
                        if _USAGE in failure:
                            return failed, watch.received
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            watch.stop()
        return failed, watch.received

    async def _run_one(self, trial: Trial, slots: asyncio.Semaphore) -> str | None:
        """Trains and scores one run when a slot is free; returns what went wrong, if anything.

        A run that is trained is trained again at the price of importing packages: the program
        refuses a folder of other settings or data, and leaves a finished run as it is.
        """
        workdir = self.out / trial.folder
        place = [f"--workdir={workdir}", f"--data_dir={self.data_dir}"]
        place += [f"--import={module}" for module in self.modules]
        settings = [f"--config.{setting}" for setting in self.settings]
        train = ["train", f"--config={trial.config}", *trial.overrides, *settings, *place]
        async with slots:
            make_folder(workdir)
            while is_held(workdir):  # a program that was killed leaves its training running
                await asyncio.sleep(1)
            for verb, *words in (
                [*train, f"--stopped_status={_STOPPED}"],
                ["evaluate_auc", *place],
                ["evaluate_boxes", *place],
            ):
                if verb != "train" and is_scored(workdir):
                    return None
                status = await _call(verb, words, workdir / "log.txt")
                if status != 0:
                    lines = (workdir / "log.txt").read_text(encoding="utf-8").strip().splitlines()
                    errors = [line for line in lines if line.startswith("error: ")] or lines
                    return (
                        f"{workdir}: {verb} ended with {_STATUS} {status}: {''.join(errors[-1:])}"
                    )
            tqdm.write(f"{workdir}: trained and scored", file=sys.stderr)
        return None


async def _call(verb: str, words: Sequence[str], log: Path) -> int:
    """Runs a program and returns its exit status; when cancelled, ends it by SIGTERM.

    It has a process group of its own: Ctrl-C at the terminal comes to this process alone.
    Otherwise it would receive two signals, and not save what it did.
    """
    with open(log, "a", encoding="utf-8") as output:
        program = await create_subprocess_exec(
            sys.executable, "-m", "jaxcxr.cli", verb, *words,
            stdout=output, stderr=output, process_group=0,
        )  # fmt: skip
    try:
        return await program.wait()
    except asyncio.CancelledError:
        program.terminate()
        await program.wait()
        raise
