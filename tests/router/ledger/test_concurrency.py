"""Real threads: no interleaving exceeds a hard limit, and nothing is lost or counted twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.core.limits import Unit
from router.ledger.base import Granted, Ledger, Refused, Repeated
from router.ledger.check import check
from tests.router.ledger.builders import ManualClock, balance, hold, limit, report
from tests.router.ledger.conftest import StoreMaker


@dataclass(frozen=True)
class Plan:
    """What a caller does with one decision."""

    money: int
    user: str
    then: str
    actual: int


plans = st.lists(
    st.lists(
        st.builds(
            Plan,
            money=st.integers(0, 40),
            user=st.sampled_from(["ann", "bob"]),
            then=st.sampled_from(["settle", "release", "reroute", "nothing", "repeat"]),
            actual=st.integers(0, 40),
        ),
        min_size=1,
        max_size=6,
    ),
    min_size=2,
    max_size=8,
)


def carry_out(store: Ledger, caller: int, todo: list[Plan], start: threading.Barrier) -> list[str]:
    start.wait()
    wrong = []
    for number, plan in enumerate(todo):
        name = f"{caller}-{number}"
        result = store.hold(hold(name, plan.money, user=plan.user))
        if not isinstance(result, Granted):
            continue
        # What is settled is never more than what was held here, so no balance may ever be over.
        wrong += [
            f"{name}: {state.limit.id} {state.spent}+{state.held}"
            for state in result.states
            if state.limit.hard is not None and state.spent + state.held > state.limit.hard
        ]
        if plan.then == "settle":
            store.settle(report(name, min(plan.actual, plan.money)))
        elif plan.then == "release":
            store.release(name, "acme")
        elif plan.then == "reroute":
            store.hold(hold(f"{name}b", plan.actual, user=plan.user, replaces=name))
        elif plan.then == "repeat":
            again = store.hold(hold(name, plan.money, user=plan.user))
            wrong += [] if isinstance(again, Repeated) else [f"{name}: held twice"]
    return wrong


def test_no_interleaving_exceeds_a_hard_limit(make_store: StoreMaker) -> None:
    @settings(max_examples=25, suppress_health_check=list(HealthCheck))
    @given(plans, st.integers(0, 120), st.integers(0, 60), st.integers(1, 4))
    def holds_for(todo: list[list[Plan]], company: int, user: int, places: int) -> None:
        store = make_store(ManualClock())
        store.set_limit(limit("company", company))
        store.set_limit(limit("each user", user, scope={"user": "*"}))
        store.set_limit(limit("places", places, unit=Unit.CONCURRENT))
        start = threading.Barrier(len(todo))
        with ThreadPoolExecutor(len(todo)) as pool:
            jobs = [
                pool.submit(carry_out, store, caller, plan, start)
                for caller, plan in enumerate(todo)
            ]
            assert [problem for job in jobs for problem in job.result()] == []
        for name, hard in (("company", company), ("places", places)):
            assert sum(balance(store, name)) <= hard
        assert check(store).violations == []  # type: ignore[arg-type]
        store.close()

    holds_for()


def test_exactly_one_gets_the_last_unit(store: Ledger) -> None:
    callers = 8
    for number in range(40):
        name = f"round {number}"
        store.set_limit(limit(name, 1, scope={"round": str(number)}))
        start = threading.Barrier(callers)

        def race(caller: int, number: int = number, start: threading.Barrier = start) -> object:
            start.wait()
            return store.hold(hold(f"{number}/{caller}", 1, round=str(number)))

        with ThreadPoolExecutor(callers) as pool:
            results = list(pool.map(race, range(callers)))
        assert sum(isinstance(result, Granted) for result in results) == 1
        assert sum(isinstance(result, Refused) for result in results) == callers - 1


@pytest.mark.parametrize("action", ["hold", "settle"])
def test_the_same_call_many_times_at_once_counts_once(store: Ledger, action: str) -> None:
    store.set_limit(limit(hard=100))
    if action == "settle":
        store.hold(hold("a", 10))
    start = threading.Barrier(8)

    def call(_: int) -> object:
        start.wait()
        if action == "hold":
            return store.hold(hold("a", 10))
        return store.settle(report("a", 7))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))
    assert balance(store) == ((0, 10) if action == "hold" else (7, 0))
