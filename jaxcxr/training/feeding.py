"""How radiographs come to the devices: batch by batch, or all before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcxr.errors import UserError
from jaxcxr.training.devices import DEVICES, EVERYWHERE, Batch, shard_batch
from jaxcxr.training.state import TrainState
from jaxcxr.training.steps import TrainStep, make_resident_steps

DataPlacement = Literal["streamed", "host", "device"]
DATA_PLACEMENTS: tuple[DataPlacement, ...] = ("streamed", "host", "device")


class DataSource(Protocol):
    """A source of batches: `jaxcxr.data.Split`, `jaxcxr.data.ArraySplit` or one's own."""

    @property
    def num_images(self) -> int:
        """Number of radiographs."""
        ...

    @property
    def image_size(self) -> int:
        """Height and width of each radiograph in pixels."""
        ...

    def batches(
        self,
        batch_size: int,
        *,
        seed: int | None = None,
        epoch: int = 0,
        start_batch: int = 0,
        process_index: int = 0,
        process_count: int = 1,
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """Yields batches with `image` (B, S, S, 1) uint8, `labels` (B, K) and `mask` (B,) bool.

        With a seed: shuffled for (seed, epoch), an incomplete last batch dropped. Without: in
        order, the last batch padded with rows whose mask is False. The first `start_batch` batches
        are left out. `image_name` (B,), where it is there, names the images in messages.
        """
        ...


class InMemorySource(DataSource, Protocol):
    """Radiographs in host memory: `jaxcxr.data.InMemorySplit` or `jaxcxr.data.ArraySplit`."""

    @property
    def fields(self) -> Mapping[str, np.ndarray]:
        """The arrays that `batches` yields, all rows, without the mask."""
        ...

    def epoch_rows(self, seed: int, epoch: int) -> np.ndarray:
        """Returns (N,) the rows in the order of an epoch's batches."""
        ...


@dataclasses.dataclass(frozen=True)
class Dispatch:
    """Steps that the devices do in one call, without the host in between.

    Attributes:
        advance: Starts the steps: state → (state after them, their losses); it does not wait.
        batches: Each step's batch, or only the names of its images, for messages.
        pauses: Whether the training pauses after them.
    """

    advance: Callable[[TrainState], tuple[TrainState, jax.Array]]
    batches: tuple[Batch, ...]
    pauses: bool


@dataclasses.dataclass(frozen=True)
class Streamed:
    """One step per dispatch, each with a batch that the host puts on the devices.

    The host runs ahead of the devices (see `nonfinite.StepLosses`): it reads and sends the batches
    to come while they compute.

    Attributes:
        step: Of `make_train_step`.
        data: The training split.
        batch_size: Of the global batch.
        seed: Of the order.
        mesh: The devices.
    """

    step: Callable[[TrainState, Batch], tuple[TrainState, jax.Array]]
    data: DataSource
    batch_size: int
    seed: int
    mesh: Mesh

    def dispatches(
        self, epoch: int, done: int, pauses_after: Callable[[int], bool]
    ) -> Iterator[Dispatch]:
        """Yields the steps of an epoch (from 1) that follow the first `done`.

        `pauses_after` returns for each step (from 1) whether the training pauses after it; it is
        called once per step.
        """
        batches = self.data.batches(
            self.batch_size,
            seed=self.seed,
            epoch=epoch,
            start_batch=done,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        for step, batch in enumerate(batches, done + 1):
            rows = shard_batch(batch, self.mesh)

            def advance(state: TrainState, rows: Batch = rows) -> tuple[TrainState, jax.Array]:
                return self.step(state, rows)

            yield Dispatch(advance, (batch,), pauses_after(step))


@dataclasses.dataclass(frozen=True)
class Resident:
    """Several steps per dispatch, whose batches the devices gather from radiographs they hold.

    Attributes:
        steps: Of `make_resident_steps`.
        held: The training split in host memory.
        on_devices: `image` and `labels` of `held`, complete on each device.
        batch_size: Of the global batch.
        seed: Of the order.
        mesh: The devices.
        max_steps: Steps per dispatch.
    """

    steps: Callable[..., tuple[TrainState, jax.Array]]
    held: InMemorySource
    on_devices: Batch
    batch_size: int
    seed: int
    mesh: Mesh
    max_steps: int

    def dispatches(
        self, epoch: int, done: int, pauses_after: Callable[[int], bool]
    ) -> Iterator[Dispatch]:
        """Yields the steps of an epoch; see `Streamed.dispatches`."""
        order = self.held.epoch_rows(self.seed, epoch)
        batches = order[: len(order) // self.batch_size * self.batch_size]
        batches = batches.reshape(-1, self.batch_size)
        while done < len(batches):
            count, pauses = 0, False
            while count < min(self.max_steps, len(batches) - done) and not pauses:
                count += 1
                pauses = pauses_after(done + count)
            yield self._dispatch(batches[done : done + count], pauses)
            done += count

    def _dispatch(self, batches: np.ndarray, pauses: bool) -> Dispatch:
        rows = np.zeros((self.max_steps, self.batch_size), np.int32)
        rows[: len(batches)] = batches
        shared = _global(rows, NamedSharding(self.mesh, PartitionSpec(None, DEVICES)))

        def advance(state: TrainState) -> tuple[TrainState, jax.Array]:
            state, losses = self.steps(state, self.on_devices, shared, len(batches))
            return state, losses[: len(batches)]

        names = self.held.fields.get("image_name")
        named = ({} if names is None else {"image_name": names[rows]} for rows in batches)
        return Dispatch(advance, tuple(named), pauses)


def make_resident(
    step: TrainStep,
    data: DataSource,
    batch_size: int,
    seed: int,
    mesh: Mesh,
    steps_per_dispatch: int,
) -> Resident:
    """Puts a training split on the devices and returns its steps.

    Raises:
        UserError: A device has too little memory.
    """
    max_steps = steps_per_call(mesh, steps_per_dispatch)
    steps = make_resident_steps(step, mesh, max_steps)
    held = in_memory(data, "device")
    return Resident(steps, held, put_on_devices(held, mesh), batch_size, seed, mesh, max_steps)


def in_memory(data: DataSource, placement: DataPlacement) -> InMemorySource:
    """Returns a split in host memory.

    Raises:
        UserError: It has no `in_memory`.
    """
    if not hasattr(data, "in_memory"):
        raise UserError(
            f"data_placement is {placement!r}, but {type(data).__name__} has no in_memory(); "
            'use "streamed"',
            argument="data_placement",
        )
    return data.in_memory()  # pyright: ignore[reportAttributeAccessIssue]


def steps_per_call(mesh: Mesh, steps_per_dispatch: int) -> int:
    """Returns the greatest number of steps per call: one on CPUs.

    In loops of XLA for CPUs a step takes seven times as long; the host is not a bottleneck there.
    """
    return 1 if mesh.devices.flat[0].platform == "cpu" else steps_per_dispatch


def put_on_devices(data: InMemorySource, mesh: Mesh) -> dict[str, jax.Array]:
    """Puts `image` and `labels` of a split on every device, completely.

    Raises:
        UserError: A device has too little memory for them.
    """
    size = sum(data.fields[name].nbytes for name in ("image", "labels"))
    for device in mesh.local_devices:
        limit = (device.memory_stats() or {}).get("bytes_limit")
        if limit is not None and size > 0.8 * limit:
            raise UserError(
                f"{data.num_images} radiographs of {data.image_size} pixels take "
                f"{size / 1e9:.1f} GB, and {device.device_kind} has {limit / 1e9:.1f} GB, of which "
                "the training itself needs at least a fifth; use data_placement "
                '"host" or smaller images',
                argument="data_placement",
            )
    complete = NamedSharding(mesh, EVERYWHERE)
    return {name: _global(data.fields[name], complete) for name in ("image", "labels")}


def _global(array: np.ndarray, sharding: NamedSharding) -> Any:
    """Returns an array that every process has completely, laid out over all devices."""
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])
