"""What happened in the last minute, counted by the second: bounded memory, constant time."""

from __future__ import annotations

from router.core.load import WINDOW_S, Leaving

__all__ = ["RateWindow"]

_SECONDS = WINDOW_S + 1
"""What happened in a second counts until the minute after its end is over, so never too short."""


class RateWindow:
    """Sums of two kinds of amounts over the last minute: calls, and their tokens. Not thread-safe.

    Time is seconds since the epoch, and must not go back by more than the window; what is older is not
    counted.
    """

    def __init__(self) -> None:
        self._amounts = [0] * _SECONDS, [0] * _SECONDS
        self._sums = [0, 0]
        self._latest = 0

    def add(self, calls: int, tokens: int, at: float, now: float) -> None:
        """Count amounts at a moment that may have passed already; negative ones take back.

        Args:
            calls: how many.
            tokens: of these.
            at: when they happened.
            now: the current time.
        """
        self._move(now)
        second = min(int(at), self._latest)
        if second > self._latest - _SECONDS:
            place, sums = second % _SECONDS, self._sums
            of_calls, of_tokens = self._amounts
            of_calls[place] += calls
            of_tokens[place] += tokens
            sums[0] += calls
            sums[1] += tokens

    def totals(self, now: float) -> tuple[int, int]:
        """The calls of the last minute, and their tokens."""
        self._move(now)
        calls, tokens = self._sums
        return max(calls, 0), max(tokens, 0)

    def leaving(self, now: float) -> tuple[Leaving, Leaving]:
        """When calls, and when their tokens, stop to count."""
        self._move(now)
        oldest, first_s = (self._latest + 1) % _SECONDS, self._latest + 1 - now
        calls, tokens = (
            Leaving(first_s, tuple(amounts[oldest:] + amounts[:oldest]))
            for amounts in self._amounts
        )
        return calls, tokens

    def _move(self, now: float) -> None:
        second = int(now)
        if second <= self._latest:
            return
        for each in range(max(second - _SECONDS, self._latest) + 1, second + 1):
            place = each % _SECONDS
            for kind in (0, 1):
                self._sums[kind] -= self._amounts[kind][place]
                self._amounts[kind][place] = 0
        self._latest = second
