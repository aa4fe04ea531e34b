from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.quotes import mean_length, mean_output, output_cap, quote
from router.core.types import Lengths, Quote, TokenCount
from tests.builders import EXPIRES, model, rates


def quoted(lengths: Lengths, input_tokens: int = 1_000, limit: int | None = None) -> Quote:
    return quote(
        model(),
        rates("1", "4"),
        TokenCount(input_tokens, True, input_tokens),
        lengths,
        max_output_tokens=limit,
        expires=EXPIRES,
        price_table="test prices",
    )


def test_a_quote_a_person_can_check() -> None:
    offer = quoted(Lengths(200, 800, 2000))
    assert (offer.output_tokens_p50, offer.output_tokens_p90) == (200, 800)
    assert offer.output_tokens_worst == 4_000  # the model's own limit
    assert offer.price.low == 1_000 * 1_000 + 50 * 4_000  # the 10th percentile is 200²/800 = 50
    assert offer.price.high == 1_000 * 1_000 + 800 * 4_000
    assert offer.price.worst == 1_000 * 1_000 + 4_000 * 4_000
    assert offer.latency.p50_s == pytest.approx(0.5 + 200 / 100)


def test_the_expected_price_is_at_the_mean_not_the_median() -> None:
    offer = quoted(Lengths(200, 800, 2000))
    assert offer.price.expected > 1_000 * 1_000 + 200 * 4_000


def test_a_request_limit_bounds_every_price() -> None:
    offer = quoted(Lengths(200, 800, 2000), limit=100)
    assert offer.output_tokens_p50 == offer.output_tokens_worst == 100
    assert offer.price.high == offer.price.worst == 1_000 * 1_000 + 100 * 4_000


def test_what_is_left_of_the_context_window_bounds_the_output() -> None:
    small = replace(model(), context_window=1_500)
    assert output_cap(small, 1_000, None) == 500
    assert output_cap(small, 2_000, None) < 1


def test_the_mean_of_a_known_length_is_that_length() -> None:
    assert mean_length(Lengths(300, 300, 300)) == 300


quantiles = st.lists(
    st.floats(min_value=0.5, max_value=1e6, allow_nan=False), min_size=3, max_size=3
).map(lambda values: Lengths(*sorted(values)))


@given(quantiles, st.integers(1, 99_000), st.none() | st.integers(1, 10_000))
def test_low_expected_high_and_worst_are_in_order(
    lengths: Lengths, input_tokens: int, limit: int | None
) -> None:
    offer = quoted(lengths, input_tokens, limit)
    price = offer.price
    assert 0 <= price.low <= price.high <= price.worst
    assert price.low <= price.expected <= price.worst
    assert 0 <= offer.output_tokens_p50 <= offer.output_tokens_p90 <= offer.output_tokens_worst
    assert 0 <= offer.latency.p50_s <= offer.latency.p90_s


# --- Hidden reasoning --------------------------------------------------------------------------

ALLOWANCE = Lengths(100, 400, 1_000)


def reasoned(lengths: Lengths, allowance: Lengths | None, limit: int | None = None) -> Quote:
    return quote(
        model(reasoning=allowance),
        rates("1", "4"),
        TokenCount(1_000, True, 1_000),
        lengths,
        max_output_tokens=limit,
        expires=EXPIRES,
        price_table="test prices",
    )


def test_hidden_reasoning_is_added_to_the_output_and_shown_separately() -> None:
    offer = reasoned(Lengths(200, 800, 2_000), ALLOWANCE)
    assert (offer.output_tokens_p50, offer.output_tokens_p90) == (300, 1_200)
    assert (offer.reasoning_tokens_p50, offer.reasoning_tokens_p90) == (100, 400)
    assert offer.price.high == 1_000 * 1_000 + 1_200 * 4_000
    assert offer.latency.p50_s == pytest.approx(0.5 + 300 / 100)


def test_the_expected_output_is_the_sum_of_both_means() -> None:
    visible = Lengths(200, 800, 2_000)
    assert mean_output(visible, None) == mean_length(visible)
    assert mean_output(visible, ALLOWANCE) == mean_length(visible) + mean_length(ALLOWANCE)


def test_reasoning_counts_within_the_limit_of_the_output() -> None:
    offer = reasoned(Lengths(200, 800, 2_000), ALLOWANCE, limit=250)
    assert offer.output_tokens_p50 == offer.output_tokens_p90 == offer.output_tokens_worst == 250
    assert offer.price.high == offer.price.worst == 1_000 * 1_000 + 250 * 4_000
    assert (offer.reasoning_tokens_p50, offer.reasoning_tokens_p90) == (100, 250)


@given(quantiles, quantiles, st.none() | st.integers(1, 10_000))
def test_an_allowance_raises_what_is_expected_and_never_the_worst_case(
    lengths: Lengths, allowance: Lengths, limit: int | None
) -> None:
    plain, offer = reasoned(lengths, None, limit), reasoned(lengths, allowance, limit)
    assert plain.reasoning_tokens_p90 == 0
    assert offer.output_tokens_p50 >= plain.output_tokens_p50
    assert offer.output_tokens_p90 >= plain.output_tokens_p90
    assert offer.price.expected >= plain.price.expected
    assert offer.price.high >= plain.price.high
    assert offer.price.worst == plain.price.worst
    assert 0 < offer.reasoning_tokens_p50 <= offer.reasoning_tokens_p90
    assert offer.reasoning_tokens_p50 <= offer.output_tokens_p50
    assert offer.reasoning_tokens_p90 <= offer.output_tokens_p90
