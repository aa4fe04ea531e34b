"""Sums over the last minute, by the second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.core.rate_window import RateWindow


def total(window: RateWindow, now: float) -> tuple[int, int]:
    """Calls and tokens of the last minute."""
    return window.totals(now)


def leaves(window: RateWindow, now: float) -> list[tuple[float, int]]:
    """(seconds from now, tokens) that stop to count."""
    first, amounts = window.leaving(now)[1]
    return [(first + at, amount) for at, amount in enumerate(amounts) if amount]


def test_what_happened_counts_for_a_minute_after_its_second() -> None:
    window = RateWindow()
    window.add(1, 5, 1_000.9, 1_000.9)
    assert total(window, 1_060.99) == (1, 5)
    assert total(window, 1_061.0) == (0, 0)


def test_it_says_when_what_counts_leaves() -> None:
    window = RateWindow()
    window.add(1, 5, 1_000.0, 1_000.0)
    window.add(1, 2, 1_000.5, 1_000.5)
    window.add(1, 1, 1_030.0, 1_030.0)
    assert leaves(window, 1_031.0) == [(30.0, 7), (60.0, 1)]
    assert leaves(window, 1_031.5) == [(29.5, 7), (59.5, 1)]
    assert leaves(window, 1_061.0) == [(30.0, 1)]
    assert sum(window.leaving(1_061.0)[0].amounts) == 1


def test_an_estimate_is_corrected_in_the_second_in_which_it_was_made() -> None:
    window = RateWindow()
    window.add(1, 900, 1_000.0, 1_000.0)
    window.add(0, -600, 1_000.0, 1_020.0)
    assert leaves(window, 1_020.0) == [(41.0, 300)]
    window.add(0, -300, 1_000.0, 1_061.0)  # too late: it does not count any more
    assert total(window, 1_061.0) == (0, 0)


def test_what_is_older_than_a_minute_does_not_count() -> None:
    window = RateWindow()
    window.add(1, 5, 939.0, 1_000.0)
    assert total(window, 1_000.0) == (0, 0)
    window.add(1, 5, 940.0, 1_000.0)
    assert total(window, 1_000.0) == (1, 5)


def test_a_clock_that_goes_back_loses_nothing() -> None:
    window = RateWindow()
    window.add(1, 5, 1_000.0, 1_000.0)
    window.add(1, 2, 990.0, 990.0)
    assert total(window, 1_000.0) == (2, 7)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9)), max_size=60))
def test_it_counts_what_a_list_of_all_events_counts(events: list[tuple[int, int]]) -> None:
    window, seen, now = RateWindow(), [], 5_000
    for pause, amount in events:
        now += pause
        window.add(1, amount, float(now), float(now))
        seen.append((now, amount))
        newest = [many for at, many in seen if at > now - 61]
        assert total(window, float(now)) == (len(newest), sum(newest))
        assert sum(many for _, many in leaves(window, float(now))) == sum(newest)
