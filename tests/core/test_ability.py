"""P(adequate) of models between, on and beyond the arms of a bundle."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.ability import p_at

POINTS = (50.0, 70.0, 110.0)
P = (0.5, 0.7310585786300049, 0.8807970779778823)
"""Logits 0, 1 and 2."""


def of(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


@pytest.mark.parametrize(
    ("points", "logit"),
    [
        (50, 0.0),
        (60, 0.5),
        (70, 1.0),
        (90, 1.5),
        (110, 2.0),
        (30, -1.0),  # below the weakest arm the line through the two weakest goes on
        (150, 3.0),  # beyond the strongest the line through the two strongest
    ],
)
def test_on_the_logit_scale_a_model_stands_on_the_line_through_its_arms(
    points: float, logit: float
) -> None:
    assert p_at(P, POINTS, points) == pytest.approx(of(logit), abs=1e-12)


def test_what_is_not_known_of_a_model_takes_its_probability_towards_a_half() -> None:
    sure, unsure = p_at(P, POINTS, 90.0), p_at(P, POINTS, 90.0, uncertainty=40.0)
    slope = 1 / 40
    assert unsure == pytest.approx(of(1.5 / math.sqrt(1 + math.pi * (slope * 40) ** 2 / 8)))
    assert 0.5 < unsure < sure
    assert p_at(P, POINTS, 30.0) < p_at(P, POINTS, 30.0, uncertainty=40.0) < 0.5
    assert p_at(P, POINTS, 50.0, uncertainty=40.0) == 0.5


def test_an_arm_that_is_sure_gives_no_infinite_logit() -> None:
    assert p_at((0.9, 1.0), (0.0, 100.0), 100.0) == pytest.approx(1 - 1e-6)
    assert p_at((0.0, 0.1), (0.0, 100.0), 0.0) == pytest.approx(1e-6)
    assert math.isfinite(p_at((0.0, 1.0), (0.0, 1.0), 9.0))


@given(
    st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3).map(sorted),
    st.floats(-100, 250),
    st.floats(0, 100),
)
def test_an_abler_model_is_never_less_likely_adequate(
    p: list[float], points: float, more: float
) -> None:
    assert p_at(p, POINTS, points) <= p_at(p, POINTS, points + more) + 1e-12
