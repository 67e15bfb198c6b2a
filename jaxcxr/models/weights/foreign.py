"""Networks that others trained, read from PyTorch files without any description.

A file's names and shapes show the network: DenseNet or ResNet, its size, one channel or three, and
the number of outputs. What the outputs and the gray values mean they do not show.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.square import SquareRule
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.heads import PCAM, Baseline
from jaxcxr.models.ops.preprocessing import IMAGENET, Pixels
from jaxcxr.models.weights import torch_names
from jaxcxr.models.weights.model_folder import TrainedModel
from jaxcxr.models.weights.pretrained import Variables, variables_from_torch
from jaxcxr.models.weights.torch_files import read_torch_file

TORCHXRAYVISION_PIXELS = Pixels(mean=(0.5,), std=(1 / 2048,))
"""Gray values from -1024 to 1024 in one channel."""

TORCHXRAYVISION_FINDINGS = (
    *("Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema"),
    *("Fibrosis", "Effusion", "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule"),
    *("Mass", "Hernia", "Lung Lesion", "Fracture", "Lung Opacity", "Enlarged Cardiomediastinum"),
)
"""The 18 outputs of TorchXRayVision's networks in their order (its `default_pathologies`)."""

_IMAGENET_CLASSES = 1000


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
    """

    path: Path
    backbone: nn.Module
    head: Baseline | PCAM | None
    pixels: Pixels
    variables: Variables
    thresholds: np.ndarray | None

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
            image_size: Height and width of its input in pixels; default: 224, or the 512 of
                TorchXRayVision's ResNet.
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
        if not findings and is_torchxrayvision:
            trained = np.ones(outputs, bool)
            if self.thresholds is not None and not np.isnan(self.thresholds).all():
                trained = ~np.isnan(self.thresholds)
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
            image_size = 512 if is_large else 224
        return TrainedModel(
            Classifier(self.backbone, self.head, pixels or self.pixels),
            self.variables,
            image_size,
            square=square or ("crop" if is_torchxrayvision else "squash"),
            findings=tuple(findings),
            **about,  # pyright: ignore[reportArgumentType]
        )


def read_foreign(path: str | Path, thresholds: np.ndarray | None = None) -> ForeignNetwork:
    """Reads a network of torchvision's, timm's, TorchXRayVision's or jfhealthcare's names.

    TorchXRayVision's networks return probabilities that are bent so that 0.5 is the operating point
    (its `op_norm`). Here probabilities are the plain sigmoid of the outputs, and `thresholds` are
    its operating points on that scale. ImageNet's classifier of 1000 classes is left out, which a
    log message says.

    Args:
        path: `.safetensors`, `.pth`, `.pt`, `.bin`, `.tar` or `.ckpt`: a state dict, or a
            checkpoint that holds one.
        thresholds: (outputs,) in place of the file's, which may have none.

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
            f"{first}. Of the authors' checkpoints, name the network",
            argument="model",
        )
    outputs = shapes.get("classifier.weight", [0])[0]
    if outputs == _IMAGENET_CLASSES:
        logging.getLogger(__name__).warning(
            "%s: ImageNet's classifier of %d classes is left out", path, outputs
        )
        arrays = {name: a for name, a in arrays.items() if not name.startswith("classifier.")}
        outputs = 0
    head = None
    if outputs:
        head = Baseline(num_classes=outputs, pooling="average", transition="none")
    elif maps := shapes.get("head.conv.weight"):
        head = PCAM(num_classes=maps[0])
    channels = shapes.get("features.conv0.weight", shapes.get("conv1.weight", (0, 3)))[1]
    pixels = TORCHXRAYVISION_PIXELS if channels == 1 else IMAGENET
    variables = variables_from_torch(path, arrays, Classifier(backbone, head or Baseline(), pixels))
    if thresholds is None:
        thresholds = next((a for name, a in state.items() if name.endswith("op_threshs")), None)
    return ForeignNetwork(path, backbone, head, pixels, variables, thresholds)


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
