"""The fit of the guard: a forest over lexical features that tells composed prompts from honest ones.

Honest are all annotated requests, composed are easy ones of them with gadgets drawn by chance. Hard requests
weigh more, since only they lose by being suspected. No gadget that a search found is read,
so that searched ones are unseen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from router.classifier.features.lexical import FEATURES, lexical_features
from router.classifier.gadget_guard import FORMAT_VERSION, GRAPH, GUARD, MANIFEST
from router.files import replace_text, sha256_of
from training.artifacts.onnx_graph import GraphBuilder, tensor
from training.fitting.forests import TargetForest, tree_ensemble_attributes
from training.gadgets.units import PHRASES, composed, pools, split_by_language
from training.requests.request_set import Request

__all__ = ["FittedGuard", "fit_guard", "write_guard"]

SEED = 2
COMPOSED = 12_000
"""Composed prompts that the forest learns from."""
EASY, HARD = 1.5, 1.6
"""Mean level up to which a request gets gadgets, and from which suspicion would harm it."""
HARD_WEIGHT = 4.0
THRESHOLD = 2.75
"""Log-odds above which a prompt is suspected, chosen on examinations a to d: no order is lost there."""
FOLDS = 4

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FittedGuard:
    """A guard that was fitted.

    Attributes:
        forest: composed or not.
        honest: share of all held-out honest requests that is suspected.
        found: share of the held-out composed prompts that is suspected.
    """

    forest: HistGradientBoostingClassifier
    honest: float
    found: float


def _forest() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(
        max_iter=200,
        max_leaf_nodes=16,
        learning_rate=0.1,
        min_samples_leaf=20,
        l2_regularization=1.0,
        random_state=SEED,
    )


def _features(texts: Sequence[str]) -> Floats:
    return np.array([lexical_features(text) for text in texts], dtype=np.float32)


def fit_guard(requests: Sequence[Request], count: int = COMPOSED) -> FittedGuard:
    """Fit the guard to requests and to composed prompts.

    Args:
        requests: honest ones, of every level.
        count: of composed prompts, > 0.
    """
    rng = random.Random(SEED)  # noqa: S311 - to repeat the fit
    units = pools(requests, PHRASES[::2])
    parted = split_by_language(units)
    easy = [request.prompt for request in requests if request.level <= EASY]
    made = [composed(rng.choice(easy), units, parted, rng) for _ in range(count)]
    inputs = np.vstack([_features([request.prompt for request in requests]), _features(made)])
    is_composed = np.r_[np.zeros(len(requests)), np.ones(count)]
    hard = np.array([request.level >= HARD for request in requests])
    weights = np.r_[np.where(hard, HARD_WEIGHT, 1.0), np.ones(count)]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    told = cross_val_predict(
        _forest(),
        inputs,
        is_composed,
        cv=folds,
        method="decision_function",
        params={"sample_weight": weights},
    )
    passed = told > THRESHOLD
    return FittedGuard(
        _forest().fit(inputs, is_composed, sample_weight=weights),
        float(passed[: len(requests)].mean()),
        float(passed[len(requests) :].mean()),
    )


def write_guard(guard: FittedGuard, directory: Path = GUARD) -> None:
    """Write a guard as ``guard.onnx`` and ``guard.json``.

    Args:
        guard: that was fitted.
        directory: made if it is missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    graph = GraphBuilder()
    columns = np.arange(len(FEATURES))
    attributes = tree_ensemble_attributes([TargetForest(guard.forest, 0, columns)], np.zeros(1))
    graph.op(
        "TreeEnsembleRegressor", "features", name="log_odds", domain="ai.onnx.ml", **attributes
    )
    model = graph.model(
        "guard",
        [tensor("features", "batch", len(FEATURES))],
        [tensor("log_odds", "batch", 1)],
    )
    data = model.SerializeToString()
    (directory / GRAPH).write_bytes(data)
    values = {
        "format_version": FORMAT_VERSION,
        "features": len(FEATURES),
        "threshold": THRESHOLD,
        "sha256": sha256_of(data),
    }
    replace_text(directory / MANIFEST, json.dumps(values, indent=2) + "\n")
