"""How long 1,000 patient bootstraps of 14 AUCs over the official test list's size take.

python benchmarks/bootstrap.py

The claim: under 20 seconds on 2 cores for 25,596 radiographs of 2,797 patients.
"""

import time

import numpy as np

from jaxcxr.evaluation.statistics import bootstrap_aucs, interval

RADIOGRAPHS, PATIENTS = 25_596, 2_797
PREVALENCES = [0.128, 0.042, 0.182, 0.239, 0.068, 0.063, 0.022, 0.104, 0.071, 0.036, 0.043, 0.017,
               0.045, 0.003]  # fmt: skip
"""Of the 14 findings on the official test list."""


def main() -> None:
    """Draws radiographs like the official test list's and times their intervals."""
    rng = np.random.default_rng(0)
    labels = rng.random((RADIOGRAPHS, 14)) < PREVALENCES
    scores = (rng.normal(size=labels.shape) + labels).astype(np.float32)
    patients = np.sort(rng.integers(PATIENTS, size=RADIOGRAPHS))
    start = time.perf_counter()
    replicates = bootstrap_aucs(labels, scores, patients, bootstraps=1000)
    low, high = interval(replicates)
    seconds = time.perf_counter() - start
    print(f"1,000 patient bootstraps of 14 AUCs over {RADIOGRAPHS:,} radiographs: {seconds:.1f} s")
    print(f"width of the intervals: {(high - low).min():.3f} to {(high - low).max():.3f}")


if __name__ == "__main__":
    main()
