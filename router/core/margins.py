"""How little a choice hangs on: what tells a bundle of two stages where a second opinion is worth its time.

The margin of a prompt is how far a probability may move before the choice among its arms may change. Pure
functions of arrays, so that a decision, its replay and an evaluation on thousands of prompts agree.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from router.core.types import Goal, QualityTarget

__all__ = ["margin_threshold", "margins", "needs_second_stage", "target_margins", "value_margins"]

Floats: TypeAlias = npt.NDArray[np.float64]


def target_margins(p_adequate: Floats, prices: Floats, target: float) -> Floats:
    """Margins of the cheapest arm that reaches a quality target, float64 ``(n,)``, in units of P(adequate).

    Args:
        p_adequate: float64 ``(n, m)``, m ≥ 2 arms.
        prices: float64 ``(m,)``, which only have to be in order.
        target: 0..1.
    """
    ordered = p_adequate[:, np.argsort(prices, kind="stable")]
    reaches = ordered >= target
    # What is dearer than the chosen arm is never looked at, wherever it lies.
    nearest = np.minimum.accumulate(np.abs(ordered - target), axis=1)
    margin = nearest[np.arange(len(ordered)), reaches.argmax(axis=1)]
    return np.where(reaches.any(axis=1), margin, _lead(ordered))


def value_margins(p_adequate: Floats, prices: Floats, worth: float) -> Floats:
    """Margins of the largest P(adequate) × worth − price, float64 ``(n,)``, in units of P(adequate).

    Args:
        p_adequate: float64 ``(n, m)``, m ≥ 2 arms.
        prices: float64 ``(m,)``, in any unit.
        worth: ≥ 0, of an adequate answer in the same unit. Where it is 0, only price counts: endless margins.
    """
    if worth <= 0:
        return np.full(len(p_adequate), np.inf)
    return _lead(p_adequate - prices / worth)


def _lead(values: Floats) -> Floats:
    """How far the best of each row is ahead of the next, ``(n,)``."""
    best = np.partition(values, -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def margins(p_adequate: Floats, prices: Floats, goal: Goal) -> Floats:
    """Margins under a goal, float64 ``(n,)``; endless where there is no choice among arms.

    Args:
        p_adequate: float64 ``(n, m)``.
        prices: float64 ``(m,)``, nano-dollars.
        goal: what to aim for.
    """
    if p_adequate.shape[1] < 2:
        return np.full(len(p_adequate), np.inf)
    if isinstance(goal, QualityTarget):
        return target_margins(p_adequate, prices, goal.p_adequate)
    return value_margins(p_adequate, prices, goal.nanos)


def needs_second_stage(margin: Floats, reference: Floats, share: float) -> npt.NDArray[np.bool_]:
    """Which prompts hang on so little that a second opinion is asked, bool, the shape of ``margin``.

    Args:
        margin: of prompts.
        reference: float64 ``(r,)``, r ≥ 1, margins of prompts like those to come, under the same goal.
        share: of such prompts that are to be asked about, 0..1.
    """
    return np.asarray(margin < margin_threshold(reference, share))


def margin_threshold(reference: Floats, share: float) -> Floats:
    """The margin below which a prompt is asked about, ``(…)`` from those of a reference ``(…, r)``."""
    # One of the margins, not a value between two: they may be endless.
    return np.asarray(np.quantile(reference, share, axis=-1, method="lower"))
