"""What every store promises of holds whose time runs out, as examples."""

from __future__ import annotations

from datetime import datetime, timedelta

from router.ledger.base import Granted, HoldState, Ledger, SettleResult
from tests.router.ledger.builders import (
    ManualClock,
    balance,
    hold,
    limit,
    report,
)
from tests.router.ledger.conftest import StoreMaker


def test_a_hold_expires_when_its_time_has_run_out(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60, ttl_s=60))
    store.hold(hold("b", 30, ttl_s=600))
    clock.advance(seconds=59)
    assert store.expire() == 0
    clock.advance(seconds=2)
    assert store.expire() == 1
    assert balance(store) == (0, 30)
    made = store.decision("a")
    assert made is not None
    assert made.state is HoldState.EXPIRED
    assert store.release("a", "acme") is False


INSTANT = timedelta(microseconds=1)


def expiry(store: Ledger, name: str = "a") -> datetime:
    made = store.decision(name)
    assert made is not None
    return made.expires


def test_a_hold_expires_at_its_very_moment_and_not_an_instant_before(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60, ttl_s=60))
    clock.moment = expiry(store) - INSTANT
    assert store.expire() == 0
    clock.moment += INSTANT
    assert store.expire() == 1


def test_a_hold_that_expires_at_this_very_moment_is_not_counted_any_more(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60, ttl_s=60))
    clock.moment = expiry(store) - INSTANT
    assert balance(store) == (0, 60)
    clock.moment += INSTANT
    assert balance(store) == (0, 0)


def test_a_hold_that_expires_at_this_very_moment_makes_room_for_another(
    make_store: StoreMaker,
) -> None:
    for early, granted in ((2 * INSTANT, False), (timedelta(0), True)):
        clock = ManualClock()
        store = make_store(clock)
        store.set_limit(limit(hard=100))
        store.hold(hold("a", 60, ttl_s=60))
        clock.moment = expiry(store) - early  # a new decision is an instant later than the last one
        assert isinstance(store.hold(hold("b", 60)), Granted) is granted


def test_a_settlement_at_the_very_moment_of_expiry_is_late(make_store: StoreMaker) -> None:
    for early, late in ((INSTANT, False), (timedelta(0), True)):
        clock = ManualClock()
        store = make_store(clock)
        store.hold(hold("a", 60, ttl_s=60))
        clock.moment = expiry(store) - early
        assert store.settle(report("a", 50)).late is late


def test_what_has_expired_makes_room_without_being_asked(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 100, ttl_s=60))
    clock.advance(minutes=2)
    assert balance(store) == (0, 0)
    assert isinstance(store.hold(hold("b", 100)), Granted)


def test_a_late_settlement_is_booked_and_flagged(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60, ttl_s=60))
    clock.advance(minutes=2)
    store.hold(hold("b", 90))
    assert store.settle(report("a", 50)) == SettleResult(overage=0, late=True, repeated=False)
    assert store.settle(report("a", 50)) == SettleResult(overage=0, late=True, repeated=True)
    assert balance(store) == (50, 90)  # over the limit, but the money is gone
    made = store.decision("a")
    assert made is not None
    assert (made.state, made.late) == (HoldState.SETTLED, True)


def test_open_holds_are_those_that_are_neither_finished_nor_expired(
    store: Ledger, clock: ManualClock
) -> None:
    assert store.open_holds() == (0, 0)
    for name, money, ttl_s in (("a", 60, 60), ("b", 30, 600), ("c", 7, 600), ("d", 5, 600)):
        store.hold(hold(name, money, ttl_s=ttl_s))
    store.hold(hold("quote", None))
    assert store.open_holds() == (4, 102)
    store.settle(report("c", 7))
    store.release("d", "acme")
    clock.advance(seconds=61)
    store.expire()
    assert store.open_holds() == (1, 30)
