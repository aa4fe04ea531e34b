"""How long a model takes: as the catalog says, or as settled calls have shown for each hour of the day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from router.core.types import Speed

__all__ = ["HOURS", "LATENCY_SPREAD", "LearnedTiming", "Timing", "catalog_timing", "timing_at"]

HOURS = 24
LATENCY_SPREAD = 2.7
"""p90 divided by p50 of the latency that does not depend on the output length (queues, networks): the
median over four models (1.3, 1.3, 4.1, 9.7) among answers of at most 5 tokens in the latency log of
LLMDrift (github.com/lchen001/LLMDrift, Apache-2.0)."""


class Timing(NamedTuple):
    """What the latency of a quote is computed from.

    A whole answer takes ``p50_s + n / p50_tokens_per_s`` seconds in the median, where ``n`` is the median of
    its length, and likewise at the 90th percentile.

    Attributes:
        first_p50_s: seconds to the first token, median, ≥ 0.
        first_p90_s: the same at the 90th percentile, ≥ ``first_p50_s``.
        p50_s: the part of the whole that does not depend on the length, median, seconds ≥ 0.
        p90_s: the same at the 90th percentile.
        p50_tokens_per_s: output tokens per second, > 0.
        p90_tokens_per_s: the same at the 90th percentile of the latency.
    """

    first_p50_s: float
    first_p90_s: float
    p50_s: float
    p90_s: float
    p50_tokens_per_s: float
    p90_tokens_per_s: float

    def slowed(self, factor: float) -> Timing:
        """The same where everything takes so many times as long."""
        return Timing(*(each * factor for each in self[:4]), *(each / factor for each in self[4:]))


@dataclass(frozen=True, slots=True)
class LearnedTiming:
    """What settled calls have shown of one model.

    Attributes:
        model: id of the model.
        calls: settled calls whose latency was reported, > 0.
        unfinished: those among them that failed or timed out, of which only a lower bound is known.
        first_tokens: calls whose time to the first token was reported.
        within_p50: share of calls that took no longer than the quoted median, 0..1; .5 for accurate quotes.
            ``None`` where no call had a quoted latency.
        within_p90: the same for the quoted 90th percentile; .9 likewise.
        hours: the timing at each hour of the day in UTC, :data:`HOURS` of them, with no other call in flight.
        load_exponent: how much others in flight slow a call down, 0..1: see
            :func:`~router.core.load_effect.slowdown`.
    """

    model: str
    calls: int
    unfinished: int
    first_tokens: int
    within_p50: float | None
    within_p90: float | None
    hours: tuple[Timing, ...]
    load_exponent: float = 0.0


def catalog_timing(speed: Speed) -> Timing:
    """The timing of a model of which nothing was learned."""
    first, rate = speed.first_token_s, speed.output_tokens_per_s
    return Timing(first, first * LATENCY_SPREAD, first, first * LATENCY_SPREAD, rate, rate)


def timing_at(learned: Mapping[str, LearnedTiming], model: str, speed: Speed, hour: int) -> Timing:
    """The timing of a model at an hour: as learned, else as the catalog says.

    Args:
        learned: by id of the model.
        model: id.
        speed: of the model, by the catalog.
        hour: of the day in UTC, 0..23.
    """
    found = learned.get(model)
    return catalog_timing(speed) if found is None else found.hours[hour]
