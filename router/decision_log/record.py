"""What the decision log keeps of a decision, and what learning reads from it again.

The record is JSON: everything that a replay and a retraining need, so that an old decision can be made
anew without the prompt. Money in nano-dollars, counts in tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from router.core.corrections import Observation
from router.core.limits import LimitState
from router.core.quotes import mean_output, with_reasoning
from router.core.types import Candidate, Constraints, Goal, Lengths
from router.ledger.base import HoldState, Ledger, StoredDecision
from router.routing.router import Assessment, RoutedDecision, RouteQuery

__all__ = ["observation_of", "observations", "record_of"]

_PAGE = 500
_ANSWERED = frozenset({"success", "truncated"})
"""Outcomes whose lengths say something of the model; a failed call says nothing."""


def record_of(
    query: RouteQuery,
    assessed: Assessment,
    routed: RoutedDecision,
    *,
    price_table: str,
    strict: bool,
) -> dict[str, Any]:
    """The record of a decision, JSON-ready; without the prompt.

    Args:
        query: the request.
        assessed: what was known before the limits were looked at.
        routed: the decision.
        price_table: which prices, with the version of the catalog.
        strict: whether the hold is the worst case.
    """
    decision, score = routed.decision, routed.score
    return {
        "bundle": routed.bundle_version,
        "price_table": price_table,
        "strict": strict,
        "importance": query.importance.value,
        "goal": _goal(routed.goal),
        "constraints": _constraints(query.constraints),
        "conversation_id": query.conversation_id,
        "batch": query.batch,
        "complexity": score.complexity,
        "features": [round(float(value), 5) for value in assessed.features],
        "p_adequate": dict(score.p_adequate),
        "label_distribution": dict(score.label_distribution),
        "lengths": {
            arm: [round(tokens, 1) for tokens in (known.p50, known.p90, known.p99)]
            for arm, known in score.lengths.items()
        },
        # The decision is deterministic: what it chose, it chose with certainty.
        "propensity": 1.0,
        "reasons": [reason.code for reason in decision.reasons],
        "limits": [_limit(state) for state in decision.chosen.limits],
        "candidates": [_candidate(candidate) for candidate in decision.ranked],
    }


def _goal(goal: Goal) -> dict[str, Any]:
    return {"kind": type(goal).__name__, **{slot: getattr(goal, slot) for slot in goal.__slots__}}


def _constraints(given: Constraints) -> dict[str, Any]:
    """Only what constrains."""
    values = {name: getattr(given, name) for name in given.__slots__}
    return {
        name: sorted(value) if isinstance(value, frozenset) else value
        for name, value in values.items()
        if value or value == 0
    }


def _limit(state: LimitState) -> dict[str, Any]:
    """A limit that applied to the choice, with its balance before the hold."""
    return {
        "limit": state.limit.id,
        "balance": state.key,
        "unit": state.limit.unit.value,
        "soft": state.limit.soft,
        "hard": state.limit.hard,
        "spent": state.spent,
        "held": state.held,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    quote = candidate.quote
    assert quote is not None  # noqa: S101 — a ranked candidate has a quote
    return {
        "model": candidate.model.id,
        "tier": candidate.model.tier,
        "arm": candidate.arm,
        "p_adequate": candidate.p_adequate,
        "counted_tokens": quote.counted_tokens,
        "exact": quote.input_tokens.exact,
        "input_tokens": quote.input_tokens.tokens,
        "output_tokens": [
            quote.output_tokens_p50,
            quote.output_tokens_p90,
            quote.output_tokens_worst,
        ],
        "reasoning_tokens": [quote.reasoning_tokens_p50, quote.reasoning_tokens_p90],
        "price_nanos": list(quote.price),
        "latency_s": [round(seconds, 3) for seconds in quote.latency],
    }


def observation_of(
    decided: StoredDecision, allowances: Mapping[str, Lengths]
) -> Observation | None:
    """What a settled decision says of its quote; ``None`` where it says nothing.

    That is where the call failed, where the model that was called had not been quoted, or where the
    record is of a version that did not keep what is needed.

    Args:
        decided: settled.
        allowances: for hidden reasoning, by model. Those of now, not those of the decision: a factor that was
            learned before an allowance changed would be applied on top of the change.
    """
    usage, record = decided.usage, decided.record
    if usage.get("outcome") not in _ANSWERED or not usage.get("input_tokens"):
        return None
    candidate: Mapping[str, Any] | None = next(
        (each for each in record.get("candidates", ()) if each["model"] == usage.get("model")), None
    )
    if candidate is None or "counted_tokens" not in candidate:
        return None
    lengths = record.get("lengths", {}).get(candidate["arm"])
    if lengths is None:
        return None
    visible, allowance = Lengths(*lengths), allowances.get(candidate["model"])
    foretold = with_reasoning(visible, allowance)
    told_p50, told_p90, cap = candidate["output_tokens"]
    return Observation(
        model=candidate["model"],
        scope=decided.labels,
        counted=candidate["counted_tokens"],
        exact=candidate["exact"],
        input_tokens=usage["input_tokens"],
        p50=max(foretold.p50, 1.0),
        p90=max(foretold.p90, 1.0),
        mean=max(mean_output(visible, allowance), 1.0),
        told_p50=told_p50,
        told_p90=told_p90,
        cap=cap,
        output_tokens=usage["output_tokens"],
    )


def observations(
    ledger: Ledger, count: int, allowances: Mapping[str, Lengths]
) -> Iterator[Observation]:
    """What the latest settled decisions say of their quotes, newest first.

    Args:
        ledger: the store.
        count: how many settled decisions to read, at most.
        allowances: as for :func:`observation_of`.

    Raises:
        Unavailable: the store cannot be read.
    """
    settled = itertools.islice(_newest(ledger), count)
    return (found for each in settled if (found := observation_of(each, allowances)) is not None)


def _newest(ledger: Ledger) -> Iterator[StoredDecision]:
    after: str | None = None
    while True:
        page = ledger.decisions(
            state=HoldState.SETTLED, after=after, count=_PAGE, newest_first=True
        )
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id
