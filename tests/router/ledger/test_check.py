"""The checker: silent on healthy stores, and each planted violation is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from router.core.limits import Limit, Unit, Window
from router.ledger.base import HoldState, Ledger
from router.ledger.check import check
from router.ledger.memory import MemoryLedger
from router.ledger.rows import Balance, Row
from tests.router.ledger.builders import ManualClock, hold, limit, report


@dataclass
class Rows:
    """The rows of a store, to be tampered with."""

    made_limits: list[Limit]
    made_balances: list[Balance]
    made_rows: dict[str, Row]
    again: list[Row] = field(default_factory=list)

    def limits(self) -> list[Limit]:
        return self.made_limits

    def balances(self) -> Iterator[Balance]:
        return iter(self.made_balances)

    def rows(self) -> Iterator[Row]:
        yield from self.made_rows.values()
        yield from self.again

    def balance(self, name: str = "budget") -> Balance:
        return next(each for each in self.made_balances if each.account.limit == name)


def lived_in(store: Ledger, clock: ManualClock) -> None:
    """One decision in each state, one late, one over."""
    store.set_limit(limit(hard=1000, window=Window.MONTH))
    store.set_limit(limit("places", 10, unit=Unit.CONCURRENT))
    store.set_limit(limit("requests", 100, unit=Unit.REQUESTS, scope={"user": "*"}))
    store.hold(hold("expired", 10, ttl_s=1, user="ann"))
    store.hold(hold("late", 10, ttl_s=1, user="ann"))
    clock.advance(seconds=2)
    store.hold(hold("quoted", None, user="ann"))
    store.hold(hold("held", 10, user="ann"))
    store.hold(hold("settled", 10, user="ann"))
    store.hold(hold("over", 10, user="ann"))
    store.hold(hold("released", 10, user="bob"))
    store.settle(report("late", 8))
    store.settle(report("settled", 8))
    store.settle(report("over", 25))
    store.release("released", "acme")


def test_a_healthy_store_has_no_violations(store: Ledger, clock: ManualClock) -> None:
    lived_in(store, clock)
    found = check(
        store,  # type: ignore[arg-type]
        decisions=["held", "quoted"],
        settlements=["late", "over"],
    )
    assert (found.violations, found.notes, found.decisions) == ([], [], 7)
    assert store.erase({}, clock.moment.replace(year=2100)) == 5
    assert check(store).violations == []  # type: ignore[arg-type]


def test_a_limit_lowered_below_its_balance_is_noted_not_blamed(
    store: Ledger, clock: ManualClock
) -> None:
    store.set_limit(limit(hard=100))
    store.hold(hold("a", 60))
    store.set_limit(limit(hard=50))
    found = check(store)  # type: ignore[arg-type]
    assert found.violations == []
    assert found.notes == [
        "limit 'budget' key '' period 0 was lowered to 50, below the 60 that were spent and held before"
    ]


def in_row(name: str, **changes: object) -> Callable[[Rows], None]:
    def plant(rows: Rows) -> None:
        for column, value in changes.items():
            setattr(rows.made_rows[name], column, value)

    return plant


def in_balance(change: Callable[[Balance], None], name: str = "budget") -> Callable[[Rows], None]:
    return lambda rows: change(rows.balance(name))


def add(column: str, amount: int) -> Callable[[Balance], None]:
    return lambda balance: setattr(balance, column, getattr(balance, column) + amount)


def in_entry(name: str, column: str, amount: int) -> Callable[[Rows], None]:
    def plant(rows: Rows) -> None:
        entry = rows.made_rows[name].entries[0]
        setattr(entry, column, getattr(entry, column) + amount)

    return plant


def granted_too_much(rows: Rows) -> None:
    # Every sum agrees: only the hard value says that this hold should not have been granted.
    made = rows.made_rows["held"]
    assert made.held is not None
    made.held = type(made.held)(2000, 0)
    made.entries[0].held = 2000
    rows.balance().held = 2000


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (granted_too_much, "I1, I4: limit 'budget'"),
        (in_balance(add("spent", 1)), "I2: limit 'budget'"),
        (in_balance(add("spent", -100)), "below zero"),
        (in_balance(add("held", -1)), "I3: limit 'budget'"),
        (in_balance(add("held", 1), "places"), "I3: limit 'places'"),
        (in_balance(add("over", 7)), "I4: limit 'budget'"),
        (in_entry("settled", "spent", 1), "I2: decision settled (settled) on limit 'budget'"),
        (in_entry("released", "held", 5), "I3: decision released (released) on limit 'budget'"),
        (in_entry("expired", "held", 10), "I3: decision expired (expired) on limit 'budget'"),
        (in_entry("over", "over", -15), "I4: decision over (settled) on limit 'budget'"),
        (in_row("over", overage=0), "went over by 15 nano-dollars, and is flagged with 0"),
        (in_row("held", state=HoldState.RELEASED), "I3: decision held (released)"),
        (in_row("settled", state=HoldState.HELD), "settled in one column and not in another"),
        (in_row("settled", actual=None), "settled in one column and not in another"),
        (in_row("settled", report=None), "settled in one column and not in another"),
        (in_row("released", late=True), "flagged as late or over, and was not settled"),
        (in_row("late", late=False), "I4: decision late (settled) on limit 'budget'"),
        (in_row("quoted", state=HoldState.RELEASED), "has the amounts of another state"),
        (in_row("held", expires=ManualClock().moment.replace(year=2000)), "expires before"),
        (in_row("held", created=ManualClock().moment.replace(year=2025)), "made in the period"),
        (lambda rows: rows.again.append(rows.made_rows["held"]), "has more than one row"),
        (lambda rows: rows.made_rows.pop("held"), "decision held was acknowledged and has no row"),
        (lambda rows: rows.made_rows.pop("late"), "settlement of decision late was acknowledged"),
        (lambda rows: rows.made_balances.remove(rows.balance()), "have no balance"),
    ],
)
def test_a_planted_violation_is_found(plant: Callable[[Rows], None], expected: str) -> None:
    clock = ManualClock()
    store = MemoryLedger(clock)
    lived_in(store, clock)
    rows = Rows(store.limits(), list(store.balances()), {row.id: row for row in store.rows()})
    plant(rows)
    violations = check(rows, decisions=["held"], settlements=["late"]).violations
    assert any(expected in each for each in violations), violations
