"""How much slower a model answers while other calls to it are in flight. Pure."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from router.core.survival import survival_quantiles

__all__ = ["LEAST_CALLS", "load_exponent", "slowdown"]

LEAST_CALLS = 10
"""How many calls with few others in flight, and how many with many, it takes to say anything."""
_CONTRAST = math.log(1.5)
"""How much more must be in flight for the ones than for the others, as a logarithm."""
_PRIOR_CALLS = 10
_PRIOR_SPREAD = 0.54
"""Standard deviation of the logarithm of a latency, where too few calls say it: p90 is twice p50."""
_MAD = 1.4826
_MEDIAN_ERROR = 1.2533
"""Standard error of a median, in those of a mean."""
_SURE = 2.0
"""Standard errors below which a difference counts for nothing."""

Floats = npt.NDArray[np.float64]


def slowdown(in_flight: Floats, exponent: Floats | float) -> Floats:
    """By what a latency is multiplied: a power of the calls in flight, this one included, float64 ``(n,)``.

    An exponent of 0 means that others do not matter, of 1 that all share the same machine.

    Args:
        in_flight: other calls in flight, float64 ``(n,)``, ≥ 0.
        exponent: 0..1, one for all or ``(n,)``.
    """
    return np.asarray((1.0 + in_flight) ** exponent)


def load_exponent(in_flight: Floats, ratios: Floats, weights: Floats) -> float:
    """The exponent of :func:`slowdown` that calls show, 0..1; 0 where they do not show one.

    A resistant line through the logarithms: the median latencies of the third with the fewest and the third
    with the most in flight give it. The difference shrinks by its own uncertainty, and counts for nothing
    below two standard errors: chance alone, or a few absurd reports, make nobody slower.

    Args:
        in_flight: other calls in flight, float64 ``(n,)``, ≥ 0.
        ratios: of the latency to what the length of the answer explains, float64 ``(n,)``, > 0.
        weights: float64 ``(n,)``, > 0.
    """
    if len(ratios) < 2 * LEAST_CALLS:
        return 0.0
    x, y = np.log1p(in_flight), np.log(ratios)
    few = x <= _median(x, weights, 1 / 3)
    many = x >= _median(x, weights, 2 / 3)
    (x0, y0, scatter0, n0), (x1, y1, scatter1, n1) = (
        _group(x[part], y[part], weights[part]) for part in (few, many)
    )
    if min(n0, n1) < LEAST_CALLS or x1 - x0 < _CONTRAST or y1 <= y0:
        return 0.0
    variance = (scatter0**2 * n0 + scatter1**2 * n1 + _PRIOR_SPREAD**2 * _PRIOR_CALLS) / (
        n0 + n1 + _PRIOR_CALLS
    )
    error = _MEDIAN_ERROR * math.sqrt(variance * (1 / n0 + 1 / n1))
    sure = max(1 - (_SURE * error / (y1 - y0)) ** 2, 0.0)
    return min(sure * (y1 - y0) / (x1 - x0), 1.0)


def _group(x: Floats, y: Floats, weights: Floats) -> tuple[float, float, float, float]:
    """The mean of what is known exactly, the median of what is not, its scatter, and the calls' worth."""
    middle = _median(y, weights)
    scatter = _MAD * _median(np.abs(y - middle), weights)
    count = float(weights.sum() ** 2 / (weights**2).sum())
    return float((x * weights).sum() / weights.sum()), middle, scatter, count


def _median(values: Floats, weights: Floats, share: float = 0.5) -> float:
    exact = np.ones(len(values), dtype=np.bool_)
    return float(survival_quantiles(values, exact, weights[None, :], share)[0])
