"""How much others in flight slow a model down: learned where calls show it, and covered as measured."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from router.core.corrections import Corrections
from router.core.latency import TimedCall, learn_timings
from router.core.load_effect import LEAST_CALLS, load_exponent, slowdown
from router.core.timing import LearnedTiming
from router.core.types import Speed

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPEED = Speed(1.0, 100.0)


def exponent(pairs: list[tuple[float, float]]) -> float:
    """Of calls with so many others in flight and so many times the expected latency."""
    in_flight, ratios = np.array(pairs, dtype=np.float64).T
    return load_exponent(in_flight, ratios, np.ones(len(ratios)))


def few_and_many(count: int, ratio: float, many: int = 15) -> list[tuple[float, float]]:
    """So many calls with no other in flight, and as many with others, which took longer by a ratio."""
    return [(0.0, 1.0)] * count + [(float(many), ratio)] * count


def test_a_slowdown_is_a_power_of_the_calls_in_flight_this_one_included() -> None:
    assert slowdown(np.array([0.0, 3.0]), 0.5).tolist() == [1.0, 2.0]
    assert slowdown(np.array([3.0, 3.0]), np.array([0.0, 1.0])).tolist() == [1.0, 4.0]


def test_many_calls_that_agree_give_the_exponent() -> None:
    assert exponent(few_and_many(5_000, 4.0)) == pytest.approx(0.5, abs=0.001)


def test_it_takes_ten_calls_of_each_kind() -> None:
    assert LEAST_CALLS == 10
    assert exponent(few_and_many(9, 8.0)) == 0.0
    assert exponent(few_and_many(9, 8.0) + [(0.0, 1.0)] * 9) == 0.0  # nine with others in flight
    assert 0.4 < exponent(few_and_many(10, 8.0)) < 0.75


def test_a_difference_below_its_uncertainty_counts_for_nothing() -> None:
    assert exponent(few_and_many(10, 1.3)) == 0.0
    assert exponent(few_and_many(10_000, 1.3)) > 0.08


def test_others_in_flight_make_nobody_faster_and_at_most_as_slow_as_sharing_one_machine() -> None:
    assert exponent(few_and_many(1_000, 0.2)) == 0.0
    assert exponent(few_and_many(1_000, 100.0)) == 1.0


def test_too_little_contrast_says_nothing() -> None:
    same = [(9.0, 1.0)] * 500 + [(13.0, 1.2)] * 500
    assert exponent(same) == 0.0  # 14 is less than one and a half times 10
    assert exponent([(9.0, 1.0)] * 500 + [(14.1, 1.2)] * 500) > 0.3
    assert exponent([(7.0, 1.0)] * 1_000) == 0.0


def test_a_few_absurd_reports_move_nothing() -> None:
    absurd = [(15.0, 1e6)] * 20
    assert exponent(few_and_many(500, 1.0) + absurd) == pytest.approx(0.0, abs=0.01)


def test_the_order_of_calls_does_not_matter() -> None:
    rng = random.Random(1)
    calls = [(float(rng.randrange(30)), rng.lognormvariate(0, 0.5)) for _ in range(200)]
    assert exponent(calls) == exponent(calls[::-1])


# --- In the quote, against a known truth --------------------------------------------------------


def traffic(rng: random.Random, count: int, exponent: float) -> list[TimedCall]:
    """Calls of a model that takes 1.2 s to begin and 80 tokens a second when alone; p90 is twice p50."""
    made = []
    for at in range(count):
        busy = rng.choice((0, 0, 1, 3, 8, 20, 40))
        tokens = max(round(100 * rng.lognormvariate(0, 0.4)), 1)
        alone = (1.2 + tokens / 80) * rng.lognormvariate(0, 0.54)
        made.append(
            TimedCall(
                NOON - timedelta(minutes=count - at),
                "small",
                {},
                alone * (1 + busy) ** exponent,
                None,
                tokens,
                True,
                100.0,
                170.0,
                4_000,
                in_flight=busy,
            )
        )
    return made


def learned(calls: list[TimedCall]) -> LearnedTiming:
    return learn_timings(calls, {"small": SPEED}, Corrections())["small"]


def covered(found: LearnedTiming, calls: list[TimedCall], *, busy: bool) -> tuple[float, float]:
    """The shares of calls within the quoted median and 90th percentile, with many in flight or with few."""
    within = []
    for each in calls:
        if (each.in_flight >= 8) == busy:
            by = (1 + each.in_flight) ** found.load_exponent
            at = found.hours[each.moment.hour].slowed(by)
            within.append(
                (
                    each.latency_s <= at.p50_s + 100 / at.p50_tokens_per_s,
                    each.latency_s <= at.p90_s + 170 / at.p90_tokens_per_s,
                )
            )
    p50, p90 = np.mean(within, axis=0)
    return float(p50), float(p90)


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("busy", [False, True])
def test_quotes_are_covered_with_few_in_flight_and_with_many(truth: float, busy: bool) -> None:
    rng = random.Random(7)
    past, future = traffic(rng, 2_000, truth), traffic(rng, 4_000, truth)
    found = learned(past)
    assert found.load_exponent == pytest.approx(truth, abs=0.04)
    p50, p90 = covered(found, future, busy=busy)
    assert p50 == pytest.approx(0.5, abs=0.05)
    assert p90 == pytest.approx(0.9, abs=0.03)


def test_without_the_calls_in_flight_nine_in_ten_would_be_two_in_three_where_many_are() -> None:
    rng = random.Random(7)
    past = [each._replace(in_flight=0) for each in traffic(rng, 2_000, 0.7)]
    found = learned(past)
    assert found.load_exponent == 0.0
    future = traffic(rng, 4_000, 0.7)
    assert covered(found, future, busy=True)[1] < 0.85
    assert covered(found, future, busy=False)[1] > 0.95


def test_in_calls_that_load_does_not_slow_chance_finds_an_effect_in_few_logs() -> None:
    found = []
    for seed in range(100):
        rng = random.Random(seed)
        found.append(learned(traffic(rng, 200, 0.0)).load_exponent)
    assert sum(each > 0 for each in found) <= 5
    assert max(found) < 0.1
