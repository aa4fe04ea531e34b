"""What the store tells its observer, on the way to a process that measures."""

from __future__ import annotations

import threading
from collections import deque
from typing import NamedTuple

from router.telemetry.observer import Observer

__all__ = ["KeptObservations", "Observations"]

_MAX_COMMITS = 10_000
"""Kept at once: those of a quarter of a minute of a busy store. The oldest are forgotten first."""


class Observations(NamedTuple):
    """What happened since somebody last asked.

    Attributes:
        commits: seconds and operations of each, as of :meth:`Observer.committed`.
        expired: holds that ran out.
    """

    commits: list[tuple[float, int]]
    expired: int

    def tell(self, observer: Observer) -> None:
        """Tell an observer of them."""
        for seconds, operations in self.commits:
            observer.committed(seconds, operations)
        observer.expired(self.expired)


class KeptObservations(Observer):
    """Keeps what a store tells until somebody takes it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._commits: deque[tuple[float, int]] = deque(maxlen=_MAX_COMMITS)
        self._expired = 0

    def committed(self, seconds: float, operations: int) -> None:
        """See :meth:`Observer.committed`."""
        with self._lock:
            self._commits.append((seconds, operations))

    def expired(self, holds: int) -> None:
        """See :meth:`Observer.expired`."""
        with self._lock:
            self._expired += holds

    def taken(self) -> Observations:
        """What is kept; it is kept no longer."""
        with self._lock:
            found = Observations(list(self._commits), self._expired)
            self._commits.clear()
            self._expired = 0
        return found
