"""Files that are read again when they change, so that keys and certificates take effect without a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from router.core.errors import MitsumoriError
from router.logs import logger

__all__ = ["WatchedFile"]

T = TypeVar("T")
_Signature = tuple[tuple[int, int, int] | None, ...]


class WatchedFile(Generic[T]):
    """A value made of files. What cannot be used is refused and logged once; the value stays. Thread-safe.

    Args:
        name: for the log.
        paths: the files.
        load: makes the value of them; raises ``MitsumoriError``.
        every_s: seconds between two looks, ≥ 0.
        clock: monotonic, seconds.

    Raises:
        MitsumoriError: the first value cannot be made.
    """

    def __init__(
        self,
        name: str,
        paths: Sequence[Path],
        load: Callable[[], T],
        *,
        every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._paths, self._load = name, paths, load
        self._every_s, self._clock = every_s, clock
        self._lock = threading.Lock()
        self._signature = self._look()
        self._state = (load(), 0)
        self._due = clock() + every_s

    def current(self) -> tuple[T, int]:
        """The value, and how often it has changed."""
        if self._clock() >= self._due and self._lock.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return self._state

    def _refresh(self) -> None:
        self._due = self._clock() + self._every_s
        signature = self._look()
        if signature == self._signature:
            return
        # Also after a refusal: the same files need not be tried again.
        self._signature = signature
        try:
            value = self._load()
        except MitsumoriError as error:
            logger().error(
                "reload refused", what=self._name, reason=error.reason, error=error.message
            )
            return
        self._state = (value, self._state[1] + 1)
        logger().info("reloaded", what=self._name)

    def _look(self) -> _Signature:
        return tuple(map(_signature_of, self._paths))


def _signature_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
