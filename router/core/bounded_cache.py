"""A cache whose size is bounded in bytes, because callers choose how long its keys are."""

from __future__ import annotations

import sys
import threading
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

__all__ = ["BoundedCache", "bytes_of_pairs"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_ENTRY_BYTES = 200
"""What an entry takes besides its texts, roughly."""


def bytes_of_pairs(pairs: Iterable[tuple[str, str]]) -> int:
    """Roughly what some pairs of texts take in memory, bytes."""
    return sum(sys.getsizeof(name) + sys.getsizeof(value) + 64 for name, value in pairs)


class BoundedCache(Generic[K, V]):
    """Values by key; forgets the oldest ones beyond a number of bytes. Thread-safe; reading takes no lock.

    Args:
        max_bytes: of all entries together, > 0. An entry above an eighth of it is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: dict[K, tuple[V, int]] = {}
        self._lock = threading.Lock()
        self.nbytes = 0
        """Bytes of all entries, by their own account."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """The value; ``None`` if there is none, or no longer."""
        found = self._entries.get(key)
        return None if found is None else found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value.

        Args:
            key: under which to find it; replaces the value from before.
            value: not ``None``.
            size: bytes of the texts of key and value, ≥ 0.
        """
        size += _ENTRY_BYTES
        with self._lock:
            self._forget(key)
            if size > self._max_bytes // 8:
                return
            self._entries[key] = value, size
            self.nbytes += size
            while self.nbytes > self._max_bytes:
                self._forget(next(iter(self._entries)))

    def pop(self, key: K) -> None:
        """Forget a value, if there is one."""
        with self._lock:
            self._forget(key)

    def _forget(self, key: K) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self.nbytes -= found[1]
