"""The price of a call from its token counts, in exact integers of nano-dollars."""

from __future__ import annotations

from collections.abc import Sequence

from router.core.errors import InvalidInput
from router.core.money import MAX_NANOS
from router.core.rates import Rates

__all__ = ["applicable_rates", "call_price", "call_prices"]

_FEMTOS_PER_NANO = 1_000_000


def applicable_rates(rates: Rates, input_tokens: int) -> Rates:
    """The rates for a call with this many input tokens.

    Providers bill long contexts with surcharges: once the input exceeds a threshold, its rates apply to
    all tokens of the call.
    """
    reached = [s.rates for s in rates.surcharges if input_tokens > s.above_input_tokens]
    return reached[-1] if reached else rates


def call_price(
    rates: Rates, input_tokens: int, output_tokens: int, *, cached_input_tokens: int = 0
) -> int:
    """The price of one call in nano-dollars, a fraction of a nano-dollar rounded up.

    Args:
        rates: USD per million tokens.
        input_tokens: all input tokens, including cached ones, ≥ 0.
        output_tokens: all output tokens, including hidden reasoning, ≥ 0.
        cached_input_tokens: input tokens read from the provider's cache, 0..input_tokens.

    Raises:
        InvalidInput: a count is negative, or more input is cached than there is.
    """
    (price,) = call_prices(
        rates, input_tokens, (output_tokens,), cached_input_tokens=cached_input_tokens
    )
    return price


def call_prices(
    rates: Rates,
    input_tokens: int,
    output_tokens: Sequence[int],
    *,
    cached_input_tokens: int = 0,
) -> list[int]:
    """The prices of one input with several output lengths.

    Args:
        rates: as for :func:`call_price`.
        input_tokens: as for :func:`call_price`.
        output_tokens: at least one length, each ≥ 0.
        cached_input_tokens: as for :func:`call_price`.

    Raises:
        InvalidInput: as for :func:`call_price`.
    """
    if min(input_tokens, cached_input_tokens, *output_tokens) < 0:
        raise InvalidInput("token counts must not be negative")
    if cached_input_tokens > input_tokens:
        raise InvalidInput("cached_input_tokens must not exceed input_tokens")
    per_input, per_output, per_cached = applicable_rates(rates, input_tokens).femtos
    base = per_input * (input_tokens - cached_input_tokens) + per_cached * cached_input_tokens
    # Floor division of the negated value rounds up.
    prices = [-(-(base + per_output * tokens) // _FEMTOS_PER_NANO) for tokens in output_tokens]
    if max(prices) > MAX_NANOS:
        raise InvalidInput("the price is out of range")
    return prices
