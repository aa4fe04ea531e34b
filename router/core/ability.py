"""P(adequate) of a model of any ability, from that of arms whose ability is known.

On the logit scale P(adequate) of a prompt is a line in ability, as item response theory has it; between two
arms it is the line through them, beyond the first and the last arm the nearest line goes on. What a model
does better or worse than its ability says shifts the line. Where the ability is uncertain, the probability is
the mean over a normal distribution of it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "LARGEST",
    "LARGEST_LOGIT",
    "NEVER_SURE",
    "NODES",
    "SMALLEST",
    "Ability",
    "Line",
    "Node",
    "lines_between",
    "nodes_of",
    "p_at",
    "p_on",
]

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


Node: TypeAlias = tuple[int, float, float]
"""The line that holds at an ability (its index in :func:`lines_between`), the ability, and its weight."""
Line: TypeAlias = tuple[float, float]
"""A logit as intercept at ability 0, and slope per point."""


def nodes_of(
    arm_points: Sequence[float], points: float, uncertainty: float = 0.0
) -> tuple[Node, ...]:
    """The abilities that stand for a model between or beyond some arms. They depend on no prompt.

    Args:
        arm_points: abilities of the arms, strictly ascending; two or more.
        points: the model's ability.
        uncertainty: of it, a standard deviation in points, ≥ 0.
    """
    inner = arm_points[1:-1]
    return tuple(
        (bisect_right(inner, one), one, weight)
        for deviate, weight in (NODES if uncertainty else _SURE)
        for one in [points + deviate * uncertainty]
    )


def lines_between(p_adequate: Sequence[float], arm_points: Sequence[float]) -> list[Line]:
    """The line through each two neighbouring arms; the first and the last go on beyond the arms.

    Args:
        p_adequate: of the arms, each 0..1; two or more.
        arm_points: their abilities, strictly ascending.
    """
    logits = [_logit(p) for p in p_adequate]
    lines = []
    for at in range(1, len(arm_points)):
        slope = (logits[at] - logits[at - 1]) / (arm_points[at] - arm_points[at - 1])
        lines.append((logits[at - 1] - slope * arm_points[at - 1], slope))
    return lines


def p_on(lines: Sequence[Line], nodes: Sequence[Node], shift: float = 0.0) -> float:
    """P(adequate) of a model on a prompt.

    Args:
        lines: of the prompt, from :func:`lines_between`.
        nodes: of the model, from :func:`nodes_of` for the same arms.
        shift: by how many logits the model is better at this prompt than its ability says.
    """
    total = 0.0
    for line, ability, weight in nodes:
        start, slope = lines[line]
        z = start + shift + slope * ability
        # Comparisons are faster than min and max, and this runs for each model of each call.
        if z > LARGEST_LOGIT:
            z = LARGEST_LOGIT
        elif z < -LARGEST_LOGIT:
            z = -LARGEST_LOGIT
        total += weight / (1 + math.exp(-z))
    return total


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
    lines = lines_between(p_adequate, arm_points)
    return p_on(lines, nodes_of(arm_points, points, uncertainty), shift)
