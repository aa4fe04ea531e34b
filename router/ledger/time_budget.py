"""How long the store may take for one call: less than the caller waits, who so hears the reason."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["seconds_left", "time_limit"]

_SHARE = 0.9
"""The share of the caller's time that the store may use; the rest brings the answer back."""
_MOST_S = 86_400.0
_LEAST_S = 0.001

_ends_at: ContextVar[float | None] = ContextVar("store_budget_ends_at", default=None)


@contextmanager
def time_limit(caller_s: float | None) -> Iterator[None]:
    """Within the block, all waits for a store in this thread take together at most 90 % of ``caller_s``.

    Args:
        caller_s: seconds until the caller gives up, ≥ 0; ``None`` or more than a day: no limit.
    """
    limited = caller_s is not None and caller_s < _MOST_S
    ends_at = time.monotonic() + _SHARE * (caller_s or 0.0) if limited else None
    token = _ends_at.set(ends_at)
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left(most_s: float) -> float:
    """Seconds that a wait for the store may take now: at most ``most_s``, more than 0."""
    ends_at = _ends_at.get()
    if ends_at is None:
        return most_s
    return min(most_s, max(ends_at - time.monotonic(), _LEAST_S))
