"""How heads are put together and calibrated: what is trusted, what is shared, and when a curve is bent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from training.fitting.stacking import Calibration, fit_calibration, fit_stack

N = 3000
ONE = np.zeros(N, dtype=np.intp)
"""All in one script."""


def drawn(p: Any, seed: int = 0) -> Any:
    """Outcomes, 0 or 1, of these probabilities."""
    return (np.random.default_rng(seed).random(p.shape) < p).astype(float)


def folds(n: int) -> Any:
    return np.arange(n) % 5


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


GUESSED = 0.25
"""A test with four answers: whoever knows nothing is right in a quarter of the cases."""


def test_a_floor_of_lucky_guesses_is_learnt() -> None:
    z = np.random.default_rng(4).normal(scale=1.5, size=(N, 2)) - 1
    p = np.stack([GUESSED + (1 - GUESSED) * expit(z[:, 0]), expit(z[:, 1])], axis=1)
    found = fit_calibration(z, drawn(p), np.ones((N, 2)), folds(N), ONE)
    assert found.changed_arms.tolist() == [True, False]
    low = z[:, 0] < -2
    straight = np.abs(expit(z) - p)[low, 0].mean()
    assert np.abs(expit(found.of(z, ONE)) - p)[low, 0].mean() < 0.35 * straight
    np.testing.assert_array_equal(found.of(z, ONE)[:, 1], z[:, 1])


def test_what_is_calibrated_is_mostly_left_alone() -> None:
    """Each arm is bent where chance makes it look useful; that must stay rare, and do little."""
    z = np.random.default_rng(5).normal(size=(N, 12))
    found = fit_calibration(z, drawn(expit(z)), np.ones((N, 12)), folds(N), ONE)
    assert found.changed_arms.sum() <= 5
    assert np.abs(expit(found.of(z, ONE)) - expit(z)).max() < 0.1


def two_scripts(japanese: int, worse: float) -> tuple[Any, Any, Any]:
    """Logits, outcomes and scripts, where the first arm is worse in Japanese than the logits say."""
    z = np.random.default_rng(6).normal(size=(N, 2))
    scripts = (np.arange(N) < japanese).astype(np.intp)
    return z, drawn(expit(z - worse * scripts[:, None] * np.array([1, 0]))), scripts


def test_an_arm_that_is_worse_in_a_language_is_said_to_be() -> None:
    z, outcome, scripts = two_scripts(japanese=600, worse=1.0)
    found = fit_calibration(z, outcome, np.ones((N, 2)), folds(N), scripts)
    truth = z - scripts[:, None] * np.array([1, 0])
    wrong = np.abs(expit(found.of(z, scripts)) - expit(truth))
    assert wrong[:600].max() < 0.07
    assert wrong[600:].max() < 0.05


@pytest.mark.parametrize(("japanese", "worse"), [(99, 3.0), (0, 0.0), (N, 1.0)])
def test_a_language_of_few_prompts_or_the_only_one_is_not_told_apart(
    japanese: int, worse: float
) -> None:
    z, outcome, scripts = two_scripts(japanese, worse)
    assert fit_calibration(z, outcome, np.ones((N, 2)), folds(N), scripts).by_script is None


def test_where_languages_do_not_differ_hardly_anything_is_shifted() -> None:
    z, outcome, scripts = two_scripts(japanese=600, worse=0.0)
    found = fit_calibration(z, outcome, np.ones((N, 2)), folds(N), scripts)
    assert np.abs(found.of(z, scripts) - z).max() < 0.35


@given(
    positive=st.floats(0, 5),
    negative=st.floats(0, 5),
    shift=st.floats(-3, 3),
    z=st.lists(st.floats(-30, 30), min_size=2, max_size=20),
)
def test_order_is_kept(positive: float, negative: float, shift: float, z: list[float]) -> None:
    one = Calibration(*(np.array([value]) for value in (positive, negative, shift)))
    ordered = one.of(np.sort(z)[:, None], np.zeros(len(z), dtype=np.intp))[:, 0]
    assert (np.diff(ordered) >= -1e-9).all()
