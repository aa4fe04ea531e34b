"""The test that may be looked at after every call: false alarms, power, and what it asks of values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.sequential_test import NOTHING_SEEN, Stream, log_evidence, reaches

Floats = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

RUNS = 1_000
ENOUGH = math.log(20)
"""Evidence that is reached with a probability of 5 % at most."""


def stream(values: Floats) -> Stream:
    found = NOTHING_SEEN
    for value in values:
        found = found.with_value(float(value))
    return found


def prefixes(values: Floats) -> tuple[Floats, Floats]:
    """Totals and spreads after each value."""
    totals = np.cumsum(values)
    guesses = (0.5 + totals - values) / (1 + np.arange(len(values)))
    return totals, np.cumsum((values - guesses) ** 2)


def looks(
    larger: Floats, smaller: Floats, ratio: int, at: Floats
) -> Iterator[tuple[int, Stream, Stream]]:
    """Both streams after so many values of the first, and ``ratio`` times as many of the second."""
    (t1, s1), (t2, s2) = prefixes(larger), prefixes(smaller)
    for n in at.astype(int):
        k = n * ratio
        yield (
            n,
            Stream(n, float(t1[n - 1]), float(s1[n - 1])),
            Stream(k, float(t2[k - 1]), float(s2[k - 1])),
        )


def yes_or_no(p: float) -> Draw:
    return lambda random, count: (random.random(count) < p).astype(float)


def graded(mean: float) -> Draw:
    """Of a spread of .19 at .75."""
    return lambda random, count: random.beta(4 * mean, 4 * (1 - mean), count)


def prices(mean: float) -> Draw:
    """Log-normal, as prices of calls are, with a standard deviation of 1.3 times the mean, cut off at 1."""

    def draw(random: np.random.Generator, count: int) -> Floats:
        return np.minimum(mean * np.exp(random.standard_normal(count) - 0.5), 1.0)

    return draw


def test_a_stream_keeps_count_total_and_what_the_values_before_did_not_foresee() -> None:
    found = stream(np.array([1.0, 0.5]))
    assert (found.count, found.total, found.mean) == (2, 1.5, 0.75)
    # The first is compared with 1/2, the second with (1/2 + 1) / 2.
    assert found.spread == pytest.approx(0.5**2 + 0.25**2)
    assert NOTHING_SEEN.mean == 0.0
    assert found + found == Stream(4, 3.0, 2 * found.spread)


@pytest.mark.parametrize("value", [-0.001, 1.001, math.nan])
def test_a_value_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"lies in 0\.\.1"):
        NOTHING_SEEN.with_value(value)
    assert NOTHING_SEEN.with_value(0.0).with_value(1.0).count == 2


def test_there_is_no_evidence_without_values_or_where_the_mean_is_not_above() -> None:
    some, all_ = stream(np.zeros(50)), stream(np.ones(50))
    assert log_evidence(NOTHING_SEEN, some) == log_evidence(all_, NOTHING_SEEN) == 0.0
    assert log_evidence(some, all_) == log_evidence(all_, all_) == 0.0
    assert log_evidence(all_, some) > ENOUGH
    assert log_evidence(all_, some, margin=1.0) == 0.0
    assert log_evidence(all_, stream(np.full(50, 0.5)), factor=2.0) == 0.0


def test_the_evidence_is_the_least_of_all_means_that_the_smaller_stream_may_have() -> None:
    random = np.random.default_rng(5)
    larger, smaller = stream(random.random(300) ** 0.5), stream(random.random(900) ** 1.3)
    means = np.linspace(0, 1, 20_001)[:, None]
    bets = 0.8 / 2.0 ** np.arange(12)
    cost = -np.log(1 - bets) - bets
    above = np.exp(bets * (larger.total - 300 * (1.1 * means + 0.02)) - cost * larger.spread)
    below = np.exp(bets * (900 * means - smaller.total) - cost * smaller.spread)
    least = np.log((above.mean(axis=1) * below.mean(axis=1)).min())
    assert least > 1
    found = log_evidence(larger, smaller, factor=1.1, margin=0.02)
    assert found == pytest.approx(least, abs=1e-3)


@given(
    st.lists(st.floats(0, 1), max_size=40),
    st.lists(st.floats(0, 1), max_size=40),
    st.floats(0.01, 12),
    st.floats(0, 0.2),
)
def test_evidence_is_reached_exactly_where_it_is_that_much(
    first: list[float], second: list[float], enough: float, margin: float
) -> None:
    larger, smaller = stream(np.array(first)), stream(np.array(second))
    found = log_evidence(larger, smaller, factor=1 + margin, margin=margin)
    assert reaches(enough, larger, smaller, factor=1 + margin, margin=margin) is (found >= enough)


def test_evidence_is_reached_at_the_limit_itself() -> None:
    good, bad = stream(np.ones(30)), stream(np.zeros(30))
    found = log_evidence(good, bad)
    assert reaches(found, good, bad)
    assert not reaches(math.nextafter(found, math.inf), good, bad)
    halves = stream(np.full(30, 0.5))
    assert halves.spread == 0
    assert reaches(1.0, good, halves)
    assert not reaches(1.0, halves, halves)


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.floats(0, 0.3),
)
def test_a_wider_margin_never_gives_more_evidence(
    first: list[float], second: list[float], margin: float
) -> None:
    larger, smaller = stream(np.array(first)), stream(np.array(second))
    strict = log_evidence(larger, smaller)
    assert 0 <= log_evidence(larger, smaller, margin=margin) <= strict + 1e-6
    assert 0 <= log_evidence(larger, smaller, factor=1 + margin) <= strict + 1e-6


@pytest.mark.parametrize(
    ("larger", "smaller", "ratio", "factor", "margin"),
    [
        pytest.param(yes_or_no(0.75), yes_or_no(0.75), 19, 1.0, 0.0, id="quality, a canary of 5 %"),
        pytest.param(yes_or_no(0.75), yes_or_no(0.70), 1, 1.0, 0.05, id="as much worse as allowed"),
        pytest.param(yes_or_no(0.02), yes_or_no(0.02), 19, 1.0, 0.0, id="rare errors"),
        pytest.param(graded(0.6), graded(0.6), 4, 1.0, 0.0, id="graded quality"),
        pytest.param(prices(0.105), prices(0.1), 19, 1.05, 0.0, id="prices, as dear as allowed"),
    ],
)
def test_of_1000_runs_without_a_difference_at_most_5_percent_ever_raise_an_alarm(
    larger: Draw, smaller: Draw, ratio: int, factor: float, margin: float
) -> None:
    random = np.random.default_rng(16)
    at = np.unique(np.geomspace(1, 1_000, 200).astype(int))
    alarms = 0
    for _ in range(RUNS):
        first, second = larger(random, 1_000), smaller(random, 1_000 * ratio)
        alarms += any(
            reaches(ENOUGH, one, other, factor=factor, margin=margin)
            for _, one, other in looks(first, second, ratio, at)
        )
    assert alarms <= 0.05 * RUNS


@pytest.mark.parametrize(
    ("larger", "smaller", "inverse", "factor", "margin", "within"),
    [
        # A canary of 5 %, whose calls are counted here; with a third of 5 % for each of three comparisons.
        pytest.param(
            yes_or_no(0.75), yes_or_no(0.70), True, 1.0, 0.01, 4_200, id="quality .75 → .70"
        ),
        pytest.param(graded(0.75), graded(0.70), True, 1.0, 0.01, 1_200, id="the same, graded"),
        pytest.param(
            yes_or_no(0.75), yes_or_no(0.55), True, 1.0, 0.01, 250, id="quality .75 → .55"
        ),
        pytest.param(prices(0.12), prices(0.1), False, 1.05, 0.0, 4_200, id="cost + 20 %"),
        pytest.param(prices(0.2), prices(0.1), False, 1.05, 0.0, 300, id="cost doubled"),
        pytest.param(
            yes_or_no(0.05), yes_or_no(0.01), False, 1.0, 0.01, 2_000, id="errors 1 → 5 %"
        ),
        pytest.param(yes_or_no(1.0), yes_or_no(0.01), False, 1.0, 0.01, 10, id="every call fails"),
    ],
)
def test_a_difference_is_found_within_so_many_calls_of_the_canary_in_90_percent_of_runs(
    larger: Draw, smaller: Draw, inverse: bool, factor: float, margin: float, within: int
) -> None:
    random = np.random.default_rng(61)
    found = 0
    for _ in range(100):
        small, large = (smaller, larger) if inverse else (larger, smaller)
        canary, rest = small(random, within), large(random, 19 * within)
        _, ours, theirs = next(looks(canary, rest, 19, np.array([within])))
        pair = (theirs, ours) if inverse else (ours, theirs)
        found += log_evidence(*pair, factor=factor, margin=margin) >= math.log(60)
    assert found >= 90
