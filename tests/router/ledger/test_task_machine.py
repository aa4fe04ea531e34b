"""Random histories of tasks, turns and other decisions against a model that sums every balance anew."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
MONEY, MINUTE, TOKENS = "money", "minute", "tokens"
LIMITS = (MINUTE, MONEY, TOKENS)


@dataclass
class Kept:
    """A task or a decision with the accounts on which it counts: limits, each in a minute.

    ``cap`` is that of a task; ``task`` is that of a turn.
    """

    expires: datetime
    state: HoldState
    amounts: Amounts | None = None
    cap: int = 0
    left: int = 0
    task: str = ""
    accounts: dict[tuple[str, int], bool] = field(default_factory=dict)
    spent: int = 0
    tokens: int = 0


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
        self.kept: dict[str, Kept] = {}
        self.order = itertools.count()
        self.begin_task(10, 1000)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # ── the model ─────────────────────────────────────────────────────────────────────────────────

    def named(self, back: int, *, tasks: bool) -> str:
        names = [name for name, made in self.kept.items() if bool(made.cap) is tasks]
        return names[-1 - back % len(names)] if names and back < 4 else "unknown"

    def period(self, name: str) -> int:
        return int(self.now.timestamp()) // 60 if name == MINUTE else 0

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

    def balance(self, account: tuple[str, int]) -> tuple[int, int]:
        spent = held = 0
        for made in self.kept.values():
            if account not in made.accounts:
                continue
            of_tokens = account[0] == TOKENS
            if made.state is HoldState.HELD and made.cap:
                held += made.left
            elif made.state is HoldState.HELD and made.amounts is not None:
                held += made.amounts.tokens if of_tokens else made.amounts.money
            spent += made.tokens if of_tokens else made.spent
        return spent, held

    def fits(self, name: str, amount: int, minus: int = 0) -> bool:
        spent, held = self.balance((name, self.period(name)))
        return spent + held - minus + amount <= self.hard[name]

    # ── what happens ──────────────────────────────────────────────────────────────────────────────

    @rule(cap=st.sampled_from([1, 10, 25, 40]), ttl=st.sampled_from([30, 100, 1000]))
    def begin_task(self, cap: int, ttl: int) -> None:
        self.moved()
        name = f"t{next(self.order)}"
        result = self.store.hold(task(name, cap, ttl_s=ttl + 0.5))
        blocking = [each for each in (MINUTE, MONEY) if not self.fits(each, cap)]
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
            accounts={(each, self.period(each)): True for each in (MINUTE, MONEY)},
        )

    @rule(
        back=picks,
        money=st.sampled_from([0, 3, 10, 11, None]),
        tokens=st.sampled_from([0, 0, 2]),
        ttl=st.sampled_from([5, 60, 300]),
        old=replaced,
    )
    def turn(self, back: int, money: int | None, tokens: int, ttl: int, old: int | None) -> None:
        self.decide(self.named(back, tasks=True), money, tokens, ttl, old)

    @rule(money=st.sampled_from([5, 10, None]), old=replaced)
    def other(self, money: int | None, old: int | None) -> None:
        self.decide("", money, 0, 60, old)

    def decide(self, of: str, money: int | None, tokens: int, ttl: int, old: int | None) -> None:
        self.moved()
        name = f"d{next(self.order)}"
        replaces = None if old is None else self.named(old, tasks=False)
        wanted = hold(
            name, money, tokens=tokens, ttl_s=ttl + 0.5, task=of or None, replaces=replaces
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
        refused = self.refusal(of, owner, before, wanted.amounts)
        if refused:
            assert isinstance(result, Refused), refused
            assert result.state.limit.id == refused
            return
        assert isinstance(result, Granted), result
        if before is not None:
            self.free(before, HoldState.RELEASED)
        accounts = {(each, self.period(each)): True for each in LIMITS}
        if owner is not None:
            accounts = {(TOKENS, 0): True, **owner.accounts}
            owner.left -= money or 0
        self.kept[name] = Kept(
            self.now + timedelta(seconds=ttl + 0.5),
            HoldState.QUOTED if money is None else HoldState.HELD,
            amounts=wanted.amounts,
            task=of,
            accounts=accounts,
        )

    def refusal(
        self, of: str, owner: Kept | None, before: Kept | None, amounts: Amounts | None
    ) -> str:
        """What stands in the way: the first limit by id, or the task; empty: nothing."""
        if amounts is None:
            return ""
        for each in LIMITS:
            if owner is not None and each != TOKENS:
                continue
            minus = 0
            if before is not None and (each, self.period(each)) in before.accounts:
                assert before.amounts is not None
                minus = before.amounts.tokens if each == TOKENS else before.amounts.money
            if not self.fits(each, amounts.tokens if each == TOKENS else amounts.money, minus):
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
        made.state, made.spent, made.tokens = HoldState.SETTLED, money, 1

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

    @rule(seconds=st.sampled_from([-30, 10, 61, 120]))
    def move_the_clock(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    # ── what always holds ─────────────────────────────────────────────────────────────────────────

    @invariant()
    def the_balances_are_those_of_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        self.moved()
        (states,) = self.store.view([{"tenant": "acme"}])
        assert [(s.limit.id, s.spent, s.held) for s in states] == [
            (each, *self.balance((each, self.period(each)))) for each in LIMITS
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
            assert found.spent == sum(each.spent for each in turns)
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
