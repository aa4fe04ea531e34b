"""What one process learns of models, others know after the next exchange; a restart forgets nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from router.core.breaker import BreakerState, HealthPolicy, Outcome
from router.core.errors import Unavailable
from router.core.health import ALL_HEALTHY
from router.ledger import shared_state
from router.ledger.memory import MemoryLedger
from router.ledger.shared_state import SharedChanges, SharedRow
from router.ledger.time_budget import seconds_left
from router.routing.model_health import Attempt, ModelHealth
from router.routing.state_exchange import StateExchange
from tests.router.ledger.builders import ManualClock

POLICY = HealthPolicy(consecutive_failures=3, wait_s=30, max_wait_s=100, probe_timeout_s=20)


class Process:
    """A process of a service: its health, and its exchange with the store."""

    def __init__(
        self, ledger: MemoryLedger, clock: Callable[[], datetime], policy: HealthPolicy = POLICY
    ) -> None:
        self.clock = clock
        self.health = ModelHealth(policy, clock)
        self.state = StateExchange(ledger, [self.health])
        self.exchange = self.state.exchange

    def report(
        self,
        outcome: Outcome = Outcome.SERVER_ERROR,
        *,
        model: str = "mini",
        decisions: Sequence[str] = ("1", "2", "3"),
        tenant: str = "",
    ) -> None:
        for decision in decisions:
            attempt = Attempt(model, "acme", outcome, decision, self.clock(), tenant=tenant)
            self.health.report(attempt)

    def tries(self, decision: str = "probe", tenant: str = "") -> bool:
        return self.health.take_probe("mini", "acme", decision, tenant)

    def left_out(self, tenant: str = "") -> list[str]:
        return sorted(self.health.view(tenant).models)

    def due(self, tenant: str = "") -> list[str]:
        return sorted(self.health.view(tenant).due)


class Store(MemoryLedger):
    """A store that can be away, and counts what is asked of it."""

    away = False
    asked = 0
    kept: list[SharedRow]

    def publish(self, rows: Sequence[SharedRow]) -> None:
        self._ask()
        self.kept = [*getattr(self, "kept", []), *rows]
        super().publish(rows)

    def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
        self._ask()
        return super().published(kinds, since)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("the store is away")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> Store:
    return Store(clock)


@pytest.fixture
def one(store: Store, clock: ManualClock) -> Process:
    return Process(store, clock)


@pytest.fixture
def other(store: Store, clock: ManualClock) -> Process:
    return Process(store, clock)


def share(*processes: Process) -> None:
    """Each exchanges once, and the first ones hear of the last ones."""
    for each in (*processes, *processes):
        each.exchange()


def test_a_model_that_fails_in_one_process_is_left_out_by_the_other(
    one: Process, other: Process
) -> None:
    one.report()
    one.exchange()
    assert other.health.view() is ALL_HEALTHY
    other.exchange()
    assert other.health.view() == one.health.view()
    assert other.left_out() == ["mini"]
    status = other.health.status("mini", "acme")
    assert status == one.health.status("mini", "acme")
    assert status.cause == "3 failures in a row, the last: server error"


def test_while_one_process_tries_it_no_other_that_has_heard_of_it_does(
    one: Process, other: Process, clock: ManualClock
) -> None:
    one.report()
    share(one, other)
    clock.advance(seconds=30)
    assert (one.due(), other.due()) == (["mini"], ["mini"])
    assert one.tries()
    share(one, other)
    assert (other.due(), other.left_out()) == ([], ["mini"])
    assert not other.tries("another")
    clock.advance(seconds=20)
    assert other.tries("another")  # the try was lost


def test_within_one_exchange_each_process_tries_at_most_once(
    one: Process, other: Process, clock: ManualClock
) -> None:
    one.report()
    share(one, other)
    clock.advance(seconds=30)
    assert [one.tries("a"), one.tries("b"), other.tries("c"), other.tries("d")] == [
        True, False, True, False,
    ]  # fmt: skip
    share(one, other)
    for process, decision in ((one, "a"), (other, "c")):
        process.report(Outcome.TIMEOUT, decisions=[decision])
    share(one, other)
    assert one.health.status("mini", "acme") == other.health.status("mini", "acme")
    # Two tries failed at once, and the wait has doubled once.
    retry = one.health.status("mini", "acme").retry
    assert retry == clock() + timedelta(seconds=60)


@pytest.mark.parametrize("reported_to_the_other", [True, False])
def test_the_report_of_a_try_may_reach_any_process(
    one: Process, other: Process, clock: ManualClock, reported_to_the_other: bool
) -> None:
    one.report()
    share(one, other)
    clock.advance(seconds=30)
    one.tries()
    share(one, other)
    clock.advance(seconds=5)
    (other if reported_to_the_other else one).report(Outcome.SUCCESS, decisions=["probe"])
    share(one, other)
    assert one.health.view() is ALL_HEALTHY
    assert other.health.view() is ALL_HEALTHY


def test_a_try_that_is_given_up_in_another_process_leaves_its_place_to_the_next(
    one: Process, other: Process, clock: ManualClock
) -> None:
    one.report()
    share(one, other)
    clock.advance(seconds=30)
    one.tries()
    share(one, other)
    other.health.drop_probe("probe")
    share(one, other)
    assert (one.due(), other.due()) == (["mini"], ["mini"])


def test_a_restart_begins_with_what_was_known(
    one: Process, store: Store, clock: ManualClock
) -> None:
    one.report()
    one.exchange()
    clock.advance(seconds=30)
    one.tries()
    one.state.finish()
    again = Process(store, clock)
    again.exchange()
    assert again.left_out() == ["mini"]
    assert again.health.status("mini", "acme") == one.health.status("mini", "acme")
    again.report(Outcome.TIMEOUT, decisions=["probe"])
    retry = again.health.status("mini", "acme").retry
    assert retry == clock() + timedelta(seconds=60)  # the second wait


def test_a_process_that_ends_tells_what_it_has_just_learned(
    one: Process, other: Process, store: Store
) -> None:
    one.exchange()
    one.report()
    one.state.finish()
    other.exchange()
    assert other.left_out() == ["mini"]


def test_a_process_that_ends_while_the_store_is_away_does_not_ask_it(
    one: Process, store: Store
) -> None:
    one.report()
    store.away = True
    with pytest.raises(Unavailable):
        one.exchange()
    asked = store.asked
    one.state.finish()
    assert store.asked == asked


def test_a_store_that_goes_away_as_the_process_ends_is_no_error(one: Process, store: Store) -> None:
    one.exchange()
    one.report()
    store.away = True
    one.state.finish()


def test_while_the_store_is_away_each_goes_on_with_what_it_knows_and_tells_it_later(
    one: Process, other: Process, store: Store, clock: ManualClock
) -> None:
    one.report()
    share(one, other)
    store.away = True
    one.report(model="maxi")
    clock.advance(seconds=30)
    assert other.tries()
    other.report(Outcome.SUCCESS, decisions=["probe"])
    for each in (one, other):
        with pytest.raises(Unavailable):
            each.exchange()
    assert (one.left_out(), one.due()) == ([], ["maxi", "mini"])
    assert other.health.view() is ALL_HEALTHY
    store.away = False
    share(one, other)
    assert one.due() == other.due() == ["maxi"]


def test_an_exchange_without_news_asks_once_and_writes_nothing(one: Process, store: Store) -> None:
    one.report()
    share(one)
    asked, kept = store.asked, len(store.kept)
    one.exchange()
    assert (store.asked, len(store.kept)) == (asked + 1, kept)


def test_what_fails_and_what_answers_says_nothing_new_until_something_opens(
    one: Process, store: Store
) -> None:
    one.report(decisions=["1", "2"])
    one.report(Outcome.SUCCESS)
    one.exchange()
    assert not hasattr(store, "kept")


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_a_clock_that_is_wrong_by_an_hour_neither_hides_news_nor_leaves_out_for_longer(
    one: Process, store: Store, clock: ManualClock, ahead_s: int
) -> None:
    wrong = Process(store, lambda: clock() + timedelta(seconds=ahead_s))
    wrong.report()
    share(wrong, one)
    assert one.health.view() is not ALL_HEALTHY
    clock.advance(seconds=100)  # the longest wait
    assert one.tries()
    one.report(Outcome.SUCCESS, decisions=["probe"])
    assert one.health.view() is ALL_HEALTHY
    share(one, wrong)
    assert wrong.health.view() is ALL_HEALTHY
    one.report(decisions=["4", "5", "6"])
    share(one, wrong)
    assert wrong.left_out() or wrong.due()


def test_a_model_that_answers_clears_its_provider_in_every_process(
    one: Process, other: Process, clock: ManualClock
) -> None:
    one.report(model="mini")
    one.report(model="maxi")
    share(one, other)
    assert other.health.status("nano", "acme").cause == "2 of its models fail"
    clock.advance(seconds=1)
    one.report(Outcome.SUCCESS, model="nano", decisions=["9"])
    assert one.health.view().providers == {}
    share(one, other)
    assert other.health.view().providers == {}
    assert other.health.status("nano", "acme").state is BreakerState.CLOSED


def test_an_answer_from_before_the_first_failure_clears_nobody(
    one: Process, other: Process, clock: ManualClock
) -> None:
    one.report(Outcome.SUCCESS, model="nano", decisions=["9"])
    clock.advance(seconds=1)
    for model in ("mini", "maxi"):
        one.report(model=model)
    share(one, other)
    assert set(one.health.view().providers) == set(other.health.view().providers) == {"acme"}


def test_answers_are_told_once_and_not_each_time(one: Process, store: Store) -> None:
    for model in ("mini", "maxi"):
        one.report(model=model)
    for decision in "abc":
        one.report(Outcome.SUCCESS, model="nano", decisions=[decision])
        one.exchange()
    assert [row.kind for row in store.kept].count("answers") == 2  # its tenant's, and the common


def test_what_is_shared_names_no_decision_and_ends_after_a_day(
    one: Process, store: Store, clock: ManualClock
) -> None:
    one.report(decisions=["ann-1", "ann-2", "ann-3"])
    clock.advance(seconds=30)
    one.tries("ann-4")
    one.exchange()
    assert len(store.kept) == 1
    (row,) = store.kept
    assert (row.kind, row.key) == ("breakers", '["", "acme", "mini"]')
    assert "ann" not in row.value
    clock.advance(seconds=86_399)
    assert store.published(["breakers"]).rows == (row,)
    clock.advance(seconds=1)
    assert store.published(["breakers"]).rows == ()


@pytest.mark.parametrize(
    "row",
    [
        SharedRow("breakers", "not json", "{}", 1, 60),
        SharedRow("breakers", "7", "{}", 1, 60),
        SharedRow("breakers", '["", "acme"]', "{}", 1, 60),
        SharedRow("breakers", '[[], "acme", "mini"]', "{}", 1, 60),
        SharedRow("breakers", '["", {}, "mini"]', "{}", 1, 60),
        SharedRow("breakers", '["", "acme", "mini"]', "of a later release", 1, 60),
        SharedRow("answers", "not json", "", 1, 60),
    ],
)
def test_rows_of_another_release_are_left_aside(one: Process, store: Store, row: SharedRow) -> None:
    store.publish([row])
    one.exchange()
    assert one.health.view() is ALL_HEALTHY


def test_many_news_are_told_in_parts(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.routing.state_exchange.MAX_PUBLISHED", 2)
    monkeypatch.setattr("router.ledger.memory.MAX_PAGE", 2)
    assert shared_state.MAX_PUBLISHED == 1_000
    for model in "abcde":
        one.report(model=model)
    one.exchange()
    other.exchange()
    assert other.left_out() == list("abcde")


def test_the_age_of_what_is_shared_is_the_time_since_it_worked(
    store: Store, clock: ManualClock
) -> None:
    now = [100.0]
    health = ModelHealth(POLICY, clock)
    state = StateExchange(store, [health], clock=lambda: now[0])
    now[0] = 107.0
    assert state.age_s == 7
    state.exchange()
    assert state.age_s == 0
    now[0], store.away = 112.0, True
    with pytest.raises(Unavailable):
        state.exchange()
    assert state.age_s == 5


@pytest.mark.parametrize("timeout_s", [5.0, 0.5])
def test_an_exchange_waits_for_the_store_for_a_few_seconds_at_most(
    clock: ManualClock, timeout_s: float
) -> None:
    waits: list[float] = []

    class Slow(MemoryLedger):
        def publish(self, rows: Sequence[SharedRow]) -> None:
            waits.append(seconds_left(1_000))
            super().publish(rows)

        def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
            waits.append(seconds_left(1_000))
            return super().published(kinds, since)

    health = ModelHealth(POLICY, clock)
    for decision in "123":
        health.report(Attempt("mini", "acme", Outcome.ERROR, decision, clock()))
    options = {} if timeout_s == 5.0 else {"timeout_s": timeout_s}
    state = StateExchange(Slow(clock), [health], **options)
    state.exchange()
    assert len(waits) == 2
    assert all(0 < each <= 0.9 * timeout_s for each in waits)
    assert seconds_left(1_000) == 1_000


def test_another_policy_of_a_process_bounds_what_it_is_told(
    one: Process, store: Store, clock: ManualClock
) -> None:
    short = Process(store, clock, replace(POLICY, wait_s=5, max_wait_s=10))
    one.report()
    share(one, short)
    assert short.health.status("mini", "acme").retry == clock() + timedelta(seconds=10)
    assert one.health.status("mini", "acme").retry == clock() + timedelta(seconds=30)
