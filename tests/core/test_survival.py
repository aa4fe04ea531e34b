"""Quantiles of times of which some are only known to be at least so long."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.survival import survival_quantiles


def quantile(
    times: list[tuple[float, bool]], share: float, weights: list[float] | None = None
) -> float:
    values, exact = (np.array(each) for each in zip(*times, strict=True))
    given_weights = np.ones(len(times)) if weights is None else np.array(weights, dtype=float)
    return float(survival_quantiles(values, exact, given_weights[None, :], share)[0])


def known(*values: float) -> list[tuple[float, bool]]:
    return [(value, True) for value in values]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.1, 1), (0.11, 2), (0.5, 5), (0.51, 6), (0.9, 9), (0.91, 10)]
)
def test_of_ten_times_the_ninth_is_the_90th_percentile(share: float, expected: float) -> None:
    assert quantile(known(*range(1, 11)), share) == expected


def test_a_time_counts_as_often_as_its_weight() -> None:
    assert quantile(known(1, 2), 0.9, [9, 1]) == 1
    assert quantile(known(1, 2), 0.9, [8.9, 1.1]) == 2


def test_a_call_that_was_given_up_stands_for_the_longer_ones() -> None:
    # 1, 2, at least 2, 4, 5: the fourth fifth is shared by 4 and 5, so that .6 of calls end by 2, .7 by 4.
    times = [*known(1, 2, 4, 5), (2.0, False)]
    assert quantile(times, 0.4) == 2
    assert quantile(times, 0.41) == 4
    assert quantile(times, 0.7) == 4
    assert quantile(times, 0.71) == 5


def test_where_too_many_were_given_up_the_longest_time_is_what_is_known() -> None:
    assert quantile([(1, True), (60, False)], 0.9) == 60
    assert quantile([(60, False), (60, False)], 0.5) == 60


def test_what_has_no_weight_is_not_there() -> None:
    assert quantile(known(1, 2, 3), 0.9, [1, 1, 0]) == 2


TIMES = st.lists(st.tuples(st.floats(0.1, 100), st.booleans()), min_size=1, max_size=30)
SHARES = st.sampled_from([0.5, 0.9])


@given(TIMES, SHARES, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(
    times: list[tuple[float, bool]], share: float, chance: random.Random
) -> None:
    shuffled = chance.sample(times, len(times))
    assert quantile(times, share) == quantile(shuffled, share)


@given(TIMES, SHARES, st.floats(0, 100), st.booleans())
def test_one_more_slow_time_never_lowers_a_quantile(
    times: list[tuple[float, bool]], share: float, slower: float, exact: bool
) -> None:
    before = quantile(times, share)
    assert quantile([*times, (before + slower, exact)], share) >= before


@given(TIMES, SHARES, st.data())
def test_what_is_only_a_lower_bound_never_lowers_a_quantile(
    times: list[tuple[float, bool]], share: float, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(times) - 1))
    cut_off = [*times[:place], (times[place][0], False), *times[place + 1 :]]
    assert quantile(cut_off, share) >= quantile(times, share)
