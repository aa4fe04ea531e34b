"""What an administrator's correction of a settlement does, in every store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.core.errors import InvalidInput, NotFound, NotPossible
from router.core.limits import Unit
from router.ledger.base import Amendment, Granted, Ledger
from router.ledger.check import check
from tests.router.ledger.builders import START, ManualClock, balance, hold, limit, report


def amendment(
    name: str,
    money: int,
    *,
    tokens: int | None = None,
    reason: str = "a slip",
    tenant: str = "acme",
) -> Amendment:
    return Amendment(name, f"{name} {money} {tokens} {reason}", tenant, money, tokens, reason)


def test_what_was_reported_too_high_is_given_back_and_the_row_says_so(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    store.set_limit(limit("tokens", 1000, unit=Unit.TOKENS))
    store.hold(hold("a", 60, tokens=10))
    store.settle(report("a", 90, tokens=20))
    assert balance(store) == (90, 0)
    clock.advance(days=2)
    amended = store.amend(amendment("a", 9, tokens=7, reason="cents taken for dollars"))
    assert (amended.before.money, amended.overage, amended.repeated) == (90, 0, False)
    assert (balance(store), balance(store, "tokens")) == ((9, 0), (7, 0))
    made = store.decision("a")
    assert made is not None
    assert made.actual is not None
    assert (made.actual.money, made.actual.tokens) == (9, 7)
    assert made.usage["outcome"] == "ok"
    (trace,) = made.usage["amendments"]
    assert trace["time"] == clock.moment.isoformat()
    assert trace["reason"] == "cents taken for dollars"
    assert (trace["before"], trace["after"]) == ([90, 20], [9, 7])
    assert isinstance(store.hold(hold("b", 91)), Granted)
    assert check(store).violations == []  # type: ignore[arg-type]


def test_what_is_added_is_overage_since_others_could_spend_it(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.settle(report("a", 10))
    assert isinstance(store.hold(hold("b", 90)), Granted)
    assert store.amend(amendment("a", 60)).overage == 0  # of the decision: its hold was as large
    assert balance(store) == (60, 90)
    assert check(store).violations == []  # type: ignore[arg-type]
    store.amend(amendment("a", 70, reason="more"))
    store.amend(amendment("a", 20, reason="less"))
    store.amend(amendment("a", 60, reason="and again"))
    assert balance(store) == (60, 90)
    assert check(store).violations == []  # type: ignore[arg-type]
    made = store.decision("a")
    assert made is not None
    assert [each["after"][0] for each in made.usage["amendments"]] == [60, 70, 20, 60]


def test_the_same_amendment_may_be_sent_again(store: Ledger) -> None:
    store.hold(hold("a", 60))
    settled = store.settle(report("a", 70))
    first, again = (store.amend(amendment("a", 5)) for _ in range(2))
    assert (first.repeated, again.repeated) == (False, True)
    assert again.before == first.before
    # So may the report itself, and its answer is that of then.
    assert store.settle(report("a", 70)) == replace(settled, repeated=True)
    made = store.decision("a")
    assert made is not None
    assert len(made.usage["amendments"]) == 1


def test_a_late_settlement_is_amended_too_and_its_spend_stays_overage(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60, ttl_s=60))
    clock.advance(minutes=2)
    store.hold(hold("b", 100))
    assert store.settle(report("a", 50)).late
    store.amend(amendment("a", 30))
    assert balance(store) == (30, 100)
    assert check(store).violations == []  # type: ignore[arg-type]


def test_only_what_is_settled_can_be_amended_and_only_by_its_tenant(store: Ledger) -> None:
    store.hold(hold("held"))
    store.hold(hold("released"))
    store.release("released", "acme")
    for name in ("held", "released"):
        with pytest.raises(NotPossible) as caught:
            store.amend(amendment(name, 1))
        assert caught.value.reason == "NOT_SETTLED"
    store.settle(report("held"))
    for wanted in (amendment("none", 1), amendment("held", 1, tenant="other")):
        with pytest.raises(NotFound):
            store.amend(wanted)
    for wanted in (
        amendment("held", -1),
        amendment("held", 1, reason=" "),
        amendment("held", 10**17),
    ):
        with pytest.raises(InvalidInput):
            store.amend(wanted)


def test_an_amended_decision_can_be_erased_and_balances_keep_what_it_spent(store: Ledger) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.settle(report("a", 50))
    store.amend(amendment("a", 5))
    assert store.erase({"tenant": "acme"}, START.replace(year=2100)) == 1
    assert balance(store) == (5, 0)
    assert check(store).violations == []  # type: ignore[arg-type]
