"""Money as an integer of nano-dollars (1 USD = 1 000 000 000 nano-dollars), never a float."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation

from router.core.errors import InvalidInput

__all__ = ["MAX_NANOS", "NANOS_PER_USD", "format_usd", "parse_usd", "short_usd", "usd_to_nanos"]

NANOS_PER_USD = 1_000_000_000
MAX_NANOS = 2**63 - 1
"""The largest amount: what a signed 64-bit column holds, about 9.2 billion USD."""
_MAX_USD = Decimal(MAX_NANOS) / NANOS_PER_USD


def usd_to_nanos(usd: Decimal) -> int:
    """Convert USD exactly; a fraction of a nano-dollar is rounded up, so that a quote is never too low.

    Raises:
        InvalidInput: ``usd`` is not finite, or larger in magnitude than :data:`MAX_NANOS`.
    """
    if not usd.is_finite():
        raise InvalidInput(f"an amount of money must be finite, not {usd}")
    # Compared before it is multiplied, which would overflow with a large exponent.
    if usd.copy_abs() > _MAX_USD:
        raise InvalidInput(f"an amount of {usd} USD is out of range")
    return int((usd * NANOS_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def parse_usd(text: str, *, field: str) -> int:
    """Parse text such as ``"0.05"`` (USD) into nano-dollars ≥ 0.

    Raises:
        InvalidInput: the text is not a decimal number ≥ 0; the message names ``field``.
    """
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise InvalidInput(
            f"{field}: {text!r} is not an amount in USD; write a number such as 0.05", field=field
        )
    return usd_to_nanos(amount)


def format_usd(nanos: int) -> str:
    """Format as ``$`` and the exact amount, with at least two decimals and no further trailing zeros.

    >>> format_usd(1_234_500)
    '$0.0012345'
    >>> format_usd(2_000_000_000)
    '$2.00'
    """
    sign = "-" if nanos < 0 else ""
    whole, fraction = divmod(abs(nanos), NANOS_PER_USD)
    digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}${whole}.{digits}"


def short_usd(nanos: int) -> str:
    """Format for tables: like :func:`format_usd`, below one dollar rounded to three significant digits.

    >>> short_usd(1_234_500)
    '$0.00123'
    >>> short_usd(12_345_678_900)
    '$12.35'
    """
    usd = Decimal(nanos) / NANOS_PER_USD
    digits = min(max(2 - usd.adjusted(), 2), 9)
    return f"${usd:.{digits}f}"
