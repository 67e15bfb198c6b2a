"""Writes the golden files of tests/models: what PyTorch computes for every network of `cases`.

python -m tests.torch.make_golden
"""

from pathlib import Path

import numpy as np

from tests.torch import networks
from tests.torch.cases import CASES, batch
from tests.torch.test_parity import nchw, torch_loss

FOLDER = Path(__file__).parents[1] / "models" / "golden"


def main():
    FOLDER.mkdir(exist_ok=True)
    images, labels = batch()
    for name, config in CASES.items():
        network = networks.build(config).eval()
        networks.randomize(network, seed=2)
        logits, heatmaps = network(nchw(images))
        torch_loss(logits, labels).backward()
        arrays = {f"state/{key}": value for key, value in networks.state_dict(network).items()}
        arrays |= {
            f"gradient/{key.removeprefix('backbone.')}": parameter.grad
            for key, parameter in network.named_parameters()
            if parameter.grad is not None
        }
        np.savez_compressed(
            FOLDER / f"{name}.npz",
            logits=logits.detach().numpy(),
            heatmaps=heatmaps.detach().numpy().transpose(0, 2, 3, 1),
            **{
                key: value.numpy()
                for key, value in arrays.items()
                if not key.endswith("num_batches_tracked")
            },
        )


if __name__ == "__main__":
    main()
