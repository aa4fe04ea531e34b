"""Money in the client: exact in both directions, readable, never a float."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
from google.type.money_pb2 import Money
from hypothesis import given
from hypothesis import strategies as st

from mitsumori import InvalidArgument, Usd
from mitsumori.money import money_of, nanos_of, usd_of


@pytest.mark.parametrize("nanos", [0, 1, 999_999_999, 1_000_000_000, 10**18, 2**63 - 1])
def test_an_amount_comes_back_from_the_protocol_as_it_went(nanos: int) -> None:
    assert nanos_of(Money.FromString(money_of(nanos).SerializeToString())) == nanos


def test_an_amount_on_the_wire_is_dollars_and_a_rest() -> None:
    assert money_of(1_000_000_001) == Money(currency_code="USD", units=1, nanos=1)


def test_an_amount_is_never_negative() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        money_of(-1)
    with pytest.raises(InvalidArgument, match="nanos"):
        Usd(-1)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_200_000, "$0.0012"),
        (10_000_000, "$0.01"),
        (12_500_000_000, "$12.50"),
        (10**18, "$1000000000.00"),
    ],
)
def test_an_amount_reads_as_dollars_and_is_exact(nanos: int, text: str) -> None:
    assert str(Usd(nanos)) == f"{Usd(nanos)}" == text
    assert Usd(nanos).decimal == Decimal(text.removeprefix("$"))


def test_an_amount_can_be_rounded_and_compared() -> None:
    assert f"{Usd(1_234_500):.4f}" == "0.0012"
    assert sorted([Usd(2), Usd(1)]) == [Usd(1), Usd(2)]


@given(nanos=st.integers(0, 2**63 - 1))
def test_any_amount_is_read_back_from_its_own_text(nanos: int) -> None:
    if nanos <= 9_223_372_036 * 10**9:
        assert usd_of(str(Usd(nanos).decimal), "price") == Usd(nanos)


@pytest.mark.parametrize(
    "amount", [Usd(50_000_000), Decimal("0.05"), "0.05", "5e-2", "0.050000000000"]
)
def test_an_amount_is_given_as_text_or_decimal(amount: Usd | Decimal | str) -> None:
    assert usd_of(amount, "price") == Usd(50_000_000)


def test_whole_dollars_may_be_an_integer() -> None:
    assert usd_of(3, "price") == Usd(3_000_000_000)


def test_the_precision_of_the_callers_decimals_does_not_matter() -> None:
    with localcontext(prec=3):
        assert usd_of("1234.567890123", "price") == Usd(1_234_567_890_123)
        assert Usd(1_234_567_890_123).decimal == Decimal("1234.567890123")


@pytest.mark.parametrize(
    "amount",
    ["-0.01", "0.0000000001", "1.00000000000000000000000000000000001", "nan", "inf", "5 cents", "",
     "9223372037", Decimal("sNaN"), -1, "1e-9999999", "12e-9999999", "1e9999999", "1e-10", "1.5e-9",
     "\ud800"],
)  # fmt: skip
def test_what_is_no_amount_is_refused_by_name(amount: Decimal | str | int) -> None:
    with pytest.raises(InvalidArgument, match=r"^max_price_usd: write USD") as caught:
        usd_of(amount, "max_price_usd")
    assert caught.value.field == "max_price_usd"


@pytest.mark.parametrize("amount", [0.05, True, None])
def test_a_float_is_refused_because_it_is_not_exact(amount: object) -> None:
    with pytest.raises(InvalidArgument, match=r'max_price_usd: write the exact amount, "0\.05"'):
        usd_of(amount, "max_price_usd")  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", ["0e9999999", "0e-9999999", "-0"])
def test_nothing_is_nothing_however_it_is_written(amount: str) -> None:
    assert usd_of(amount, "price") == Usd(0)


@pytest.mark.parametrize(("amount", "nanos"), [("1e-9", 1), ("10e-10", 1), ("9.2e9", 92 * 10**17)])
def test_an_exponent_is_exact(amount: str, nanos: int) -> None:
    assert usd_of(amount, "price") == Usd(nanos)


@pytest.mark.parametrize("nanos", ["5", 1.5, 1.0, True, None, Decimal(5), 2**63, -1])
def test_nano_dollars_are_an_int(nanos: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Usd(nanos)  # type: ignore[arg-type]
    assert caught.value.message == f"nanos: must be a whole number, an int of 0 to {2**63 - 1}"
