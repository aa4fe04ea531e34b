"""The circuit breaker of one model: a pure state machine over what callers report of its calls.

Closed, the model is called as usual. It opens after too many failures, and then the model is left out.
Once its wait is over it is half open: one call at a time, the probe, tries the model. An answer closes it;
a failure opens it again, for twice as long.

A breaker may be fed by one caller, whose every report counts, or by many that need not trust each other. Of
these each has one vote: its newest report within the window. So no one of them can open it.

All times are seconds since the epoch, and come in with the events.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

__all__ = [
    "NEVER",
    "Breaker",
    "BreakerState",
    "Call",
    "HealthPolicy",
    "Outcome",
    "Probe",
    "Report",
    "after",
    "with_probe",
    "without_probe",
]

NEVER = float("-inf")
"""The time of what has not happened."""

_MOST_RECENT = 100
"""Calls, the newest, from which an error rate is computed."""
_FEWEST_VOTERS = 2
"""Of those that failed, where many share a breaker, whatever the policy says."""
_MOST_DOUBLINGS = 32
"""Beyond these a wait is above any maximum."""


class Outcome(enum.Enum):
    """How a call to a model ended."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTENT_FILTERED = "content_filtered"

    @property
    def failed(self) -> bool:
        """Whether the provider failed the caller: another request would have failed, too."""
        return self in _FAILED

    @property
    def answered(self) -> bool:
        """Whether the model worked, even if it did not want to answer this prompt."""
        return self in _ANSWERED


_FAILED = frozenset(
    {Outcome.ERROR, Outcome.TIMEOUT, Outcome.RATE_LIMITED, Outcome.OVERLOADED, Outcome.SERVER_ERROR}
)
_ANSWERED = frozenset(
    {Outcome.SUCCESS, Outcome.TRUNCATED, Outcome.REFUSED, Outcome.CONTENT_FILTERED}
)
# A context overflow is neither: the request was wrong, and the model was never asked.
_THROTTLED = frozenset({Outcome.RATE_LIMITED, Outcome.OVERLOADED})


@dataclass(frozen=True)
class HealthPolicy:
    """When a model is left out, and for how long.

    Attributes:
        consecutive_failures: a model is left out at this many failures in a row, ≥ 1.
        error_rate: or at a failure that makes this share of its calls within the window failures, 0..1.
        error_rate_calls: if there are at least so many calls in the window, 1..100.
        window_s: length of the window, seconds > 0. Of the calls in it, the newest 100 count.
        wait_s: how long a model is left out before a call tries it again, seconds > 0. Doubles with each try
            that fails.
        max_wait_s: where the doubling ends, seconds ≥ ``wait_s``.
        probe_timeout_s: a try that is not reported within this time is taken for lost, and another call may
            try, seconds > 0.
        max_ejected_share: of the models of a tier that could be chosen for a request, at most this share is
            left out for its health, 0..1; at least one. 0: health is only watched.
    """

    consecutive_failures: int = 5
    error_rate: float = 0.5
    error_rate_calls: int = 20
    window_s: float = 60.0
    wait_s: float = 30.0
    max_wait_s: float = 600.0
    probe_timeout_s: float = 120.0
    max_ejected_share: float = 0.7


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported of one call.

    Attributes:
        outcome: how it ended.
        at: when it was reported.
        decided_at: when the decision was made that led to it, ≤ ``at``.
        decision_id: of that decision.
        retry_after_s: how long the provider asked to wait, seconds ≥ 0; 0: it did not say.
        voter: who reports, of many that share the breaker; empty: it has one caller.
    """

    outcome: Outcome
    at: float
    decided_at: float
    decision_id: str
    retry_after_s: float = 0.0
    voter: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A call that tries a model.

    Attributes:
        decision_id: of the call.
        until: another call may try from then on.
        voter: who calls, where many share the breaker; empty: it has one caller.
        again: a call of the same voter may try from then on; not used without one.
    """

    decision_id: str
    until: float
    voter: str = ""
    again: float = NEVER

    def blocks(self, now: float, voter: str) -> bool:
        """Whether no call of a voter may try yet."""
        return now < (self.again if voter and voter == self.voter else self.until)


class Call(NamedTuple):
    """A call to a model that was reported.

    Attributes:
        at: when.
        failed: whether it failed.
        voter: of the report.
    """

    at: float
    failed: bool
    voter: str = ""


class BreakerState(enum.Enum):
    """Whether a model may be called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of the health of one model. The default knows nothing.

    Attributes:
        failures: in a row, up to now, ≥ 0; of a breaker of many, voters.
        recent: the newest calls, oldest first; of a voter only the newest.
        answered_at: when an answer was reported last.
        recovered_at: when it closed last.
        opened_at: when it opened last, a try that failed included; ``None``: it is closed.
        since: when it opened first since it was closed.
        retry_at: from when on a call may try it again.
        ejections: how often it opened since it was closed.
        cause: why it opened, as a phrase; empty: it never did.
        probe: the call that tries it, or has tried it and was lost; ``None``: none.
        tried_by: the voter whose try failed last; empty: none did since it opened.
    """

    failures: int = 0
    recent: tuple[Call, ...] = ()
    answered_at: float = NEVER
    recovered_at: float = NEVER
    opened_at: float | None = None
    since: float = NEVER
    retry_at: float = NEVER
    ejections: int = 0
    cause: str = ""
    probe: Probe | None = None
    tried_by: str = ""

    def state(self, now: float) -> BreakerState:
        """Open until ``retry_at``, half open from then on."""
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.retry_at else BreakerState.HALF_OPEN

    def takes_probe(self, now: float, voter: str = "") -> bool:
        """Whether a call may try the model: it is half open, and no other call does so.

        A voter whose try failed, was lost or given up waits twice as long, so that another tries it first.

        Args:
            now: the current time.
            voter: who calls, as in :class:`Report`.
        """
        if self.state(now) is not BreakerState.HALF_OPEN:
            return False
        if voter and voter == self.tried_by and now < self.retry_at_of(voter):
            return False
        return self.probe is None or not self.probe.blocks(now, voter)

    def waits_for_others(self, voter: str) -> bool:
        """Whether a voter has tried it, so that others may try before it does again."""
        return voter == self.tried_by or (self.probe is not None and voter == self.probe.voter)

    def retry_at_of(self, voter: str) -> float:
        """From when on a call of a voter may try it again."""
        if self.opened_at is None or not voter or voter != self.tried_by:
            return self.retry_at
        return self.retry_at + (self.retry_at - self.opened_at)


def after(breaker: Breaker, report: Report, policy: HealthPolicy) -> Breaker:
    """The breaker after a report.

    Args:
        breaker: as it was.
        report: of a call.
        policy: says when it opens, and for how long.
    """
    if breaker.opened_at is None:
        return _closed_after(breaker, report, policy)
    return _open_after(breaker, breaker.opened_at, report, policy)


def with_probe(
    breaker: Breaker, decision_id: str, now: float, policy: HealthPolicy, voter: str = ""
) -> Breaker:
    """The breaker while a call tries the model.

    Args:
        breaker: one that takes a probe.
        decision_id: of the call.
        now: the current time.
        policy: says when the call is taken for lost.
        voter: who calls, as in :class:`Report`.
    """
    until = now + policy.probe_timeout_s
    if not voter:
        return replace(breaker, probe=Probe(decision_id, until))
    again = until + policy.probe_timeout_s
    return replace(breaker, probe=Probe(decision_id, until, voter, again))


def without_probe(breaker: Breaker, decision_id: str) -> Breaker:
    """The breaker once the call of a decision does not try the model any more; unchanged where it did not."""
    probe = breaker.probe
    if probe is None or probe.decision_id != decision_id:
        return breaker
    if not probe.voter:
        return replace(breaker, probe=None)
    return replace(breaker, probe=replace(probe, until=0.0))


def _closed_after(breaker: Breaker, report: Report, policy: HealthPolicy) -> Breaker:
    failed = report.outcome.failed
    if failed and report.decided_at < breaker.recovered_at:
        return breaker  # of the time before: it has been found to work since
    if not failed and not report.outcome.answered:
        return breaker
    begin, voter = report.at - policy.window_s, report.voter
    kept = (each for each in breaker.recent if each.at > begin)
    if voter:
        kept = (each for each in kept if each.voter != voter)
    recent = (*kept, Call(report.at, failed, voter))[-_MOST_RECENT:]
    if not failed:
        return replace(breaker, failures=0, recent=recent, answered_at=report.at)
    failures = breaker.failures + 1
    if voter:  # those that failed since the last vote that did not
        failures = sum(1 for _ in takewhile(lambda each: each.failed, reversed(recent)))
    counted = replace(breaker, failures=failures, recent=recent)
    cause = _cause(counted, report, policy)
    return counted if cause is None else _opened(counted, report, policy, cause)


def _cause(breaker: Breaker, report: Report, policy: HealthPolicy) -> str | None:
    """Why a breaker opens at its newest failure; ``None``: it does not."""
    last = report.outcome.value.replace("_", " ")
    if report.outcome in _THROTTLED and report.retry_after_s > 0 and not report.voter:
        return f"{last}, wait asked for by the provider"
    calls, failures = len(breaker.recent), sum(each.failed for each in breaker.recent)
    if report.voter and failures < _FEWEST_VOTERS:
        return None
    if breaker.failures >= policy.consecutive_failures:
        return _in_a_row(breaker.failures, report)
    if calls >= policy.error_rate_calls and failures / calls >= policy.error_rate:
        return f"{failures} of {calls} calls failed, the last: {last}"
    return None


def _in_a_row(failures: int, report: Report) -> str:
    last = report.outcome.value.replace("_", " ")
    return f"{failures} failures in a row, the last: {last}"


def _opened(breaker: Breaker, report: Report, policy: HealthPolicy, cause: str) -> Breaker:
    # How long a provider asked to wait is the word of one caller.
    believed = report.outcome in _THROTTLED and not report.voter
    asked = report.retry_after_s if believed else 0.0
    wait = asked or policy.wait_s * 2 ** min(breaker.ejections, _MOST_DOUBLINGS)
    return replace(
        breaker,
        recent=(),
        opened_at=report.at,
        since=report.at if breaker.opened_at is None else breaker.since,
        retry_at=report.at + min(wait, policy.max_wait_s),
        ejections=breaker.ejections + 1,
        cause=cause,
        probe=None,
        tried_by="" if breaker.opened_at is None else report.voter,
    )


def _open_after(
    breaker: Breaker, opened_at: float, report: Report, policy: HealthPolicy
) -> Breaker:
    # Of many, only the one whose call tries the model is asked: others could say what they like.
    probes = breaker.probe is not None and breaker.probe.decision_id == report.decision_id
    others = not probes and not report.voter
    if report.outcome.answered and (probes or (others and report.decided_at >= opened_at)):
        return Breaker(answered_at=report.at, recovered_at=report.at)
    if report.outcome.failed and (probes or (others and report.decided_at >= breaker.retry_at)):
        failed = replace(breaker, failures=breaker.failures + 1)
        return _opened(failed, report, policy, _in_a_row(failed.failures, report))
    # It says nothing of the model as it is now. Where it was the probe, another call may try.
    return without_probe(breaker, report.decision_id)
