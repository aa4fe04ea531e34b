"""P(adequate) of a model of any ability, from that of arms whose ability is known.

On the logit scale P(adequate) of a prompt is a line in ability, as item response theory has it; between two
arms it is the line through them, beyond the first and the last arm the nearest line goes on. What a model
does better or worse than its ability says shifts the line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LARGEST", "NEVER_SURE", "SMALLEST", "Ability", "p_at"]

SMALLEST, LARGEST = -100.0, 250.0
"""Bounds of the scale, in points. 0 is Llama-3.1-8B-Instruct, 100 is Gemini 2.5 Pro."""
NEVER_SURE = 1e-6
"""A probability is taken to be at least this far from 0 and 1, so that its logit is finite."""


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
    p = min(max(p, NEVER_SURE), 1 - NEVER_SURE)
    return math.log(p / (1 - p))


def p_at(
    p_adequate: Sequence[float],
    arm_points: Sequence[float],
    points: float,
    uncertainty: float = 0.0,
    shift: float = 0.0,
) -> float:
    """P(adequate) at one ability.

    Args:
        p_adequate: of the arms, each 0..1; two or more.
        arm_points: their abilities, strictly ascending.
        points: the ability.
        uncertainty: of the ability, in points, ≥ 0. The probability is averaged over it.
        shift: by how many logits the model is better at this prompt than its ability says.
    """
    last = len(arm_points) - 2
    at = min(max(sum(points >= bound for bound in arm_points) - 1, 0), last)
    low, high = _logit(p_adequate[at]), _logit(p_adequate[at + 1])
    slope = (high - low) / (arm_points[at + 1] - arm_points[at])
    z = low + slope * (points - arm_points[at]) + shift
    # A logistic curve averaged over a normal distribution is nearly a flatter logistic curve.
    z /= math.sqrt(1 + math.pi * (slope * uncertainty) ** 2 / 8)
    return 1 / (1 + math.exp(-z))
