"""P(adequate) of a model of any ability, from that of arms whose ability is known.

On the logit scale P(adequate) of a prompt is a line in ability, as item response theory has it; between two
arms it is the line through them, beyond the first and the last arm the nearest line goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST", "SMALLEST", "Ability", "p_at", "p_of_models"]

Floats = npt.NDArray[np.float64]

SMALLEST, LARGEST = -100.0, 250.0
"""Bounds of the scale, in points. 0 is Llama-3.1-8B-Instruct, 100 is Gemini 2.5 Pro."""
_NEVER_SURE = 1e-6


@dataclass(frozen=True, slots=True)
class Ability:
    """A model on the scale of ability.

    Attributes:
        points: from :data:`SMALLEST` to :data:`LARGEST`.
        uncertainty: standard deviation of it, in points, ≥ 0.
        basis: what it rests on, as a phrase such as ``180 attempts`` or ``MMLU-Pro (publisher, date)``.
    """

    points: float
    uncertainty: float
    basis: str


def _logit(p: float) -> float:
    p = min(max(p, _NEVER_SURE), 1 - _NEVER_SURE)
    return math.log(p / (1 - p))


def p_at(
    p_adequate: Sequence[float],
    arm_points: Sequence[float],
    points: float,
    uncertainty: float = 0.0,
) -> float:
    """P(adequate) at one ability.

    Args:
        p_adequate: of the arms, each 0..1; two or more.
        arm_points: their abilities, strictly ascending.
        points: the ability.
        uncertainty: of the ability, in points, ≥ 0. The probability is averaged over it.
    """
    last = len(arm_points) - 2
    at = min(max(sum(points >= bound for bound in arm_points) - 1, 0), last)
    low, high = _logit(p_adequate[at]), _logit(p_adequate[at + 1])
    slope = (high - low) / (arm_points[at + 1] - arm_points[at])
    z = low + slope * (points - arm_points[at])
    # A logistic curve averaged over a normal distribution is nearly a flatter logistic curve.
    z /= math.sqrt(1 + math.pi * (slope * uncertainty) ** 2 / 8)
    return 1 / (1 + math.exp(-z))


def p_of_models(p_adequate: Floats, arm_points: Floats, points: Floats) -> Floats:
    """P(adequate) of many prompts, each at abilities of its own: :func:`p_at` without uncertainty.

    Args:
        p_adequate: float64 ``(n, k)`` of the arms, 0..1; k ≥ 2.
        arm_points: float64 ``(k,)``, strictly ascending.
        points: float64 ``(n, m)``.

    Returns:
        float64 ``(n, m)``.
    """
    p = np.clip(p_adequate, _NEVER_SURE, 1 - _NEVER_SURE)
    logits = np.log(p / (1 - p))
    at = np.clip(np.searchsorted(arm_points, points, side="right") - 1, 0, len(arm_points) - 2)
    low, high = (np.take_along_axis(logits, place, axis=1) for place in (at, at + 1))
    share = (points - arm_points[at]) / (arm_points[at + 1] - arm_points[at])
    return np.asarray(1 / (1 + np.exp(-(low + share * (high - low)))))
