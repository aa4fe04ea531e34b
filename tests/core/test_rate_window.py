"""A sum over the last minute, by the second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.rate_window import RateWindow


def test_what_happened_counts_for_a_minute_after_its_second() -> None:
    window = RateWindow()
    window.add(5, 1_000.9, 1_000.9)
    assert window.total(1_060.99) == 5
    assert window.total(1_061.0) == 0


def test_it_says_when_what_counts_leaves() -> None:
    window = RateWindow()
    window.add(5, 1_000.0, 1_000.0)
    window.add(2, 1_000.5, 1_000.5)
    window.add(1, 1_030.0, 1_030.0)
    assert window.leaves(1_031.0) == ((30.0, 7), (60.0, 1))
    assert window.leaves(1_061.0) == ((30.0, 1),)


def test_an_estimate_is_corrected_in_the_second_in_which_it_was_made() -> None:
    window = RateWindow()
    window.add(900, 1_000.0, 1_000.0)
    window.add(-600, 1_000.0, 1_020.0)
    assert window.leaves(1_020.0) == ((41.0, 300),)
    window.add(-300, 1_000.0, 1_061.0)  # too late: it does not count any more
    assert window.total(1_061.0) == 0


def test_what_is_older_than_a_minute_does_not_count() -> None:
    window = RateWindow()
    window.add(5, 939.0, 1_000.0)
    assert window.total(1_000.0) == 0
    window.add(5, 940.0, 1_000.0)
    assert window.total(1_000.0) == 5


def test_a_clock_that_goes_back_loses_nothing() -> None:
    window = RateWindow()
    window.add(5, 1_000.0, 1_000.0)
    window.add(2, 990.0, 990.0)
    assert window.total(1_000.0) == 7


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9)), max_size=60))
def test_it_counts_what_a_list_of_all_events_counts(events: list[tuple[int, int]]) -> None:
    window, seen, now = RateWindow(), [], 5_000
    for pause, amount in events:
        now += pause
        window.add(amount, float(now), float(now))
        seen.append((now, amount))
        assert window.total(float(now)) == sum(many for at, many in seen if at > now - 61)
        assert sum(many for _, many in window.leaves(float(now))) == window.total(float(now))
