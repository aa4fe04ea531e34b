"""Goals: how each ranks candidates, gives way to limits, and explains its choice. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from router.core.money import format_usd, short_usd
from router.core.types import (
    Candidate,
    Goal,
    MissCost,
    QualityTarget,
    Quote,
    Reason,
    WillingnessToPay,
)

__all__ = [
    "at_stake",
    "by_price",
    "expected_cost",
    "goal_reason",
    "lowered",
    "price_of",
    "quote_of",
    "ranked_by",
]


def _p(candidate: Candidate) -> float:
    assert candidate.p_adequate is not None  # noqa: S101 — eligible candidates have one
    return candidate.p_adequate


def quote_of(candidate: Candidate) -> Quote:
    """The quote of an eligible candidate."""
    assert candidate.quote is not None  # noqa: S101 — eligible candidates have one
    return candidate.quote


def price_of(candidate: Candidate) -> int:
    """The expected price of an eligible candidate less what prompt caches save, nano-dollars."""
    return quote_of(candidate).price.expected - candidate.cache_saving


def by_price(candidate: Candidate) -> tuple[int, int, float, str]:
    """Sort key: price, then worst price, latency and name, so that no two models tie."""
    quote = quote_of(candidate)
    worst = quote.price.worst
    return price_of(candidate), worst, quote.latency.p50_s, candidate.model.id


def at_stake(goal: Goal, complexity: float) -> Goal:
    """The goal for a prompt of this complexity, 0..1: a miss costs in proportion to it."""
    if isinstance(goal, MissCost):
        return MissCost(round(goal.nanos * complexity))
    return goal


def expected_cost(candidate: Candidate, miss_cost: int) -> int:
    """Expected price plus risk, (1 − P(adequate)) × the cost of a miss: nano-dollars ≥ 0, rounded to one."""
    return quote_of(candidate).price.expected + round((1 - _p(candidate)) * miss_cost)


# --- Ranking -----------------------------------------------------------------------------------


def ranked_by(goal: Goal, eligible: Sequence[Candidate]) -> list[Candidate]:
    """Eligible candidates, best first.

    A cost of a miss and a willingness to pay both rank by price − P(adequate) × the amount: the
    expected cost differs from it by a constant, the surplus by its sign. A quality target puts the candidates
    that reach it first, cheapest first. Below it, the candidates within the regret of the best are a group,
    those within the regret of the best that is left are the next, and so on; each is ordered cheapest first.
    Of equals the cheapest comes first.
    """
    if isinstance(goal, QualityTarget):
        return _ranked_by_target(goal, eligible)
    stake = goal.nanos
    cheapest_first = sorted(eligible, key=by_price)
    losses = [price_of(each) - _p(each) * stake for each in cheapest_first]
    # Equal losses stay as they are.
    return [cheapest_first[at] for at in sorted(range(len(losses)), key=losses.__getitem__)]


def _ranked_by_target(goal: QualityTarget, eligible: Sequence[Candidate]) -> list[Candidate]:
    ranked = sorted((c for c in eligible if _p(c) >= goal.p_adequate), key=by_price)
    below = [c for c in eligible if _p(c) < goal.p_adequate]
    while below:
        least = max(map(_p, below)) - goal.regret
        ranked += sorted((c for c in below if _p(c) >= least), key=by_price)
        below = [c for c in below if _p(c) < least]
    return ranked


def lowered(goal: Goal, relaxation: float) -> Goal:
    """The goal, lowered by 0 (not at all) to 1 (only the price counts)."""
    if isinstance(goal, QualityTarget):
        return replace(goal, p_adequate=goal.p_adequate * (1 - relaxation))
    return replace(goal, nanos=int(goal.nanos * (1 - relaxation)))


# --- Reasons -----------------------------------------------------------------------------------


def goal_reason(ranked: Sequence[Candidate], goal: Goal, complexity: float = 1.0) -> Reason:
    """Why the first of the ranked candidates is chosen under a goal.

    Args:
        ranked: eligible candidates, best first.
        goal: for this prompt, as :func:`at_stake` makes it.
        complexity: of the prompt, 0..1.
    """
    chosen = ranked[0]
    facts = {
        "p_adequate": f"{_p(chosen):.4f}",
        "expected_price_usd": _usd(quote_of(chosen).price.expected),
    }
    if isinstance(goal, MissCost):
        return _cost_reason(ranked, goal.nanos, complexity, facts)
    if isinstance(goal, WillingnessToPay):
        return _value_reason(chosen, goal.nanos, facts)
    return _target_reason(ranked, goal, facts)


def _cost_reason(
    ranked: Sequence[Candidate], miss_cost: int, complexity: float, facts: dict[str, str]
) -> Reason:
    chosen = ranked[0]
    text = (
        f"lowest expected cost at complexity {complexity:.2f}: "
        f"{_sum(chosen, miss_cost, named='price ', risk=' risk of a miss')}"
    )
    facts |= {
        "complexity": f"{complexity:.4f}",
        "miss_cost_usd": _usd(miss_cost),
        "expected_cost_usd": _usd(expected_cost(chosen, miss_cost)),
    }
    # Models of one tier differ little: what explains the choice is the best of the other tiers.
    others = [c for c in ranked if c.model.tier != chosen.model.tier]
    if others:
        costs = [expected_cost(each, miss_cost) for each in others]
        least = min(costs)
        second = min(
            (each for each, cost in zip(others, costs, strict=True) if cost == least), key=by_price
        )
        told = f"{second.model.id}: {_sum(second, miss_cost)}"
        text += f"; {told}"
        facts |= {
            "runner_up": told,
            "runner_up_expected_cost_usd": _usd(expected_cost(second, miss_cost)),
        }
    return Reason("LEAST_EXPECTED_COST", text, facts)


def _sum(candidate: Candidate, miss_cost: int, *, named: str = "", risk: str = "") -> str:
    """The expected cost of a candidate as a sum for people, such as ``$0.031 + 2% × $0.10 = $0.033``."""
    price = short_usd(quote_of(candidate).price.expected)
    return (
        f"{named}{price} + {_percent(1 - _p(candidate))}{risk} × {short_usd(miss_cost)} = "
        f"{short_usd(expected_cost(candidate, miss_cost))}"
    )


def _value_reason(chosen: Candidate, worth: int, facts: dict[str, str]) -> Reason:
    return Reason(
        "BEST_VALUE",
        f"best surplus at {format_usd(worth)} an answer: {_p(chosen):.0%} adequate "
        f"for {short_usd(quote_of(chosen).price.expected)}",
        {**facts, "willingness_to_pay_usd": _usd(worth)},
    )


def _target_reason(
    ranked: Sequence[Candidate], goal: QualityTarget, facts: dict[str, str]
) -> Reason:
    p = _p(ranked[0])
    facts["quality_target"] = f"{goal.p_adequate:.4f}"
    if p >= goal.p_adequate:
        return Reason(
            "CHEAPEST_ADEQUATE",
            f"cheapest to reach the target of {goal.p_adequate:.0%}: {p:.0%} adequate",
            facts,
        )
    best = max(map(_p, ranked))
    return Reason(
        "TARGET_NOT_REACHED",
        f"none reaches the target of {_percent(goal.p_adequate)}, the best has {_percent(best)}; cheapest "
        f"within {100 * goal.regret:g} points of the best: {_percent(p)} adequate",
        {**facts, "best_p_adequate": f"{best:.4f}", "regret": f"{goal.regret:.4f}"},
    )


def _usd(nanos: int) -> str:
    """An exact amount as a fact."""
    return format_usd(nanos)[1:]


def _percent(share: float) -> str:
    """A share to three significant digits, so that a risk of less than a percent is not shown as none."""
    return f"{100 * round(share, 6):.3g}%"
