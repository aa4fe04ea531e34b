"""What a prompt cache saves on a turn, to the nano-dollar."""

from __future__ import annotations

from decimal import Decimal

import pytest

from router.core.prompt_cache import PromptCache, cache_worth, prompt_cache_of
from router.core.rates import Rates, Surcharge
from router.core.types import NO_CACHE

TWO = Rates(Decimal(2), Decimal(8), Decimal("0.2"))
"""$2 per million input tokens, $0.20 of those that are read from the cache."""
WRITING = Rates(Decimal(2), Decimal(8), Decimal("0.2"), Decimal("2.5"))
"""The same where writing to the cache costs a quarter more than input."""
MILLICENT = 10_000


def test_what_is_read_from_the_cache_costs_less_by_the_difference_of_the_rates() -> None:
    """8,000 tokens at $1.80 per million; a further turn reads all 10,000."""
    assert cache_worth(TWO, 10_000, 8_000) == (1_440 * MILLICENT, 1_800 * MILLICENT)
    assert cache_worth(TWO, 10_000, 0) == (0, 1_800 * MILLICENT)


def test_where_writing_costs_more_what_is_new_lessens_the_saving_to_nothing_at_most() -> None:
    assert cache_worth(WRITING, 10_000, 8_000).now == (1_440 - 100) * MILLICENT
    assert cache_worth(WRITING, 10_000, 10_000).now == 1_800 * MILLICENT
    assert cache_worth(WRITING, 10_000, 0) == (0, 1_800 * MILLICENT)


def test_without_a_rate_for_the_cache_nothing_is_saved() -> None:
    assert cache_worth(Rates(Decimal(2), Decimal(8)), 10_000, 8_000) == NO_CACHE
    dearer = Rates(Decimal(2), Decimal(8), Decimal(3))
    assert cache_worth(dearer, 10_000, 8_000) == NO_CACHE


def test_a_long_input_saves_at_its_own_rates() -> None:
    long = Rates(Decimal(4), Decimal(8), Decimal("0.4"))
    rates = Rates(Decimal(2), Decimal(8), Decimal("0.2"), surcharges=(Surcharge(10_000, long),))
    assert cache_worth(rates, 10_000, 10_000).now == 1_800 * MILLICENT
    assert cache_worth(rates, 10_001, 10_000).now == 3_600 * MILLICENT


def test_fractions_of_a_nano_dollar_are_dropped() -> None:
    rates = Rates(Decimal("0.0019"), Decimal(1), Decimal(0))
    assert cache_worth(rates, 2, 1) == (1, 3)


@pytest.mark.parametrize(
    ("provider", "cache"),
    [
        ("anthropic", PromptCache(300, 4096)),
        ("deepseek", PromptCache(3600, 64)),
        ("google", PromptCache(300, 4096)),
        ("openai", PromptCache(300, 1024)),
        ("our-own", PromptCache(300, 1024)),
    ],
)
def test_each_provider_keeps_a_prefix_as_long_as_it_documents(
    provider: str, cache: PromptCache
) -> None:
    assert prompt_cache_of(provider) == cache
