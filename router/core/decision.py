"""The decision: one pure function from candidates to a choice and its reasons.

What each goal ranks by, and how it explains a choice, is in :mod:`router.core.goals`.

No clock, no I/O, no randomness: a replay runs the same function over old decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from router.core.errors import Exhausted, NotPossible
from router.core.exploration import explored, explored_reason, rivals
from router.core.goals import at_stake, by_price, goal_reason, lowered, quote_of, ranked_by
from router.core.health import ALL_HEALTHY, Health, fallback_chain, left_out
from router.core.limits import (
    Amounts,
    LimitState,
    Obstacle,
    SoftAction,
    Window,
    find_obstacle,
    pace_relaxation,
)
from router.core.money import format_usd
from router.core.quotes import output_cap
from router.core.ruling import NO_RULING, Ruling
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Exploration,
    Goal,
    Model,
    Quote,
    Reason,
)

__all__ = ["arm_prices", "binding_limit", "decide", "exclusion", "limit_refusal"]

_BY_RULE = "by_rule_"
"""Begins the name of an exclusion by the rule that follows."""


def exclusion(
    candidate: Candidate, constraints: Constraints, ruling: Ruling = NO_RULING
) -> str | None:
    """Why a candidate is excluded, as a stable lower-case name; ``None`` if it is eligible.

    Args:
        candidate: with its quote and limits.
        constraints: what the caller allows.
        ruling: what the routing table allows.
    """
    return _unmet(candidate, constraints, ruling) or _blocked(candidate)


def _blocked(candidate: Candidate) -> str | None:
    """The exclusion of a candidate that a hard limit blocks; ``None`` if none does."""
    blocked = binding_limit(candidate)
    return None if blocked is None else f"limit_{blocked[1].value}"


def _unmet(candidate: Candidate, constraints: Constraints, ruling: Ruling) -> str | None:
    """The exclusion of a candidate that cannot be chosen whatever the limits; ``None`` if it can."""
    model, quote = candidate.model, candidate.quote
    if constraints.models and not model.is_one_of(constraints.models):
        return "not_in_allowed_models"
    if constraints.tiers and model.tier not in constraints.tiers:
        return "not_in_allowed_tiers"
    if model.retired is not None:
        return "retired"
    if constraints.regions and constraints.regions.isdisjoint(model.regions):
        return "not_in_regions"
    if not constraints.capabilities <= model.capabilities:
        return "lacks_capability"
    if candidate.p_adequate is None:
        return "unknown_to_the_classifier"
    if quote is None:
        return "no_price"
    if output_cap(model, quote.input_tokens.tokens, constraints.max_output_tokens) < 1:
        return "context_window_too_small"
    if constraints.max_price_nanos is not None and quote.price.high > constraints.max_price_nanos:
        return "over_max_price"
    if constraints.max_latency_s is not None and quote.latency.p90_s > constraints.max_latency_s:
        return "over_max_latency"
    if constraints.max_first_token_s is not None and not _answers_within(
        quote, constraints.max_first_token_s
    ):
        return "over_max_first_token"
    forbidding = ruling.forbids(candidate, constraints.regions)
    return None if forbidding is None else f"{_BY_RULE}{forbidding}"


def _answers_within(quote: Quote, seconds: float) -> bool:
    """Whether nine in ten calls have their first token within a time; false where that is not known."""
    return quote.first_token is not None and quote.first_token.p90_s <= seconds


def arm_prices(
    candidates: Sequence[Candidate], constraints: Constraints, ruling: Ruling = NO_RULING
) -> dict[str, int]:
    """By arm, the expected price in nano-dollars of its cheapest candidate that may be chosen.

    Args:
        candidates: with their quotes.
        constraints: what the caller allows.
        ruling: what the routing table allows.
    """
    prices: dict[str, int] = {}
    for each in candidates:
        if (
            each.arm is None
            or each.quote is None
            or exclusion(each, constraints, ruling) is not None
        ):
            continue
        price = each.quote.price.expected
        prices[each.arm] = min(price, prices.get(each.arm, price))
    return prices


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


def _may_reach_a_limit(candidates: Sequence[Candidate]) -> bool:
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


def _shared_limits(candidates: Sequence[Candidate]) -> Iterable[tuple[LimitState, ...]]:
    """The limits of some candidates, in their order; those with the same limits share a tuple."""
    return {id(each.limits): each.limits for each in candidates}.values()


def _soft_limits_passed(candidate: Candidate, *actions: SoftAction) -> list[LimitState]:
    """The limits with one of these actions whose soft value the candidate would pass."""
    if candidate.amounts is None:
        return []
    return [
        state
        for state in candidate.limits
        if state.limit.on_soft in actions
        and state.passes_soft(candidate.amounts.of(state.limit.unit))
    ]


def _exclusion_reasons(excluded: Counter[str]) -> Iterable[Reason]:
    if excluded:
        yield Reason(
            "MODELS_EXCLUDED",
            f"models left out: {_listed(excluded)}",
            {name: str(count) for name, count in excluded.items()},
        )


def _listed(excluded: Counter[str]) -> str:
    return ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in sorted(excluded.items())
    )


def _no_eligible_model(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    ruling: Ruling,
    excluded: Counter[str],
) -> NotPossible:
    """The error when no candidate meets the constraints: why each was excluded, and a remedy."""
    remedies = {
        "over_max_price": "raise constraints.max_price",
        "over_max_latency": "raise constraints.max_latency",
        "over_max_first_token": "raise constraints.max_first_token",
        "context_window_too_small": "shorten the prompt",
        "no_price": "give the models a price in the catalog",
        "unknown_to_the_classifier": "serve a bundle that has arms for these tiers",
        "lacks_capability": "ask for fewer required_capabilities",
        "not_in_regions": "allow more constraints.regions, or have the catalog say where models are served",
        "retired": "allow other models",
    }
    # The remedy is for the constraint that is checked last: its candidates met all the others.
    order = list(remedies)
    nearest = min(
        (name for name in excluded if name in remedies), key=order.index, default="lacks_capability"
    )
    metadata = {name: str(count) for name, count in excluded.items()}
    if nearest == "over_max_price":
        cheapest = min(
            quote_of(c).price.high
            for c in candidates
            if exclusion(c, constraints, ruling) == nearest
        )
        metadata["cheapest_high_price_usd"] = format_usd(cheapest)[1:]
        remedies[nearest] += f" to at least {format_usd(cheapest)}"
    if nearest == "retired":
        remedies[nearest] = f"{_retirements(candidates, constraints)}; {remedies[nearest]}"
    remedy = remedies[nearest] if nearest in excluded else "allow more models or tiers"
    by_rules = sorted(name for name in excluded if name.startswith(_BY_RULE))
    if by_rules:
        # What the rules leave out met all constraints.
        told = ", ".join(name.removeprefix(_BY_RULE) for name in by_rules)
        remedy = f"the routing table leaves none of those that do ({told}); ask its operator to change it"
    return NotPossible(
        f"no model meets the constraints ({_listed(excluded)}); {remedy}",
        reason="NO_ELIGIBLE_MODEL",
        field="constraints",
        metadata=metadata,
    )


def _retirements(candidates: Sequence[Candidate], constraints: Constraints) -> str:
    """Which models would meet the constraints, had they not retired; at most three of them."""
    told = [
        f"{each.model.id} retired on {each.model.retired}"
        for each in candidates
        if exclusion(each, constraints) == "retired"
    ]
    return ", ".join(told[:3] + (["and others"] if len(told) > 3 else []))


def _replacement_reasons(
    model: Model, constraints: Constraints, ruling: Ruling
) -> Iterable[Reason]:
    """A reason where a model was chosen because one that was asked for has retired."""
    if not model.replaces:
        return
    lists = (constraints.models, *(rule.effects.models for rule in ruling.rules))
    named = [names & model.replaces for names in lists if names and model.id not in names]
    retired = sorted(frozenset().union(*named))
    if retired:
        has = "has" if len(retired) == 1 else "have"
        yield Reason(
            "REPLACED",
            f"{', '.join(retired)} {has} retired: {model.id} was chosen instead",
            dict.fromkeys(retired, model.id),
        )


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


def limit_refusal(state: LimitState, obstacle: Obstacle, amount: int) -> Exhausted:
    """The error for a hard limit that blocks a request.

    Args:
        state: the limit and its balance.
        obstacle: why the amount does not fit.
        amount: what the request needs, in the unit of the limit, ≥ 0.
    """
    reason, remedy = _REFUSALS[obstacle]
    return Exhausted(
        f"limit {state.limit.id}: {remedy}",
        reason=reason,
        metadata={**_balance_facts(state), "needed": str(amount)},
    )


def _refused_by_limits(
    candidates: Sequence[Candidate], exclusions: Sequence[str | None]
) -> Exhausted:
    """The error when limits alone exclude some candidates: it names the least severe obstacle."""
    severity = list(Obstacle)
    blocked = [
        (found[0], found[1], candidate.amounts.of(found[0].limit.unit))
        for candidate, name in zip(candidates, exclusions, strict=True)
        if name is not None
        and name.startswith("limit_")
        and candidate.amounts is not None
        and (found := binding_limit(candidate)) is not None
    ]
    return limit_refusal(
        *min(blocked, key=lambda one: (severity.index(one[1]), one[2], one[0].limit.id))
    )


def _rank_under_soft_limits(
    eligible: list[Candidate], goal: Goal, top_tier: str | None, moment: datetime | None
) -> tuple[list[Candidate], list[Reason]]:
    """Rank under soft limits and pacing, with a reason for each that warns or downgrades."""
    reasons = []
    unlimited = ranked_by(goal, eligible)
    allowed = [
        candidate
        for candidate in eligible
        if candidate.model.tier != top_tier
        or not _soft_limits_passed(candidate, SoftAction.FORBID_TOP_TIER)
    ] or eligible
    relaxation = 0.0
    if moment is not None:
        paced = [state for states in _shared_limits(allowed) for state in states]
        paces = [(pace_relaxation(state, moment), state) for state in paced if state.limit.paced]
        relaxation, ahead = max(paces, key=lambda one: one[0], default=(0.0, None))
        if relaxation > 0 and ahead is not None:
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
        ranked = ranked_by(lowered(goal, relaxation), allowed)
    if _soft_limits_passed(ranked[0], SoftAction.PREFER_CHEAPER):
        ranked = sorted(ranked, key=by_price)
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
        for state in _soft_limits_passed(ranked[0], *SoftAction)
    )
    return ranked, reasons


def _deferral(eligible: Sequence[Candidate], ruling: Ruling) -> Exhausted | None:
    """The error for batch work that a rule defers, or if every candidate would pass a deferring limit."""
    if ruling.deferring is not None:
        return Exhausted(
            f"rule {ruling.deferring} of the routing table: batch work waits; send it again later",
            reason="RULE_DEFERRED",
            metadata={"rule": ruling.deferring},
        )
    passed = [_soft_limits_passed(candidate, SoftAction.DEFER_BATCH) for candidate in eligible]
    if not all(passed):
        return None
    state = passed[0][0]
    return Exhausted(
        f"limit {state.limit.id}: the soft value is reached; send batch work again after the reset",
        reason="LIMIT_DEFERRED",
        metadata=_balance_facts(state),
    )


def _left_to_chance(
    ranked: Sequence[Candidate], constraints: Constraints, goal: Goal, regret: float, health: Health
) -> list[Candidate]:
    """The candidates that chance may choose from: healthy ones that pass no soft value, and the best.

    Where the best is not healthy, nothing is left to chance.
    """
    choice = rivals(ranked, constraints, goal, regret)
    if health is not ALL_HEALTHY:
        sound = [each for each in choice if health.why(each) is None]
        choice = [each for each in sound if each.model.id not in health.due]
        if ranked[0] not in choice:
            return [ranked[0]]
    if len(choice) == 1 or not _may_reach_a_limit(choice):
        return choice
    return [
        each for each in choice if each is choice[0] or not _soft_limits_passed(each, *SoftAction)
    ]


def _trying(chosen: Candidate, health: Health) -> Reason:
    model = chosen.model.id
    return Reason("MODELS_UNHEALTHY", f"this call tries {model} again: {health.due[model]}")


def decide(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    goal: Goal,
    *,
    ruling: Ruling = NO_RULING,
    health: Health = ALL_HEALTHY,
    complexity: float = 1.0,
    batch: bool = False,
    top_tier: str | None = None,
    moment: datetime | None = None,
    exploration: Exploration | None = None,
) -> Decision:
    """Choose a model.

    The goal says how: see :class:`~router.core.types.MissCost`, :class:`~router.core.types.WillingnessToPay`
    and :class:`~router.core.types.QualityTarget`. Soft limits and pacing warn, downgrade and defer batch
    work; hard limits exclude candidates.

    Args:
        candidates: every model of the catalog with its probability, quote and limits.
        constraints: what the caller allows.
        goal: what the choice aims for.
        ruling: what the routing table allows. Its goal is the caller's business.
        health: of all models; unhealthy ones are left out as long as others are left.
        complexity: of the prompt, 0..1: the simpler, the less a miss costs.
        batch: whether the work can wait.
        top_tier: the highest tier of the catalog, which a soft limit may forbid.
        moment: the current time, for pacing; ``None`` turns pacing off.
        exploration: how much is left to chance, and the number that decides; ``None``: nothing is. Where a
            soft limit or pacing acts nothing is left to chance either, and no model that is not healthy.

    Returns:
        All eligible candidates, best first, or first the one that chance chose, the reasons, and what to try
        next. The order of ``candidates`` does not matter.

    Raises:
        NotPossible: no candidate meets the constraints; the message says why.
        Exhausted: some candidates meet the constraints, but a limit blocks each of them.
    """
    goal = at_stake(goal, complexity)
    candidates = sorted(candidates, key=lambda candidate: candidate.model.id)
    exclusions = [_unmet(candidate, constraints, ruling) for candidate in candidates]
    if _may_reach_a_limit(candidates):
        exclusions = [
            name or _blocked(candidate)
            for candidate, name in zip(candidates, exclusions, strict=True)
        ]
    eligible = [c for c, name in zip(candidates, exclusions, strict=True) if name is None]
    excluded = Counter(name for name in exclusions if name is not None)
    alone = len(eligible) == 1 and len(candidates) > 1
    if not eligible:
        if any(name.startswith("limit_") for name in excluded):
            raise _refused_by_limits(candidates, exclusions)
        raise _no_eligible_model(candidates, constraints, ruling, excluded)
    of_health: Sequence[Reason] = ()
    if health is not ALL_HEALTHY:
        out, of_health = left_out(eligible, health)
        eligible = [each for each in eligible if each.model.id not in out]
        excluded.update(out.values())
    deferred = _deferral(eligible, ruling) if batch else None
    if deferred is not None:
        raise deferred
    ranked, notes = _rank_under_soft_limits(eligible, goal, top_tier, moment)
    downgraded = any(note.code == "DOWNGRADED" for note in notes)
    reasons = notes if downgraded else [goal_reason(ranked, goal, complexity), *notes]
    found = None
    if exploration is not None and exploration.share > 0 and not notes:
        choice = _left_to_chance(ranked, constraints, goal, exploration.regret, health)
        if len(choice) > 1:
            found = explored(exploration, choice)
            if found.chosen != found.best:
                reasons = [explored_reason(found, choice, goal)]
                ranked.sort(key=lambda each: each.model.id != found.chosen)
    if alone:
        reasons.append(Reason("ONLY_CANDIDATE", "the only model that meets the constraints"))
    reasons.extend(of_health)
    if ranked[0].model.id in health.due:
        reasons.append(_trying(ranked[0], health))
    reasons.extend(_replacement_reasons(ranked[0].model, constraints, ruling))
    reasons.extend(ruling.reasons)
    reasons.extend(_exclusion_reasons(excluded))
    return Decision(tuple(ranked), tuple(reasons), fallback_chain(ranked, health), found)
