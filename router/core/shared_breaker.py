"""What processes tell each other of a breaker, and how what they are told is merged. Pure.

A breaker is told as its newest change: it opened, a call tries it, the try was given up, it closed. Of two
changes the later one holds, and of two at the same moment the greater text: that is all of the merge, so
neither order nor repetition matters. Calls that were counted towards a change are not told.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any, NamedTuple

from router.core.breaker import Breaker, HealthPolicy, Probe

__all__ = ["FIRST", "BreakerChange", "change_after", "merged", "taken_over", "text_of"]

_MAX_CAUSE = 500
_MAX_COUNT = 1_000_000_000
_MICROS = 1_000_000


class BreakerChange(NamedTuple):
    """A change of a breaker. Later ones are greater.

    Attributes:
        at: microseconds since 1970.
        text: what the breaker was after it, see :func:`text_of`.
    """

    at: int
    text: str


FIRST = BreakerChange(-1, "")
"""Before every change."""


def merged(one: BreakerChange, other: BreakerChange) -> BreakerChange:
    """What holds of two changes of the same breaker: commutative, associative and idempotent."""
    return max(one, other)


def change_after(before: BreakerChange, breaker: Breaker, now: float) -> BreakerChange:
    """A change that is later than one before it, whatever the clock says.

    Args:
        before: the newest that is known.
        breaker: as it is now.
        now: seconds since the epoch.
    """
    return BreakerChange(max(int(now * _MICROS), before.at + 1), text_of(breaker))


def text_of(breaker: Breaker) -> str:
    """What is told of a breaker, as canonical JSON: equal texts mean that there is nothing new to tell."""
    told: dict[str, Any] = {}
    if breaker.opened_at is not None:
        told = {
            "opened_at": breaker.opened_at,
            "since": breaker.since,
            "retry_at": breaker.retry_at,
            "ejections": min(breaker.ejections, _MAX_COUNT),
            "failures": min(breaker.failures, _MAX_COUNT),
            "cause": breaker.cause,
        }
        if (probe := breaker.probe) is not None:
            told["probe"] = [probe.decision_id, probe.until]
            if probe.voter:
                told["probe"] += [probe.voter, probe.again]
        if breaker.tried_by:
            told["tried_by"] = breaker.tried_by
    elif math.isfinite(breaker.recovered_at):
        told = {"recovered_at": breaker.recovered_at}
    return json.dumps(told, sort_keys=True, separators=(",", ":"))


def taken_over(own: Breaker, text: str, now: float, policy: HealthPolicy) -> Breaker | None:
    """A breaker after another process told of a newer change of it; ``None``: the text is none of ours.

    Times of a clock that runs ahead are cut, so that no model is left out for longer than the policy allows.

    Args:
        own: as it is here.
        text: what is told.
        now: seconds since the epoch.
        policy: says how long a model is left out at most, and how long a call may try it.
    """
    try:
        told = json.loads(text)
        if "opened_at" not in told:
            recovered = min(_number(told.get("recovered_at", own.recovered_at)), now)
            return _closed(own, recovered)
        opened = min(_number(told["opened_at"]), now)
        return Breaker(
            failures=_count(told["failures"]),
            answered_at=own.answered_at,
            recovered_at=own.recovered_at,
            opened_at=opened,
            since=min(_number(told["since"]), opened),
            retry_at=min(_number(told["retry_at"]), now + policy.max_wait_s),
            ejections=_count(told["ejections"]),
            cause=str(told["cause"])[:_MAX_CAUSE],
            probe=_probe(told.get("probe"), now, policy.probe_timeout_s),
            tried_by=str(told.get("tried_by", "")),
        )
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None


def _closed(own: Breaker, recovered: float) -> Breaker:
    recovered = max(recovered, own.recovered_at)
    answered = max(recovered, own.answered_at)
    if own.opened_at is not None:
        return Breaker(answered_at=answered, recovered_at=recovered)
    return Breaker(own.failures, own.recent, answered, recovered)


def _probe(told: Any, now: float, timeout_s: float) -> Probe | None:
    if told is None:
        return None
    decision_id, until, *more = told
    probe = Probe(str(decision_id), min(_number(until), now + timeout_s))
    if not more:
        return probe
    voter, again = more
    return replace(probe, voter=str(voter), again=min(_number(again), now + 2 * timeout_s))


def _number(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if math.isnan(number):
        raise ValueError
    return number


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value <= _MAX_COUNT:
        raise ValueError
    return value
