"""Calls that wait for their caller: for its message, or for it to read an answer.

Such a call keeps a thread, and no slot for work. Their number and their time are bounded: where the table is
full, the call that has waited longest is cut off. An honest caller's message follows within milliseconds, so
that it is never that one.
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
        clock: monotonic, seconds.
    """

    def __init__(
        self, most: int, longest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._longest_s, self._clock = most, longest_s, clock
        self._waiting: dict[OpenCall, None] = {}  # in the order in which they began to wait
        self._working: set[OpenCall] = set()
        self._lock = threading.Lock()
        self.cut = 0
        """Calls that were cut off so far."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    @contextmanager
    def entered(self, context: _Context) -> Iterator[OpenCall | None]:
        """Within the block, a call is in the table; at first it waits for its caller.

        Yields:
            The call; ``None``: the table is full of calls that do not wait for their callers.
        """
        call: OpenCall | None = OpenCall(self, context)
        surplus = None
        with self._lock:
            if len(self) >= self._most and self._waiting:
                surplus = self._surplus()
                del self._waiting[surplus]
                self.cut += 1
            if call is not None and len(self) < self._most:
                call.since = self._clock()
                self._waiting[call] = None
            else:
                call = None
        if surplus is not None:
            surplus.context.cancel()
        try:
            yield call
        finally:
            if call is not None:
                with self._lock:
                    self._waiting.pop(call, None)
                    self._working.discard(call)

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
        for call in overdue:
            call.context.cancel()

    def _surplus(self) -> OpenCall:
        """The call that has waited longest of the machine with the most waiting calls."""
        for call in self._waiting:
            call.machine = call.machine or peer_of(call.context.peer())
        [(machine, _)] = Counter(call.machine for call in self._waiting).most_common(1)
        return next(call for call in self._waiting if call.machine == machine)
