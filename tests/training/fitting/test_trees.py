"""The head on form: it finds what no line can say, shares between arms, and exports exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from training.fitting import trees
from training.fitting.trees import Trees, fit_trees

N = 2000


def world(seed: int = 0) -> tuple[Any, Any]:
    """Hard only where both features are high: no sum of the two says that."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, 4)).astype(np.float32)
    hard = (features[:, 0] > 0) & (features[:, 1] > 0)
    return features, expit(1.5 - 3.0 * hard[:, None] + np.array([-1.0, 0.0, 1.0]))


def fitted(features: Any, truth: Any, judged: Any = None) -> Trees:
    rng = np.random.default_rng(5)
    outcome = (rng.random(truth.shape) < truth).astype(float)
    weight = np.ones(truth.shape) if judged is None else judged.astype(float)
    return fit_trees(features, outcome, weight, 1)


def test_it_finds_what_depends_on_two_features_together() -> None:
    features, truth = world()
    fresh, fresh_truth = world(seed=1)
    made = fitted(features, truth)
    assert np.abs(expit(made.logits(fresh)) - fresh_truth).mean() < 0.04


def test_an_arm_with_few_attempts_leans_on_the_others() -> None:
    features, truth = world()
    judged = np.ones(truth.shape, dtype=bool)
    judged[60:, 2] = False
    fresh, fresh_truth = world(seed=1)
    said = expit(fitted(features, truth, judged).logits(fresh))[:, 2]
    alone = np.full(N, truth[:60, 2].mean())
    assert np.abs(said - fresh_truth[:, 2]).mean() < np.abs(alone - fresh_truth[:, 2]).mean()


def test_few_attempts_are_not_read_as_more_than_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    features, truth = world()
    fresh, fresh_truth = world(seed=1)

    def error() -> Any:
        return np.abs(expit(fitted(features, truth).logits(fresh)) - fresh_truth).mean()

    small = error()
    monkeypatch.setattr(trees, "MANY_ATTEMPTS", 1)
    assert small < 0.9 * error()


def test_the_thresholds_part_the_same_float32_values() -> None:
    features, truth = world()
    # Many equal values: a threshold rounded up would let some of them through.
    features = features.round(1)
    made = fitted(features, truth)
    table = made.attributes()
    modes = np.array(table["nodes_modes"])
    values = np.array(table["nodes_values"])[modes != "LEAF"]
    assert (values == values.astype(np.float32)).all()
    starts = {tree: place for place, tree in reversed(list(enumerate(table["nodes_treeids"])))}

    def walked(row: Any) -> float:
        total = table["base_values"][0]
        leaves = dict(
            zip(
                zip(table["target_treeids"], table["target_nodeids"], strict=True),
                table["target_weights"],
                strict=True,
            )
        )
        for tree, start in starts.items():
            node = 0
            while table["nodes_modes"][start + node] != "LEAF":
                left = (
                    row[table["nodes_featureids"][start + node]]
                    <= table["nodes_values"][start + node]
                )
                way = "nodes_truenodeids" if left else "nodes_falsenodeids"
                node = table[way][start + node]
            total += leaves[tree, node]
        return total

    for row in range(20):
        asked = np.append(features[row], np.float32(1))
        np.testing.assert_allclose(walked(asked), made.logits(features[row : row + 1])[0, 1])
