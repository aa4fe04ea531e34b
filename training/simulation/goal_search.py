"""Search for the goal that fits a budget, by cost and quality of each goal on known outcomes.

The choices are those of serving: its quotes, and :func:`decision.decide`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import complexity
from router.core.decision import decide
from router.core.errors import InvalidInput
from router.core.types import Candidate, Constraints, Goal, MissCost, QualityTarget
from training.evaluation.cost_quality import Points, Sweep
from training.evaluation.metrics import bootstrap, interval
from training.evaluation.money_figures import priced_prompts
from training.export.classifier_graph import label_distribution
from training.histories.outcomes import Outcomes
from training.histories.split import folds

__all__ = [
    "FEW_PROMPTS",
    "Tradeoff",
    "choices",
    "few_prompts",
    "halves",
    "miss_costs",
    "quality_targets",
    "tradeoff",
    "within_budget",
]

Floats = npt.NDArray[np.float64]

FEW_PROMPTS = 200
"""A goal that was chosen on fewer is said with a caution."""
_STEPS = 41
_NO_CONSTRAINTS = Constraints()


def halves(test: Outcomes, *, seed: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Two disjoint masks ``(n,)``: one to choose a goal on, one to estimate its cost and quality.

    A goal that did best on some prompts did so partly by luck, so others must judge it.
    Only prompts that every arm answered at a known cost are in either.

    Raises:
        InvalidInput: there are no such prompts.
    """
    found = priced_prompts(test)
    if found is None:
        raise InvalidInput(
            "no two prompts have a quality and a cost of every arm, so no goal can be tried on them; "
            "take a complete history, or replay the decision log instead",
            reason="NO_PRICED_PROMPTS",
            field="history",
        )
    first = folds(test.groups.tolist(), count=2, seed=seed) == 0
    return found.rows & first, found.rows & ~first


def quality_targets() -> list[QualityTarget]:
    """Targets from 0 (the cheapest arm) to 1 (near the best), evenly spaced."""
    return [QualityTarget(float(value)) for value in np.linspace(0, 1, _STEPS)]


def miss_costs(test: Outcomes) -> list[MissCost]:
    """Costs of a miss: 0, then in equal ratios up to where only quality counts, of three digits each.

    The steps follow the mean cost of the dearest arm at these prompts. A willingness to pay of the same
    amount chooses alike.
    """
    dearest = float(test.cost_nanos.mean(axis=0).max())
    values = dearest * np.geomspace(0.1, 1000, _STEPS - 1)
    return [MissCost(0), *(MissCost(int(float(f"{value:.3g}"))) for value in values)]


def choices(
    candidates: Sequence[Sequence[Candidate]], arms: Sequence[str], goal: Goal
) -> npt.NDArray[np.intp]:
    """The arm that serving would choose for each prompt, as its place among ``arms``, ``(n,)``.

    Args:
        candidates: ``n`` times a model of each arm, of :func:`traffic_simulation.candidates_of`.
        arms: names of the ``k`` arms.
        goal: what to aim for.
    """
    places = {arm: place for place, arm in enumerate(arms)}
    chosen = (
        decide(each, _NO_CONSTRAINTS, goal, complexity=_complexity(each, places)).chosen.model.tier
        for each in candidates
    )
    return np.fromiter((places[tier] for tier in chosen), np.intp, len(candidates))


def _complexity(candidates: Sequence[Candidate], places: Mapping[str, int]) -> float:
    """How much model the prompt of these candidates needs, 0..1, as serving computes it."""
    ordered = sorted(candidates, key=lambda one: places[one.model.tier])
    p_adequate = np.array([[one.p_adequate or 0.0 for one in ordered]])
    return complexity(label_distribution(p_adequate)[0], [one.model.tier for one in ordered])


@dataclass(frozen=True)
class Tradeoff:
    """Cost and quality of ``l`` goals and ``k`` single arms on the same prompts.

    Attributes:
        goals: in the order of the points.
        shares: float64 ``(l, k)``, share of prompts that each arm gets.
        points: of the goals, on all prompts: ``b`` = 1.
        drawn: of the goals, on resamples of the prompts.
        singles: of the single arms, on all prompts.
        singles_drawn: of the single arms, on the same resamples.
    """

    goals: tuple[Goal, ...]
    shares: Floats
    points: Points
    drawn: Points
    singles: Points
    singles_drawn: Points

    def cost_interval(self, place: int) -> list[float]:
        """95 % interval of a goal's mean cost, USD per prompt."""
        return interval(self.drawn.cost[:, place])

    def quality_interval(self, place: int) -> list[float]:
        """95 % interval of a goal's mean quality, 0..1."""
        return interval(self.drawn.quality[:, place])

    def gain_interval(self, place: int, arm: int) -> list[float]:
        """95 % interval of how much better a goal is than a single arm, on paired resamples."""
        return interval(self.drawn.quality[:, place] - self.singles_drawn.quality[:, arm])


def tradeoff(
    test: Outcomes, candidates: Sequence[Sequence[Candidate]], goals: Sequence[Goal], *, seed: int
) -> Tradeoff:
    """Try every goal on prompts with known outcomes.

    Args:
        test: ``n`` prompts that the bundle was not trained on, each with quality and cost of all ``k`` arms.
        candidates: of the same prompts.
        goals: ``l`` of them.
        seed: of the resamples.
    """
    made = np.stack([choices(candidates, test.arms, goal) for goal in goals])
    rows = np.arange(len(test))
    usd = test.cost_nanos / 1e9
    routed = Sweep(test.quality[rows, made].astype(np.float32), usd[rows, made].astype(np.float32))
    singles = Sweep(test.quality.T.astype(np.float32), usd.T.astype(np.float32))
    drawn = bootstrap(
        len(test), {"routed": routed.statistic, "singles": singles.statistic}, seed=seed
    )
    shares = np.stack([(made == arm).mean(axis=1) for arm in range(len(test.arms))], axis=1)
    return Tradeoff(
        tuple(goals),
        shares,
        routed.points(),
        Points.of(drawn["routed"]),
        singles.points(),
        Points.of(drawn["singles"]),
    )


def within_budget(found: Tradeoff, usd_per_prompt: float) -> int:
    """The goal of the best quality within a budget; among equals the cheapest.

    A goal is within the budget if the upper end of the 95 % interval of its cost is.

    Returns:
        Its place in ``found.goals``.

    Raises:
        InvalidInput: no goal is that cheap; says what would be enough.
    """
    upper = np.array([found.cost_interval(place)[1] for place in range(len(found.goals))])
    able = np.flatnonzero(upper <= usd_per_prompt)
    if not len(able):
        raise InvalidInput(
            f"{usd_per_prompt:.3g} USD per prompt is less than the cheapest goal costs; plan with "
            f"{upper.min():.3g} USD or more, or add a cheaper arm",
            reason="BUDGET_TOO_SMALL",
            field="budget",
        )
    cost, quality = found.points.cost[0], found.points.quality[0]
    return int(min(able, key=lambda place: (-quality[place], cost[place])))


def few_prompts(count: int, quality: Sequence[float]) -> str | None:
    """A caution where a goal was chosen on fewer than :data:`FEW_PROMPTS` prompts, else ``None``.

    Args:
        count: prompts that it was chosen on.
        quality: 95 % interval of its mean quality on the prompts that judge it, low and high.
    """
    if count >= FEW_PROMPTS:
        return None
    low, high = quality
    return (
        f"This goal was chosen on {count} prompts, fewer than {FEW_PROMPTS}, so partly by luck: its mean "
        f"quality lies between {low:.3f} and {high:.3f} (95 %). Choose again with more prompts before it "
        "decides over money."
    )
