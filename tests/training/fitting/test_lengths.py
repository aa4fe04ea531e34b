"""How long answers get: quantiles that follow the prompt, and hold what they promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.training.worlds import answered
from training.evaluation.metrics import coverage, pinball
from training.fitting.lengths import fit_lengths
from training.fitting.ngrams import ngram_counts


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
    return fit_lengths(x, answered(tokens), seed=1, dimensions=3, counts=ngram_counts(ids))


def test_nine_in_ten_answers_are_within_the_ninth_decile(fitted: Any) -> None:
    x, ids, tokens = world(3_000, seed=1)
    found = fitted.of(x, ngram_counts(ids))
    for arm in range(2):
        assert coverage(tokens[:, arm], found[:, arm, 0]) == pytest.approx(0.5, abs=0.04)
        assert coverage(tokens[:, arm], found[:, arm, 1]) == pytest.approx(0.9, abs=0.025)
        assert coverage(tokens[:, arm], found[:, arm, 2]) > 0.98


def test_they_follow_the_prompt_far_closer_than_the_quantiles_of_the_arm(fitted: Any) -> None:
    x, ids, tokens = world(3_000, seed=1)
    found = fitted.of(x, ngram_counts(ids))
    for place, level in enumerate((0.5, 0.9)):
        whole = pinball(tokens[:, 0], float(np.quantile(tokens[:, 0], level)), level)
        assert pinball(tokens[:, 0], found[:, 0, place], level) < 0.7 * whole


def test_answers_that_level_off_are_seen_to() -> None:
    """Above a point the arm stops: a line would go on."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3_000, 5)).astype(np.float32)
    middle = np.minimum(5 + 1.5 * x[:, 3:4], 6)
    tokens = np.exp(middle + 0.2 * rng.normal(size=(3_000, 2)))
    made = fit_lengths(x[:2_000], answered(tokens[:2_000]), seed=1, dimensions=3)
    asked = np.zeros((3, 5), dtype=np.float32)
    asked[:, 3] = [-1, 1, 2]
    found = np.log(made.of(asked)[:, 0, 0])
    np.testing.assert_allclose(found, [3.5, 6, 6], atol=0.25)


def test_few_prompts_teach_what_a_feature_says_among_many_dimensions() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(1_300, 262)).astype(np.float32)
    tokens = np.exp(5 + 0.8 * x[:, 260:261] + 0.4 * rng.normal(size=(1_300, 2)))
    made = fit_lengths(x[:300], answered(tokens[:300]), seed=1, dimensions=256)
    said = np.log(made.of(x[300:])[:, 0, 0])
    assert np.corrcoef(said, x[300:, 260])[0, 1] > 0.9


def test_each_arm_learns_as_much_as_its_lengths_allow() -> None:
    x, ids, tokens = world(1_000, seed=4)
    tokens = np.hstack([tokens, tokens, tokens[:, :1]])
    tokens[150:, 0] = np.nan  # enough for quantiles, too few to follow the prompt
    tokens[:, 2] = np.nan
    made = fit_lengths(x, answered(tokens), seed=1, dimensions=3, counts=ngram_counts(ids))
    found = made.of(x, ngram_counts(ids))
    assert made.known.tolist() == [True, True, False, True, True]
    assert (found[:, 0] == found[0, 0]).all()
    assert np.isnan(found[:, 2]).all()
    for arm in (1, 3, 4):
        assert np.corrcoef(np.log(found[:, arm, 0]), np.log(tokens[:, arm]))[0, 1] > 0.8


def test_the_same_seed_gives_the_same_lengths() -> None:
    x, _, tokens = world(400, seed=2)
    once, twice = (fit_lengths(x, answered(tokens), seed=3, dimensions=3).of(x) for _ in range(2))
    assert (once == twice).all()


def test_quantiles_ascend_and_stay_within_reason(fitted: Any) -> None:
    strange = np.random.default_rng(3).normal(size=(500, 5)).astype(np.float32) * 50
    found = fitted.of(strange, ngram_counts([[1, 2, 3]] * 500))
    assert (np.diff(found, axis=2) >= 0).all()
    assert found.min() >= 1
    assert found.max() <= 2.01 * world(2_000, seed=0)[2].max()


def test_of_ninety_nine_lengths_the_fiftieth_ninetieth_and_last_are_the_quantiles() -> None:
    """Split conformal ranks: one hundredth of (99 + 1) is one place."""
    tokens = np.random.default_rng(0).permuted(np.tile(np.arange(1.0, 100), (2, 1)), axis=1).T
    made = fit_lengths(np.zeros((99, 5), dtype=np.float32), answered(tokens), seed=1, dimensions=3)
    found = made.of(np.zeros((1, 5), dtype=np.float32))
    np.testing.assert_allclose(found, [[[50, 90, 99]] * 2])


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
