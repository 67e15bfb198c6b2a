"""Uncertainty of scores: bootstrap over patients, DeLong's variance and test, Holm's correction.

Radiographs of one patient resemble each other: the bootstrap draws patients with all their
radiographs, and DeLong's formulas, which take every radiograph as independent, have an extension to
patients as clusters.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from jaxcxr.evaluation.classification import has_both_classes

_DRAWS_AT_ONCE = 64
"""Bootstrap draws per block: the tables of one block stay in the processor's cache."""

_CELLS_AT_ONCE = 1_000_000
"""Numbers in a table of draws: 8 MB, however many boxes there are."""


class DeLongTest(NamedTuple):
    """The paired comparison of two models on one finding.

    Attributes:
        auc_a: Of the first model.
        auc_b: Of the second model.
        z: Difference of the AUCs over its standard error.
        p_value: Two-sided.
    """

    auc_a: float
    auc_b: float
    z: float
    p_value: float


def draw_patients(num_patients: int, bootstraps: int, seed: int) -> np.ndarray:
    """Draws patients with replacement, as many as there are.

    Returns:
        (bootstraps, num_patients) int32: how often each patient is in each draw.
    """
    rng = np.random.default_rng(seed)
    counts = np.empty((bootstraps, num_patients), np.int32)
    for count in counts:  # one by one: drawn together they would take five times the memory
        drawn = rng.integers(num_patients, size=num_patients)
        count[:] = np.bincount(drawn, minlength=num_patients)
    return counts


def draw_blocks(draws: np.ndarray, columns: int) -> Iterator[np.ndarray]:
    """Yields the draws in order, float64, so many at a time that their tables stay small.

    Args:
        draws: (B, P), of `draw_patients`.
        columns: Of the largest table with a row per draw that is made of them.
    """
    step = max(1, _CELLS_AT_ONCE // max(columns, draws.shape[1]))
    for start in range(0, len(draws), step):
        yield draws[start : start + step].astype(np.float64)


def bootstrap_aucs(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: np.ndarray,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Returns the AUC of every finding in every bootstrap draw of patients.

    Radiographs are ranked once per finding; a draw then is a vector of integer weights. The same
    seed draws the same patients, so the replicates of two models can be subtracted.

    Args:
        labels: (N, K), zeros and ones; NaN, unknown, is left out.
        scores: (N, K), higher speaks for the finding.
        patients: (N,), any values; equal ones are one patient.
        bootstraps: Number of draws B.
        seed: Seed of the draws.

    Returns:
        (B, K) float64; NaN where a draw has only one class of the finding.
    """
    distinct, patient_of = np.unique(patients, return_inverse=True)
    draws = draw_patients(len(distinct), bootstraps, seed)
    replicates = [
        _bootstrap_auc(truth[known] > 0, score[known], patient_of[known], draws)
        for truth, score in zip(np.asarray(labels).T, np.asarray(scores).T, strict=True)
        for known in [~np.isnan(truth)]
    ]
    return np.stack(replicates, axis=1)


def _bootstrap_auc(
    present: np.ndarray, scores: np.ndarray, patient_of: np.ndarray, draws: np.ndarray
) -> np.ndarray:
    """Returns the (B,) AUCs of one finding: for each positive, the weight of negatives below it."""
    order = np.argsort(scores[~present])
    negatives = scores[~present][order]
    patient_of_negative = patient_of[~present][order]
    patient_of_positive = patient_of[present]
    below = np.searchsorted(negatives, scores[present], side="left")
    not_above = np.searchsorted(negatives, scores[present], side="right")
    aucs = np.full(len(draws), np.nan)
    for start in range(0, len(draws), _DRAWS_AT_ONCE):
        block = draws[start : start + _DRAWS_AT_ONCE].T
        weights = block[patient_of_positive]
        cumulated = np.zeros((len(negatives) + 1, block.shape[1]), block.dtype)
        np.cumsum(block[patient_of_negative], axis=0, out=cumulated[1:])
        wins = (cumulated[below] + cumulated[not_above]) / 2
        pairs = weights.sum(axis=0) * cumulated[-1].astype(np.float64)
        np.divide(
            np.einsum("pb,pb->b", weights, wins),
            pairs,
            out=aucs[start : start + _DRAWS_AT_ONCE],
            where=pairs > 0,
        )
    return aucs


def bootstrap_rates(
    hits: np.ndarray,
    counted: np.ndarray,
    patients: np.ndarray,
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Returns the part of the counted radiographs that are hits, in every draw of patients.

    Args:
        hits: (N, K) bool, only where `counted` is.
        counted: (N, K) bool.
        patients: (N,), any values; equal ones are one patient.
        bootstraps: Number of draws B.
        seed: Seed of the draws.

    Returns:
        (B, K) float64; NaN where a draw has nothing to count.
    """
    distinct, patient_of = np.unique(patients, return_inverse=True)
    draws = draw_patients(len(distinct), bootstraps, seed)
    part, of = (draws @ _cluster_sums(x, patient_of, len(distinct)) for x in (hits, counted))
    return np.divide(part, of, out=np.full(of.shape, np.nan), where=of > 0)


def interval(replicates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the 95 % percentile interval of bootstrap replicates.

    Args:
        replicates: (B, ...); NaN replicates are left out.

    Returns:
        Lower and upper ends, each (...); NaN where no replicate is a number.
    """
    known = ~np.isnan(replicates).all(axis=0)
    # nanquantile warns about columns without a number: they are filled here and masked below.
    low, high = np.nanquantile(np.where(known, replicates, 0), [0.025, 0.975], axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def bootstrap_p_values(differences: np.ndarray) -> np.ndarray:
    """Returns two-sided p-values of differences from their bootstrap replicates.

    Twice the part of the replicates on the rarer side of 0, those equal to 0 on both; a draw is
    added to each side, so that none is 0 (Davison and Hinkley 1997, section 4.2).

    Args:
        differences: (B, K); NaN replicates are left out.

    Returns:
        (K,) p-values; NaN where no replicate is a number.
    """
    count = (~np.isnan(differences)).sum(axis=0)
    rarer = np.minimum((differences <= 0).sum(axis=0), (differences >= 0).sum(axis=0))
    return np.where(count > 0, np.minimum(2 * (rarer + 1) / (count + 1), 1), np.nan)


def exchange_p_values(contributions: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Returns two-sided p-values of paired differences, by exchanging the systems per patient.

    If two systems are alike, either could have given each patient's results: the part of the draws
    with random signs in which the difference is as large (Davison and Hinkley 1997, section 4.3).
    Unlike a bootstrap's, they are valid for few patients.

    Args:
        contributions: (P, K), what each patient adds to each difference.
        draws: Number of draws.
        seed: Seed of the draws.

    Returns:
        (K,) p-values; NaN where the contributions are.
    """
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(draws, len(contributions)))
    known = ~np.isnan(contributions).any(axis=0)
    filled = np.where(known, contributions, 0)
    as_large = np.abs(signs @ filled) >= np.abs(filled.sum(axis=0)) - 1e-12
    return np.where(known, (1 + as_large.sum(axis=0)) / (draws + 1), np.nan)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the last axis of the values that are no NaN; NaN where all are."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def delong_covariance(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """AUCs of several models on the same radiographs, and their covariance.

    DeLong, DeLong and Clarke-Pearson 1988, from ranks as Sun and Xu 2014 compute it; with patients
    as clusters Obuchowski 1997, which is the same where every patient has one radiograph.

    Args:
        labels: (N,), zeros and ones; NaN, unknown, is left out.
        scores: (N, M), one column per model.
        patients: (N,), any values; None takes every radiograph as independent.

    Returns:
        AUCs (M,) and covariance (M, M). NaN AUCs without both classes; NaN covariance with fewer
        than two patients (or radiographs) of either class.
    """
    from scipy.stats import rankdata  # takes long to import

    known = ~np.isnan(labels)
    present, scores = np.asarray(labels)[known] > 0, scores[known]
    models = scores.shape[1]
    unknown = np.full((models, models), np.nan)
    if not has_both_classes(present):
        return np.full(models, np.nan), unknown
    cluster = np.arange(len(present))
    if patients is not None:
        cluster = np.unique(patients[known], return_inverse=True)[1]
    ranks = rankdata(scores, axis=0)
    positives, negatives = int(present.sum()), int((~present).sum())
    beaten = (ranks[present] - rankdata(scores[present], axis=0)) / negatives
    losing = 1 - (ranks[~present] - rankdata(scores[~present], axis=0)) / positives
    aucs = beaten.mean(axis=0)
    of_positives = _cluster_sums(beaten - aucs, cluster[present], cluster.max() + 1)
    of_negatives = _cluster_sums(losing - aucs, cluster[~present], cluster.max() + 1)
    with_positives, with_negatives, all_clusters = (
        len(np.unique(some)) for some in (cluster[present], cluster[~present], cluster)
    )
    if min(with_positives, with_negatives) < 2:
        return aucs, unknown
    crossed = of_positives.T @ of_negatives / (positives * negatives)
    return aucs, (
        of_positives.T @ of_positives / positives**2 * _unbiased(with_positives)
        + of_negatives.T @ of_negatives / negatives**2 * _unbiased(with_negatives)
        + (crossed + crossed.T) * _unbiased(all_clusters)
    )


def _cluster_sums(values: np.ndarray, cluster: np.ndarray, clusters: int) -> np.ndarray:
    sums = np.zeros((clusters, values.shape[1]))
    np.add.at(sums, cluster, values)
    return sums


def _unbiased(count: int) -> float:
    return count / (count - 1)


def delong_test(
    labels: np.ndarray,
    scores_a: np.ndarray,
    scores_b: np.ndarray,
    patients: np.ndarray | None = None,
) -> DeLongTest:
    """Tests whether two models have the same AUC on the same radiographs.

    A model may be several runs: then its AUC is the mean of theirs.

    Where the two rank the radiographs so alike that the difference has no variance, z is 0 and the
    p-value 1 for equal AUCs, z infinite and the p-value 0 for others. NaN where the covariance is.

    Args:
        labels: (N,), zeros and ones.
        scores_a: (N,), or (N, S) of S runs.
        scores_b: As `scores_a`; the number of runs may differ.
        patients: (N,), equal values are one patient; None takes every radiograph as independent.
    """
    runs = [np.reshape(scores, (len(labels), -1)) for scores in (scores_a, scores_b)]
    aucs, covariance = delong_covariance(labels, np.concatenate(runs, axis=1), patients)
    of_a, of_b = np.split(aucs, [runs[0].shape[1]])
    weights = np.concatenate(
        [np.full(len(of_a), 1 / len(of_a)), np.full(len(of_b), -1 / len(of_b))]
    )
    difference = of_a.mean() - of_b.mean()
    variance = weights @ covariance @ weights
    if abs(difference) < 1e-12 and not np.isnan(variance):
        z = 0.0
    elif variance <= 1e-24:
        z = np.copysign(np.inf, difference)
    else:
        z = difference / np.sqrt(variance)
    return DeLongTest(float(of_a.mean()), float(of_b.mean()), float(z), float(2 * ndtr(-abs(z))))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Corrects p-values of several tests for their number (Holm 1979).

    Args:
        p_values: (K,); NaN are no tests: they stay and do not count.

    Returns:
        (K,) adjusted p-values; those at most α are significant at family-wise level α.
    """
    adjusted = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(~np.isnan(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted
