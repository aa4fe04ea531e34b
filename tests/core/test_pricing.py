from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.errors import InvalidInput
from router.core.pricing import call_price, call_prices
from router.core.rates import Rates, Surcharge

tokens = st.integers(min_value=0, max_value=10_000_000)
prices = st.decimals(min_value=0, max_value=1000, places=4)

LONG_CONTEXT = Rates(
    Decimal(2),
    Decimal(10),
    cache_read=Decimal("0.2"),
    surcharges=(Surcharge(200_000, Rates(Decimal(4), Decimal(15), cache_read=Decimal("0.4"))),),
)


def test_a_thousand_tokens_in_and_out_at_two_and_ten_dollars_a_million() -> None:
    # 1,000 × $2/M + 1,000 × $10/M = $0.012
    assert call_price(LONG_CONTEXT, 1_000, 1_000) == 12_000_000


def test_cached_tokens_cost_the_cache_rate() -> None:
    # 100 × $2/M + 900 × $0.20/M = $0.00038
    assert call_price(LONG_CONTEXT, 1_000, 0, cached_input_tokens=900) == 380_000


def test_without_a_cache_rate_cached_tokens_cost_what_input_costs() -> None:
    rates = Rates(Decimal(2), Decimal(10))
    assert call_price(rates, 1_000, 0, cached_input_tokens=900) == call_price(rates, 1_000, 0)


def test_beyond_the_threshold_all_tokens_pay_the_higher_rate() -> None:
    assert call_price(LONG_CONTEXT, 200_000, 0) == 200_000 * 2_000
    assert call_price(LONG_CONTEXT, 200_001, 0) == 200_001 * 4_000


def test_of_several_thresholds_the_last_one_exceeded_counts() -> None:
    steps = tuple(
        Surcharge(above, Rates(Decimal(usd), Decimal(0))) for above, usd in ((9, 2), (19, 3))
    )
    rates = Rates(Decimal(1), Decimal(0), surcharges=steps)
    assert [call_price(rates, tokens, 0) for tokens in (9, 10, 19, 20)] == [
        9 * 1_000, 10 * 2_000, 19 * 2_000, 20 * 3_000,
    ]  # fmt: skip


def test_a_fraction_of_a_nano_dollar_is_rounded_up() -> None:
    tenth = Rates(Decimal("0.0001"), Decimal("0.0001"))  # of a nano-dollar, each token
    assert [call_price(tenth, tokens, 0) for tokens in (0, 1, 10, 11)] == [0, 1, 1, 2]


def test_several_lengths_of_one_input_are_priced_together() -> None:
    assert call_prices(LONG_CONTEXT, 1_000, (0, 1_000)) == [2_000_000, 12_000_000]


def test_the_dearest_call_costs_what_64_bits_hold_and_not_a_nano_dollar_more() -> None:
    nano = Rates(Decimal(0), Decimal("0.001"))  # one nano-dollar, each output token
    assert call_price(nano, 0, 2**63 - 1) == 2**63 - 1
    with pytest.raises(InvalidInput, match="out of range"):
        call_prices(nano, 0, (1, 2**63))


@pytest.mark.parametrize(("given_in", "out", "cached"), [(-1, 0, 0), (0, -1, 0), (5, 0, 6)])
def test_impossible_counts_are_refused(given_in: int, out: int, cached: int) -> None:
    with pytest.raises(InvalidInput):
        call_price(LONG_CONTEXT, given_in, out, cached_input_tokens=cached)


@given(prices, prices, tokens, tokens)
def test_the_price_is_exact_and_never_short(
    price_in: Decimal, price_out: Decimal, count_in: int, count_out: int
) -> None:
    exact = (Fraction(price_in) * count_in + Fraction(price_out) * count_out) * 1000
    assert 0 <= call_price(Rates(price_in, price_out), count_in, count_out) - exact < 1
