"""From tokens, lengths, rates and speed to a quote."""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache

from router.core.correcting import UNCORRECTED, Correction
from router.core.pricing import call_price, call_prices
from router.core.types import LatencyRange, Lengths, Model, PriceRange, Quote, Rates, TokenCount

__all__ = ["mean_length", "output_cap", "quote"]

_Z90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""

_LATENCY_SPREAD = 2.7
"""p90 over p50 of the time that does not come from the output length: queues and networks. Median
over four models of the ratio among answers of at most 5 tokens (1.3, 1.3, 4.1, 9.7) in the latency
log of LLMDrift (github.com/lchen001/LLMDrift, Apache-2.0)."""


def mean_length(lengths: Lengths) -> float:
    """The mean of the log-normal distribution through the median and the 90th percentile, tokens.

    Output lengths are skewed to the right, so a price at the median would promise too little.
    """
    sigma = math.log(lengths.p90 / lengths.p50) / _Z90
    # Never beyond the 99th percentile: a very wide pair of quantiles has an absurd mean.
    return min(lengths.p50 * math.exp(sigma * sigma / 2), max(lengths.p99, lengths.p50))


@lru_cache(maxsize=4096)  # many models share the lengths of their arm
def _points(lengths: Lengths, correction: Correction) -> tuple[int, int, int, int]:
    """10th percentile, median, mean and 90th percentile in whole tokens, before any cap."""
    p50 = lengths.p50 * correction.p50
    p90 = max(lengths.p90 * correction.p90, p50)
    p10 = p50 * p50 / p90  # the log-normal is symmetric in the logarithm
    mean = max(mean_length(lengths) * correction.mean, p10)
    return math.ceil(p10), math.ceil(p50), math.ceil(mean), math.ceil(p90)


def _corrected_count(count: TokenCount, correction: Correction) -> TokenCount:
    if count.exact:
        return count
    tokens = math.ceil(count.tokens * correction.tokens)
    return TokenCount(tokens, exact=False, worst=max(count.worst, tokens))


def output_cap(model: Model, input_tokens: int, max_output_tokens: int | None) -> int:
    """The most output tokens that a call can produce; 0 or less where the input does not fit."""
    caps = [model.max_output_tokens, model.context_window - input_tokens]
    if max_output_tokens is not None:
        caps.append(max_output_tokens)
    return min(caps)


def quote(
    model: Model,
    rates: Rates,
    input_tokens: TokenCount,
    lengths: Lengths,
    *,
    correction: Correction = UNCORRECTED,
    max_output_tokens: int | None,
    expires: datetime,
    price_table: str,
) -> Quote:
    """The quote of one prompt for one model.

    Args:
        model: gives caps and speed.
        rates: in force now.
        input_tokens: the prompt, counted for this model.
        lengths: what is predicted of the output length before any cap, tokens.
        correction: what settled usage taught about this model and scope. An exact count is left alone.
        max_output_tokens: the request's own limit, if any.
        expires: until when the quote stands.
        price_table: which prices these are.

    Returns:
        The quote; every length is cut at the cap of the call. Where the input does not fit the
        context window the cap is taken as 0, and the decision excludes the model.
    """
    counted = input_tokens.tokens
    if correction is not UNCORRECTED:
        input_tokens = _corrected_count(input_tokens, correction)
    cap = max(output_cap(model, input_tokens.tokens, max_output_tokens), 0)
    p10, p50, mean, p90 = [min(tokens, cap) for tokens in _points(lengths, correction)]
    low, expected, high, worst = call_prices(rates, input_tokens.tokens, (p10, mean, p90, cap))
    if input_tokens.worst > input_tokens.tokens:
        worst = call_price(rates, input_tokens.worst, cap)
    speed = model.speed
    latency = LatencyRange(
        speed.first_token_s + p50 / speed.output_tokens_per_s,
        speed.first_token_s * _LATENCY_SPREAD + p90 / speed.output_tokens_per_s,
    )
    return Quote(
        model=model.id,
        input_tokens=input_tokens,
        output_tokens_p50=p50,
        output_tokens_p90=p90,
        output_tokens_worst=cap,
        price=PriceRange(low, expected, high, worst),
        latency=latency,
        expires=expires,
        price_table=price_table,
        counted_tokens=counted,
    )
