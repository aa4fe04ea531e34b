"""Quotes: tokens, price and latency of one prompt on one model."""

from __future__ import annotations

import math
from datetime import datetime

from router.core.corrections import UNCORRECTED, Correction
from router.core.limits import Amounts
from router.core.pricing import call_price, call_prices
from router.core.rates import Rates
from router.core.timing import Timing, catalog_timing
from router.core.types import LatencyRange, Lengths, Model, PriceRange, Quote, TokenCount

__all__ = [
    "amounts_to_hold",
    "corrected_count",
    "length_points",
    "mean_length",
    "mean_output",
    "output_cap",
    "quote",
    "reasoning_points",
    "with_reasoning",
]

_Z90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""


def amounts_to_hold(offer: Quote | None, *, strict: bool) -> Amounts | None:
    """What the choice of a quoted model would hold; ``None`` without a quote.

    Args:
        offer: the quote.
        strict: whether to hold the worst case instead of the 90th percentile.
    """
    if offer is None:
        return None
    if strict:
        return Amounts(offer.price.worst, offer.input_tokens.worst + offer.output_tokens_worst)
    return Amounts(offer.price.high, offer.input_tokens.tokens + offer.output_tokens_p90)


def mean_length(lengths: Lengths) -> float:
    """The mean of the log-normal distribution through the median and the 90th percentile, tokens.

    Output lengths are skewed to the right, so a price at the median length would be too low.
    """
    sigma = math.log(lengths.p90 / lengths.p50) / _Z90
    # Capped at the 99th percentile: quantiles far apart imply an absurd mean.
    return min(lengths.p50 * math.exp(sigma * sigma / 2), max(lengths.p99, lengths.p50))


def with_reasoning(visible: Lengths, allowance: Lengths | None) -> Lengths:
    """Quantiles of the whole output: the visible answer plus the hidden reasoning that is billed with it.

    Quantiles are added, as if the longest answers took the longest reasoning, so the 90th percentile and the
    amount held err on the high side. They are added, not multiplied, because a problem with a one-word answer
    can take thousands of tokens of reasoning.

    Args:
        visible: predicted length of the visible answer.
        allowance: the model's hidden reasoning; ``None`` adds nothing.
    """
    if allowance is None:
        return visible
    return Lengths(
        visible.p50 + allowance.p50, visible.p90 + allowance.p90, visible.p99 + allowance.p99
    )


def mean_output(visible: Lengths, allowance: Lengths | None) -> float:
    """The mean length of the whole output in tokens: the means of the answer and of the reasoning added.

    Args:
        visible: as for :func:`with_reasoning`.
        allowance: as for :func:`with_reasoning`.
    """
    return mean_length(visible) + (0.0 if allowance is None else mean_length(allowance))


def reasoning_points(allowance: Lengths | None, correction: Correction) -> tuple[int, int]:
    """Median and 90th percentile of the hidden reasoning in whole tokens, before any cap.

    Args:
        allowance: of the model; ``None`` adds nothing.
        correction: factors on the whole output.
    """
    if allowance is None:
        return 0, 0
    return math.ceil(allowance.p50 * correction.p50), math.ceil(allowance.p90 * correction.p90)


def length_points(
    visible: Lengths, allowance: Lengths | None, correction: Correction
) -> tuple[int, int, int, int]:
    """10th percentile, median, mean and 90th percentile of the output in whole tokens, before any cap.

    Args:
        visible: as for :func:`with_reasoning`.
        allowance: as for :func:`with_reasoning`.
        correction: factors on the whole output.
    """
    whole = with_reasoning(visible, allowance)
    p50 = whole.p50 * correction.p50
    p90 = max(whole.p90 * correction.p90, p50)
    p10 = p50 * p50 / p90  # the log-normal is symmetric in the logarithm
    mean = max(mean_output(visible, allowance) * correction.mean, p10)
    return math.ceil(p10), math.ceil(p50), math.ceil(mean), math.ceil(p90)


def corrected_count(count: TokenCount, correction: Correction) -> TokenCount:
    """A count of input tokens as settled usage corrects it; an exact one stays as it is."""
    if count.exact:
        return count
    tokens = math.ceil(count.tokens * correction.tokens)
    return TokenCount(tokens, exact=False, worst=max(count.worst, tokens))


def output_cap(model: Model, input_tokens: int, max_output_tokens: int | None) -> int:
    """The largest number of output tokens that a call can produce; 0 or less if the input does not fit.

    Args:
        model: gives the context window and the model's own cap.
        input_tokens: of the prompt, ≥ 0.
        max_output_tokens: the request's own cap; ``None`` for none.
    """
    cap = min(model.max_output_tokens, model.context_window - input_tokens)
    return cap if max_output_tokens is None else min(cap, max_output_tokens)


def quote(
    model: Model,
    rates: Rates,
    input_tokens: TokenCount,
    lengths: Lengths,
    *,
    correction: Correction = UNCORRECTED,
    timing: Timing | None = None,
    max_output_tokens: int | None,
    expires: datetime,
    price_table: str,
) -> Quote:
    """The quote of one prompt for one model.

    Args:
        model: gives caps, speed and the allowance for hidden reasoning.
        rates: current prices.
        input_tokens: the prompt, counted for this model.
        lengths: predicted length of the visible answer before any cap, tokens.
        correction: factors learned from settled usage for this model and scope. Its length factors apply to
            the whole output including reasoning; its token factor does not apply to an exact count.
        timing: how long the model takes at this hour; ``None``: as the catalog says.
        max_output_tokens: the request's own cap; ``None`` for none.
        expires: when the quote ends, time zone aware.
        price_table: version of the prices.

    Returns:
        The quote. Every length is limited to the cap of the call, which includes reasoning. If the input
        does not fit the context window, the cap is 0, and the decision excludes the model.
    """
    counted = input_tokens.tokens
    input_tokens = corrected_count(input_tokens, correction)
    cap = max(output_cap(model, input_tokens.tokens, max_output_tokens), 0)
    points = length_points(lengths, model.reasoning, correction)
    p10, p50, mean, p90 = [min(tokens, cap) for tokens in points]
    low, expected, high, worst = call_prices(rates, input_tokens.tokens, (p10, mean, p90, cap))
    if input_tokens.worst > input_tokens.tokens:
        worst = call_price(rates, input_tokens.worst, cap)
    reasoning_p50, reasoning_p90 = reasoning_points(model.reasoning, correction)
    reasoning_p50 = min(reasoning_p50, p50)
    taken = catalog_timing(model.speed) if timing is None else timing
    latency_p50 = taken.p50_s + p50 / taken.p50_tokens_per_s
    latency_p90 = taken.p90_s + p90 / taken.p90_tokens_per_s
    return Quote(
        model=model.id,
        input_tokens=input_tokens,
        output_tokens_p50=p50,
        output_tokens_p90=p90,
        output_tokens_worst=cap,
        price=PriceRange(low, expected, high, worst),
        latency=LatencyRange(latency_p50, max(latency_p90, latency_p50)),
        expires=expires,
        price_table=price_table,
        counted_tokens=counted,
        reasoning_tokens_p50=reasoning_p50,
        reasoning_tokens_p90=min(max(reasoning_p90, reasoning_p50), p90),
        first_token=LatencyRange(taken.first_p50_s, taken.first_p90_s),
    )
