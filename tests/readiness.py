"""Waiting for a condition. The bound matters only where something is broken, so it is generous."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300.0
"""The bound of every wait: minutes, since other programs may use the same cores."""


def wait_until(condition: Callable[[], object], *, what: str = "") -> None:
    """Return as soon as a condition holds.

    Args:
        condition: asked again and again, fifty times a second at most.
        what: is waited for, for the message.

    Raises:
        AssertionError: it did not hold within :data:`PATIENCE_S`.
    """
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited {PATIENCE_S:g} s in vain {what}".rstrip()
        time.sleep(0.02)
