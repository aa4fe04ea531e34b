"""Limits on a share: what a tier may take of all decisions of the same scope, in every store."""

from __future__ import annotations

from typing import Any

import pytest

from router.core.errors import InvalidInput
from router.core.limits import Obstacle, Unit, Window
from router.ledger.base import Granted, Ledger
from router.ledger.check import check
from router.ledger.storage_format import limit_from_json, limit_to_json
from tests.router.ledger.builders import ManualClock, hold, limit, refused, report, state_of

TENTH: dict[str, Any] = {
    "scope": {"team": "*", "tier": "high"},
    "unit": Unit.REQUESTS,
    "window": Window.DAY,
    "share": 0.1,
}


def ask(store: Ledger, name: str, tier: str, team: str = "blue", money: int = 10) -> object:
    return store.hold(hold(name, money, team=team, tier=tier))


def held(store: Ledger, count: int, tier: str = "low", team: str = "blue") -> None:
    for number in range(count):
        assert isinstance(ask(store, f"{team} {tier} {number}", tier, team), Granted)


def test_every_tenth_decision_of_a_team_may_go_to_the_tier(store: Ledger) -> None:
    store.set_limit(limit(hard=None, **TENTH))
    held(store, 8)
    assert refused(ask(store, "too early", "high")) == ("budget", Obstacle.EXHAUSTED)
    held(store, 1, "medium")
    assert isinstance(ask(store, "tenth", "high"), Granted)
    assert refused(ask(store, "eleventh", "high")) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    state = state_of(store, team="blue", tier="high")
    assert (state.spent, state.held, state.whole, state.remaining) == (0, 1, 10, 0)


def test_the_first_ones_are_free_and_each_team_has_a_share_of_its_own(store: Ledger) -> None:
    store.set_limit(limit(hard=None, free=2, **TENTH))
    held(store, 2, "high")
    assert refused(ask(store, "third", "high")) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    assert isinstance(ask(store, "of red", "high", "red"), Granted)


def test_a_share_and_a_hard_value_bind_both(store: Ledger) -> None:
    store.set_limit(limit(hard=1, free=5, **TENTH))
    held(store, 1, "high")
    assert refused(ask(store, "second", "high")) == ("budget", Obstacle.WAIT_FOR_HOLDS)


def test_a_share_of_money_counts_what_was_really_spent(store: Ledger) -> None:
    store.set_limit(limit(hard=None, **{**TENTH, "unit": Unit.MONEY}))
    assert isinstance(ask(store, "a", "low", money=1_000), Granted)
    assert isinstance(ask(store, "b", "high", money=111), Granted)  # a tenth of 1,111
    assert refused(ask(store, "c", "high", money=1)) == ("budget", Obstacle.WAIT_FOR_HOLDS)
    store.settle(report("b", 11))
    assert state_of(store, team="blue", tier="high").remaining == 100
    store.settle(report("a", 100))
    assert state_of(store, team="blue", tier="high").remaining == 0
    assert refused(ask(store, "d", "high", money=1)) == ("budget", Obstacle.EXHAUSTED)


def test_a_decision_that_replaces_another_is_counted_once(store: Ledger) -> None:
    store.set_limit(limit(hard=None, **TENTH))
    held(store, 9)
    assert isinstance(ask(store, "first", "high"), Granted)
    again = hold("again", team="blue", tier="high", replaces="first")
    assert isinstance(store.hold(again), Granted)
    state = state_of(store, team="blue", tier="high")
    assert (state.held, state.whole) == (1, 10)


def test_with_a_new_window_both_counts_begin_anew(store: Ledger, clock: ManualClock) -> None:
    store.set_limit(limit(hard=None, **TENTH))
    held(store, 9)
    clock.advance(days=1)
    assert refused(ask(store, "tomorrow", "high")) == ("budget", Obstacle.EXHAUSTED)
    assert state_of(store, team="blue", tier="high").whole == 0


def test_what_only_counts_is_shown_to_nobody(store: Ledger) -> None:
    store.set_limit(limit(hard=None, **TENTH))
    assert store.view([{"team": "blue", "tier": "low"}]) == [()]
    assert ask(store, "a", "low") == Granted(())
    assert [each.id for each in store.limits()] == ["budget"]


def test_a_limit_that_gets_a_share_counts_from_then_on(store: Ledger) -> None:
    scope = TENTH["scope"]
    store.set_limit(limit(hard=5, scope=scope, unit=Unit.REQUESTS, window=Window.DAY))
    held(store, 5, "high")
    store.set_limit(limit(hard=None, **TENTH))
    state = state_of(store, team="blue", tier="high")
    assert (state.spent, state.held, state.whole) == (0, 0, 0)


def test_the_books_are_right_after_refusals_settlements_and_releases(store: Ledger) -> None:
    store.set_limit(limit(hard=None, free=1, **{**TENTH, "unit": Unit.MONEY}))
    for number in range(30):
        name, tier = f"d{number}", "high" if number % 3 == 0 else "low"
        if isinstance(ask(store, name, tier, money=10 + number), Granted):
            if number % 4 == 0:
                store.release(name, "acme")
            elif number % 4 == 1:
                store.settle(report(name, 2 * number))
    assert check(store).violations == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"share": 0.0}, "share"),
        ({"share": 1.0}, "share"),
        ({"share": 0.0000004}, "share"),
        ({"scope": {"team": "*"}}, "share"),
        ({"free": -1}, "free"),
    ],
)
def test_what_is_no_share_is_refused(store: Ledger, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        store.set_limit(limit(hard=None, **{**TENTH, **changes}))
    assert error.value.field == field


def test_only_a_limit_with_a_share_is_stored_otherwise_than_before() -> None:
    plain, shared = limit(hard=5), limit(hard=None, free=3, **TENTH)
    assert '"share"' not in limit_to_json(plain)
    assert '"free"' not in limit_to_json(plain)
    assert limit_from_json(limit_to_json(shared)) == shared
    assert limit_from_json(limit_to_json(plain)) == plain
