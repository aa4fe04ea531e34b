"""Sums of the quotes of a batch, per model and for the recommended routing, with an interval of the sum."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from router.core.limits import LimitState, Unit
from router.core.schedule import Demand
from router.core.types import Candidate, PriceRange
from router.routing.reservations import HeldDecision

__all__ = ["BatchTotals", "ModelTotal"]

_Z90 = 1.2815515655446004
_SHARED = 0.8
"""The share of a quote's standard deviation that all quotes of a batch have in common, 0..1: their errors
correlate by its square. Measured on batches of one category, after corrections from other prompts: 80 %
intervals cover 79 % of 42 batches of MMLU-Pro with the static bundle and 76 % with the multilingual one.
Those are exams, whose lengths the bundles know least of: a batch of one kind of work is off as a whole."""


@dataclass
class ModelTotal:
    """The sum of the quotes of many answers by one model, or by the recommended ones.

    Attributes:
        answers: how many quotes.
        tokens: input tokens and the median of the output tokens.
        expected: expected price, nano-dollars.
        worst: worst price, nano-dollars.
        deviation: sum of the standard deviations of the prices, nano-dollars.
        variance: sum of the variances of the prices, nano-dollars squared.
        limits: (limit id, balance key) → the limit, for every limit that some answer counts on.
        demands: (provider, model) → what the calls need of the limits of providers.
    """

    answers: int = 0
    tokens: int = 0
    expected: int = 0
    worst: int = 0
    deviation: float = 0.0
    variance: float = 0.0
    limits: dict[tuple[str, str], LimitState] = field(default_factory=dict)
    demands: dict[tuple[str, str], Demand] = field(default_factory=dict)

    def add(self, candidate: Candidate) -> None:
        """Add one quote."""
        quote = candidate.quote
        assert quote is not None  # noqa: S101 — a ranked candidate has a quote
        price = quote.price
        self.answers += 1
        self.tokens += quote.input_tokens.tokens + quote.output_tokens_p50
        self.expected += price.expected
        self.worst += price.worst
        # Low and high bound an 80 % interval, which is 2 · 1.28 standard deviations wide.
        deviation = (price.high - price.low) / (2 * _Z90)
        self.deviation += deviation
        self.variance += deviation**2
        model = candidate.model
        self.demands.setdefault((model.provider, model.id), Demand()).add(quote)
        self.limits.update({(state.limit.id, state.key): state for state in candidate.limits})

    @property
    def price(self) -> PriceRange:
        """The sum with an 80 % interval, nano-dollars.

        The prompts of a batch resemble each other, and so do the errors of their quotes: the shared
        part of a deviation (:data:`_SHARED`) adds up, and only the rest averages out.
        """
        shared = (_SHARED * self.deviation) ** 2
        spread = math.ceil(_Z90 * math.sqrt(shared + (1 - _SHARED**2) * self.variance))
        low = max(self.expected - spread, 0)
        high = min(self.expected + spread, self.worst)
        return PriceRange(low, self.expected, max(high, low), self.worst)

    @property
    def tightest(self) -> LimitState | None:
        """The limit on money with the least remaining; ``None`` where none applies."""
        on_money = [
            state
            for state in self.limits.values()
            if state.limit.unit is Unit.MONEY and state.remaining is not None
        ]
        return min(on_money, key=lambda state: (state.remaining or 0, state.limit.id), default=None)

    @property
    def fits(self) -> bool:
        """Whether the expected price fits what remains of the tightest limit on money."""
        tightest = self.tightest
        return tightest is None or self.expected <= (tightest.remaining or 0)


@dataclass
class BatchTotals:
    """The running totals of a batch. Memory grows with the number of models, not of prompts.

    Attributes:
        quoted: prompts that were quoted.
        failed: prompts that could not be quoted.
        recommended: every prompt by its chosen model.
        per_model: model id → every prompt that this model can take.
    """

    quoted: int = 0
    failed: int = 0
    recommended: ModelTotal = field(default_factory=ModelTotal)
    per_model: dict[str, ModelTotal] = field(default_factory=dict)

    def add(self, held: HeldDecision) -> None:
        """Add the decision on one prompt."""
        self.quoted += 1
        ranked = held.routed.decision.ranked
        self.recommended.add(ranked[0])
        for candidate in ranked:
            self.per_model.setdefault(candidate.model.id, ModelTotal()).add(candidate)

    @property
    def models(self) -> list[tuple[str, ModelTotal]]:
        """Models that can take every prompt, cheapest first."""
        able = [(m, total) for m, total in self.per_model.items() if total.answers == self.quoted]
        return sorted(able, key=lambda one: (one[1].expected, one[0]))
