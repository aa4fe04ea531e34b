"""Random histories against a model: a dictionary of decisions, from which every balance is summed anew."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from router.core.errors import Conflict, NotFound, NotPossible
from router.core.limits import Amounts, Limit, Obstacle, Unit, Window
from router.ledger.base import Amendment, Granted, HoldState, Refused, Repeated
from router.ledger.check import check
from tests.router.ledger.builders import START, ManualClock, hold, limit, report
from tests.router.ledger.conftest import StoreMaker

USERS = ("ann", "bob")
# Which of the decisions so far, newest first; 6 is one that does not exist.
picks = st.integers(0, 6)
Account = tuple[str, Unit, Window, str, int]


@dataclass
class Decision:
    """What the model knows of one decision; ``accounts`` are the balances it counts on."""

    user: str
    body: str
    amounts: Amounts | None
    expires: datetime
    accounts: list[Account]
    state: HoldState
    spent: Amounts | None = None
    report: str = ""
    late: bool = False


def account_of(made: Limit, user: str, moment: datetime) -> Account | None:
    wanted = made.scope.get("user", "")
    if wanted not in ("", "*", user):
        return None
    minute = int(moment.timestamp()) // 60 if made.window is Window.MINUTE else 0
    kind = f"{made.id}/{wanted}"
    return (kind, made.unit, made.window, user if wanted == "*" else "", minute)


@dataclass
class Model:
    limits: dict[str, Limit] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    erased: list[tuple[Account, int]] = field(default_factory=list)
    now: datetime = START

    def balance(self, account: Account) -> tuple[int, int]:
        unit = account[1]
        spent = sum(amount for where, amount in self.erased if where == account)
        held = 0
        for made in self.decisions.values():
            if account not in made.accounts:
                continue
            if made.state is HoldState.HELD and made.amounts is not None:
                held += made.amounts.of(unit)
            if made.spent is not None and unit is not Unit.CONCURRENT:
                spent += made.spent.of(unit)
        return spent, held

    def expire(self) -> int:
        due = [
            made
            for made in self.decisions.values()
            if made.state is HoldState.HELD and made.expires <= self.now
        ]
        for made in due:
            made.state = HoldState.EXPIRED
        return len(due)

    def applying(self, user: str) -> Iterator[tuple[Limit, Account]]:
        for _, made in sorted(self.limits.items()):
            account = account_of(made, user, self.now)
            if account is not None:
                yield made, account


class LedgerMachine(RuleBasedStateMachine):
    """``make`` is set by the test: where the store under test comes from."""

    make: StoreMaker

    @initialize(hard=st.none() | st.sampled_from([10, 20, 40]), unit=st.sampled_from(Unit))
    def begin(self, hard: int | None, unit: Unit) -> None:
        self.clock = ManualClock()
        self.store = type(self).make(self.clock)
        self.model = Model()
        self.order = itertools.count()
        self.set_limit("x", 20, Unit.MONEY, minute=False, scope="")
        self.set_limit("y", hard, unit, minute=True, scope="*")

    def pick(self, back: int) -> str:
        """The name of a decision so far, or one that does not exist."""
        names = list(self.model.decisions)
        return names[-1 - back % len(names)] if names and back < 6 else "unknown"

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def moved(self) -> None:
        self.model.now = max(self.model.now, self.clock.moment)
        self.model.expire()

    @rule(
        name=st.sampled_from(["x", "y"]),
        hard=st.none() | st.sampled_from([0, 1, 3, 10, 30]),
        unit=st.sampled_from(Unit),
        minute=st.booleans(),
        scope=st.sampled_from(["", "*", "ann"]),
    )
    def set_limit(self, name: str, hard: int | None, unit: Unit, minute: bool, scope: str) -> None:
        window = Window.MINUTE if minute and unit is not Unit.CONCURRENT else Window.TOTAL
        made = limit(name, hard, unit=unit, window=window, scope={"user": scope} if scope else {})
        self.store.set_limit(made)
        self.model.limits[name] = made
        self.moved()

    @rule(name=st.sampled_from(["x", "y"]))
    def delete_limit(self, name: str) -> None:
        there = self.model.limits.pop(name, None) is not None
        assert self.store.delete_limit(name) is there
        self.moved()

    @rule(
        again=st.none() | picks,
        user=st.sampled_from(USERS),
        money=st.sampled_from([10, 12, 5, 1, 0, None]),
        tokens=st.integers(0, 4),
        ttl=st.sampled_from([5, 60, 300]),
    )
    def hold(self, again: int | None, user: str, money: int | None, tokens: int, ttl: int) -> None:
        name = f"d{next(self.order)}" if again is None else self.pick(again)
        self.take(name, user, money, tokens, ttl, None)

    @rule(
        old=picks, user=st.sampled_from(USERS), money=st.sampled_from([15, 20, 10, 21, 0, None]),
        tokens=st.integers(0, 4),
    )  # fmt: skip
    def reroute(self, old: int, user: str, money: int | None, tokens: int) -> None:
        self.take(f"d{next(self.order)}", user, money, tokens, 100, self.pick(old))

    @precondition(lambda self: self.model.decisions)
    @rule(back=picks)
    def repeat(self, back: int) -> None:
        name = self.pick(back)
        if name in self.model.decisions:
            user, money, tokens, replaces = self.model.decisions[name].body.split(" ")
            self.take(
                name,
                user,
                None if money == "None" else int(money),
                int(tokens),
                100,
                None if replaces == "None" else replaces,
            )

    def take(
        self, name: str, user: str, money: int | None, tokens: int, ttl: int, replaces: str | None
    ) -> None:
        self.moved()
        body = f"{user} {money} {tokens} {replaces}"
        wanted = hold(
            name, money, tokens=tokens, ttl_s=ttl + 0.5, body=body, replaces=replaces, user=user
        )
        before = self.model.decisions.get(name)
        old = self.model.decisions.get(replaces) if replaces else None
        try:
            result = self.store.hold(wanted)
        except Conflict:
            assert before is not None
            assert before.body != body
            return
        except NotFound:
            assert replaces is not None
            assert before is None
            assert old is None or old.state is not HoldState.HELD
            return
        if before is not None:
            assert before.body == body
            assert result == Repeated(f"reply to {name}".encode())
            return
        assert replaces is None or (old is not None and old.state is HoldState.HELD)
        self.decide(result, wanted.amounts, user, old)
        if isinstance(result, Granted):
            if old is not None:
                old.state = HoldState.RELEASED
            self.model.decisions[name] = Decision(
                user,
                body,
                wanted.amounts,
                self.model.now + timedelta(seconds=ttl + 0.5),
                [account for _, account in self.model.applying(user)],
                HoldState.QUOTED if wanted.amounts is None else HoldState.HELD,
            )

    def decide(
        self, result: object, amounts: Amounts | None, user: str, old: Decision | None
    ) -> None:
        """The first limit by id that the amounts do not fit under, and why; or a grant."""
        if old is not None:
            old.state = HoldState.RELEASED
        expected: Any = None
        for made, account in self.model.applying(user):
            spent, held = self.model.balance(account)
            if amounts is None or made.hard is None:
                continue
            amount = amounts.of(made.unit)
            if spent + held + amount > made.hard:
                if amount > made.hard:
                    why = Obstacle.NEVER_FITS
                elif spent + amount > made.hard:
                    why = Obstacle.EXHAUSTED
                else:
                    why = Obstacle.WAIT_FOR_HOLDS
                expected = (made.id, amount, why)
                break
        if old is not None:
            old.state = HoldState.HELD
        if expected is None:
            assert isinstance(result, Granted), result
        else:
            assert isinstance(result, Refused), result
            assert (result.state.limit.id, result.amount, result.obstacle) == expected

    @rule(
        back=picks,
        money=st.sampled_from([8, 15, 10, 0]),
        tokens=st.integers(0, 5),
        wait=st.sampled_from([0, 0, 70, 400]),
    )
    def settle(self, back: int, money: int, tokens: int, wait: int) -> None:
        self.clock.advance(seconds=wait)
        self.moved()
        name = self.pick(back)
        body = f"{money} {tokens}"
        made = self.model.decisions.get(name)
        try:
            settled = self.store.settle(report(name, money, tokens=tokens, body=body))
        except NotFound:
            assert made is None
            return
        except Conflict:
            assert made is not None
            assert made.report not in ("", body)
            return
        except NotPossible:
            assert made is not None
            assert made.state is HoldState.RELEASED
            return
        assert made is not None
        assert made.state is not HoldState.RELEASED
        assert settled.repeated is (made.state is HoldState.SETTLED)
        if not settled.repeated:
            made.late = made.state is HoldState.EXPIRED
            made.state, made.spent, made.report = HoldState.SETTLED, Amounts(money, tokens), body
        held = made.amounts.money if made.amounts is not None else 0
        assert (settled.late, settled.overage) == (made.late, max(money - held, 0))

    @rule(back=picks, money=st.sampled_from([0, 3, 12, 25]), tokens=st.none() | st.integers(0, 5))
    def amend(self, back: int, money: int, tokens: int | None) -> None:
        self.moved()
        name = self.pick(back)
        made = self.model.decisions.get(name)
        wanted = Amendment(name, f"amendment {next(self.order)}", "acme", money, tokens, "a slip")
        try:
            amended = self.store.amend(wanted)
        except NotFound:
            assert made is None
            return
        except NotPossible:
            assert made is not None
            assert made.state is not HoldState.SETTLED
            return
        assert made is not None
        assert made.spent is not None
        assert amended.before == made.spent
        held = made.amounts.money if made.amounts is not None else 0
        assert amended.overage == max(money - held, 0)
        made.spent = Amounts(money, made.spent.tokens if tokens is None else tokens)

    @rule(back=picks)
    def release(self, back: int) -> None:
        self.moved()
        name = self.pick(back)
        made = self.model.decisions.get(name)
        try:
            released = self.store.release(name, "acme")
        except NotFound:
            assert made is None
        except NotPossible:
            assert made is not None
            assert made.state is HoldState.SETTLED
        else:
            assert made is not None
            assert released is (made.state is HoldState.HELD)
            if released:
                made.state = HoldState.RELEASED

    @rule(seconds=st.sampled_from([-30, 10, 61, 120]))
    def move_the_clock(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    @rule()
    def expire(self) -> None:
        self.model.now = max(self.model.now, self.clock.moment)
        assert self.store.expire() == self.model.expire()

    @precondition(lambda self: len(self.model.decisions) > 2)
    @rule(user=st.sampled_from(USERS))
    def erase(self, user: str) -> None:
        self.moved()
        gone = [
            name
            for name, made in self.model.decisions.items()
            if made.user == user
            and made.state is not HoldState.HELD
            and (made.state is not HoldState.QUOTED or made.expires <= self.model.now)
        ]
        assert self.store.erase({"user": user}, datetime(2100, 1, 1, tzinfo=UTC)) == len(gone)
        for name in gone:
            made = self.model.decisions.pop(name)
            if made.spent is not None:
                for account in made.accounts:
                    if account[1] is not Unit.CONCURRENT:
                        self.model.erased.append((account, made.spent.of(account[1])))

    @invariant()
    def the_balances_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        self.moved()
        views = self.store.view([{"tenant": "acme", "user": user} for user in USERS])
        for user, states in zip(USERS, views, strict=True):
            assert [(s.limit.id, s.spent, s.held) for s in states] == [
                (made.id, *self.model.balance(account))
                for made, account in self.model.applying(user)
            ]

    @invariant()
    def the_log_is_that_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        self.moved()
        self.store.expire()
        assert [(made.id, made.state, made.late) for made in self.store.decisions()] == [
            (name, made.state, made.late) for name, made in self.model.decisions.items()
        ]

    @invariant()
    def the_checker_finds_nothing(self) -> None:
        if hasattr(self, "store"):
            assert check(self.store).violations == []  # type: ignore[arg-type]


def test_random_histories_agree_with_the_model(
    make_store: StoreMaker, request: pytest.FixtureRequest
) -> None:
    # The rules are shared: the fast store looks for their faults, the others for their own.
    examples = {"memory": 200, "sqlite": 40}.get(request.node.callspec.params["make_store"], 15)
    machine = type("Machine", (LedgerMachine,), {"make": staticmethod(make_store)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
