"""Settled usage compared with its quotes: what the corrections learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from router.core.corrections import Observation
from router.core.latency import TimedCall
from router.core.quotes import mean_output, with_reasoning
from router.core.types import Lengths
from router.decision_log.reader import LoggedDecision, decisions_of, logged
from router.decision_log.record import LoggedCandidate
from router.ledger.base import HoldState, Ledger

__all__ = ["newest_settled", "observation_of", "timed_call_of"]


def observation_of(row: LoggedDecision, allowances: Mapping[str, Lengths]) -> Observation | None:
    """The usage of a settled decision beside its quote; ``None`` if they cannot be compared.

    They cannot if the call failed, if the model that was called had not been quoted, or if the version of
    the record lacks what is needed.

    Args:
        row: a settled decision.
        allowances: current allowances for hidden reasoning, tokens by model. Those at the time of the
            decision would be wrong: a change of an allowance would be corrected a second time.
    """
    usage, told = row.record.usage, _foretold(row, allowances)
    if usage is None or not usage.answered or not usage.input_tokens or usage.output_tokens is None:
        return None
    if told is None or told.candidate.counted_tokens is None:
        return None
    candidate, quoted = told.candidate, told.candidate.output_tokens
    return Observation(
        model=candidate.model,
        scope=row.labels,
        counted=told.candidate.counted_tokens,
        exact=candidate.exact,
        input_tokens=usage.input_tokens,
        p50=told.p50,
        p90=told.p90,
        mean=told.mean,
        quoted_p50=quoted.p50,
        quoted_p90=quoted.p90,
        cap=quoted.worst,
        output_tokens=usage.output_tokens,
    )


def timed_call_of(row: LoggedDecision, allowances: Mapping[str, Lengths]) -> TimedCall | None:
    """What a settled decision says of the speed of its model; ``None`` if nothing.

    It says nothing if no latency was reported, if the model that was called had not been quoted, or if the
    version of the record lacks what is needed. A failed call says how long it took at least.

    Args:
        row: as for :func:`observation_of`.
        allowances: likewise.
    """
    usage, told = row.record.usage, _foretold(row, allowances)
    if usage is None or usage.latency_s is None or usage.latency_s < 0 or told is None:
        return None
    quoted = told.candidate.latency_s
    return TimedCall(
        moment=row.created,
        model=told.candidate.model,
        scope=row.labels,
        latency_s=usage.latency_s,
        first_token_s=usage.first_token_s,
        output_tokens=usage.output_tokens,
        answered=usage.answered,
        p50=told.p50,
        p90=told.p90,
        cap=told.candidate.output_tokens.worst,
        quoted_p50_s=None if quoted is None else quoted.p50,
        quoted_p90_s=None if quoted is None else quoted.p90,
        in_flight=row.record.in_flight if told.candidate is row.record.chosen else 0,
    )


class _Foretold(NamedTuple):
    """The quote of the model that was called, and the predicted length of its whole output in tokens, ≥ 1."""

    candidate: LoggedCandidate
    p50: float
    p90: float
    mean: float


def _foretold(row: LoggedDecision, allowances: Mapping[str, Lengths]) -> _Foretold | None:
    record, usage = row.record, row.record.usage
    candidate = None if usage is None else record.candidate(usage.model)
    lengths = None if candidate is None else record.lengths.get(candidate.arm or "")
    if candidate is None or lengths is None:
        return None
    visible = Lengths(lengths.p50, lengths.p90, lengths.p99)
    allowance = allowances.get(candidate.model)
    whole = with_reasoning(visible, allowance)
    return _Foretold(
        candidate,
        max(whole.p50, 1.0),
        max(whole.p90, 1.0),
        max(mean_output(visible, allowance), 1.0),
    )


def newest_settled(ledger: Ledger, count: int) -> Iterator[LoggedDecision]:
    """The latest settled decisions whose records can be read, newest first.

    Args:
        ledger: the store.
        count: how many settled decisions to read, at most.

    Raises:
        Unavailable: the store cannot be read.
    """
    settled = decisions_of(ledger, state=HoldState.SETTLED, newest_first=True)
    for row in map(logged, islice(settled, count)):
        if isinstance(row, LoggedDecision):
            yield row
