"""Figures of one source of prompts that a fit did not see, as pure functions of numpy arrays.

Said and real P(adequate), the order of prompts, the coverage of lengths, and what the default policy would
have spent and lost. Each has its baselines: prompt length, the nearest known prompts, the arms for every
prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from router.core.goals import at_stake
from router.core.types import Importance, MissCost, MissCosts
from training.evaluation.baselines import pair_differences
from training.evaluation.calibration_metrics import ece, ece_floor
from training.evaluation.cost_quality import hull
from training.evaluation.metrics import (
    Floats,
    apgr,
    apgr_statistic,
    bootstrap,
    coverage,
    interval,
)
from training.histories.outcomes import Outcomes

__all__ = ["UnseenPredictions", "unseen_figures", "unseen_notes", "unseen_verdict"]

COVERED = (0.85, 0.95)
"""Bounds of the share of answers within the ninth decile for which its lengths count as covered."""

WORST_GAIN = -0.005
"""Least gain over constant choices at equal cost that the default policy is to have on every source."""


@dataclass(frozen=True)
class UnseenPredictions:
    """What a fit without a source says of its ``n`` prompts, ``k`` arms.

    Attributes:
        p_adequate: float64 ``(n, k)``, of the models that answered.
        complexity: float64 ``(n,)``, 0..1.
        lengths: float64 ``(n, k)``, the ninth decile of output tokens; NaN where there is none.
        nearest: float64 ``(n,)``, the gain of the strongest arm over the weakest at the nearest prompts of
            other sources.
    """

    p_adequate: Floats
    complexity: Floats
    lengths: Floats
    nearest: Floats

    def take(self, rows: npt.NDArray[np.bool_], arms: npt.NDArray[np.intp]) -> UnseenPredictions:
        """Some of the prompts and arms."""
        return UnseenPredictions(
            self.p_adequate[rows][:, arms],
            self.complexity[rows],
            self.lengths[rows][:, arms],
            self.nearest[rows],
        )


def unseen_figures(test: Outcomes, predicted: UnseenPredictions, *, seed: int) -> dict[str, Any]:
    """The figures of one source.

    Args:
        test: ``n`` prompts of it. Arms without attempts are left out; two or more have some.
        predicted: of these.
        seed: of the resamples.

    Returns:
        ``prompts``, ``models``; by arm ``said`` and ``real``, the mean P(adequate) and the share of adequate
        attempts; ``worst_ece`` with its ``worst_ece_floor``; ``apgr`` of the weakest and the strongest arm
        with its ``apgr_interval``, ``length_apgr`` of prompt length alone, ``nearest_apgr`` of the nearest
        prompts; ``coverage_p90`` of output lengths; ``policy``, see :func:`_policy`.
    """
    arms = np.flatnonzero(test.judged.any(axis=0))
    rows = np.asarray(test.judged[:, arms].all(axis=1))
    test, predicted = test.rows(rows), predicted.take(rows, arms)
    adequate, quality = test.adequate[:, arms], test.quality[:, arms]
    p = predicted.p_adequate
    errors = [ece(adequate[:, place], p[:, place]) for place in range(len(arms))]
    worst = int(np.argmax(errors))
    weak, strong = quality[:, 0], quality[:, -1]
    gain = pair_differences(p[:, [0, -1]])[:, 0]
    drawn = bootstrap(len(test), {"": apgr_statistic(weak, strong, gain)}, seed=seed)
    characters = np.array([len(text) for text in test.texts], dtype=np.float64)
    models = [] if test.models is None else test.models[0, arms].tolist()
    names = [test.arms[arm] for arm in arms]
    return {
        "prompts": len(test),
        "models": dict(zip(names, models, strict=False)),
        "said": dict(zip(names, p.mean(axis=0).tolist(), strict=True)),
        "real": dict(zip(names, adequate.mean(axis=0).tolist(), strict=True)),
        "worst_ece": errors[worst],
        "worst_ece_floor": ece_floor(p[:, worst], seed=seed),
        "apgr": apgr(weak, strong, gain),
        "apgr_interval": interval(drawn[""]),
        "length_apgr": apgr(weak, strong, characters),
        "nearest_apgr": apgr(weak, strong, predicted.nearest),
        "coverage_p90": _coverage(test.output_tokens[:, arms], predicted.lengths),
        "policy": _policy(quality, test.cost_nanos[:, arms], predicted, seed),
    }


def _coverage(tokens: Floats, predicted: Floats) -> float | None:
    """The share of answers within the ninth decile; ``None`` where no length is known."""
    known = ~np.isnan(tokens) & ~np.isnan(predicted)
    return coverage(tokens[known], predicted[known]) if known.any() else None


def _policy(
    quality: Floats, cost_nanos: npt.NDArray[np.int64], predicted: UnseenPredictions, seed: int
) -> dict[str, Any] | None:
    """What the default policy does at medium importance; ``None`` where costs are not known.

    It knows the mean cost of each arm. The best constant choice at equal cost is the hull of the arms for
    every prompt: a mix of two of them costs as much as the policy.

    Returns:
        ``quality`` and ``cost_usd``, means over the prompts; ``constant_quality`` at that cost; ``gain``, the
        difference, with its ``gain_interval``; ``saved``, the share of the cost of always taking the
        strongest arm, and ``lost``, the quality that this costs.
    """
    if not (cost_nanos > 0).all():
        return None
    price = cost_nanos.mean(axis=0)
    default = MissCosts().of(Importance.MEDIUM)
    stake = np.array([_nanos(default, at) for at in predicted.complexity], dtype=np.float64)
    choice = np.argmin(price - predicted.p_adequate * stake[:, None], axis=1)
    rows = np.arange(len(choice))
    values = np.hstack(
        [
            quality[rows, choice][:, None],
            cost_nanos[rows, choice][:, None] / 1e9,
            quality,
            cost_nanos / 1e9,
        ]
    )

    def means(counts: Floats) -> Floats:
        return np.asarray((values.T @ counts / counts.sum(axis=0)).T)

    def gains(points: Floats) -> Floats:
        return np.array([row[0] - _constant(row) for row in points])

    plain = values.mean(axis=0)
    drawn = bootstrap(len(values), {"": means}, seed=seed)[""]
    k = quality.shape[1]
    return {
        "quality": float(plain[0]),
        "cost_usd": float(plain[1]),
        "constant_quality": _constant(plain),
        "gain": float(gains(plain[None])[0]),
        "gain_interval": interval(gains(drawn)),
        "saved": float(1 - plain[1] / plain[-1]),
        "lost": float(plain[1 + k] - plain[0]),
    }


def _nanos(goal: MissCost, complexity: float) -> int:
    scaled = at_stake(goal, float(complexity))
    return scaled.nanos if isinstance(scaled, MissCost) else 0


def _constant(point: Floats) -> float:
    """The quality of constant choices at the cost of the policy.

    ``point`` holds the quality and the cost of the policy, then the qualities and the costs of the arms.
    """
    k = (len(point) - 2) // 2
    costs, qualities = hull(point[2 + k :], point[2 : 2 + k])
    return float(np.interp(point[1], costs, qualities))


def unseen_verdict(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """What the figures say, in a few plain sentences with the goals beside them.

    Args:
        sources: by source, of :func:`unseen_figures`.
    """
    found = list(sources.values())
    ordered = sum((one["apgr_interval"] or [0])[0] > 0.5 for one in found)
    off = [abs(one["said"][arm] - real) for one in found for arm, real in one["real"].items()]
    covered = [one["coverage_p90"] for one in found if one["coverage_p90"] is not None]
    within = sum(COVERED[0] <= share <= COVERED[1] for share in covered)
    gains = [one["policy"]["gain"] for one in found if one["policy"] is not None]
    kept = sum(gain >= WORST_GAIN for gain in gains)
    return (
        f"Within a source, prompts stand in a better order than by chance on {ordered} of {len(found)} "
        "sources (the interval of APGR lies above .5). P(adequate) of an arm is "
        f"{np.mean(off):.2f} off in the mean and {max(off):.2f} at worst, mostly by how strict the judge of "
        f"the source is. The p90 of lengths covers .85 to .95 of the answers on {within} of {len(covered)}. "
        f"The default policy is at most {-WORST_GAIN:g} worse than constant choices at equal cost on "
        f"{kept} of {len(gains)}."
    )


def unseen_notes(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What a user must know of sources that the fit did not see: where its lengths do not cover.

    Args:
        sources: by source, of :func:`unseen_figures`.
    """
    short = [
        f"{name} {one['coverage_p90']:.2f}"
        for name, one in sources.items()
        if one["coverage_p90"] is not None and one["coverage_p90"] < COVERED[0]
    ]
    if not short:
        return []
    return [
        "left out, these sources have longer answers than quoted: share of answers within the p90 of the "
        f"length {', '.join(short)}, to be {COVERED[0]:g} at least; expect quotes for work unlike the "
        "training data to be too low until corrections have learnt from what is settled"
    ]
