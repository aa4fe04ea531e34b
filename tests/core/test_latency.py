"""What the latencies of settled calls teach about how fast models are."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.core.corrections import Correction, Corrections, LearnedCorrections
from router.core.latency import (
    DAY_HALF_LIFE,
    HOUR_HALF_LIFE,
    PRIOR_CALLS,
    TimedCall,
    learn_timings,
)
from router.core.timing import LATENCY_SPREAD, LearnedTiming, Timing, catalog_timing, timing_at
from router.core.types import Speed

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPEED = Speed(1.0, 100.0)
"""By the catalog, an answer of 100 tokens takes two seconds, one of 300 at its slowest 2.7 + 3."""
NOTHING = Corrections()


def call(
    latency_s: float = 2.0,
    first_token_s: float | None = None,
    *,
    tokens: int | None = 100,
    moment: datetime = NOON,
    answered: bool = True,
) -> TimedCall:
    """A call whose answer was predicted at 100 tokens, at most 300."""
    return TimedCall(
        moment,
        "small",
        {},
        latency_s,
        first_token_s,
        tokens,
        answered,
        100.0,
        300.0,
        4_000,
        2.0,
        5.7,
    )


def learned(*calls: TimedCall, corrections: Corrections = NOTHING) -> LearnedTiming:
    return learn_timings(calls, {"small": SPEED}, corrections)["small"]


def latency(found: LearnedTiming, hour: int = 12) -> tuple[float, float]:
    """Median and 90th percentile of the latency of such an answer as quoted, seconds."""
    at = found.hours[hour]
    return at.p50_s + 100 / at.p50_tokens_per_s, at.p90_s + 300 / at.p90_tokens_per_s


def several(count: int, latency_s: float, **changes: object) -> list[TimedCall]:
    return [call(latency_s)._replace(**changes) for _ in range(count)]  # type: ignore[arg-type]


# --- The catalog, and how much it counts for ---------------------------------------------------


def test_without_settled_calls_the_catalog_says_how_fast_a_model_is() -> None:
    assert learn_timings([], {"small": SPEED}, NOTHING) == {}
    assert timing_at({}, "small", SPEED, 12) == Timing(1.0, 2.7, 1.0, 2.7, 100.0, 100.0)
    assert LATENCY_SPREAD == 2.7


def test_calls_of_a_model_that_the_catalog_lacks_are_left_out() -> None:
    assert learn_timings([call()._replace(model="gone")], {"small": SPEED}, NOTHING) == {}


def test_the_catalog_counts_as_ten_calls() -> None:
    # Slower than all that was made up: the median stays among the ten until there are as many.
    assert PRIOR_CALLS == 10
    assert latency(learned(*several(5, 40.0)), 3)[0] < 10
    assert latency(learned(*several(30, 40.0)), 3)[0] == pytest.approx(40)


def test_a_hundred_calls_say_what_the_model_is_like() -> None:
    taught = learned(*several(100, 6.0))
    assert latency(taught) == pytest.approx((6.0, 6.0))
    # Nothing was said of the first token: it takes the same share of the whole as by the catalog.
    at = taught.hours[12]
    assert (at.first_p50_s, at.p50_tokens_per_s) == pytest.approx((3.0, 100 / 3))


# --- First token and pace ----------------------------------------------------------------------


def test_first_token_and_pace_are_told_apart_where_the_first_token_is_reported() -> None:
    at = learned(*[call(4.0 + tokens / 50, 4.0, tokens=tokens) for tokens in range(50, 150)]).hours[
        12
    ]
    assert at.first_p50_s == pytest.approx(4.0)
    assert at.p50_tokens_per_s == pytest.approx(50, rel=0.02)
    assert at.first_p90_s == pytest.approx(4.0)


def test_and_where_only_the_whole_is_reported_calls_of_different_length_tell_them_apart() -> None:
    calls = [call(4.0 + tokens / 50, tokens=tokens) for tokens in range(10, 810, 4)]
    calls = [each._replace(p50=float(each.output_tokens or 1), p90=1_000.0) for each in calls]
    at = learned(*calls).hours[12]
    assert at.p50_s == pytest.approx(4.0, rel=0.1)
    assert at.p50_tokens_per_s == pytest.approx(50, rel=0.1)


def test_calls_of_one_length_say_nothing_about_the_parts() -> None:
    at = learned(*several(100, 20.0)).hours[12]
    assert at.p50_s / (100 / at.p50_tokens_per_s) == pytest.approx(1.0)  # as by the catalog


def test_a_line_that_falls_with_the_length_is_not_believed() -> None:
    calls = [call(10.0 - tokens / 100, tokens=tokens) for tokens in range(10, 810, 4)]
    at = learned(*calls).hours[12]
    assert at.p50_tokens_per_s * at.p50_s == pytest.approx(100.0)


def test_lengths_are_taken_as_quotes_correct_them_now() -> None:
    factors = LearnedCorrections("small", (), 1, Correction(1, 3.0, 1.0, 1), 0.5, 0.9)
    corrections = Corrections((), {("small", ()): factors})
    # At 300 tokens, a call is foretold to take four seconds.
    at = learned(*several(100, 4.0, output_tokens=300), corrections=corrections).hours[12]
    assert at.p50_s + 300 / at.p50_tokens_per_s == pytest.approx(4.0)


# --- Calls that failed -------------------------------------------------------------------------


def test_a_call_that_was_given_up_took_at_least_so_long() -> None:
    answered = several(80, 2.0)
    given_up = several(40, 60.0, answered=False, output_tokens=0)
    dropped, kept = learned(*answered), learned(*answered, *given_up)
    assert latency(dropped)[1] < 10
    assert latency(kept)[1] == pytest.approx(60.0)
    assert latency(kept)[0] == pytest.approx(2.0)
    assert (kept.calls, kept.unfinished) == (120, 40)


def test_a_call_that_failed_at_once_says_nothing() -> None:
    quick = several(50, 0.05, answered=False, output_tokens=0)
    spread = [call(1.0 + place / 50) for place in range(100)]
    assert latency(learned(*spread, *quick)) == pytest.approx(latency(learned(*spread)))


def test_a_stream_that_was_given_up_before_its_first_token_has_waited_for_it() -> None:
    streamed = [call(2.0, 1.0) for _ in range(80)]
    waited = several(40, 30.0, answered=False, output_tokens=0)
    began = several(40, 30.0, answered=False, output_tokens=50)
    assert learned(*streamed, *waited).hours[12].first_p90_s == pytest.approx(30.0)
    assert learned(*streamed, *began).hours[12].first_p90_s < 3


# --- Robust, by the hour, fading ---------------------------------------------------------------


def test_a_single_call_of_ten_minutes_does_not_move_the_median() -> None:
    chance = random.Random(5)
    usual = [call(2 * chance.lognormvariate(0, 0.4)) for _ in range(200)]
    before, after = latency(learned(*usual)), latency(learned(*usual, call(600.0)))
    assert after[0] == pytest.approx(before[0], rel=0.02)
    assert before[1] <= after[1] <= before[1] * 1.1
    # One in ten is what a 90th percentile is about.
    many = learned(*usual, *several(30, 600.0))
    assert latency(many)[0] == pytest.approx(before[0], rel=0.15)
    assert latency(many)[1] == pytest.approx(600.0)


def test_an_hour_has_its_own_level_and_an_hour_without_calls_that_of_the_day() -> None:
    morning, evening = NOON.replace(hour=9), NOON.replace(hour=20)
    taught = learned(*several(200, 2.0, moment=morning), *several(200, 8.0, moment=evening))
    assert latency(taught, 9)[0] == pytest.approx(2.0)
    assert latency(taught, 20)[0] == pytest.approx(8.0)
    assert 2.0 <= latency(taught, 3)[0] <= 8.0
    assert latency(taught, 3) == latency(taught, 4)


def test_the_hour_is_that_of_utc() -> None:
    tokyo = datetime.fromisoformat("2026-11-23T21:00:00+09:00")
    taught = learned(
        *several(200, 8.0, moment=tokyo), *several(200, 2.0, moment=NOON.replace(hour=3))
    )
    assert latency(taught, 12)[0] == pytest.approx(8.0)


def test_half_of_a_call_is_forgotten_after_its_half_life() -> None:
    assert timedelta(days=3) == HOUR_HALF_LIFE
    assert timedelta(hours=12) == DAY_HALF_LIFE
    # 100 fast calls three days ago weigh as 50 today, so that 40 slow ones are less than half, and 70 more.
    fast = several(100, 2.0, moment=NOON - HOUR_HALF_LIFE)
    assert latency(learned(*fast, *several(20, 8.0)))[0] < 3
    assert latency(learned(*fast, *several(90, 8.0)))[0] == pytest.approx(8.0)


def test_a_slow_down_is_quoted_the_same_day_and_forgotten_again() -> None:
    def traffic(days: range, latency_s: float) -> list[TimedCall]:
        return [
            call(latency_s, moment=NOON + timedelta(days=day, hours=hour))
            for day in days
            for hour in range(24)
            for _ in range(4)
        ]

    before = traffic(range(5), 2.0)
    hours = [
        each
        for each in traffic(range(5, 6), 10.0)
        if each.moment < NOON + timedelta(days=5, hours=6)
    ]
    slow = latency(learned(*before, *hours), 18)
    assert slow[0] == pytest.approx(2.0)
    assert slow[1] == pytest.approx(10.0)
    after = learned(*before, *traffic(range(5, 6), 10.0), *traffic(range(6, 14), 2.0))
    assert latency(after, 18)[1] < 6


def test_the_report_says_how_often_calls_stayed_within_the_quote() -> None:
    one = learned(call(1.9), call(2.0), call(2.1), call(5.8), call(3.0, answered=False, tokens=0))
    # The call that was given up after three seconds was over the median; of the 90th percentile nobody knows.
    assert (one.within_p50, one.within_p90) == (0.4, 0.75)
    assert learned(call()._replace(quoted_p50_s=None, quoted_p90_s=None)).within_p90 is None


# --- Properties --------------------------------------------------------------------------------

LATENCIES = st.floats(0.0, 600.0)
CALLS = st.lists(
    st.builds(
        lambda whole, share, tokens, hours, answered: call(
            whole,
            None if share is None else whole * share,
            tokens=tokens,
            moment=NOON - timedelta(hours=hours),
            answered=answered,
        ),
        LATENCIES,
        st.none() | st.floats(0, 1),
        st.none() | st.integers(0, 5_000),
        st.integers(0, 400),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)


@given(CALLS, st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_the_order_of_settles_does_not_matter(
    calls: list[TimedCall], chance: random.Random
) -> None:
    assert learned(*chance.sample(calls, len(calls))) == learned(*calls)


@given(CALLS)
@settings(max_examples=50)
def test_whatever_is_reported_makes_a_timing_that_can_be_quoted(calls: list[TimedCall]) -> None:
    for at in learned(*calls).hours:
        assert 0 <= at.first_p50_s <= at.first_p90_s
        assert min(at.p50_s, at.p90_s) >= 0
        assert min(at.p50_tokens_per_s, at.p90_tokens_per_s) > 0


def same_length(latencies: list[tuple[float, int, bool]]) -> list[TimedCall]:
    return [
        call(seconds, moment=NOON - timedelta(hours=hours), answered=answered)
        for seconds, hours, answered in latencies
    ]


@given(
    st.lists(st.tuples(LATENCIES, st.integers(0, 100), st.booleans()), min_size=1, max_size=30),
    st.floats(0, 100),
    st.integers(0, 23),
    st.booleans(),
    st.integers(1, 20),
)
@settings(max_examples=100)
def test_more_slow_calls_never_lower_the_90th_percentile(
    latencies: list[tuple[float, int, bool]], slower: float, hour: int, answered: bool, count: int
) -> None:
    calls = [*same_length(latencies), call(2.0)]  # the newest call stays the newest
    before = learned(*calls)
    slowest = max(latency(before, hour)[1], before.hours[hour].first_p90_s)
    moment = NOON - timedelta(hours=(12 - hour) % 24)
    slow = [call(slowest + slower, moment=moment, answered=answered)] * count
    assert latency(learned(*calls, *slow), hour)[1] >= latency(before, hour)[1] * (1 - 1e-12)


def test_a_model_that_answers_at_once_by_the_catalog_can_be_learned() -> None:
    instant = replace(SPEED, first_token_s=0.0)
    found = learn_timings([call(1.0, 0.2)] * 50, {"small": instant}, NOTHING)["small"].hours[12]
    assert found.first_p50_s == pytest.approx(0.2, rel=0.1)
    assert catalog_timing(instant).first_p90_s == 0
