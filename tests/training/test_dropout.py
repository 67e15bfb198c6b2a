import jax
import numpy as np
from flax import linen as nn

import jaxcxr as cxr
from jaxcxr.models import INFERENCE
from tests.tiny import make_split


@cxr.register_head
class DropoutHead(cxr.Head):
    rate: float = 0.0

    def heatmap_grid(self, stages):
        return stages[-1]

    @nn.compact
    def __call__(self, stages, mode=INFERENCE):
        x = nn.Dropout(self.rate, deterministic=not mode.train)(stages[-1])
        heatmaps = nn.Conv(self.num_classes, (1, 1))(x)
        return cxr.Prediction(heatmaps.mean((1, 2)), heatmaps)


def trained(rate: float, seed: int = 0) -> np.ndarray:
    run = cxr.fit(
        cxr.Classifier(cxr.ResNet18(blocks=(1,), width=4), DropoutHead(rate=rate)),
        make_split(32),
        epochs=1,
        batch_size=16,
        seed=seed,
        verbose=False,
    )
    return np.asarray(jax.tree.leaves(run.variables["params"]["head"])[-1])


def test_dropout_follows_the_seed():
    np.testing.assert_array_equal(trained(0.5), trained(0.5))
    assert not np.array_equal(trained(0.5), trained(0.0))
