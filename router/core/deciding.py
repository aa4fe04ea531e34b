"""The decision: one pure function from candidates to a choice and its reasons.

No clock, no I/O, no randomness. It is what the tests hammer, and what a replay runs over old
decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from router.core.errors import NotPossible
from router.core.money import format_usd, short_usd
from router.core.quoting import output_cap
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

__all__ = ["TOLERANCE", "decide", "exclusion"]

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
    return None


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


def decide(candidates: Sequence[Candidate], constraints: Constraints, goal: Goal) -> Decision:
    """Choose a model.

    With a quality target: the cheapest eligible candidate whose P(adequate) reaches it; where none
    does, the best there is, and among those within :data:`TOLERANCE` of it the cheapest. With a
    willingness to pay: the largest P(adequate) × worth − expected price.

    Args:
        candidates: every model of the catalog with its probability and quote.
        constraints: what the caller allows.
        goal: what to aim for.

    Returns:
        All eligible candidates, best first, and the reasons. Does not depend on the order of
        ``candidates``.

    Raises:
        NotPossible: no candidate is eligible; the message says what stood in the way.
    """
    verdicts = [(candidate, exclusion(candidate, constraints)) for candidate in candidates]
    eligible = [candidate for candidate, verdict in verdicts if verdict is None]
    out = Counter(verdict for _, verdict in verdicts if verdict is not None)
    if not eligible:
        raise _nothing_left(candidates, constraints, out)
    rank = (
        _rank_by_target(goal.p_adequate)
        if isinstance(goal, QualityTarget)
        else _rank_by_value(goal.nanos)
    )
    ranked = rank(eligible)
    reasons = [_why(ranked[0], goal)]
    if len(eligible) == 1 and len(candidates) > 1:
        reasons.append(Reason("ONLY_CANDIDATE", "the only model that meets the constraints"))
    reasons.extend(_excluded(out))
    return Decision(tuple(ranked), tuple(reasons))
