"""The few figures of one stage of several: what its encoder alone is worth on the held-out prompts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.evaluation.baselines import arm_pairs
from training.evaluation.calibration_metrics import auc, ece
from training.evaluation.evaluation_report import pair_name
from training.evaluation.metrics import apgr
from training.histories.outcomes import Outcomes
from training.tracking.headline import headline_metrics

__all__ = ["stage_figures"]


def stage_figures(test: Outcomes, p_adequate: npt.NDArray[np.float64]) -> dict[str, float]:
    """APGR of every pair, AUC and ECE of every arm, under the names that the whole run's metrics have.

    Args:
        test: ``n`` held-out prompts, ``k`` arms.
        p_adequate: float64 ``(n, k)``, what the stage alone predicts.
    """
    arms = {}
    for arm, name in enumerate(test.arms):
        rows = test.judged[:, arm]
        outcome, probability = test.adequate[rows, arm], p_adequate[rows, arm]
        arms[name] = {"auc": auc(outcome, probability), "ece": ece(outcome, probability)}
    pairs = {}
    for weak, strong in arm_pairs(len(test.arms)):
        rows = test.judged[:, weak] & test.judged[:, strong]
        lead = p_adequate[rows, strong] - p_adequate[rows, weak]
        found = apgr(test.quality[rows, weak], test.quality[rows, strong], lead)
        pairs[pair_name(test.arms, (weak, strong))] = {"apgr": found}
    return headline_metrics({"arms": arms, "pairs": pairs, "n_prompts": len(test)})
