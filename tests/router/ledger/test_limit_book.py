"""Which limits apply, and which balance each counts on."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta

import pytest

from router.core.limits import ANY, Unit, Window, period_of
from router.ledger.limit_book import LimitBook, series_of
from tests.router.ledger.builders import START, limit

BLUE = {"tenant": "acme", "team": "blue", "user": "ann"}


def names(book: LimitBook, labels: dict[str, str], moment: datetime = START) -> list[str]:
    return [each.limit.id for each in book.applying(labels, moment)]


def test_limits_apply_by_their_labels_in_the_order_of_their_ids() -> None:
    book = LimitBook(
        [
            limit("user", scope={"user": "*", "team": "blue"}),
            limit("all"),
            limit("blue", scope={"team": "blue"}),
            limit("also blue", scope={"team": "blue"}),
            limit("red", scope={"team": "red"}),
        ]
    )
    assert names(book, BLUE) == ["all", "also blue", "blue", "user"]
    assert names(book, {"team": "blue"}) == ["all", "also blue", "blue"]
    assert names(book, {"team": "red"}) == ["all", "red"]
    assert names(book, {}) == ["all"]
    assert [each.id for each in book] == ["all", "also blue", "blue", "red", "user"]


def test_each_value_counts_on_an_account_of_its_own() -> None:
    (found,) = LimitBook([limit(scope={"user": "*", "team": "blue"})]).applying(BLUE, START)
    assert (found.account.limit, found.account.key) == ("budget", "user=ann")
    assert found.account.period == 0


def test_a_limit_is_made_replaced_and_taken_out() -> None:
    book = LimitBook([limit("a")]).with_limit(limit("b")).with_limit(limit("a", 5))
    assert [(each.id, each.hard) for each in book] == [("a", 5), ("b", 100)]
    assert book.get("a") == limit("a", 5)
    assert book.get("c") is None
    assert names(book.without("a"), {}) == ["b"]


def test_from_the_very_end_of_a_period_the_next_one_applies_and_before_its_start_the_one_before() -> (
    None
):
    book = LimitBook([limit("day", window=Window.DAY), limit("hour", window=Window.HOUR)])
    noon = period_of(Window.HOUR, "UTC", START)
    for moment in (START, noon.end, noon.end - timedelta(microseconds=1), noon.start, START):
        found = {each.limit.id: each.period for each in book.applying(BLUE, moment)}
        assert found == {
            "day": period_of(Window.DAY, "UTC", moment),
            "hour": period_of(Window.HOUR, "UTC", moment),
        }
        assert book.applying(BLUE, moment)[0].account.period == found["day"].key


def test_what_is_remembered_of_labels_is_bounded_in_bytes_however_long_they_are() -> None:
    book = LimitBook([limit(scope={f"label_{place}": "blue" for place in range(31)})])
    tracemalloc.start()
    for number in range(2_000):
        labels = {f"label_{place}": f"{number:08}" + "😀" * 120 for place in range(31)}
        book.applying(labels, START)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 24 << 20  # the 2,000 sets take 50 MB
    assert book._cache.nbytes <= 16 << 20
    assert len(book._cache) > 500


def test_labels_that_no_limit_looks_at_make_no_difference_and_are_not_remembered() -> None:
    book = LimitBook([limit(scope={"team": ANY})])
    first = book.applying({"team": "blue", "user": "1", "trace": "a" * 90}, START)
    again = book.applying({"user": "2", "team": "blue", "tier": "low"}, START)
    assert again is first
    assert [each.account.key for each in first] == ["team=blue"]
    assert len(book._cache) == 1


def test_where_no_limit_applies_none_does_at_any_time() -> None:
    book = LimitBook([limit(scope={"team": "red"})])
    for year in (1970, 2026, 9998):
        assert names(book, BLUE, datetime(year, 1, 1, tzinfo=UTC)) == []


@pytest.mark.parametrize(
    ("changes", "series"),
    [
        ({}, "2c336eb574f0381f"),
        ({"hard": 5, "soft": 1}, "2c336eb574f0381f"),
        (
            {"scope": {"team": "青", "user": "*"}, "unit": Unit.TOKENS, "window": Window.DAY},
            "1178986a0cd20314",
        ),
        ({"time_zone": "Asia/Tokyo"}, "3ceb2206275af5c6"),
    ],
)
def test_what_a_limit_counts_is_named_as_ledgers_on_disk_name_it(
    changes: dict[str, object], series: str
) -> None:
    assert series_of(limit(**changes)) == series
