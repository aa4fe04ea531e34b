"""What a model costs per token. Immutable, exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

__all__ = ["Rates", "Surcharge"]


@dataclass(frozen=True, slots=True)
class Surcharge:
    """Rates that apply to *all* tokens of a call whose input exceeds a threshold.

    Attributes:
        above_input_tokens: the threshold; the surcharge applies to calls with more input.
        rates: the rates of such a call, instead of the normal ones.
    """

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Rates:
    """Exact prices in USD per million tokens, all ≥ 0, with at most nine decimals.

    Attributes:
        input: of input tokens.
        output: of output tokens, hidden reasoning included.
        cache_read: of input tokens read from the provider's cache; ``None`` if there is no such rate, and
            then they cost what other input costs.
        cache_write: of input tokens written to the cache; ``None`` likewise.
        surcharges: rates for long inputs, in ascending order of threshold.
        femtos: the rates of input, output and cached input as integers of 1e-15 USD per token, for exact
            arithmetic; computed.

    Raises:
        ValueError: a rate is negative, not finite or has more than nine decimals.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    surcharges: tuple[Surcharge, ...] = ()
    femtos: tuple[int, int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cached = self.input if self.cache_read is None else self.cache_read
        exact = [rate * 1_000_000_000 for rate in (self.input, self.output, cached)]
        if any(not rate.is_finite() or rate < 0 or rate != int(rate) for rate in exact):
            raise ValueError("a rate must be 0 or more, with at most nine decimals")
        object.__setattr__(self, "femtos", tuple(map(int, exact)))
