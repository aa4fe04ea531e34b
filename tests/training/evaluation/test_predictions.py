"""What two stages together are worth: as if serving had been run at every threshold, and no better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from router.core.ability import p_at
from router.core.margins import needs_second_stage, value_margins
from training.evaluation.baselines import pair_differences
from training.evaluation.metrics import apgr
from training.evaluation.predictions import Predictions, SecondStagePredictions, p_of_models

N, SHARE = 4_000, 0.32


def world(seed: int = 0) -> tuple[Predictions, Any]:
    """A first stage that sees most, a second that sees all, and what came of it."""
    rng = np.random.default_rng(seed)
    seen, unseen = rng.normal(size=(2, N, 2)) * np.array([0.12, 0.08])[:, None, None]
    usual = np.array([0.45, 0.65])
    truth, first = (np.clip(usual + part, 0.02, 0.98) for part in (seen + unseen, seen))
    quality = (rng.random((N, 2)) < truth).astype(float)
    return Predictions(
        first, SecondStagePredictions(truth, first[:1000], SHARE, np.zeros(N, dtype=bool))
    ), quality


def test_the_score_of_a_pair_orders_prompts_as_serving_decides_at_every_threshold() -> None:
    predictions, _ = world()
    assert predictions.second is not None
    score = predictions.pairs()[:, 0]
    by_first, by_second = (
        pair_differences(p)[:, 0] for p in (predictions.first, predictions.second.p_adequate)
    )
    for threshold in (-0.1, 0.05, 0.2, 0.31):
        # Where an answer is worth 1 and the strong arm costs so much more, serving takes it from there on.
        prices = np.array([0.0, threshold])
        asked = needs_second_stage(
            value_margins(predictions.first, prices, 1.0),
            value_margins(predictions.second.reference, prices, 1.0),
            SHARE,
        )
        strong = np.where(asked, by_second, by_first) > threshold
        assert asked.mean() < SHARE + 0.04
        assert ((score > threshold) == strong).mean() > 0.995


def test_asking_about_a_third_keeps_nearly_all_that_the_second_stage_knows() -> None:
    predictions, quality = world()
    assert predictions.second is not None
    weak, strong = quality.T
    alone = apgr(weak, strong, pair_differences(predictions.first)[:, 0])
    every = apgr(weak, strong, pair_differences(predictions.second.p_adequate)[:, 0])
    assert every - alone > 0.02
    assert (apgr(weak, strong, predictions.pairs()[:, 0]) - alone) / (every - alone) > 0.85


def test_a_sweep_over_worth_asks_anew_at_each() -> None:
    predictions, _ = world()
    assert predictions.second is not None
    prices = np.array([0.1, 0.3])
    low, high = (predictions.at_worth(worth, prices) for worth in (0.8, 2.0))
    for said in (low, high):
        changed = (said != predictions.first).any(axis=1)
        assert changed.mean() == pytest.approx(SHARE, abs=0.04)
        np.testing.assert_array_equal(said[changed], predictions.second.p_adequate[changed])
    assert ((low != high).any(axis=1)).mean() > 0.1


def test_prompts_that_the_first_stage_cannot_read_are_always_asked_about() -> None:
    predictions, _ = world()
    assert predictions.second is not None
    unread = np.arange(N) % 10 == 0
    some = replace(predictions, second=replace(predictions.second, always=unread))
    told = predictions.second.p_adequate
    np.testing.assert_array_equal(some.standard[unread], told[unread])
    np.testing.assert_array_equal(some.at_worth(2.0, np.array([0.1, 0.3]))[unread], told[unread])
    np.testing.assert_array_equal(some.pairs()[unread], pair_differences(told)[unread])
    np.testing.assert_array_equal(some.pairs()[~unread], predictions.pairs()[~unread])


def test_one_stage_says_the_same_whatever_is_asked() -> None:
    p = np.random.default_rng(1).random((50, 3))
    one = Predictions(p)
    np.testing.assert_array_equal(one.standard, p)
    np.testing.assert_array_equal(one.at_worth(3.0, np.array([0.1, 0.2, 0.9])), p)
    np.testing.assert_array_equal(one.pairs(), pair_differences(p))
    assert not one.standard_asked().any()


def test_some_of_the_prompts_keep_both_opinions() -> None:
    predictions, _ = world()
    rows = np.arange(N)[::7]
    np.testing.assert_allclose(predictions.take(rows).pairs(), predictions.pairs()[rows])
    np.testing.assert_allclose(predictions.take(rows).standard, predictions.standard[rows])


def test_predictions_for_models_of_other_abilities_lie_on_the_line_through_the_arms() -> None:
    logits = np.array([[0.0, 1.0, 2.0], [-1.0, 0.0, 0.5]])
    arm_points = np.array([50.0, 70.0, 110.0])
    points = np.array([[50.0, 60.0, 150.0], [30.0, 70.0, 90.0]])
    wanted = np.array([[0.0, 0.5, 3.0], [-2.0, 0.0, 0.25]])
    found = Predictions(expit(logits)).at_abilities(arm_points, points)
    assert found.first == pytest.approx(expit(wanted))
    assert p_of_models(expit(logits), arm_points, points) == pytest.approx(expit(wanted))
    one_by_one = [
        [p_at(p, arm_points.tolist(), at) for at in row]
        for p, row in zip(expit(logits).tolist(), points.tolist(), strict=True)
    ]
    assert found.first == pytest.approx(np.array(one_by_one))
    averaged = p_of_models(expit(logits), arm_points, points, 0.3, 20.0)
    assert averaged == pytest.approx(
        np.array(
            [
                [p_at(p, arm_points.tolist(), at, 20.0, 0.3) for at in row]
                for p, row in zip(expit(logits).tolist(), points.tolist(), strict=True)
            ]
        )
    )
    sure = p_of_models(np.array([[0.0, 1.0]]), np.array([0.0, 1.0]), np.array([[9.0]]))
    assert np.isfinite(sure).all()


@pytest.mark.parametrize("uncertainty", [0.0, 0.5, 12.5, 30.0, 1000.0])
@pytest.mark.parametrize("shift", [-50.0, 0.0, 0.3, 1e6])
def test_training_predicts_exactly_as_serving(uncertainty: float, shift: float) -> None:
    rng = np.random.default_rng(7)
    arm_points = np.array([56.4, 74.9, 76.0, 101.5])
    p = np.vstack([rng.random((40, 4)), [[0.0, 1.0, 0.0, 1.0]], [[0.1, 0.9, 0.9, 0.9]]])
    points = np.column_stack(
        [rng.uniform(-100, 250, (len(p), 4)), np.tile(arm_points, (len(p), 1))]
    )
    served = [
        [p_at(row, arm_points.tolist(), at, uncertainty, shift) for at in places]
        for row, places in zip(p.tolist(), points.tolist(), strict=True)
    ]
    with np.errstate(all="raise"):
        trained = p_of_models(p, arm_points, points, shift, uncertainty)
    np.testing.assert_allclose(trained, np.array(served), rtol=1e-9, atol=1e-15)
