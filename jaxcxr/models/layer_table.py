"""A table of a network's layers, as Keras prints it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxcxr.models.classifier import Classifier

_CALLS = ("__call__", "read")


def summary(model: nn.Module, image_size: int = 256, depth: int = 2) -> str:
    """Returns a table of layers, the shapes that they return and their numbers of parameters.

    Nothing is computed. Layers come in the order of their first call, with those inside them.

    Args:
        model: A classifier or a backbone.
        image_size: Height and width of its images in pixels.
        depth: How far to look into layers: 1 shows the backbone and the head, 2 their blocks.
    """
    names: dict[tuple[str, ...], str] = {}
    results: dict[tuple[str, ...], Any] = {}

    def record(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:
        path = context.module.path
        if context.method_name not in _CALLS or not 0 < len(path) <= depth:
            return call(*args, **kwargs)
        names.setdefault(path, f"{'/'.join(path)} ({type(context.module).__name__})")
        results[path] = call(*args, **kwargs)
        return results[path]

    channels = model.pixels.channels if isinstance(model, Classifier) else 3
    images = jax.ShapeDtypeStruct((1, image_size, image_size, channels), jnp.float32)
    with nn.intercept_methods(record):
        params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    table = [("Layer", "Output", "Parameters")]
    table += [(name, _output(results[path]), _size(params, *path)) for path, name in names.items()]
    first, second, third = (max(map(len, column)) for column in zip(*table, strict=True))
    lines = [f"{row[0]:<{first}}  {row[1]:<{second}}  {row[2]:>{third}}" for row in table]
    rule = "─" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:], rule, f"Total parameters: {_size(params)}"])


def _size(tree: Any, *path: str) -> str:
    for name in path:
        tree = tree.get(name, {})
    return f"{sum(leaf.size for leaf in jax.tree.leaves(tree)):,}"


def _output(result: Any) -> str:
    """Formats the shapes that a layer returns; of a backbone's stages only the last."""
    shapes = [array.shape[1:] for array in jax.tree.leaves(result)]
    shown = shapes if len(shapes) <= 2 else shapes[-1:]
    return ", ".join(f"({', '.join(['B', *map(str, shape)])})" for shape in shown)
