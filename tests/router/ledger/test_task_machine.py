"""Random histories of tasks, turns and other decisions, under limits of which some are a share of a whole,
against a model that sums every balance anew."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from router.core.errors import Conflict, NotFound, NotPossible
from router.core.limits import Amounts, Unit, Window
from router.ledger.base import Granted, HoldState, Refused
from router.ledger.check import check
from tests.router.ledger.builders import START, ManualClock, hold, limit, report, task
from tests.router.ledger.conftest import StoreMaker

# Which of the tasks or decisions so far, newest first; 4 is one that does not exist.
picks = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 4])
replaced = st.sampled_from([None, None, None, None, 0, 1, 4])
# Whether it is of the high tier; of a task: whether it is confined to that.
tiers = st.booleans()
MONEY, MINUTE, TOKENS = "money", "minute", "tokens"
CALLS, TIER = "calls", "tier"
"""Shares of the high tier: of all decisions in a minute, and of all money."""
SHARES: dict[str, tuple[Unit, Window, float, int]] = {
    CALLS: (Unit.REQUESTS, Window.MINUTE, 0.5, 2),
    TIER: (Unit.MONEY, Window.TOTAL, 0.4, 15),
}
LIMITS = (CALLS, MINUTE, MONEY, TIER, TOKENS)
IN_MONEY = (MINUTE, MONEY, TIER)


Account = tuple[str, str, int]
"""A limit, ``whole`` for that of which it is a share, and a minute."""


@dataclass
class Kept:
    """A task or a decision with the accounts on which it counts.

    ``cap`` is that of a task; ``task`` is that of a turn.
    """

    expires: datetime
    state: HoldState
    amounts: Amounts | None = None
    cap: int = 0
    left: int = 0
    task: str = ""
    accounts: dict[Account, bool] = field(default_factory=dict)
    high: bool = False
    spent: Amounts | None = None

    @property
    def spent_money(self) -> int:
        return 0 if self.spent is None else self.spent.money


def unit_of(name: str) -> Unit:
    if name == TOKENS:
        return Unit.TOKENS
    return SHARES[name][0] if name in SHARES else Unit.MONEY


def tier_of(*, high: bool) -> str:
    return "high" if high else "low"


class TaskMachine(RuleBasedStateMachine):
    """``make`` is set by the test: where the store under test comes from."""

    make: StoreMaker

    @initialize(hard=st.sampled_from([30, 60, 200]), minute=st.sampled_from([20, 50]))
    def begin(self, hard: int, minute: int) -> None:
        self.clock = ManualClock()
        self.store = type(self).make(self.clock)
        self.now = START
        self.hard = {MONEY: hard, MINUTE: minute, TOKENS: 9}
        self.store.set_limit(limit(MONEY, hard))
        self.store.set_limit(limit(MINUTE, minute, window=Window.MINUTE))
        self.store.set_limit(limit(TOKENS, 9, unit=Unit.TOKENS))
        self.shares: dict[str, tuple[float, int]] = {}
        for name, (_, _, share, free) in SHARES.items():
            self.set_share(name, share, free)
        self.kept: dict[str, Kept] = {}
        self.erased: list[tuple[Account, int]] = []
        self.order = itertools.count()
        self.begin_task(10, 1000, high=False)

    def set_share(self, name: str, share: float, free: int) -> None:
        unit, window = SHARES[name][:2]
        made = limit(
            name, None, unit=unit, window=window, scope={"tier": "high"}, share=share, free=free
        )
        self.store.set_limit(made)
        self.shares[name] = share, free

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # ── the model ─────────────────────────────────────────────────────────────────────────────────

    def named(self, back: int, *, tasks: bool) -> str:
        names = [name for name, made in self.kept.items() if bool(made.cap) is tasks]
        return names[-1 - back % len(names)] if names and back < 4 else "unknown"

    def account(self, name: str, role: str = "") -> Account:
        return name, role, int(self.now.timestamp()) // 60 if name in (CALLS, MINUTE) else 0

    def limits(self, *, high: bool) -> list[str]:
        return [name for name in LIMITS if name not in SHARES or (high and name in self.shares)]

    def counting(self, *, high: bool) -> dict[Account, bool]:
        """Where a decision counts that is no turn."""
        names = {self.account(name): True for name in self.limits(high=high)}
        return {**names, **{self.account(name, "whole"): True for name in self.shares}}

    def open_task(self, made: Kept) -> Kept | None:
        found = self.kept.get(made.task)
        return found if found is not None and found.state is HoldState.HELD else None

    def moved(self) -> None:
        """Free what has run out, turns before their tasks or after: it makes no difference."""
        self.now = max(self.now, self.clock.moment)
        for made in self.kept.values():
            if made.state is HoldState.HELD and made.expires <= self.now:
                self.free(made, HoldState.EXPIRED)

    def free(self, made: Kept, state: HoldState) -> None:
        made.state = state
        owner = self.open_task(made)
        if owner is not None and made.amounts is not None:
            owner.left += made.amounts.money

    def balance(self, account: Account) -> tuple[int, int]:
        held, spent = 0, sum(amount for where, amount in self.erased if where == account)
        for made in self.kept.values():
            if account not in made.accounts:
                continue
            if made.state is HoldState.HELD and made.cap:
                held += made.left
            elif made.state is HoldState.HELD and made.amounts is not None:
                held += made.amounts.of(unit_of(account[0]))
            if made.spent is not None:
                spent += made.spent.of(unit_of(account[0]))
        return spent, held

    def fits(self, name: str, amounts: Amounts, before: Kept | None = None) -> bool:
        amount, account = amounts.of(unit_of(name)), self.account(name)
        taken = amount + sum(self.balance(account)) - self.freed(before, account)
        if name not in self.shares:
            return taken <= self.hard[name]
        share, free = self.shares[name]
        account = self.account(name, "whole")
        whole = amount + sum(self.balance(account)) - self.freed(before, account)
        return taken <= max(round(share * 10) * whole // 10, free)

    @staticmethod
    def freed(before: Kept | None, account: Account) -> int:
        if before is None or before.amounts is None or account not in before.accounts:
            return 0
        return before.amounts.of(unit_of(account[0]))

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    @rule(cap=st.sampled_from([1, 10, 25, 40]), ttl=st.sampled_from([30, 100, 1000]), high=tiers)
    def begin_task(self, cap: int, ttl: int, high: bool) -> None:
        self.moved()
        name = f"t{next(self.order)}"
        result = self.store.hold(
            task(name, cap, ttl_s=ttl + 0.5, **({"tier": "high"} if high else {}))
        )
        names = [each for each in self.limits(high=high) if each in IN_MONEY]
        blocking = [each for each in names if not self.fits(each, Amounts(cap, 0, 0, 0))]
        if blocking:
            assert isinstance(result, Refused)
            assert result.state.limit.id == blocking[0]
            return
        assert isinstance(result, Granted)
        self.kept[name] = Kept(
            self.now + timedelta(seconds=ttl + 0.5),
            HoldState.HELD,
            cap=cap,
            left=cap,
            accounts={self.account(each): True for each in names},
            high=high,
        )

    @rule(
        back=picks,
        money=st.sampled_from([0, 3, 10, 11, None]),
        tokens=st.sampled_from([0, 0, 2]),
        ttl=st.sampled_from([5, 60, 300]),
        old=replaced,
        high=tiers,
    )
    def turn(
        self, back: int, money: int | None, tokens: int, ttl: int, old: int | None, high: bool
    ) -> None:
        self.decide(self.named(back, tasks=True), money, tokens, ttl, old, high=high)

    @rule(money=st.sampled_from([5, 10, None]), old=replaced, high=tiers)
    def other(self, money: int | None, old: int | None, high: bool) -> None:
        self.decide("", money, 0, 60, old, high=high)

    def decide(
        self, of: str, money: int | None, tokens: int, ttl: int, old: int | None, *, high: bool
    ) -> None:
        self.moved()
        name = f"d{next(self.order)}"
        replaces = None if old is None else self.named(old, tasks=False)
        wanted = hold(
            name,
            money,
            tokens=tokens,
            ttl_s=ttl + 0.5,
            task=of or None,
            replaces=replaces,
            tier=tier_of(high=high),
        )
        owner, before = self.kept.get(of), None if replaces is None else self.kept.get(replaces)
        try:
            result = self.store.hold(wanted)
        except NotFound as error:
            if error.reason == "TASK_NOT_FOUND":
                assert of == "unknown"
            else:
                assert replaces is not None
                assert before is None or before.state is not HoldState.HELD
            return
        except NotPossible as error:
            if error.reason == "OTHER_TASK":
                assert before is not None
                assert self.open_task(before) is not None
                assert before.task != of
            else:
                assert owner is not None
                assert owner.state is not HoldState.HELD
            return
        assert of == "" or (owner is not None and owner.state is HoldState.HELD)
        assert replaces is None or (before is not None and before.state is HoldState.HELD)
        refused = self.refusal(of, owner, before, wanted.amounts, high=high)
        if refused:
            assert isinstance(result, Refused), refused
            assert result.state.limit.id == refused
            return
        assert isinstance(result, Granted), result
        if before is not None:
            self.free(before, HoldState.RELEASED)
        accounts = self.counting(high=high)
        if owner is not None:
            held = {account[:2] for account in owner.accounts}
            rest = {each: True for each in accounts if each[:2] not in held}
            accounts = {**rest, **owner.accounts}
            owner.left -= money or 0
        self.kept[name] = Kept(
            self.now + timedelta(seconds=ttl + 0.5),
            HoldState.QUOTED if money is None else HoldState.HELD,
            amounts=wanted.amounts,
            task=of,
            accounts=accounts,
            high=high,
        )

    def refusal(
        self,
        of: str,
        owner: Kept | None,
        before: Kept | None,
        amounts: Amounts | None,
        *,
        high: bool,
    ) -> str:
        """What stands in the way: the first limit by id, or the task; empty: nothing."""
        if amounts is None:
            return ""
        held = {account[0] for account in owner.accounts} if owner is not None else set()
        for each in self.limits(high=high):
            if each not in held and not self.fits(each, amounts, before):
                return each
        if owner is None:
            return ""
        back = 0
        if before is not None and before.task == of and before.amounts is not None:
            back = before.amounts.money
        return f"task {of}" if amounts.money > owner.left + back else ""

    @rule(
        back=picks,
        money=st.sampled_from([0, 2, 10, 14, 60]),
        wait=st.sampled_from([0, 0, 40, 400]),
    )
    def settle(self, back: int, money: int, wait: int) -> None:
        self.clock.advance(seconds=wait)
        self.moved()
        name = self.named(back, tasks=False)
        made = self.kept.get(name)
        try:
            settled = self.store.settle(report(name, money, tokens=1, body=f"{money}"))
        except NotFound:
            assert made is None
            return
        except (NotPossible, Conflict):
            assert made is not None
            assert made.state in (HoldState.RELEASED, HoldState.SETTLED)
            return
        if settled.repeated:
            return
        assert made is not None
        quoted = 0 if made.amounts is None else made.amounts.money
        reserved = quoted if made.state is HoldState.HELD else 0
        owner, drawn = self.open_task(made), 0
        if owner is not None:
            drawn = min(max(money - reserved, 0), owner.left)
            owner.left -= drawn or min(money - reserved, 0)
        assert settled.overage == max(money - quoted - drawn, 0)
        made.state, made.spent = HoldState.SETTLED, Amounts(money, 1)

    @rule(back=picks)
    def release(self, back: int) -> None:
        self.moved()
        name = self.named(back, tasks=False)
        made = self.kept.get(name)
        try:
            released = self.store.release(name, "acme")
        except (NotFound, NotPossible):
            assert made is None or made.state is HoldState.SETTLED
            return
        assert made is not None
        assert released is (made.state is HoldState.HELD)
        if released:
            self.free(made, HoldState.RELEASED)

    @rule(back=picks)
    def end_task(self, back: int) -> None:
        self.moved()
        name = self.named(back, tasks=True)
        made = self.kept.get(name)
        try:
            ended = self.store.end_task(name, "acme")
        except NotFound:
            assert made is None
            return
        assert made is not None
        assert ended is (made.state is HoldState.HELD)
        if ended:
            made.state = HoldState.RELEASED

    @rule(name=st.sampled_from([MONEY, MINUTE]), hard=st.sampled_from([5, 60, 200, 200]))
    def change_a_limit(self, name: str, hard: int) -> None:
        window = Window.MINUTE if name == MINUTE else Window.TOTAL
        self.store.set_limit(limit(name, hard, window=window))
        self.hard[name] = hard

    @rule(
        name=st.sampled_from([CALLS, TIER]),
        share=st.sampled_from([0.1, 0.5, 0.8]),
        free=st.sampled_from([0, 2, 30]),
    )
    def change_a_share(self, name: str, share: float, free: int) -> None:
        self.set_share(name, share, free)

    @rule(name=st.sampled_from([CALLS, TIER]))
    def delete_a_share(self, name: str) -> None:
        assert self.store.delete_limit(name) is (self.shares.pop(name, None) is not None)

    @rule(high=tiers)
    def erase(self, high: bool) -> None:
        self.moved()
        gone = [
            name
            for name, made in self.kept.items()
            if made.high is high
            and (not made.cap or high)  # a task that is confined to no tier has none
            and made.state is not HoldState.HELD
            and (made.state is not HoldState.QUOTED or made.expires <= self.now)
        ]
        labels, until = {"tier": tier_of(high=high)}, datetime(2100, 1, 1, tzinfo=UTC)
        assert self.store.erase(labels, until) == len(gone)
        for name in gone:
            made = self.kept.pop(name)
            if made.spent is not None:
                self.erased += [
                    (account, made.spent.of(unit_of(account[0]))) for account in made.accounts
                ]

    @rule(seconds=st.sampled_from([-30, 10, 61, 120]))
    def move_the_clock(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    # ── what always holds ─────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_balances_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        self.moved()
        views = self.store.view([{"tier": "low"}, {"tier": "high"}])
        for states, high in zip(views, (False, True), strict=True):
            assert [(s.limit.id, s.spent, s.held, s.whole) for s in states] == [
                (
                    each,
                    *self.balance(self.account(each)),
                    sum(self.balance(self.account(each, "whole"))),
                )
                for each in self.limits(high=high)
            ]

    @invariant()
    def the_tasks_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        self.moved()
        for found in self.store.tasks():
            made = self.kept[found.id]
            turns = [each for each in self.kept.values() if each.task == found.id]
            assert (found.state, found.cap, found.left) == (made.state, made.cap, made.left)
            assert found.turns == sum(each.state is not HoldState.RELEASED for each in turns)
            assert found.spent == sum(each.spent_money for each in turns)
            assert found.held == sum(
                each.amounts.money
                for each in turns
                if each.state is HoldState.HELD and each.amounts is not None
            )

    @invariant()
    def the_log_is_that_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        self.moved()
        self.store.expire()
        assert [(made.id, made.state, made.task or "") for made in self.store.decisions()] == [
            (name, made.state, made.task) for name, made in self.kept.items() if not made.cap
        ]

    @invariant()
    def the_checker_finds_nothing(self) -> None:
        if hasattr(self, "store"):
            assert check(self.store).violations == []  # type: ignore[arg-type]


def test_random_histories_of_tasks_agree_with_the_model(
    make_store: StoreMaker, request: pytest.FixtureRequest
) -> None:
    # The rules are shared: the fast store looks for their faults, the others for their own.
    examples = {"memory": 200, "sqlite": 40}.get(request.node.callspec.params["make_store"], 15)
    machine = type("Machine", (TaskMachine,), {"make": staticmethod(make_store)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )
