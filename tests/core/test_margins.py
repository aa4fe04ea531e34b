"""Decision margins: probabilities that move by less than the margin never change the choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.core.margins import (
    margin_threshold,
    margins,
    needs_second_stage,
    target_margins,
    value_margins,
)
from router.core.types import MissCost, QualityTarget, WillingnessToPay

PRICES = np.array([1.0, 4.0, 20.0])
three = arrays(np.float64, (1, 3), elements=st.floats(0.01, 0.99))
unit = st.floats(0.05, 0.95)


def by_target(p: Any, target: float, regret: float) -> int:
    """The rule, plainly: the first arm of the ladder that reaches the target, or comes near the best."""
    enough = target if max(p) >= target else max(p) - regret
    return next(arm for arm in range(3) if p[arm] >= enough)


def by_value(p: Any, worth: float) -> int:
    return int(np.argmax(p - PRICES / worth))


@pytest.mark.parametrize(
    ("p", "target", "margin"),
    [
        ([0.70, 0.75, 0.90], 0.6, 0.10),  # the cheapest reaches it by so much
        (
            [0.55, 0.75, 0.61],
            0.6,
            0.05,
        ),  # the cheapest is nearer than the chosen; the dear one never counts
        ([0.20, 0.62, 0.95], 0.6, 0.02),  # the chosen only just reaches it
        ([0.20, 0.30, 0.37], 0.6, 0.07),  # none does: the best is taken, and leads by so much
        ([0.20, 0.30, 0.60], 0.6, 0.0),  # the dearest reaches it exactly, which is enough
    ],
)
def test_margins_under_a_quality_target(p: list[float], target: float, margin: float) -> None:
    assert target_margins(np.array([p]), PRICES, target, 0.0)[0] == pytest.approx(margin)


@pytest.mark.parametrize(
    ("p", "margin"),
    [
        ([0.30, 0.35, 0.50], 0.05),  # the dear one is .05 from letting the middle one in
        ([0.42, 0.30, 0.50], 0.02),  # the cheap one is chosen, and .02 from falling behind
        (
            [0.50, 0.30, 0.44],
            0.15,
        ),  # the cheap one is best: at .15 more the dear one reaches the target
        ([0.32, 0.40, 0.42], 0.0),  # the cheap one is exactly near enough
        (
            [0.10, 0.55, 0.56],
            0.03,
        ),  # the middle one is chosen until the dear one reaches the target
        ([0.34, 0.45, 0.30], 0.01),  # the cheap one is .01 from coming near enough
        ([0.10, 0.50, 0.58], 0.01),  # beyond .59 the dear one reaches the target
    ],
)
def test_margins_where_no_arm_reaches_the_target(p: list[float], margin: float) -> None:
    found = target_margins(np.array([p, p]), PRICES, 0.59, 0.1)
    np.testing.assert_allclose(found, margin, atol=1e-12)


def test_the_margin_is_the_lead_of_the_best_over_the_next_of_many_arms() -> None:
    p = np.random.default_rng(3).permuted(np.tile(np.arange(100.0) ** 2, (50, 1)), axis=1)
    np.testing.assert_array_equal(value_margins(p, np.zeros(100), 1), 99**2 - 98**2)


def test_margins_follow_the_goal() -> None:
    p, prices = np.array([[0.5, 0.75]]), np.array([1.0, 26.0])
    assert margins(p, prices, QualityTarget(0.7))[0] == pytest.approx(0.05)
    # At 200 an answer: 99 and 124, which is .125 of a probability.
    assert margins(p, prices, WillingnessToPay(200))[0] == pytest.approx(0.125)
    assert margins(p, prices, MissCost(200))[0] == pytest.approx(0.125)
    # Without a target in reach, the cheap one is .02 from coming within .27 of the dear one.
    assert margins(p, prices, QualityTarget(0.9, 0.23))[0] == pytest.approx(0.02)


def test_the_margin_to_ask_below_is_one_of_each_row_of_the_reference() -> None:
    reference = np.array([[1.0, 2, 3, 4, 5], [10, 20, 30, 40, np.inf]])
    np.testing.assert_array_equal(margin_threshold(reference, 0.5), [3, 30])
    np.testing.assert_array_equal(
        margin_threshold(reference, 0.6), [3, 30]
    )  # never a value in between
    np.testing.assert_array_equal(
        needs_second_stage(np.array([2.9, 3]), reference[0], 0.5), [True, False]
    )


def test_margins_under_a_willingness_to_pay() -> None:
    p = np.array([[0.5, 0.6, 0.9]])
    # At 100 an answer: 49, 56, 70. The best leads the next by 14, which is .14 of a probability.
    assert value_margins(p, PRICES, 100)[0] == pytest.approx(0.14)


@given(p=three, target=unit, regret=st.floats(0, 0.3), seed=st.integers(0, 99))
def test_within_the_margin_nothing_changes_the_choice_by_target(
    p: Any, target: float, regret: float, seed: int
) -> None:
    margin = target_margins(p, PRICES, target, regret)[0]
    assume(margin > 1e-6)
    # Arms move on their own and against each other, so each may take half of a lead.
    moved = p[0] + np.random.default_rng(seed).uniform(-0.49, 0.49, size=3) * margin
    assert by_target(moved, target, regret) == by_target(p[0], target, regret)


@given(p=three, worth=st.floats(5, 1e4), seed=st.integers(0, 99))
def test_within_the_margin_nothing_changes_the_choice_by_value(
    p: Any, worth: float, seed: int
) -> None:
    margin = value_margins(p, PRICES, worth)[0]
    assume(margin > 1e-6)
    moved = p[0] + np.random.default_rng(seed).uniform(-0.49, 0.49, size=3) * margin
    assert by_value(moved, worth) == by_value(p[0], worth)


def test_without_a_choice_margins_are_infinite_and_no_prompt_needs_the_second_stage() -> None:
    one = np.array([[0.5], [0.9]])
    assert np.isinf(margins(one, np.array([3.0]), QualityTarget(0.5))).all()
    several = np.array([[0.5, 0.6]])
    assert np.isinf(margins(several, np.array([3.0, 4.0]), WillingnessToPay(0))).all()
    assert np.isinf(margins(several, np.array([3.0, 4.0]), MissCost(0))).all()
    assert not needs_second_stage(np.array([np.inf]), np.full(10, np.inf), 0.32).any()


@given(share=st.floats(0.05, 0.9), seed=st.integers(0, 99))
def test_of_prompts_like_the_reference_at_most_the_share_goes_to_the_second_stage(
    share: float, seed: int
) -> None:
    reference = np.random.default_rng(seed).random(500)
    assert share - 0.01 <= needs_second_stage(reference, reference, share).mean() <= share
