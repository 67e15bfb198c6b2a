"""How often the 95 % intervals hold the truth, for radiographs that resemble each other.

python benchmarks/coverage.py [ROUNDS]

Each round draws patients with several radiographs whose scores share the patient's habit, so that
the true AUC is known, and asks whether the interval holds it. The claim: 93 to 97 % of the rounds
do. An interval that draws radiographs as if they were independent is shown beside it.
"""

import sys

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from jaxcxr.evaluation.statistics import bootstrap_aucs, delong_covariance, interval

PATIENTS, RADIOGRAPHS_EACH = 300, 4
HABIT = 0.5
"""Part of the scores' variance that a patient's radiographs share."""
SEPARATION = 1.0
PREVALENCE = 0.2
TRUE_AUC = norm.cdf(SEPARATION / np.sqrt(2))


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns labels, scores and patients of one study; a patient has the finding or not."""
    patients = np.repeat(np.arange(PATIENTS), RADIOGRAPHS_EACH)
    labels = (rng.random(PATIENTS) < PREVALENCE)[patients]
    habit = rng.normal(scale=np.sqrt(HABIT), size=PATIENTS)[patients]
    noise = rng.normal(scale=np.sqrt(1 - HABIT), size=len(patients))
    return labels, SEPARATION * labels + habit + noise, patients


def bootstrap_holds(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> bool:
    """Whether the percentile interval of 500 patient bootstraps holds the true AUC."""
    replicates = bootstrap_aucs(labels[:, None], scores[:, None], patients, bootstraps=500)
    low, high = interval(replicates)
    return bool(low[0] <= TRUE_AUC <= high[0])


def delong_holds(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None) -> bool:
    """Whether the normal interval with DeLong's variance holds the true AUC."""
    (auc,), ((variance,),) = delong_covariance(labels, scores[:, None], patients)
    return bool(abs(auc - TRUE_AUC) <= norm.ppf(0.975) * np.sqrt(variance))


def main() -> None:
    """Counts over many rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rng = np.random.default_rng(0)
    ways = {
        "bootstrap over patients": bootstrap_holds,
        "bootstrap over radiographs": lambda y, s, p: bootstrap_holds(y, s, np.arange(len(p))),
        "DeLong, patients as clusters": delong_holds,
        "DeLong, radiographs independent": lambda y, s, p: delong_holds(y, s, None),
    }
    held = dict.fromkeys(ways, 0)
    for _ in tqdm(range(rounds), unit="round"):
        study = draw(rng)
        for name, holds in ways.items():
            held[name] += holds(*study)
    for name, count in held.items():
        print(f"{name:<32} {count / rounds:.1%} of {rounds} rounds")


if __name__ == "__main__":
    main()
