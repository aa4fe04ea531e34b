"""What a provider's prompt cache makes of a price: input that it read before costs less. Pure.

Life and least length are as the providers documented in October 2026: OpenAI (developers.openai.com,
prompt caching: 5 to 10 minutes without a call, from 1,024 tokens), Anthropic (docs.claude.com, caching:
5 minutes after the last use, 512 to 4,096 tokens by model), Google (ai.google.dev, context caching: no life
stated, from 2,048 or 4,096 tokens) and DeepSeek (api-docs.deepseek.com, context caching: hours, blocks of 64
tokens). Of a range, the end is taken at which the cache is worth less.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from router.core.pricing import applicable_rates
from router.core.rates import Rates
from router.core.types import CacheWorth

__all__ = ["PromptCache", "cache_worth", "prompt_cache_of"]


class PromptCache(NamedTuple):
    """The prompt cache of a provider.

    Attributes:
        life_s: seconds for which a prefix is kept after its last use, > 0.
        least_tokens: of a prefix that is kept, > 0.
    """

    life_s: float
    least_tokens: int


_USUAL: Final = PromptCache(300.0, 1024)
_OF_PROVIDERS: Final = {
    "anthropic": PromptCache(300.0, 4096),
    "deepseek": PromptCache(3600.0, 64),
    "google": PromptCache(300.0, 4096),
    "openai": PromptCache(300.0, 1024),
}
_FEMTOS_PER_NANO = 1_000_000
_FEMTOS_PER_RATE = 1_000_000_000


def prompt_cache_of(provider: str) -> PromptCache:
    """The prompt cache of a provider; the usual one where its own is not known."""
    return _OF_PROVIDERS.get(provider, _USUAL)


def cache_worth(rates: Rates, input_tokens: int, cached_tokens: int) -> CacheWorth:
    """What a prompt cache saves on a turn, and on one that sends the same input again.

    This turn reads what the cache holds, and writes the rest to it where the provider takes more for that; a
    further one reads all that this one sends. Fractions of a nano-dollar are dropped.

    Args:
        rates: of the model.
        input_tokens: of this turn, ≥ 0.
        cached_tokens: of them, those that the cache holds, 0..input_tokens.
    """
    rates = applicable_rates(rates, input_tokens)
    per_input, _, per_cached = rates.femtos
    less, now = per_input - per_cached, 0
    if cached_tokens:
        more = 0
        if rates.cache_write is not None:
            more = int(rates.cache_write * _FEMTOS_PER_RATE) - per_input
        now = less * cached_tokens - more * (input_tokens - cached_tokens)
    later = less * input_tokens
    return CacheWorth(max(now, 0) // _FEMTOS_PER_NANO, max(later, 0) // _FEMTOS_PER_NANO)
