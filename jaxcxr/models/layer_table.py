"""A table of a network's layers, as Keras prints it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

_Path = tuple[str, ...]


@dataclass(frozen=True)
class Layer:
    """A row of the table.

    Attributes:
        path: Names from the network's root; empty for the network itself.
        kind: Name of the layer's class.
        shapes: Shapes of the arrays that it returns, for a batch of one.
        parameters: Number of its parameters, with those of the layers inside it.
    """

    path: _Path
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    parameters: int


def layers(model: nn.Module, image_size: int) -> list[Layer]:
    """Lists a network's layers in the order of their first call, each followed by those inside it.

    Args:
        model: A classifier or a backbone; nothing is computed with it.
        image_size: Height and width of its images in pixels.
    """
    kinds: dict[_Path, str] = {}
    results: dict[_Path, Any] = {}

    def record(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        path = context.module.path
        kinds.setdefault(path, type(context.module).__name__)
        results[path] = call(*args, **kwargs)
        return results[path]

    images = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    with nn.intercept_methods(record):
        variables = jax.eval_shape(model.init, jax.random.key(0), images)
    calls = {path: call for call, path in enumerate(kinds)}
    return [
        Layer(path, kinds[path], _shapes(results[path]), _size(variables["params"], path))
        for path in sorted(kinds, key=lambda path: [calls[path[:n]] for n in range(len(path) + 1)])
    ]


def summary(model: nn.Module, image_size: int = 256, depth: int = 2) -> str:
    """Returns a table of layers, the shapes that they return and their numbers of parameters.

    Args:
        model: A classifier or a backbone.
        image_size: Height and width of its images in pixels.
        depth: How far to look into layers: 1 shows the backbone and the head, 2 their blocks.
    """
    whole, *parts = layers(model, image_size)
    rows = [
        (f"{'  ' * (len(part.path) - 1)}{part.path[-1]} ({part.kind})", _output(part), part)
        for part in parts
        if len(part.path) <= depth
    ]
    table = [("Layer", "Output", "Parameters")]
    table += [(name, output, f"{part.parameters:,}") for name, output, part in rows]
    return f"{_aligned(table)}\nTotal parameters: {whole.parameters:,}"


def _shapes(result: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(array.shape for array in jax.tree.leaves(result))


def _size(tree: Any, path: Iterable[str]) -> int:
    for name in path:
        tree = tree.get(name, {})
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _output(layer: Layer) -> str:
    """Tells the shapes that a layer returns; of a backbone's stages only the last."""
    shapes = layer.shapes if len(layer.shapes) <= 2 else layer.shapes[-1:]
    return ", ".join(f"({', '.join(['B', *map(str, shape[1:])])})" for shape in shapes)


def _aligned(table: Sequence[tuple[str, str, str]]) -> str:
    names, outputs, counts = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = [f"{row[0]:<{names}}  {row[1]:<{outputs}}  {row[2]:>{counts}}" for row in table]
    rule = "─" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:], rule])
