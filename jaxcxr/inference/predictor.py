"""A trained network as a function: radiographs in, probabilities and heat maps out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxcxr.errors import UserError
from jaxcxr.findings import FINDINGS
from jaxcxr.images.square import SquareRule
from jaxcxr.inference.heatmaps import HeatMaps
from jaxcxr.models import Classifier, Prediction
from jaxcxr.models.ops.compilation import compiler_options
from jaxcxr.models.weights.model_folder import is_model_folder, load_model_folder
from jaxcxr.runs.trained import restore_network
from jaxcxr.runs.workdir import trained_on_synthetic
from jaxcxr.training.state import Variables


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A classifier with its variables.

    Attributes:
        model: The network.
        variables: Its parameters and batch norm statistics.
        image_size: Height and width in pixels of the radiographs that it was trained on.
        epoch: The run's epoch that the variables are from; None if they are not from a run.
        square: How radiographs become square before the network sees them.
        synthetic: Whether the network was trained on synthetic radiographs.
    """

    model: Classifier
    variables: Variables
    image_size: int
    epoch: int | None = None
    square: SquareRule = "squash"
    synthetic: bool = False
    _mesh: Mesh = dataclasses.field(init=False, repr=False, compare=False)
    _apply: Callable[[Variables, jax.Array], tuple[jax.Array, jax.Array]] = dataclasses.field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        def apply(variables: Variables, images: jax.Array) -> tuple[jax.Array, jax.Array]:
            prediction = cast(Prediction, self.model.apply(variables, self.model.normalize(images)))
            heatmaps = prediction.heatmaps.astype(jnp.float32)
            return jax.nn.sigmoid(prediction.logits), heatmaps

        mesh = Mesh(np.asarray(jax.local_devices()), ("devices",))
        everywhere = jax.device_put(self.variables, NamedSharding(mesh, PartitionSpec()))
        object.__setattr__(self, "_mesh", mesh)
        object.__setattr__(self, "variables", everywhere)
        jitted = jax.jit(apply, compiler_options=compiler_options(mesh))
        object.__setattr__(self, "_apply", jitted)

    @classmethod
    def from_run(cls, workdir: str | Path) -> Predictor:
        """Loads the best epoch of the run in `workdir`, or a folder of weights.

        Raises:
            UserError: The folder holds no run or no finished epoch.
        """
        workdir = Path(workdir).expanduser()
        if is_model_folder(workdir):
            trained = load_model_folder(workdir)
            return cls(trained.model, trained.variables, trained.image_size, square=trained.square)
        model, variables, epoch, variant = restore_network(workdir)
        synthetic = trained_on_synthetic(workdir)
        return cls(model, variables, variant.image_size, epoch, variant.square, synthetic)

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, HeatMaps]:
        """Predicts a batch of radiographs.

        Args:
            images: (B, S, S, 1) uint8, or float32 of 0 to 255. Each new B is compiled again, so
                use one; a multiple of the number of this process's devices is spread over them.

        Returns:
            Probabilities (B, 14) float32, findings in the order of `jaxcxr.findings.FINDINGS`, and
            heat maps with the place of their cells.

        Raises:
            UserError: `images` has another shape or dtype, or an output is not finite.
        """
        expected = (self.image_size, self.image_size, 1)
        is_gray = images.dtype in (np.uint8, np.float32)
        if not is_gray or images.shape[1:] != expected or not len(images):
            raise UserError(
                f"images are {images.dtype} of shape {images.shape}; this network takes uint8 or "
                f"float32 of shape (B, {', '.join(map(str, expected))})"
            )
        over_devices = PartitionSpec(None if len(images) % self._mesh.size else "devices")
        placed = jax.device_put(images, NamedSharding(self._mesh, over_devices))
        probabilities, heatmaps = map(np.asarray, self._apply(self.variables, placed))
        if not (np.isfinite(probabilities).all() and np.isfinite(heatmaps).all()):
            raise UserError(
                "the network's outputs are not finite numbers: its training diverged; train again "
                "with a lower learning rate"
            )
        return probabilities, HeatMaps(heatmaps, self.model.heatmap_grid)


def require_all_findings(predictor: Predictor) -> None:
    """Refuses a network that was trained on other findings than `jaxcxr.findings.FINDINGS`.

    Raises:
        UserError: It has another number of them.
    """
    number = predictor.model.head.num_classes
    if number != len(FINDINGS):
        raise UserError(
            f"the run's network has {number} findings; tables and overlays need the "
            f"{len(FINDINGS)} of jaxcxr.findings. Call jaxcxr.Predictor in Python for others"
        )
