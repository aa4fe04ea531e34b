"""The quote of a task: what many turns cost together, of which each reads what those before left. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from router.core.pricing import call_price
from router.core.rates import Rates
from router.core.types import Model, PriceRange, Quote

__all__ = ["MAX_TURNS", "TaskPlan", "TaskQuote", "quote_task"]

MAX_TURNS = 1_000
"""Of one task."""


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """How a task is expected to go.

    Attributes:
        turns: that are expected, 1 to :data:`MAX_TURNS`.
        max_turns: the most, ``turns`` to :data:`MAX_TURNS`.
        input_growth: input tokens that each turn adds to the context of the next, ≥ 0; ``None``: its visible
            answer.
    """

    turns: int
    max_turns: int
    input_growth: int | None = None


@dataclass(frozen=True, slots=True)
class TaskQuote:
    """What a task costs on one model.

    Attributes:
        model: its id.
        plan: of the task.
        price: nano-dollars. low: the turns expected, at the 10th percentile of the output, with the earlier
            context read from the provider's cache; expected: the turns expected, without a cache; high: the
            most turns, each at its 90th percentile; worst: the most turns, each as long as the model allows.
        input_tokens: of the turns expected together.
        max_input_tokens: of the most turns together, as ``high`` counts them.
        output_tokens: of the turns expected together, at their medians.
        max_output_tokens: of the most turns together, at their 90th percentiles.
        fitting_turns: how many turns fit the context window, 1 to ``plan.max_turns``; further ones are priced
            with the longest context that does.
        price_table: version of the prices.
    """

    model: str
    plan: TaskPlan
    price: PriceRange
    input_tokens: int
    max_input_tokens: int
    output_tokens: int
    max_output_tokens: int
    fitting_turns: int
    price_table: str


def quote_task(model: Model, rates: Rates, first: Quote, plan: TaskPlan) -> TaskQuote:
    """The quote of a task whose turns are like the first, but for their context.

    Args:
        model: that answers.
        rates: its current prices.
        first: its quote of the first turn.
        plan: how the task is expected to go.
    """
    given, growth = first.input_tokens, plan.input_growth
    p50, p90, most = first.output_tokens_p50, first.output_tokens_p90, first.output_tokens_worst
    answers = (p50 - first.reasoning_tokens_p50, p90 - first.reasoning_tokens_p90, most)
    growths = answers if growth is None else (growth, growth, growth)
    expected = _Contexts(model.context_window, given.tokens, growths[0], p50)
    high = _Contexts(model.context_window, given.tokens, growths[1], p90)
    worst = _Contexts(model.context_window, given.worst, growths[2], most)
    few, many = range(plan.turns), range(plan.max_turns)
    highs = [first.price.high + high.further(rates, turn) for turn in many]
    worsts = [call_price(rates, worst.of(turn), most) for turn in many]
    return TaskQuote(
        model=model.id,
        plan=plan,
        price=PriceRange(
            low=sum(first.price.low + expected.further(rates, turn, cached=True) for turn in few),
            expected=sum(first.price.expected + expected.further(rates, turn) for turn in few),
            high=sum(highs),
            # Where the window is full, a longer answer means a shorter context.
            worst=sum(map(max, highs, worsts)),
        ),
        input_tokens=sum(map(expected.of, few)),
        max_input_tokens=sum(map(high.of, many)),
        output_tokens=p50 * plan.turns,
        max_output_tokens=p90 * plan.max_turns,
        fitting_turns=expected.fitting(plan.max_turns),
        price_table=first.price_table,
    )


@dataclass(frozen=True, slots=True)
class _Contexts:
    """The input of each turn, tokens: ``begin`` plus ``growth`` for each before it, while the output fits."""

    window: int
    begin: int
    growth: int
    output: int

    @property
    def _longest(self) -> int:
        return max(self.window - self.output, self.begin)

    def of(self, turn: int) -> int:
        """Of a turn, from 0."""
        return min(self.begin + turn * self.growth, self._longest)

    def fitting(self, most: int) -> int:
        """How many turns fit the window, of at most so many."""
        if not self.growth:
            return most
        return min((self._longest - self.begin) // self.growth + 1, most)

    def further(self, rates: Rates, turn: int, *, cached: bool = False) -> int:
        """What the input of a turn costs more than that of the first, nano-dollars; from the cache, less."""
        known = self.of(turn - 1) if cached and turn else 0
        price = call_price(rates, self.of(turn), self.output, cached_input_tokens=known)
        return price - call_price(rates, self.begin, self.output)
