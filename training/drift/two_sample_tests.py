"""Do two samples come from one distribution? Sizes of the difference, with permutation p-values.

The classifier two-sample test is that of Lopez-Paz & Oquab (2017, "Revisiting Classifier Two-Sample
Tests"), the population stability index that of Siddiqi (2006, "Credit Risk Scorecards").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

__all__ = ["DRAWS", "classifier_two_sample_test", "p_value_of", "population_stability_index"]

Floats = npt.NDArray[np.float64]

DRAWS = 4999
"""Enough for the smallest p-value to be an alarm at 1 % after correction for 50 comparisons."""


def p_value_of(null: Floats, value: float) -> float:
    """Share of the null values at least as large, the value itself among them (Phipson & Smyth 2010)."""
    return float((1 + np.sum(null >= value - 1e-12)) / (1 + len(null)))


def classifier_two_sample_test(
    reference: npt.NDArray[np.float32], recent: npt.NDArray[np.float32], rng: np.random.Generator
) -> tuple[float, float]:
    """AUC on the half not fitted on, and its permutation p-value.

    Args:
        reference: float32 ``(n, d)``.
        recent: float32 ``(m, d)``.
        rng: divides and permutes.
    """
    rows = np.concatenate([reference, recent]).astype(np.float64)
    new = np.repeat([False, True], [len(reference), len(recent)])
    half = np.zeros(len(rows), dtype=bool)
    for side in (np.flatnonzero(~new), np.flatnonzero(new)):
        half[rng.permutation(side)[: len(side) // 2]] = True
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=500)
    )
    model.fit(rows[half], new[half])
    ranks = rankdata(model.decision_function(rows[~half]))
    labels = new[~half]
    many, few = int((~labels).sum()), int(labels.sum())

    def auc(total: Floats) -> Floats:
        return np.asarray((total - few * (few + 1) / 2) / (few * many))

    null = np.array([rng.permutation(ranks)[:few].sum() for _ in range(DRAWS)])
    value = float(auc(ranks[labels].sum()))
    return value, p_value_of(auc(null), value)


def _psi(reference: Floats, recent: Floats) -> Floats:
    """PSI of counts ``(…, bins)``; half a prompt is added to each bin, so that none is empty."""
    p, q = (
        (counts + 0.5) / (counts.sum(axis=-1, keepdims=True) + 0.5 * counts.shape[-1])
        for counts in (reference, recent)
    )
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def population_stability_index(
    reference: npt.NDArray[np.intp], recent: npt.NDArray[np.intp], rng: np.random.Generator
) -> tuple[float, float]:
    """PSI of two sides put into bins, and its permutation p-value.

    Args:
        reference: ``(n,)``, the bin of each prompt, ≥ 0.
        recent: ``(m,)``.
        rng: draws the permutations.
    """
    bins = int(max(reference.max(), recent.max())) + 1
    old, new = (np.bincount(side, minlength=bins) for side in (reference, recent))
    drawn = rng.multivariate_hypergeometric(old + new, int(new.sum()), size=DRAWS)
    value = float(_psi(old.astype(float), new.astype(float)))
    return value, p_value_of(_psi((old + new - drawn).astype(float), drawn.astype(float)), value)
