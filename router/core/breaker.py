"""The circuit breaker of one model: a pure state machine over what callers report of its calls.

Closed, the model is called as usual. It opens after too many failures, and then the model is left out.
Once its wait is over it is half open: one call at a time, the probe, tries the model. An answer closes it;
a failure opens it again, for twice as long.

All times are seconds since the epoch, and come in with the events.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

__all__ = [
    "NEVER",
    "Breaker",
    "BreakerState",
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
    """

    outcome: Outcome
    at: float
    decided_at: float
    decision_id: str
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Probe:
    """A call that tries a model.

    Attributes:
        decision_id: of the call.
        until: another call may try from then on.
    """

    decision_id: str
    until: float


class BreakerState(enum.Enum):
    """Whether a model may be called."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of the health of one model. The default knows nothing.

    Attributes:
        failures: in a row, up to now, ≥ 0.
        recent: the newest calls, oldest first: when each was reported, and whether it failed.
        answered_at: when an answer was reported last.
        recovered_at: when it closed last.
        opened_at: when it opened last, a try that failed included; ``None``: it is closed.
        since: when it opened first since it was closed.
        retry_at: from when on a call may try it again.
        ejections: how often it opened since it was closed.
        cause: why it opened, as a phrase; empty: it never did.
        probe: the call that tries it, or has tried it and was lost; ``None``: none.
    """

    failures: int = 0
    recent: tuple[tuple[float, bool], ...] = ()
    answered_at: float = NEVER
    recovered_at: float = NEVER
    opened_at: float | None = None
    since: float = NEVER
    retry_at: float = NEVER
    ejections: int = 0
    cause: str = ""
    probe: Probe | None = None

    def state(self, now: float) -> BreakerState:
        """Open until ``retry_at``, half open from then on."""
        if self.opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self.retry_at else BreakerState.HALF_OPEN

    def takes_probe(self, now: float) -> bool:
        """Whether a call may try the model: it is half open, and no other call does so."""
        return self.state(now) is BreakerState.HALF_OPEN and (
            self.probe is None or now >= self.probe.until
        )


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


def with_probe(breaker: Breaker, decision_id: str, now: float, policy: HealthPolicy) -> Breaker:
    """The breaker while a call tries the model.

    Args:
        breaker: one that takes a probe.
        decision_id: of the call.
        now: the current time.
        policy: says when the call is taken for lost.
    """
    return replace(breaker, probe=Probe(decision_id, now + policy.probe_timeout_s))


def without_probe(breaker: Breaker, decision_id: str) -> Breaker:
    """The breaker once the call of a decision does not try the model any more; unchanged where it did not."""
    if breaker.probe is None or breaker.probe.decision_id != decision_id:
        return breaker
    return replace(breaker, probe=None)


def _closed_after(breaker: Breaker, report: Report, policy: HealthPolicy) -> Breaker:
    failed = report.outcome.failed
    if failed and report.decided_at < breaker.recovered_at:
        return breaker  # of the time before: it has been found to work since
    if not failed and not report.outcome.answered:
        return breaker
    begin = report.at - policy.window_s
    recent = (*(each for each in breaker.recent if each[0] > begin), (report.at, failed))
    recent = recent[-_MOST_RECENT:]
    if not failed:
        return replace(breaker, failures=0, recent=recent, answered_at=report.at)
    counted = replace(breaker, failures=breaker.failures + 1, recent=recent)
    cause = _cause(counted, report, policy)
    return counted if cause is None else _opened(counted, report, policy, cause)


def _cause(breaker: Breaker, report: Report, policy: HealthPolicy) -> str | None:
    """Why a breaker opens at its newest failure; ``None``: it does not."""
    last = report.outcome.value.replace("_", " ")
    if report.outcome in _THROTTLED and report.retry_after_s > 0:
        return f"{last}, wait asked for by the provider"
    if breaker.failures >= policy.consecutive_failures:
        return f"{breaker.failures} failures in a row, the last: {last}"
    calls, failures = len(breaker.recent), sum(failed for _, failed in breaker.recent)
    if calls >= policy.error_rate_calls and failures / calls >= policy.error_rate:
        return f"{failures} of {calls} calls failed, the last: {last}"
    return None


def _opened(breaker: Breaker, report: Report, policy: HealthPolicy, cause: str) -> Breaker:
    asked = report.retry_after_s if report.outcome in _THROTTLED else 0.0
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
    )


def _open_after(
    breaker: Breaker, opened_at: float, report: Report, policy: HealthPolicy
) -> Breaker:
    probes = breaker.probe is not None and breaker.probe.decision_id == report.decision_id
    if report.outcome.answered and (probes or report.decided_at >= opened_at):
        return Breaker(answered_at=report.at, recovered_at=report.at)
    if report.outcome.failed and (probes or report.decided_at >= breaker.retry_at):
        failed = replace(breaker, failures=breaker.failures + 1)
        last = report.outcome.value.replace("_", " ")
        return _opened(
            failed, report, policy, f"{failed.failures} failures in a row, the last: {last}"
        )
    # It says nothing of the model as it is now. Where it was the probe, another call may try.
    return without_probe(breaker, report.decision_id)
