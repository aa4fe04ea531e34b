"""Batch work that waits has a turn, keeps it, and is listed until it comes back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from router.core.errors import Deferred
from router.routing.deferrals import Deferrals
from tests.router.ledger.builders import START, ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def deferrals(clock: ManualClock) -> Deferrals:
    return Deferrals(clock)


def error(
    wait_s: float | None = 10.0, spacing_s: float = 2.0, queue: str = "acme requests_per_minute"
) -> Deferred:
    return Deferred(
        f"{queue}: batch work waits",
        reason="LOAD_DEFERRED",
        metadata={"account": "acme"},
        retry_after_s=wait_s,
        queue=queue,
        spacing_s=spacing_s,
    )


def turn(deferrals: Deferrals, name: str, *, of: Deferred | None = None, **scope: str) -> float:
    """Seconds until the turn of a request."""
    told = deferrals.planned(of or error(), name, scope)
    assert told.retry_after_s is not None
    return told.retry_after_s


def test_who_waits_for_the_same_has_turns_at_its_rate(deferrals: Deferrals) -> None:
    assert [turn(deferrals, name) for name in "abc"] == [10.0, 12.0, 14.0]
    assert turn(deferrals, "d", of=error(queue="globex requests_per_minute")) == 10.0
    assert deferrals.turns() == {
        "acme requests_per_minute": 16.0,
        "globex requests_per_minute": 12.0,
    }


def test_a_tenant_that_sends_a_thousand_requests_delays_its_own_alone(
    deferrals: Deferrals, clock: ManualClock
) -> None:
    for name in range(1_000):
        turn(deferrals, f"a{name}", tenant="a")
    # Two wait for one rate of one in two seconds: each has every second turn.
    assert [turn(deferrals, f"b{name}", tenant="b") for name in range(3)] == [10.0, 14.0, 18.0]
    assert [turn(deferrals, f"a{name}", tenant="a") for name in (1_000, 1_001)] == [2010.0, 2014.0]
    assert deferrals.turns("b") == {"acme requests_per_minute": 22.0}
    assert deferrals.turns("c") == {}
    assert [deferrals.told(error(), each).retry_after_s for each in "bc"] == [22.0, 10.0]
    elsewhere = error(queue="globex requests_per_minute")
    assert [turn(deferrals, each, of=elsewhere, tenant="c") for each in "de"] == [10.0, 12.0]
    clock.advance(seconds=30)  # the turns of b are over
    assert [turn(deferrals, f"a{name}", tenant="a") for name in (1_002, 1_003)] == [1988.0, 1990.0]


def test_the_refusal_says_when_in_words_and_as_a_fact(deferrals: Deferrals) -> None:
    told = deferrals.planned(error(10.25), "a", {})
    assert told.message == (
        "acme requests_per_minute: batch work waits; send it again at or after 2026-11-23T12:00:10.250Z"
    )
    assert told.metadata == {"account": "acme", "not_before": "2026-11-23T12:00:10.250+00:00"}
    assert (told.reason, told.retry_after_s) == ("LOAD_DEFERRED", 10.25)


def test_where_no_time_is_known_none_is_said(deferrals: Deferrals) -> None:
    told = deferrals.planned(error(None), "a", {})
    assert told.message == "acme requests_per_minute: batch work waits; send it again later"
    assert (told.retry_after_s, "not_before" in told.metadata) == (None, False)
    assert deferrals.turns() == {}


def test_one_that_comes_too_early_keeps_its_turn_and_takes_no_second(
    deferrals: Deferrals, clock: ManualClock
) -> None:
    assert turn(deferrals, "a") == 10.0
    clock.advance(seconds=9)
    assert turn(deferrals, "a") == 1.0
    assert turn(deferrals, "b") == 10.0  # twelve seconds after the first, and ten from now
    (first, _) = deferrals.waiting({})
    assert (first.decision_id, first.times, first.deferred) == ("a", 2, clock())


def test_one_that_comes_in_time_and_finds_no_room_has_a_new_turn(
    deferrals: Deferrals, clock: ManualClock
) -> None:
    assert turn(deferrals, "a") == 10.0
    clock.advance(seconds=10)
    assert turn(deferrals, "a", of=error(5.0)) == 5.0


def test_nobody_waits_for_more_than_a_day_of_turns(deferrals: Deferrals) -> None:
    day = 86_400.0
    assert turn(deferrals, "a", of=error(10.0, spacing_s=day - 1)) == 10.0
    assert turn(deferrals, "b", of=error(10.0, spacing_s=2.0)) == day + 9.0
    assert turn(deferrals, "c", of=error(10.0)) == day + 10.0


def test_a_quote_is_told_the_next_turn_and_takes_none(deferrals: Deferrals) -> None:
    turn(deferrals, "a")
    assert [deferrals.told(error()).retry_after_s for _ in range(2)] == [12.0, 12.0]
    assert deferrals.told(error(None)).message.endswith("; send it again later")
    assert [each.decision_id for each in deferrals.waiting({})] == ["a"]


def test_requests_are_listed_by_their_turns_and_by_scope_until_they_are_done(
    deferrals: Deferrals,
) -> None:
    turn(deferrals, "late", of=error(60.0, queue="limit a"), team="search")
    deferrals.planned(error(None), "some day", {"team": "search"})
    turn(deferrals, "soon", team="search", project="x")
    turn(deferrals, "other", team="ads")
    listed = deferrals.waiting({"team": "search"})
    assert [each.decision_id for each in listed] == ["soon", "late", "some day"]
    assert listed[0].not_before == START + timedelta(seconds=10)
    assert listed[0].queue == "acme requests_per_minute"
    assert listed[0].scope == {"team": "search", "project": "x"}
    deferrals.done("soon")
    deferrals.done("nobody")
    assert [each.decision_id for each in deferrals.waiting({})] == ["other", "late", "some day"]


def test_one_that_does_not_come_back_within_an_hour_of_its_turn_is_given_up(
    deferrals: Deferrals, clock: ManualClock
) -> None:
    turn(deferrals, "a")
    deferrals.planned(error(None), "b", {})
    clock.advance(seconds=3600)
    assert [each.decision_id for each in deferrals.waiting({})] == ["a", "b"]
    clock.advance(seconds=1)
    assert [each.decision_id for each in deferrals.waiting({})] == ["a"]
    clock.advance(seconds=10)
    assert deferrals.waiting({}) == []


def test_ten_thousand_are_kept_the_oldest_go_first(deferrals: Deferrals) -> None:
    for name in range(10_001):
        deferrals.planned(error(None), str(name), {})
    assert len(deferrals.waiting({})) == 10_000
    assert not any(each.decision_id == "0" for each in deferrals.waiting({}))
