"""Simulated time: a clock that stands still while work is done, and what happens at which moment.

Nothing sleeps. So results depend neither on the speed of the machine nor on what else it does.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

__all__ = ["START", "Agenda", "Process"]

START: Final = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
"""A Monday at noon; prices are those of that day."""

Process = Generator[float, None, None]
"""Something that goes on in simulated time: it yields how many seconds it waits."""


@dataclass
class Agenda:
    """Runs processes one after the other, each at its moment.

    Attributes:
        now_s: simulated seconds since :data:`START`.
    """

    now_s: float = 0.0
    _due: list[tuple[float, int, Process]] = field(default_factory=list)
    _order: count[int] = field(default_factory=count)

    def now(self) -> datetime:
        """The simulated time; the clock of servers and stores."""
        return START + timedelta(seconds=self.now_s)

    def begin(self, at_s: float, process: Process) -> None:
        """Have a process begin.

        Args:
            at_s: when, not before now.
            process: that begins then.
        """
        heapq.heappush(self._due, (at_s, next(self._order), process))

    def step(self) -> bool:
        """Go to the next moment at which something happens; false: nothing does any more."""
        if not self._due:
            return False
        self.now_s, _, process = heapq.heappop(self._due)
        wait_s = next(process, None)
        if wait_s is not None:
            self.begin(self.now_s + max(wait_s, 0.0), process)
        return True
