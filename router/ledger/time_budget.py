"""How long the store may take for one call: less than the caller waits, who so hears the reason.

A caller that has gone waits no more: nothing is held for it. And while a call waits for a commit it works on
nothing, so that another may be worked on meanwhile, and both be committed together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from router.core.errors import CallerGone

__all__ = ["begin_wait", "check_caller", "on_wait", "seconds_left", "time_limit"]

_SHARE = 0.9
"""The share of the caller's time that the store may use; the rest brings the answer back."""
_MOST_S = 86_400.0
_LEAST_S = 0.001


@dataclass(frozen=True, slots=True)
class _Budget:
    """Moments on the monotonic clock; ``None``: never."""

    store_until: float | None
    caller_until: float | None
    caller_waits: Callable[[], bool]


def _always() -> bool:
    return True


_NO_LIMIT = _Budget(None, None, _always)
_budget: ContextVar[_Budget] = ContextVar("store_time_budget", default=_NO_LIMIT)


def _tell_nobody() -> None:
    pass


_told: ContextVar[Callable[[], None]] = ContextVar("told_of_waits", default=_tell_nobody)


def on_wait(tell: Callable[[], None]) -> None:
    """Have a function called whenever the call of this context begins to wait for a commit."""
    _told.set(tell)


def begin_wait() -> None:
    """The call of this context waits for a commit from now on."""
    _told.get()()


@contextmanager
def time_limit(
    caller_s: float | None, caller_waits: Callable[[], bool] = _always
) -> Iterator[None]:
    """Within the block, all waits for a store in this thread take together at most 90 % of ``caller_s``.

    Args:
        caller_s: seconds until the caller gives up, ≥ 0; ``None`` or more than a day: no limit.
        caller_waits: whether the caller has not hung up.
    """
    limit = _Budget(None, None, caller_waits)
    if caller_s is not None and caller_s < _MOST_S:
        now = time.monotonic()
        limit = _Budget(now + _SHARE * caller_s, now + caller_s, caller_waits)
    token = _budget.set(limit)
    try:
        yield
    finally:
        _budget.reset(token)


def seconds_left(most_s: float) -> float:
    """Seconds that a wait for the store may take now: at most ``most_s``, more than 0."""
    until = _budget.get().store_until
    if until is None:
        return most_s
    return min(most_s, max(until - time.monotonic(), _LEAST_S))


def check_caller() -> None:
    """Check that the caller of this thread's call still waits for the answer.

    Raises:
        CallerGone: it does not.
    """
    budget = _budget.get()
    late = budget.caller_until is not None and time.monotonic() >= budget.caller_until
    if late or not budget.caller_waits():
        raise CallerGone("the caller has gone; nothing was done for it")
