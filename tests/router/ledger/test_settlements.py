"""What every store promises of settlements and releases, as examples."""

from __future__ import annotations

import pytest

from router.core.errors import Conflict, NotPossible
from router.core.limits import Amounts, Obstacle
from router.ledger.base import HoldState, Ledger, SettleResult
from tests.router.ledger.builders import (
    balance,
    hold,
    limit,
    refused,
    report,
    state_of,
)


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
