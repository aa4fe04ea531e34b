"""What every store promises of repeated requests, other tenants and re-routing, as examples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.errors import Conflict, NotFound
from router.core.limits import Obstacle
from router.ledger.base import Granted, HoldState, Ledger, Repeated
from tests.router.ledger.builders import (
    balance,
    hold,
    limit,
    refused,
    report,
)


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


def test_the_owner_of_a_decision_is_its_tenant(store: Ledger) -> None:
    store.hold(hold("a", 60))
    store.hold(replace(hold("b", 60), labels={}))
    assert (store.owner("a"), store.owner("b")) == ("acme", "")
    for unknown in ("c", "", "\0", "\ud800", "x" * 10_000):
        assert store.owner(unknown) is None


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
