"""What one process knows of the health of models, while time passes and callers report."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from router.core.breaker import BreakerState, HealthPolicy, Outcome
from router.core.health import ALL_HEALTHY
from router.routing.model_health import Attempt, ModelHealth
from router.telemetry.observer import Observer
from tests.router.ledger.builders import ManualClock

POLICY = HealthPolicy(consecutive_failures=3, wait_s=30, probe_timeout_s=20)


class Told(Observer):
    def __init__(self) -> None:
        self.ejections: list[str] = []

    def ejected(self, model: str, provider: str) -> None:
        self.ejections.append(f"{provider}/{model}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def health(clock: ManualClock, told: Told) -> ModelHealth:
    return ModelHealth(POLICY, clock, told)


def report(
    health: ModelHealth,
    clock: ManualClock,
    outcome: Outcome = Outcome.SERVER_ERROR,
    *,
    model: str = "mini",
    decisions: Sequence[str] = ("1", "2", "3"),
) -> None:
    for decision in decisions:
        health.report(Attempt(model, "acme", outcome, decision, clock()))


def test_a_model_is_left_out_tried_once_and_taken_back(
    health: ModelHealth, clock: ManualClock, told: Told
) -> None:
    assert health.view() is ALL_HEALTHY
    report(health, clock)
    assert list(health.view().models) == ["mini"]
    clock.advance(seconds=29.9)
    assert not health.take_probe("mini", "acme", "early")
    clock.advance(seconds=0.1)
    assert list(health.view().due) == ["mini"]
    assert health.take_probe("mini", "acme", "probe")
    assert not health.take_probe("mini", "acme", "another")
    assert list(health.view().models) == ["mini"]
    report(health, clock, Outcome.SUCCESS, decisions=["probe"])
    assert health.view() is ALL_HEALTHY
    assert told.ejections == ["acme/mini"]


def test_a_try_that_never_reports_frees_its_place(health: ModelHealth, clock: ManualClock) -> None:
    report(health, clock)
    clock.advance(seconds=30)
    assert health.take_probe("mini", "acme", "lost")
    clock.advance(seconds=19)
    assert health.view().due == {}
    clock.advance(seconds=1)
    assert list(health.view().due) == ["mini"]
    assert health.take_probe("mini", "acme", "second")


def test_a_try_whose_call_is_not_made_frees_its_place_at_once(
    health: ModelHealth, clock: ManualClock
) -> None:
    health.drop_probe("nobody's")
    report(health, clock)
    clock.advance(seconds=30)
    health.take_probe("mini", "acme", "probe")
    health.drop_probe("another")
    assert health.view().due == {}
    health.drop_probe("probe")
    assert list(health.view().due) == ["mini"]


def test_the_same_failure_counts_once(health: ModelHealth, clock: ManualClock) -> None:
    report(health, clock, decisions=["1"] * 10)
    assert health.view() is ALL_HEALTHY
    attempt = Attempt("mini", "acme", Outcome.ERROR, "1", clock())
    counted = [health.report(replace(attempt, number=n)) for n in (0, 1, 1, 2)]
    assert counted == [False, True, False, True]  # whatever it is called, it is the same attempt
    assert list(health.view().models) == ["mini"]


def test_models_of_the_same_name_of_two_providers_are_two(
    health: ModelHealth, clock: ManualClock
) -> None:
    report(health, clock)
    assert health.status("mini", "acme").state is BreakerState.OPEN
    assert health.status("mini", "globex").state is BreakerState.CLOSED


def test_operators_see_since_when_and_why(health: ModelHealth, clock: ManualClock) -> None:
    report(health, clock)
    status = health.status("mini", "acme")
    assert status.cause == "3 failures in a row, the last: server error"
    assert (status.since, status.retry) == (clock(), clock() + timedelta(seconds=30))
    assert health.unhealthy == 1
    report(health, clock, model="maxi")
    assert health.status("untried", "acme").cause == "2 of its models fail"
    assert health.status("untried", "acme").state is BreakerState.OPEN


def test_other_thresholds_take_effect_at_once(health: ModelHealth, clock: ManualClock) -> None:
    report(health, clock)
    health.policy = replace(POLICY, max_ejected_share=0.25, consecutive_failures=1)
    assert health.view().max_ejected_share == 0.25
    report(health, clock, model="maxi", decisions=["1"])
    assert set(health.view().models) == {"mini", "maxi"}


def test_a_clock_that_is_set_back_neither_fails_nor_locks_a_model_out(
    health: ModelHealth, clock: ManualClock
) -> None:
    report(health, clock)
    clock.advance(hours=-1)
    assert list(health.view().models) == ["mini"]
    health.report(Attempt("mini", "acme", Outcome.SUCCESS, "x", clock() + timedelta(hours=1)))
    clock.advance(hours=1, seconds=30)
    assert health.view() is ALL_HEALTHY or list(health.view().due) == ["mini"]


def test_of_many_calls_at_once_exactly_one_tries(health: ModelHealth, clock: ManualClock) -> None:
    report(health, clock)
    clock.advance(seconds=30)
    with ThreadPoolExecutor(8) as pool:
        taken = pool.map(lambda n: health.take_probe("mini", "acme", str(n)), range(200))
    assert sum(taken) == 1


def test_reports_of_many_threads_are_all_counted(clock: ManualClock) -> None:
    health = ModelHealth(replace(POLICY, consecutive_failures=200), clock)
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(
            lambda n: health.report(Attempt("mini", "acme", Outcome.ERROR, str(n), clock())),
            range(200),
        ):
            pass
    assert list(health.view().models) == ["mini"]


@pytest.mark.parametrize(("back_s", "waits_s"), [(7200, 100), (61, 91), (60, 90)])
def test_a_clock_that_is_set_back_leaves_no_model_out_for_as_long(
    clock: ManualClock, back_s: int, waits_s: int
) -> None:
    policy = HealthPolicy(consecutive_failures=2, window_s=60, wait_s=30, max_wait_s=100)
    health, number = ModelHealth(policy, clock), 0

    def report(model: str, outcome: Outcome) -> None:
        nonlocal number
        number += 1
        health.report(Attempt(model, "acme", outcome, f"d{number}", clock()))

    for _ in range(2):
        report("mini", Outcome.SERVER_ERROR)
    report("large", Outcome.SERVER_ERROR)
    clock.advance(seconds=-back_s)
    report("other", Outcome.SUCCESS)
    began = clock()
    retry = health.status("mini", "acme").retry
    assert retry is not None
    assert (retry - began).total_seconds() == waits_s
    report(
        "large", Outcome.SERVER_ERROR
    )  # of the first, nothing is known after a clock was set back
    assert (health.status("large", "acme").since is None) == (back_s > 60)
    clock.advance(seconds=waits_s)
    assert health.take_probe("mini", "acme", "probe")
