"""A test of two means that may be looked at after every call: is one above the other, by more than a margin?

Values lie in 0..1. For one stream with sum S of n values, a guess of each value made before it came, and V
the sum of the squared errors of these guesses,

    E(m) = mean over λ of exp(λ·(S − n·m) − ψ(λ)·V),   ψ(λ) = −log(1 − λ) − λ

has an expectation of at most 1 at any time, however the time is chosen, where the values have a mean of at
most m: it is an e-process, and by Ville's inequality it ever reaches 1/α with probability α at most. With
the signs of S and m turned it is one against a mean of at least m. (Howard, Ramdas, McAuliffe, Sekhon:
Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49, 2021, theorem 4;
the inequality is of Fan, Grama and Liu, 2015.) No shape of a distribution is assumed, and means may drift:
then it is about the mean of the means so far.

That the mean of one stream is at most g(mean of another) says that for some m the second has a mean of at
least m and the first of at most g(m). Against each such m the product of two of these processes, of streams
drawn independently, is an e-process, so that the least of all products is evidence against all of them. Its
logarithm is convex in m where g is linear, so that the least is found by narrowing a grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["NOTHING_SEEN", "Stream", "log_evidence", "reaches"]

_BETS: Final = 0.8 * 2.0 ** -np.arange(12.0)
"""λ, float64 ``(12,)``: the largest finds a break within ten values, the least a hundredth within 100,000."""
_PENALTIES: Final = -np.log1p(-_BETS) - _BETS
_GRID: Final = np.linspace(0.0, 1.0, 33)
_ROUNDS: Final = 4
"""How often the grid is narrowed to the cells beside its least point: to 1/65,536 of the whole."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What the test needs of the values of one stream.

    Streams that were kept apart, such as those of several processes, may be added: so may the exponents.

    Attributes:
        count: of values, ≥ 0.
        total: their sum.
        spread: sum of the squared differences to the mean of the values before each, where the first has
            1/2 before it.
    """

    count: int = 0
    total: float = 0.0
    spread: float = 0.0

    @property
    def mean(self) -> float:
        """Of the values; 0 where there are none."""
        return self.total / self.count if self.count else 0.0

    def with_value(self, value: float) -> Stream:
        """The stream with one more value, 0..1.

        Raises:
            ValueError: it lies outside.
        """
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a value of a stream lies in 0..1, not {value:g}")
        guess = (0.5 + self.total) / (1 + self.count)
        return Stream(self.count + 1, self.total + value, self.spread + (value - guess) ** 2)

    def __add__(self, other: Stream) -> Stream:
        return Stream(
            self.count + other.count, self.total + other.total, self.spread + other.spread
        )


NOTHING_SEEN: Final = Stream()


def log_evidence(
    larger: Stream, smaller: Stream, *, factor: float = 1.0, margin: float = 0.0
) -> float:
    """Natural logarithm of the evidence that one mean is above ``factor`` times another plus ``margin``.

    Under the opposite it ever reaches log(1/α) with probability α at most, at whichever time it is read.
    Where the larger mean is not above, there is no evidence: 0, which is at least the true value.

    Args:
        larger: whose mean is suspected to be above.
        smaller: with which it is compared.
        factor: > 0.
        margin: ≥ 0.
    """
    if not larger.count or not smaller.count:
        return 0.0
    if larger.mean <= factor * smaller.mean + margin:
        return 0.0
    low, high = 0.0, 1.0
    least = 0.0
    for _ in range(_ROUNDS):
        means = low + (high - low) * _GRID
        found = _against(larger, factor * means + margin, 1.0) + _against(smaller, means, -1.0)
        place = int(np.argmin(found))
        least = float(found[place])
        low, high = means[max(place - 1, 0)], means[min(place + 1, len(means) - 1)]
    return max(least, 0.0)


def reaches(
    enough: float, larger: Stream, smaller: Stream, *, factor: float = 1.0, margin: float = 0.0
) -> bool:
    """Whether :func:`log_evidence` is at least ``enough``; mostly without computing it.

    Args:
        enough: > 0.
        larger: whose mean is suspected to be above.
        smaller: with which it is compared.
        factor: > 0.
        margin: ≥ 0.
    """
    if _at_most(larger, smaller, factor, margin) < enough:
        return False
    return log_evidence(larger, smaller, factor=factor, margin=margin) >= enough


def _at_most(larger: Stream, smaller: Stream, factor: float, margin: float) -> float:
    """An upper bound of the evidence: ψ(λ) ≥ λ²/2, and the least of all means is at most that of any one."""
    one, other = larger.spread, smaller.spread
    if not (one and other):
        return math.inf if larger.count and smaller.count else 0.0
    total = larger.total - margin * larger.count
    slope = factor * larger.count
    mean = (slope * total / one + smaller.count * smaller.total / other) / (
        slope**2 / one + smaller.count**2 / other
    )
    mean = min(max(mean, 0.0), 1.0)
    above = max(total - slope * mean, 0.0)
    below = max(smaller.count * mean - smaller.total, 0.0)
    return above**2 / (2 * one) + below**2 / (2 * other)


def _against(
    stream: Stream, means: npt.NDArray[np.float64], sign: float
) -> npt.NDArray[np.float64]:
    """Logarithm of the evidence against each mean: that the true one is at most it, or at least it for −1.

    Args:
        stream: of values.
        means: float64 ``(k,)``.
        sign: 1: the true mean is suspected to be above; −1: below.
    """
    above = sign * (stream.total - stream.count * means)
    exponents = np.multiply.outer(above, _BETS) - _PENALTIES * stream.spread
    most = exponents.max(axis=1)
    summed: npt.NDArray[np.float64] = np.exp(exponents - most[:, None]).mean(axis=1)
    result: npt.NDArray[np.float64] = most + np.log(summed)
    return result
