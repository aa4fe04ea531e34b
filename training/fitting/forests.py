"""Forests of scikit-learn as attributes of one operator of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["TargetForest", "tree_ensemble_attributes"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TargetForest:
    """One forest of an ensemble.

    Attributes:
        forest: a fitted ``HistGradientBoosting…`` with one output, before any link function.
        target: which output of the ensemble it is, 0 … targets − 1.
        columns: intp ``(f,)``, where its inputs stand among those of the ensemble.
        scale: factor on what it predicts.
    """

    forest: Any
    target: int
    columns: npt.NDArray[np.intp]
    scale: float = 1.0


def tree_ensemble_attributes(grown: Sequence[TargetForest], base: Floats) -> Mapping[str, Any]:
    """Attributes of ``ai.onnx.ml`` ``TreeEnsembleRegressor``, exact for float32 inputs.

    Args:
        grown: the forests, at least one; at most one for a target.
        base: float64 ``(targets,)``, what a target is without a forest; to one with, its own is added.
    """
    # scikit-learn publishes no structure of these forests; whoever exports them checks the graph.
    trees = [
        steps[0].nodes for target_forest in grown for steps in target_forest.forest._predictors
    ]
    owner = np.repeat(
        np.arange(len(grown)), [len(target_forest.forest._predictors) for target_forest in grown]
    )
    sizes = [len(nodes) for nodes in trees]
    nodes = np.concatenate(trees)
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    leaf = nodes["is_leaf"].astype(bool)
    owners = np.repeat(owner, sizes)
    columns = np.zeros(len(nodes), dtype=np.intp)
    bases = base.astype(np.float64)
    for place, target_forest in enumerate(grown):
        branches = (owners == place) & ~leaf
        columns[branches] = target_forest.columns[nodes["feature_idx"][branches]]
        own = float(target_forest.forest._baseline_prediction.item())
        bases[target_forest.target] += target_forest.scale * own
    scales = np.array([target_forest.scale for target_forest in grown])[owners[leaf]]
    targets = np.array([target_forest.target for target_forest in grown])[owners[leaf]]
    return {
        "n_targets": len(base),
        "post_transform": "NONE",
        "aggregate_function": "SUM",
        "base_values": bases.tolist(),
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": columns.tolist(),
        "nodes_modes": np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_values": np.where(leaf, 0, _rounded_down(nodes["num_threshold"])).tolist(),
        "nodes_truenodeids": np.where(leaf, 0, nodes["left"]).astype(int).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, nodes["right"]).astype(int).tolist(),
        "target_treeids": tree_ids[leaf].tolist(),
        "target_nodeids": node_ids[leaf].tolist(),
        "target_ids": targets.tolist(),
        "target_weights": (scales * nodes["value"][leaf]).tolist(),
    }


def _rounded_down(thresholds: Floats) -> npt.NDArray[np.float32]:
    """The largest float32 at most each threshold: the same float32 inputs lie below it."""
    near = thresholds.astype(np.float32)
    return np.where(near > thresholds, np.nextafter(near, np.float32(-np.inf)), near)
