"""Output lengths of a new arm from those of its tier."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from training.arrivals.length_transfer import (
    MIN_LENGTHS,
    TIER_LENGTHS,
    LengthTransfer,
    fit_length_transfer,
    prequential_figures,
)

Z = np.array([0.0, 1.2816, 2.3263])


def world(n: int, *, factor: float, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The tier's quantiles for prompts of all lengths, and what an arm produces: wordier, and less evenly."""
    rng = np.random.default_rng(seed)
    median = rng.normal(5, 0.8, n)
    tier = np.exp(median[:, None] + 0.5 * Z)
    return tier, np.exp(median + np.log(factor) + 0.5 * spread * rng.normal(size=n))


def test_without_enough_lengths_the_arm_keeps_those_of_its_tier() -> None:
    tier, tokens = world(MIN_LENGTHS - 1, factor=9, spread=1)
    known = fit_length_transfer(tier, tokens)
    assert known is TIER_LENGTHS
    np.testing.assert_allclose(known.quantiles(tier), tier)


@pytest.mark.parametrize("n", [40, 150, 3_000])
def test_a_wordier_arm_is_found(n: int) -> None:
    known = fit_length_transfer(*world(n, factor=3, spread=1.4))
    assert np.exp(known.shift) == pytest.approx(3, rel=0.35)
    assert known.widths[1] == pytest.approx(1.4, rel=0.35)


def test_few_lengths_leave_more_room_than_many() -> None:
    few = [
        fit_length_transfer(*world(10, factor=1, spread=1, seed=seed)).widths[2]
        for seed in range(30)
    ]
    many = [
        fit_length_transfer(*world(90, factor=1, spread=1, seed=seed)).widths[2]
        for seed in range(30)
    ]
    assert np.mean(few) > max(1.0, float(np.mean(many)))


def test_with_a_hundred_lengths_nine_in_ten_answers_to_come_are_within_the_p90() -> None:
    held = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        tier, tokens = world(1_100, factor=2, spread=1, seed=seed)
        tokens = tokens * np.exp(rng.exponential(1, 1_100))  # nothing like a normal distribution
        known = fit_length_transfer(tier[:100], tokens[:100])
        held.append(np.mean(tokens[100:] <= known.quantiles(tier[100:])[:, 1]))
    assert np.mean(held) == pytest.approx(0.9, abs=0.015)


def exact(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The tier says 100, 200 and 400 of every prompt; the arm takes 100 × 2^(1/n), 100 × 2^(2/n) … 200."""
    tier = np.tile([100.0, 200.0, 400.0], (n, 1))
    return tier, 100 * 2 ** (np.arange(1, n + 1) / n)


def test_a_hundred_lengths_set_the_median_and_the_90th_percentile_by_their_rank() -> None:
    known = fit_length_transfer(*exact(100))
    assert known.shift == pytest.approx(51 / 100 * np.log(2))
    # The 91st of 100, in terms of the tier's distance from its median, which is log 2.
    assert known.widths[0] == 1
    assert known.widths[1] == pytest.approx((91 - 51) / 100)


def bayes(n: int) -> tuple[float, float]:
    """Shift and φ of the conjugate update by hand, with the tier's spread and the same lengths."""
    z = NormalDist().inv_cdf(0.9)
    ratios = np.arange(1, n + 1) / n * np.log(2)
    precision = (z / np.log(2)) ** 2
    total = 1 / 0.7**2 + n * precision
    shift = precision * ratios.sum() / total
    scale = 2 + (precision * (ratios**2).sum() - total * shift**2) / 2
    return shift, scale / (3 + n / 2) * (1 + precision / total)


def test_few_lengths_are_weighed_against_what_models_of_a_tier_differ_by() -> None:
    shift, phi = bayes(18)
    known = fit_length_transfer(*exact(18))
    assert known.shift == pytest.approx(shift)
    for place, level in ((1, 0.9), (2, 0.99)):
        student = scipy.stats.t.ppf(level, 2 * (3 + 18 / 2)) / NormalDist().inv_cdf(level)
        assert known.widths[place] == pytest.approx(student * np.sqrt(phi))


def test_ten_lengths_beyond_a_quantile_settle_it_by_rank() -> None:
    # (19 + 1) · .5 = 10, but (18 + 1) · .5 = 9.5
    assert fit_length_transfer(*exact(18)).shift == pytest.approx(bayes(18)[0])
    assert fit_length_transfer(*exact(19)).shift == pytest.approx(10 / 19 * np.log(2))
    assert fit_length_transfer(*exact(19)).shift != pytest.approx(bayes(19)[0])
    # (98 + 1) · .1 = 9.9
    assert fit_length_transfer(*exact(98)).widths[1] == pytest.approx(
        scipy.stats.t.ppf(0.9, 2 * (3 + 49)) / NormalDist().inv_cdf(0.9) * np.sqrt(bayes(98)[1])
    )


def test_a_tier_that_gives_one_length_still_lets_lengths_scatter_by_a_twentieth() -> None:
    tier = np.full((101, 3), 100.0)
    tokens = 100 * np.exp(0.05 * np.arange(-50, 51))
    known = fit_length_transfer(tier, tokens)
    assert known.shift == pytest.approx(0)
    # The 92nd is 41 steps of .05 above the median; the tier's .9 quantile counts as .05 · 1.28 above.
    assert known.widths[1] == pytest.approx(41 / NormalDist().inv_cdf(0.9))


def test_from_ten_lengths_on_they_are_learnt_from() -> None:
    assert fit_length_transfer(*exact(9)) is TIER_LENGTHS
    assert fit_length_transfer(*exact(10)) is not TIER_LENGTHS


def test_quantiles_are_shifted_and_stretched_about_the_median() -> None:
    known = LengthTransfer(np.log(2), np.array([1.0, 0.5, 2.0]))
    np.testing.assert_allclose(known.quantiles(np.array([[100.0, 400, 400]])), [[200, 400, 3200]])
    np.testing.assert_allclose(
        LengthTransfer(-5.0, np.ones(3)).quantiles(np.array([[2.0, 3, 400]])),
        [[1, 1, 400 * np.exp(-5)]],
    )


def test_an_answer_of_no_tokens_is_as_good_as_one_of_one() -> None:
    tier, tokens = exact(20)
    none, one = tokens.copy(), tokens.copy()
    none[0], one[0] = 0, 1
    assert fit_length_transfer(tier, none).shift == fit_length_transfer(tier, one).shift
    np.testing.assert_array_equal(
        fit_length_transfer(tier, none).widths, fit_length_transfer(tier, one).widths
    )


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
    found = fit_length_transfer(tier, np.array(tokens, dtype=float)).quantiles(tier)
    assert (found >= 1).all()
    assert (np.diff(found, axis=1) >= -1e-9 * found[:, 1:]).all()


def test_lengths_are_predicted_before_they_are_learnt() -> None:
    tier, tokens = world(120, factor=4, spread=1)
    told = prequential_figures(tier, tokens)
    assert told["coverage_p90"] > 0.8 > told["tier_coverage_p90"]
    assert told["pinball_to_tier_p90"] < 0.8
    tokens[-1] = 1e6
    # One in 120 more or less: nothing else moved.
    assert prequential_figures(tier, tokens)["coverage_p90"] == pytest.approx(
        told["coverage_p90"], abs=1.01 / 120
    )
