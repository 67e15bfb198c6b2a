"""A trained network as a function: radiographs in, probabilities and heat maps out."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxcxr.errors import UserError
from jaxcxr.inference.heatmaps import HeatMaps
from jaxcxr.inference.operating_points import OperatingPoints, read_operating_points
from jaxcxr.inference.prediction import PredictionResult, predict_batch, prepare
from jaxcxr.inference.spreading import spread_over_devices
from jaxcxr.models import Prediction
from jaxcxr.models.weights.foreign import operating_points, read_foreign
from jaxcxr.models.weights.model_folder import (
    TABLES,
    TrainedModel,
    is_model_folder,
    load_model_folder,
    save_model_folder,
    table_path,
)
from jaxcxr.models.weights.sources import local_path
from jaxcxr.runs.trained import restore_network
from jaxcxr.runs.workdir import data_facts, recipe
from jaxcxr.training.devices import EVERYWHERE, device_mesh
from jaxcxr.training.state import Variables


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Predictor(TrainedModel):
    """A trained model as a function: radiographs in, probabilities and heat maps out.

    Attributes:
        folder: The model folder or the run that it was loaded from, whose tables it uses.
        thresholds: (outputs,) operating points of a PyTorch file, which has no tables.

    The others are those of `TrainedModel`.
    """

    folder: Path | None = None
    thresholds: np.ndarray | None = None
    _apply: Callable[[Variables, np.ndarray], tuple[np.ndarray, ...]] = dataclasses.field(
        init=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        mesh = device_mesh(jax.local_devices())
        everywhere = jax.device_put(self.variables, NamedSharding(mesh, EVERYWHERE))
        object.__setattr__(self, "variables", everywhere)
        object.__setattr__(self, "_apply", spread_over_devices(self.apply))

    def __repr__(self) -> str:
        """Returns a line with the network, its findings and input, and where it is from."""
        parts = [type(self.model.backbone).__name__, type(self.model.head).__name__]
        parts += [f"{len(self.named_findings)} findings", f"{self.image_size} pixels"]
        parts += [str(self.folder)] if self.folder else []
        parts += [f"epoch {self.epoch}"] if self.epoch else []
        return f"Predictor({', '.join(parts)})"

    @classmethod
    def from_trained(cls, trained: TrainedModel, folder: Path | None = None) -> Predictor:
        """Makes a model predict; its tables are in `folder`, if it has any."""
        fields = dataclasses.fields(trained)
        return cls(**{field.name: getattr(trained, field.name) for field in fields}, folder=folder)

    @classmethod
    def from_run(cls, folder: str | Path) -> Predictor:
        """Loads the best epoch of a run, or a model folder.

        Raises:
            UserError: The folder holds neither, no finished epoch, or is damaged.
        """
        folder = Path(folder).expanduser()
        if is_model_folder(folder):
            return cls.from_trained(load_model_folder(folder), folder)
        model, variables, epoch, variant = restore_network(folder)
        facts = data_facts(folder)
        scored = table_path(folder, "calibration.csv").exists()
        return cls(
            model,
            variables,
            variant.image_size,
            epoch,
            variant.square,
            bool(facts.get("synthetic")),
            source={"name": f"run {folder.resolve().name}"},
            training_data=str(facts.get("release", "")),
            training_split=f"training split {variant.split}, seed {variant.split_seed}",
            calibration="validation split of the training data" if scored else "",
            recipe=recipe(folder),
            folder=folder,
        )

    def apply(self, variables: Variables, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Computes probabilities and heat maps of `named_findings`; can be traced.

        Args:
            variables: ``{"params": …, "batch_stats": …}``.
            images: (B, S, S, 1) gray values of 0 to 255.

        Returns:
            Probabilities (B, F) and heat maps (B, h, w, F), float32.
        """
        prediction = cast(Prediction, self.model.apply(variables, self.model.normalize(images)))
        heatmaps = prediction.heatmaps.astype(jnp.float32)
        return jax.nn.sigmoid(self._named(prediction.logits)), self._named(heatmaps)

    def _named(self, outputs: jax.Array) -> jax.Array:
        if None not in self.findings:
            return outputs
        parts = [jax.lax.slice_in_dim(outputs, at, at + 1, axis=-1) for at in self.trained_outputs]
        return jnp.concatenate(parts, -1)

    @functools.cached_property
    def operating_points(self) -> OperatingPoints:
        """Thresholds and calibration of `named_findings`; NaN where there are none."""
        if self.folder is None:
            points = OperatingPoints(*np.full((3, len(self.named_findings)), np.nan))
            if self.thresholds is None:
                return points
            return dataclasses.replace(points, thresholds=self.thresholds[self.trained_outputs])
        return read_operating_points(self.folder, self.named_findings)

    def predict(self, file: str | os.PathLike[str]) -> PredictionResult:
        """Predicts one radiograph.

        Args:
            file: A PNG, JPEG, TIFF, BMP or DICOM file.

        Returns:
            Probabilities, heat maps and boxes; a notebook shows them as a table and a picture.

        Raises:
            UserError: The file cannot be read.
        """
        prepared = prepare(Path(file).name, Path(file), self.image_size, self.square)
        (prediction,) = predict_batch(self, [prepared], 1)
        named, points = self.named_findings, self.operating_points
        return dataclasses.replace(
            prediction, findings=named, points=points, synthetic=self.synthetic
        )

    def save(self, folder: str | Path) -> None:
        """Writes a model folder with the network, its tables and a model card.

        Args:
            folder: A folder that does not exist yet.

        Raises:
            UserError: The folder exists or cannot be written.
        """
        paths = {name: table_path(self.folder, name) for name in TABLES if self.folder}
        tables = {name: path.read_text("utf-8") for name, path in paths.items() if path.exists()}
        tables |= operating_points(self.findings, self.thresholds)
        save_model_folder(folder, self, tables)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        """Predicts a batch of radiographs.

        Args:
            images: (B, S, S, 1) uint8, or float32 of 0 to 255. They are spread over the devices of
                this process. Each new B is compiled again, so use one.

        Returns:
            Probabilities (B, F) float32 of `named_findings`, and heat maps (B, h, w, F) with the
            place of their cells.

        Raises:
            UserError: `images` has another shape or dtype, or an output is not finite.
        """
        self.check_images(images)
        probabilities, heatmaps = self._apply(self.variables, images)
        if not (np.isfinite(probabilities).all() and np.isfinite(heatmaps).all()):
            raise UserError(
                "the network's outputs are not finite numbers: its training diverged; train again "
                "with a lower learning rate"
            )
        return probabilities, HeatMaps(heatmaps, self.model.heatmap_grid)

    def check_images(self, images: np.ndarray) -> None:
        """Refuses a batch that is not one of this network's input.

        Raises:
            UserError: `images` has another shape or dtype, or no rows.
        """
        expected = (self.image_size, self.image_size, 1)
        is_gray = images.dtype in (np.uint8, np.float32)
        if not is_gray or images.shape[1:] != expected or not len(images):
            raise UserError(
                f"images are {images.dtype} of shape {images.shape}; this network takes uint8 or "
                f"float32 of shape (B, {', '.join(map(str, expected))})"
            )


def load_model(source: str | Path) -> Predictor:
    """Loads a trained model.

    Args:
        source: A run, a model folder, ``hf:owner/name[@revision]`` of the Hugging Face hub, a name
            of the catalog, or a PyTorch file (`jaxcxr.models.weights.foreign.read_foreign`).

    Raises:
        UserError: It is none of these, cannot be downloaded, or is damaged.
    """
    path = local_path(source)
    if path.is_file():
        network = read_foreign(path)
        trained = Predictor.from_trained(network.described(source={"name": path.name}))
        return dataclasses.replace(trained, thresholds=network.thresholds)
    if not (path / "config.json").exists():
        raise UserError(
            f"{source} is not the folder of a run or a model: it has no config.json; name another",
            argument="model",
        )
    return Predictor.from_run(path)
