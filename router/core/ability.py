"""P(adequate) of a model of any ability, from that of arms whose ability is known.

On the logit scale P(adequate) of a prompt is a line in ability, as item response theory has it; between two
arms it is the line through them, beyond the first and the last arm the nearest line goes on. What a model
does better or worse than its ability says shifts the line. Where the ability is uncertain, the probability is
the mean over a normal distribution of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LARGEST", "LARGEST_LOGIT", "NEVER_SURE", "NODES", "SMALLEST", "Ability", "p_at"]

SMALLEST, LARGEST = -100.0, 250.0
"""Bounds of the scale, in points. 0 is Llama-3.1-8B-Instruct, 100 is Gemini 2.5 Pro."""
NEVER_SURE = 1e-6
"""A probability is taken to be at least this far from 0 and 1, so that its logit is finite."""
LARGEST_LOGIT = 30.0
"""Logits are cut off here, so that no exponential overflows. The probability there is 1 − 10⁻¹³."""


def _nodes(count: int, step: float) -> tuple[tuple[float, float], ...]:
    places = [step * (place - count // 2) for place in range(count)]
    densities = [math.exp(-place * place / 2) for place in places]
    return tuple(zip(places, (each / sum(densities) for each in densities), strict=True))


_SURE = ((0.0, 1.0),)
NODES = _nodes(11, 0.6)
"""Standard normal deviates, ascending, and their weights: these stand for the normal distribution.

Evenly spaced: of a steep curve, a Gauss-Hermite sum of as many nodes is further from the integral. Where the
logit changes by 3 per standard deviation the error is .0004, where it changes by 5 it is .002.
"""


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
        uncertainty: of the ability, a standard deviation in points, ≥ 0.
        shift: by how many logits the model is better at this prompt than its ability says.
    """
    last = len(arm_points) - 1
    at, high = 0, _logit(p_adequate[0])
    # The line through arms at - 1 and at, which holds below this ability.
    start = slope = total = 0.0
    bound = -math.inf
    for deviate, weight in NODES if uncertainty else _SURE:
        one = points + deviate * uncertainty
        while one >= bound:
            at += 1
            low, high = high, _logit(p_adequate[at])
            slope = (high - low) / (arm_points[at] - arm_points[at - 1])
            start = low - slope * arm_points[at - 1] + shift
            bound = arm_points[at] if at < last else math.inf
        z = start + slope * one
        # Comparisons are faster than min and max, and this runs for each model of each call.
        if z > LARGEST_LOGIT:
            z = LARGEST_LOGIT
        elif z < -LARGEST_LOGIT:
            z = -LARGEST_LOGIT
        total += weight / (1 + math.exp(-z))
    return total
