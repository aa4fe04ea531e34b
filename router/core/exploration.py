"""Exploration: a share of the decisions is left to chance, so that a log tells what others bring.

Only candidates take part whose expected cost is within a stated regret of the best one's. With share ε and
k of them the best is chosen with probability 1 − ε + ε/k, each of the others with ε/k. Pure: the number that
decides is given.

The regret is a share of the expected cost, not an amount: half a cent is a hundred times the price of one
call and a hundredth of that of another. And a share bounds what exploration costs as a whole: at most ε ×
regret of the expected cost of the best choices.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from router.core.goals import expected_cost, quote_of
from router.core.money import format_usd, short_usd
from router.core.types import (
    Candidate,
    Constraints,
    Exploration,
    Explored,
    Goal,
    Importance,
    QualityTarget,
    Reason,
)

__all__ = [
    "BOUND_SHARE",
    "EXPLORE_REGRET",
    "explored",
    "explored_reason",
    "may_explore",
    "rivals",
]

BOUND_SHARE: Final = 0.8
"""A bound of the caller on price or latency is near for a quote above this share of it."""
EXPLORE_REGRET: Final = 0.2
"""How much more than the best a candidate may cost that chance chooses, as a share of its expected cost."""


def may_explore(importance: Importance, asked: Goal | None) -> bool:
    """Whether a request may be left to chance at all.

    It may not at high importance, nor where the caller asked for a quality target, which is a promise about
    each answer. What else the caller demands is respected by each candidate: see :func:`rivals`.

    Args:
        importance: of the request.
        asked: the goal of the request; ``None``: it names none.
    """
    return importance is not Importance.HIGH and not isinstance(asked, QualityTarget)


def rivals(
    ranked: Sequence[Candidate], constraints: Constraints, goal: Goal, regret: float
) -> list[Candidate]:
    """The candidates that chance may choose from: the best one, then the others in their order.

    The cost of a candidate is its expected price plus the risk of a miss under the goal; under a quality
    target it is the price, and only candidates count that reach the target, or where the best does not reach
    it, those as near to the highest P(adequate) as the target's own regret allows. One that costs up to
    ``regret`` times the best's cost more, rounded to a nano-dollar, takes part. One whose price or latency at
    the 90th percentile is above :data:`BOUND_SHARE` of what the caller allows does not, except the best.

    Args:
        ranked: eligible candidates, best first.
        constraints: what the caller allows.
        goal: for this prompt, as :func:`~router.core.goals.at_stake` makes it.
        regret: a share of the best's cost, ≥ 0.
    """
    best, *others = ranked
    stake, least_p = _terms(ranked, goal)
    least = expected_cost(best, stake)
    most = least + round(regret * least)
    return [
        best,
        *(
            each
            for each in others
            if expected_cost(each, stake) <= most
            and (each.p_adequate or 0.0) >= least_p
            and _keeps_clear(each, constraints)
        ),
    ]


def _terms(ranked: Sequence[Candidate], goal: Goal) -> tuple[int, float]:
    """What a miss costs in nano-dollars, and the least P(adequate) of a candidate that takes part."""
    if isinstance(goal, QualityTarget):
        highest = max(each.p_adequate or 0.0 for each in ranked)
        target = goal.p_adequate
        return 0, target if highest >= target else highest - goal.regret
    return goal.nanos, 0.0


def _keeps_clear(candidate: Candidate, constraints: Constraints) -> bool:
    """Whether the quote of a candidate stays clear of the caller's bounds on price and latency."""
    quote = quote_of(candidate)
    price, latency = constraints.max_price_nanos, constraints.max_latency_s
    return (price is None or quote.price.high <= BOUND_SHARE * price) and (
        latency is None or quote.latency.p90_s <= BOUND_SHARE * latency
    )


def explored(exploration: Exploration, choice: Sequence[Candidate]) -> Explored:
    """What the number chooses.

    Draws below the share choose among all alike; the others choose the best.

    Args:
        exploration: share and number.
        choice: of :func:`rivals`, at least one.
    """
    share, count = exploration.share, len(choice)
    each = share / count
    chances = {one.model.id: each for one in choice}
    best = choice[0].model.id
    chances[best] = 1.0 - share + each if count > 1 else 1.0
    place = 0
    if exploration.draw < share:
        place = min(int(exploration.draw * count / share), count - 1)
    return Explored(exploration, MappingProxyType(chances), choice[place].model.id)


def explored_reason(found: Explored, choice: Sequence[Candidate], goal: Goal) -> Reason:
    """Why another than the best was chosen, with what that costs in expectation.

    Args:
        found: of :func:`explored`, where another than the best was chosen.
        choice: of :func:`rivals`.
        goal: for this prompt.
    """
    stake, _ = _terms(choice, goal)
    costs = {one.model.id: expected_cost(one, stake) for one in choice}
    more = costs[found.chosen] - costs[found.best]
    return Reason(
        "EXPLORED",
        f"chosen by chance, with probability {found.propensity:.3g}, among {len(choice)} models whose "
        f"expected cost is within {100 * found.given.regret:g}% of the best, {found.best}: "
        f"{short_usd(more)} more than its {short_usd(costs[found.best])}",
        {
            "best": found.best,
            "expected_cost_usd": format_usd(costs[found.chosen])[1:],
            "best_expected_cost_usd": format_usd(costs[found.best])[1:],
            "propensity": f"{found.propensity:.6f}",
        },
    )
