"""TorchXRayVision's own networks and preprocessing give the same probabilities from a file."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is an extra: make test-torch installs it")
# Its compiled operators, which are not needed here, do not load beside a PyTorch of another build.
sys.modules["torchvision._meta_registrations"] = types.ModuleType("_meta_registrations")
xrv = pytest.importorskip("torchxrayvision", reason="make test-torch installs it")
import torchvision  # noqa: E402

from jaxcxr.images.radiograph import read_radiograph  # noqa: E402
from jaxcxr.images.square import make_square  # noqa: E402
from jaxcxr.inference.predictor import Predictor  # noqa: E402
from jaxcxr.models.weights import catalog  # noqa: E402
from jaxcxr.models.weights.foreign import TORCHXRAYVISION_FINDINGS, read_foreign  # noqa: E402
from tests.dicom_files import dicom_bytes  # noqa: E402
from tests.torch.networks import randomize  # noqa: E402


def densenet():
    return xrv.models.DenseNet(weights=None, num_classes=18)


def resnet():
    """The network inside `xrv.models.ResNet`, which cannot be had without its weights."""
    network = torchvision.models.resnet50(num_classes=18)
    network.conv1 = torch.nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return network


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Radiographs of 8 bits: larger and smaller than the input, wide, high and square."""
    folder, rng = tmp_path_factory.mktemp("radiographs"), np.random.default_rng(0)
    paths = []
    for shape in ((700, 901), (180, 150)):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 9), np.uint8))
        gray = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
        gray = np.clip(gray + rng.normal(0, 9, shape), 0, 255).astype(np.uint8)
        gray[0, :2] = 0, 255
        paths += [folder / f"{shape[0]}.png", folder / f"{shape[0]}.dcm"]
        Image.fromarray(gray).save(paths[-2])
        paths[-1].write_bytes(dicom_bytes(gray, 8, WindowCenter=128, WindowWidth=256))
    return paths


def their_input(size, path):
    """Returns (1, 1, S, S) as TorchXRayVision's scripts/process_image.py computes it."""
    image = xrv.utils.load_image(str(path))
    image = xrv.datasets.XRayResizer(size)(xrv.datasets.XRayCenterCrop()(image))
    return torch.from_numpy(image)[None]


@pytest.mark.parametrize(("make", "size", "prefix"), [(densenet, 224, ""), (resnet, 512, "model.")])
def test_probabilities_agree_from_the_same_files(make, size, prefix, files, tmp_path):
    network = make()
    randomize(network, seed=5)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():  # statistics of a radiograph, for outputs that depend on the image
        network.train()(their_input(size, files[0]))
        network.eval()
    state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    thresholds = torch.tensor([0.1, *[float("nan")] * 2, *[0.3] * 15])
    torch.save(state | {"op_threshs": thresholds}, tmp_path / "model.pt")
    trained = read_foreign(tmp_path / "model.pt").described()
    assert (trained.image_size, trained.square) == (size, "crop")
    assert trained.findings[:4] == ("Atelectasis", None, None, "Pneumothorax")
    predict = Predictor(trained.model, trained.variables, size, square="crop")
    outputs = []
    for path in files:
        image, _ = make_square(read_radiograph(path).pixels, size, "crop")
        ours, _ = predict(image[None, ..., None])
        with torch.no_grad():
            expected = torch.sigmoid(network(their_input(size, path))).numpy()
        np.testing.assert_allclose(ours, expected, atol=1e-5, err_msg=path.name)
        outputs.append(expected)
    assert 0.02 < np.ptp(outputs, axis=0).max() < 0.98
    assert 0.02 < np.ptp(outputs, axis=-1).max() < 0.98


def test_the_catalog_has_their_findings_and_thresholds():
    assert list(TORCHXRAYVISION_FINDINGS) == xrv.datasets.default_pathologies
    for name, entry in catalog.entries().items():
        known = xrv.models.model_urls[entry["repository"].removeprefix("torchxrayvision/")]
        np.testing.assert_array_equal(entry["thresholds"], known["op_threshs"], err_msg=name)
        untrained = {"Lung Lesion", "Enlarged Cardiomediastinum"} if "resnet" in name else set()
        ours = [
            "" if np.isnan(threshold) else finding
            for finding, threshold in zip(
                TORCHXRAYVISION_FINDINGS, entry["thresholds"], strict=True
            )
        ]
        labels = ["" if label in untrained else label for label in known["labels"]]
        assert ours == labels, name
