"""Short ways to make the values that tests talk about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from router.core.quotes import quote
from router.core.rates import Rates
from router.core.types import Candidate, Lengths, Model, Speed, TokenCount

EXPIRES = datetime(2026, 11, 23, 12, 5, tzinfo=UTC)
LENGTHS = Lengths(200, 800, 2000)


def rates(input_usd: str = "1", output_usd: str = "4") -> Rates:
    return Rates(Decimal(input_usd), Decimal(output_usd))


def model(name: str = "model", **changes: object) -> Model:
    made = Model(
        id=name,
        provider="acme",
        tier="low",
        rates=rates(),
        context_window=100_000,
        max_output_tokens=4_000,
        capabilities=frozenset({"tools"}),
        speed=Speed(0.5, 100),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def candidate(
    name: str = "model",
    p: float | None = 0.8,
    *,
    price: tuple[str, str] | None = ("1", "4"),
    input_tokens: int = 100,
    lengths: Lengths = LENGTHS,
    max_output_tokens: int | None = None,
    **changes: object,
) -> Candidate:
    """A candidate with a real quote at the given USD per million tokens (None: no price)."""
    made = model(name, rates=rates(*price) if price else None, **changes)
    offer = None
    if made.rates is not None:
        offer = quote(
            made,
            made.rates,
            TokenCount(input_tokens, True, input_tokens),
            lengths,
            max_output_tokens=max_output_tokens,
            expires=EXPIRES,
            price_table="test prices",
        )
    return Candidate(made, made.tier if p is not None else None, p, offer)
