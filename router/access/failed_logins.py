"""Bounds how often a peer is told that its credential is not valid, and the log with it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

__all__ = ["FailedLogins", "peer_of"]

_MOST_PEERS = 10_000


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
        most_peers: int = _MOST_PEERS,
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


def peer_of(text: str) -> str:
    """The machine in a peer as gRPC writes it: an IPv4 address, the /64 of an IPv6 address, or the text.

    A machine has a whole /64 to choose addresses from.
    """
    kind, _, rest = text.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return text
    host = rest.rpartition(":")[0].replace("%5B", "[").replace("%5D", "]").strip("[]")
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return text
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)
