"""How heads are put together and calibrated: what is trusted, and what is shared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit

from training.fitting.stacking import fit_stack

N = 3000


def drawn(p: Any, seed: int = 0) -> Any:
    """Outcomes, 0 or 1, of these probabilities."""
    return (np.random.default_rng(seed).random(p.shape) < p).astype(float)


def test_a_head_that_knows_is_trusted_and_one_that_guesses_is_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(N, 2))
    heads = np.stack([truth, rng.normal(size=(N, 2)), -truth], axis=2)
    found = fit_stack(heads, drawn(expit(truth)), np.ones((N, 2)))
    assert found.weights[:, 0] == pytest.approx(1, abs=0.1)
    assert found.weights[:, 1] == pytest.approx(0, abs=0.1)
    assert found.weights[:, 2] == pytest.approx(0, abs=0.05)


def test_heads_that_are_too_sure_are_tempered() -> None:
    truth = np.random.default_rng(1).normal(size=(N, 2)) + 1
    found = fit_stack((3 * truth)[:, :, None], drawn(expit(truth)), np.ones((N, 2)))
    assert np.abs(found.of((3 * truth)[:, :, None]) - truth).mean() < 0.15


def test_an_arm_with_few_attempts_leans_on_the_others() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(N, 3))
    heads = np.stack([truth, rng.normal(size=(N, 3))], axis=2)
    weight = np.ones((N, 3))
    weight[40:, 2] = 0  # forty attempts, by chance all contrary to the head that knows
    outcome = drawn(expit(truth))
    outcome[:40, 2] = truth[:40, 2] < 0
    found = fit_stack(heads, outcome, weight)
    assert found.weights[2, 0] > 0.8 * found.weights[:2, 0].mean()


def test_attempts_that_do_not_exist_say_nothing() -> None:
    rng = np.random.default_rng(3)
    heads, outcome = rng.normal(size=(200, 2, 2)), rng.choice([0.0, 1.0], (200, 2))
    weight = (rng.random((200, 2)) < 0.5).astype(float)
    one, two = (
        fit_stack(heads, outcome, weight),
        fit_stack(heads, np.where(weight > 0, outcome, 1 - outcome), weight),
    )
    np.testing.assert_array_equal(one.weights, two.weights)


def test_an_arm_that_was_always_adequate_is_trusted_but_stays_finite() -> None:
    heads = np.full((20, 2, 1), logit(20.5 / 21))
    found = fit_stack(heads, np.ones((20, 2)), np.ones((20, 2)))
    said = expit(found.of(heads))
    assert said.min() > 0.95
    assert said.max() < 0.995
