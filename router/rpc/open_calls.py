"""Calls that wait for their caller: for its message, or for it to read an answer.

Such a call keeps a thread, and no slot for work. Their number and their time are bounded: where the table is
full, the call that has waited longest is cut off. An honest caller's message follows within milliseconds, so
that no call is cut off that has only just come: until one has waited a moment, a call that finds the table
full waits for a place. Where as many wait for one as the table has places, nobody is spared: that is a flood.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from router.core.addresses import peer_of

__all__ = ["OpenCall", "OpenCalls"]

_SPARED_S = 0.1
"""A call that has waited no longer is not cut off to make room: its message may be here, and not read yet."""


class _Context(Protocol):
    def cancel(self) -> None: ...

    def peer(self) -> str: ...


class OpenCall:
    """One call of a table."""

    __slots__ = ("_table", "context", "machine", "since")

    def __init__(self, table: OpenCalls, context: _Context) -> None:
        self._table, self.context = table, context
        self.since = 0.0
        self.machine = ""

    def waits(self) -> None:
        """It waits for its caller from now on."""
        self._table.move(self, waits=True)

    def works(self) -> None:
        """It does not wait for its caller any more."""
        self._table.move(self, waits=False)


class OpenCalls:
    """A bounded table of calls, each of which waits for its caller or does not. Thread-safe.

    Args:
        most: calls in the table, ≥ 1.
        longest_s: a call may wait for its caller, seconds > 0.
        spared_s: a call that has waited no longer is not cut off to make room, seconds ≥ 0.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        most: int,
        longest_s: float,
        *,
        spared_s: float = _SPARED_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._longest_s, self._clock = most, longest_s, clock
        self._spared_s = min(spared_s, longest_s)
        self._waiting: dict[OpenCall, None] = {}  # in the order in which they began to wait
        self._working: set[OpenCall] = set()
        self._lock = threading.Lock()
        self._has_room = threading.Condition(self._lock)
        self.cut = 0
        """Calls that were cut off so far."""
        self.outside = 0
        """Calls that wait for a place now."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    @contextmanager
    def entered(self, context: _Context) -> Iterator[OpenCall | None]:
        """Within the block, a call is in the table; at first it waits for its caller.

        Yields:
            The call; ``None``: the table is full of calls that do not wait for their callers.
        """
        call = OpenCall(self, context)
        with self._lock:
            surplus = self._made_room()
            is_in = len(self) < self._most
            if is_in:
                call.since = self._clock()
                self._waiting[call] = None
        if surplus is not None:
            surplus.context.cancel()
        try:
            yield call if is_in else None
        finally:
            if is_in:
                with self._lock:
                    self._waiting.pop(call, None)
                    self._working.discard(call)
                    self._has_room.notify()

    def _made_room(self) -> OpenCall | None:
        """Wait for room, or until a call has waited long enough to be taken out for it: that call."""
        while len(self) >= self._most and self._waiting:
            surplus = self._surplus()
            spared_s = surplus.since + self._spared_s - self._clock()
            if spared_s <= 0 or self.outside >= self._most:
                del self._waiting[surplus]
                self.cut += 1
                return surplus
            self.outside += 1
            self._has_room.wait(spared_s)
            self.outside -= 1
        return None

    def move(self, call: OpenCall, *, waits: bool) -> None:
        """Note whether a call waits for its caller. A call that was cut off stays out of the table."""
        with self._lock:
            if waits and call in self._working:
                self._working.remove(call)
                call.since = self._clock()
                self._waiting[call] = None
            elif not waits and call in self._waiting:
                del self._waiting[call]
                self._working.add(call)

    def cut_overdue(self) -> None:
        """Cut off the calls that have waited too long."""
        with self._lock:
            latest = self._clock() - self._longest_s
            overdue = [call for call in self._waiting if call.since <= latest]
            for call in overdue:
                del self._waiting[call]
            self.cut += len(overdue)
            self._has_room.notify_all()
        for call in overdue:
            call.context.cancel()

    def _surplus(self) -> OpenCall:
        """The call that has waited longest of the machine with the most waiting calls."""
        for call in self._waiting:
            call.machine = call.machine or peer_of(call.context.peer())
        [(machine, _)] = Counter(call.machine for call in self._waiting).most_common(1)
        return next(call for call in self._waiting if call.machine == machine)
