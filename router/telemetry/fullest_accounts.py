"""How full each limit is: a bounded memory of its fullest account, refreshed from the store between calls."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Mapping

from router.core.limits import LimitState

__all__ = ["FullestAccounts"]

_MAX_LIMITS = 100
"""Limits that are exported: the fullest. Their ids are values of a label, which must not grow without end."""
_MAX_KNOWN = 10_000


class FullestAccounts:
    """What is used of each limit with a hard value or a share, 0..1 or more. Thread-safe.

    A limit that counts each value of a label by itself, such as one per user, has many accounts. Of these it
    knows the fullest that calls have met, by the labels of such a call, by which it can be read again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: dict[str, tuple[float, str, Mapping[str, str]]] = {}
        self._used: dict[str, float] = {}

    def saw(self, state: LimitState, labels: Mapping[str, str]) -> None:
        """A call with these labels met a limit that has an account per value."""
        used = _used(state)
        if used is None:
            return
        limit = state.limit.id
        known = self._met.get(limit)
        if known is not None and used < known[0] and state.key != known[1]:
            return
        with self._lock:
            if known is not None or len(self._met) < _MAX_KNOWN:
                self._met[limit] = (used, state.key, labels)

    def labels(self) -> list[Mapping[str, str]]:
        """Labels by which to read the accounts that were met."""
        with self._lock:
            return [labels for _, _, labels in self._met.values()]

    def refresh(self, states: Iterable[LimitState], limits: Iterable[str]) -> None:
        """Take over what the store says now.

        Args:
            states: of all limits, by their own labels and by :meth:`labels`.
            limits: ids of the limits that there are; any other is forgotten.
        """
        used: dict[str, float] = {}
        read: dict[tuple[str, str], float] = {}
        for state in states:
            share = _used(state)
            if share is not None:
                used[state.limit.id] = max(share, used.get(state.limit.id, 0.0))
                read[state.limit.id, state.key] = share
        there = set(limits)
        with self._lock:
            self._used = used
            self._met = {
                limit: (read.get((limit, key), 0.0), key, labels)
                for limit, (_, key, labels) in self._met.items()
                if limit in there
            }

    def headroom(self) -> list[tuple[float, tuple[str, ...]]]:
        """What is left of each limit, 0..1, with its id; of the fullest hundred."""
        with self._lock:
            fullest = heapq.nlargest(_MAX_LIMITS, self._used.items(), key=lambda item: item[1])
        return [(max(1.0 - used, 0.0), (limit,)) for limit, used in fullest]


def _used(state: LimitState) -> float | None:
    """How much of what a limit allows is spent or held; ``None``: it has no bound, or a share of nothing."""
    most, limit = state.ceiling(0), state.limit
    if most is None or (
        limit.share is not None and not most and not state.whole and limit.hard != 0
    ):
        return None
    return 1.0 if most == 0 else (state.spent + state.held) / most
