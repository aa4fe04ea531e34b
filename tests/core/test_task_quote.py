"""The quote of a task: turns like the first, each of which reads what those before have left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.pricing import call_price
from router.core.quotes import quote
from router.core.rates import Rates, Surcharge
from router.core.task_quote import TaskPlan, TaskQuote, quote_task
from router.core.types import Lengths, Model, Quote, Speed, TokenCount

# Dollars per million tokens are thousands of nano-dollars per token.
RATES = Rates(Decimal(2), Decimal(10), cache_read=Decimal("0.2"))
MODEL = Model("one", "nobody", "low", RATES, 10_000, 1_000, frozenset(), Speed(1.0, 10.0))


def first(
    model: Model = MODEL,
    tokens: int = 100,
    p50: float = 50,
    p90: float = 200,
    worst: int | None = None,
) -> Quote:
    assert model.rates is not None
    return quote(
        model,
        model.rates,
        TokenCount(tokens, exact=worst is None, worst=worst or tokens),
        Lengths(p50, p90, 2 * p90),
        max_output_tokens=None,
        expires=datetime(2026, 12, 1, tzinfo=UTC),
        price_table="table",
    )


def quoted(plan: TaskPlan, model: Model = MODEL, of: Quote | None = None) -> TaskQuote:
    assert model.rates is not None
    return quote_task(model, model.rates, of or first(model), plan)


def test_one_turn_costs_what_it_costs_alone() -> None:
    one = quoted(TaskPlan(1, 1, 500))
    assert one.price == first().price
    assert (one.input_tokens, one.max_input_tokens) == (100, 100)
    assert (one.output_tokens, one.max_output_tokens) == (50, 200)


def test_a_context_that_does_not_grow_multiplies_the_price_of_a_turn() -> None:
    price, found = first().price, quoted(TaskPlan(3, 7, 0))
    assert found.price.expected == 3 * price.expected
    assert found.price.high == 7 * price.high
    assert found.price.worst == 7 * price.worst
    # The context before, the same 100 tokens, is read from the cache, which costs a tenth.
    assert found.price.low == 3 * price.low - 2 * 100 * (2_000 - 200)


def test_each_turn_reads_what_those_before_have_left() -> None:
    price, found = first().price, quoted(TaskPlan(3, 4, 1_000))
    assert found.input_tokens == 100 + 1_100 + 2_100
    assert found.max_input_tokens == 100 + 1_100 + 2_100 + 3_100
    assert found.price.expected == 3 * price.expected + (1_000 + 2_000) * 2_000
    assert found.price.high == 4 * price.high + (1_000 + 2_000 + 3_000) * 2_000
    assert found.price.worst == 4 * price.worst + (1_000 + 2_000 + 3_000) * 2_000
    cached = (100 + 1_100) * 200 + (1_000 + 1_000) * 2_000 - 2 * 100 * 2_000
    assert found.price.low == 3 * price.low + cached


def test_without_a_growth_the_context_grows_by_the_answers() -> None:
    found = quoted(TaskPlan(3, 3))
    assert found.input_tokens == 3 * 100 + (1 + 2) * 50
    assert found.max_input_tokens == 3 * 100 + (1 + 2) * 200
    thinking = replace(MODEL, reasoning=Lengths(300, 600, 900))
    of = first(thinking)
    # Hidden reasoning is billed, and not read again.
    assert quoted(TaskPlan(2, 2), thinking, of).input_tokens == 2 * 100 + 50
    assert of.output_tokens_p50 == 350


def test_the_context_grows_until_the_window_is_full() -> None:
    small = replace(MODEL, context_window=1_000)
    found = quoted(TaskPlan(5, 5, 400), small)
    # 50 tokens of output at the median leave 950 of the window for the context: 100, 500, 900, 950, 950.
    assert found.input_tokens == 100 + 500 + 900 + 950 + 950
    assert found.fitting_turns == 3
    assert quoted(TaskPlan(5, 5, 425), small).fitting_turns == 3
    assert quoted(TaskPlan(5, 5, 426), small).fitting_turns == 2
    assert quoted(TaskPlan(5, 5, 0), small).fitting_turns == 5
    assert quoted(TaskPlan(2, 2, 400), small).fitting_turns == 2


def test_a_long_context_has_its_surcharge() -> None:
    dear = replace(RATES, surcharges=(Surcharge(1_000, Rates(Decimal(4), Decimal(10))),))
    plan = TaskPlan(2, 2, 1_000)
    found = quote_task(MODEL, dear, first(), plan)
    assert found.price.expected == 2 * first().price.expected + 1_100 * 4_000 - 100 * 2_000


def test_the_worst_case_counts_the_upper_bound_of_the_tokens() -> None:
    found = quoted(TaskPlan(2, 2, 0), of=first(worst=400))
    assert found.price.worst == 2 * call_price(RATES, 400, 1_000)


@given(
    tokens=st.integers(1, 3_000),
    p50=st.floats(1, 500),
    ratio=st.floats(1, 8),
    turns=st.integers(1, 12),
    more=st.integers(0, 12),
    growth=st.none() | st.integers(0, 3_000),
    window=st.integers(5_000, 20_000),
)
def test_prices_are_in_order_and_grow_with_the_turns(
    tokens: int, p50: float, ratio: float, turns: int, more: int, growth: int | None, window: int
) -> None:
    model = replace(MODEL, context_window=window)
    of = first(model, tokens, p50, p50 * ratio)
    found = quoted(TaskPlan(turns, turns + more, growth), model, of)
    low, expected, high, worst = found.price
    assert low <= expected
    assert low <= high <= worst
    assert 1 <= found.fitting_turns <= turns + more
    longer = quoted(TaskPlan(turns + 1, turns + more + 1, growth), model, of)
    assert all(one < other for one, other in zip(found.price, longer.price, strict=True))


@pytest.mark.parametrize("growth", [None, 0, 10**9])
def test_the_longest_task_is_quoted(growth: int | None) -> None:
    found = quoted(TaskPlan(1_000, 1_000, growth))
    assert found.price.high >= 1_000 * first().price.high
