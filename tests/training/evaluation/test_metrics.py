"""Figures by hand where a hand can reach, and properties elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from training.evaluation.metrics import (
    apgr,
    apgr_statistic,
    bootstrap,
    coverage,
    cpt,
    interval,
    pinball,
    within_category_apgr,
)

# A busy machine is no failure: no deadline per example.
unhurried = settings(max_examples=60)

WEAK = np.array([0.0, 0.0, 1.0, 1.0])
STRONG = np.array([1.0, 1.0, 1.0, 1.0])


def by_the_curve(weak: np.ndarray, strong: np.ndarray, score: np.ndarray) -> float:
    """RouteLLM's definition, word for word: sort, cut at every share, trapezoid."""
    order = np.argsort(-score, kind="stable")
    n = len(order)
    heights = []
    for sent in range(n + 1):
        routed = np.where(np.isin(np.arange(n), order[:sent]), strong, weak)
        heights.append(routed.mean())
    area = np.trapezoid(heights, np.arange(n + 1) / n)
    return float((area - weak.mean()) / (strong.mean() - weak.mean()))


def test_apgr_of_a_perfect_score_by_hand() -> None:
    # Quality .5, .75, 1, 1, 1 at shares 0, .25, .5, .75, 1: area .875, so (.875 - .5) / .5.
    assert apgr(WEAK, STRONG, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(0.75)


def test_apgr_of_the_worst_score_by_hand() -> None:
    assert apgr(WEAK, STRONG, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(0.25)


def test_a_constant_score_is_worth_a_random_one() -> None:
    assert apgr(WEAK, STRONG, np.zeros(4)) == pytest.approx(0.5)


def test_a_random_score_is_worth_a_half() -> None:
    rng = np.random.default_rng(0)
    weak, strong = rng.random(20_000) < 0.4, rng.random(20_000) < 0.8
    value = apgr(weak.astype(float), strong.astype(float), rng.random(20_000))
    assert value == pytest.approx(0.5, abs=0.02)


def test_without_a_gap_or_without_prompts_there_is_no_apgr() -> None:
    assert np.isnan(apgr(WEAK, WEAK, np.arange(4.0)))
    assert np.isnan(apgr(np.zeros(0), np.zeros(0), np.zeros(0)))


def test_cpt_by_hand() -> None:
    best = np.array([4.0, 3.0, 2.0, 1.0])
    assert cpt(WEAK, STRONG, best, 0.5) == pytest.approx(0.25)
    assert cpt(WEAK, STRONG, best, 0.8) == pytest.approx(0.4)
    assert cpt(WEAK, STRONG, -best, 0.5) == pytest.approx(0.75)
    assert cpt(WEAK, STRONG, np.zeros(4), 0.8) == pytest.approx(0.8)
    assert np.isnan(cpt(STRONG, WEAK, best, 0.5))


qualities = hnp.arrays(np.float64, 30, elements=st.sampled_from([0.0, 0.5, 1.0]))
scores = hnp.arrays(np.float64, 30, elements=st.integers(0, 9).map(float))


@unhurried
@given(qualities, qualities, hnp.arrays(np.float64, 30, elements=st.floats(0, 1), unique=True))
def test_apgr_is_routellms_curve(weak: np.ndarray, strong: np.ndarray, score: np.ndarray) -> None:
    if abs((strong - weak).mean()) > 1e-9:
        assert apgr(weak, strong, score) == pytest.approx(by_the_curve(weak, strong, score))


@unhurried
@given(qualities, qualities, scores)
def test_a_reversed_score_is_worth_the_rest(
    weak: np.ndarray, strong: np.ndarray, score: np.ndarray
) -> None:
    if abs((strong - weak).mean()) > 1e-9:
        assert apgr(weak, strong, -score) == pytest.approx(1 - apgr(weak, strong, score))


@unhurried
@given(qualities, qualities, scores)
def test_nothing_ranks_better_than_the_truth(
    weak: np.ndarray, strong: np.ndarray, score: np.ndarray
) -> None:
    if (strong - weak).mean() > 1e-9:
        assert apgr(weak, strong, score) <= apgr(weak, strong, strong - weak) + 1e-9


@unhurried
@given(qualities, qualities, scores, st.permutations(range(30)))
def test_ties_do_not_depend_on_the_order_of_rows(
    weak: np.ndarray, strong: np.ndarray, score: np.ndarray, order: list[int]
) -> None:
    mixed = apgr(weak[order], strong[order], score[order])
    assert mixed == pytest.approx(apgr(weak, strong, score), nan_ok=True)


@unhurried
@given(qualities, qualities, scores)
def test_more_of_the_gap_needs_more_calls(
    weak: np.ndarray, strong: np.ndarray, score: np.ndarray
) -> None:
    if (strong - weak).mean() > 1e-9:
        half, most = cpt(weak, strong, score, 0.5), cpt(weak, strong, score, 0.8)
        assert 0 <= half <= most <= 1


def test_recognising_the_category_earns_nothing_within_it() -> None:
    categories = np.repeat(np.array(["easy", "hard"], dtype=object), 50)
    rng = np.random.default_rng(1)
    weak = np.where(categories == "easy", 1.0, (rng.random(100) < 0.2).astype(float))
    strong = np.ones(100)
    score = (categories == "hard").astype(float)
    assert apgr(weak, strong, score) > 0.7
    assert within_category_apgr(weak, strong, score, categories) == pytest.approx(0.5)


def test_small_and_nameless_categories_are_left_out() -> None:
    few = np.array(["rare"] * 4, dtype=object)
    assert np.isnan(within_category_apgr(WEAK, STRONG, np.arange(4.0), few))
    nameless = np.full(40, "", dtype=object)
    assert np.isnan(within_category_apgr(np.tile(WEAK, 10), np.ones(40), np.arange(40.0), nameless))


# --- Intervals ---------------------------------------------------------------------------------


def test_bootstrap_counts_are_resamples() -> None:
    drawn = bootstrap(50, {"size": lambda counts: counts.sum(axis=0)}, seed=0, resamples=300)
    assert drawn["size"].tolist() == [50.0] * 300


def test_bootstrap_of_apgr_is_apgr_of_the_resampled_prompts() -> None:
    rng = np.random.default_rng(4)
    weak, strong = rng.random(40), rng.random(40) + 0.3
    score = rng.integers(0, 8, 40).astype(float)
    index = rng.integers(40, size=40)
    counts = np.bincount(index, minlength=40).astype(float)[:, None]
    assert apgr_statistic(weak, strong, score)(counts)[0] == pytest.approx(
        apgr(weak[index], strong[index], score[index])
    )


def test_the_interval_covers_the_figure_and_is_the_same_again() -> None:
    rng = np.random.default_rng(5)
    weak = (rng.random(500) < 0.4).astype(float)
    strong = (rng.random(500) < 0.8).astype(float)
    score = strong - weak + rng.normal(size=500)
    statistic = {"apgr": apgr_statistic(weak, strong, score)}
    first = bootstrap(500, statistic, seed=7)["apgr"]
    assert np.array_equal(first, bootstrap(500, statistic, seed=7)["apgr"])
    low, high = interval(first)
    assert low < apgr(weak, strong, score) < high
    assert 0.02 < high - low < 0.2


def test_an_interval_of_nothing_is_nothing() -> None:
    assert np.isnan(interval(np.full(3, np.nan))).all()


# --- Lengths -----------------------------------------------------------------------------------


def test_pinball_and_coverage_by_hand() -> None:
    actual = np.array([1.0, 5.0])
    assert pinball(actual, 3.0, 0.9) == pytest.approx((0.1 * 2 + 0.9 * 2) / 2)
    assert coverage(actual, np.array([1.0, 4.0])) == 0.5


@unhurried
@given(hnp.arrays(np.float64, 50, elements=st.floats(1, 1000)), st.floats(1, 1000))
def test_no_constant_has_less_pinball_loss_than_the_quantile(
    actual: np.ndarray, other: float
) -> None:
    quantile = float(np.quantile(actual, 0.9, method="inverted_cdf"))
    assert pinball(actual, quantile, 0.9) <= pinball(actual, other, 0.9) + 1e-9
