"""Networks that others trained, read from PyTorch files without any description.

A file's names and shapes show the network: DenseNet or ResNet, its size, one channel or three, and
the number of outputs. What the outputs and the gray values mean they do not show.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.square import SquareRule
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.heads import PCAM, Baseline, Head
from jaxcxr.models.ops.preprocessing import IMAGENET, Pixels
from jaxcxr.models.registry import build_classifier, part_config
from jaxcxr.models.weights import torch_names
from jaxcxr.models.weights.model_folder import STUDY_IMAGE_SIZE, TrainedModel
from jaxcxr.models.weights.pretrained import Variables, variables_from_torch
from jaxcxr.models.weights.torch_files import read_torch_file

_log = logging.getLogger(__name__)

TORCHXRAYVISION_PIXELS = Pixels(mean=(0.5,), std=(1 / 2048,))
"""Gray values from -1024 to 1024 in one channel."""

TORCHXRAYVISION_FINDINGS = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema"),
    *("Fibrosis", "Effusion", "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule"),
    *("Mass", "Hernia", "Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum"),
)
"""The 18 outputs of TorchXRayVision's networks in their order (its `default_pathologies`)."""

AUTHORS_HEADS: dict[str, dict[str, Any]] = {
    "baseline": {"name": "Baseline", "lse_positions": "side"},
    "space_attention": {"name": "SpaceAttention", "window": 7},
    "attention_gated": {
        "name": "AttentionGated",
        "average": "probabilities",
        "map_sampling": "tiles",
    },
    "squeeze_excitation": {"name": "SqueezeExcitation", "window": 7, "shortcut": "authors"},
}
"""Heads with the arithmetic of the study's authors, by the names of their four networks."""

_IMAGENET_CLASSES = 1000
_OP_THRESHS = "operating points of TorchXRayVision on its validation part; not calibrated"


@dataclasses.dataclass(frozen=True, eq=False)
class ForeignNetwork:
    """A network of a PyTorch file.

    Attributes:
        path: The file.
        backbone: The backbone.
        head: The head, None where the file holds a backbone alone.
        pixels: ImageNet's scale for three channels, TorchXRayVision's for one.
        variables: ``{"params": {"backbone": …, "head": …}, "batch_stats": …}``, NumPy float32.
        thresholds: (outputs,) probabilities of TorchXRayVision's operating points, NaN for outputs
            that were not trained; None where the file has none.
        authors: Whether it is one of the networks of the study's authors.
    """

    path: Path
    backbone: nn.Module
    head: Head | None
    pixels: Pixels
    variables: Variables
    thresholds: np.ndarray | None
    authors: bool = False

    def described(
        self,
        *,
        findings: Sequence[str | None] = (),
        image_size: int | None = None,
        pixels: Pixels | None = None,
        square: SquareRule | None = None,
        **about: Mapping[str, str] | str,
    ) -> TrainedModel:
        """Returns the network with the meaning of its input and outputs.

        Args:
            findings: Names of the outputs in their order, None for one that was not trained. By
                default the 14 of `jaxcxr.findings.FINDINGS`, or of 18 outputs that read one channel
                TorchXRayVision's, except those without a threshold.
            image_size: Height and width of its input in pixels; default: 224, the 256 of the
                authors' networks, or the 512 of TorchXRayVision's ResNet.
            pixels: Scale of gray values.
            square: How radiographs become square; default: "crop" for TorchXRayVision's networks,
                "squash" for others.
            about: `source`, `training_data` and `training_split` of `TrainedModel`.

        Raises:
            UserError: The file holds a backbone alone, or `findings` is missing or does not fit.
        """
        if self.head is None:
            raise UserError(
                f"{self.path} holds a backbone alone, without a head; use it as initial weights"
            )
        outputs = self.head.num_classes
        is_torchxrayvision = self.pixels.channels == 1 and outputs == len(TORCHXRAYVISION_FINDINGS)
        known = None if self.thresholds is None else ~np.isnan(self.thresholds)
        has_points = known is not None and bool(known.any())
        if not findings and is_torchxrayvision:
            trained = known if known is not None and has_points else np.ones(outputs, bool)
            names = zip(TORCHXRAYVISION_FINDINGS, trained, strict=True)
            findings = [name if is_trained else None for name, is_trained in names]
        if not findings and outputs != len(FINDINGS):
            raise UserError(
                f"{self.path} holds a classifier of {outputs} outputs; name the finding of each in "
                "their order",
                argument="findings",
            )
        if image_size is None:
            is_large = is_torchxrayvision and hasattr(self.backbone, "output_stride")
            image_size = 512 if is_large else STUDY_IMAGE_SIZE if self.authors else 224
        return TrainedModel(
            Classifier(self.backbone, self.head, pixels or self.pixels),
            self.variables,
            image_size,
            square=square or ("crop" if is_torchxrayvision else "squash"),
            findings=tuple(findings),
            calibration=_OP_THRESHS if has_points else "",
            **about,  # pyright: ignore[reportArgumentType]
        )


def read_foreign(
    path: str | Path,
    thresholds: np.ndarray | None = None,
    *,
    authors: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> ForeignNetwork:
    """Reads a network of torchvision's, timm's, TorchXRayVision's, jfhealthcare's or the authors'.

    Names and shapes do not show how one of the authors' heads pools or aggregates: a log message
    gives what is taken.

    TorchXRayVision's networks return probabilities that are bent so that 0.5 is the operating point
    (its `op_norm`). Here probabilities are the plain sigmoid of the outputs, and `thresholds` are
    its operating points on that scale. ImageNet's classifier of 1000 classes is left out, which a
    log message says.

    Args:
        path: `.safetensors`, `.pth`, `.pt`, `.bin`, `.tar` or `.ckpt`: a state dict, or a
            checkpoint that holds one.
        thresholds: (outputs,) in place of the file's, which may have none.
        authors: Name of the authors' network in `AUTHORS_HEADS`; default: as the names show.
        fields: What is different in the authors' head: ``{"pooling": "average"}``.

    Raises:
        UserError: The file cannot be read, or its names belong to no DenseNet or ResNet, or it
            holds other layers beside these and one dense layer.
    """
    path = Path(path)
    state = read_torch_file(path)
    arrays = torch_names.from_foreign(state)
    shapes = {name: array.shape for name, array in arrays.items()}
    backbone = torch_names.recognize_backbone(shapes)
    if backbone is None:
        first = ", ".join(list(state)[:10])
        raise UserError(
            f"{path} holds no DenseNet or ResNet with torchvision's names; its first names are "
            f"{first}"
        )
    pixels = TORCHXRAYVISION_PIXELS if _channels(shapes) == 1 else IMAGENET
    authors = authors or torch_names.authors_network(shapes)
    if authors is not None:
        config = AUTHORS_HEADS[authors] | _shown_by(shapes) | dict(fields or {})
        head = build_classifier({"backbone": part_config(backbone), "head": config}).head
        taken = ", ".join(f"{name} {value}" for name, value in part_config(head).items())
        _log.warning("%s is read as the authors' %s: head %s", path, authors, taken)
    elif shapes.get("classifier.weight", [0])[0] == _IMAGENET_CLASSES:
        _log.warning("%s: ImageNet's classifier of 1000 classes is left out", path)
        arrays = {name: a for name, a in arrays.items() if not name.startswith("classifier.")}
        head = None
    else:
        head = _head_of(shapes)
    variables = variables_from_torch(path, arrays, Classifier(backbone, head or Baseline(), pixels))
    if "head" not in variables["params"]:
        head = None
    if head is None and any(name.startswith("head.") for name in state):
        _log.warning(
            "%s: its head is left out, as names do not show which one it is; a model folder holds "
            "both, with its config.json",
            path,
        )
    if isinstance(head, PCAM) and "head.conv.weight" in state:
        _log.warning("%s: its head is read as PCAM; LogSumExp has arrays of the same names", path)
    if thresholds is None:
        thresholds = next((a for name, a in state.items() if name.endswith("op_threshs")), None)
    is_authors = authors is not None
    return ForeignNetwork(path, backbone, head, pixels, variables, thresholds, is_authors)


def _channels(shapes: Mapping[str, tuple[int, ...]]) -> int:
    first = ("features.conv0.weight", "resnet.conv1.weight", "conv1.weight")
    return next(shapes[name][1] for name in first if name in shapes)


def _head_of(shapes: Mapping[str, tuple[int, ...]]) -> Head | None:
    """Returns the head of one dense layer, or of PCAM pooling, None for a backbone alone."""
    if dense := shapes.get("classifier.weight"):
        return Baseline(num_classes=dense[0], pooling="average", transition="none")
    if maps := shapes.get("head.conv.weight"):
        return PCAM(num_classes=maps[0])
    return None


def _shown_by(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Returns fields of an authors' head that names show: its transposed convolutions."""
    is_finer = "trans_pool_prediction.conv2.weight" in shapes
    return {"transition": "deconvolution"} if is_finer else {}


def operating_points(
    findings: Sequence[str | None], thresholds: np.ndarray | None
) -> dict[str, str]:
    """Returns the table "operating_points.csv" of a model folder by its name; empty without any.

    Args:
        findings: Names of the outputs, None for one that was not trained.
        thresholds: (outputs,) probabilities from which a finding counts as present, chosen by
            Youden's index on validation data, as TorchXRayVision's are; NaN where there is none.
    """
    if thresholds is None or np.isnan(thresholds).all():
        return {}
    rows = [
        f"{name},All,youden,{threshold}\n" if threshold == threshold else f"{name},All,youden,\n"
        for name, threshold in zip(findings, thresholds, strict=True)
        if name is not None
    ]
    return {"operating_points.csv": "".join(["finding,group,rule,threshold\n", *rows])}
