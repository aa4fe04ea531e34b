"""What happened in the last minute, counted by the second: bounded memory, constant time."""

from __future__ import annotations

from router.core.load import WINDOW_S

__all__ = ["RateWindow"]

_SECONDS = WINDOW_S + 1
"""What happened in a second counts until the minute after its end is over, so never too short."""


class RateWindow:
    """A sum over the last minute. Not thread-safe.

    Time is seconds since the epoch, and must not go back by more than the window; what is older is not
    counted.
    """

    def __init__(self) -> None:
        self._amounts = [0] * _SECONDS
        self._latest = 0
        self._sum = 0

    def add(self, amount: int, at: float, now: float) -> None:
        """Count an amount at a moment that may have passed already; a negative one takes back.

        Args:
            amount: of whatever is counted.
            at: when it happened.
            now: the current time.
        """
        self._move(now)
        second = min(int(at), self._latest)
        if second > self._latest - _SECONDS:
            self._amounts[second % _SECONDS] += amount
            self._sum += amount

    def total(self, now: float) -> int:
        """The sum over the last minute."""
        self._move(now)
        return max(self._sum, 0)

    def leaves(self, now: float) -> tuple[tuple[float, int], ...]:
        """When what is counted stops to count: (seconds from now, amount), ascending."""
        self._move(now)
        oldest = self._latest - _SECONDS + 1
        return tuple(
            (second + _SECONDS - now, amount)
            for second in range(oldest, self._latest + 1)
            if (amount := self._amounts[second % _SECONDS]) > 0
        )

    def _move(self, now: float) -> None:
        second = int(now)
        passed = second - self._latest
        if passed <= 0:
            return
        for each in range(max(second - _SECONDS, self._latest) + 1, second + 1):
            self._sum -= self._amounts[each % _SECONDS]
            self._amounts[each % _SECONDS] = 0
        self._latest = second
