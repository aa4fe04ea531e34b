"""Split conformal prediction (Lei et al. 2018, "Distribution-Free Predictive Inference for Regression")."""

from __future__ import annotations

import math

__all__ = ["conformal_rank"]


def conformal_rank(count: int, level: float) -> int:
    """Which of ``count`` ascending scores a new one stays within with at least this probability.

    Args:
        count: known scores, ≥ 1; old and new ones come in any order.
        level: above 0 to 1.

    Returns:
        The rank from 1 to ``count``: ⌈(count + 1) · level⌉, or the greatest score where there are too few
        to promise the level.
    """
    return min(math.ceil((count + 1) * level), count)
