"""Amounts of money: exact, readable, and the one conversion between nano-dollars and the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from google.type.money_pb2 import Money

from mitsumori.errors import InvalidArgument

__all__ = ["Amount", "Usd", "fill_money", "money_of", "nanos_of", "usd_of"]

_NANOS_PER_USD = 1_000_000_000
_MAX_NANOS = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Usd:
    """US dollars as a whole number of nano-dollars, 0 ≤ ``nanos`` < 2⁶³ (about 9.2 billion USD).

    As text it is the exact amount, such as ``$0.0012``; with a format it is the number, so that
    ``f"{price:.2f}"`` rounds.
    """

    nanos: int

    def __post_init__(self) -> None:
        if type(self.nanos) is not int or not 0 <= self.nanos <= _MAX_NANOS:
            raise InvalidArgument("nanos", f"must be a whole number, an int of 0 to {_MAX_NANOS}")

    @property
    def decimal(self) -> Decimal:
        """The exact number of dollars."""
        return Decimal(f"{self.nanos}E-9")

    def __str__(self) -> str:
        whole, fraction = divmod(self.nanos, _NANOS_PER_USD)
        return f"${whole}.{f'{fraction:09d}'.rstrip('0').ljust(2, '0')}"

    def __repr__(self) -> str:
        return str(self)

    def __format__(self, spec: str) -> str:
        return format(self.decimal, spec) if spec else str(self)


Amount: TypeAlias = Usd | Decimal | str | int
"""An amount of USD as a caller writes it: exact, so never a float."""


def usd_of(amount: Amount, field: str) -> Usd:
    """An amount of USD as a value.

    Args:
        amount: dollars ≥ 0 with at most nine decimals.
        field: the argument, for the error.

    Raises:
        InvalidArgument: the amount is a float, or outside that range.
    """
    if isinstance(amount, Usd):
        return amount
    if isinstance(amount, bool) or not isinstance(amount, Decimal | str | int):
        raise InvalidArgument(
            field,
            f'write the exact amount, "0.05" or Decimal("0.05"), not a {type(amount).__name__}',
        )
    try:
        dollars = Decimal(amount)
    except InvalidOperation:
        dollars = Decimal("NaN")
    if dollars.is_finite() and 0 <= dollars <= _MAX_NANOS // _NANOS_PER_USD:
        nanos = _nanos_of_digits(dollars)
        if nanos is not None:
            return Usd(nanos)
    raise InvalidArgument(field, "write USD, 0 or more with at most nine decimals, such as 0.05")


def _nanos_of_digits(dollars: Decimal) -> int | None:
    """Exact nano-dollars, or ``None`` where there are more than nine decimals.

    Works on the digits: a product of decimals would be rounded, and ten to the power of an exponent such as
    -9,999,999 would take minutes.
    """
    if not dollars:
        return 0
    _, digits, exponent = dollars.as_tuple()
    shift = int(exponent) + 9
    whole, rest = (digits[:shift], digits[shift:]) if shift < 0 else (digits, ())
    if any(rest) or not whole:
        return None
    return int("".join(map(str, whole)) + "0" * shift)


def fill_money(target: Money, nanos: int) -> None:
    """Write nano-dollars ≥ 0 into a message in place.

    Raises:
        ValueError: they are negative.
    """
    if nanos < 0:
        raise ValueError(f"an amount of money must be 0 or more, not {nanos} nano-dollars")
    target.currency_code = "USD"
    target.units, target.nanos = divmod(nanos, _NANOS_PER_USD)


def money_of(nanos: int) -> Money:
    """Nano-dollars ≥ 0 as a message.

    Raises:
        ValueError: they are negative.
    """
    message = Money()
    fill_money(message, nanos)
    return message


def nanos_of(message: Money) -> int:
    """A message in USD as nano-dollars; an absent one is 0."""
    return int(message.units) * _NANOS_PER_USD + int(message.nanos)
