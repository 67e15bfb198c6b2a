"""Starting from trained weights, and handing weights on to PyTorch.

Weights are read against the network that they are for: every parameter that it needs must be there
in the right shape, and nothing else may be. Which network a file of PyTorch's is of, is seen by the
names in it; see `jaxcxr.models.weights.torch_names`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.traverse_util import unflatten_dict

from jaxcxr.errors import UserError
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.multi_size import MultiSize
from jaxcxr.models.weights import imagenet, torch_names
from jaxcxr.models.weights.torch_files import read_torch_file
from jaxcxr.models.weights.torch_names import Naming
from jaxcxr.models.weights.weight_folder import load_weight_folder

Variables = dict[str, Any]
"""The collections `params` and `batch_stats` of a Flax module."""

_Shapes = Mapping[str, tuple[int, ...]]


def load_imagenet(backbone: nn.Module) -> Variables:
    """Returns a backbone's ImageNet weights, fetched on first use and checked.

    Args:
        backbone: ``ResNet34()``, with the width and number of blocks that the weights are for.

    Returns:
        ``{"params": …, "batch_stats": …}`` of the backbone, NumPy float32.

    Raises:
        UserError: The weights cannot be fetched, are not the pinned ones, or do not fit.
    """
    return load_backbone(imagenet.fetch(_name(backbone)), backbone)


def load_backbone(path: str | Path, backbone: nn.Module) -> Variables:
    """Reads a backbone from a file of PyTorch's with torchvision's names.

    Args:
        path: `.safetensors`, `.pth`, `.pt` or `.bin`.
        backbone: The network that the file's parameters are of.

    Returns:
        ``{"params": …, "batch_stats": …}`` of the backbone, NumPy float32.

    Raises:
        UserError: The file cannot be read, or does not fit: the message has a line for every
            parameter that is missing, left over or of another shape.
    """
    shapes = {name: {"backbone": part} for name, part in _shapes(backbone).items()}
    naming = torch_names.torchvision(_name(backbone))
    loaded = _from_torch(path, read_torch_file(path), shapes, naming)
    return {name: part["backbone"] for name, part in loaded.items()}


def load_classifier(path: str | Path, model: Classifier) -> Variables:
    """Reads a classifier, or its backbone alone, from a file of PyTorch's.

    Args:
        path: `.safetensors`, `.pth`, `.pt` or `.bin`: a checkpoint of the authors', a file that
            `to_torch` describes, or a backbone with torchvision's names.
        model: The network that the file's parameters are of.

    Returns:
        ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``, NumPy float32, without the
        head where the file holds a backbone alone.

    Raises:
        UserError: As for `load_backbone`.
    """
    arrays = read_torch_file(path)
    naming = _recognize(arrays, model)
    shapes = _shapes(model)
    if naming.head is None:
        shapes = {name: {"backbone": parts["backbone"]} for name, parts in shapes.items()}
    return _from_torch(path, arrays, shapes, naming)


def initialize(model: Classifier, variables: Variables, weights: str | Path) -> Variables:
    """Returns `variables` with trained ones in place of those that `weights` holds.

    Args:
        model: The network of `variables`.
        variables: ``{"params": …, "batch_stats": …}`` as drawn at random.
        weights: "imagenet" for ImageNet weights of the backbone, or a file of PyTorch's, or a
            folder of `launch/convert_weights.py`, with a backbone or a whole classifier.

    Raises:
        UserError: The weights cannot be had or do not fit the network.
    """
    if isinstance(model, MultiSize):
        return _initialize_members(model, variables, weights)
    if str(weights) == "imagenet":
        trained = {name: {"backbone": part} for name, part in load_imagenet(model.backbone).items()}
    elif Path(weights).is_dir():
        trained = _load_folder(weights, variables)
    else:
        trained = load_classifier(weights, model)
    merged = _flatten(variables) | _flatten(trained)
    return unflatten_dict({path: jnp.asarray(array) for path, array in merged.items()})


def _initialize_members(model: MultiSize, variables: Variables, weights: str | Path) -> Variables:
    """Gives every member of an ensemble the same trained weights."""
    started = {}
    for name, member in model.members.items():
        started[name] = initialize(member, _member(variables, name), weights)
    return {
        collection: {name: started[name][collection] for name in started}
        for collection in variables
    }


def _member(variables: Variables, name: str) -> Variables:
    return {collection: parts[name] for collection, parts in variables.items()}


def to_torch(variables: Variables, backbone: str) -> dict[str, np.ndarray]:
    """Returns a state dict: torchvision's names for the backbone, ``head.…`` for the head.

    Args:
        variables: ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``, with or without
            the head; or those of a `MultiSize`, whose members' names get ``size_128.`` before them.
        backbone: Name of the backbone, "ResNet34".
    """
    parts = next(iter(variables.values()))
    if "backbone" not in parts:
        return {
            f"{member}.{name}": array
            for member in parts
            for name, array in to_torch(_member(variables, member), backbone).items()
        }
    naming = torch_names.whole(backbone)
    return {
        naming.name(path): torch_names.to_torch_layout(path, np.asarray(array))
        for (_, *path), array in _flatten(variables).items()
    }


def _flatten(tree: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    return cast(dict[tuple[str, ...], Any], traverse_util.flatten_dict(tree))


def _name(module: nn.Module) -> str:
    return type(module).__name__


def _shapes(module: nn.Module) -> Variables:
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    return dict(jax.eval_shape(module.init, jax.random.key(0), images))


def _recognize(names: Mapping[str, Any], model: Classifier) -> Naming:
    backbone = _name(model.backbone)
    if any(name.startswith("head.") for name in names):
        return torch_names.whole(backbone)
    if any(name.startswith("resnet.") for name in names) and backbone.startswith("ResNet"):
        return torch_names.authors(_name(model.head))
    return torch_names.torchvision(backbone)


def _from_torch(
    source: str | Path, arrays: Mapping[str, np.ndarray], shapes: Variables, naming: Naming
) -> Variables:
    """Renames and transposes arrays to a tree like `shapes`; float32."""
    arrays = {naming.canonical(name): array for name, array in arrays.items()}
    leaves = {path: naming.name(path[1:]) for path in _flatten(shapes)}
    expected = {
        leaves[path]: torch_names.to_torch_layout(path, np.broadcast_to(0, leaf.shape)).shape
        for path, leaf in _flatten(shapes).items()
    }
    found = {
        name: array.shape
        for name, array in arrays.items()
        if name in expected or not naming.ignores(name)
    }
    _check(source, found, expected)
    return unflatten_dict(
        {
            path: np.asarray(torch_names.from_torch_layout(path, arrays[name]), np.float32)
            for path, name in leaves.items()
        }
    )


def _load_folder(folder: str | Path, variables: Variables) -> Variables:
    _, trained = load_weight_folder(folder)
    held = {path: array.shape for path, array in _flatten(trained).items()}
    parts = {path[1] for path in held}
    expected = {
        path: array.shape for path, array in _flatten(variables).items() if path[1] in parts
    }
    _check(folder, _joined(held), _joined(expected))
    return trained


def _joined(shapes: Mapping[tuple[str, ...], tuple[int, ...]]) -> _Shapes:
    return {"/".join(path): shape for path, shape in shapes.items()}


def _check(source: str | Path, found: _Shapes, expected: _Shapes) -> None:
    """Raises UserError with a line for each parameter that does not fit."""
    problems = [
        *(f"{name} is missing" for name in expected if name not in found),
        *(f"{name} belongs to no part of the network" for name in found if name not in expected),
        *(
            f"{name} has the shape {found[name]}, expected {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ),
    ]
    if problems:
        raise UserError(
            f"{source} does not fit the network in {len(problems)} parameters; "
            "name the network that it was saved from:\n  " + "\n  ".join(problems)
        )
