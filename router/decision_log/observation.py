"""Settled usage compared with its quotes: what the corrections learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from router.core.corrections import Observation
from router.core.quotes import mean_output, with_reasoning
from router.core.types import Lengths
from router.decision_log.reader import LoggedDecision, decisions_of, logged
from router.ledger.base import HoldState, Ledger

__all__ = ["observation_of", "observations"]


def observation_of(row: LoggedDecision, allowances: Mapping[str, Lengths]) -> Observation | None:
    """The usage of a settled decision beside its quote; ``None`` if they cannot be compared.

    They cannot if the call failed, if the model that was called had not been quoted, or if the version of
    the record lacks what is needed.

    Args:
        row: a settled decision.
        allowances: current allowances for hidden reasoning, tokens by model. Those at the time of the
            decision would be wrong: a change of an allowance would be corrected a second time.
    """
    record, usage = row.record, row.record.usage
    if usage is None or not usage.answered or not usage.input_tokens or usage.output_tokens is None:
        return None
    candidate = record.candidate(usage.model)
    if candidate is None or candidate.counted_tokens is None:
        return None
    lengths = record.lengths.get(candidate.arm or "")
    if lengths is None:
        return None
    visible = Lengths(lengths.p50, lengths.p90, lengths.p99)
    allowance = allowances.get(candidate.model)
    predicted, quoted = with_reasoning(visible, allowance), candidate.output_tokens
    return Observation(
        model=candidate.model,
        scope=row.labels,
        counted=candidate.counted_tokens,
        exact=candidate.exact,
        input_tokens=usage.input_tokens,
        p50=max(predicted.p50, 1.0),
        p90=max(predicted.p90, 1.0),
        mean=max(mean_output(visible, allowance), 1.0),
        quoted_p50=quoted.p50,
        quoted_p90=quoted.p90,
        cap=quoted.worst,
        output_tokens=usage.output_tokens,
    )


def observations(
    ledger: Ledger, count: int, allowances: Mapping[str, Lengths]
) -> Iterator[Observation]:
    """The usage of the latest settled decisions beside their quotes, newest first.

    Args:
        ledger: the store.
        count: how many settled decisions to read, at most.
        allowances: as for :func:`observation_of`.

    Raises:
        Unavailable: the store cannot be read.
    """
    settled = decisions_of(ledger, state=HoldState.SETTLED, newest_first=True)
    for row in map(logged, islice(settled, count)):
        if isinstance(row, LoggedDecision):
            found = observation_of(row, allowances)
            if found is not None:
                yield found
