"""How PyTorch names and lays out the parameters of this package's networks.

Four namings are known: torchvision's names of a backbone alone; the same with ``classifier``, which
reads the average of the last stage's features (CheXNet, TorchXRayVision, timm); this package's own,
which add the head's modules under ``head.``; and those of the authors' four networks, which wrap
torchvision's ResNet-34. `from_foreign` brings what others put around such names to these forms.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from flax import linen as nn

from jaxcxr.models.backbones.densenet import DenseNet121
from jaxcxr.models.backbones.resnet import ResNet18, ResNet34, ResNet50

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
"""Other arrays keep their names."""

_WRAPPERS = r"^((module|model|net|network|_orig_mod)\.)+"
"""What PyTorch's, Lightning's and people's wrappers put before every name."""

_OLD_DENSENET = (r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2")
"""Torchvision's own files of DenseNet still have the dots of its first version: ``norm.1``."""

_OF_AUTHORS = {
    "trans_pool_prediction": "baseline",
    "ag1": "attention_gated",
    "conv_att": "squeeze_excitation",
    "conv1": "space_attention",
}
"""The authors' networks by a module that each has beside ``resnet``."""

_CHILDREN = ("conv1", "bn1", "", "", "layer1", "layer2", "layer3", "layer4")
"""Children of torchvision's ResNet at their places in an `nn.Sequential`."""

_BACKBONES = (
    ("features.", r"(.*?)conv0\.weight", r"(conv0|norm0|denseblock\d+|transition\d+|norm5)\."),
    ("", r"(.*?)layer1\.0\.conv1\.weight", r"(conv1|bn1|layer\d+)\."),
)
"""Of DenseNet and ResNet: torchvision's prefix, the first layer's name, beginnings of all names."""

_NOT_OF_NETWORK = r".*\.num_batches_tracked|op_threshs|(.*\.)?pos_weight|(criterion|loss(_fn)?)\..*"
"""What files hold beside the parameters: TorchXRayVision's thresholds, weights of losses."""

_NOTHING = "$."
"""A pattern that no name matches."""


@dataclasses.dataclass(frozen=True)
class Naming:
    """PyTorch's name of every parameter of a classifier.

    Attributes:
        backbone: From a module of the backbone (``stage1_0/conv1``) to PyTorch's name of it.
        head: The same for the head; None where the naming covers the backbone alone.
        aliases: Pairs (pattern, replacement) that turn other names found in files into those above.
        unused: Pattern of what a file may also hold, unused.
    """

    backbone: Callable[[str], str]
    head: Callable[[str], str] | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    unused: str = _NOTHING

    def name(self, path: Sequence[str]) -> str:
        """Returns PyTorch's name of the array at ``("backbone", "conv1", "kernel")``."""
        part, *modules, leaf = path
        translate = self.backbone if part == "backbone" else self.head
        assert translate is not None
        module = translate("/".join(modules)).strip("/").replace("/", ".")
        return ".".join(filter(None, [module, _LEAVES.get(leaf, leaf)]))

    def canonical(self, name: str) -> str:
        """Returns the name that `name` gives to a parameter of a file."""
        for pattern, replacement in self.aliases:
            name = re.sub(pattern, replacement, name)
        return name

    def ignores(self, name: str) -> bool:
        """Returns whether a file may hold a parameter that the network does not use."""
        return re.fullmatch(f"{_NOT_OF_NETWORK}|{self.unused}", name) is not None


def to_torch_layout(path: Sequence[str], array: np.ndarray) -> np.ndarray:
    """Returns an array with its axes in PyTorch's order.

    Kernels of convolutions (height, width, in, out) become (out, in, height, width), those of dense
    layers (in, out) become (out, in). Transposed convolutions become (in, out, height, width),
    rotated by 180°, because PyTorch applies them as the gradient of a convolution.
    """
    if path[-1] != "kernel":
        return array
    if array.ndim == 4 and _is_transposed(path):
        return array[::-1, ::-1].transpose(2, 3, 0, 1)
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def from_torch_layout(path: Sequence[str], array: np.ndarray) -> np.ndarray:
    """Reverses `to_torch_layout`."""
    if path[-1] != "kernel":
        return array
    if array.ndim == 4 and _is_transposed(path):
        return array.transpose(2, 3, 0, 1)[::-1, ::-1]
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def _is_transposed(path: Sequence[str]) -> bool:
    return path[-2].startswith("deconv")


def recognize(
    shapes: Mapping[str, tuple[int, ...]], backbone: str, head: str, classifier: Sequence[int] = ()
) -> Naming:
    """Returns the naming of a file, for a network of this backbone and head.

    Args:
        shapes: The shapes of the file's arrays by name.
        backbone: Name of the backbone, "ResNet34".
        head: Name of the head, "Baseline".
        classifier: PyTorch's shape of the weights of a head that is one dense layer.
    """
    if any(name.startswith("head.") for name in shapes):
        return whole(backbone)
    if authors_network(shapes) and head in _AUTHORS:
        return _AUTHORS[head]
    alone = torchvision(backbone)
    if classifier and shapes.get("classifier.weight") == tuple(classifier):
        return dataclasses.replace(alone, head=_table({"classifier": "classifier"}), unused="$.")
    return alone


def authors_network(names: Iterable[str]) -> str | None:
    """Returns which of the authors' networks has such names, None for others."""
    modules = {name.partition(".")[0] for name in names}
    found = [network for module, network in _OF_AUTHORS.items() if module in modules]
    return found[0] if found and "resnet" in modules else None


def recognize_backbone(shapes: Mapping[str, tuple[int, ...]]) -> nn.Module | None:
    """Returns the backbone that arrays belong to, None if it is not one of this package's.

    Args:
        shapes: The shapes of the arrays by name, as `from_foreign` names them.
    """
    if authors_network(shapes):
        shapes = {name.removeprefix("resnet."): s for name, s in shapes.items() if "resnet" in name}
    names = "\n".join(shapes)
    if "features.conv0.weight" in shapes:
        layers = re.findall(
            r"^features\.denseblock(\d+)\.denselayer\d+\.conv2\.weight", names, re.M
        )
        growth = shapes["features.denseblock1.denselayer1.conv2.weight"][0]
        return DenseNet121(_counts(layers), shapes["features.conv0.weight"][0], growth)
    if not {"conv1.weight", "layer1.0.conv1.weight"} <= shapes.keys():
        return None
    blocks = _counts(re.findall(r"^layer(\d+)\.\d+\.conv1\.weight", names, re.M))
    width = shapes["conv1.weight"][0]
    if "layer1.0.conv3.weight" in shapes:
        return ResNet50(blocks, width)
    return (ResNet34 if blocks == ResNet34.blocks else ResNet18)(blocks, width)


def _counts(stages: Sequence[str]) -> tuple[int, ...]:
    return tuple(count for _, count in sorted(Counter(map(int, stages)).items()))


def from_foreign(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames a state dict of others to torchvision's names and ``classifier``.

    Understood are any prefixes of a DenseNet's or ResNet's names, torchvision's old names of
    DenseNet, the numbers of a ResNet's children in an `nn.Sequential`, and the one dense layer
    beside the backbone under any name, ``fc``, ``classifier.0``. Names of jfhealthcare's networks
    become this package's; the authors' and other state dicts keep their names.
    """
    bare = {
        re.sub(*_OLD_DENSENET, re.sub(_WRAPPERS, "", name)): array for name, array in arrays.items()
    }
    if len(bare) < len(arrays):  # several networks
        return dict(arrays)
    bare = _with_names_of_children(bare)
    if authors_network(bare):
        return bare
    bare = _from_jfhealthcare(bare)
    for prefix, first, others in _BACKBONES:
        found = [match[1] for name in bare if (match := re.fullmatch(first, name))]
        if not found:
            continue
        of_backbone = re.compile(re.escape(found[0]) + f"(?={others})")
        renamed = {
            of_backbone.sub(prefix, name): array
            for name, array in bare.items()
            if of_backbone.match(name)
        }
        rest = {name: array for name, array in bare.items() if not of_backbone.match(name)}
        if found[0] in ("", prefix) and any(name.startswith("head.") for name in rest):
            return renamed | rest
        dense = [name for name, array in rest.items() if array.ndim == 2]
        if len(dense) == 1:
            layer = dense[0].removesuffix("weight")
            rest = {
                re.sub(f"^{re.escape(layer)}(?=weight|bias)", "classifier.", name): array
                for name, array in rest.items()
            }
        return renamed | rest
    return bare


def _with_names_of_children(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames ``resnet.4.0.conv1.weight`` to ``resnet.layer1.0.conv1.weight``, and so on."""
    first = (re.fullmatch(r"((?:.*\.)?)4\.0\.conv1\.weight", name) for name in arrays)
    prefix = next((match[1] for match in first if match), None)
    if prefix is None:
        return arrays
    child = re.compile(re.escape(prefix) + r"([014-7])(?=\.)")

    def named(match: re.Match[str]) -> str:
        return prefix + _CHILDREN[int(match[1])]

    return {child.sub(named, name) if child.match(name) else name: a for name, a in arrays.items()}


def _from_jfhealthcare(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames a state dict of jfhealthcare's networks with PCAM pooling to this package's names.

    Theirs (github.com/jfhealthcare/Chexpert) has a 1×1 convolution for each finding, ``fc_0``,
    ``fc_1`` …, and layers that such networks do not use: ``bn_0`` … and the backbone's classifier.
    """
    count = sum(re.fullmatch(r"fc_\d+\.weight", name) is not None for name in arrays)
    if count == 0:
        return arrays
    head = {
        f"head.conv.{leaf}": np.concatenate([arrays[f"fc_{at}.{leaf}"] for at in range(count)])
        for leaf in ("weight", "bias")
    }
    unused = re.compile(r"(fc_\d+|bn_\d+|backbone\.classifier)\.")
    rest = {name: array for name, array in arrays.items() if not unused.match(name)}
    return head | {name.removeprefix("backbone."): array for name, array in rest.items()}


def to_jfhealthcare(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Renames a state dict of `PCAM` without a pyramid to the names of jfhealthcare's networks."""
    head = {
        f"fc_{at}.{leaf}": row[None]
        for leaf in ("weight", "bias")
        for at, row in enumerate(arrays[f"head.conv.{leaf}"])
    }
    rest = {name: array for name, array in arrays.items() if not name.startswith("head.")}
    return head | {f"backbone.{name}": array for name, array in rest.items()}


def torchvision(backbone: str) -> Naming:
    """Torchvision's naming of a backbone (``"ResNet34"``); the classifier in a file is unused."""
    translate = _densenet if backbone.startswith("DenseNet") else _resnet
    return Naming(translate, unused=r"classifier\.\w+")


def whole(backbone: str) -> Naming:
    """This package's naming of a classifier: torchvision's, and the head's under ``head.``."""
    return Naming(torchvision(backbone).backbone, lambda module: f"head/{module}")


def _resnet(module: str) -> str:
    module = re.sub(r"stage(\d+)_(\d+)/", r"layer\1.\2.", module)
    return module.replace("downsample_conv", "downsample.0").replace(
        "downsample_bn", "downsample.1"
    )


def _densenet(module: str) -> str:
    module = re.sub(
        r"stage(\d+)_transition/", lambda stage: f"transition{int(stage[1]) - 1}.", module
    )
    module = re.sub(
        r"stage(\d+)_(\d+)/", lambda at: f"denseblock{at[1]}.denselayer{int(at[2]) + 1}.", module
    )
    return f"features.{module}"


def _named_resnet(module: str) -> str:
    return f"resnet.{_resnet(module)}"


def _table(names: Mapping[str, str]) -> Callable[[str], str]:
    return lambda module: names[module]


_AUTHORS = {
    "Baseline": Naming(
        _named_resnet,
        _table(
            {
                "transition": "trans_pool_prediction.conv1",
                "transition/deconv1": "trans_pool_prediction.conv1",
                "transition/bn1": "trans_pool_prediction.bn1",
                "transition/deconv2": "trans_pool_prediction.conv2",
                "transition/bn2": "trans_pool_prediction.bn2",
                "classifier": "trans_pool_prediction.fc",
            }
        ),
        aliases=(  # versions of their code name the 1×1 convolution differently
            (
                r"^trans_pool_prediction\.(?!fc\.|(?:conv|bn)[12]\.)\w+\.",
                "trans_pool_prediction.conv1.",
            ),
        ),
    ),
    "SpaceAttention": Naming(_named_resnet, _table({"conv": "conv1"})),
    "AttentionGated": Naming(
        _named_resnet,
        _table(
            {"coarse": "coarse", "classifier": "classifier"}
            | {f"classifier{scale}": f"classifier{scale - 1}" for scale in (2, 3, 4)}
            | {
                f"gate{scale}/{ours}": f"ag{scale - 1}.{theirs}"
                for scale in (2, 3)
                for ours, theirs in {
                    "theta": "theta",
                    "phi": "phi",
                    "psi": "psi",
                    "conv": "W.0",
                    "bn": "W.1",
                }.items()
            }
        ),
        aliases=((r"^(?!resnet\.|ag\d\.|classifier)\w+", "coarse"),),
        # Their files hold the classifiers of every aggregation, whichever was trained.
        unused=r"(resnet\.fc|classifier\d?)\.\w+",
    ),
    "SqueezeExcitation": Naming(
        _named_resnet,
        _table(
            {"attention/conv": "conv_att"}
            | {
                f"stages_{stage}/{ours}": f"{theirs.format(stage + 1)}"
                for stage in range(4)
                for ours, theirs in {
                    "squeeze": "se{}.fc.0",
                    "excite": "se{}.fc.2",
                    "downsample_conv": "down{}.down.0",
                    "downsample_bn": "down{}.down.1",
                }.items()
            }
        ),
        unused=r"resnet\.fc\.\w+",
    ),
}
