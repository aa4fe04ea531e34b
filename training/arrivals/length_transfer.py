"""Output lengths of a new arm: its tier's quantiles, shifted and scaled to fit its attempts.

The tier's quantiles of a prompt are q(.5), q(.9), q(.99). On the log scale the arm is assumed to differ by
a shift and by a scale of the scatter:

    log tokens = log q(.5) + shift + √φ · s · noise,        s = (log q(.9) − log q(.5)) / 1.28

A normal-inverse-gamma prior on (shift, φ) is conjugate to normal noise, and its prediction is Student's t.
Each quantile becomes log q(.5) + shift + width · (log q − log q(.5)), which keeps the shape of the
tier's noise. A level with ten or more attempts beyond it is set by the rank of split conformal prediction
instead (Lei et al. 2018): then nine in ten answers are no longer than the .9 quantile, whatever the noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

from router.core.conformal import conformal_rank
from training.arrivals.arm_posterior import blocks
from training.evaluation.metrics import coverage, pinball
from training.fitting.lengths import LEVELS

__all__ = [
    "MIN_LENGTHS",
    "TIER_LENGTHS",
    "LengthTransfer",
    "fit_length_transfer",
    "prequential_figures",
]

Floats = npt.NDArray[np.float64]

MIN_LENGTHS = 10
"""Fewest known lengths from which an arm gets lengths of its own."""
PRIOR_SHIFT = 0.7
"""Standard deviation of the shift between models of one tier, in units of √φ.

Measured as :data:`arm_posterior.PRIOR_SPREAD`: .62 on mmlu_pro, .85 on shaberi_ja, as root mean
square of the median shift; φ was .70 and .62 in the median, and between .34 and 2.2 for nine in ten models.
"""
PRIOR_SHAPE, PRIOR_SCALE = 3.0, 2.0
"""Of the inverse gamma prior of φ: mean 1, with the weight of six attempts."""
MIN_TAIL_ATTEMPTS = 10
"""Fewest attempts beyond a quantile for which its conformal rank is used instead of a normal tail."""
_LEAST_SPREAD = 0.05
"""Least spread of a tier, 5 %, for tiers whose answers all have one length."""


@dataclass(frozen=True)
class LengthTransfer:
    """The map from the tier's quantiles to the arm's.

    Attributes:
        shift: of the logarithm of all quantiles.
        widths: float64 ``(3,)``, factors on the distance of each of :data:`LEVELS` to the median,
            ascending from the second on; the first has no effect.
    """

    shift: float
    widths: Floats

    def quantiles(self, tier: Floats) -> Floats:
        """The arm's quantiles in tokens, ≥ 1 and ascending, from the tier's ``(n, 3)``, each ≥ 1."""
        logs = np.log(tier)
        median = logs[:, :1]
        return np.asarray(
            np.exp(np.maximum(median + self.shift + self.widths * (logs - median), 0))
        )


TIER_LENGTHS = LengthTransfer(0.0, np.ones(3))
"""The tier's own lengths."""


def fit_length_transfer(tier: Floats, tokens: Floats) -> LengthTransfer:
    """Fit the map to the lengths of attempts.

    Args:
        tier: float64 ``(n, 3)``, the tier's quantiles for the prompts, tokens ≥ 1.
        tokens: float64 ``(n,)``, output tokens of the arm.

    Returns:
        :data:`TIER_LENGTHS` for fewer than :data:`MIN_LENGTHS`.
    """
    n = len(tokens)
    if n < MIN_LENGTHS:
        return TIER_LENGTHS
    logs = np.log(tier)
    ratios = np.log(np.maximum(tokens, 1.0)) - logs[:, 0]
    distances = np.maximum(logs - logs[:, :1], _LEAST_SPREAD * norm.ppf(LEVELS)[None])
    precision = 1 / (distances[:, 1] / norm.ppf(LEVELS[1])) ** 2
    # Conjugate update; the prior's precision is that of PRIOR_SHIFT.
    total = 1 / PRIOR_SHIFT**2 + precision.sum()
    shift = float(precision @ ratios / total)
    shape = PRIOR_SHAPE + n / 2
    scale = PRIOR_SCALE + float(precision @ ratios**2 - total * shift**2) / 2
    # The shift is uncertain too, beside the scatter of a typical prompt.
    shift_variance_factor = 1 + float(precision.mean()) / total
    if _enough_tail_attempts(n, LEVELS[0]):
        shift = _rank(ratios, LEVELS[0])
    widths = [1.0]
    for place, level in enumerate(LEVELS[1:], start=1):
        if _enough_tail_attempts(n, level):
            width = _rank((ratios - shift) / distances[:, place], level)
        else:
            quantile_ratio = t.ppf(level, 2 * shape) / norm.ppf(level)
            width = float(quantile_ratio * math.sqrt(scale / shape * shift_variance_factor))
        # Never under the width before it, so that quantiles ascend.
        widths.append(max(width, widths[-1] if place > 1 else 0.0))
    return LengthTransfer(shift, np.array(widths))


def _enough_tail_attempts(n: int, level: float) -> bool:
    return (n + 1) * (1 - level) >= MIN_TAIL_ATTEMPTS


def _rank(scores: Floats, level: float) -> float:
    return float(np.sort(scores)[conformal_rank(len(scores), level) - 1])


def prequential_figures(tier: Floats, tokens: Floats) -> dict[str, float]:
    """Prequential coverage and pinball loss of arm and tier: each length is predicted before it is learnt.

    Args:
        tier: float64 ``(n, 3)``, n ≥ 1, tokens.
        tokens: float64 ``(n,)`` in the order in which they are learnt.

    Returns:
        ``coverage_p50``, ``coverage_p90`` and the same with ``tier_`` before it: shares of lengths within
        the quantile; ``pinball_to_tier_p50`` and ``_p90``: the arm's pinball loss over the tier's.
    """
    predicted = np.empty_like(tier)
    for block in blocks(len(tokens)):
        learnt = fit_length_transfer(tier[: block.start], tokens[: block.start])
        predicted[block] = learnt.quantiles(tier[block])
    figures: dict[str, float] = {}
    for place, level in enumerate(LEVELS[:2]):
        name = f"p{100 * level:.0f}"
        figures[f"coverage_{name}"] = coverage(tokens, predicted[:, place])
        figures[f"tier_coverage_{name}"] = coverage(tokens, tier[:, place])
        figures[f"pinball_to_tier_{name}"] = pinball(tokens, predicted[:, place], level) / pinball(
            tokens, tier[:, place], level
        )
    return figures
