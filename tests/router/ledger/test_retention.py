"""What every store keeps, as examples: limits over their windows, and the log of decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from router.core.errors import InvalidInput, NotFound
from router.core.limits import Amounts, Limit, Obstacle, SoftAction, Unit, Window
from router.ledger.base import Granted, HoldState, Ledger, SettleResult, Totals
from router.ledger.storage_format import MAX_LIMIT
from tests.router.ledger.builders import (
    START,
    ManualClock,
    balance,
    hold,
    limit,
    refused,
    report,
    state_of,
)
from tests.router.ledger.conftest import StoreMaker

# ── windows ───────────────────────────────────────────────────────────────────────────────────────


def test_a_monthly_budget_in_tokyo_begins_at_tokyos_midnight(make_store: StoreMaker) -> None:
    clock = ManualClock(datetime(2026, 11, 30, 14, 59, tzinfo=UTC))  # 23:59 in Tokyo
    store = make_store(clock)
    store.set_limit(limit(hard=100, window=Window.MONTH, time_zone="Asia/Tokyo"))
    store.hold(hold("november", 100))
    assert refused(store.hold(hold("x", 1)))[0] == "budget"
    assert state_of(store).period.end == datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
    clock.advance(minutes=1)
    assert isinstance(store.hold(hold("december", 40)), Granted)
    store.settle(report("november", 70))  # books to November
    assert balance(store) == (0, 40)


def test_a_rate_starts_anew_each_minute(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit("rate", 2, unit=Unit.REQUESTS, window=Window.MINUTE))
    for name in ("a", "b"):
        store.hold(hold(name))
        store.settle(report(name))
    assert refused(store.hold(hold("c"))) == ("rate", Obstacle.EXHAUSTED)
    clock.advance(minutes=1)
    assert isinstance(store.hold(hold("c")), Granted)


def test_a_late_settlement_books_to_the_month_of_its_hold(make_store: StoreMaker) -> None:
    clock = ManualClock(datetime(2028, 2, 29, 23, 59, tzinfo=UTC))
    store = make_store(clock)
    store.set_limit(limit(hard=100, window=Window.MONTH))
    store.hold(hold("a", 60, ttl_s=30))
    clock.advance(minutes=5)
    assert store.settle(report("a", 60)).late
    assert balance(store) == (0, 0)


def test_time_never_goes_backwards(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=10, window=Window.HOUR))
    store.hold(hold("a", 10, ttl_s=10**6))
    before = store.now()
    clock.advance(minutes=-50)
    assert store.now() >= before
    # An older hour would have had room.
    assert refused(store.hold(hold("b", 1))) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    store.set_limit(limit(hard=20, window=Window.HOUR))
    store.hold(hold("c", 1))
    assert [made.id for made in store.decisions()] == ["a", "c"]


# ── limits ────────────────────────────────────────────────────────────────────────────────────────


def test_limits_are_listed_as_they_were_set(store: Ledger) -> None:
    made = Limit(
        "b", {"team": "青", "user": "*"}, Unit.TOKENS, Window.WEEK, "America/New_York", 5, 10,
        SoftAction.DEFER_BATCH, paced=True,
    )  # fmt: skip
    store.set_limit(made)
    store.set_limit(limit("a", None))
    assert store.limits() == [limit("a", None), made]
    assert store.delete_limit("a") is True
    assert store.delete_limit("a") is False
    assert store.limits() == [made]


def test_a_changed_value_keeps_the_balance(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.set_limit(limit(hard=50))
    assert balance(store) == (0, 60)
    assert refused(store.hold(hold("b", 1))) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    store.set_limit(limit(hard=70))
    assert isinstance(store.hold(hold("b", 10)), Granted)


def test_a_limit_that_counts_something_else_starts_at_zero(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.set_limit(limit(hard=100, unit=Unit.TOKENS))
    assert balance(store) == (0, 0)  # nano-dollars are no tokens
    store.settle(report("a", 60, tokens=7))
    assert balance(store) == (0, 0)
    store.set_limit(limit(hard=100))
    assert balance(store) == (60, 0)


def test_open_holds_settle_without_a_limit_that_was_deleted(store: Ledger) -> None:
    store.set_limit(limit("a", 100))
    store.set_limit(limit("b", 100))
    store.hold(hold("x", 60))
    store.delete_limit("a")
    assert store.settle(report("x", 50)) == SettleResult(0, late=False, repeated=False)
    assert balance(store, "b") == (50, 0)
    assert [state.limit.id for (states) in store.view([{}]) for state in states] == ["b"]


def test_deleting_and_making_a_limit_again_is_no_way_to_a_fresh_budget(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("x", 60))
    store.delete_limit("budget")
    store.settle(report("x", 60))
    store.set_limit(limit(hard=100))
    assert balance(store) == (60, 0)


# ── the decision log ──────────────────────────────────────────────────────────────────────────────


def test_a_decision_keeps_what_replay_and_training_need(store: Ledger) -> None:
    record = {"scores": {"small": 0.25}, "prompt": "見積もり\0", "n": [1, None, True]}
    store.hold(hold("a", 5, tokens=7, ttl_s=90, record=record, team="青"))
    made = store.decision("a")
    assert made is not None
    assert made.labels == {"tenant": "acme", "team": "青"}
    assert json.loads(made.record) == record
    assert made.held == Amounts(5, 7)
    assert (made.state, made.actual, made.late, made.usage) == (HoldState.HELD, None, False, {})
    assert START <= made.created <= START + timedelta(seconds=1)
    assert made.expires == made.created + timedelta(seconds=90)
    assert store.decision("b") is None


def fill(store: Ledger, clock: ManualClock, count: int = 10) -> list[str]:
    """Decisions a minute apart: even ones blue, every third settled."""
    names = [f"{number:02d}" for number in range(count)]
    for number, name in enumerate(names):
        clock.advance(minutes=1)
        store.hold(hold(name, ttl_s=10**6, team="red" if number % 2 else "blue", user="ann"))
        if number % 3 == 0:
            store.settle(report(name))
    return names


def test_the_log_is_read_in_pages_oldest_first(store: Ledger, clock: ManualClock) -> None:
    names = fill(store, clock)
    pages = []
    after = None
    while page := [made.id for made in store.decisions(after=after, count=4)]:
        pages.append(page)
        after = page[-1]
    assert pages == [names[:4], names[4:8], names[8:]]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"labels": {"team": "blue"}}, [0, 2, 4, 6, 8]),
        ({"labels": {"team": "blue", "user": "ann"}, "count": 2}, [0, 2]),
        ({"labels": {"team": "blue", "user": "bob"}}, []),
        ({"labels": {"user": "ann"}, "after": "06"}, [7, 8, 9]),
        ({"labels": {"team": "red"}, "state": HoldState.SETTLED}, [3, 9]),
        ({"state": HoldState.SETTLED}, [0, 3, 6, 9]),
        ({"state": HoldState.HELD, "count": 1}, [1]),
        ({"since": START + timedelta(minutes=8)}, [7, 8, 9]),
        ({"until": START + timedelta(minutes=3)}, [0, 1]),
        ({"since": START + timedelta(minutes=2), "after": "06"}, [7, 8, 9]),
        ({"since": START + timedelta(minutes=2), "until": START + timedelta(minutes=4)}, [1, 2]),
        ({"newest_first": True, "count": 3}, [9, 8, 7]),
        ({"newest_first": True, "after": "07", "count": 2}, [6, 5]),
        ({"newest_first": True, "labels": {"team": "red"}, "state": HoldState.SETTLED}, [9, 3]),
        ({"newest_first": True, "until": START + timedelta(minutes=5), "after": "02"}, [1, 0]),
    ],
)
def test_the_log_by_filter(
    store: Ledger, clock: ManualClock, asked: dict[str, Any], found: list[int]
) -> None:
    names = fill(store, clock)
    assert [made.id for made in store.decisions(**asked)] == [names[number] for number in found]


def by_team(store: Ledger, **asked: Any) -> dict[tuple[str, datetime | None], Totals]:
    """What a store adds up, by team and time."""
    found: dict[tuple[str, datetime | None], Totals] = {}
    for labels, begin, totals in store.totals(**asked):
        assert (labels["team"], begin) not in found
        found[labels["team"], begin] = totals
    return found


def test_decisions_add_up_by_labels_and_say_how_good_holds_and_quotes_were(
    store: Ledger, clock: ManualClock
) -> None:
    for name, quoted, held, spent in (
        ("cheaper", 8, 10, 6),
        ("dearer", 8, 10, 15),
        ("only quoted", 9, None, 12),
        ("in flight", 8, 10, None),
        ("given back", 8, 10, None),
        ("run out", 8, 10, None),
    ):
        ttl_s = 1 if name == "run out" else 300
        store.hold(hold(name, held, quoted=quoted, ttl_s=ttl_s, team="blue"))
        if spent is not None:
            store.settle(report(name, spent, tokens=100))
    store.release("given back", "acme")
    store.hold(hold("another team's", 7, team="red"))
    clock.advance(seconds=5)
    assert by_team(store) == {
        ("blue", None): Totals(
            decisions=6, settled=3, overruns=1, tokens=300, spent=33, held=10, quoted=25,
            reserved=20, unused=4, overage=17,
        ),
        ("red", None): Totals(decisions=1, held=7),
    }  # fmt: skip
    assert by_team(store, labels={"team": "red"}) == {("red", None): Totals(decisions=1, held=7)}
    assert by_team(store, state=HoldState.HELD) == {
        ("blue", None): Totals(decisions=1, held=10),
        ("red", None): Totals(decisions=1, held=7),
    }
    assert by_team(store, labels={"team": "nobody"}) == {}


def test_decisions_add_up_by_the_quarter_of_an_hour(store: Ledger, clock: ManualClock) -> None:
    for minutes in (14, 2, 20):  # 12:14, 12:16, 12:36
        clock.advance(minutes=minutes)
        store.hold(hold(f"after {minutes}", 1, ttl_s=10_000, team="blue"))
    quarter = timedelta(minutes=15)
    one = Totals(decisions=1, held=1)
    assert by_team(store, by_time=True) == {
        ("blue", START): one,
        ("blue", START + quarter): one,
        ("blue", START + 2 * quarter): one,
    }
    assert by_team(store, by_time=True, since=START + quarter, until=START + 2 * quarter) == {
        ("blue", START + quarter): one
    }


def test_a_page_behind_an_unknown_decision_is_not_found(store: Ledger) -> None:
    with pytest.raises(NotFound):
        store.decisions(after="nobody")


def test_erasing_deletes_what_is_final_and_keeps_the_balances(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=1000))
    fill(store, clock)
    spent = balance(store)
    until = START + timedelta(minutes=8)
    assert store.erase({"team": "blue"}, until) == 2  # 0 and 6; the others are held
    assert balance(store) == spent
    assert store.decision("00") is None
    assert [made.id for made in store.decisions(state=HoldState.SETTLED)] == ["03", "09"]
    assert store.erase({"team": "blue"}, until) == 0
    store.settle(report("02", 25))
    assert balance(store) == (spent[0] + 25, spent[1] - 10)


def test_erasing_without_labels_erases_everything_that_is_final_and_older(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=1000))
    for name, labels in (("a", {"team": "blue"}), ("b", {"team": "red"}), ("c", {})):
        store.hold(hold(name, 10, **labels))
        store.settle(report(name, 10))
    store.hold(hold("open", 10, ttl_s=7 * 86_400))
    clock.advance(days=1)
    store.hold(hold("new", 10))
    store.settle(report("new", 10))
    assert store.erase({}, clock()) == 3
    assert [made.id for made in store.decisions()] == ["open", "new"]
    assert balance(store) == (40, 10)


def test_a_quote_can_be_erased_once_it_has_run_out(store: Ledger, clock: ManualClock) -> None:
    store.hold(hold("a", None, ttl_s=60))
    assert store.erase({}, START + timedelta(days=1)) == 0
    clock.advance(minutes=2)
    assert store.erase({}, START + timedelta(days=1)) == 1


def test_a_quote_can_be_erased_from_the_very_moment_that_it_runs_out(
    store: Ledger, clock: ManualClock
) -> None:
    store.hold(hold("a", None, ttl_s=60))
    made = store.decision("a")
    assert made is not None
    clock.moment = made.expires - timedelta(microseconds=1)
    assert store.erase({}, made.expires) == 0
    clock.moment = made.expires
    assert store.erase({}, made.expires) == 1


def test_erasing_reaches_what_is_older_than_the_moment_and_no_further(
    store: Ledger, clock: ManualClock
) -> None:
    store.hold(hold("a"))
    store.settle(report("a"))
    made = store.decision("a")
    assert made is not None
    assert store.erase({}, made.created) == 0
    assert store.erase({}, made.created + timedelta(microseconds=1)) == 1


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hard": -1}, "hard"),
        ({"soft": MAX_LIMIT + 1}, "soft"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"scope": {"": "x"}}, "scope"),
        ({"unit": Unit.CONCURRENT, "window": Window.DAY}, "window"),
    ],
)
def test_an_invalid_limit_is_refused_by_field(
    store: Ledger, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        store.set_limit(replace(limit(), **changes))
    assert caught.value.field == field
    assert store.limits() == []


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_page_has_a_size(store: Ledger, count: int) -> None:
    with pytest.raises(InvalidInput):
        store.decisions(count=count)
