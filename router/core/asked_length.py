"""Output lengths within what the prompt asks for: "at most 50 words", "list ten reasons", "briefly".

A classifier that learnt from a few thousand answers knows such wishes too little: of the prompts in public
histories, some twenty name a length. What a prompt says is certain, so it bounds what was predicted. It is
applied to the prediction, so that every bundle respects it, whatever it was trained on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from router.core.types import Lengths

__all__ = ["BRIEF", "DETAILED", "UNASKED", "AskedLength", "bounded"]

BRIEF, DETAILED = (0.4, 0.35), (1.3, 1.2)
"""Factors on the median and on the higher quantiles where a brief or a detailed answer is asked for. In
alpaca_eval the answers to brief requests are .47 times as long as all (medians of its models), and those
to detailed requests 1.9 times. The classifier takes both words for a sign of an open question; the factors
are what is left to correct on prompts with and without them."""
_ITEMS_SHARE = 0.6
"""How much the number of items counts against the prediction, in the logarithm. The prediction hardly depends
on the number, so that more items are more tokens whatever it says."""
_ITEMS_P90 = 3.0
"""Ninth decile of a list, times its usual length."""
_LEAST_P90, _LEAST_P99, _MOST_P99 = 1.25, 1.6, 1.5
_SIZE_P90 = 2.0, 60.0
"""Ninth decile of an answer of a named size, by that: factor and addend. A greater limit counts as this."""


class AskedLength(NamedTuple):
    """What a prompt says of the length of its answer, in tokens.

    Attributes:
        factors: on the median and on the higher quantiles, each > 0; 1 where nothing is said.
        items: usual length of the list that is asked for, ≥ 0; 0: none is.
        least: the median is at least this, ≥ 0.
        middle: the median is at most this; infinite: unbounded.
        most: the ninth decile is at most this, ≥ middle; infinite: unbounded.
        size: the median itself, ≥ 0, where a size is named; 0: none is. The prediction then says nothing, so
            that more is quoted as more.
    """

    factors: tuple[float, float] = (1.0, 1.0)
    items: float = 0.0
    least: float = 0.0
    middle: float = math.inf
    most: float = math.inf
    size: float = 0.0


UNASKED = AskedLength()
"""A prompt that says nothing."""


def _pooled(predicted: float, items: float) -> float:
    return float(items**_ITEMS_SHARE * predicted ** (1 - _ITEMS_SHARE))


def bounded(lengths: Lengths, asked: AskedLength) -> Lengths:
    """Quantiles of the answer to a prompt that says how long it shall be.

    Args:
        lengths: as predicted.
        asked: by the prompt. A named size outweighs the prediction, a named limit items, and these outweigh
            brief and detailed.

    Returns:
        Quantiles ≥ 1 in ascending order.
    """
    if asked == UNASKED:
        return lengths
    p50 = lengths.p50 * asked.factors[0]
    p90, p99 = lengths.p90 * asked.factors[1], lengths.p99 * asked.factors[1]
    if asked.items:
        p50, p90 = _pooled(p50, asked.items), _pooled(p90, asked.items * _ITEMS_P90)
    if asked.size:
        factor, addend = _SIZE_P90
        p50, p90 = asked.size, min(asked.most, factor * asked.size + addend)
        p99 = p90
    p50 = max(min(max(p50, asked.least), asked.middle), 1.0)
    p90 = max(min(max(p90, asked.least * _LEAST_P90), asked.most), p50)
    p99 = max(min(max(p99, asked.least * _LEAST_P99), asked.most * _MOST_P99), p90)
    return Lengths(p50, p90, p99)
