"""Bounds how often a peer is told that its credential is not valid, and the log with it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["FailedLogins"]

_MAX_PEERS = 10_000


class FailedLogins:
    """A bucket of failures per peer, which refills evenly. Thread-safe.

    Args:
        per_minute: failures that a peer may have in a minute, ≥ 1; as many at once.
        clock: monotonic, seconds.
        most_peers: that are remembered; the one that failed longest ago is forgotten first.
    """

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        most_peers: int = _MAX_PEERS,
    ) -> None:
        self._each_s = 60.0 / per_minute
        self._burst_s = 60.0
        self._clock, self._most_peers = clock, most_peers
        # When the bucket of a peer will be full again; each failure moves it on.
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, peer: str) -> float:
        """Seconds until this peer may fail again; 0: it may now."""
        now = self._clock()
        # The epsilon lets a peer that waited as long as it was told try again.
        over = self._full_at.get(peer, now) + self._each_s - now - self._burst_s
        return over if over > 1e-6 else 0.0

    def record(self, peer: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            self._full_at[peer] = max(self._full_at.pop(peer, now), now) + self._each_s
            if len(self._full_at) > self._most_peers:
                self._full_at.popitem(last=False)
