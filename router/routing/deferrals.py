"""Batch work that waits: each piece has its turn, so that it does not come back all at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from router.clock import utc_now
from router.core.errors import Deferred

__all__ = ["Deferrals", "DeferredRequest"]

_MOST_REQUESTS = 10_000
_MOST_QUEUES = 10_000
"""Of single tenants."""
_GIVEN_UP_S = 3600.0
_LONGEST_QUEUE_S = 86_400.0
"""Requests without an id that are sent again and again take many turns; nobody waits for more than this."""


@dataclass(frozen=True, slots=True)
class DeferredRequest:
    """A request that was deferred and has not come back since.

    Attributes:
        decision_id: its request id with the tenant's name, as a decision has it.
        scope: labels of the request.
        reason: of the refusal, such as ``LOAD_DEFERRED``.
        queue: what it waits for, such as ``openai tokens_per_minute``.
        deferred: when it was refused last, aware.
        not_before: when its turn is, aware; ``None``: that is not known.
        times: how often it was refused, > 0.
    """

    decision_id: str
    scope: Mapping[str, str]
    reason: str
    queue: str
    deferred: datetime
    not_before: datetime | None
    times: int = 1


class Deferrals:
    """The batch work that waits in one process. Thread-safe; keeps no prompt, and 10,000 requests at most.

    Tenants that wait for the same take turns alternately: what one of them sends, however often, delays its
    own work alone.

    Args:
        now: the clock; returns an aware datetime.
    """

    def __init__(self, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._requests: OrderedDict[str, DeferredRequest] = OrderedDict()
        self._next_turn: OrderedDict[tuple[str, str], float] = OrderedDict()
        """Queue and tenant → when its next turn is."""

    def planned(self, error: Deferred, decision_id: str, scope: Mapping[str, str]) -> Deferred:
        """The refusal of a request with its turn, which is kept for it.

        Its turn is the earliest possible, but after those that wait for the same. One that comes back too
        early keeps its turn.

        Args:
            error: says what it waits for, and from when there may be room.
            decision_id: of the request.
            scope: labels of the request.
        """
        now = self._now()
        with self._lock:
            before = self._requests.pop(decision_id, None)
            times = 1 if before is None else before.times + 1
            if before is not None and before.not_before is not None and now < before.not_before:
                turn: datetime | None = before.not_before
            else:
                turn = self._turn(error, scope.get("tenant", ""), now)
            self._requests[decision_id] = DeferredRequest(
                decision_id, dict(scope), error.reason, error.queue, now, turn, times
            )
            if len(self._requests) > _MOST_REQUESTS:
                self._requests.popitem(last=False)
        return _with_turn(error, turn, now)

    def told(self, error: Deferred, tenant: str = "") -> Deferred:
        """The refusal of a quote, with the turn that a request of the tenant would have."""
        now = self._now()
        with self._lock:
            earliest = self._earliest(error, tenant, now)
        turn = None if earliest is None else datetime.fromtimestamp(earliest, UTC)
        return _with_turn(error, turn, now)

    def done(self, decision_id: str) -> None:
        """Forget a request that was decided on."""
        if self._requests:
            with self._lock:
                self._requests.pop(decision_id, None)

    def turns(self, tenant: str = "") -> dict[str, float]:
        """For each queue, seconds from now until the next turn of a tenant, > 0."""
        if not self._next_turn:
            return {}
        now = self._now().timestamp()
        with self._lock:
            return {
                queue: at - now
                for (queue, whose), at in self._next_turn.items()
                if whose == tenant and at > now
            }

    def waiting(self, labels: Mapping[str, str]) -> list[DeferredRequest]:
        """The requests with all of some labels that wait, in the order of their turns, then without one.

        One that did not come back by the hour after its turn is not listed any more.
        """
        now = self._now()
        with self._lock:
            for key, each in list(self._requests.items()):
                if (now - (each.not_before or each.deferred)).total_seconds() > _GIVEN_UP_S:
                    del self._requests[key]
            found = [
                each
                for each in self._requests.values()
                if all(each.scope.get(name) == value for name, value in labels.items())
            ]
        return sorted(found, key=_in_turn)

    def _turn(self, error: Deferred, tenant: str, now: datetime) -> datetime | None:
        at = self._earliest(error, tenant, now)
        if at is None:
            return None
        key, seconds = (error.queue, tenant), now.timestamp()
        others = sum(
            queue == error.queue and whose != tenant and next_ > seconds
            for (queue, whose), next_ in self._next_turn.items()
        )
        self._next_turn[key] = at + error.spacing_s * (1 + others)
        self._next_turn.move_to_end(key)
        if len(self._next_turn) > _MOST_QUEUES:
            self._next_turn.popitem(last=False)
        return datetime.fromtimestamp(at, UTC)

    def _earliest(self, error: Deferred, tenant: str, now: datetime) -> float | None:
        if error.retry_after_s is None:
            return None
        free = now.timestamp() + error.retry_after_s
        turn = max(free, self._next_turn.get((error.queue, tenant), free))
        return min(turn, free + _LONGEST_QUEUE_S)


def _in_turn(request: DeferredRequest) -> tuple[bool, datetime, str]:
    turn = request.not_before
    return turn is None, turn or request.deferred, request.decision_id


def _with_turn(error: Deferred, turn: datetime | None, now: datetime) -> Deferred:
    if turn is None:
        when, wait_s, facts = "later", None, error.metadata
    else:
        when = f"at or after {turn.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}"
        wait_s = (turn - now).total_seconds()
        facts = {**error.metadata, "not_before": turn.isoformat(timespec="milliseconds")}
    return Deferred(
        error.what,
        reason=error.reason,
        metadata=facts,
        retry_after_s=wait_s,
        queue=error.queue,
        spacing_s=error.spacing_s,
        when=when,
    )
