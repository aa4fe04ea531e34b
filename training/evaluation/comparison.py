"""Comparison of two bundles on the same prompts: every figure of both, and the difference with its interval.

Both bundles share the resamples, so that the difficulty of a prompt and the luck of an attempt cancel out.
A difference is always b − a.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.baselines import arm_pairs
from training.evaluation.calibration_metrics import bins_of, ece_floor
from training.evaluation.cost_quality import Points, aiq_over_singles
from training.evaluation.evaluation_report import json_ready, pair_name
from training.evaluation.metrics import (
    MIN_CATEGORY,
    RESAMPLES,
    Statistic,
    apgr_statistic,
    bootstrap,
    gains,
    interval,
    unit_counts,
)
from training.evaluation.money_figures import PricedPrompts, priced_prompts
from training.evaluation.predictions import Predictions
from training.histories.outcomes import Outcomes

__all__ = [
    "TimedPredictions",
    "aiq_draws",
    "compare",
    "ece_statistic",
    "judged_pairs",
    "pooled_apgr",
    "prompts_of_pairs",
    "spread_interval",
]

Floats = npt.NDArray[np.float64]
ComparisonReport = dict[str, Any]

SIDES = ("a", "b")
LEVELS = (("p50", 0, 0.5), ("p90", 1, 0.9))
SIGMAS = 1.96
MIN_SLICE = 100
"""Fewest prompts of a language for which a difference is reported."""


@dataclass(frozen=True)
class TimedPredictions:
    """Predictions of one bundle for ``n`` prompts and ``k`` arms, and its encoding times.

    Attributes:
        predictions: of the prompts.
        lengths: float64 ``(n, k, 3)``, output tokens at .5, .9 and .99; NaN for an arm without lengths.
        encode_ms: float64 ``(t,)``, milliseconds to encode and classify each of ``t`` prompts, the same
            ones for every bundle; empty where it was not measured.
    """

    predictions: Predictions
    lengths: Floats
    encode_ms: Floats


# --- Statistics of one bundle ------------------------------------------------------------------


def prompts_of_pairs(test: Outcomes) -> list[int]:
    """How many prompts both arms of each pair of :func:`baselines.arm_pairs` have a judged answer to."""
    judged = test.judged
    return [
        int((judged[:, weak] & judged[:, strong]).sum())
        for weak, strong in arm_pairs(len(test.arms))
    ]


def judged_pairs(test: Outcomes) -> list[int]:
    """Positions of the pairs of :func:`baselines.arm_pairs` that enough prompts were answered by."""
    return [place for place, count in enumerate(prompts_of_pairs(test)) if count >= MIN_CATEGORY]


def pooled_apgr(test: Outcomes, scores: Floats) -> Statistic:
    """APGR over all pairs of arms together: the quality recovered over the quality that can be recovered.

    Both are summed over pairs, weighted by prompts. A pair with almost no gap, whose own APGR is noise, thus
    has little weight. .5 is random; NaN where the stronger arms are not better.

    Args:
        test: ``n`` prompts, ``k`` arms.
        scores: float64 ``(n, pairs)``, as :meth:`Predictions.pairs` gives them.
    """
    parts = []
    pairs = arm_pairs(len(test.arms))
    for place in judged_pairs(test):
        weak, strong = pairs[place]
        rows = test.judged[:, weak] & test.judged[:, strong]
        quality = test.quality[rows]
        parts.append((rows, *gains(quality[:, weak], quality[:, strong], scores[rows, place])))

    def statistic(counts: Floats) -> Floats:
        recovered, gap = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
        for rows, recover, whole in parts:
            drawn = counts[rows]
            weight = drawn.sum(axis=0)
            recovered += weight * recover(drawn)
            gap += weight * whole(drawn)
        has_gap = gap > 1e-9
        return np.divide(recovered, gap, out=np.full_like(gap, np.nan), where=has_gap)

    return statistic


def ece_statistic(outcome: npt.NDArray[np.bool_], probability: Floats) -> Statistic:
    """:func:`metrics.ece` as a function of bootstrap counts, in the bins of all rows."""
    place = bins_of(probability)
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0])
    surplus = (outcome - probability)[order, None]

    def statistic(counts: Floats) -> Floats:
        errors = np.abs(np.add.reduceat(surplus * counts[order], starts, axis=0))
        return np.asarray(errors.sum(axis=0) / counts.sum(axis=0))

    return statistic


def _mean_statistic(values: Floats) -> Statistic:
    return lambda counts: np.asarray(values @ counts / counts.sum(axis=0))


def _pinball(actual: Floats, predicted: Floats | float, level: float) -> Floats:
    error = actual - predicted
    return np.maximum(level * error, (level - 1) * error)


def _length_statistic(test: Outcomes, lengths: Floats, column: int, level: float) -> Statistic:
    """Pinball loss as a ratio to the arm's global quantile, mean over the arms that have lengths."""
    parts = []
    for arm in range(len(test.arms)):
        rows = ~np.isnan(test.output_tokens[:, arm]) & ~np.isnan(lengths[:, arm, column])
        if rows.sum() < MIN_CATEGORY:
            continue
        actual = test.output_tokens[rows, arm]
        reference = _pinball(actual, float(np.quantile(actual, level)), level)
        if reference.sum() > 0:
            parts.append((rows, _pinball(actual, lengths[rows, arm, column], level), reference))

    def statistic(counts: Floats) -> Floats:
        if not parts:
            return np.full(counts.shape[1], np.nan)
        ratios = [(loss @ counts[rows]) / (whole @ counts[rows]) for rows, loss, whole in parts]
        return np.asarray(np.mean(ratios, axis=0))

    return statistic


def aiq_draws(
    priced: PricedPrompts,
    believed: Mapping[str, Predictions],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[float, Floats]]:
    """AIQ of several routers and of the single arms (``zero``), on the prompts and on shared resamples.

    Args:
        priced: the prompts with quality and cost of every arm.
        believed: router → its predictions for the whole table.
        seed: of the resamples.
        resamples: how many.

    Returns:
        Name → AIQ and float64 ``(resamples,)``.
    """
    sweeps = {"zero": priced.singles()}
    sweeps |= {name: priced.routed(values) for name, values in believed.items()}
    drawn = bootstrap(
        len(priced),
        {name: router_sweep.statistic for name, router_sweep in sweeps.items()},
        seed=seed,
        resamples=resamples,
    )
    points = {name: router_sweep.points() for name, router_sweep in sweeps.items()}
    singles = Points.of(drawn["zero"])
    return {
        name: (
            float(aiq_over_singles(points[name], points["zero"])[0]),
            aiq_over_singles(Points.of(drawn[name]), singles),
        )
        for name in sweeps
    }


# --- Differences -------------------------------------------------------------------------------


def spread_interval(value: float, draws: Floats, sigmas: float = SIGMAS) -> list[float]:
    """A value ± a number of standard deviations of its bootstrap draws.

    It serves errors of calibration: resampling itself increases them, which biases percentile intervals.

    Args:
        value: on all prompts.
        draws: float64 ``(b,)``, on resamples; NaN is left out.
        sigmas: half width of the interval in standard deviations.
    """
    finite = draws[np.isfinite(draws)]
    if len(finite) < 2:
        return [float("nan"), float("nan")]
    wide = sigmas * float(finite.std())
    return [value - wide, value + wide]


def _difference(
    a: float, b: float, bounds: Sequence[float], *, less: bool = False, **more: float
) -> ComparisonReport:
    """Both values, b − a with its interval, and which is better; ``None`` if the interval includes zero."""
    low, high = bounds
    better = None
    if low > 0 or high < 0:
        better = "b" if (low > 0) != less else "a"
    return {
        "a": a,
        "b": b,
        "difference": b - a,
        "interval": list(bounds),
        "better": better,
        "lower_is_better": less,
        **more,
    }


def _paired(
    n: int, statistics: Sequence[Statistic], seed: int, *, less: bool = False, spread: bool = False
) -> ComparisonReport:
    """The difference of two statistics over the same ``n`` prompts."""
    a, b = (float(statistic(unit_counts(n))[0]) for statistic in statistics)
    drawn = bootstrap(n, dict(zip(SIDES, statistics, strict=True)), seed=seed)
    differences = drawn["b"] - drawn["a"]
    bounds = spread_interval(b - a, differences) if spread else interval(differences)
    return _difference(a, b, bounds, less=less)


def _arms(test: Outcomes, sides: Sequence[TimedPredictions], seed: int) -> ComparisonReport:
    figures = {}
    standard = [side.predictions.standard for side in sides]
    for arm, name in enumerate(test.arms):
        rows = test.judged[:, arm]
        if rows.sum() < MIN_CATEGORY:
            continue
        count, outcome = int(rows.sum()), test.adequate[rows, arm]
        predicted = [p_adequate[rows, arm] for p_adequate in standard]
        errors = _paired(
            count, [ece_statistic(outcome, p) for p in predicted], seed, less=True, spread=True
        )
        floors = [ece_floor(p, seed=seed) for p in predicted]
        shift = floors[1] - floors[0]
        excess = _difference(
            errors["a"] - floors[0],
            errors["b"] - floors[1],
            [bound - shift for bound in errors["interval"]],
            less=True,
        )
        squares = [_mean_statistic((p - outcome) ** 2) for p in predicted]
        figures[name] = {
            "n": count,
            "ece": {**errors, "floor_a": floors[0], "floor_b": floors[1]},
            "excess_ece": excess,
            "brier": _paired(count, squares, seed, less=True),
        }
    return figures


def _pairs(test: Outcomes, sides: Sequence[TimedPredictions], seed: int) -> ComparisonReport:
    figures = {}
    pairs = arm_pairs(len(test.arms))
    scores = [side.predictions.pairs() for side in sides]
    for place in judged_pairs(test):
        weak, strong = pairs[place]
        rows = test.judged[:, weak] & test.judged[:, strong]
        quality = test.quality[rows]
        statistics = [
            apgr_statistic(
                quality[:, weak],
                quality[:, strong],
                score[rows, place],
            )
            for score in scores
        ]
        count = int(rows.sum())
        figures[pair_name(test.arms, pairs[place])] = {
            "n": count,
            "apgr": _paired(count, statistics, seed),
        }
    return figures


def _pooled(
    test: Outcomes, sides: Sequence[TimedPredictions], seed: int
) -> ComparisonReport | None:
    if not judged_pairs(test):
        return None
    scores = [side.predictions.pairs() for side in sides]
    return _paired(len(test), [pooled_apgr(test, score) for score in scores], seed)


def _aiq(
    test: Outcomes, sides: Sequence[TimedPredictions], seed: int
) -> tuple[ComparisonReport | None, float | None]:
    priced = priced_prompts(test)
    if priced is None:
        return None, None
    predicted = dict(zip(SIDES, (side.predictions for side in sides), strict=True))
    drawn = aiq_draws(priced, predicted, seed=seed)
    (a, a_draws), (b, b_draws) = drawn["a"], drawn["b"]
    return _difference(a, b, interval(b_draws - a_draws)), drawn["zero"][0]


def _lengths(test: Outcomes, sides: Sequence[TimedPredictions], seed: int) -> ComparisonReport:
    # An arm without lengths in either bundle is left out of both.
    unknown = np.isnan(sides[0].lengths) | np.isnan(sides[1].lengths)
    lengths = [np.where(unknown, np.nan, side.lengths) for side in sides]
    return {
        f"pinball_ratio_{key}": _paired(
            len(test),
            [_length_statistic(test, quantiles, column, level) for quantiles in lengths],
            seed,
            less=True,
        )
        for key, column, level in LEVELS
    }


def _encode_ms(sides: Sequence[TimedPredictions], seed: int) -> ComparisonReport:
    a, b = (side.encode_ms for side in sides)
    if not len(a):
        return {}
    drawn = np.random.default_rng(seed).integers(len(a), size=(RESAMPLES, len(a)))
    figures = {}
    for key, level in (("p50", 50), ("p99", 99)):
        percentile: Callable[..., Any] = partial(np.percentile, q=level)
        draws = percentile(b[drawn], axis=1) - percentile(a[drawn], axis=1)
        figures[key] = _difference(
            float(percentile(a)), float(percentile(b)), interval(draws), less=True
        )
    return {**figures, "n": len(a)}


def _by_language(test: Outcomes, sides: Sequence[TimedPredictions], seed: int) -> ComparisonReport:
    figures = {}
    for language in sorted(set(test.languages)):
        rows = np.flatnonzero(test.languages == language)
        if len(rows) < MIN_SLICE:
            continue
        part = [
            TimedPredictions(side.predictions.take(rows), side.lengths[rows], np.zeros(0))
            for side in sides
        ]
        figures[str(language) or "unknown"] = {
            "n": len(rows),
            "pooled_apgr": _pooled(test.rows(rows), part, seed),
        }
    return figures


def compare(
    test: Outcomes, a: TimedPredictions, b: TimedPredictions, *, seed: int
) -> ComparisonReport:
    """Every figure of two bundles side by side.

    Args:
        test: ``n`` prompts that neither bundle was trained on, ``k`` arms.
        a: the bundle that stands on the left, such as the one in production.
        b: the other one.
        seed: of resamples and draws.

    Returns:
        JSON types: ``pairs.NAME.apgr``, ``pooled_apgr``, ``aiq``, ``arms.NAME.{ece,excess_ece,brier}``,
        ``length.{pinball_ratio_p50,pinball_ratio_p90}``, ``encode_ms.{p50,p99}`` and ``by_language``; each
        holds ``a``, ``b``, ``difference`` (b − a), its 95 % ``interval`` and ``better`` (``a``, ``b``, or
        ``None`` where the interval includes zero). A figure that the rows do not allow is ``None``.
    """
    sides = (a, b)
    aiq, zero = _aiq(test, sides, seed)
    notes = []
    if aiq is None:
        notes.append("no prompt has every arm's quality and cost: AIQ is left out")
    if not judged_pairs(test):
        notes.append("no two arms answered the same prompts: rankings cannot be compared")
    return json_ready(  # type: ignore[no-any-return]
        {
            "n_prompts": len(test),
            "seed": seed,
            "pooled_apgr": _pooled(test, sides, seed),
            "pairs": _pairs(test, sides, seed),
            "aiq": aiq,
            "aiq_zero": zero,
            "arms": _arms(test, sides, seed),
            "length": _lengths(test, sides, seed),
            "encode_ms": _encode_ms(sides, seed),
            "by_language": _by_language(test, sides, seed),
            "notes": notes,
        }
    )
