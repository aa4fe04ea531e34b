"""What a replica knows of the store it shares: the time and the limits, of its reads and of its commits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from router.ledger import rules
from router.ledger.postgres.write_group import Limits

__all__ = ["StoreState"]


class StoreState:
    """The latest time and limits that were read. Thread-safe.

    Args:
        clock: for tests: gives the time instead of the database; ``None``: the database gives it.

    Attributes:
        time: of the store, UTC; never goes backwards, see :func:`rules.later`.
        limits: replaced as a whole, so that any thread may read them.
    """

    def __init__(self, clock: Callable[[], datetime] | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.time = datetime(1970, 1, 1, tzinfo=UTC)
        self.limits = Limits()

    def test_time(self) -> datetime | None:
        """What the clock of a test says now; ``None`` without one."""
        return None if self._clock is None else self._clock()

    def advance(self, moment: datetime) -> datetime:
        """Take note of a time that the store gave, and return its time."""
        with self._lock:
            self.time = rules.later(self.time, moment)
            return self.time

    def update(self, limits: Limits) -> None:
        """Take over limits, unless newer ones are known."""
        with self._lock:
            if limits.version > self.limits.version:
                self.limits = limits
