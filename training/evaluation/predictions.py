"""Predictions of P(adequate) on prompts whose outcomes are known, as serving would use them.

A bundle of one stage predicts the same whatever the goal. A bundle of two stages consults its second stage
where the choice between arms is close, and which choices are close depends on the goal. A ranking, a sweep
over goals and a single goal therefore see different probabilities. Every figure of a report is computed
from the predictions of this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from router.core.ability import LARGEST_LOGIT, NEVER_SURE, NODES
from router.core.margins import margin_threshold, margins, needs_second_stage, value_margins
from router.core.types import QualityTarget, QualityTargets
from training.evaluation.baselines import pair_differences

__all__ = ["STANDARD_GOAL", "Predictions", "SecondStagePredictions", "p_of_models"]

Floats = npt.NDArray[np.float64]

STANDARD_GOAL = QualityTarget(QualityTargets.medium)
"""The goal under which single probabilities are reported. It needs no prices, which not every history has."""
_GRID = 4_001
"""Number of thresholds from −1 to 1 at which the second stage is evaluated for a pair."""


def p_of_models(
    p_adequate: Floats,
    arm_points: Floats,
    points: Floats,
    shift: Floats | float = 0.0,
    uncertainty: float = 0.0,
) -> Floats:
    """P(adequate) of many prompts, each at abilities of its own: :func:`router.core.ability.p_at`.

    Args:
        p_adequate: float64 ``(n, k)`` of the arms, 0..1; k ≥ 2.
        arm_points: float64 ``(k,)``, strictly ascending.
        points: float64 ``(n, m)``.
        shift: logits by which each model is better than its ability says, float64 ``(n, m)``.
        uncertainty: of the abilities, a standard deviation in points, ≥ 0.

    Returns:
        float64 ``(n, m)``.
    """
    p = np.clip(p_adequate, NEVER_SURE, 1 - NEVER_SURE)
    logits = np.log(p / (1 - p))
    total = np.zeros(points.shape)
    for deviate, weight in NODES if uncertainty else ((0.0, 1.0),):
        one = points + deviate * uncertainty
        at = np.searchsorted(arm_points[1:-1], one, side="right")
        low, high = (np.take_along_axis(logits, place, axis=1) for place in (at, at + 1))
        slope = (high - low) / (arm_points[at + 1] - arm_points[at])
        z = low + slope * (one - arm_points[at]) + shift
        total += weight / (1 + np.exp(-np.clip(z, -LARGEST_LOGIT, LARGEST_LOGIT)))
    return total


@dataclass(frozen=True)
class SecondStagePredictions:
    """Predictions of the second stage, and the prompts for which it is consulted.

    Attributes:
        p_adequate: float64 ``(n, k)``.
        reference: float64 ``(r, k)``, P(adequate) of the bundle's reference prompts by the first stage.
        share: of such prompts for which it is consulted under any goal, 0..1.
        always: bool ``(n,)``, prompts for which it is always consulted.
    """

    p_adequate: Floats
    reference: Floats
    share: float
    always: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> SecondStagePredictions:
        """The predictions for some of the prompts."""
        return SecondStagePredictions(
            self.p_adequate[rows], self.reference, self.share, self.always[rows]
        )

    def asked(self, margin: Floats, usual: Floats) -> npt.NDArray[np.bool_]:
        """For which prompts it is consulted, bool ``(n,)``.

        Args:
            margin: float64 ``(n,)``, of the prompts.
            usual: float64 ``(r,)``, of the reference prompts.
        """
        return needs_second_stage(margin, usual, self.share) | self.always


@dataclass(frozen=True)
class Predictions:
    """P(adequate) of ``n`` prompts and ``k`` arms.

    Attributes:
        first: float64 ``(n, k)``, by the only stage or the first.
        second: ``None`` where there is one stage.
    """

    first: Floats
    second: SecondStagePredictions | None = None

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Predictions:
        """The predictions for some of the prompts."""
        return Predictions(
            self.first[rows], None if self.second is None else self.second.take(rows)
        )

    def at_abilities(
        self, arm_points: Floats, points: Floats, shift: Floats | float = 0.0
    ) -> Predictions:
        """The predictions for models of other abilities than those of the arms.

        Args:
            arm_points: float64 ``(k,)``, abilities of the arms, ascending.
            points: float64 ``(n, k)``, abilities of the models that stand for the arms at each prompt.
            shift: logits by which these are better there than their abilities say, float64 ``(n, k)``.
        """
        second = self.second
        if second is not None:
            moved = p_of_models(second.p_adequate, arm_points, points, shift)
            second = replace(second, p_adequate=moved)
        return Predictions(p_of_models(self.first, arm_points, points, shift), second)

    def standard_asked(self) -> npt.NDArray[np.bool_]:
        """For which prompts the second stage is consulted under :data:`STANDARD_GOAL`, ``(n,)``."""
        if self.second is None:
            return np.zeros(len(self), dtype=bool)
        ladder = np.arange(self.first.shape[1], dtype=np.float64)
        usual = margins(self.second.reference, ladder, STANDARD_GOAL)
        return self.second.asked(margins(self.first, ladder, STANDARD_GOAL), usual)

    @property
    def standard(self) -> Floats:
        """P(adequate) under :data:`STANDARD_GOAL`, ``(n, k)``."""
        return self._either(self.standard_asked())

    def at_worth(self, worth: float, prices: Floats) -> Floats:
        """P(adequate) under a willingness to pay for an adequate answer, ``(n, k)``.

        Args:
            worth: ≥ 0, in the unit of the prices.
            prices: float64 ``(k,)``, of the arms.
        """
        if self.second is None:
            return self.first
        usual = value_margins(self.second.reference, prices, worth)
        return self._either(self.second.asked(value_margins(self.first, prices, worth), usual))

    def _either(self, asked: npt.NDArray[np.bool_]) -> Floats:
        if self.second is None:
            return self.first
        return np.where(asked[:, None], self.second.p_adequate, self.first)

    def pairs(self) -> Floats:
        """A score of every pair of arms, ``(n, pairs)``: the strong arm is taken from a threshold on.

        With one stage the score is the gain in P(adequate). With two stages, the second is consulted at each
        threshold for the prompts whose first-stage gain is nearest to it. As the threshold falls, a prompt
        enters that neighbourhood once and leaves it once; between these two thresholds the second stage
        decides. Its gain, clipped to the two thresholds, is a score that gives the same order.
        """
        gain = pair_differences(self.first)
        if self.second is None:
            return gain
        second_gain = pair_differences(self.second.p_adequate)
        usual = pair_differences(self.second.reference)
        columns = zip(gain.T, second_gain.T, usual.T, strict=True)
        clamped = np.stack(
            [_clamped_gains(*column, self.second.share) for column in columns], axis=1
        )
        return np.where(self.second.always[:, None], second_gain, clamped)


def _clamped_gains(gain: Floats, second_gain: Floats, usual: Floats, share: float) -> Floats:
    """The score of one pair ``(n,)`` from gains by either stage, and those of the reference ``(r,)``."""
    thresholds = np.linspace(-1.0, 1.0, _GRID)
    # How near a gain must be to a threshold for the second stage to be consulted. It changes no faster than
    # the threshold, so the thresholds that concern a prompt form one interval.
    near = margin_threshold(np.abs(usual - thresholds[:, None]), share)
    least = thresholds[np.searchsorted(thresholds + near, gain).clip(0, _GRID - 1)]
    most = thresholds[(np.searchsorted(thresholds - near, gain) - 1).clip(0, _GRID - 1)]
    return np.clip(second_gain, least, most)
