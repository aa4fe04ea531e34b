from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.errors import InvalidInput
from router.core.money import MAX_NANOS, format_usd, parse_usd, short_usd, usd_to_nanos


def test_a_dollar_is_a_billion_nano_dollars() -> None:
    assert usd_to_nanos(Decimal(1)) == 1_000_000_000


def test_a_fraction_of_a_nano_dollar_is_rounded_up_never_down() -> None:
    assert usd_to_nanos(Decimal("0.0000000001")) == 1


@pytest.mark.parametrize("text", ["", "abc", "NaN", "Infinity", "-1", "1,5", "0x10"])
def test_what_is_not_an_amount_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="--max-price") as caught:
        parse_usd(text, field="--max-price")
    assert caught.value.field == "--max-price"


@pytest.mark.parametrize(
    "amount", ["NaN", "Infinity", "1e30", "1e999999", "-1e999999", "1e9999999999"]
)
def test_money_is_finite_and_in_range(amount: str) -> None:
    with pytest.raises(InvalidInput):
        usd_to_nanos(Decimal(amount))


@given(st.integers(min_value=0, max_value=MAX_NANOS))
def test_writing_and_reading_money_changes_nothing(nanos: int) -> None:
    assert parse_usd(format_usd(nanos).removeprefix("$"), field="amount") == nanos


def test_the_largest_amount_is_what_64_bits_with_a_sign_hold_and_not_a_nano_dollar_more() -> None:
    assert usd_to_nanos(Decimal("9223372036.854775807")) == 9_223_372_036_854_775_807
    assert usd_to_nanos(Decimal("-9223372036.854775807")) == -9_223_372_036_854_775_807
    for usd in ("9223372036.854775808", "-9223372036.854775808"):
        with pytest.raises(InvalidInput, match="out of range"):
            usd_to_nanos(Decimal(usd))


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (-1, "-$0.000000001"),
        (1_234_500, "$0.0012345"),
        (1_200_000_000, "$1.20"),
        (-2_000_000_000, "-$2.00"),
    ],
)
def test_amounts_are_written_exactly(nanos: int, text: str) -> None:
    assert format_usd(nanos) == text


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12, "$0.000000012"),
        (123, "$0.000000123"),
        (1_234, "$0.00000123"),
        (1_234_500, "$0.00123"),
        (50_000_000, "$0.0500"),
        (500_000_000, "$0.500"),
        (1_000_000_000, "$1.00"),
        (12_345_678_900, "$12.35"),
        (123_456_789_000, "$123.46"),
    ],
)
def test_tables_show_three_digits(nanos: int, text: str) -> None:
    assert short_usd(nanos) == text
