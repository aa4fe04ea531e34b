"""Decision margins: how far a probability may move before the choice among the arms can change.

A bundle with two stages asks its second, slower stage only about prompts with a small margin. Pure functions
of arrays, so that serving, replay and evaluation agree.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from router.core.types import Goal, QualityTarget

__all__ = ["margin_threshold", "margins", "needs_second_stage", "target_margins", "value_margins"]

Floats: TypeAlias = npt.NDArray[np.float64]


def target_margins(p_adequate: Floats, prices: Floats, target: float, regret: float) -> Floats:
    """Margins of choosing the cheapest arm that reaches a target, or comes near the best if none does.

    Args:
        p_adequate: float64 ``(n, m)``, P(adequate) of n prompts and m ≥ 2 arms.
        prices: float64 ``(m,)``; only their order matters.
        target: the P(adequate) to reach, 0..1.
        regret: where no arm reaches it, the cheapest at most this much below the best is chosen, 0..1.

    Returns:
        float64 ``(n,)``, ≥ 0, in units of P(adequate).
    """
    ordered = p_adequate[:, np.argsort(prices, kind="stable")]
    reaches = ordered >= target
    # Arms dearer than the chosen one never affect the choice.
    nearest = np.minimum.accumulate(np.abs(ordered - target), axis=1)
    margin = nearest[np.arange(len(ordered)), reaches.argmax(axis=1)]
    return np.where(reaches.any(axis=1), margin, _regret_margins(ordered, target, regret))


def _regret_margins(ordered: Floats, target: float, regret: float) -> Floats:
    """Margins ``(n,)`` where no arm reaches the target; ``ordered`` ``(n, m)`` has the cheapest arm first."""
    least = ordered.max(axis=1) - regret
    chosen = (ordered >= least[:, None]).argmax(axis=1)
    places = np.arange(ordered.shape[1])
    cheaper = np.where(places < chosen[:, None], ordered, -np.inf).max(axis=1)
    others = np.where(places != chosen[:, None], ordered, -np.inf).max(axis=1)
    # Another choice: a cheaper arm comes near enough, another leaves the chosen behind or reaches the target.
    left_behind = ordered[np.arange(len(ordered)), chosen] + regret - others
    return np.asarray(np.minimum.reduce([least - cheaper, left_behind, target - others]))


def value_margins(p_adequate: Floats, prices: Floats, worth: float) -> Floats:
    """Margins of choosing the arm with the largest P(adequate) × worth − price.

    The cost of a miss is such a worth: it chooses the same arm.

    Args:
        p_adequate: float64 ``(n, m)``, P(adequate) of n prompts and m ≥ 2 arms.
        prices: float64 ``(m,)``, in any unit.
        worth: of an adequate answer, ≥ 0, in the unit of the prices.

    Returns:
        float64 ``(n,)``, ≥ 0, in units of P(adequate); infinite where ``worth`` is 0, because then only the
        price counts.
    """
    if worth <= 0:
        return np.full(len(p_adequate), np.inf)
    return _lead(p_adequate - prices / worth)


def _lead(values: Floats) -> Floats:
    """The largest value of each row minus the second largest, ``(n,)``."""
    best = np.partition(values, -2, axis=1)
    return np.asarray(best[:, -1] - best[:, -2])


def margins(p_adequate: Floats, prices: Floats, goal: Goal) -> Floats:
    """Margins under a goal.

    Args:
        p_adequate: float64 ``(n, m)``, P(adequate) of n prompts and m arms.
        prices: float64 ``(m,)``, nano-dollars.
        goal: what the choice aims for.

    Returns:
        float64 ``(n,)``, ≥ 0, in units of P(adequate); infinite where there is only one arm.
    """
    if p_adequate.shape[1] < 2:
        return np.full(len(p_adequate), np.inf)
    if isinstance(goal, QualityTarget):
        return target_margins(p_adequate, prices, goal.p_adequate, goal.regret)
    return value_margins(p_adequate, prices, goal.nanos)


def needs_second_stage(margin: Floats, reference: Floats, share: float) -> npt.NDArray[np.bool_]:
    """Which prompts go to the second stage: those whose margin is below the threshold.

    Args:
        margin: float64, the margins of the prompts.
        reference: float64 ``(r,)``, r ≥ 1, margins of a reference sample of prompts under the same goal.
        share: the share of the reference prompts that would go to the second stage, 0..1.

    Returns:
        bool, the shape of ``margin``.
    """
    return np.asarray(margin < margin_threshold(reference, share))


def margin_threshold(reference: Floats, share: float) -> Floats:
    """The ``share`` quantile of the reference margins ``(…, r)``, as float64 ``(…)``."""
    # Always one of the margins: interpolating between infinite margins would give NaN.
    return np.asarray(np.quantile(reference, share, axis=-1, method="lower"))
