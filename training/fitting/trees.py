"""The head on form: gradient-boosted trees over the lexical features, pooled over the arms.

Unlike a linear head, trees express interactions: long prompts may be hard only if they contain no code.
One forest serves all arms. The position of the arm on the ladder is one more column, so that an arm with few
attempts borrows strength from the others (Friedman 2001, as histograms; Ke et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier

from training.fitting.forests import TargetForest, tree_ensemble_attributes

__all__ = ["Trees", "fit_trees"]

Floats = npt.NDArray[np.float64]

TREES, LEAVES = 120, 8
MORE_TREES, MORE_LEAVES, MANY_ATTEMPTS = 160, 24, 12_000
"""The larger forest, used from this many attempts on. On the real histories it lowers the log-loss of the
small one by .003 with 16,000 attempts, equals it with 12,000, and raises it by .007 with 4,000 and .016 with
1,600. A still larger forest changes it by less than .0005."""
LEARNING_RATE = 0.05
MIN_LEAF_ATTEMPTS = 40
"""Attempts in a leaf."""
L2_REGULARIZATION = 10.0


@dataclass(frozen=True)
class Trees:
    """A fitted forest.

    Attributes:
        forest: reads the lexical features and, last, the place of the arm.
        arms: how many.
    """

    forest: HistGradientBoostingClassifier
    arms: int

    def logits(self, features: npt.NDArray[np.float32]) -> Floats:
        """Lexical features float32 ``(n, f)`` → logits float64 ``(n, k)``."""
        rows = _per_arm(features, self.arms)
        return np.asarray(self.forest.decision_function(rows).reshape(self.arms, -1).T)

    def attributes(self) -> Mapping[str, Any]:
        """The forest as attributes of ``ai.onnx.ml`` ``TreeEnsembleRegressor``: one target, one arm a row."""
        columns = np.arange(self.forest.n_features_in_)
        return tree_ensemble_attributes([TargetForest(self.forest, 0, columns)], np.zeros(1))


def _per_arm(features: npt.NDArray[np.float32], arms: int) -> npt.NDArray[np.float32]:
    """The rows once per arm, the place of the arm in the last column: ``(k n, f + 1)``."""
    blocks = [
        np.hstack([features, np.full((len(features), 1), place, np.float32)])
        for place in range(arms)
    ]
    return np.vstack(blocks)


def fit_trees(
    features: npt.NDArray[np.float32], outcome: Floats, weight: Floats, seed: int
) -> Trees:
    """Fit the forest on all judged attempts.

    Args:
        features: float32 ``(n, f)``, lexical.
        outcome: float64 ``(n, k)``, 0..1; adequate and inadequate ones are there.
        weight: float64 ``(n, k)`` ≥ 0; 0 where there is no outcome.
        seed: of the forest.
    """
    outcomes, weights = outcome.T.ravel(), weight.T.ravel()
    good, bad = weights * outcomes, weights * (1 - outcomes)
    many = (weights > 0).sum() >= MANY_ATTEMPTS
    forest = HistGradientBoostingClassifier(
        max_iter=MORE_TREES if many else TREES,
        learning_rate=LEARNING_RATE,
        max_leaf_nodes=MORE_LEAVES if many else LEAVES,
        min_samples_leaf=MIN_LEAF_ATTEMPTS,
        l2_regularization=L2_REGULARIZATION,
        early_stopping=False,
        random_state=seed,
    )
    # An outcome between 0 and 1 is an adequate attempt and an inadequate one that share its weight.
    rows = _per_arm(features, outcome.shape[1])
    forest.fit(
        np.vstack([rows[good > 0], rows[bad > 0]]),
        np.repeat([True, False], [(good > 0).sum(), (bad > 0).sum()]),
        sample_weight=np.concatenate([good[good > 0], bad[bad > 0]]),
    )
    return Trees(forest, outcome.shape[1])
