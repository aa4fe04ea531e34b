"""Quantiles of durations some of which were cut off: Kaplan and Meier's estimator (1958), with weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["survival_quantiles"]

_ROUNDING = 1e-9


def survival_quantiles(
    values: npt.NDArray[np.float64],
    exact: npt.NDArray[np.bool_],
    weights: npt.NDArray[np.float64],
    share: float,
) -> npt.NDArray[np.float64]:
    """The least value that at least this share stays within, under each of several weightings.

    A value that is not exact is a lower bound: its weight counts for every longer one, in proportion to their
    weights. Where so many are cut off that the share is never reached, the longest value is a lower bound.

    Args:
        values: durations or ratios, float64 ``(n,)``, n ≥ 1.
        exact: whether each is known exactly, ``(n,)``; otherwise it is at least so long.
        weights: ≥ 0, float64 ``(m, n)``; each row has one that is more than 0.
        share: above 0, below 1.

    Returns:
        float64 ``(m,)``, each one of ``values``. The order of the values does not matter.
    """
    order = np.lexsort((~exact, values))  # of equal values, the exact one ends first
    ascending, weights = values[order], weights[:, order]
    at_risk = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    ended = np.divide(
        np.where(exact[order], weights, 0.0), at_risk, out=np.zeros_like(weights), where=at_risk > 0
    )
    reached = np.cumprod(1 - ended, axis=1) <= 1 - share + _ROUNDING
    longest = weights.shape[1] - 1 - np.argmax(weights[:, ::-1] > 0, axis=1)
    found = np.where(reached.any(axis=1), np.argmax(reached, axis=1), longest)
    return np.asarray(ascending[found])
