"""Metrics of a router between two arms, of output lengths, and bootstrap intervals: pure functions of arrays.

The protocol for two arms is that of RouteLLM (Ong et al. 2024: APGR, CPT). Notation: ``n`` prompts, ``b``
bootstrap resamples. Qualities are in 0..1. A figure that is undefined for its rows (no gap between the arms)
is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "MIN_PROMPTS",
    "Figures",
    "Statistic",
    "apgr",
    "apgr_statistic",
    "bootstrap",
    "coverage",
    "cpt",
    "gains",
    "interval",
    "mean",
    "pinball",
    "unit_counts",
    "within_category_apgr",
]

Floats = npt.NDArray[np.float64]
Figures = dict[str, Any]
"""Names of figures to their values, in groups; part of a report."""
Statistic = Callable[[Floats], Floats]
"""Counts float64 ``(n, b)``, how often each prompt was drawn, to values per resample, ``(b, …)``."""

RESAMPLES = 1000
MIN_PROMPTS = 2
"""Prompts below which arms are not compared."""
MIN_CATEGORY = 20
"""Prompts below which a category's curve is noise and is left out of the within-category figure."""

_CELLS = 2_000_000
"""Cells of a block of resamples: 16 MB of float64, which stays near the cache."""


def mean(values: npt.NDArray[Any]) -> float:
    """The mean of numbers ``(n,)``; NaN where there are none."""
    return float(values.mean()) if len(values) else float("nan")


def unit_counts(n: int) -> Floats:
    """The counts under which a statistic is the plain figure: every prompt one time, ``(n, 1)``."""
    return np.ones((n, 1))


# --- Two arms: RouteLLM ------------------------------------------------------------------------


def _tie_starts(sorted_score: Floats) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.r_[True, sorted_score[1:] != sorted_score[:-1]])


def gains(weak: Floats, strong: Floats, score: Floats) -> tuple[Statistic, Statistic]:
    """What a ranking recovers (the area above always-weak) and the whole gap, both per resample.

    The two parts of :func:`apgr`, to be added up over several pairs; the arguments are the same.

    Args:
        weak: float64 ``(n,)``, quality of the weak arm.
        strong: float64 ``(n,)``, quality of the strong arm.
        score: float64 ``(n,)``, higher where the strong arm is more worth its price.
    """
    order = np.argsort(-score, kind="stable")
    starts = _tie_starts(score[order])
    gain = (strong - weak)[order]
    tied = len(starts) < len(order)

    def recovered(counts: Floats) -> Floats:
        drawn = counts[order]
        gained = drawn * gain[:, None]
        if tied:  # a tie is a straight piece of the curve: the mean over all orders of its prompts
            drawn = np.add.reduceat(drawn, starts, axis=0)
            gained = np.add.reduceat(gained, starts, axis=0)
        middle = np.cumsum(gained, axis=0) - gained / 2
        return np.asarray(np.einsum("tb,tb->b", drawn, middle) / counts.sum(axis=0) ** 2)

    def gap(counts: Floats) -> Floats:
        return np.asarray((strong - weak) @ counts / counts.sum(axis=0))

    return recovered, gap


def apgr_statistic(weak: Floats, strong: Floats, score: Floats) -> Statistic:
    """:func:`apgr` as a function of bootstrap counts.

    Args:
        weak: float64 ``(n,)``, quality of the weak arm.
        strong: float64 ``(n,)``, quality of the strong arm.
        score: float64 ``(n,)``, higher where the strong arm is more worth its price.
    """
    recovered, gap = gains(weak, strong, score)

    def statistic(counts: Floats) -> Floats:
        whole = gap(counts)
        known = np.abs(whole) > 1e-12
        return np.divide(recovered(counts), whole, out=np.full_like(whole, np.nan), where=known)

    return statistic


def apgr(weak: Floats, strong: Floats, score: Floats) -> float:
    """Average performance gap recovered, over the full curve (RouteLLM, section 3).

    The strong arm gets the prompts with the highest scores; the area under mean quality against the
    share sent to it, by the trapezoid rule, less the weak arm's mean, over the gap of the means.

    Args:
        weak: float64 ``(n,)``, quality of the weak arm.
        strong: float64 ``(n,)``, quality of the strong arm.
        score: float64 ``(n,)``, higher where the strong arm is more worth its price. Prompts of
            equal score count as the mean over all their orders.

    Returns:
        .5 for a random or constant score; above 1 or below 0 is possible. NaN without a gap.
    """
    if not len(weak):
        return float("nan")
    return float(apgr_statistic(weak, strong, score)(unit_counts(len(weak)))[0])


def cpt(weak: Floats, strong: Floats, score: Floats, share: float) -> float:
    """Call-performance threshold: the least share of prompts that the strong arm must get.

    Args:
        weak: as for :func:`apgr`.
        strong: as for :func:`apgr`.
        score: as for :func:`apgr`.
        share: part of the quality gap to recover, such as .5 or .8.

    Returns:
        The smallest share in 0..1 at which the curve reaches it; NaN where the strong arm is not better.
    """
    gap = float(np.mean(strong - weak)) if len(weak) else 0.0
    if gap <= 1e-12:
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ends = np.r_[0, _tie_starts(score[order])[1:], len(order)]
    curve = np.r_[0.0, np.cumsum((strong - weak)[order])][ends] / len(order) / gap
    reached = int(np.argmax(curve >= share - 1e-12))
    if reached == 0:
        return 0.0
    low, high = curve[reached - 1], curve[reached]
    part = (share - low) / (high - low)
    return float((ends[reached - 1] + part * (ends[reached] - ends[reached - 1])) / len(order))


def within_category_apgr(
    weak: Floats, strong: Floats, score: Floats, categories: npt.NDArray[np.object_]
) -> float:
    """APGR of the ranking inside each category, so that recognising the category earns nothing.

    The mean over categories of at least :data:`MIN_CATEGORY` prompts, weighted by prompts × gap: by
    the quality that is there to recover. Weighing by prompts alone would let a category with almost
    no gap, whose ratio is noise, decide the figure.

    Args:
        weak: as for :func:`apgr`.
        strong: as for :func:`apgr`.
        score: as for :func:`apgr`.
        categories: object ``(n,)``; prompts without a category (``""``) are left out.
    """
    recovered_sum = gap_sum = 0.0
    for category in sorted(set(categories) - {""}):
        rows = categories == category
        count = int(rows.sum())
        if count < MIN_CATEGORY:
            continue
        recovered, gap = gains(weak[rows], strong[rows], score[rows])
        recovered_sum += count * float(recovered(unit_counts(count))[0])
        gap_sum += count * float(gap(unit_counts(count))[0])
    return recovered_sum / gap_sum if gap_sum > 1e-9 else float("nan")


# --- Intervals ---------------------------------------------------------------------------------


def _counts(n: int, resamples: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    block = max(1, min(resamples, _CELLS // max(n, 1)))
    for start in range(0, resamples, block):
        columns = min(block, resamples - start)
        drawn = rng.integers(n, size=(n, columns)) * columns + np.arange(columns)
        counts = np.bincount(drawn.ravel(), minlength=n * columns)
        yield counts.reshape(n, columns).astype(np.float64)


def bootstrap(
    n: int, statistics: Mapping[str, Statistic], *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Floats]:
    """Every statistic on the same resamples of ``n`` prompts, so that differences are paired.

    Args:
        n: number of prompts.
        statistics: by name.
        seed: of the resamples.
        resamples: how many are drawn.

    Returns:
        float64 ``(resamples, …)`` under each name.
    """
    values: dict[str, list[Floats]] = {name: [] for name in statistics}
    if statistics:
        for counts in _counts(n, resamples, seed):
            for name, statistic in statistics.items():
                values[name].append(statistic(counts))
    return {name: np.concatenate(parts) for name, parts in values.items()}


def interval(values: Floats) -> list[float]:
    """The 95 % percentile interval of bootstrap values, ``[low, high]``."""
    known = values[np.isfinite(values)]
    if not len(known):
        return [float("nan"), float("nan")]
    return [float(bound) for bound in np.percentile(known, [2.5, 97.5])]


# --- Output length -----------------------------------------------------------------------------


def pinball(actual: Floats, predicted: Floats | float, level: float) -> float:
    """Mean pinball loss of a quantile, in the unit of ``actual`` (Koenker & Bassett 1978).

    Args:
        actual: float64 ``(n,)``.
        predicted: float64 ``(n,)``, or one quantile for all.
        level: of the quantile, 0..1.
    """
    error = actual - predicted
    return float(np.mean(np.maximum(level * error, (level - 1) * error)))


def coverage(actual: Floats, predicted: Floats) -> float:
    """Share of values at or below the predicted quantile, 0..1."""
    return float(np.mean(actual <= predicted))
