"""A radiograph scored in a prepared dataset and predicted as a file gets the same bits."""

import numpy as np
import pytest
from PIL import Image

import jaxcxr as cxr
from jaxcxr.data.chest_xray14.records import read_record
from jaxcxr.findings import FINDINGS
from jaxcxr.inference.prediction import predict_files
from jaxcxr.inference.predictor import Predictor
from jaxcxr.inference.prepared import predict_split
from jaxcxr.training.state import initial_variables

SIZE, SHAPES = 64, ((1024, 1024), (1250, 1024))


class Split:
    """The records of files as a split whose only batch they fill."""

    def __init__(self, paths, square):
        records = [read_record(path, {}, None, SIZE, square) for path in paths]
        self.num_images = len(paths)
        self._batch = {
            "image": np.stack([record["image"] for record in records]),
            "image_name": np.array([path.name for path in paths]),
            "labels": np.zeros((len(paths), 14), np.uint8),
            "patient": np.arange(len(paths)),
            "age": np.full(len(paths), 50),
            "sex": np.full(len(paths), "F"),
            "view": np.full(len(paths), "PA"),
            "mask": np.ones(len(paths), bool),
        }

    def batches(self, batch_size, *, process_index=0, process_count=1):
        yield self._batch


@pytest.mark.parametrize("square", ["squash", "pad"])
@pytest.mark.parametrize("deep", [False, True], ids=["8 bits", "16 bits"])
def test_evaluate_and_predict_give_the_same_probabilities(tmp_path, square, deep):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{index}.png" for index in range(len(SHAPES))]
    for path, shape in zip(paths, SHAPES, strict=True):
        pixels = rng.integers(300, 4000, shape, np.uint16)
        Image.fromarray(pixels if deep else (pixels >> 4).astype(np.uint8)).save(path)
    model = cxr.Classifier(cxr.ResNet18(blocks=(1, 1), width=4), cxr.Baseline())
    predictor = Predictor(model, initial_variables(model, SIZE, seed=0), SIZE, square=square)
    _, scored = predict_split(predictor, Split(paths, square), len(paths))
    results = predict_files(
        predictor, SIZE, predictor.square, paths, batch_size=len(paths), refuse=pytest.fail
    )
    predicted = np.stack([result.probabilities for result in results])
    np.testing.assert_array_equal(scored[list(FINDINGS)].to_numpy(), predicted)
    assert len(np.unique(predicted)) > 14  # the radiographs differ
