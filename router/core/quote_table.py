"""Quotes of one prompt for every model of a catalog in one pass over arrays.

What does not depend on the prompt is an array, computed once; each call costs a fixed number of operations
however many models there are. All counts and prices are exact integers, and every quote equals that of
:func:`~router.core.quotes.quote`, which is used where an intermediate result might not fit 64 bits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from router.core.corrections import UNCORRECTED, Correction
from router.core.load_effect import slowdown
from router.core.quotes import (
    corrected_count,
    mean_length,
    quote,
)
from router.core.rates import Rates
from router.core.timing import Timing, catalog_timing
from router.core.types import LatencyRange, Lengths, Model, PriceRange, Quote, TokenCount

__all__ = ["QuoteTable", "QuoteTerms", "Timings"]

_FEMTOS_PER_NANO = 1_000_000
_LARGEST = 2**63 - 1
_NEVER_REACHED = (_LARGEST, 0, 0)

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class QuoteTerms(NamedTuple):
    """What all quotes of a call have in common.

    Attributes:
        max_output_tokens: the request's own cap; ``None`` for none.
        expires: when the quotes end, time zone aware.
        price_table: version of the prices.
    """

    max_output_tokens: int | None
    expires: datetime
    price_table: str


class Timings:
    """How long each of ``n`` models takes, as arrays. Immutable and safe to share between threads.

    Args:
        rows: one per model.
        exponents: by model, of the effect of calls in flight, 0..1; ``None``: there is none.

    Attributes:
        rows: the same.
        exponents: the same, float64 ``(n,)``; ``None`` where all are 0.
        first: by model, to the first token.
        whole_s: what does not depend on the length, median and 90th percentile, float64 ``(2, n)``.
        tokens_per_s: the rest likewise.
    """

    def __init__(self, rows: Sequence[Timing], exponents: Sequence[float] | None = None) -> None:
        self.rows = tuple(rows)
        self.exponents = np.array(exponents) if exponents is not None and any(exponents) else None
        self.first = [LatencyRange(each.first_p50_s, each.first_p90_s) for each in rows]
        self.whole_s = np.array([(each.p50_s, each.p90_s) for each in rows]).T
        self.tokens_per_s = np.array(
            [(each.p50_tokens_per_s, each.p90_tokens_per_s) for each in rows]
        ).T

    def under_load(self, in_flight: Sequence[int]) -> Timings:
        """The same while calls are in flight.

        Args:
            in_flight: by model, calls that have not ended.
        """
        if self.exponents is None or not any(in_flight):
            return self
        factors = slowdown(np.array(in_flight, dtype=np.float64), self.exponents)
        rows = zip(self.rows, factors.tolist(), strict=True)
        return Timings([row if by == 1.0 else row.slowed(by) for row, by in rows])


class QuoteTable:
    """The models of a catalog at one moment, as arrays. Immutable and safe to share between threads.

    Args:
        models: ``n`` models with the rates of the moment; one without rates has no quote.

    Attributes:
        models: the same.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = tuple(models)
        allowed = [model.reasoning for model in models]
        self._reasoning = np.array(
            [
                (0.0, 0.0, 0.0) if one is None else (one.p50, one.p90, mean_length(one))
                for one in allowed
            ]
        ).T
        self._hidden = _tokens(self._reasoning[:2])
        self._endless = np.full(len(allowed), math.inf)
        self._timings = Timings([catalog_timing(model.speed) for model in models])
        self._window = _bounded([model.context_window for model in models])
        self._most_output = _bounded([model.max_output_tokens for model in models])
        # Of models with surcharges, there is a row of rates per threshold, ascending.
        steps = [_steps(model.rates) for model in models]
        rows = list(itertools.zip_longest(*steps, fillvalue=_NEVER_REACHED))
        self._above = [_bounded([above for above, _, _ in row]) for row in rows[1:]]
        self._input = [_bounded([of_input for _, of_input, _ in row]) for row in rows]
        self._output = [_bounded([of_output for _, _, of_output in row]) for row in rows]
        self._least_surcharged = min((int(each.min()) for each in self._above), default=_LARGEST)
        self._dearest_input = max((int(each.max()) for each in self._input), default=0)
        self._dearest_output = max((int(each.max()) for each in self._output), default=0)

    def quotes(
        self,
        counts: Sequence[TokenCount],
        lengths: Sequence[Lengths],
        corrections: Sequence[Correction] | None,
        terms: QuoteTerms,
        timings: Timings | None = None,
    ) -> list[Quote | None]:
        """The quote of each model; ``None`` for a model without rates.

        Args:
            counts: by model, the input tokens before corrections.
            lengths: by model, the predicted length of the visible answer, tokens. Models of one arm may
                share an object, and then its quantiles are computed once.
            corrections: by model, the factors learned; ``None``: nothing was learned.
            terms: of all quotes.
            timings: by model; ``None``: as the catalog says.
        """
        if not self.models:
            return []
        inputs = counts
        if corrections is not None:
            inputs = list(map(corrected_count, counts, corrections))
        least, worst = [each.tokens for each in inputs], [each.worst for each in inputs]
        tokens = np.array((least, least, least, worst))
        cap = np.minimum(self._most_output, self._window - tokens[0])
        if terms.max_output_tokens is not None:
            cap = np.minimum(cap, terms.max_output_tokens)
        longest = np.maximum(cap, 0)
        caps = longest.tolist()
        if not self._fits(max(worst), max(caps)):
            return self._one_by_one(counts, lengths, corrections, terms, timings)
        factors = None if corrections is None else np.array(corrections).T
        output, hidden = self._outputs(lengths, factors)
        output = np.minimum(output, longest)
        _, _, p90, _, p50 = output
        hidden_p50 = np.minimum(hidden[0], p50)
        taken = self._timings if timings is None else timings
        latency = taken.whole_s + np.array((p50, p90)) / taken.tokens_per_s
        rows = zip(
            p50.tolist(),
            p90.tolist(),
            caps,
            *self._prices(tokens, output[:4]).tolist(),
            latency[0].tolist(),
            np.maximum(latency[1], latency[0]).tolist(),
            hidden_p50.tolist(),
            np.minimum(np.maximum(hidden[1], hidden_p50), p90).tolist(),
            taken.first,
            strict=True,
        )
        return [
            None
            if model.rates is None
            else Quote(
                model.id,
                given,
                row[0],
                row[1],
                row[2],
                PriceRange(row[3], row[4], row[5], row[6]),
                LatencyRange(row[7], row[8]),
                terms.expires,
                terms.price_table,
                counted.tokens,
                row[9],
                row[10],
                row[11],
            )
            for model, counted, given, row in zip(self.models, counts, inputs, rows, strict=True)
        ]

    def _one_by_one(
        self,
        counts: Sequence[TokenCount],
        lengths: Sequence[Lengths],
        corrections: Sequence[Correction] | None,
        terms: QuoteTerms,
        timings: Timings | None,
    ) -> list[Quote | None]:
        """The quotes in integers of any size."""
        return [
            None
            if model.rates is None
            else quote(
                model,
                model.rates,
                count,
                length,
                correction=UNCORRECTED if corrections is None else corrections[at],
                timing=None if timings is None else timings.rows[at],
                **terms._asdict(),
            )
            for at, (model, count, length) in enumerate(
                zip(self.models, counts, lengths, strict=True)
            )
        ]

    def _outputs(
        self, lengths: Sequence[Lengths], corrections: Floats | None
    ) -> tuple[Integers, Integers]:
        """Output and hidden reasoning before any cap: int64 ``(5, n)`` and ``(2, n)``.

        The output at its 10th percentile, mean, 90th percentile, without an end, and at its median. As
        :func:`~router.core.quotes.length_points` and :func:`~router.core.quotes.reasoning_points` compute it,
        with the same operations in the same order, so that not even the last bit differs.
        """
        shapes = {
            key: (each.p50, each.p90, mean_length(each))
            for key, each in {id(each): each for each in lengths}.items()
        }
        p50, p90, mean = np.array([shapes[id(each)] for each in lengths]).T + self._reasoning
        hidden = self._hidden
        if corrections is not None:
            _, of_p50, of_p90, of_mean = corrections
            p50, p90, mean = p50 * of_p50, p90 * of_p90, mean * of_mean
            hidden = _tokens(self._reasoning[:2] * corrections[1:3])
        p90 = np.maximum(p90, p50)
        p10 = p50 * p50 / p90
        return _tokens(np.array((p10, np.maximum(mean, p10), p90, self._endless, p50))), hidden

    def _fits(self, most_input: int, most_output: int) -> bool:
        """Whether every price of at most so many tokens fits 64 bits in 1e-15 USD."""
        if max(most_input, most_output) > _LARGEST // 2:
            return False
        dearest = self._dearest_input * most_input + self._dearest_output * most_output
        return dearest <= _LARGEST - _FEMTOS_PER_NANO

    def _prices(self, tokens: Integers, outputs: Integers) -> Integers:
        """Nano-dollars, a fraction of one rounded up, of inputs and outputs ``(…, n)``."""
        per_input, per_output = self._input[0], self._output[0]
        if self._above and int(tokens.max()) > self._least_surcharged:
            for above, surcharged_input, surcharged_output in zip(
                self._above, self._input[1:], self._output[1:], strict=True
            ):
                reached = tokens > above
                per_input = np.where(reached, surcharged_input, per_input)
                per_output = np.where(reached, surcharged_output, per_output)
        femtos = per_input * tokens + per_output * outputs
        # Floor division of the negated value rounds up.
        return np.asarray(-(-femtos // _FEMTOS_PER_NANO))


def _bounded(values: Sequence[int]) -> Integers:
    """Values as integers of 64 bits. A larger one is cut, and then no price fits: see :meth:`_fits`."""
    return np.array([min(value, _LARGEST) for value in values], dtype=np.int64)


def _tokens(values: Floats) -> Integers:
    """Whole tokens, a fraction rounded up; more than any cap where there are more than 64 bits hold."""
    return np.minimum(np.ceil(values), float(_LARGEST // 2)).astype(np.int64)


def _steps(rates: Rates | None) -> list[tuple[int, int, int]]:
    """Threshold in input tokens, and what an input and an output token cost above it, in 1e-15 USD."""
    if rates is None:
        return [(0, 0, 0)]
    steps = [(0, rates), *((one.above_input_tokens, one.rates) for one in rates.surcharges)]
    return [(above, each.femtos[0], each.femtos[1]) for above, each in steps]
