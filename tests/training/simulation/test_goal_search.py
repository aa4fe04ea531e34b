"""Which goal a budget can carry."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.core.errors import InvalidInput
from router.core.types import Candidate, MissCost, QualityTarget
from tests.builders import candidate
from tests.training.worlds import world
from training.simulation.goal_search import (
    FEW_PROMPTS,
    choices,
    few_prompts,
    halves,
    miss_costs,
    quality_targets,
    tradeoff,
    within_budget,
)

ROWS, TRUTH = world(600, seed=3)
TEST = ROWS.outcomes
PRICES = (("1", "1"), ("1", "4"), ("1", "40"))


def candidates(p_adequate: np.ndarray) -> list[tuple[Candidate, ...]]:
    return [
        tuple(
            candidate(f"model-{arm}", float(p), price=price, tier=arm)
            for arm, p, price in zip(TEST.arms, row, PRICES, strict=True)
        )
        for row in p_adequate
    ]


CANDIDATES = candidates(TRUTH)


def test_a_target_takes_the_cheapest_arm_that_reaches_it_and_else_the_best() -> None:
    some = candidates(np.array([[0.7, 0.8, 0.9], [0.1, 0.8, 0.9], [0.1, 0.2, 0.3]]))
    assert choices(some, TEST.arms, QualityTarget(0.6)).tolist() == [0, 1, 2]
    assert choices(some, TEST.arms, MissCost(0)).tolist() == [0, 0, 0]


def test_halves_are_disjoint_keep_groups_together_and_know_all_outcomes() -> None:
    gaps = TEST.quality.copy()
    gaps[:50, 1] = np.nan
    test = replace(TEST, quality=gaps)
    first, second = halves(test, seed=1)
    assert not (first & second).any()
    assert (first | second).sum() == 550
    assert set(test.groups[first]) & set(test.groups[second]) == set()
    assert 0.4 < first.sum() / 550 < 0.6
    assert all((a == b).all() for a, b in zip((first, second), halves(test, seed=1), strict=True))


def test_a_censored_history_is_refused_with_the_remedy() -> None:
    censored = world(100, censored=True)[0].outcomes
    with pytest.raises(InvalidInput, match="replay the decision log"):
        halves(censored, seed=1)


@pytest.mark.parametrize(
    "goals", [quality_targets(), miss_costs(TEST)], ids=["targets", "costs of a miss"]
)
def test_the_ends_of_the_goals_are_the_cheapest_and_the_best(goals: list) -> None:
    found = tradeoff(TEST, CANDIDATES, goals, seed=1)
    assert found.shares.sum(axis=1) == pytest.approx(1)
    assert found.shares[0].tolist() == [1, 0, 0]
    assert found.points.cost[0, 0] == pytest.approx(found.singles.cost[0, 0])
    assert found.points.quality[0, 0] == pytest.approx(found.singles.quality[0, 0])
    assert found.shares[-1, -1] > 0.5
    assert found.points.quality[0, -1] > found.points.quality[0, 0]


def test_intervals_hold_the_points_and_differences_are_paired() -> None:
    found = tradeoff(TEST, CANDIDATES, [QualityTarget(0.0), QualityTarget(0.7)], seed=1)
    for place in (0, 1):
        low, high = found.cost_interval(place)
        assert low <= found.points.cost[0, place] <= high
        low, high = found.quality_interval(place)
        assert low <= found.points.quality[0, place] <= high
    # The cheapest arm is the first goal: on every resample the same.
    assert found.gain_interval(0, 0) == pytest.approx([0, 0], abs=1e-6)


def test_a_budget_gets_the_best_goal_whose_cost_is_surely_within_it() -> None:
    found = tradeoff(TEST, CANDIDATES, quality_targets(), seed=1)
    budget = float(found.singles.cost[0, [0, -1]].mean())
    place = within_budget(found, budget)
    assert found.cost_interval(place)[1] <= budget
    able = [p for p in range(len(found.goals)) if found.cost_interval(p)[1] <= budget]
    assert found.points.quality[0, place] == found.points.quality[0, able].max()
    assert within_budget(found, 1e6) == int(
        np.lexsort((found.points.cost[0], -found.points.quality[0]))[0]
    )


def test_a_budget_below_the_cheapest_goal_says_what_would_be_enough() -> None:
    found = tradeoff(TEST, CANDIDATES, quality_targets(), seed=1)
    with pytest.raises(InvalidInput, match="less than the cheapest goal") as caught:
        within_budget(found, 1e-9)
    assert f"{found.cost_interval(0)[1]:.3g} USD or more" in caught.value.message


def test_a_goal_chosen_on_few_prompts_comes_with_a_caution() -> None:
    caution = few_prompts(28, [0.51, 0.88])
    assert caution is not None
    assert "chosen on 28 prompts, fewer than 200" in caution
    assert "between 0.510 and 0.880 (95 %)" in caution
    assert few_prompts(FEW_PROMPTS - 1, [0.5, 0.6]) is not None
    assert few_prompts(FEW_PROMPTS, [0.5, 0.6]) is None
