"""What a record says of a request and of its candidates, as the values that the core works with."""

from __future__ import annotations

from datetime import datetime

from router.core.ability import Ability
from router.core.conversation import NO_CONVERSATION, Conversation
from router.core.types import (
    NO_CACHE,
    CacheWorth,
    Constraints,
    Goal,
    LatencyRange,
    MissCost,
    Model,
    PriceRange,
    QualityTarget,
    Quote,
    Speed,
    TokenCount,
    WillingnessToPay,
)
from router.decision_log.record import (
    DecisionRecord,
    LatencySeconds,
    LoggedCandidate,
    LoggedConstraints,
    LoggedConversation,
    LoggedGoal,
    LoggedMissCost,
    LoggedQualityTarget,
)

__all__ = ["cache_of", "constraints_of", "conversation_of", "goal_of", "model_of", "quote_of"]

_UNBOUNDED = 2**31
_SPEED = Speed(0.0, 1.0)


def constraints_of(kept: LoggedConstraints) -> Constraints:
    """The constraints of a request."""
    return Constraints(
        frozenset(kept.models),
        frozenset(kept.tiers),
        frozenset(kept.capabilities),
        kept.max_price_nanos,
        kept.max_latency_s,
        kept.max_output_tokens,
        kept.max_first_token_s,
        frozenset(kept.regions),
    )


def goal_of(kept: LoggedGoal) -> Goal:
    """The goal of a decision."""
    if isinstance(kept, LoggedMissCost):
        return MissCost(kept.nanos)
    if isinstance(kept, LoggedQualityTarget):
        return QualityTarget(kept.p_adequate, kept.regret)
    return WillingnessToPay(kept.nanos)


def conversation_of(kept: LoggedConversation | None) -> Conversation:
    """The turns before; what their caches are worth is with the candidates: see :func:`cache_of`."""
    if kept is None:
        return NO_CONVERSATION
    return Conversation(
        kept.model, in_tool_loop=kept.in_tool_loop, further_turns=kept.further_turns
    )


def cache_of(kept: LoggedCandidate) -> CacheWorth:
    """What the prompt cache of a candidate saves."""
    saved = kept.cache_nanos
    return NO_CACHE if saved is None else CacheWorth(saved.now, saved.later)


def model_of(kept: LoggedCandidate, tier: str, constraints: Constraints) -> Model:
    """The model of a candidate, as far as a record tells.

    The log has only candidates that met the constraints, so the model has all required capabilities, and is
    served where it was asked for.

    Args:
        kept: the candidate.
        tier: of the model.
        constraints: of the request.
    """
    told = kept.ability
    return Model(
        kept.model, "", tier, None, _UNBOUNDED, _UNBOUNDED, frozenset(constraints.capabilities), _SPEED,
        ability=None if told is None else Ability(told.points, told.uncertainty, ""),
        regions=constraints.regions,
    )  # fmt: skip


def quote_of(
    kept: LoggedCandidate, latency: LatencySeconds, record: DecisionRecord, created: datetime
) -> Quote:
    """The quote of a candidate.

    Args:
        kept: the candidate.
        latency: of it; the first records have none.
        record: of the decision.
        created: when it was made, aware.
    """
    tokens, price, first = kept.input_tokens, kept.price_nanos, kept.first_token_s
    return Quote(
        model=kept.model,
        input_tokens=TokenCount(tokens, kept.exact, tokens),
        output_tokens_p50=kept.output_tokens.p50,
        output_tokens_p90=kept.output_tokens.p90,
        output_tokens_worst=kept.output_tokens.worst,
        price=PriceRange(price.low, price.expected, price.high, price.worst),
        latency=LatencyRange(latency.p50, latency.p90),
        expires=created,
        price_table=record.price_table,
        counted_tokens=tokens if kept.counted_tokens is None else kept.counted_tokens,
        reasoning_tokens_p50=kept.reasoning_tokens.p50,
        reasoning_tokens_p90=kept.reasoning_tokens.p90,
        first_token=None if first is None else LatencyRange(first.p50, first.p90),
    )
