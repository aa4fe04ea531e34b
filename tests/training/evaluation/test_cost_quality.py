"""Quality against cost by hand where a hand can reach, and as properties elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.cost_quality import (
    LAMBDAS,
    Points,
    aiq,
    aiq_over_singles,
    cost_at_quality,
    hull,
    quality_at_cost,
    single_arms,
    sweep,
)


def test_hull_by_hand() -> None:
    xs, ys = hull(np.array([3.0, 1.0, 2.0, 4.0, 1.0]), np.array([0.8, 0.4, 0.5, 0.7, 0.3]))
    assert xs.tolist() == [1.0, 3.0]
    assert ys.tolist() == [0.4, 0.8]


def test_aiq_by_hand() -> None:
    # From (1, .4) up to (3, .8), then flat to 5: (.6 · 2 + .8 · 2) / 4.
    assert aiq(np.array([1.0, 3.0]), np.array([0.4, 0.8]), 1.0, 5.0) == pytest.approx(0.7)
    assert np.isnan(aiq(np.array([1.0]), np.array([0.4]), 1.0, 1.0))


points = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(points)
def test_a_hull_rises_ever_more_slowly_and_lies_above_every_point(
    given_points: list[tuple[int, int]],
) -> None:
    cost, quality = (np.array(side, dtype=float) for side in zip(*given_points, strict=True))
    xs, ys = hull(cost, quality)
    assert (np.diff(xs) > 0).all()
    assert (np.diff(ys) > 0).all()
    assert (np.diff(np.diff(ys) / np.diff(xs)) < 1e-9).all()
    assert (np.interp(cost, xs, ys) >= quality - 1e-9).all()


def money(seed: int = 0, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    quality = (rng.random((n, 3)) < [0.4, 0.6, 0.8]).astype(float)
    cost = rng.integers([100, 400, 2000], [200, 800, 4000], size=(n, 3)) * 1000
    return quality, cost.astype(np.int64)


def test_knowing_the_answers_beats_the_single_arms_and_knowing_nothing_does_not() -> None:
    quality, cost = money()
    singles = single_arms(quality, cost).points()
    mean = cost.mean(axis=0, keepdims=True) / 1e9
    constant = np.tile(quality.mean(axis=0), (len(quality), 1))
    zero = aiq_over_singles(singles, singles)[0]
    blind = aiq_over_singles(sweep(constant, mean, quality, cost).points(), singles)[0]
    oracle = aiq_over_singles(sweep(quality, cost / 1e9, quality, cost).points(), singles)[0]
    assert blind == pytest.approx(zero, abs=1e-5)
    assert oracle > zero + 0.1


def test_the_sweep_goes_from_the_cheapest_arm_to_the_most_promising() -> None:
    quality, cost = money()
    belief = np.random.default_rng(3).random(quality.shape)
    found = sweep(belief, cost.mean(axis=0, keepdims=True) / 1e9, quality, cost).points()
    assert found.quality[0, 0] == pytest.approx(quality[:, 0].mean(), abs=1e-5)
    best = quality[np.arange(len(quality)), belief.argmax(axis=1)].mean()
    assert found.quality[0, -1] == pytest.approx(best, abs=1e-5)
    assert found.cost.shape[1] <= LAMBDAS + 20


def test_cost_at_quality_by_hand() -> None:
    singles = Points(np.array([[1.0, 10.0]]), np.array([[0.5, 1.0]]))
    router = Points(np.array([[1.0, 4.0, 8.0]]), np.array([[0.5, 0.96, 0.99]]))
    assert cost_at_quality(router, singles, 0.95)[0] == pytest.approx(0.4)
    assert cost_at_quality(router, singles, 0.99)[0] == pytest.approx(0.8)
    assert cost_at_quality(router, singles, 1.0)[0] == pytest.approx(1.0)  # the arm itself
    assert quality_at_cost(router, singles, 1)[0] == pytest.approx(-0.01)
    assert quality_at_cost(router, singles, 0)[0] == pytest.approx(0.0)
