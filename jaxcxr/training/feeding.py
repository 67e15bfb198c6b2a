"""How radiographs come to the devices: batch by batch, or all before the first step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from jaxcxr.errors import UserError
from jaxcxr.training.devices import BY_ROWS, EVERYWHERE, Batch, shard_batch
from jaxcxr.training.state import TrainState
from jaxcxr.training.steps import TrainStep, make_gathering_step, make_train_step

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

        Labels are 0, 1 or, of a float dtype, NaN where they are unknown.
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
class Feed:
    """Where the steps of a training come from.

    Attributes:
        step: (state, what is on the devices) → (next state, loss); it does not wait for them.
        batches: (epoch from 1, number of its steps done) → for each step that follows, what it
            reads on the devices, and its batch, or only the names of its images, for messages.
    """

    step: Callable[[TrainState, Any], tuple[TrainState, jax.Array]]
    batches: Callable[[int, int], Iterator[tuple[Any, Batch]]]


def streamed(step: TrainStep, data: DataSource, batch_size: int, seed: int, mesh: Mesh) -> Feed:
    """Returns steps whose batches the host puts on the devices, while they do those before.

    Args:
        step: Of one device.
        data: The training split.
        batch_size: Of the global batch.
        seed: Of the order.
        mesh: The devices.
    """

    def batches(epoch: int, done: int) -> Iterator[tuple[Any, Batch]]:
        for batch in data.batches(
            batch_size,
            seed=seed,
            epoch=epoch,
            start_batch=done,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        ):
            yield shard_batch(batch, mesh), batch

    return Feed(make_train_step(step, mesh), batches)


def resident(step: TrainStep, data: DataSource, batch_size: int, seed: int, mesh: Mesh) -> Feed:
    """Returns steps whose batches the devices gather from radiographs that they hold.

    The arguments are those of `streamed`.

    Raises:
        UserError: A device has too little memory, or the split has no `in_memory`.
    """
    held = in_memory(data, "device")
    radiographs, gathering_step = put_on_devices(held, mesh), make_gathering_step(step, mesh)
    names = held.fields.get("image_name")

    def batches(epoch: int, done: int) -> Iterator[tuple[Any, Batch]]:
        order = held.epoch_rows(seed, epoch).astype(np.int32)
        for end in range((done + 1) * batch_size, len(order) + 1, batch_size):
            rows = order[end - batch_size : end]
            named = {} if names is None else {"image_name": names[rows]}
            yield _global(rows, NamedSharding(mesh, BY_ROWS)), named

    return Feed(lambda state, rows: gathering_step(state, radiographs, rows), batches)


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
