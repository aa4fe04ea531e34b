"""The head on neighbours: the outcomes of the arms on the most similar training prompts.

The share of adequate attempts among the :data:`COUNT` nearest prompts by the dot product of vectors in 8
bits, shrunk towards the share of all. The bundle holds the vectors, so the comparison uses 8-bit integers:
they need a quarter of the space and time of float32, and make the graph and the fit agree to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logit

__all__ = ["COUNT", "MAX_PROMPTS", "MIN_SHARE", "PRIOR_ATTEMPTS", "Neighbours", "fit_neighbours"]

Floats = npt.NDArray[np.float64]

COUNT = 100
"""On the real histories 100 has a lower log-loss than 40 and 200."""
PRIOR_ATTEMPTS = 2.0
"""Attempts that the share of all prompts is worth."""
MAX_PROMPTS = 16_384
"""Training prompts kept: a bound on the size of a bundle and on the time of a call."""
MIN_SHARE = 1e-3
"""Shares are kept this far from 0 and 1."""

_BLOCK = 512


@dataclass(frozen=True)
class Neighbours:
    """Training prompts and how the arms did on them.

    Attributes:
        vectors: int8 ``(m, d)``, m ≤ :data:`MAX_PROMPTS`.
        step: float32, the value of one unit of ``vectors``.
        good: float32 ``(m, k)``, weight of adequate attempts.
        seen: float32 ``(m, k)``, weight of attempts.
        base: float32 ``(k,)``, share of adequate attempts of each arm.
    """

    vectors: npt.NDArray[np.int8]
    step: np.float32
    good: npt.NDArray[np.float32]
    seen: npt.NDArray[np.float32]
    base: npt.NDArray[np.float32]

    @property
    def count(self) -> int:
        """How many neighbours vote."""
        return min(COUNT, len(self.vectors))

    def logits(self, vectors: npt.NDArray[np.float32]) -> Floats:
        """Vectors of the encoder, float32 ``(n, d)`` → logits float64 ``(n, k)``."""
        kept = self.vectors.astype(np.float32).T
        result = np.empty((len(vectors), self.good.shape[1]))
        for start in range(0, len(vectors), _BLOCK):
            queries = _quantised(vectors[start : start + _BLOCK], self.step).astype(np.float32)
            nearest = _nearest(queries @ kept, self.count)
            good, seen = self.good[nearest].sum(axis=1), self.seen[nearest].sum(axis=1)
            share = (good + PRIOR_ATTEMPTS * self.base) / (seen + PRIOR_ATTEMPTS)
            result[start : start + _BLOCK] = logit(share.clip(MIN_SHARE, 1 - MIN_SHARE))
        return result


def _quantised(vectors: npt.NDArray[np.float32], step: np.float32) -> npt.NDArray[np.int8]:
    return np.asarray(np.rint(vectors / step).clip(-128, 127), dtype=np.int8)


def _nearest(products: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.intp]:
    """Places of the ``count`` largest products of each row, the first of equals: ``(n, count)``.

    The products are whole numbers below 2^24, exact in float32: vectors have at most 1,024 dimensions.
    """
    total = products.shape[1]
    if count >= total:
        return np.tile(np.arange(total), (len(products), 1))
    order = products.astype(np.int64) * -total + np.arange(total)
    return np.argpartition(order, count - 1, axis=1)[:, :count]


def fit_neighbours(
    vectors: npt.NDArray[np.float32], outcome: Floats, weight: Floats, seed: int
) -> Neighbours:
    """Keep training prompts, a sample of them where there are more than :data:`MAX_PROMPTS`.

    Args:
        vectors: float32 ``(n, d)`` of the encoder, d ≤ 1,024.
        outcome: float64 ``(n, k)``, 0..1.
        weight: float64 ``(n, k)`` ≥ 0; 0 where there is no outcome.
        seed: of the sample.
    """
    total = weight.sum(axis=0)
    base = ((weight * outcome).sum(axis=0) + 0.5) / (total + 1.0)
    if len(vectors) > MAX_PROMPTS:
        kept = np.sort(np.random.default_rng(seed).choice(len(vectors), MAX_PROMPTS, replace=False))
        vectors, outcome, weight = vectors[kept], outcome[kept], weight[kept]
    step = np.float32(max(np.abs(vectors).max() / 127, 1e-9))
    return Neighbours(
        _quantised(vectors, step),
        step,
        (weight * outcome).astype(np.float32),
        weight.astype(np.float32),
        base.astype(np.float32),
    )
