"""Output lengths of a new arm from those of its tier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.arrivals.stretching import MIN_LENGTHS, SAME, beforehand, stretch

Z = np.array([0.0, 1.2816, 2.3263])


def world(n: int, *, factor: float, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The tier's quantiles for prompts of all lengths, and what an arm produces: wordier, and less evenly."""
    rng = np.random.default_rng(seed)
    median = rng.normal(5, 0.8, n)
    tier = np.exp(median[:, None] + 0.5 * Z)
    return tier, np.exp(median + np.log(factor) + 0.5 * spread * rng.normal(size=n))


def test_without_enough_lengths_the_arm_keeps_those_of_its_tier() -> None:
    tier, tokens = world(MIN_LENGTHS - 1, factor=9, spread=1)
    known = stretch(tier, tokens)
    assert known is SAME
    np.testing.assert_allclose(known.quantiles(tier), tier)


@pytest.mark.parametrize("n", [40, 150, 3_000])
def test_a_wordier_arm_is_found(n: int) -> None:
    known = stretch(*world(n, factor=3, spread=1.4))
    assert np.exp(known.shift) == pytest.approx(3, rel=0.35)
    assert known.widths[1] == pytest.approx(1.4, rel=0.35)


def test_few_lengths_leave_more_room_than_many() -> None:
    few = [stretch(*world(10, factor=1, spread=1, seed=seed)).widths[2] for seed in range(30)]
    many = [stretch(*world(90, factor=1, spread=1, seed=seed)).widths[2] for seed in range(30)]
    assert np.mean(few) > max(1.0, float(np.mean(many)))


def test_with_a_hundred_lengths_nine_in_ten_answers_to_come_are_within_the_p90() -> None:
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tier, tokens = world(1_100, factor=2, spread=1, seed=seed)
        tokens = tokens * np.exp(rng.exponential(1, 1_100))  # nothing like a normal distribution
        known = stretch(tier[:100], tokens[:100])
        held.append(np.mean(tokens[100:] <= known.quantiles(tier[100:])[:, 1]))
    assert np.mean(held) == pytest.approx(0.9, abs=0.015)


@given(
    tokens=st.lists(st.integers(0, 10**6), min_size=1, max_size=120),
    same=st.booleans(),
    seed=st.integers(0, 9),
)
def test_quantiles_ascend_and_are_at_least_a_token(
    tokens: list[int], same: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tier = np.sort(np.exp(rng.normal(4, 2, (len(tokens), 3)).clip(0)), axis=1)
    if same:
        tier[:] = tier[:, :1]
    found = stretch(tier, np.array(tokens, dtype=float)).quantiles(tier)
    assert (found >= 1).all()
    assert (np.diff(found, axis=1) >= -1e-9 * found[:, 1:]).all()


def test_lengths_are_predicted_before_they_are_learnt() -> None:
    tier, tokens = world(120, factor=4, spread=1)
    told = beforehand(tier, tokens)
    assert told["coverage_p90"] > 0.8 > told["tier_coverage_p90"]
    assert told["pinball_to_tier_p90"] < 0.8
    tokens[-1] = 1e6
    # One in 120 more or less: nothing else moved.
    assert beforehand(tier, tokens)["coverage_p90"] == pytest.approx(
        told["coverage_p90"], abs=1.01 / 120
    )
