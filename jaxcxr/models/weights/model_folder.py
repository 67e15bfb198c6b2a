"""Model folders: all that it takes to predict with a trained network, in one folder.

``config.json`` describes the network and its input, ``model.safetensors`` holds its arrays in
PyTorch's layout (torchvision's names for the backbone, ``head.…`` for the head), ``README.md`` is
the model card. Tables stand beside them where they are known: `TABLES`.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import linen as nn

from jaxcxr.errors import UserError
from jaxcxr.files import atomic_write
from jaxcxr.findings import FINDINGS
from jaxcxr.images.square import SQUARE_RULES, SquareRule
from jaxcxr.models.classifier import Classifier
from jaxcxr.models.registry import build_classifier, classifier_config, part_config
from jaxcxr.models.weights.model_card import model_card
from jaxcxr.models.weights.pretrained import ARRAYS, Variables, load_classifier, to_torch
from jaxcxr.models.weights.torch_files import safetensors_bytes

TABLES = ("operating_points.csv", "calibration.csv", "box_rule.csv", "auc.csv")
"""Tables that a model folder may hold: thresholds, Platt scaling, box rule, and scores."""

STUDY_IMAGE_SIZE = 256
_FORMAT_VERSION = 1
_SIZES = range(16, 2049)
_NAME = re.compile(r"[A-Za-z0-9][\w .()+&'-]{0,59}")
"""A finding's name is part of file names and CSV headers."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """A classifier with its variables and what its input and outputs mean.

    Attributes:
        model: The network; `Classifier.pixels` is how gray values become its input.
        variables: ``{"params": …, "batch_stats": …}``.
        image_size: Height and width in pixels of the square radiographs that it takes.
        epoch: The run's epoch that the variables are from; None if they are not from a run.
        square: How radiographs become square before the network sees them.
        synthetic: Whether the network was trained on synthetic radiographs.
        findings: Names of the outputs in their order; None for an output that was not trained.
            Default: the 14 of `jaxcxr.findings.FINDINGS`, or "Finding 1", "Finding 2" … for
            another number of outputs.
        source: Where the weights come from: "name", "url", "revision", "sha256", "license" and
            so on, as far as they are known.
        training_data: What the network was trained on, in words.
        training_split: Which part of it, in words: radiographs of it must not be scored.
        calibration: Where operating points and calibration come from, in words.
        recipe: How it was trained, in words: loss, optimizer, epochs and so on.

    Raises:
        UserError: `image_size`, `square` or `findings` is invalid.
    """

    model: Classifier
    variables: Variables
    image_size: int = STUDY_IMAGE_SIZE
    epoch: int | None = None
    square: SquareRule = "squash"
    synthetic: bool = False
    findings: tuple[str | None, ...] = ()
    source: Mapping[str, str] = dataclasses.field(default_factory=dict)
    training_data: str = ""
    training_split: str = ""
    calibration: str = ""
    recipe: str = ""

    def __post_init__(self) -> None:
        outputs = self.model.head.num_classes
        if not self.findings:
            numbered = tuple(f"Finding {number}" for number in range(1, outputs + 1))
            object.__setattr__(self, "findings", FINDINGS if outputs == 14 else numbered)
        names = self.named_findings
        if len(self.findings) != outputs or len({*names}) != len(names) or not names:
            raise UserError(
                f"findings are {', '.join(map(str, self.findings))}; expected different names for "
                f"the network's {outputs} outputs"
            )
        if bad := [name for name in names if not _NAME.fullmatch(name)]:
            raise UserError(f"{bad[0]!r:.80} is not the name of a finding; use letters and digits")
        if self.square not in SQUARE_RULES or self.image_size not in _SIZES:
            raise UserError(
                f"image_size is {self.image_size!r} and square {self.square!r}; expected "
                f"{_SIZES[0]} to {_SIZES[-1]} pixels and one of {', '.join(SQUARE_RULES)}"
            )

    @property
    def trained_outputs(self) -> np.ndarray:
        """(F,) the places of the trained outputs."""
        return np.flatnonzero([name is not None for name in self.findings])

    @property
    def named_findings(self) -> tuple[str, ...]:
        """The names of the trained outputs, in their order."""
        return tuple(name for name in self.findings if name is not None)

    def config(self) -> dict[str, Any]:
        """Returns the content of ``config.json``."""
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(TrainedModel)
            if field.name not in ("model", "variables")
        }
        grid = self.model.heatmap_grid
        return {
            "format_version": _FORMAT_VERSION,
            "network": classifier_config(self.model),
            **fields,
            "heatmap": {"first_center": grid.first_center, "stride": grid.stride},
        }


def is_model_folder(folder: str | Path) -> bool:
    """Returns whether a folder holds a model or a backbone; a run's folder does not."""
    return (Path(folder) / ARRAYS).is_file()


def table_path(folder: str | Path, name: str) -> Path:
    """Returns where a table of `TABLES` is: in a model folder, or where a run has its scores."""
    own = Path(folder) / name
    return own if own.exists() else Path(folder) / "evaluation" / name


def save_model_folder(
    folder: str | Path, trained: TrainedModel, tables: Mapping[str, str] | None = None
) -> None:
    """Writes a model folder; it appears under its name when it is complete.

    Args:
        folder: A folder that does not exist yet.
        trained: The model.
        tables: Texts of files of `TABLES`; the model card shows the scores of "auc.csv".

    Raises:
        UserError: The folder exists or cannot be written.
    """
    tables = tables or {}
    backbone = type(trained.model.backbone).__name__
    arrays = safetensors_bytes(to_torch(trained.variables, backbone))
    texts = {**tables, "README.md": model_card(trained.config(), tables.get("auc.csv"))}
    _write(folder, trained.config(), arrays, texts)


def save_backbone(folder: str | Path, backbone: nn.Module, variables: Variables) -> None:
    """Writes a folder with a backbone alone, to start trainings from.

    Args:
        folder: A folder that does not exist yet.
        backbone: The backbone.
        variables: ``{"params": {"backbone": …}, "batch_stats": {"backbone": …}}``.

    Raises:
        UserError: The folder exists or cannot be written.
    """
    config = {"format_version": _FORMAT_VERSION, "network": {"backbone": part_config(backbone)}}
    arrays = safetensors_bytes(to_torch(variables, type(backbone).__name__))
    _write(folder, config, arrays, {})


def load_model_folder(folder: str | Path) -> TrainedModel:
    """Reads a model folder, or a folder of weights of an earlier version of this package.

    The latter give no image size and have the 14 findings: the study's 256 pixels are used, which
    a log message says.

    Raises:
        UserError: The folder is damaged, of a later version of this package, or holds a backbone
            alone.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        network = config["network"] if "network" in config else config["model"]
        if (version := config.get("format_version", _FORMAT_VERSION)) != _FORMAT_VERSION:
            raise UserError(
                f"format_version is {version!r}; this version of jaxcxr reads {_FORMAT_VERSION}, "
                "install a later one"
            )
        if "head" not in network:
            raise UserError(
                "it describes a backbone alone, without a head; use it as initial weights"
            )
        model = build_classifier(network)
        names = {field.name for field in dataclasses.fields(TrainedModel)} - {"model", "variables"}
        fields = {name: config[name] for name in names if name in config}
        fields["findings"] = tuple(fields.get("findings", ()))
        trained = TrainedModel(model, {}, **fields)
    except UserError as error:
        message = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise UserError(message, argument=error.argument) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} does not describe a network ({type(error).__name__}: {error}); convert or "
            "export it again"
        ) from error
    if "image_size" not in fields:
        logging.getLogger(__name__).warning(
            "%s does not give an image size; the study's %d pixels are used",
            folder,
            STUDY_IMAGE_SIZE,
        )
    return dataclasses.replace(trained, variables=load_classifier(Path(folder) / ARRAYS, model))


def _write(
    folder: str | Path, config: Mapping[str, Any], arrays: bytes, texts: Mapping[str, str]
) -> None:
    folder = Path(folder).absolute()
    if folder.exists():
        raise UserError(f"{folder} exists already; name a new folder or remove it")
    texts = {**texts, "config.json": json.dumps(config, indent=2) + "\n"}
    with atomic_write(folder) as partial:
        partial.mkdir()
        (partial / ARRAYS).write_bytes(arrays)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
