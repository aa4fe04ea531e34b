"""Predicted lengths within what the prompt asks for."""

from __future__ import annotations

import math

import pytest

from router.core.asked_length import BRIEF, DETAILED, UNASKED, AskedLength, bounded
from router.core.types import Lengths

PREDICTED = Lengths(400.0, 2_000.0, 5_000.0)


def test_a_prompt_that_asks_for_nothing_keeps_its_lengths() -> None:
    assert bounded(PREDICTED, UNASKED) is PREDICTED


def test_a_limit_bounds_every_quantile() -> None:
    assert bounded(PREDICTED, AskedLength(middle=65, most=90)) == Lengths(65, 90, 135)


@pytest.mark.parametrize("p90", [89.0, 90.0, 91.0])
def test_a_limit_never_lengthens(p90: float) -> None:
    found = bounded(Lengths(10.0, p90, 100.0), AskedLength(middle=65, most=90))
    assert found == Lengths(10.0, min(p90, 90.0), 100.0)


def test_a_minimum_raises_every_quantile() -> None:
    short = Lengths(50.0, 100.0, 150.0)
    assert bounded(short, AskedLength(least=600)) == Lengths(600, 750, 960)
    assert bounded(Lengths(700.0, 900.0, 990.0), AskedLength(least=600)) == Lengths(700, 900, 990)


def test_brief_shortens_and_detailed_lengthens() -> None:
    brief, detailed = (bounded(PREDICTED, AskedLength(factors=by)) for by in (BRIEF, DETAILED))
    assert brief == Lengths(160.0, 700.0, 1_750.0)
    assert detailed == Lengths(520.0, 2_400.0, 6_000.0)


@pytest.mark.parametrize("wrong", [0.8, 1.25])
def test_more_items_are_more_tokens_even_where_the_prediction_wavers(wrong: float) -> None:
    few = bounded(PREDICTED, AskedLength(items=300))
    wavering = Lengths(400 * wrong, 2_000 * wrong, 5_000 * wrong)
    more = bounded(wavering, AskedLength(items=600))
    assert few.p50 < more.p50
    assert few.p90 < more.p90


def test_a_limit_goes_before_items_and_manner() -> None:
    asked = AskedLength(factors=DETAILED, items=5_000, middle=65, most=90)
    assert bounded(PREDICTED, asked) == Lengths(65, 90, 135)


@pytest.mark.parametrize("predicted", [Lengths(10.0, 20.0, 30.0), PREDICTED])
def test_a_size_is_quoted_whatever_is_predicted(predicted: Lengths) -> None:
    asked = AskedLength(least=200, middle=320, most=430, size=300)
    assert bounded(predicted, asked) == Lengths(300, 430, 430)
    unlimited = asked._replace(middle=math.inf, most=math.inf)
    assert bounded(predicted, unlimited).p90 == 2 * 300 + 60


@pytest.mark.parametrize(
    "asked",
    [
        AskedLength(factors=BRIEF),
        AskedLength(items=1),
        AskedLength(least=9_000),
        AskedLength(middle=0.5, most=0.7),
        AskedLength(least=700, middle=700, most=700),
        AskedLength(middle=math.inf, most=300),
        AskedLength(least=700, middle=900, most=900, size=1_000),
    ],
)
@pytest.mark.parametrize(
    "predicted", [Lengths(1.0, 1.0, 1.0), PREDICTED, Lengths(7.0, 9_000.0, 9_001.0)]
)
def test_quantiles_ascend_from_one(asked: AskedLength, predicted: Lengths) -> None:
    found = bounded(predicted, asked)
    assert 1 <= found.p50 <= found.p90 <= found.p99
