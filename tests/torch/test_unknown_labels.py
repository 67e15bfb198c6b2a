"""Losses and labels with unknown ones, against PyTorch and torchxrayvision."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from jaxcxr.data import read_release  # noqa: E402
from jaxcxr.training.losses import binary_cross_entropy  # noqa: E402
from tests.data.releases import other_sources  # noqa: E402


def test_masked_cross_entropy_and_its_gradient_are_pytorchs():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(16, 14)).astype(np.float32)
    labels = rng.choice([0, 1, np.nan], size=(16, 14)).astype(np.float32)
    theirs = torch.tensor(logits, requires_grad=True)
    known = ~np.isnan(labels)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        theirs,
        torch.tensor(np.nan_to_num(labels)),
        weight=torch.tensor(known.astype(np.float32)),
        reduction="sum",
    )
    (loss / 16).backward()
    value, gradient = jax.value_and_grad(binary_cross_entropy)(logits, labels)
    np.testing.assert_allclose(value, loss.item() / 16, rtol=1e-6)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-7)


def test_chexpert_labels_are_torchxrayvisions(tmp_path):
    try:
        from torchxrayvision.datasets import CheX_Dataset
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision of another PyTorch
        pytest.skip(str(error))
    root = other_sources.write_chexpert(tmp_path)
    theirs = CheX_Dataset(
        str(root), str(root / "train.csv"), views=["PA", "AP"], unique_patients=False
    )
    release = read_release(root)
    ours = release.images[release.images["official_split"] == "train_val"]
    shared = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Pneumonia"]
    columns = [theirs.pathologies.index(name) for name in shared]
    np.testing.assert_array_equal(ours[shared], theirs.labels[:, columns])
