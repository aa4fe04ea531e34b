"""What the decision log keeps of a decision: the request, the assessment and the choice as one record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from router.core.conversation import Conversation
from router.core.limits import LimitState
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Explored,
    Goal,
    LatencyRange,
    MissCost,
    QualityTarget,
)
from router.decision_log import record
from router.decision_log.record import VERSION, DecisionRecord, KeptPrompt
from router.routing.router import Assessment, RoutedDecision, RouteQuery

__all__ = ["record_of"]


def record_of(
    query: RouteQuery,
    assessed: Assessment,
    routed: RoutedDecision,
    *,
    kept: KeptPrompt,
    price_table: str,
    strict: bool,
    redrawn: bool = False,
    canary: record.LoggedCanary | None = None,
    in_flight: int = 0,
) -> DecisionRecord:
    """The record of a decision.

    Args:
        query: the request.
        assessed: what was known before the limits were looked at.
        routed: the decision.
        kept: what is kept of the prompt.
        price_table: which prices, with the version of the catalog.
        strict: whether the hold is the worst case.
        redrawn: whether the choice was made again after a limit had filled up, with chance in the first.
        canary: of which the request is in the scope; ``None``: of none.
        in_flight: calls to the chosen model that have not ended, ≥ 0.
    """
    decision, score = routed.decision, routed.score
    bounded = query.constraints.max_first_token_s is not None
    return DecisionRecord(
        version=VERSION,
        prompt_log=kept.prompt_log,
        prompt=kept.prompt,
        prompt_judged=kept.prompt_judged,
        prompt_hash=kept.prompt_hash,
        prompt_embedding=kept.prompt_embedding,
        bundle=routed.bundle_version,
        price_table=price_table,
        strict=strict,
        importance=query.importance,
        goal=_goal(routed.goal),
        constraints=_constraints(query.constraints, decision.ranked),
        conversation_id=query.conversation_id,
        batch=query.batch,
        complexity=score.complexity,
        features=tuple(assessed.features.astype(np.float64).round(5).tolist()),
        p_adequate=dict(score.p_adequate),
        label_distribution=dict(score.label_distribution),
        lengths={
            arm: record.LengthQuantiles(round(one.p50, 1), round(one.p90, 1), round(one.p99, 1))
            for arm, one in score.lengths.items()
        },
        propensity=decision.propensity,
        reasons=tuple([reason.code for reason in decision.reasons]),
        limits=tuple([_limit(state) for state in decision.chosen.limits]),
        candidates=tuple([_candidate(each, bounded=bounded) for each in decision.ranked]),
        demands=tuple([round(value, 4) for value in score.demands]),
        settings=routed.settings_version,
        rules=routed.ruling.names,
        rules_version=routed.ruling.version,
        unhealthy=_unhealthy(decision),
        exploration=_exploration(decision.explored),
        redrawn=redrawn,
        rules_gave_way=tuple([rule.name for rule in routed.ruling.gave_way]),
        canary=canary,
        task=query.task_id,
        full=tuple(sorted(decision.full)),
        in_flight=in_flight,
        conversation=_conversation(routed.conversation),
    )


def _conversation(known: Conversation) -> record.LoggedConversation | None:
    if not known.binds:
        return None
    return record.LoggedConversation(
        known.model, known.further_turns, known.in_tool_loop, tuple(sorted(known.inadequate))
    )


def _exploration(explored: Explored | None) -> record.LoggedExploration | None:
    if explored is None:
        return None
    share, regret, draw = explored.given.share, explored.given.regret, explored.given.draw
    return record.LoggedExploration(share, regret, draw, dict(explored.chances))


def _unhealthy(decision: Decision) -> tuple[str, ...]:
    """Ids of the models that the decision left out for their health: its reasons name them."""
    told = [each.facts for each in decision.reasons if each.code == "MODELS_UNHEALTHY"]
    return tuple(sorted(model for facts in told for model in facts))


def _goal(goal: Goal) -> record.LoggedGoal:
    if isinstance(goal, MissCost):
        return record.LoggedMissCost(goal.nanos)
    if isinstance(goal, QualityTarget):
        return record.LoggedQualityTarget(goal.p_adequate, goal.regret)
    return record.LoggedWillingnessToPay(goal.nanos)


def _constraints(given: Constraints, ranked: Sequence[Candidate]) -> record.LoggedConstraints:
    models = given.models
    if models:
        # Those that stand for retired models were as good as asked for.
        models = models.union([each.model.id for each in ranked])
    return record.LoggedConstraints(
        tuple(sorted(models)),
        tuple(sorted(given.tiers)),
        tuple(sorted(given.capabilities)),
        given.max_price_nanos,
        given.max_latency_s,
        given.max_output_tokens,
        given.max_first_token_s,
        tuple(sorted(given.regions)),
    )


def _limit(state: LimitState) -> record.LimitBalance:
    """A limit with its balance; what a share allowed is the hard value that there was at that moment."""
    limit, remaining = state.limit, state.remaining
    hard = limit.hard
    if limit.share is not None and remaining is not None:
        hard = state.spent + state.held + remaining
    return record.LimitBalance(
        limit.id, state.key, limit.unit, limit.soft, hard, state.spent, state.held
    )


def _candidate(candidate: Candidate, *, bounded: bool) -> record.LoggedCandidate:
    """A candidate, with its time to the first token where the request bounds that."""
    model, quote = candidate.model, candidate.quote
    assert quote is not None  # noqa: S101 — a ranked candidate has a quote
    return record.LoggedCandidate(
        model=model.id,
        tier=model.tier,
        arm=candidate.arm,
        p_adequate=candidate.p_adequate,
        counted_tokens=quote.counted_tokens,
        exact=quote.input_tokens.exact,
        input_tokens=quote.input_tokens.tokens,
        output_tokens=record.OutputTokens(
            quote.output_tokens_p50, quote.output_tokens_p90, quote.output_tokens_worst
        ),
        reasoning_tokens=record.ReasoningTokens(
            quote.reasoning_tokens_p50, quote.reasoning_tokens_p90
        ),
        price_nanos=record.PriceNanos(*quote.price),
        latency_s=_seconds(quote.latency),
        ability=None
        if model.ability is None
        else record.LoggedAbility(model.ability.points, model.ability.uncertainty),
        first_token_s=_seconds(quote.first_token)
        if bounded and quote.first_token is not None
        else None,
        cache_nanos=record.CacheNanos(*candidate.cache) if any(candidate.cache) else None,
    )


def _seconds(latency: LatencyRange) -> record.LatencySeconds:
    return record.LatencySeconds(round(latency.p50_s, 3), round(latency.p90_s, 3))
