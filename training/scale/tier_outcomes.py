"""What today's tiers would do: the probability that a model of given ability answers a prompt adequately.

For a prompt that histories hold it follows from what all models did at it, for an annotated request from
its level.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from training.scale.ability import Scale
from training.scale.attempt_table import AttemptTable
from training.scale.reference import Reference

__all__ = ["level_outcomes", "measured_outcomes"]

Floats = npt.NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


def measured_outcomes(scale: Scale, table: AttemptTable, points: Floats) -> Floats:
    """P(adequate) at each prompt of models of given ability, averaged over what is uncertain about it.

    How much ability counts is what it counts in the histories that have the prompt.

    Args:
        scale: fitted on ``table``.
        table: ``n`` prompts.
        points: float64 ``(k,)``, abilities.

    Returns:
        float64 ``(n, k)``, 0..1.
    """
    steep = np.array([scale.discrimination[name] for name in table.histories])
    attempts = np.bincount(table.prompt, minlength=table.prompts)
    mean = np.bincount(table.prompt, steep[table.history], table.prompts) / attempts
    z = mean[:, None] * points / 100 - scale.difficulty[:, None]
    spread = scale.uncertainty[:, None, None] * _NODES
    return np.asarray(expit(z[:, :, None] - spread) @ (_WEIGHTS / _WEIGHTS.sum()))


def level_outcomes(levels: Floats, reference: Reference, points: Floats) -> Floats:
    """P(adequate) at annotated requests of models of given ability.

    Args:
        levels: float64 ``(n,)``, 0..3; between two levels the difficulty is between theirs.
        reference: gives the difficulty of each level.
        points: float64 ``(k,)``, abilities.

    Returns:
        float64 ``(n, k)``, 0..1.
    """
    difficulty = np.interp(levels, np.arange(len(reference.difficulty)), reference.difficulty)
    return np.asarray(expit(reference.discrimination * points / 100 - difficulty[:, None]))
