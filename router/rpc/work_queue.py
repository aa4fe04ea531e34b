"""Admission: how much work may wait, for how long, and whose turn is next.

Few calls are worked on at once. The others wait in the order of their priority, and only as many as can have
their turn soon: what counts is the time that the work ahead is expected to take, not the number of calls. Any
more is refused at once, which costs almost nothing and tells the caller when to come back.

A call that waits for the store lends its slot to the next one, so that the store can commit several together.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from router.core.errors import CallerGone, Throttled

__all__ = ["Caller", "Priority", "ServiceTimes", "WorkQueue", "overloaded", "retry_after_s"]

_NS = 1_000_000_000
_FIRST_S = 0.005
_TIMES_WEIGHT = 0.1
_MOST_TIMES = 10.0
"""One slow call counts as at most so many times the average: a pause is no sign of a slow server."""
_PRESSURE_WEIGHT = 0.01
_MOST_RETRY_S = 5.0
_GONE = "the caller has gone before its turn; nothing was done for it"
_OVERLOADED_FROM = 0.05
"""The share of refused calls from which hardly a slot is lent: who refuses needs the processor too."""


class Priority(IntEnum):
    """Whose turn comes first."""

    FREEING = 0
    """Settlements and releases: they give money back."""
    INTERACTIVE = 1
    """Somebody waits for the answer."""
    BATCH = 2
    """Work that can wait."""


class Caller(Protocol):
    """What is asked of a caller: the context of its call."""

    def is_active(self) -> bool:
        """Whether it still waits for the answer."""

    def time_remaining(self) -> float | None:
        """Seconds until its deadline; ``None``: it has none."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have a function called when the call ends; false where it has ended already."""


class ServiceTimes:
    """How long calls of each kind take: moving averages, in which the newest call weighs a tenth.

    Args:
        first_s: what a kind is taken to need before any was measured, seconds > 0.
    """

    def __init__(self, first_s: float = _FIRST_S) -> None:
        self._first_s = first_s
        self._seconds: dict[str, float] = {}

    def of(self, kind: str) -> float:
        """Seconds that a call of this kind is expected to take, > 0."""
        return self._seconds.get(kind, self._first_s)

    def add(self, kind: str, seconds: float) -> None:
        """Learn from one call that took so long."""
        before = self.of(kind)
        learnt = min(seconds, _MOST_TIMES * before)
        self._seconds[kind] = before + _TIMES_WEIGHT * (learnt - before)


def retry_after_s(wait_limit_s: float, refused_share: float) -> float:
    """When those who are refused now have a chance: after the time that their work would take.

    Args:
        wait_limit_s: the longest time that admitted work waits, seconds > 0.
        refused_share: of the latest calls, 0..1.

    Returns:
        Seconds: ``wait_limit_s`` where hardly anything is refused, ten times that where 90 % are; at most 5.
    """
    return min(wait_limit_s / max(1.0 - refused_share, 1e-3), _MOST_RETRY_S)


def overloaded(retry_after_s: float) -> Throttled:
    """The error of a call that would have to wait too long.

    Args:
        retry_after_s: when to try again, seconds > 0.
    """
    return Throttled(
        "the server has more calls than it can answer in time; try again later",
        retry_after_s=retry_after_s,
        reason="OVERLOADED",
    )


class _Entry:
    """A call in the queue. Its lock is held until it has its turn, or has left."""

    __slots__ = ("cost_ns", "gone", "priority", "turn")

    def __init__(self, priority: Priority, cost_ns: int) -> None:
        self.priority, self.cost_ns, self.gone = priority, cost_ns, False
        self.turn = threading.Lock()
        self.turn.acquire()


class WorkQueue:
    """A few slots for work, and a bounded queue before them. Thread-safe.

    Args:
        slots: calls that are worked on at once, ≥ 1.
        wait_limit_s: a call is refused where its turn would come later than this, seconds > 0.
        most: calls that may wait at once, ≥ 0, however short they are.
        most_lent: slots that may be lent at once, ≥ 0; one while calls are refused. Where the store stands
            still, the calls beyond keep theirs, and the queue fills up behind them.
        times: that calls are expected to take; learns from each.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        slots: int,
        wait_limit_s: float,
        *,
        most: int = 256,
        most_lent: int = 32,
        times: ServiceTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots, self._free, self._most, self._clock = slots, slots, most, clock
        self._most_lent, self._lent = most_lent, 0
        self._wait_limit_s = wait_limit_s
        self._limit_ns = round(wait_limit_s * _NS) * slots
        self._queues: tuple[deque[_Entry], ...] = tuple(deque() for _ in Priority)
        self._queued_ns = [0] * len(Priority)
        self._waiting = 0
        self._times = times or ServiceTimes()
        self._lock = threading.Lock()
        self._refused_share = 0.0
        self.refused = 0
        """Calls that were refused so far."""

    @property
    def most_threads(self) -> int:
        """Calls that are worked on or wait, at most."""
        return self._slots + self._most + self._most_lent

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn now."""
        return self._waiting

    def refusal(self, priority: Priority) -> float | None:
        """Seconds after which to try again, where a call would be refused now; else ``None``.

        It takes no lock, so that whoever accepts calls can ask before anything is done for one. A call that
        is not refused here may still be by :meth:`enter`.
        """
        if self._free or not self._is_full(priority):
            return None
        return self._refuse()

    def enter(
        self, kind: str, priority: Priority, caller: Caller, *, bounded: bool = True
    ) -> float:
        """Wait for a slot, and return the moment of :meth:`leave`'s ``since``.

        Args:
            kind: of work, by which its time is learnt.
            priority: lower ones come first; of one priority, whoever came first.
            caller: for whom.
            bounded: whether a call is refused that would wait too long. Where it is not, somebody else must
                bound how many there are.

        Raises:
            Throttled: the turn of this call would come too late, or after its caller's deadline.
            CallerGone: the caller hung up, or its deadline passed, before its turn.
        """
        entry = None
        with self._lock:
            if self._free:
                self._free -= 1
            else:
                cost_ns = round(self._times.of(kind) * _NS)
                if bounded and (
                    self._is_full(priority) or self._is_too_late(priority, cost_ns, caller)
                ):
                    raise overloaded(self._refuse())
                entry = _Entry(priority, cost_ns)
                self._queues[priority].append(entry)
                self._queued_ns[priority] += cost_ns
                self._waiting += 1
            self._refused_share -= _PRESSURE_WEIGHT * self._refused_share
        if entry is not None:
            self._wait(entry, caller)
        remaining_s = caller.time_remaining()
        if not caller.is_active() or (remaining_s is not None and remaining_s <= 0):
            self._hand_on()
            raise CallerGone(_GONE)
        return self._clock()

    def leave(self, kind: str, since: float) -> None:
        """Give the slot to the next call.

        Args:
            kind: as it was entered.
            since: what :meth:`enter` returned.
        """
        self._times.add(kind, self._clock() - since)
        self._hand_on()

    def lend(self, kind: str, since: float) -> bool:
        """Lend the slot to the next call until :meth:`end_loan`, instead of :meth:`leave`.

        Args:
            kind: as it was entered.
            since: what :meth:`enter` returned.

        Returns:
            Whether it is lent; false where too many are.
        """
        with self._lock:
            refuses = self._refused_share > _OVERLOADED_FROM
            if self._lent >= (min(1, self._most_lent) if refuses else self._most_lent):
                return False
            self._lent += 1
        self.leave(kind, since)
        return True

    def end_loan(self) -> None:
        """The call has ended that lent its slot."""
        with self._lock:
            self._lent -= 1

    def _ahead_ns(self, priority: Priority) -> int:
        return sum(self._queued_ns[: priority + 1])

    def _is_full(self, priority: Priority) -> bool:
        return self._ahead_ns(priority) > self._limit_ns or self._waiting >= self._most

    def _is_too_late(self, priority: Priority, cost_ns: int, caller: Caller) -> bool:
        remaining_s = caller.time_remaining()
        if remaining_s is None:
            return False
        return self._ahead_ns(priority) / self._slots + cost_ns > remaining_s * _NS

    def _refuse(self) -> float:
        self.refused += 1
        self._refused_share += _PRESSURE_WEIGHT * (1.0 - self._refused_share)
        return retry_after_s(self._wait_limit_s, self._refused_share)

    def _wait(self, entry: _Entry, caller: Caller) -> None:
        def on_end() -> None:
            self._abandon(entry)

        if not caller.add_callback(on_end):
            on_end()
        entry.turn.acquire()
        if entry.gone:
            raise CallerGone(_GONE)

    def _abandon(self, entry: _Entry) -> None:
        """Take a call out of the queue, unless it has had its turn."""
        with self._lock:
            try:
                self._queues[entry.priority].remove(entry)
            except ValueError:
                return
            self._count_out(entry)
            entry.gone = True
        entry.turn.release()

    def _hand_on(self) -> None:
        with self._lock:
            queue = next((queue for queue in self._queues if queue), None)
            if queue is None:
                self._free += 1
                return
            entry = queue.popleft()
            self._count_out(entry)
        entry.turn.release()

    def _count_out(self, entry: _Entry) -> None:
        self._queued_ns[entry.priority] -= entry.cost_ns
        self._waiting -= 1
