"""What limits make of candidates: which they block, how they change the ranking, and the errors. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from router.core.errors import Deferred, Exhausted
from router.core.goals import by_price, lowered, ranked_by
from router.core.limits import (
    Amounts,
    LimitState,
    Obstacle,
    SoftAction,
    Window,
    find_obstacle,
    pace_relaxation,
)
from router.core.ruling import Ruling
from router.core.task_cap import cap_refusal, is_cap
from router.core.types import Candidate, Goal, Reason

__all__ = [
    "binding_limit",
    "capped_tier",
    "deferral",
    "limit_refusal",
    "may_reach_a_limit",
    "pace",
    "rank_under_soft_limits",
    "refused_by_limits",
    "soft_limits_passed",
]

_SPACING_S = 0.1
"""Between two pieces of batch work that wait for the same reset: it is not to begin all at once."""


def binding_limit(candidate: Candidate) -> tuple[LimitState, Obstacle] | None:
    """The hard limit that blocks a candidate and why; ``None`` if none does.

    Of several, the most severe obstacle counts, in the order of :class:`Obstacle`.
    """
    if candidate.amounts is None:
        return None
    found = []
    for state in candidate.limits:
        obstacle = find_obstacle(state, candidate.amounts.of(state.limit.unit))
        if obstacle is not None:
            found.append((state, obstacle))
    if not found:
        return None
    severity = list(Obstacle)
    return max(found, key=lambda one: (severity.index(one[1]), one[0].limit.id))


def may_reach_a_limit(candidates: Sequence[Candidate]) -> bool:
    """Whether the largest of the amounts would pass a hard or a soft value of any of the limits.

    Where they would not, no limit blocks or warns of a single candidate.
    """
    amounts = [each.amounts for each in candidates if each.amounts is not None]
    if not amounts:
        return False
    most = Amounts(*map(max, zip(*amounts, strict=True)))
    for states in _shared_limits(candidates):
        for state in states:
            amount = most.of(state.limit.unit)
            if find_obstacle(state, amount) is not None or state.passes_soft(amount):
                return True
    return False


def capped_tier(
    candidates: Sequence[Candidate], exclusions: Sequence[str | None], tier: str | None
) -> Reason | None:
    """Why no model of a tier is left, where a limit on tiers did that; ``None``: none did, or one is left.

    Args:
        candidates: all of them.
        exclusions: why each was left out; ``None``: it was not.
        tier: the highest one.
    """
    of_tier = [
        (candidate, name)
        for candidate, name in zip(candidates, exclusions, strict=True)
        if candidate.model.tier == tier
    ]
    if any(name is None for _, name in of_tier):
        return None
    for candidate, name in of_tier:
        if name is None or not name.startswith("limit_"):
            continue
        found = binding_limit(candidate)
        if found is None or "tier" not in found[0].limit.scope:
            continue
        state = found[0]
        limit = state.limit
        cap = (
            "its amount is used up"
            if limit.share is None
            else f"its share of {100 * limit.share:g}% is used up"
        )
        return Reason(
            "TOP_TIER_CAPPED",
            f"limit {limit.id} keeps models of tier {tier} out: {cap}",
            _balance_facts(state),
        )
    return None


def _shared_limits(candidates: Sequence[Candidate]) -> Iterable[tuple[LimitState, ...]]:
    """The limits of some candidates, in their order; those with the same limits share a tuple."""
    return {id(each.limits): each.limits for each in candidates}.values()


def soft_limits_passed(candidate: Candidate, *actions: SoftAction) -> list[LimitState]:
    """The limits with one of these actions whose soft value the candidate would pass."""
    if candidate.amounts is None:
        return []
    return [
        state
        for state in candidate.limits
        if state.limit.on_soft in actions
        and state.passes_soft(candidate.amounts.of(state.limit.unit))
    ]


def _balance_facts(state: LimitState) -> dict[str, str]:
    """A limit and its balance as facts."""
    facts = {
        "limit": state.limit.id,
        "balance": state.key,
        "unit": state.limit.unit.value,
        "spent": str(state.spent),
        "held": str(state.held),
    }
    if state.remaining is not None:
        facts["remaining"] = str(state.remaining)
    if state.limit.share is not None:
        facts["share"], facts["whole"] = f"{state.limit.share:g}", str(state.whole)
    if state.limit.window is not Window.TOTAL:
        facts["resets"] = state.period.end.isoformat()
    return facts


_REFUSALS = {
    Obstacle.WAIT_FOR_HOLDS: (
        "LIMIT_WAIT_FOR_HOLDS",
        "open holds take what is left; try again when they settle",
    ),
    Obstacle.EXHAUSTED: ("LIMIT_EXHAUSTED", "too little is left; try again after the reset"),
    Obstacle.NEVER_FITS: (
        "LIMIT_NEVER_FITS",
        "the request needs more than the whole limit; do not try again",
    ),
}


def limit_refusal(state: LimitState, obstacle: Obstacle, amount: int, model: str = "") -> Exhausted:
    """The error for a hard limit, or the cap of a task, that blocks a request.

    Args:
        state: the limit and its balance.
        obstacle: why the amount does not fit.
        amount: what the request needs, in the unit of the limit, ≥ 0.
        model: the one that needs least, by catalog id; empty: not known.
    """
    if is_cap(state.limit):
        return cap_refusal(state, amount, model)
    reason, remedy = _REFUSALS[obstacle]
    return Exhausted(
        f"limit {state.limit.id}: {remedy}",
        reason=reason,
        metadata={**_balance_facts(state), "needed": str(amount)},
    )


def refused_by_limits(
    candidates: Sequence[Candidate], exclusions: Sequence[str | None]
) -> Exhausted:
    """The error when limits alone exclude some candidates: it names the least severe obstacle."""
    severity = list(Obstacle)
    blocked = [
        (found[0], found[1], candidate.amounts.of(found[0].limit.unit), candidate.model.id)
        for candidate, name in zip(candidates, exclusions, strict=True)
        if name is not None
        and name.startswith("limit_")
        and candidate.amounts is not None
        and (found := binding_limit(candidate)) is not None
    ]
    return limit_refusal(
        *min(blocked, key=lambda one: (severity.index(one[1]), one[2], one[0].limit.id))
    )


def pace(
    candidates: Sequence[Candidate], moment: datetime | None
) -> tuple[float, LimitState | None]:
    """How far the goal is lowered, 0..1, and the paced limit that asks for it; ``None``: it is not lowered.

    Args:
        candidates: that may be chosen.
        moment: the current time; ``None`` turns pacing off.
    """
    if moment is None:
        return 0.0, None
    states = [state for shared in _shared_limits(candidates) for state in shared]
    paces = [(pace_relaxation(state, moment), state) for state in states if state.limit.paced]
    relaxation, ahead = max(paces, key=lambda one: one[0], default=(0.0, None))
    return (relaxation, ahead) if relaxation > 0 else (0.0, None)


def rank_under_soft_limits(
    eligible: Sequence[Candidate],
    goal: Goal,
    top_tier: str | None,
    moment: datetime | None,
    bound_to: str | None = None,
) -> tuple[list[Candidate], list[Reason]]:
    """Rank under soft limits and pacing, with a reason for each that warns or downgrades.

    Args:
        eligible: at least one candidate.
        goal: for this prompt.
        top_tier: that a soft limit may forbid.
        moment: for pacing; ``None`` turns it off.
        bound_to: id of a model that comes first unless a soft limit forbids its tier; ``None``: none does.
    """

    def ranked_first(goal: Goal, some: Sequence[Candidate]) -> list[Candidate]:
        found = ranked_by(goal, some)
        if bound_to is not None:
            found.sort(key=lambda each: each.model.id != bound_to)
        return found

    unlimited = ranked_first(goal, eligible)
    if not any(each.limits for each in eligible):
        return unlimited, []
    reasons = []
    allowed = [
        candidate
        for candidate in eligible
        if candidate.model.tier != top_tier
        or not soft_limits_passed(candidate, SoftAction.FORBID_TOP_TIER)
    ] or eligible
    relaxation, ahead = pace(allowed, moment)
    if ahead is not None:
        reasons.append(
            Reason(
                "PACED",
                f"spend on {ahead.limit.id} is ahead of schedule: the goal is lowered by "
                f"{relaxation:.0%}",
                {**_balance_facts(ahead), "relaxation": f"{relaxation:.4f}"},
            )
        )
    ranked = unlimited
    if relaxation > 0 or len(allowed) < len(eligible):
        ranked = ranked_first(lowered(goal, relaxation), allowed)
    bound = ranked[0].model.id == bound_to
    if not bound and soft_limits_passed(ranked[0], SoftAction.PREFER_CHEAPER):
        # Not the cheapest at once: a dearer miss would then choose a weaker model than a cheap one does.
        above = [one for one in ranked if soft_limits_passed(one, SoftAction.PREFER_CHEAPER)]
        ranked = [one for one in ranked if one not in above] + sorted(above, key=by_price)
    best = unlimited[0].model.id
    if ranked[0].model.id != best:
        reasons.insert(
            0,
            Reason(
                "DOWNGRADED",
                f"limits forbid {best}, or made it too expensive",
                {"without_limits": best},
            ),
        )
    reasons.extend(
        Reason(
            "SOFT_LIMIT",
            f"this decision passes the soft value of limit {state.limit.id}",
            _balance_facts(state),
        )
        for state in soft_limits_passed(ranked[0], *SoftAction)
    )
    return ranked, reasons


def deferral(
    eligible: Sequence[Candidate], ruling: Ruling, moment: datetime | None
) -> Deferred | None:
    """The error for batch work that a rule defers, or if every candidate would pass a deferring limit.

    Args:
        eligible: candidates that could be chosen otherwise.
        ruling: what the routing table says. It does not say until when.
        moment: the current time; ``None``: the error does not say when the limit resets.
    """
    if ruling.deferring is not None:
        return Deferred(
            f"rule {ruling.deferring} of the routing table: batch work waits",
            reason="RULE_DEFERRED",
            metadata={"rule": ruling.deferring},
            queue=f"rule {ruling.deferring}",
            spacing_s=0.0,
        )
    passed = [soft_limits_passed(candidate, SoftAction.DEFER_BATCH) for candidate in eligible]
    if not all(passed):
        return None
    state = passed[0][0]
    resets = moment is not None and state.limit.window is not Window.TOTAL
    return Deferred(
        f"limit {state.limit.id}: the soft value is reached, and batch work waits for the reset",
        metadata=_balance_facts(state),
        queue=f"limit {state.limit.id} {state.key}".rstrip(),
        retry_after_s=(state.period.end - moment).total_seconds() if moment and resets else None,
        spacing_s=_SPACING_S,
    )
