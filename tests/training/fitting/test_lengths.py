"""How long answers get: quantiles that follow the prompt, and hold what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.training.worlds import answered
from training.fitting.lengths import fit_lengths
from training.fitting.ngrams import counted
from training.judging.metrics import coverage, pinball


def world(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Lengths that double with the first input, spread with the second, and triple with a word."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    wordy = rng.random(n) < 0.3
    ids = [[*rng.integers(100, 200, size=6), 7 if long else 8] for long in wordy]
    logs = 5 + np.log(2) * x[:, 0] + np.log(3) * wordy
    noise = rng.normal(size=(n, 2)) * np.exp(-1 + 0.4 * x[:, 1:2])
    return x, ids, np.exp(np.stack([logs, logs + 0.5], axis=1) + noise).round() + 1


@pytest.fixture(scope="module")
def fitted() -> Any:
    x, ids, tokens = world(2_000, seed=0)
    return fit_lengths(x, answered(tokens), seed=1, dimensions=3, counts=counted(ids))


def test_nine_in_ten_answers_are_within_the_ninth_decile(fitted: Any) -> None:
    x, ids, tokens = world(3_000, seed=1)
    found = fitted.of(x, counted(ids))
    for arm in range(2):
        assert coverage(tokens[:, arm], found[:, arm, 0]) == pytest.approx(0.5, abs=0.04)
        assert coverage(tokens[:, arm], found[:, arm, 1]) == pytest.approx(0.9, abs=0.025)
        assert coverage(tokens[:, arm], found[:, arm, 2]) > 0.98


def test_they_follow_the_prompt_far_closer_than_the_quantiles_of_the_arm(fitted: Any) -> None:
    x, ids, tokens = world(3_000, seed=1)
    found = fitted.of(x, counted(ids))
    for place, level in enumerate((0.5, 0.9)):
        whole = pinball(tokens[:, 0], float(np.quantile(tokens[:, 0], level)), level)
        assert pinball(tokens[:, 0], found[:, 0, place], level) < 0.7 * whole


def test_quantiles_ascend_and_stay_within_reason(fitted: Any) -> None:
    strange = np.random.default_rng(3).normal(size=(500, 5)).astype(np.float32) * 50
    found = fitted.of(strange, counted([[1, 2, 3]] * 500))
    assert (np.diff(found, axis=2) >= 0).all()
    assert found.min() >= 1
    assert found.max() <= 2.01 * world(2_000, seed=0)[2].max()


def test_few_lengths_give_the_same_quantiles_for_every_prompt() -> None:
    x, _, tokens = world(60, seed=2)
    found = fit_lengths(x, answered(tokens), seed=1, dimensions=3).of(x)
    assert (found == found[0]).all()
    assert coverage(tokens[:, 0], found[:, 0, 1]) >= 0.88


def test_an_arm_without_lengths_says_so() -> None:
    x, _, tokens = world(300, seed=2)
    tokens[:, 1] = np.nan
    tokens[:19, 1] = 5.0  # fewer than say anything
    made = fit_lengths(x, answered(tokens), seed=1, dimensions=3)
    assert made.known.tolist() == [True, False]
    assert np.isnan(made.of(x)[:, 1]).all()
