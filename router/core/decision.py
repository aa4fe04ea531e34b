"""The decision: one pure function from candidates to a choice and its reasons.

No clock, no I/O, no randomness. It is what the tests hammer, and what a replay runs over old
decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from router.core.errors import Exhausted, NotPossible
from router.core.limits import (
    LimitState,
    Obstacle,
    SoftAction,
    Window,
    obstacle,
    pace_relaxation,
)
from router.core.money import format_usd, short_usd
from router.core.quotes import output_cap
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Goal,
    QualityTarget,
    Quote,
    Reason,
    WillingnessToPay,
)

__all__ = ["TOLERANCE", "arm_prices", "binding", "decide", "exclusion", "limit_refusal"]

TOLERANCE = 0.01
"""Probabilities closer than this are level: paying more for less than a point of P(adequate) would
chase the classifier's noise."""


def exclusion(candidate: Candidate, constraints: Constraints) -> str | None:
    """Why a candidate is out, as a stable lower-case name; ``None`` where it is eligible."""
    model, quote = candidate.model, candidate.quote
    if constraints.models and model.id not in constraints.models:
        return "not_in_allowed_models"
    if constraints.tiers and model.tier not in constraints.tiers:
        return "not_in_allowed_tiers"
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
    hindrance = binding(candidate)
    return None if hindrance is None else f"limit_{hindrance[1].value}"


def arm_prices(candidates: Sequence[Candidate], constraints: Constraints) -> dict[str, int]:
    """Arm → expected nano-dollars of its cheapest candidate, of those that meet the constraints."""
    found: dict[str, int] = {}
    for one in candidates:
        if one.arm is None or one.quote is None or exclusion(one, constraints) is not None:
            continue
        price = one.quote.price.expected
        found[one.arm] = min(price, found.get(one.arm, price))
    return found


def binding(candidate: Candidate) -> tuple[LimitState, Obstacle] | None:
    """The hard limit that stands in a candidate's way, the least hopeful first; ``None`` for none."""
    if candidate.amounts is None:
        return None
    found = []
    for state in candidate.limits:
        hindrance = obstacle(state, candidate.amounts.of(state.limit.unit))
        if hindrance is not None:
            found.append((state, hindrance))
    hopeless = list(Obstacle)
    return max(found, key=lambda one: (hopeless.index(one[1]), one[0].limit.id), default=None)


def _softly_passed(candidate: Candidate, *actions: SoftAction) -> list[LimitState]:
    """The limits of these actions whose soft value the candidate would pass."""
    if candidate.amounts is None:
        return []
    return [
        state
        for state in candidate.limits
        if state.limit.on_soft in actions
        and state.passes_soft(candidate.amounts.of(state.limit.unit))
    ]


def _p(candidate: Candidate) -> float:
    assert candidate.p_adequate is not None  # noqa: S101 — eligible candidates have one
    return candidate.p_adequate


def _quote(candidate: Candidate) -> Quote:
    assert candidate.quote is not None  # noqa: S101 — eligible candidates have one
    return candidate.quote


def _thrift(candidate: Candidate) -> tuple[int, int, float, str]:
    """Cheaper first; then the smaller worst case, the faster, and the name, so that ties are settled."""
    quote = _quote(candidate)
    return (quote.price.expected, quote.price.worst, quote.latency.p50_s, candidate.model.id)


def _rank_by_target(target: float) -> Callable[[Sequence[Candidate]], list[Candidate]]:
    def rank(eligible: Sequence[Candidate]) -> list[Candidate]:
        reaching = sorted((c for c in eligible if _p(c) >= target), key=_thrift)
        short = [c for c in eligible if _p(c) < target]
        ranked = reaching
        while short:  # the best of the rest, and among those level with it the cheapest first
            best = max(map(_p, short))
            level = sorted((c for c in short if _p(c) >= best - TOLERANCE), key=_thrift)
            ranked = ranked + level
            short = [c for c in short if _p(c) < best - TOLERANCE]
        return ranked

    return rank


def _rank_by_value(worth: int) -> Callable[[Sequence[Candidate]], list[Candidate]]:
    def surplus(candidate: Candidate) -> float:
        return _p(candidate) * worth - _quote(candidate).price.expected

    def rank(eligible: Sequence[Candidate]) -> list[Candidate]:
        return sorted(eligible, key=lambda c: (-surplus(c), _thrift(c)))

    return rank


def _why(chosen: Candidate, goal: Goal) -> Reason:
    price, p = _quote(chosen).price.expected, _p(chosen)
    facts = {"p_adequate": f"{p:.4f}", "expected_price_usd": format_usd(price)[1:]}
    if isinstance(goal, WillingnessToPay):
        facts["willingness_to_pay_usd"] = format_usd(goal.nanos)[1:]
        return Reason(
            "BEST_VALUE",
            f"best surplus at {format_usd(goal.nanos)} an answer: {p:.0%} adequate "
            f"for {short_usd(price)}",
            facts,
        )
    facts["quality_target"] = f"{goal.p_adequate:.4f}"
    if p >= goal.p_adequate:
        return Reason(
            "CHEAPEST_ADEQUATE",
            f"cheapest to reach the target of {goal.p_adequate:.0%}: {p:.0%} adequate",
            facts,
        )
    return Reason(
        "TARGET_NOT_REACHED",
        f"none reaches the target of {goal.p_adequate:.0%}; cheapest of the best: {p:.0%} adequate",
        facts,
    )


def _excluded(out: Counter[str]) -> Iterable[Reason]:
    if out:
        text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(out.items()))
        yield Reason(
            "MODELS_EXCLUDED",
            f"models left out: {text}",
            {name: str(count) for name, count in out.items()},
        )


def _nothing_left(
    candidates: Sequence[Candidate], constraints: Constraints, out: Counter[str]
) -> NotPossible:
    """The error for impossible constraints: what stood in the way, and what would help."""
    remedies = {
        "over_max_price": "raise constraints.max_price",
        "over_max_latency": "raise constraints.max_latency",
        "context_window_too_small": "shorten the prompt",
        "no_price": "give the models a price in the catalog",
        "unknown_to_the_classifier": "serve a bundle that has arms for these tiers",
        "lacks_capability": "ask for fewer required_capabilities",
    }
    text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(out.items()))
    # What failed last is nearest to being met: the constraints are checked in a fixed order.
    order = list(remedies)
    nearest = min(
        (name for name in out if name in remedies), key=order.index, default="lacks_capability"
    )
    metadata = {name: str(count) for name, count in out.items()}
    if nearest == "over_max_price":
        cheapest = min(
            _quote(c).price.high for c in candidates if exclusion(c, constraints) == nearest
        )
        metadata["cheapest_high_price_usd"] = format_usd(cheapest)[1:]
        remedies[nearest] += f" to at least {format_usd(cheapest)}"
    remedy = remedies[nearest] if nearest in out else "allow more models or tiers"
    return NotPossible(
        f"no model meets the constraints ({text}); {remedy}",
        reason="NO_ELIGIBLE_MODEL",
        field="constraints",
        metadata=metadata,
    )


def _standing(state: LimitState) -> dict[str, str]:
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
        "holds in flight take what is left; try again when they settle",
    ),
    Obstacle.EXHAUSTED: ("LIMIT_EXHAUSTED", "too little is left; try again after the reset"),
    Obstacle.NEVER_FITS: ("LIMIT_NEVER_FITS", "it is more than the whole limit; do not try again"),
}


def limit_refusal(state: LimitState, hindrance: Obstacle, amount: int) -> Exhausted:
    """The error of a hard limit that stands in the way."""
    reason, remedy = _REFUSALS[hindrance]
    return Exhausted(
        f"limit {state.limit.id}: {remedy}",
        reason=reason,
        metadata={**_standing(state), "needed": str(amount)},
    )


def _refused_by_limits(
    candidates: Sequence[Candidate], verdicts: Sequence[str | None]
) -> Exhausted:
    """Nothing but limits stood in the way of these: the error that leaves most hope."""
    hope = list(Obstacle)
    blocked = [
        (found[0], found[1], candidate.amounts.of(found[0].limit.unit))
        for candidate, verdict in zip(candidates, verdicts, strict=True)
        if verdict is not None
        and verdict.startswith("limit_")
        and candidate.amounts is not None
        and (found := binding(candidate)) is not None
    ]
    return limit_refusal(
        *min(blocked, key=lambda one: (hope.index(one[1]), one[2], one[0].limit.id))
    )


def _relaxed(goal: Goal, relaxation: float) -> Goal:
    """The goal with quality giving way by 0 (not at all) to 1 (only price counts)."""
    if isinstance(goal, QualityTarget):
        return QualityTarget(goal.p_adequate * (1 - relaxation))
    return WillingnessToPay(int(goal.nanos * (1 - relaxation)))


def _ranker(goal: Goal) -> Callable[[Sequence[Candidate]], list[Candidate]]:
    if isinstance(goal, QualityTarget):
        return _rank_by_target(goal.p_adequate)
    return _rank_by_value(goal.nanos)


def _under_soft_limits(
    eligible: list[Candidate], goal: Goal, top_tier: str | None, moment: datetime | None
) -> tuple[list[Candidate], list[Reason]]:
    """Rank under soft limits and pacing: warn, then downgrade."""
    reasons = []
    freely = _ranker(goal)(eligible)
    allowed = [
        candidate
        for candidate in eligible
        if candidate.model.tier != top_tier
        or not _softly_passed(candidate, SoftAction.FORBID_TOP_TIER)
    ] or eligible
    relaxation = 0.0
    if moment is not None:
        paces = [(pace_relaxation(state, moment), state) for c in allowed for state in c.limits]
        relaxation, ahead = max(paces, key=lambda one: one[0], default=(0.0, None))
        if relaxation > 0 and ahead is not None:
            reasons.append(
                Reason(
                    "PACED",
                    f"spend on {ahead.limit.id} runs ahead of its calendar: quality gives way by "
                    f"{relaxation:.0%}",
                    {**_standing(ahead), "relaxation": f"{relaxation:.4f}"},
                )
            )
    ranked = _ranker(_relaxed(goal, relaxation))(allowed)
    if _softly_passed(ranked[0], SoftAction.PREFER_CHEAPER):
        ranked = sorted(ranked, key=_thrift)
    if ranked[0].model.id != freely[0].model.id:
        reasons.insert(
            0,
            Reason(
                "DOWNGRADED",
                f"limits forbid {freely[0].model.id}, or made it too dear",
                {"without_limits": freely[0].model.id},
            ),
        )
    reasons.extend(
        Reason(
            "SOFT_LIMIT",
            f"this passes the soft value of limit {state.limit.id}",
            _standing(state),
        )
        for state in _softly_passed(ranked[0], *SoftAction)
    )
    return ranked, reasons


def _deferred(eligible: Sequence[Candidate]) -> Exhausted | None:
    """The error for batch work that every candidate would take past a deferring soft value."""
    passed = [_softly_passed(candidate, SoftAction.DEFER_BATCH) for candidate in eligible]
    if not all(passed):
        return None
    state = passed[0][0]
    return Exhausted(
        f"limit {state.limit.id}: its soft value is reached, and batch work waits for the reset",
        reason="LIMIT_DEFERRED",
        metadata=_standing(state),
    )


def decide(
    candidates: Sequence[Candidate],
    constraints: Constraints,
    goal: Goal,
    *,
    batch: bool = False,
    top_tier: str | None = None,
    moment: datetime | None = None,
) -> Decision:
    """Choose a model.

    With a quality target: the cheapest eligible candidate whose P(adequate) reaches it; where none
    does, the best there is, and among those within :data:`TOLERANCE` of it the cheapest. With a
    willingness to pay: the largest P(adequate) × worth − expected price. Soft limits and pacing warn,
    downgrade, and put off batch work; hard limits leave candidates out.

    Args:
        candidates: every model of the catalog with its probability, quote and limits.
        constraints: what the caller allows.
        goal: what to aim for.
        batch: whether the work can wait.
        top_tier: the highest tier of the catalog, which a soft limit may forbid.
        moment: now, for pacing; ``None`` does not pace.

    Returns:
        All eligible candidates, best first, and the reasons. Does not depend on the order of
        ``candidates``.

    Raises:
        NotPossible: no candidate meets the constraints; the message says what stood in the way.
        Exhausted: candidates meet them, but a limit stands in the way of each.
    """
    candidates = sorted(candidates, key=lambda candidate: candidate.model.id)
    verdicts = [exclusion(candidate, constraints) for candidate in candidates]
    eligible = [c for c, verdict in zip(candidates, verdicts, strict=True) if verdict is None]
    out = Counter(verdict for verdict in verdicts if verdict is not None)
    if not eligible:
        if any(verdict.startswith("limit_") for verdict in out):
            raise _refused_by_limits(candidates, verdicts)
        raise _nothing_left(candidates, constraints, out)
    deferred = _deferred(eligible) if batch else None
    if deferred is not None:
        raise deferred
    ranked, notes = _under_soft_limits(eligible, goal, top_tier, moment)
    downgraded = any(note.code == "DOWNGRADED" for note in notes)
    reasons = notes if downgraded else [_why(ranked[0], goal), *notes]
    if len(eligible) == 1 and len(candidates) > 1:
        reasons.append(Reason("ONLY_CANDIDATE", "the only model that meets the constraints"))
    reasons.extend(_excluded(out))
    return Decision(tuple(ranked), tuple(reasons))
