"""What routing costs and brings: AIQ, cost at quality, the oracle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from training.evaluation.baselines import BaselineScores
from training.evaluation.cost_quality import (
    Points,
    Sweep,
    aiq_over_singles,
    cost_at_quality,
    quality_at_cost,
    single_arms,
    sweep,
)
from training.evaluation.metrics import MIN_PROMPTS, Figures, bootstrap, interval, mean
from training.evaluation.predictions import Predictions
from training.histories.outcomes import Outcomes

__all__ = ["PricedPrompts", "money_figures", "oracle_figures", "priced_prompts"]

Floats = npt.NDArray[np.float64]

QUALITY_SHARES = ("1.00", "0.99", "0.95")
"""Shares of the quality gap for which the cost is told."""


@dataclass(frozen=True)
class PricedPrompts:
    """The prompts that every arm answered at a known cost, on which routing by cost is judged.

    Attributes:
        rows: bool ``(n,)``, which prompts of the table they are.
        quality: float64 ``(m, k)``.
        cost_nanos: int64 ``(m, k)``, all > 0.
        decision_cost: float64 ``(1, k)``, USD, the mean cost of each arm: what a router can know before
            the call. The real cost would leak the length of the answer.
    """

    rows: npt.NDArray[np.bool_]
    quality: Floats
    cost_nanos: npt.NDArray[np.int64]
    decision_cost: Floats

    def __len__(self) -> int:
        return len(self.quality)

    def singles(self) -> Sweep:
        """Each arm for every prompt."""
        return single_arms(self.quality, self.cost_nanos)

    def routed(self, predictions: Predictions) -> Sweep:
        """A router with these predictions for the prompts of the table, at every willingness to pay."""
        predicted = predictions.take(self.rows)
        again = (
            None
            if predicted.second is None
            else partial(predicted.at_worth, prices=self.decision_cost[0])
        )
        return sweep(predicted.first, self.decision_cost, self.quality, self.cost_nanos, again)

    def oracle(self) -> Sweep:
        """A router that knows quality and cost beforehand."""
        return sweep(self.quality, self.cost_nanos / 1e9, self.quality, self.cost_nanos)


def priced_prompts(test: Outcomes) -> PricedPrompts | None:
    """The priced rows of a table, or ``None`` where there are too few to compare arms."""
    rows = test.complete & (test.cost_nanos > 0).all(axis=1)
    if rows.sum() < MIN_PROMPTS:
        return None
    cost = test.cost_nanos[rows]
    return PricedPrompts(rows, test.quality[rows], cost, cost.mean(axis=0, keepdims=True) / 1e9)


def money_figures(
    priced: PricedPrompts | None,
    arms: Sequence[str],
    predictions: Predictions,
    baselines: BaselineScores | None,
    seed: int,
) -> Figures:
    """Figures of routing by cost; all of them ``None`` or empty without priced prompts.

    Args:
        priced: of the table.
        arms: names, ``k`` of them.
        predictions: of the router, for all prompts of the table.
        baselines: what they say of the same prompts.
        seed: of the resamples.
    """
    if priced is None:
        return _no_money()
    rivals = baselines.adequate if baselines else {}
    sweeps = {"": priced.routed(predictions), "zero": priced.singles()}
    sweeps |= {name: priced.routed(Predictions(scores)) for name, scores in rivals.items()}
    drawn = bootstrap(
        len(priced),
        {name: router_sweep.statistic for name, router_sweep in sweeps.items()},
        seed=seed,
    )
    plain_points = {name: router_sweep.points() for name, router_sweep in sweeps.items()}
    drawn_points = {name: Points.of(values) for name, values in drawn.items()}

    def both(figure: Callable[[Points, Points], Floats], name: str = "") -> tuple[float, Floats]:
        """A figure of one sweep against the single arms: on the prompts, and on the resamples."""
        value = figure(plain_points[name], plain_points["zero"])
        return float(value[0]), figure(drawn_points[name], drawn_points["zero"])

    value, values = both(aiq_over_singles)
    zero, zeros = both(aiq_over_singles, "zero")
    costs = {share: both(partial(cost_at_quality, share=float(share))) for share in QUALITY_SHARES}
    gains = {name: both(partial(quality_at_cost, arm=arm)) for arm, name in enumerate(arms)}
    return {
        "aiq": value,
        "aiq_zero": zero,
        "aiq_oracle": float(aiq_over_singles(priced.oracle().points(), plain_points["zero"])[0]),
        "aiq_interval": interval(values),
        "aiq_over_zero_interval": interval(values - zeros),
        "aiq_baselines": {
            name: float(aiq_over_singles(plain_points[name], plain_points["zero"])[0])
            for name in rivals
        },
        "cost_at_quality": {share: cost for share, (cost, _) in costs.items()},
        "cost_at_quality_interval": {share: interval(draws) for share, (_, draws) in costs.items()},
        "quality_gain_at_cost": {
            name: {"gain": gain, "interval": interval(draws)}
            for name, (gain, draws) in gains.items()
        },
        "priced_prompts": len(priced),
    }


def _no_money() -> Figures:
    nothing: dict[str, None] = dict.fromkeys(QUALITY_SHARES)
    return {
        "aiq": None,
        "aiq_zero": None,
        "aiq_oracle": None,
        "aiq_interval": None,
        "aiq_over_zero_interval": None,
        "aiq_baselines": {},
        "cost_at_quality": nothing,
        "cost_at_quality_interval": dict(nothing),
        "quality_gain_at_cost": {},
        "priced_prompts": 0,
    }


def oracle_figures(test: Outcomes) -> Figures:
    """The upper bound for any router: the cheapest adequate arm for each prompt."""
    rows = test.complete
    adequate = test.adequate[rows]
    choice = np.where(adequate.any(axis=1), adequate.argmax(axis=1), 0)
    index = np.arange(len(choice))
    cost = test.cost_nanos[rows][index, choice]
    has_costs = len(cost) > 0 and bool((test.cost_nanos[rows] > 0).any(axis=0).all())
    return {
        "n": len(choice),
        "mean_quality": mean(test.quality[rows][index, choice]),
        "mean_cost_usd": mean(cost) / 1e9 if has_costs else None,
    }
