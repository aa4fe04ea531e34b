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


EVEN = (50.0, 70.0, 90.0)
"""Under these abilities the three logits are on one line, of 1/20 per point."""


@pytest.mark.parametrize("points", [30.0, 65.0, 70.0, 90.0, 120.0])
@pytest.mark.parametrize("uncertainty", [5.0, 12.5, 40.0])
def test_on_a_straight_line_an_uncertain_ability_flattens_the_curve(
    points: float, uncertainty: float
) -> None:
    """A logistic curve averaged over a normal distribution is nearly a flatter logistic curve."""
    flatter = of((points - 50) / 20 / math.sqrt(1 + math.pi * (uncertainty / 20) ** 2 / 8))
    assert p_at(P, EVEN, points, uncertainty) == pytest.approx(flatter, abs=0.0105)


@pytest.mark.parametrize(
    ("p", "uncertainty"), [((0.1, 0.9, 0.9), 30.0), ((0.9, 0.9, 0.99), 12.5), (P, 5.0)]
)
@pytest.mark.parametrize("points", [40.0, 69.0, 70.0, 75.0, 111.0])
def test_an_uncertain_ability_is_averaged_over_a_normal_distribution(
    p: tuple[float, ...], uncertainty: float, points: float
) -> None:
    """A long sum stands for the integral."""
    deviates = [place / 100 for place in range(-600, 601)]
    weights = [math.exp(-(each**2) / 2) for each in deviates]
    terms = [
        weight * p_at(p, POINTS, points + each * uncertainty)
        for each, weight in zip(deviates, weights, strict=True)
    ]
    averaged = sum(terms) / sum(weights)
    assert p_at(p, POINTS, points, uncertainty) == pytest.approx(averaged, abs=0.01)


def test_what_is_not_known_of_a_model_takes_its_probability_towards_a_half() -> None:
    sure, unsure = p_at(P, EVEN, 90.0), p_at(P, EVEN, 90.0, uncertainty=40.0)
    assert 0.5 < unsure < sure
    assert p_at(P, EVEN, 30.0) < p_at(P, EVEN, 30.0, uncertainty=40.0) < 0.5
    assert p_at(P, EVEN, 50.0, uncertainty=40.0) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("uncertainty", [0.0, 12.5, 30.0, 100.0])
@pytest.mark.parametrize("bound", POINTS)
def test_a_hair_of_ability_changes_the_probability_by_a_hair(
    bound: float, uncertainty: float
) -> None:
    """At an arm the line has a kink, and the probability no jump."""
    steep_then_flat = (0.1, 0.9, 0.9)
    below, above = (
        p_at(steep_then_flat, POINTS, bound + hair, uncertainty) for hair in (-1e-6, 1e-6)
    )
    assert above == pytest.approx(below, abs=1e-6)


def test_an_arm_that_is_sure_gives_no_infinite_logit() -> None:
    assert p_at((0.9, 1.0), (0.0, 100.0), 100.0) == pytest.approx(1 - 1e-6)
    assert p_at((0.0, 0.1), (0.0, 100.0), 0.0) == pytest.approx(1e-6)
    assert math.isfinite(p_at((0.0, 1.0), (0.0, 1.0), 9.0))


@pytest.mark.parametrize("uncertainty", [0.0, 12.5, 1000.0])
@pytest.mark.parametrize("shift", [-1e6, 1e6])
def test_no_strength_or_slope_is_too_large_for_a_probability(
    shift: float, uncertainty: float
) -> None:
    assert 0 < p_at((0.0, 1.0), (0.0, 1.0), 250.0, uncertainty, -1e6) < 1e-12
    assert p_at((0.1, 0.5, 0.9), POINTS, 70.0, uncertainty, shift) == pytest.approx(
        float(shift > 0), abs=1e-12
    )


@given(
    st.lists(st.floats(0.01, 0.99), min_size=3, max_size=3).map(sorted),
    st.floats(-100, 250),
    st.floats(0, 100),
    st.sampled_from([0.0, 10.0, 100.0]),
)
def test_an_abler_model_is_never_less_likely_adequate(
    p: list[float], points: float, more: float, uncertainty: float
) -> None:
    abler = p_at(p, POINTS, points + more, uncertainty)
    assert p_at(p, POINTS, points, uncertainty) <= abler + 1e-12
