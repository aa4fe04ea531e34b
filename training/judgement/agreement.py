"""How far repeated judgements of the same attempts agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

__all__ = ["Agreement", "agreement_of"]

RESAMPLES = 1_000
_LEVEL = (2.5, 97.5)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of repeated judgements.

    Attributes:
        attempts: judged more than once.
        pairs: pairs of judgements of the same attempt.
        exact: share of pairs that are the same, 0..1.
        within: share of pairs that differ by one step at most, 0..1.
        kappa: Cohen's kappa with quadratic weights, at most 1; ``None`` of a single attempt, and
            where all judgements are the same.
        low: of its 95 % interval, by resampling attempts; ``None`` likewise.
        high: likewise.
    """

    attempts: int
    pairs: int
    exact: float
    within: float
    kappa: float | None
    low: float | None
    high: float | None


def _kappa(first: Floats, second: Floats) -> float:
    """Weighted kappa of pairs, each taken in both orders, so that the order says nothing; NaN: undefined."""
    one, other = np.concatenate([first, second]), np.concatenate([second, first])
    observed = np.mean((one - other) ** 2)
    # The mean squared difference of independent draws from the same distribution.
    expected = 2 * np.var(one)
    return float(1 - observed / expected) if expected > 0 else float("nan")


def agreement_of(judged: Sequence[Sequence[float]], *, step: float, seed: int) -> Agreement | None:
    """The agreement of repeated judgements; ``None`` where no attempt was judged twice.

    Args:
        judged: per attempt, its judgements in any number.
        step: what counts as one step, such as 1 for grades.
        seed: of the resamples.
    """
    groups = [list(combinations(values, 2)) for values in judged if len(values) > 1]
    if not groups:
        return None
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    pairs = np.asarray([pair for group in groups for pair in group], dtype=np.float64)
    first, second = pairs[:, 0], pairs[:, 1]
    kappa = _kappa(first, second) if len(groups) > 1 else float("nan")
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(owner == place) for place in range(len(groups))]
    drawn = []
    for _ in range(RESAMPLES if np.isfinite(kappa) else 0):
        rows = np.concatenate([members[n] for n in rng.integers(len(groups), size=len(groups))])
        drawn.append(_kappa(first[rows], second[rows]))
    found = [value for value in drawn if np.isfinite(value)]
    low, high = np.percentile(found, _LEVEL) if found else (None, None)
    away = np.abs(first - second)
    return Agreement(
        attempts=len(groups),
        pairs=len(pairs),
        exact=float(np.mean(away == 0)),
        within=float(np.mean(away <= step)),
        kappa=kappa if np.isfinite(kappa) else None,
        low=None if low is None else float(low),
        high=None if high is None else float(high),
    )
