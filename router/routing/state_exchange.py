"""What the processes of a service share beside money, exchanged through the store between calls.

A part, such as the health of models, keeps its state in memory, where calls use it. It says what others do
not know yet as rows (:mod:`ledger.shared_state`), and takes over theirs. Where the store cannot be reached,
each process goes on with what it knows, and tells the rest when the store is back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import Protocol

from router.core.errors import MitsumoriError
from router.ledger.base import Ledger
from router.ledger.shared_state import MAX_PUBLISHED, SharedRow
from router.ledger.time_budget import time_limit

__all__ = ["SharedPart", "StateExchange"]

_TIMEOUT_S = 5.0


class SharedPart(Protocol):
    """A part of a process whose state is shared. Every method may be called while calls use the part.

    Its merge must not depend on the order in which rows come, nor on how often: of two rows with the same key
    the one with the greater ``age`` holds, in the store as well.
    """

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of its rows."""
        ...

    def unpublished(self) -> list[SharedRow]:
        """What others cannot know yet; asked once in each exchange."""
        ...

    def published(self, rows: Sequence[SharedRow]) -> None:
        """These rows, as they were asked for, are in the store, or newer ones are."""
        ...

    def take_over(self, rows: Sequence[SharedRow]) -> None:
        """Rows of its kinds that were written to the store, also by this process."""
        ...


class StateExchange:
    """Exchanges the state of parts with other processes. For one thread.

    Args:
        ledger: through which they exchange it.
        parts: what is shared.
        timeout_s: seconds that one exchange waits for the store at most, > 0.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        parts: Sequence[SharedPart],
        *,
        timeout_s: float = _TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._parts = ledger, tuple(parts)
        self._timeout_s, self._clock = timeout_s, clock
        self._kinds = tuple(chain.from_iterable(each.kinds for each in self._parts))
        self._since = 0
        self._works = False
        self._exchanged_at = clock()

    @property
    def age_s(self) -> float:
        """Seconds since the last exchange that worked, or since the start. May be asked by any thread."""
        return self._clock() - self._exchanged_at

    def exchange(self) -> None:
        """Take over what others have told, then tell them what they cannot know.

        Raises:
            Unavailable: the store does not answer in time; what was taken over stays so.
        """
        self._works = False
        with time_limit(self._timeout_s):
            self._take_over()
            self._publish()
        self._works = True
        self._exchanged_at = self._clock()

    def finish(self) -> None:
        """Tell the last news before this process ends; nothing where the store did not work of late."""
        if not self._works:
            return
        with suppress(MitsumoriError), time_limit(self._timeout_s):
            self._publish()

    def _publish(self) -> None:
        for part in self._parts:
            rows = part.unpublished()
            for begin in range(0, len(rows), MAX_PUBLISHED):
                some = rows[begin : begin + MAX_PUBLISHED]
                self._ledger.publish(some)
                part.published(some)

    def _take_over(self) -> None:
        while True:
            found = self._ledger.published(self._kinds, self._since)
            for part in self._parts:
                rows = [row for row in found.rows if row.kind in part.kinds]
                if rows:
                    part.take_over(rows)
            self._since = found.until
            if not found.rows:
                return
