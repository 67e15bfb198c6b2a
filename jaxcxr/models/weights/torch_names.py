"""How PyTorch names and lays out the parameters of this package's networks.

Three namings are known. torchvision's is that of a backbone alone; a whole classifier adds its
head's modules under ``head.``. The authors' four networks wrap torchvision's ResNet-34 in names of
their own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


@dataclass(frozen=True)
class Naming:
    """PyTorch's name of every parameter of a classifier.

    Attributes:
        backbone: From a module of the backbone (``stage1_0/conv1``) to PyTorch's name of it.
        head: The same for the head; None where the naming covers the backbone alone.
        aliases: Pairs (pattern, replacement) which bring other spellings found in files to the
            names above.
        unused: What a file may hold besides, as a pattern.
    """

    backbone: Callable[[str], str]
    head: Callable[[str], str] | None = None
    aliases: tuple[tuple[str, str], ...] = ()
    unused: str = "$."

    def name(self, path: Sequence[str]) -> str:
        """Returns PyTorch's name of the array at ``("backbone", "conv1", "kernel")``."""
        part, *modules, leaf = path
        translate = self.backbone if part == "backbone" else self.head
        assert translate is not None
        return f"{translate('/'.join(modules))}.{_LEAVES[leaf]}"

    def canonical(self, name: str) -> str:
        """Returns the spelling of a file's parameter that `name` produces."""
        for pattern, replacement in self.aliases:
            name = re.sub(pattern, replacement, name)
        return name

    def ignores(self, name: str) -> bool:
        """Tells whether a file may hold this parameter without anyone using it."""
        return re.fullmatch(rf".*\.num_batches_tracked|{self.unused}", name) is not None


def to_torch_layout(path: Sequence[str], array: np.ndarray) -> np.ndarray:
    """Returns an array with its axes in PyTorch's order.

    Convolutions (height, width, in, out) become (out, in, height, width), dense layers (in, out)
    become (out, in). Transposed convolutions become (in, out, height, width), turned by 180°,
    because PyTorch applies them as the gradient of a convolution.
    """
    if array.ndim == 2:
        return array.T
    if array.ndim == 4:
        if _is_transposed(path):
            return array[::-1, ::-1].transpose(2, 3, 0, 1)
        return array.transpose(3, 2, 0, 1)
    return array


def from_torch_layout(path: Sequence[str], array: np.ndarray) -> np.ndarray:
    """Undoes `to_torch_layout`."""
    if array.ndim == 2:
        return array.T
    if array.ndim == 4:
        if _is_transposed(path):
            return array.transpose(2, 3, 0, 1)[::-1, ::-1]
        return array.transpose(2, 3, 1, 0)
    return array


def _is_transposed(path: Sequence[str]) -> bool:
    return path[-2].startswith("deconv")


def torchvision(backbone: str) -> Naming:
    """Torchvision's naming of a backbone (``"ResNet34"``); its ImageNet classifier goes unused."""
    if backbone.startswith("DenseNet"):
        dotted = (r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2")  # torchvision's own files
        return Naming(_densenet, aliases=(dotted,), unused=r"classifier\.\w+")
    return Naming(_resnet, unused=r"fc\.\w+")


def whole(backbone: str) -> Naming:
    """A whole classifier: torchvision's names, and the head's under ``head.``."""
    alone = torchvision(backbone)
    return Naming(alone.backbone, lambda module: f"head.{module.replace('/', '.')}", alone.aliases)


def authors(head: str) -> Naming:
    """The naming of the authors' checkpoint of the network with this head (``"Baseline"``)."""
    return _AUTHORS[head]


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


def _numbered_resnet(module: str) -> str:
    """Children of a ResNet without pooling and classifier, put into an `nn.Sequential`."""
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    child, dot, rest = _resnet(module).partition(".")
    return f"resnet.{numbers[child]}{dot}{rest}"


def _named_resnet(module: str) -> str:
    return f"resnet.{_resnet(module)}"


def _table(names: Mapping[str, str]) -> Callable[[str], str]:
    return lambda module: names[module]


_TRANSITION = "trans_pool_prediction.transition"
_AUTHORS = {
    "Baseline": Naming(
        _numbered_resnet,
        _table(
            {
                "transition": _TRANSITION,
                "transition/deconv1": f"{_TRANSITION}.0",
                "transition/bn1": f"{_TRANSITION}.1",
                "transition/deconv2": f"{_TRANSITION}.3",
                "transition/bn2": f"{_TRANSITION}.4",
                "classifier": "trans_pool_prediction.fc",
            }
        ),
        # Their transition bears different names in different versions of their code.
        aliases=((r"^trans_pool_prediction\.(?!fc\.)[^.]+", _TRANSITION),),
    ),
    "SpaceAttention": Naming(_numbered_resnet, _table({"conv": "conv1"})),
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
