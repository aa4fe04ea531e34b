"""A clock that runs wild once: years ahead, and back. Windows and holds go on as if it had not."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from router.core.limits import Obstacle, Unit, Window
from router.ledger.base import Granted, HoldState, Ledger
from router.ledger.check import check
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import START, ManualClock, balance, hold, limit, refused, report

AHEAD = START.replace(year=START.year + 10)


def test_minute_limits_go_on_after_a_clock_ran_years_ahead(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit("rate", 1, unit=Unit.REQUESTS, window=Window.MINUTE))
    store.set_limit(limit("places", 2, unit=Unit.CONCURRENT))
    store.hold(hold("before", 1))
    clock.moment = AHEAD
    assert isinstance(store.hold(hold("wild", 1)), Granted)
    clock.moment = START
    clock.advance(minutes=1)
    assert store.now() == clock.moment
    assert isinstance(store.hold(hold("a", 1)), Granted)
    assert refused(store.hold(hold("b", 1)))[0] == "rate"
    clock.advance(minutes=1)
    assert isinstance(store.hold(hold("b", 1)), Granted)
    assert check(store).violations == []  # type: ignore[arg-type]


def test_what_was_held_while_the_clock_ran_wild_expires_and_can_still_be_settled(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    clock.moment = AHEAD
    store.hold(hold("wild", 100))
    clock.moment = START
    assert isinstance(store.hold(hold("a", 100)), Granted)
    made = store.decision("wild")
    assert made is not None
    assert made.state is HoldState.EXPIRED
    assert store.settle(report("wild", 70)).late
    assert balance(store) == (70, 100)
    assert check(store).violations == []  # type: ignore[arg-type]


def test_the_log_has_an_order_and_whole_pages_when_the_time_of_the_wild_clock_comes(
    store: Ledger, clock: ManualClock
) -> None:
    clock.moment = AHEAD
    for number in range(3):
        store.hold(hold(f"wild {number}", 1))
    clock.moment = START
    for number in range(3):
        store.hold(hold(f"tame {number}", 1))
    clock.moment = AHEAD
    store.hold(hold("then", 1))
    names, after = [], None
    while page := store.decisions(after=after, count=2):
        names += [made.id for made in page]
        after = names[-1]
    assert names == ["tame 0", "tame 1", "tame 2", "wild 0", "wild 1", "wild 2", "then"]


def test_a_clock_a_little_ahead_is_waited_for(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit("rate", 1, unit=Unit.REQUESTS, window=Window.MINUTE))
    clock.advance(minutes=59)
    store.hold(hold("a", 1))
    clock.moment = START
    assert refused(store.hold(hold("b", 1))) == ("rate", Obstacle.WAIT_FOR_HOLDS)


def test_a_restart_after_the_clock_ran_wild_starts_at_the_right_time(path: Path) -> None:
    with closing(SqliteLedger(path, ManualClock(AHEAD))) as wild:
        wild.hold(hold("wild", 1))
    clock = ManualClock()
    with closing(SqliteLedger(path, clock)) as store:
        assert store.now() == START
        store.set_limit(limit("rate", 1, unit=Unit.REQUESTS, window=Window.MINUTE))
        store.hold(hold("a", 1))
        clock.advance(minutes=1)
        assert isinstance(store.hold(hold("b", 1)), Granted)
        assert store.expire() == 0
        assert check(store).violations == []
