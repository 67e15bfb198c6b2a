"""Patient bootstraps of 14 AUCs per second, here and by scikit-learn, at the official test's size.

python -m benchmarks.bootstrap

Ours draws 1,000 times between two readings of the clock, as one evaluation does, and prints
its interval; the peer, much slower, draws `_PEER_DRAWS` times and calls
`sklearn.metrics.roc_auc_score` for each finding, with the draws as weights.
"""

import json

import numpy as np
from absl import app, flags
from sklearn.metrics import roc_auc_score

from benchmarks.machine import describe
from benchmarks.paired import Work, measure
from jaxcxr.evaluation.statistics import bootstrap_aucs, draw_patients, interval

_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 1000, "Draws between two looks at the clock.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often each is measured.")

RADIOGRAPHS, PATIENTS = 25_596, 2_797
PREVALENCES = [0.128, 0.042, 0.182, 0.239, 0.068, 0.063, 0.022, 0.104, 0.071, 0.036, 0.043, 0.017,
               0.045, 0.003]  # fmt: skip
"""Of the 14 findings on the official test list."""

_PEER_DRAWS = 5


def study() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws labels and scores (N, 14) and patients (N,) like the official test list's."""
    rng = np.random.default_rng(0)
    labels = rng.random((RADIOGRAPHS, 14)) < PREVALENCES
    scores = (rng.normal(size=labels.shape) + labels).astype(np.float32)
    return labels, scores, np.sort(rng.integers(PATIENTS, size=RADIOGRAPHS))


def bootstrap_here(bootstraps: int) -> Work:
    """Returns the drawing of `bootstraps` replicates and their interval."""
    labels, scores, patients = study()

    def work() -> None:
        interval(bootstrap_aucs(labels, scores, patients, bootstraps=bootstraps))

    return work


def bootstrap_in_scikit_learn(**_: int) -> Work:
    """Returns the drawing of `_PEER_DRAWS` replicates."""
    labels, scores, patients = study()

    def work() -> None:
        for counts in draw_patients(PATIENTS, _PEER_DRAWS, seed=0):
            weights = counts[patients]
            for label, score in zip(labels.T, scores.T, strict=True):
                roc_auc_score(label, score, sample_weight=weights)

    return work


def main(_: list[str]) -> None:
    """Measures and prints one JSON line."""
    arguments = {"bootstraps": _BOOTSTRAPS.value}
    result = measure(
        bootstrap_here,
        bootstrap_in_scikit_learn,
        arguments,
        units=_BOOTSTRAPS.value,
        peer_units=_PEER_DRAWS,
        rounds=_ROUNDS.value,
    )
    print(json.dumps({"benchmark": "bootstrap", **arguments, **result, **describe()}))


if __name__ == "__main__":
    app.run(main)
