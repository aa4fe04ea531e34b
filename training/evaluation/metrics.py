"""Metrics of a router, as pure functions of numpy arrays.

The protocols are those of RouteLLM (Ong et al. 2024: APGR, CPT), RouterBench (Hu et al. 2024: AIQ) and of
common practice for calibration. Notation: ``n`` prompts, ``k`` arms, ``b`` bootstrap resamples, ``l``
points of a sweep. Qualities and probabilities are in 0..1, costs are int64 nano-dollars.

A figure that is undefined for its rows (no gap between the arms, one class only) is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

__all__ = [
    "Bins",
    "Points",
    "Statistic",
    "Sweep",
    "aiq",
    "aiq_over_singles",
    "apgr",
    "apgr_statistic",
    "auc",
    "bins_of",
    "bootstrap",
    "brier",
    "calibration_bins",
    "cost_at_quality",
    "coverage",
    "cpt",
    "ece",
    "ece_draws",
    "ece_floor",
    "gains",
    "hull",
    "interval",
    "pinball",
    "quality_at_cost",
    "single_arms",
    "sweep",
    "unit_counts",
    "within_category_apgr",
]

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""Counts float64 ``(n, b)``, how often each prompt was drawn, to values per resample, ``(b, …)``."""

RESAMPLES = 1000
BINS = 15
FLOOR_DRAWS = 200
LAMBDAS = 200
MIN_CATEGORY = 20
"""Prompts below which a category's curve is noise and is left out of the within-category figure."""

_CELLS = 2_000_000
"""Cells of a block of resamples: 16 MB of float64, which stays near the cache."""


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


# --- Calibration -------------------------------------------------------------------------------


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
    starts = _tie_starts(place[order].astype(np.float64))
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


# --- Many arms and money: RouterBench ----------------------------------------------------------


@dataclass(frozen=True)
class Points:
    """Where the points of a sweep lie on ``b`` resamples.

    Attributes:
        cost: float64 ``(b, l)``, mean cost in USD.
        quality: float64 ``(b, l)``, mean quality.
    """

    cost: Floats
    quality: Floats

    @classmethod
    def of(cls, values: Floats) -> Points:
        """From what :meth:`Sweep.statistic` gave, float64 ``(b, 2, l)``."""
        return cls(values[:, 0], values[:, 1])


@dataclass(frozen=True)
class Sweep:
    """A router at every willingness to pay.

    Attributes:
        quality: float32 ``(l, n)``, quality of the arm chosen for each prompt.
        cost: float32 ``(l, n)``, its cost in USD.
    """

    quality: npt.NDArray[np.float32]
    cost: npt.NDArray[np.float32]

    def statistic(self, counts: Floats) -> Floats:
        """Mean cost in USD and mean quality of each point, float64 ``(b, 2, l)``."""
        share = (counts / counts.sum(axis=0)).astype(np.float32)
        return np.stack([(self.cost @ share).T, (self.quality @ share).T], axis=1).astype(
            np.float64
        )

    def points(self) -> Points:
        """The points on all prompts, ``b`` = 1."""
        return Points.of(self.statistic(unit_counts(self.quality.shape[1])))


def _lambdas(p_adequate: Floats, decision_cost: Floats) -> Floats:
    """RouterBench's range of λ, and the values where the choices in question really change."""
    turns = []
    for weak in range(p_adequate.shape[1]):
        for strong in range(weak + 1, p_adequate.shape[1]):
            gain = p_adequate[:, strong] - p_adequate[:, weak]
            price = decision_cost[:, strong] - decision_cost[:, weak]
            same_sign = (gain * price) > 0
            turns.append(price[same_sign] / gain[same_sign])
    found = np.concatenate(turns)
    middle = np.quantile(found, np.linspace(0, 1, LAMBDAS)) if len(found) else np.zeros(0)
    # A hair above each turn, so that the prompt that defines it has turned.
    return np.unique(np.concatenate([np.logspace(-10, 9, 20), middle * (1 + 1e-9)]))


def sweep(
    p_adequate: Floats,
    decision_cost: Floats,
    quality: Floats,
    cost_nanos: npt.NDArray[np.int64],
    again: Callable[[float], Floats] | None = None,
) -> Sweep:
    """Choose argmax(λ·P − cost) for every λ (RouterBench, section 4).

    Args:
        p_adequate: float64 ``(n, k)``, the router's predictions.
        decision_cost: float64 ``(n, k)`` or ``(1, k)``, USD, the expected cost of a call.
        quality: float64 ``(n, k)``, what really happened.
        cost_nanos: int64 ``(n, k)``, what it really cost.
        again: λ → the router's predictions, float64 ``(n, k)``, where they depend on λ.
    """
    expected_cost = np.broadcast_to(decision_cost, p_adequate.shape)
    # In order of cost, so that of equally good choices argmax takes the cheaper.
    arms = np.argsort(expected_cost.mean(axis=0), kind="stable")
    price = expected_cost[:, arms]
    rows = np.arange(len(quality))
    usd = (cost_nanos[:, arms] / 1e9).astype(np.float32)
    good = quality[:, arms].astype(np.float32)
    choices = [np.full(len(rows), -1)]
    for value in _lambdas(p_adequate, expected_cost):
        probability = p_adequate if again is None else again(value)
        choice = np.argmax(value * probability[:, arms] - price, axis=1)
        if (choice != choices[-1]).any():
            choices.append(choice)
    return Sweep(
        np.stack([good[rows, choice] for choice in choices[1:]]),
        np.stack([usd[rows, choice] for choice in choices[1:]]),
    )


def single_arms(quality: Floats, cost_nanos: npt.NDArray[np.int64]) -> Sweep:
    """Each arm for every prompt, as a sweep of ``k`` points: the zero router."""
    return Sweep(
        np.ascontiguousarray(quality.T, dtype=np.float32),
        np.ascontiguousarray(cost_nanos.T / 1e9, dtype=np.float32),
    )


def hull(cost: Floats, quality: Floats) -> tuple[Floats, Floats]:
    """The non-decreasing convex (upper) hull of points, in ascending order of cost.

    Args:
        cost: float64 ``(l,)``.
        quality: float64 ``(l,)``.
    """
    kept: list[tuple[float, float]] = []
    for x, y in sorted(
        zip(cost.tolist(), quality.tolist(), strict=True), key=lambda p: (p[0], -p[1])
    ):
        if kept and (x == kept[-1][0] or y <= kept[-1][1]):
            continue
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]) <= (
            y - kept[-2][1]
        ) * (kept[-1][0] - kept[-2][0]):
            kept.pop()
        kept.append((x, y))
    points = np.asarray(kept, dtype=np.float64)
    return points[:, 0], points[:, 1]


def aiq(cost: Floats, quality: Floats, low: float, high: float) -> float:
    """Average improvement in quality (RouterBench): mean height of the hull over a range of cost.

    Args:
        cost: float64 ``(l,)``, mean cost of each point.
        quality: float64 ``(l,)``, mean quality of each point.
        low: cost of the cheapest single arm.
        high: cost of the most expensive single arm; the hull is extended flat up to it.

    Returns:
        0..1, or NaN where the range is empty.
    """
    if not high > low:
        return float("nan")
    xs, ys = hull(cost, quality)
    inside = xs[(xs > low) & (xs < high)]
    grid = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(np.interp(grid, xs, ys), grid) / (high - low))


def aiq_over_singles(router: Points, singles: Points) -> Floats:
    """:func:`aiq` over the range of the single arms' costs, per resample ``(b,)``."""
    low, high = singles.cost.min(axis=1), singles.cost.max(axis=1)
    return np.array([aiq(*row) for row in zip(router.cost, router.quality, low, high, strict=True)])


def cost_at_quality(router: Points, singles: Points, share: float) -> Floats:
    """The least cost that reaches a share of the strongest arm's quality, per resample ``(b,)``.

    Args:
        router: a sweep over willingness to pay.
        singles: the single arms; the last one is the strongest.
        share: part of the strongest arm's mean quality to reach, such as .99.

    Returns:
        Cost as a share of always using the strongest arm, at most 1: that can always be had.
    """
    # The tolerance is that of a mean in float32.
    enough = router.quality >= share * singles.quality[:, -1:] - 1e-6
    least = np.where(enough, router.cost, np.inf).min(axis=1)
    return np.asarray(np.minimum(least / singles.cost[:, -1], 1.0))


def quality_at_cost(router: Points, singles: Points, arm: int) -> Floats:
    """How much better than a single arm the router is for no more money, per resample ``(b,)``.

    Args:
        router: a sweep over willingness to pay.
        singles: the single arms.
        arm: place of the arm that is compared with.

    Returns:
        Difference of mean qualities, −1..1; NaN where no point of the sweep is as cheap.
    """
    affordable = router.cost <= singles.cost[:, arm : arm + 1] * (1 + 1e-6)
    best = np.where(affordable, router.quality, -np.inf).max(axis=1)
    gain = best - singles.quality[:, arm]
    return np.where(np.isfinite(gain), gain, np.nan)


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
