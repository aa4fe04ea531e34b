"""The quotes of all models in one pass are those of each model on its own, to the nano-dollar and the bit."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.core.corrections import UNCORRECTED, Correction
from router.core.errors import InvalidInput
from router.core.quote_table import QuoteTable, QuoteTerms, Timings
from router.core.quotes import quote
from router.core.rates import Rates, Surcharge
from router.core.timing import Timing
from router.core.types import Lengths, Model, Quote, Speed, TokenCount
from tests.builders import EXPIRES, model, rates

usd = st.decimals(0, 1_000, places=3) | st.sampled_from([Decimal(0), Decimal("0.000000001")])
lengths = st.tuples(*[st.floats(0.1, 30_000)] * 3).map(lambda some: Lengths(*sorted(some)))
factors = st.floats(0.1, 10)


@st.composite
def all_rates(draw: st.DrawFn) -> Rates:
    thresholds = sorted(draw(st.sets(st.integers(1, 3_000), max_size=3)))
    surcharges = tuple(Surcharge(above, Rates(draw(usd), draw(usd))) for above in thresholds)
    return Rates(draw(usd), draw(usd), draw(st.none() | usd), surcharges=surcharges)


@st.composite
def models(draw: st.DrawFn) -> Model:
    return replace(
        model(),
        rates=draw(st.none() | all_rates()),
        context_window=draw(st.integers(1, 5_000) | st.integers(1, 10**6)),
        max_output_tokens=draw(st.integers(1, 400_000)),
        speed=Speed(draw(st.floats(0, 60)), draw(st.floats(0.1, 3_000))),
        reasoning=draw(st.none() | lengths),
    )


@st.composite
def counts(draw: st.DrawFn) -> TokenCount:
    tokens = draw(st.integers(0, 4_000))
    exact = draw(st.booleans())
    return TokenCount(tokens, exact, tokens if exact else tokens + draw(st.integers(0, 3_000)))


def reference(
    model: Model,
    count: TokenCount,
    length: Lengths,
    correction: Correction,
    cap: int | None,
    timing: Timing | None = None,
) -> Quote | None:
    if model.rates is None:
        return None
    return quote(
        model,
        model.rates,
        count,
        length,
        correction=correction,
        timing=timing,
        max_output_tokens=cap,
        expires=EXPIRES,
        price_table="test prices",
    )


@given(st.data(), st.lists(models(), max_size=8), st.none() | st.integers(1, 5_000))
def test_every_quote_of_the_pass_is_the_one_that_the_model_gets_alone(
    data: st.DataObject, some: list[Model], cap: int | None
) -> None:
    shared = data.draw(st.lists(lengths, min_size=1, max_size=2))
    tokens = [data.draw(counts()) for _ in some]
    visible = [data.draw(st.sampled_from(shared)) for _ in some]
    learned = data.draw(st.booleans())
    corrections = [
        Correction(*data.draw(st.tuples(factors, factors, factors, factors)))
        if learned
        else UNCORRECTED
        for _ in some
    ]
    timings = [draw_timing(data) for _ in some] if data.draw(st.booleans()) else None
    found = QuoteTable(some).quotes(
        tokens,
        visible,
        corrections if learned else None,
        QuoteTerms(cap, EXPIRES, "test prices"),
        None if timings is None else Timings(timings),
    )
    told = timings or [None] * len(some)
    assert found == [
        reference(*each, cap, timing)
        for *each, timing in zip(some, tokens, visible, corrections, told, strict=True)
    ]


def draw_timing(data: st.DataObject) -> Timing:
    seconds, rates_ = st.floats(0, 600), st.floats(0.01, 5_000)
    first = sorted(data.draw(st.tuples(seconds, seconds)))
    return Timing(*first, *data.draw(st.tuples(seconds, seconds, rates_, rates_)))


@example(Decimal(9_223_372), 10**6)  # just above 64 bits: 9.2e15 × 10⁶ × 1.001 femto-dollars
@given(st.decimals(1, 10**9, places=0), st.integers(1, 10**7))
def test_prices_of_any_size_are_exact_or_refused_as_those_of_one_model_are(
    usd_per_mtok: Decimal, tokens: int
) -> None:
    dear = replace(
        model(),
        rates=Rates(usd_per_mtok, usd_per_mtok),
        context_window=10**19,
        max_output_tokens=10**19,
    )
    some, count, length = [dear, model()], TokenCount(tokens, False, 2 * tokens), Lengths(1, 2, 3)
    terms = QuoteTerms(1_000, EXPIRES, "test prices")
    try:
        expected = [reference(one, count, length, UNCORRECTED, 1_000) for one in some]
    except InvalidInput:
        with pytest.raises(InvalidInput):
            QuoteTable(some).quotes([count] * 2, [length] * 2, None, terms)
        return
    assert QuoteTable(some).quotes([count] * 2, [length] * 2, None, terms) == expected


def test_a_length_beyond_all_bounds_is_cut_to_the_cap_of_the_call() -> None:
    count, endless = TokenCount(10, True, 10), Lengths(1e100, 1e100, 1e100)
    (found,) = QuoteTable([model()]).quotes(
        [count], [endless], None, QuoteTerms(None, EXPIRES, "test prices")
    )
    assert found is not None
    assert found.output_tokens_p50 == found.output_tokens_worst == model().max_output_tokens


def test_a_long_input_costs_its_surcharge_from_the_token_above_the_threshold() -> None:
    dearer = Rates(
        Decimal(1), Decimal(4), surcharges=(Surcharge(1_000, rates("2", "8")),)
    )  # of all tokens, once the input has more than 1,000
    (at, above) = (
        QuoteTable([replace(model(), rates=dearer)]).quotes(
            [TokenCount(tokens, True, tokens)],
            [Lengths(100, 100, 100)],
            None,
            QuoteTerms(None, EXPIRES, "test prices"),
        )[0]
        for tokens in (1_000, 1_001)
    )
    assert at is not None
    assert above is not None
    assert at.price.expected == 1_000 * 1_000 + 100 * 4_000
    assert above.price.expected == 1_001 * 2_000 + 100 * 8_000


def test_without_models_there_are_no_quotes() -> None:
    assert QuoteTable([]).quotes([], [], None, QuoteTerms(None, EXPIRES, "test prices")) == []
