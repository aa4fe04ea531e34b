"""What every store promises of holds, as examples. Amounts are small numbers so that they can be read."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from router.core.errors import Conflict, InvalidInput, NotFound, NotPossible, Unavailable
from router.core.limits import Amounts, Obstacle, Unit
from router.ledger.base import Granted, HoldState, Ledger, Refused, Repeated, SettleResult
from router.ledger.memory import MemoryLedger
from router.ledger.rows import UNBOUNDED
from router.ledger.storage_format import MAX_AMOUNT
from tests.router.ledger.builders import (
    ManualClock,
    balance,
    hold,
    limit,
    refused,
    report,
    state_of,
)
from tests.router.ledger.conftest import StoreMaker

# ── holding ───────────────────────────────────────────────────────────────────────────────────────


def test_without_limits_everything_is_granted(store: Ledger) -> None:
    assert store.hold(hold("a", 10**9)) == Granted(())


def test_a_hold_sets_the_money_aside_and_says_what_the_balance_is_then(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    granted = store.hold(hold("a", 30))
    assert isinstance(granted, Granted)
    assert [(s.limit.id, s.spent, s.held, s.remaining) for s in granted.states] == [
        ("budget", 0, 30, 70)
    ]
    assert balance(store) == (0, 30)


def test_the_last_unit_can_be_had_but_not_one_more(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    assert isinstance(store.hold(hold("a", 100)), Granted)
    assert refused(store.hold(hold("b", 1))) == ("budget", Obstacle.WAIT_FOR_HOLDS)


def test_a_zero_limit_means_zero(store: Ledger) -> None:
    store.set_limit(limit(hard=0))
    assert refused(store.hold(hold("a", 1))) == ("budget", Obstacle.NEVER_FITS)
    assert store.decision("a") is None


def test_a_limit_without_a_hard_value_counts_and_never_refuses(store: Ledger) -> None:
    store.set_limit(limit(hard=None, soft=5))
    assert isinstance(store.hold(hold("a", 50)), Granted)
    assert state_of(store).remaining is None
    assert state_of(store).passes_soft(1)


def test_hierarchical_limits_are_held_all_or_none(store: Ledger) -> None:
    store.set_limit(limit("company", 100))
    store.set_limit(limit("team", 50, scope={"team": "blue"}))
    store.set_limit(limit("user", 20, scope={"user": "ann"}))
    assert isinstance(store.hold(hold("a", 15, team="blue", user="ann")), Granted)
    why = store.hold(hold("b", 15, team="blue", user="ann"))
    assert refused(why) == ("user", Obstacle.WAIT_FOR_HOLDS)
    assert balance(store, "company") == (0, 15)
    assert balance(store, "team", team="blue") == (0, 15)
    assert balance(store, "user", user="ann") == (0, 15)
    assert isinstance(store.hold(hold("b", 15, team="blue", user="bob")), Granted)


def test_the_first_limit_by_id_that_stands_in_the_way_is_named(store: Ledger) -> None:
    for name in ("c", "a", "b"):
        store.set_limit(limit(name, 5))
    assert refused(store.hold(hold("x", 6)))[0] == "a"


def test_a_limit_applies_only_where_every_label_of_its_scope_is_carried(store: Ledger) -> None:
    store.set_limit(limit(hard=0, scope={"team": "blue", "model": "large"}))
    assert isinstance(store.hold(hold("a", 1, team="blue")), Granted)
    assert isinstance(store.hold(hold("b", 1, team="red", model="large")), Granted)
    assert refused(store.hold(hold("c", 1, team="blue", model="large")))[0] == "budget"


def test_any_value_gives_each_user_a_balance_of_their_own(store: Ledger) -> None:
    store.set_limit(limit(hard=10, scope={"team": "blue", "user": "*"}))
    assert isinstance(store.hold(hold("a", 10, team="blue", user="ann")), Granted)
    assert isinstance(store.hold(hold("b", 10, team="blue", user="bob")), Granted)
    assert refused(store.hold(hold("c", 1, team="blue", user="ann")))[0] == "budget"
    assert isinstance(store.hold(hold("d", 10, team="blue")), Granted)  # nobody: does not apply


def test_values_that_look_like_keys_never_share_a_balance(store: Ledger) -> None:
    store.set_limit(limit(hard=10, scope={"a": "*", "b": "*"}))
    store.hold(hold("x", 10, a="1&b=2", b="3"))
    assert balance(store, a="1", b="2&b=3") == (0, 0)


def test_units_count_what_they_say(store: Ledger) -> None:
    for unit, hard in ((Unit.TOKENS, 100), (Unit.REQUESTS, 2), (Unit.CONCURRENT, 1)):
        store.set_limit(limit(unit.value, hard, unit=unit))
    store.hold(hold("a", 999, tokens=60))
    assert balance(store, "tokens") == (0, 60)
    assert balance(store, "requests") == (0, 1)
    assert balance(store, "concurrent") == (0, 1)
    assert refused(store.hold(hold("b", 0, tokens=1))) == ("concurrent", Obstacle.WAIT_FOR_HOLDS)
    store.settle(report("a", 999, tokens=45))
    assert balance(store, "tokens") == (45, 0)
    assert balance(store, "requests") == (1, 0)  # a request that was made stays made
    assert balance(store, "concurrent") == (0, 0)  # a place comes back
    store.hold(hold("b", 0))
    store.release("b", "acme")
    assert balance(store, "requests") == (1, 0)  # a request that was not made comes back
    assert refused(store.hold(hold("c", 0, tokens=56))) == ("tokens", Obstacle.EXHAUSTED)


def test_a_quote_is_kept_without_holding_and_is_never_refused(store: Ledger) -> None:
    store.set_limit(limit(hard=5))
    granted = store.hold(hold("a", None))
    assert isinstance(granted, Granted)
    assert balance(store) == (0, 0)
    made = store.decision("a")
    assert made is not None
    assert (made.state, made.held) == (HoldState.QUOTED, None)
    assert store.hold(hold("a", None)) == Repeated(b"reply to a")
    assert store.release("a", "acme") is False


def test_the_ceiling_of_a_balance_is_the_highest_value_that_something_was_granted_under() -> None:
    store = MemoryLedger(ManualClock())
    ceilings = []
    for name, hard, money in (
        ("quote", 50, None),
        ("a", 40, 1),
        ("b", 60, 1),
        ("c", 30, 1),
        ("d", None, 1),
    ):
        store.set_limit(limit(hard=hard))
        store.hold(hold(name, money))
        ceilings += [balance.ceiling for balance in store.balances()]
    assert ceilings == [0, 40, 60, 60, UNBOUNDED]


# ── waiting, exhausted, never ─────────────────────────────────────────────────────────────────────


def test_a_refusal_says_whether_waiting_helps(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    assert refused(store.hold(hold("b", 50))) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    assert refused(store.hold(hold("b", 101))) == ("budget", Obstacle.NEVER_FITS)
    store.settle(report("a", 60))
    result = store.hold(hold("b", 50))
    assert refused(result) == ("budget", Obstacle.EXHAUSTED)
    assert isinstance(result, Refused)
    assert (result.amount, result.state.spent, result.state.held) == (50, 60, 0)


def test_a_refused_id_is_still_free(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 100))
    store.hold(hold("b", 50))
    store.release("a", "acme")
    assert isinstance(store.hold(hold("b", 50, body="another")), Granted)


# ── idempotency and tenants ───────────────────────────────────────────────────────────────────────


def test_the_same_request_gets_the_same_answer_and_is_held_once(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    assert store.hold(replace(hold("a", 60), reply=b"a new one")) == Repeated(b"reply to a")
    assert balance(store) == (0, 60)
    store.settle(report("a", 50))
    assert store.hold(hold("a", 60)) == Repeated(b"reply to a")
    assert balance(store) == (50, 0)


def test_a_repeated_request_can_be_recognised_before_any_work(store: Ledger) -> None:
    assert store.earlier_reply("a", "body of a", "acme") is None
    store.hold(hold("a", 60))
    assert store.earlier_reply("a", "body of a", "acme") == b"reply to a"
    with pytest.raises(Conflict):
        store.earlier_reply("a", "another", "acme")
    with pytest.raises(NotFound):
        store.earlier_reply("a", "body of a", "other")


@pytest.mark.parametrize("name", ["", "a\0b", "a\0", "\ud800", "%", "'; DROP TABLE decisions; --"])
def test_strange_ids_are_simply_unknown(store: Ledger, name: str) -> None:
    store.hold(hold("a", 60))
    assert store.decision(name) is None
    assert store.earlier_reply(name, "x", "acme") is None
    assert store.delete_limit(name) is False
    for use in (lambda: store.release(name, "acme"), lambda: store.decisions(after=name)):
        with pytest.raises(NotFound):
            use()


def test_the_same_id_for_another_request_is_a_conflict(store: Ledger) -> None:
    store.hold(hold("a", 60))
    with pytest.raises(Conflict) as caught:
        store.hold(hold("a", 61, body="another"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


def test_another_tenants_decision_is_not_found(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    with pytest.raises(NotFound) as unknown:
        store.settle(report("nobody's"))
    attempts = [
        lambda: store.settle(report("a", tenant="other")),
        lambda: store.release("a", "other"),
        lambda: store.hold(hold("a", 60, body="body of a", tenant="other")),
        lambda: store.hold(hold("b", 1, replaces="a", tenant="other")),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound) as foreign:
            attempt()
        assert foreign.value.message == unknown.value.message.replace("nobody's", "a")
        assert foreign.value.reason == unknown.value.reason
    assert balance(store) == (0, 60)


# ── settling ──────────────────────────────────────────────────────────────────────────────────────


def test_settling_books_what_was_spent_and_gives_the_rest_back(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    assert store.settle(report("a", 40)) == SettleResult(overage=0, late=False, repeated=False)
    assert balance(store) == (40, 0)
    made = store.decision("a")
    assert made is not None
    assert (made.state, made.held, made.actual) == (
        HoldState.SETTLED,
        Amounts(60, 0),
        Amounts(40, 0),
    )
    assert made.usage == {"outcome": "ok"}


def test_settling_twice_books_once(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.settle(report("a", 70))
    assert store.settle(report("a", 70)) == SettleResult(overage=10, late=False, repeated=True)
    assert balance(store) == (70, 0)


def test_settling_with_another_report_is_a_conflict(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.settle(report("a", 40))
    with pytest.raises(Conflict) as caught:
        store.settle(report("a", 41))
    assert caught.value.reason == "ALREADY_SETTLED"
    assert balance(store) == (40, 0)


def test_overage_is_booked_whole_flagged_and_blocks_later_holds(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    assert store.settle(report("a", 130)) == SettleResult(overage=70, late=False, repeated=False)
    assert balance(store) == (130, 0)
    assert state_of(store).remaining == 0
    assert refused(store.hold(hold("b", 1))) == ("budget", Obstacle.EXHAUSTED)


def test_what_a_quote_really_cost_is_booked_too(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", None))
    assert store.settle(report("a", 30)) == SettleResult(overage=30, late=False, repeated=False)
    assert balance(store) == (30, 0)


# ── releasing and expiring ────────────────────────────────────────────────────────────────────────


def test_releasing_gives_everything_back_once(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    assert store.release("a", "acme") is True
    assert store.release("a", "acme") is False
    assert balance(store) == (0, 0)
    with pytest.raises(NotPossible) as caught:
        store.settle(report("a", 60))
    assert caught.value.reason == "ALREADY_RELEASED"


def test_a_settled_decision_cannot_be_released(store: Ledger) -> None:
    store.hold(hold("a", 60))
    store.settle(report("a", 60))
    with pytest.raises(NotPossible) as caught:
        store.release("a", "acme")
    assert caught.value.reason == "ALREADY_SETTLED"


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


# ── re-routing ────────────────────────────────────────────────────────────────────────────────────


def test_a_reroute_releases_and_holds_in_one_step(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    assert isinstance(store.hold(hold("b", 90, replaces="a")), Granted)
    assert balance(store) == (0, 90)
    made = store.decision("a")
    assert made is not None
    assert made.state is HoldState.RELEASED
    assert store.hold(hold("b", 90, replaces="a")) == Repeated(b"reply to b")


def test_a_refused_reroute_leaves_the_old_hold(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.hold(hold("other", 30))
    result = store.hold(hold("b", 80, replaces="a"))
    assert refused(result) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    assert balance(store) == (0, 90)
    store.settle(report("a", 60))


def test_only_what_is_held_can_be_replaced(store: Ledger) -> None:
    store.hold(hold("a", 60))
    store.release("a", "acme")
    with pytest.raises(NotFound) as caught:
        store.hold(hold("b", 60, replaces="a"))
    assert caught.value.reason == "NOT_HELD"
    assert store.decision("b") is None


# ── bad input ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (replace(hold("a"), amounts=Amounts(-1, 0)), "amounts.money"),
        (replace(hold("a"), amounts=Amounts(0, MAX_AMOUNT + 1)), "amounts.tokens"),
        (replace(hold("a"), amounts=Amounts(0, 0, requests=-1)), "amounts.requests"),
        (hold("a", ttl_s=0), "ttl_s"),
        (hold("a", ttl_s=math.nan), "ttl_s"),
        (hold("a", ttl_s=math.inf), "ttl_s"),
        (replace(hold("a"), id=""), "id"),
        (hold("a" * 1001), "id"),
        (hold("a\0b"), "id"),
        (replace(hold("a"), id="a\ud800"), "id"),
        (hold("a", user="x\0"), "labels.user"),
        (hold("a", record={"score": math.nan}), ""),
        (replace(hold("a"), record="not JSON"), ""),
        (replace(hold("a"), record="[]"), ""),
        (replace(hold("a"), record='{"text": "\ud800"}'), ""),
    ],
)
def test_an_invalid_hold_is_refused_by_field(store: Ledger, bad: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        store.hold(bad)
    assert caught.value.field == field
    assert store.decisions() == []


def test_an_invalid_settlement_changes_nothing(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    with pytest.raises(InvalidInput):
        store.settle(report("a", -1))
    assert balance(store) == (0, 60)


def test_sums_never_overflow(store: Ledger) -> None:
    store.set_limit(limit(hard=None))
    fitting = UNBOUNDED // MAX_AMOUNT
    for number in range(fitting):
        store.hold(hold(str(number), MAX_AMOUNT))
    with pytest.raises(InvalidInput) as caught:
        store.hold(hold("one too many", MAX_AMOUNT))
    assert caught.value.reason == "OVERFLOW"
    assert isinstance(store.hold(hold("small", 1)), Granted)


def test_a_balance_reaches_just_below_63_bits_and_no_further(store: Ledger) -> None:
    store.set_limit(limit(hard=None))
    fitting, rest = divmod(UNBOUNDED - 1, MAX_AMOUNT)
    for number in range(fitting):
        store.hold(hold(str(number), MAX_AMOUNT))
    assert isinstance(store.hold(hold("the rest", rest)), Granted)
    with pytest.raises(InvalidInput) as caught:
        store.hold(hold("one more", 1))
    assert caught.value.reason == "OVERFLOW"
    with pytest.raises(InvalidInput) as caught:
        store.settle(report("0", 1))  # counted on top of its own hold, as long as that is there
    assert caught.value.reason == "OVERFLOW"
    store.release("the rest", "acme")
    store.settle(report("0", rest))
    assert balance(store) == (rest, (fitting - 1) * MAX_AMOUNT)


def test_a_closed_store_is_unavailable_and_says_so(make_store: StoreMaker) -> None:
    store = make_store(ManualClock())
    store.hold(hold("a"))
    store.close()
    store.close()
    for use in (
        lambda: store.hold(hold("b")),
        store.limits,
        lambda: store.view([{}]),
        store.expire,
    ):
        with pytest.raises(Unavailable):
            use()
