"""How well P(adequate) is calibrated and how well it ranks, as pure functions of numpy arrays.

Notation: ``n`` attempts of one arm. Probabilities are in 0..1. A figure that is undefined for its rows (one
class only, no rows) is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

__all__ = [
    "Bins",
    "auc",
    "bins_of",
    "brier",
    "calibration_bins",
    "ece",
    "ece_draws",
    "ece_floor",
]

Floats = npt.NDArray[np.float64]

BINS = 15
FLOOR_DRAWS = 200


def auc(outcome: npt.NDArray[np.bool_], probability: Floats) -> float:
    """Area under the ROC curve of one arm; NaN where only one outcome occurs."""
    if outcome.all() or not outcome.any():
        return float("nan")
    return float(roc_auc_score(outcome, probability))


@dataclass(frozen=True)
class Bins:
    """A reliability curve: float64 ``(bins,)`` each, empty bins left out.

    Attributes:
        predicted: mean probability.
        observed: share of adequate attempts.
        counts: attempts.
    """

    predicted: Floats
    observed: Floats
    counts: Floats


def bins_of(probability: Floats, bins: int = BINS) -> npt.NDArray[np.intp]:
    """The bin of each probability, ``(n,)`` in 0 … bins − 1: bins of equal mass."""
    # Equal probabilities share a bin: cut apart, they would show the order of the rows as an error.
    ranks = (rankdata(probability, method="average") - 0.5) / len(probability)
    return np.asarray(np.minimum(ranks * bins, bins - 1), dtype=np.intp)


def calibration_bins(outcome: npt.NDArray[np.bool_], probability: Floats, bins: int = BINS) -> Bins:
    """The reliability curve over bins of equal mass.

    Args:
        outcome: bool ``(n,)``, whether each attempt was adequate.
        probability: float64 ``(n,)``, 0..1.
        bins: number of bins.
    """
    place = bins_of(probability, bins)
    counts = np.bincount(place, minlength=bins).astype(np.float64)
    there = counts > 0
    predicted = np.bincount(place, probability, bins)[there] / counts[there]
    observed = np.bincount(place, outcome.astype(np.float64), bins)[there] / counts[there]
    return Bins(predicted, observed, counts[there])


def ece(outcome: npt.NDArray[np.bool_], probability: Floats, bins: int = BINS) -> float:
    """Expected calibration error over ``bins`` bins of equal mass: mean |observed − predicted|, 0..1.

    Args:
        outcome: bool ``(n,)``, whether each attempt was adequate.
        probability: float64 ``(n,)``, 0..1.
        bins: number of bins.
    """
    if not len(probability):
        return float("nan")
    curve = calibration_bins(outcome, probability, bins)
    return float(np.average(np.abs(curve.observed - curve.predicted), weights=curve.counts))


def ece_draws(
    probability: Floats, *, seed: int, bins: int = BINS, draws: int = FLOOR_DRAWS
) -> Floats:
    """:func:`ece` of outcomes drawn from the probabilities themselves, float64 ``(draws,)``.

    What perfect calibration would show on so many prompts: the null distribution of the error.

    Args:
        probability: float64 ``(n,)``, 0..1.
        seed: of the draws.
        bins: number of bins.
        draws: number of draws.
    """
    place = bins_of(probability, bins)
    order = np.argsort(place, kind="stable")
    starts = np.unique(place[order], return_index=True)[1]
    ordered = probability[order]
    rng = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        surplus = (rng.random(len(ordered)) < ordered) - ordered
        values[draw] = np.abs(np.add.reduceat(surplus, starts)).sum() / len(ordered)
    return values


def ece_floor(
    probability: Floats, *, seed: int, bins: int = BINS, draws: int = FLOOR_DRAWS
) -> float:
    """The ECE that perfect calibration would show on so many prompts: the mean of :func:`ece_draws`.

    Args:
        probability: float64 ``(n,)``, 0..1.
        seed: of the draws.
        bins: number of bins.
        draws: number of draws.
    """
    if not len(probability):
        return float("nan")
    return float(ece_draws(probability, seed=seed, bins=bins, draws=draws).mean())


def brier(outcome: npt.NDArray[np.bool_], probability: Floats) -> float:
    """Mean squared error of the probability, 0..1."""
    return float(np.mean((probability - outcome) ** 2)) if len(probability) else float("nan")
