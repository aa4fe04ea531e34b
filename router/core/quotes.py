"""From tokens, lengths, rates and speed to a quote."""

from __future__ import annotations

import math
from datetime import datetime
from functools import lru_cache

from router.core.corrections import UNCORRECTED, Correction
from router.core.pricing import call_price, call_prices
from router.core.types import LatencyRange, Lengths, Model, PriceRange, Quote, Rates, TokenCount

__all__ = ["mean_length", "mean_output", "output_cap", "quote", "with_reasoning"]

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


def with_reasoning(visible: Lengths, allowance: Lengths | None) -> Lengths:
    """The whole output: what is visible of the answer, and the hidden reasoning that is billed with it.

    Quantiles are added, as if the longest answers took the longest reasoning: the 90th percentile is then
    rather too high than too low, and so is what is held. Added, not multiplied: a problem whose answer is one
    word may take thousands of tokens of reasoning.

    Args:
        visible: predicted of the answer.
        allowance: of the model; ``None`` adds nothing.
    """
    if allowance is None:
        return visible
    return Lengths(
        visible.p50 + allowance.p50, visible.p90 + allowance.p90, visible.p99 + allowance.p99
    )


def mean_output(visible: Lengths, allowance: Lengths | None) -> float:
    """The mean of the whole output, tokens: means add up, whatever the answer and its reasoning share.

    Args:
        visible: as for :func:`with_reasoning`.
        allowance: as for :func:`with_reasoning`.
    """
    return mean_length(visible) + (0.0 if allowance is None else mean_length(allowance))


def _reasoning_part(
    allowance: Lengths | None, correction: Correction, p50: int, p90: int
) -> tuple[int, int]:
    """Median and 90th percentile of the reasoning within an output of ``p50`` and ``p90`` tokens."""
    if allowance is None:
        return 0, 0
    median = min(math.ceil(allowance.p50 * correction.p50), p50)
    return median, min(max(math.ceil(allowance.p90 * correction.p90), median), p90)


@lru_cache(maxsize=4096)  # many models share the lengths of their arm
def _points(
    visible: Lengths, allowance: Lengths | None, correction: Correction
) -> tuple[int, int, int, int]:
    """10th percentile, median, mean and 90th percentile in whole tokens, before any cap."""
    whole = with_reasoning(visible, allowance)
    p50 = whole.p50 * correction.p50
    p90 = max(whole.p90 * correction.p90, p50)
    p10 = p50 * p50 / p90  # the log-normal is symmetric in the logarithm
    mean = max(mean_output(visible, allowance) * correction.mean, p10)
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
        model: gives caps, speed and the allowance for hidden reasoning.
        rates: in force now.
        input_tokens: the prompt, counted for this model.
        lengths: what is predicted of the visible answer before any cap, tokens.
        correction: what settled usage taught about this model and scope, of the whole output with the
            reasoning in it. An exact count is left alone.
        max_output_tokens: the request's own limit, if any.
        expires: until when the quote stands.
        price_table: which prices these are.

    Returns:
        The quote; every length is cut at the cap of the call, within which providers count reasoning too.
        Where the input does not fit the context window the cap is taken as 0, and the decision excludes
        the model.
    """
    counted = input_tokens.tokens
    input_tokens = _corrected_count(input_tokens, correction)
    cap = max(output_cap(model, input_tokens.tokens, max_output_tokens), 0)
    points = _points(lengths, model.reasoning, correction)
    p10, p50, mean, p90 = [min(tokens, cap) for tokens in points]
    low, expected, high, worst = call_prices(rates, input_tokens.tokens, (p10, mean, p90, cap))
    if input_tokens.worst > input_tokens.tokens:
        worst = call_price(rates, input_tokens.worst, cap)
    reasoning = _reasoning_part(model.reasoning, correction, p50, p90)
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
        reasoning_tokens_p50=reasoning[0],
        reasoning_tokens_p90=reasoning[1],
    )
