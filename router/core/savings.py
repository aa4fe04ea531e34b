"""What one model alone would have brought in decisions of which a share was left to chance.

Of ``n`` decisions made, the outcome y of the single model is known where it was chosen, which happened with
a logged probability p. Something is known of all: a baseline b and a size s, such as 0 and the quoted price.
The rest is estimated by the ratio c = Σ w·(y − b) / Σ w·s over the decisions in which it was chosen, w = 1/p;
the total is Σ b + c · Σ s. This is the ratio estimator of survey sampling (Hájek 1971; Särndal, Swensson &
Wretman 1992): the draws are the sample, the decisions the population.

Rare draws have large weights, and where prices are skewed a few of the decisions that were not drawn matter
most, so that the usual variance, Σ w²·(1 − p)·e² over the residuals e, is mostly too small. The larger one
counts of it and of τ² · Σ s²·(1 − p)/p, in which τ² is the mean of (e/s)² and the sum is over all decisions:
intervals hold the truth at least as often as they say. Everything here is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from router.core.errors import InvalidInput
from router.core.off_policy import Interval

__all__ = ["MIN_TRIALS", "Sample", "Total", "total"]

MIN_TRIALS: Final = 10
"""With fewer decisions in which the model was chosen against the odds nothing is estimated."""
_RARE: Final = 0.5
"""Chosen with a smaller probability, it was chosen against the odds."""
_FEW: Final = 0.05
"""Share of the decisions in which it was unlikely that is neglected when trials are counted."""
_Z: Final = 1.96

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """``n`` decisions in which a model was chosen with a known probability.

    Attributes:
        outcomes: float64 ``(n,)``, observed; of the model where ``taken``.
        taken: bool ``(n,)``, where the model was chosen.
        propensity: float64 ``(n,)``, of the model, above 0, at most 1.
        baseline: float64 ``(n,)``, the part of the model's outcome that is known beforehand.
        size: float64 ``(n,)`` > 0, to which the rest is taken to be in proportion.

    Raises:
        InvalidInput: a value is not finite or out of range, or a length differs.
    """

    outcomes: Values
    taken: npt.NDArray[np.bool_]
    propensity: Values
    baseline: Values
    size: Values

    def __post_init__(self) -> None:
        n = self.outcomes.shape
        columns = (self.outcomes, self.propensity, self.baseline, self.size)
        if self.taken.shape != n or any(
            each.shape != n or not np.isfinite(each).all() for each in columns
        ):
            raise InvalidInput("the columns of a sample must be finite, and of one length")
        if not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise InvalidInput("propensity must be above 0 and at most 1", field="propensity")
        if not (self.size > 0).all():
            raise InvalidInput("size must be above 0", field="size")

    @property
    def trials(self) -> int:
        """In how many decisions the model was chosen against the odds, with a probability below a half."""
        return int((self.taken & (self.propensity < _RARE)).sum())

    @property
    def tells(self) -> bool:
        """Whether chance chose the model, or did not choose it, often enough for an estimate."""
        if not (self.taken & (self.propensity < 1)).any():
            return False
        unlikely = float((self.propensity < _RARE).mean())
        return unlikely <= _FEW or self.trials >= MIN_TRIALS


@dataclass(frozen=True, slots=True)
class Total:
    """Sums over ``n`` decisions.

    Attributes:
        made: of the decisions as they were made.
        single: of the single model in all of them, with its 95 % interval.
    """

    made: float
    single: Interval

    @property
    def saved(self) -> Interval:
        """``single − made``, with its 95 % interval."""
        value, low, high = self.single.value, self.single.low, self.single.high
        return Interval(value - self.made, low - self.made, high - self.made)


def total(sample: Sample) -> Total | None:
    """What the single model would have brought in all decisions of a sample.

    Returns:
        ``None`` if too little was left to chance to tell.
    """
    if not sample.tells:
        return None
    p, size, taken = sample.propensity, sample.size, sample.taken
    weights = taken / p
    rest = sample.outcomes - sample.baseline
    ratio = float((weights * rest).sum() / (weights * size).sum())
    value = float(sample.baseline.sum()) + ratio * float(size.sum())
    residuals = np.where(taken, rest - ratio * size, 0.0)
    inflation = float(size.sum() / (weights * size).sum()) ** 2
    sampled = inflation * float((weights**2 * (1 - p) * residuals**2).sum())
    relative = float(((residuals / size) ** 2).sum()) / max(int(taken.sum()) - 1, 1)
    modelled = relative * float((size**2 * (1 - p) / p).sum())
    # Student's distribution, expanded to the first order.
    freedom = max(sample.trials or int(taken.sum()), 2) - 1
    factor = _Z + (_Z**3 + _Z) / (4 * freedom)
    half = factor * float(np.sqrt(max(sampled, modelled)))
    return Total(float(sample.outcomes.sum()), Interval(value, value - half, value + half))
