"""What every store promises of holds, as examples. Amounts are small numbers so that they can be read."""

from __future__ import annotations

from router.core.limits import Obstacle, Unit
from router.ledger.base import Granted, HoldState, Ledger, Refused, Repeated
from router.ledger.memory import MemoryLedger
from router.ledger.rows import UNBOUNDED
from tests.router.ledger.builders import (
    ManualClock,
    balance,
    hold,
    limit,
    refused,
    report,
    state_of,
)


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
