"""What a router believes of prompts whose outcomes are known, as serving would act on it.

A bundle of one stage says one thing of a prompt, whatever is asked. One of two stages says what its second
stage says where the choice hangs on little, and what that is depends on the goal: so a ranking, a sweep over
goals and a single goal each see other probabilities. Every figure of a report asks here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.core.margins import margin_threshold, needs_second_stage, target_margins, value_margins
from router.core.types import QualityTargets
from training.judging.baselines import pair_differences

__all__ = ["STANDARD_TARGET", "Beliefs", "SecondOpinion"]

Floats = npt.NDArray[np.float64]

STANDARD_TARGET = QualityTargets().medium
"""The goal under which a single probability is told: that of a request that names none."""
_GRID = 4_001
"""Thresholds at which a second opinion on a pair is followed, from −1 to 1."""


@dataclass(frozen=True)
class SecondOpinion:
    """What the second of two stages believes, and when it is asked.

    Attributes:
        p_adequate: float64 ``(n, k)``.
        reference: float64 ``(r, k)``, P(adequate) of the bundle's reference prompts by the first stage.
        share: of such prompts that are asked about under any goal, 0..1.
        always: bool ``(n,)``, which prompts it is asked about in any case.
    """

    p_adequate: Floats
    reference: Floats
    share: float
    always: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> SecondOpinion:
        """On some of the prompts."""
        return SecondOpinion(self.p_adequate[rows], self.reference, self.share, self.always[rows])

    def asked(self, margin: Floats, usual: Floats) -> npt.NDArray[np.bool_]:
        """Of which prompts it is asked, ``(n,)``: margins of the prompts, and of the reference ``(r,)``."""
        return needs_second_stage(margin, usual, self.share) | self.always


@dataclass(frozen=True)
class Beliefs:
    """P(adequate) of ``n`` prompts and ``k`` arms.

    Attributes:
        first: float64 ``(n, k)``, by the only stage or the first.
        second: ``None`` where there is one stage.
    """

    first: Floats
    second: SecondOpinion | None = None

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Beliefs:
        """Some of the prompts."""
        return Beliefs(self.first[rows], None if self.second is None else self.second.take(rows))

    def standard_asked(self) -> npt.NDArray[np.bool_]:
        """Which prompts the second stage is asked about under :data:`STANDARD_TARGET`, ``(n,)``."""
        if self.second is None:
            return np.zeros(len(self), dtype=bool)
        ladder = np.arange(self.first.shape[1], dtype=np.float64)
        usual = target_margins(self.second.reference, ladder, STANDARD_TARGET)
        return self.second.asked(target_margins(self.first, ladder, STANDARD_TARGET), usual)

    @property
    def standard(self) -> Floats:
        """What is told under :data:`STANDARD_TARGET`, ``(n, k)``."""
        return self._either(self.standard_asked())

    def at_worth(self, worth: float, prices: Floats) -> Floats:
        """What is told where an adequate answer is worth so much, ``(n, k)``.

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

        Of one stage it is the gain in P(adequate). Of two, at each threshold the second is asked about the
        prompts whose gain by the first lies nearest. As the threshold falls, a prompt comes near it once and
        leaves it once, and between these the second decides: so its gain, held between the two thresholds,
        is a score that orders the prompts exactly so.
        """
        gain = pair_differences(self.first)
        if self.second is None:
            return gain
        told = pair_differences(self.second.p_adequate)
        usual = pair_differences(self.second.reference)
        columns = zip(gain.T, told.T, usual.T, strict=True)
        held = np.stack([_held(*one, self.second.share) for one in columns], axis=1)
        return np.where(self.second.always[:, None], told, held)


def _held(gain: Floats, told: Floats, usual: Floats, share: float) -> Floats:
    """The score of one pair ``(n,)`` from gains by either stage, and those of the reference ``(r,)``."""
    thresholds = np.linspace(-1.0, 1.0, _GRID)
    # How near a gain must lie to a threshold to be asked about. It changes no faster than the threshold, so
    # the thresholds of a prompt are all those between two.
    near = margin_threshold(np.abs(usual - thresholds[:, None]), share)
    least = thresholds[np.searchsorted(thresholds + near, gain).clip(0, _GRID - 1)]
    most = thresholds[(np.searchsorted(thresholds - near, gain) - 1).clip(0, _GRID - 1)]
    return np.clip(told, least, most)
