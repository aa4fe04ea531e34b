"""The promotion gate: whether a bundle is better than the one in production, by figures with intervals.

On prompts that neither the bundle nor the champion was trained on, the bundle must beat:

- the best single arm at equal cost: mean quality over the cost range, compared with the single arms (AIQ
  over the zero router). A sweep picks its best points after the fact, so even an uninformed router lies
  above the single arms by chance. The gain of the same predictions, randomly permuted, is subtracted.
- prompt length alone, which needs no classifier;
- the champion: a bundle that is only as good does not justify a swap.

Its calibration must not be worse than the champion's. An interval that includes zero is not a win.

Every comparison is a paired bootstrap at 95 %. The module is pure: arrays in, verdict out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.baselines import BaselineScores
from training.evaluation.calibration_metrics import ece_draws
from training.evaluation.comparison import (
    aiq_draws,
    ece_statistic,
    judged_pairs,
    pooled_apgr,
    prompts_of_pairs,
    spread_interval,
)
from training.evaluation.cost_quality import aiq_over_singles
from training.evaluation.metrics import MIN_CATEGORY, Statistic, bootstrap, interval, unit_counts
from training.evaluation.money_figures import PricedPrompts, priced_prompts
from training.evaluation.predictions import Predictions
from training.histories.outcomes import Outcomes

__all__ = ["Criterion", "GateFigure", "GateVerdict", "gate"]

Floats = npt.NDArray[np.float64]

MIN_PRICED = 30
"""Prompts with every arm's quality and cost from which money is judged; below, rankings are."""
MIN_ATTEMPTS = 100
"""Attempts of an arm from which its calibration is judged."""
PERMUTATIONS = 20
"""Permutations of the predictions that estimate the gain by chance."""
LEVEL = 0.95

_QUALITY = "quality, 0 to 1"
_APGR = "share of the quality gap"
_ECE = "ECE"


@dataclass(frozen=True)
class GateFigure:
    """One number of the gate. A figure without a target is shown for context.

    Attributes:
        name: what it is.
        value: NaN where the rows cannot give it.
        unit: of the value.
        target: what the value is held against; ``None`` for context.
        above: whether the value must lie above the target; otherwise it must not.
        excused: whether the target counts as met whatever the value, because the difference is negligible.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    above: bool = True
    excused: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the target is met; an unknown value meets none; ``None`` without a target."""
        if self.target is None:
            return None
        if self.excused:
            return True
        if not math.isfinite(self.value):
            return False
        return (self.value > self.target) == self.above

    def as_dict(self) -> dict[str, Any]:
        """As every report of figures has it; NaN is ``None``."""
        return {
            "figure": self.name,
            "value": self.value if math.isfinite(self.value) else None,
            "unit": self.unit,
            "target": self.target,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Criterion:
    """One condition of promotion.

    Attributes:
        name: ``single_arm``, ``length``, ``champion``, ``champion_money``, ``calibration:ARM`` or
            ``demonstration``.
        figure: the bound that decides.
        words: the finding with its numbers, as a user reads it.
    """

    name: str
    figure: GateFigure
    words: str

    @property
    def holds(self) -> bool:
        """Whether the bundle meets it."""
        return self.figure.holds is True


@dataclass(frozen=True)
class GateVerdict:
    """The result of the gate.

    Attributes:
        criteria: all of them, in order.
        context: the figures of the bundle, the baselines and the champion.
        notes: what the gate could not judge.
    """

    criteria: tuple[Criterion, ...]
    context: tuple[GateFigure, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def passes(self) -> bool:
        """Whether every criterion holds."""
        return all(criterion.holds for criterion in self.criteria)

    @property
    def reasons(self) -> list[str]:
        """Why not: one sentence for each criterion that fails."""
        return [criterion.words for criterion in self.criteria if not criterion.holds]

    def figures(self) -> list[dict[str, Any]]:
        """``{"figure", "value", "unit", "target", "holds"}`` of everything."""
        decisive = (criterion.figure for criterion in self.criteria)
        return [figure.as_dict() for figure in (*self.context, *decisive)]

    def as_dict(self) -> dict[str, Any]:
        """JSON types: ``passes``, ``reasons``, ``criteria`` and ``figures``."""
        return {
            "passes": self.passes,
            "reasons": self.reasons,
            "criteria": {
                criterion.name: {"holds": criterion.holds, "found": criterion.words}
                for criterion in self.criteria
            },
            "figures": self.figures(),
            "notes": list(self.notes),
        }


def _range(bounds: Sequence[float]) -> str:
    if not all(math.isfinite(bound) for bound in bounds):
        return "no interval"
    return f"95 % interval {bounds[0]:+z.3f} to {bounds[1]:+z.3f}"


@dataclass(frozen=True)
class _Prompts:
    """How many held-out prompts there are.

    Attributes:
        all: prompts that no bundle here was trained on.
        shared: of these, the most that two arms both have a judged answer to.
    """

    all: int
    shared: int


def _too_few(prompts: _Prompts) -> str:
    return (
        f"{prompts.shared:,} of the {prompts.all:,} held-out prompts have judged answers of the same two "
        f"arms, and {MIN_CATEGORY} are needed; add judged prompts that training has not seen to the history"
    )


def _enough(gain: float, low: float, count: int) -> str:
    """How many prompts would show such a gain: an interval narrows with the root of their number."""
    if not gain > 0 or low > 0:
        return ""
    needed = float(f"{count * ((gain - low) / gain) ** 2:.2g}")
    return f"; such a gain shows on about {needed:,.0f} held-out prompts, here are {count:,}"


def _beats(
    name: str,
    whom: str,
    what: str,
    unit: str,
    gain: float,
    bounds: list[float],
    prompts: _Prompts,
) -> Criterion:
    figure = GateFigure(f"{what} over {whom}, lower 95 % bound", bounds[0], unit, 0.0)
    if not math.isfinite(gain) or not math.isfinite(bounds[0]):
        few = prompts.shared < MIN_CATEGORY
        why = _too_few(prompts) if few else "these prompts do not tell"
        words = f"cannot be compared with {whom}: {why}"
    elif figure.holds:
        words = f"beats {whom}: {what} {gain:+z.3f} ({_range(bounds)})"
    else:
        words = (
            f"does not beat {whom}: {what} {gain:+z.3f} ({_range(bounds)}, which must lie above 0)"
            f"{_enough(gain, bounds[0], prompts.shared)}"
        )
    return Criterion(name, figure, words)


# --- Money -------------------------------------------------------------------------------------


def _chance_gain(priced: PricedPrompts, predictions: Predictions, zero: float, seed: int) -> float:
    """Mean AIQ over the single arms of randomly permuted predictions, at least 0."""
    rng = np.random.default_rng(seed)
    index = np.flatnonzero(priced.rows)
    singles = priced.singles().points()
    gains = []
    for _ in range(PERMUTATIONS):
        order = np.arange(len(predictions))
        order[index] = rng.permutation(index)
        permuted = priced.routed(predictions.take(order)).points()
        gains.append(float(aiq_over_singles(permuted, singles)[0]) - zero)
    return max(float(np.mean(gains)), 0.0)


def _money(
    priced: PricedPrompts, bundle: Predictions, champion: Predictions | None, seed: int
) -> tuple[list[Criterion], list[GateFigure]]:
    predicted = {"bundle": bundle} | ({} if champion is None else {"champion": champion})
    drawn = aiq_draws(priced, predicted, seed=seed)
    (value, draws), (zero, zeros) = drawn["bundle"], drawn["zero"]
    by_chance = _chance_gain(priced, bundle, zero, seed)
    gain = value - zero - by_chance
    context = [
        GateFigure("AIQ, bundle", value, _QUALITY),
        GateFigure("AIQ, single arms (baseline)", zero, _QUALITY),
        GateFigure("AIQ, gain by chance (subtracted)", by_chance, _QUALITY),
    ]
    criteria = [
        _beats(
            "single_arm", "the best single arm at equal cost", "AIQ", _QUALITY,
            gain, spread_interval(gain, draws - zeros), _Prompts(len(bundle), len(priced)),
        )
    ]  # fmt: skip
    if champion is not None:
        other, others = drawn["champion"]
        bounds = interval(draws - others)
        context.append(GateFigure("AIQ, champion", other, _QUALITY))
        figure = GateFigure(
            "AIQ below the champion, lower 95 % bound", -bounds[1], _QUALITY, 0.0, above=False
        )
        criteria.append(
            Criterion(
                "champion_money",
                figure,
                f"AIQ against the champion {value - other:+z.3f} ({_range(bounds)})"
                + ("" if figure.holds else ": worse for the same money"),
            )
        )
    return criteria, context


# --- Rankings ----------------------------------------------------------------------------------


def _rankings(
    test: Outcomes,
    bundle: Predictions,
    baselines: BaselineScores | None,
    champion: Predictions | None,
    seed: int,
    alone: bool,
) -> tuple[list[Criterion], list[GateFigure]]:
    scores = {"bundle": bundle.pairs()}
    if champion is not None:
        scores["champion"] = champion.pairs()
    scores |= baselines.pairs if baselines is not None else {}
    statistics: dict[str, Statistic] = {
        name: pooled_apgr(test, values) for name, values in scores.items()
    }
    drawn = bootstrap(len(test), statistics, seed=seed)
    values = {
        name: float(statistic(unit_counts(len(test)))[0]) for name, statistic in statistics.items()
    }
    marks = dict.fromkeys(baselines.pairs if baselines is not None else {}, " (baseline)")
    context = [
        GateFigure(f"APGR of all pairs, {name}{marks.get(name, '')}", value, _APGR)
        for name, value in values.items()
    ]
    ours, draws = values["bundle"], drawn["bundle"]
    prompts = _Prompts(len(test), max(prompts_of_pairs(test)))
    criteria = []
    if alone:
        criteria.append(
            _beats(
                "single_arm", "single arms mixed at random", "APGR", _APGR,
                ours - 0.5, interval(draws - 0.5), prompts,
            )
        )  # fmt: skip
    nothing = np.full(1, np.nan)
    rivals = [("length", "prompt length")]
    rivals += [("champion", "the champion")] if champion is not None else []
    criteria += [
        _beats(
            name, whom, "APGR", _APGR,
            ours - values.get(name, math.nan), interval(draws - drawn.get(name, nothing)), prompts,
        )
        for name, whom in rivals
    ]  # fmt: skip
    return criteria, context


# --- Calibration -------------------------------------------------------------------------------


def _calibration(
    test: Outcomes, bundle: Predictions, champion: Predictions | None, seed: int
) -> tuple[list[Criterion], list[GateFigure], list[str]]:
    """Excess ECE per arm, compared with the champion's.

    An arm fails only if two conditions hold: the interval of the difference, at 95 % over all arms together,
    lies above zero, and the ECE itself exceeds the 95th percentile of what perfect calibration shows.
    """
    criteria, context, notes = [], [], []
    predicted, before_predicted = bundle.standard, None if champion is None else champion.standard
    judged = [arm for arm in range(len(test.arms)) if test.judged[:, arm].sum() >= MIN_ATTEMPTS]
    sigmas = NormalDist().inv_cdf(1 - (1 - LEVEL) / 2 / max(len(judged), 1))
    for arm, name in enumerate(test.arms):
        if arm not in judged:
            count = int(test.judged[:, arm].sum())
            notes.append(
                f"{name}: fewer than {MIN_ATTEMPTS} attempts ({count}), calibration not judged"
            )
            continue
        rows = test.judged[:, arm]
        count, outcome = int(rows.sum()), test.adequate[rows, arm]
        ours = predicted[rows, arm]
        statistic = ece_statistic(outcome, ours)
        error, chance = float(statistic(unit_counts(count))[0]), ece_draws(ours, seed=seed)
        excess = error - float(chance.mean())
        context.append(GateFigure(f"excess ECE, {name}, bundle", excess, _ECE))
        if before_predicted is None:
            continue
        theirs = before_predicted[rows, arm]
        other = ece_statistic(outcome, theirs)
        before = float(other(unit_counts(count))[0]) - float(ece_draws(theirs, seed=seed).mean())
        context.append(GateFigure(f"excess ECE, {name}, champion", before, _ECE))
        drawn = bootstrap(count, {"ours": statistic, "theirs": other}, seed=seed)
        low, high = spread_interval(excess - before, drawn["ours"] - drawn["theirs"], sigmas)
        figure = GateFigure(
            f"excess ECE over the champion's, {name}, lower 95 % bound", low, _ECE, 0.0, above=False,
            excused=error <= float(np.quantile(chance, LEVEL)),
        )  # fmt: skip
        numbers = (
            f"excess ECE {excess:+z.3f}, champion {before:+z.3f}, "
            f"{_range((low, high))} of the difference"
        )
        verdict = "is no worse" if figure.holds else "got worse"
        criteria.append(
            Criterion(f"calibration:{name}", figure, f"calibration of {name} {verdict}: {numbers}")
        )
    return criteria, context, notes


# --- The whole ---------------------------------------------------------------------------------


def gate(
    test: Outcomes,
    bundle: Predictions,
    *,
    baselines: BaselineScores | None,
    champion: Predictions | None,
    seed: int,
    demonstration: bool = False,
) -> GateVerdict:
    """Judge whether a bundle may go into production.

    Args:
        test: ``n`` prompts that neither bundle was trained on, ``k`` arms.
        bundle: its predictions for them.
        baselines: what :func:`baselines.baseline_scores` says of the same prompts.
        champion: predictions of the bundle in production; ``None`` where there is none.
        seed: of resamples and draws.
        demonstration: whether the bundle was trained on made-up attempts; such a bundle never passes.
    """
    priced = priced_prompts(test)
    by_money = priced is not None and len(priced) >= MIN_PRICED
    criteria: list[Criterion] = []
    context: list[GateFigure] = []
    notes: list[str] = []
    if priced is not None and by_money:
        judged, figures = _money(priced, bundle, champion, seed)
        criteria += judged
        context += figures
    else:
        complete = int((test.complete & (test.cost_nanos > 0).all(axis=1)).sum())
        notes.append(
            f"fewer than {MIN_PRICED} prompts have every arm's quality and cost "
            f"({complete} of {len(test):,}): single arms are judged by rankings, "
            "not by money"
        )
    judged, figures = _rankings(test, bundle, baselines, champion, seed, alone=not by_money)
    criteria += judged
    context += figures
    judged, figures, remarks = _calibration(test, bundle, champion, seed)
    criteria += judged
    if demonstration:
        figure = GateFigure("trained on made-up attempts", 1.0, "0 or 1", 0.0, above=False)
        criteria.append(
            Criterion(
                "demonstration", figure, "was trained on the made-up demonstration history; real prompts "
                "must not be routed with it",
            )
        )  # fmt: skip
    if not judged_pairs(test):
        shared = max(prompts_of_pairs(test))
        notes.append(
            f"no two arms answered the same {MIN_CATEGORY} prompts ({shared} is the most): rankings cannot "
            "be judged"
        )
    return GateVerdict(tuple(criteria), (*context, *figures), (*notes, *remarks))
