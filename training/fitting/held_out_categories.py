"""Ranking of prompts of categories that the estimator has not seen.

Much apparent routing skill lies in recognising the source of a prompt; the skill on new kinds of prompts is
what a new user of a router gets. Each fold holds whole categories, and the heads are fitted on the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.model_selection import GroupKFold

from training.evaluation.baselines import arm_pairs, pair_differences
from training.evaluation.evaluation_report import pair_name
from training.evaluation.metrics import MIN_PROMPTS, apgr, apgr_statistic, bootstrap, interval
from training.fitting.estimator import PooledLogistic, cross_fitted
from training.histories.outcomes import Outcomes

__all__ = ["category_folds", "held_out_categories"]

FOLDS = 5


def category_folds(categories: npt.NDArray[np.object_], seed: int) -> npt.NDArray[np.intp] | None:
    """The fold of each prompt, whole categories together, intp ``(n,)``; ``None`` for fewer than two."""
    names = categories.astype(str)
    count = min(FOLDS, len(set(names)))
    if count < 2:
        return None
    fold = np.empty(len(names), dtype=np.intp)
    split = GroupKFold(count, shuffle=True, random_state=seed)
    for number, (_, out) in enumerate(split.split(names, groups=names)):
        fold[out] = number
    return fold


def _teaches(train: Outcomes, fold: npt.NDArray[np.intp]) -> bool:
    """Whether, outside every fold, each arm has attempts, adequate ones and inadequate ones."""
    return all(train.rows(fold != number).teaches for number in set(fold.tolist()))


def held_out_categories(
    model: PooledLogistic,
    train: Outcomes,
    x: npt.NDArray[np.float32],
    *,
    seed: int,
    counts: sparse.csr_matrix | None,
) -> dict[str, dict[str, Any]]:
    """APGR of each pair of arms over the training prompts, each judged without its category.

    Args:
        model: fitted on these prompts.
        train: the training table, ``n`` prompts.
        x: float32 ``(n, p)``, the inputs of the fit.
        seed: of the folds and the resamples.
        counts: ``(n, BUCKETS)``, where ``model`` reads words.

    Returns:
        By pair: ``held_out_category_apgr`` with its ``_interval`` of 95 %. Empty where there are fewer than
        two categories, or too few outcomes beside one of them.
    """
    fold = category_folds(train.categories, seed)
    if fold is None or not _teaches(train, fold):
        return {}
    p_adequate = cross_fitted(
        model,
        x,
        train.adequate,
        train.judged,
        fold,
        seed=seed,
        counts=counts,
        weights=train.weights,
    )
    differences = pair_differences(p_adequate)
    figures = {}
    for column, (weak, strong) in enumerate(arm_pairs(len(train.arms))):
        rows = train.judged[:, weak] & train.judged[:, strong]
        if rows.sum() < MIN_PROMPTS:
            continue
        given = train.quality[rows, weak], train.quality[rows, strong], differences[rows, column]
        drawn = bootstrap(int(rows.sum()), {"": apgr_statistic(*given)}, seed=seed)
        figures[pair_name(train.arms, (weak, strong))] = {
            "held_out_category_apgr": apgr(*given),
            "held_out_category_apgr_interval": interval(drawn[""]),
        }
    return figures
