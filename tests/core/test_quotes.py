from __future__ import annotations

import math
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.corrections import Correction
from router.core.quotes import mean_length, mean_output, output_cap, quote, with_reasoning
from router.core.timing import Timing
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


def test_the_last_token_of_the_context_window_may_be_output() -> None:
    small = replace(model(), context_window=1_500)
    assert output_cap(small, 1_499, None) == 1
    assert output_cap(small, 1_500, None) == 0


def test_where_the_input_does_not_fit_only_the_input_is_priced() -> None:
    offer = quoted(Lengths(200, 800, 2000), input_tokens=100_001)
    assert offer.output_tokens_worst == 0
    assert set(offer.price) == {100_001 * 1_000}


def test_the_mean_of_a_known_length_is_that_length() -> None:
    assert mean_length(Lengths(300, 300, 300)) == 300


def test_the_mean_of_the_log_normal_through_two_quantiles() -> None:
    # With a standard deviation of 1 in the logarithm the mean is √e times the median.
    ninety = 100 * math.exp(NormalDist().inv_cdf(0.9))
    assert mean_length(Lengths(100, ninety, 10_000)) == pytest.approx(100 * math.exp(0.5))


def test_the_mean_is_capped_at_the_99th_percentile() -> None:
    assert mean_length(Lengths(10, 1_000, 2_000)) == 2_000  # without the cap: 6,368
    assert mean_length(Lengths(10, 1_000, 6_000)) == 6_000
    assert mean_length(Lengths(10, 1_000, 7_000)) == pytest.approx(6_367.53)


def test_the_90th_percentile_of_latency_waits_longer_for_the_first_token() -> None:
    assert quoted(Lengths(200, 800, 2000)).latency.p90_s == pytest.approx(0.5 * 2.7 + 800 / 100)


def test_a_quote_has_two_ranges_of_time_the_first_token_and_the_whole() -> None:
    offer = quoted(Lengths(200, 800, 2000))
    assert offer.first_token == pytest.approx((0.5, 0.5 * 2.7))
    learned = timed(Timing(1.0, 4.0, 1.5, 3.0, 50.0, 20.0), Lengths(200, 800, 2000))
    assert learned.first_token == (1.0, 4.0)
    assert learned.latency == pytest.approx((1.5 + 200 / 50, 3.0 + 800 / 20))


def test_the_90th_percentile_of_a_latency_is_never_below_its_median() -> None:
    offer = timed(Timing(1.0, 1.0, 5.0, 1.0, 10.0, 100.0), Lengths(200, 300, 400))
    assert offer.latency == pytest.approx((25.0, 25.0))


def timed(timing: Timing, lengths: Lengths) -> Quote:
    return quote(
        model(),
        rates("1", "4"),
        TokenCount(1_000, True, 1_000),
        lengths,
        timing=timing,
        max_output_tokens=None,
        expires=EXPIRES,
        price_table="test prices",
    )


# --- Corrections -------------------------------------------------------------------------------


def corrected(correction: Correction, count: TokenCount, allowance: Lengths | None = None) -> Quote:
    return quote(
        model(reasoning=allowance),
        rates("1", "4"),
        count,
        Lengths(100, 300, 500),
        correction=correction,
        max_output_tokens=None,
        expires=EXPIRES,
        price_table="test prices",
    )


def test_corrected_lengths_are_rounded_up_to_whole_tokens() -> None:
    offer = corrected(Correction(1, 1.005, 1.005, 1.5), TokenCount(1_000, True, 1_000))
    assert (offer.output_tokens_p50, offer.output_tokens_p90) == (101, 302)  # 100.5 and 301.5
    assert offer.price.low == 1_000 * 1_000 + 34 * 4_000  # 100.5² / 301.5 = 33.5
    mean = math.ceil(1.5 * mean_length(Lengths(100, 300, 500)))
    assert offer.price.expected == 1_000 * 1_000 + mean * 4_000


def test_the_corrected_90th_percentile_is_never_below_the_median() -> None:
    offer = corrected(Correction(1, 4, 1, 1), TokenCount(1_000, True, 1_000))
    assert (offer.output_tokens_p50, offer.output_tokens_p90) == (400, 400)


def test_reasoning_is_corrected_as_the_whole_output_is() -> None:
    offer = corrected(Correction(1, 0.505, 0.50125, 1), TokenCount(1_000, True, 1_000), ALLOWANCE)
    assert (offer.reasoning_tokens_p50, offer.reasoning_tokens_p90) == (51, 201)  # 50.5 and 200.5


@pytest.mark.parametrize(
    ("factor", "count", "told"),
    [
        (1.011, TokenCount(100, False, 400), TokenCount(102, False, 400)),  # 101.1, rounded up
        (5.0, TokenCount(100, False, 400), TokenCount(500, False, 500)),
        (1.5, TokenCount(100, True, 100), TokenCount(100, True, 100)),
    ],
)
def test_an_estimated_count_is_corrected_and_an_exact_one_is_not(
    factor: float, count: TokenCount, told: TokenCount
) -> None:
    offer = corrected(Correction(factor, 1, 1, 1), count)
    assert offer.input_tokens == told
    assert offer.counted_tokens == 100
    assert offer.price.high == told.tokens * 1_000 + 300 * 4_000
    assert offer.price.worst == told.worst * 1_000 + 4_000 * 4_000


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


def test_without_an_allowance_nothing_is_reasoning() -> None:
    offer = reasoned(Lengths(200, 800, 2_000), None)
    assert (offer.reasoning_tokens_p50, offer.reasoning_tokens_p90) == (0, 0)


def test_every_quantile_of_the_allowance_is_added() -> None:
    visible = Lengths(200, 800, 2_000)
    assert with_reasoning(visible, ALLOWANCE) == Lengths(300, 1_200, 3_000)
    assert with_reasoning(visible, None) == visible


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
