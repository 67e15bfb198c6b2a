"""Read trained weights for a network, start a network from them, and export them to PyTorch.

Weights are checked against the network that they are for: every parameter that it needs must be
there in the right shape, and no other may be. The names in a PyTorch file show which network it was
saved from; see `jaxcxr.models.weights.torch_names`.
"""

from __future__ import annotations

import dataclasses
import logging
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
from jaxcxr.models.weights import torch_names
from jaxcxr.models.weights.torch_files import read_torch_file
from jaxcxr.models.weights.torch_names import Naming

Variables = dict[str, Any]
"""The collections `params` and `batch_stats` of a Flax module."""

ARRAYS = "model.safetensors"
"""Name of the file of arrays in a folder of weights."""

_PROBLEMS_SHOWN = 10
_OF_HEADS = r"(classifier|head)\..*"


def load_imagenet(backbone: nn.Module) -> Variables:
    """Returns a backbone's ImageNet weights, downloaded on first use and checked.

    Args:
        backbone: ``ResNet34()``, with the width and number of blocks that the weights are for.

    Returns:
        ``{"params": …, "batch_stats": …}`` of the backbone, NumPy float32.

    Raises:
        UserError: The weights cannot be downloaded, are not the pinned ones, or do not fit.
    """
    from jaxcxr.models.weights import imagenet  # needs huggingface_hub

    return load_backbone(imagenet.fetch(_name(backbone)), backbone)


def load_backbone(path: str | Path, backbone: nn.Module) -> Variables:
    """Reads a backbone from a PyTorch file with torchvision's names.

    Args:
        path: `.safetensors`, `.pth`, `.pt`, `.bin` or `.tar`.
        backbone: The network that the file's parameters belong to.

    Returns:
        ``{"params": …, "batch_stats": …}`` of the backbone, NumPy float32.

    Raises:
        UserError: The file cannot be read, or does not fit: the message has a line for each of the
            first parameters that are missing, left over or of another shape.
    """
    shapes = {name: {"backbone": part} for name, part in _shapes(backbone).items()}
    arrays = torch_names.from_foreign(read_torch_file(path))
    naming = dataclasses.replace(torch_names.torchvision(_name(backbone)), unused=_OF_HEADS)
    loaded = _from_torch(path, arrays, shapes, naming)
    return {name: part["backbone"] for name, part in loaded.items()}


def load_classifier(path: str | Path, model: Classifier) -> Variables:
    """Reads a classifier, or its backbone alone, from a PyTorch file.

    Args:
        path: `.safetensors`, `.pth`, `.pt`, `.bin` or `.tar`: one of the authors' checkpoints, a
            file with the names of `to_torch`, torchvision's network with another number of classes
            (CheXNet), jfhealthcare's with PCAM pooling, or a backbone with torchvision's names.
        model: The network that the file's parameters belong to.

    Returns:
        ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``, NumPy float32, without the
        head where the file holds a backbone alone.

    Raises:
        UserError: As for `load_backbone`.
    """
    arrays = torch_names.from_foreign(read_torch_file(path))
    return variables_from_torch(path, arrays, model)


def initialize(
    model: Classifier, variables: Variables, weights: Mapping[str, Any] | str | Path
) -> Variables:
    """Returns `variables` with trained arrays in place of those that `weights` holds.

    Args:
        model: The network of `variables`.
        variables: ``{"params": …, "batch_stats": …}`` as drawn at random.
        weights: "imagenet" for ImageNet weights of the backbone; "random" for none; a PyTorch file
            or a folder of weights with a backbone or a whole classifier; or the variables of such a
            network.

    Raises:
        UserError: The weights cannot be read or do not fit the network.
    """
    if isinstance(weights, Mapping):
        source, trained = "the initial weights", dict(weights)
    elif str(weights) == "random":
        return variables
    elif str(weights) == "imagenet":
        backbone = load_imagenet(model.backbone)
        source = "the ImageNet weights"
        trained = {k: {"backbone": part} for k, part in backbone.items()}
    else:
        source = _file_of(Path(weights))
        trained = load_classifier(source, model)
    _check_parts(source, trained, variables)
    merged = _flatten(variables) | _flatten(trained)
    return unflatten_dict({path: jnp.asarray(array) for path, array in merged.items()})


def to_torch(variables: Variables, backbone: str) -> dict[str, np.ndarray]:
    """Returns a state dict: torchvision's names for the backbone, ``head.…`` for the head.

    Args:
        variables: ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``, with or without
            the head.
        backbone: Name of the backbone, "ResNet34".
    """
    naming = torch_names.whole(backbone)
    return {
        naming.name(path): torch_names.to_torch_layout(path, np.asarray(array))
        for (_, *path), array in _flatten(variables).items()
    }


def _file_of(path: Path) -> Path:
    """Returns the file of arrays of a folder of weights; a file as it is."""
    if not path.is_dir():
        return path
    if (path / ARRAYS).is_file():
        return path / ARRAYS
    raise UserError(
        f"{path} is not a folder of weights: it has no {ARRAYS}; name a run's folder, a folder of "
        "weights or a PyTorch file"
    )


def _flatten(tree: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    return cast(dict[tuple[str, ...], Any], traverse_util.flatten_dict(tree))


def _name(module: nn.Module) -> str:
    return type(module).__name__


def _shapes(module: nn.Module) -> Variables:
    channels = module.pixels.channels if isinstance(module, Classifier) else 3
    images = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    return dict(jax.eval_shape(module.init, jax.random.key(0), images))


def variables_from_torch(
    source: str | Path, arrays: Mapping[str, np.ndarray], model: Classifier
) -> Variables:
    """Returns the variables of `model` in a state dict; as `load_classifier`.

    Args:
        source: What messages call the state dict.
        arrays: As `torch_names.from_foreign` returns them.
        model: The network.
    """
    shapes = _shapes(model)
    head = shapes["params"].get("head", {})
    dense = head["classifier"]["kernel"].shape[::-1] if head.keys() == {"classifier"} else ()
    naming = torch_names.recognize(
        {name: array.shape for name, array in arrays.items()},
        _name(model.backbone),
        _name(model.head),
        dense,
    )
    if naming.head is None:
        if "classifier.weight" in arrays:
            logging.getLogger(__name__).warning(
                "%s: its classifier of %d outputs is left out: the network's head is another",
                source,
                len(arrays["classifier.weight"]),
            )
        shapes = {name: {"backbone": parts["backbone"]} for name, parts in shapes.items()}
    return _from_torch(source, arrays, shapes, naming)


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
    _check(source, found, expected, torch_names.recognize_backbone(found))
    return unflatten_dict(
        {
            path: np.asarray(torch_names.from_torch_layout(path, arrays[name]), np.float32)
            for path, name in leaves.items()
        }
    )


def _check_parts(source: str | Path, trained: Variables, variables: Variables) -> None:
    """Checks the arrays of a backbone or of a whole network."""
    held, whole = _flatten(trained), _flatten(variables)
    parts = {path[1] for path in held}
    _check(
        source,
        {"/".join(path): np.shape(array) for path, array in held.items()},
        {"/".join(path): np.shape(array) for path, array in whole.items() if path[1] in parts},
    )


def _check(
    source: str | Path,
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    seems: nn.Module | None = None,
) -> None:
    """Raises a UserError that names the first parameters that do not fit and the likely cause."""
    problems = [
        *(f"{name} is missing" for name in expected if name not in found),
        *(f"{name} is not a parameter of the network" for name in found if name not in expected),
        *(
            f"{name} has the shape {found[name]}, expected {shape}"
            for name, shape in expected.items()
            if name in found and found[name] != shape
        ),
    ]
    if not problems:
        return
    more = len(problems) - _PROBLEMS_SHOWN
    shown = problems[:_PROBLEMS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    first, *others = {name.partition(".")[0] for name in found} or {""}
    cause = "name the network that it was saved from"
    if seems is not None:
        cause = f"it looks like {_name(seems)}{getattr(seems, 'blocks', '')}, " + cause
    elif first and not others:
        cause = f"all its names begin with {first}., {cause}"
    raise UserError(
        f"{source} does not fit the network in {len(problems)} parameters; {cause}:\n  "
        + "\n  ".join(shown)
    )
