"""What one tenant reports of a model concerns that tenant; what many report concerns all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from router.core.breaker import BreakerState, HealthPolicy, Outcome
from router.core.health import ALL_HEALTHY
from router.routing import breaker_table
from router.routing.model_health import Attempt, ModelHealth
from tests.router.ledger.builders import ManualClock

POLICY = HealthPolicy(consecutive_failures=3, wait_s=30, probe_timeout_s=20, error_rate_calls=10)
MANY = tuple("abc")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> ModelHealth:
    return ModelHealth(POLICY, clock)


class Calls:
    """Reports of calls, each of a decision of its own."""

    def __init__(self, health: ModelHealth, clock: ManualClock) -> None:
        self.health, self.clock, self.number = health, clock, 0

    def __call__(
        self,
        tenants: Sequence[str],
        outcome: Outcome = Outcome.SERVER_ERROR,
        *,
        model: str = "mini",
        decision: str = "",
        retry_after_s: float = 0,
    ) -> None:
        for tenant in tenants:
            self.number += 1
            name = decision or str(self.number)
            self.health.report(
                Attempt(model, "acme", outcome, name, self.clock(), retry_after_s, tenant=tenant)
            )


@pytest.fixture
def report(health: ModelHealth, clock: ManualClock) -> Calls:
    return Calls(health, clock)


def test_a_thousand_failures_that_one_tenant_reports_take_the_model_from_it_alone(
    health: ModelHealth, report: Calls
) -> None:
    report(["bad"] * 1_000)
    assert list(health.view("bad").models) == ["mini"]
    assert health.view("good") == health.view("") == health.view("another")
    assert health.view("good").models == {}
    report(["good"] * 2)  # failures of its own count as ever
    assert health.view("good").models == {}
    report(["good"])
    assert list(health.view("good").models) == ["mini"]


def test_a_flood_between_the_calls_of_others_changes_nothing_for_them(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    for number in range(200):
        report(["bad"] * 20, model=("mini", "maxi", "nano")[number % 3])
        report(["good", "fair"], Outcome.SUCCESS)
        clock.advance(seconds=1)
        assert health.view("good").models == health.view("good").due == {}
        assert health.view("good").providers == {}


def test_a_tenant_that_reports_waits_takes_no_time_from_others(
    health: ModelHealth, report: Calls
) -> None:
    report(["bad"] * 10, Outcome.RATE_LIMITED, retry_after_s=3600)
    assert list(health.view("bad").models) == ["mini"]
    assert health.view("good").models == {}


def test_failures_of_three_tenants_protect_a_fourth_that_has_not_called(
    health: ModelHealth, report: Calls
) -> None:
    report(["a", "b"])
    assert health.view("new") is ALL_HEALTHY
    report(["c"])
    assert list(health.view("new").models) == ["mini"]
    assert health.view("new").models["mini"].startswith("3 failures in a row")


def test_one_tenant_that_reports_success_does_not_hide_an_outage_from_the_others(
    health: ModelHealth, report: Calls
) -> None:
    for _ in range(3):
        report(["good", "fair"])
        report(["bad"] * 5, Outcome.SUCCESS)
    for tenant in ("good", "fair"):
        assert list(health.view(tenant).models) == ["mini"]


def test_a_false_report_of_one_tenant_does_not_bring_a_model_back(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(MANY)
    clock.advance(seconds=10)
    report(["bad"] * 100, Outcome.SUCCESS)
    assert list(health.view("good").models) == ["mini"]


def test_one_tenant_whose_tries_fail_does_not_keep_a_model_from_the_others(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(MANY)
    clock.advance(seconds=30)
    assert health.take_probe("mini", "acme", "bad's", "bad")
    report(["bad"], decision="bad's")
    report(["bad"] * 100)  # it was not asked
    clock.advance(seconds=60)
    assert list(health.view("bad").due) == []
    assert not health.take_probe("mini", "acme", "bad's second", "bad")
    assert list(health.view("good").due) == ["mini"]
    assert health.take_probe("mini", "acme", "good's", "good")
    report(["good"], Outcome.SUCCESS, decision="good's")
    assert health.view("good").models == {}


def test_where_only_that_tenant_calls_it_tries_again_after_twice_the_time(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(MANY)
    clock.advance(seconds=30)
    assert health.take_probe("mini", "acme", "first", "lonely")
    report(["lonely"], decision="first")
    clock.advance(seconds=119.9)
    assert health.view("lonely").models["mini"].endswith("tried again from 12:02:30 UTC")
    clock.advance(seconds=0.1)
    assert list(health.view("lonely").due) == ["mini"]
    assert health.take_probe("mini", "acme", "second", "lonely")


def test_a_try_of_a_tenant_for_which_it_is_left_out_twice_ends_both(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(MANY * 3)  # for each of them, and for all
    clock.advance(seconds=30)
    assert health.take_probe("mini", "acme", "probe", "a")
    assert not health.take_probe("mini", "acme", "another", "b")
    assert not health.take_probe("mini", "acme", "another", "new")
    report(["a"], Outcome.SUCCESS, decision="probe")
    assert health.view("a").models == health.view("a").due == {}
    assert health.view("new").models == {}
    assert list(health.view("b").due) == ["mini"]  # it has failed for itself


def test_of_two_reasons_the_longer_wait_holds(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(["a"], Outcome.RATE_LIMITED, retry_after_s=300)
    report(["b", "c"])
    clock.advance(seconds=30)
    assert list(health.view("b").due) == ["mini"]
    assert list(health.view("a").models) == ["mini"]
    assert not health.take_probe("mini", "acme", "early", "a")


def test_a_provider_is_the_culprit_for_whom_its_models_fail(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(["bad"] * 3, model="mini")
    report(["bad"] * 3, model="maxi")
    assert set(health.view("bad").providers) == {"acme"}
    assert health.view("good").providers == {}
    clock.advance(seconds=1)
    report(["good"], Outcome.SUCCESS, model="nano")
    assert health.view("bad").providers == {}  # it works for others


def test_operators_see_for_how_many_tenants_a_model_is_left_out_and_no_names(
    health: ModelHealth, report: Calls
) -> None:
    report(["secret"] * 3)
    status = health.status("mini", "acme")
    assert status.state is BreakerState.OPEN
    assert status.cause == "3 failures in a row, the last: server error; for 1 tenant alone"
    assert health.unhealthy == 1
    report(["hidden"] * 3)
    assert health.status("mini", "acme").cause.endswith("; for 2 tenants alone")
    report(["last"])
    assert health.status("mini", "acme").cause == "3 failures in a row, the last: server error"
    assert health.unhealthy == 1


def test_operators_see_the_longest_wait(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(["a"], Outcome.OVERLOADED, retry_after_s=90)
    report(["b"] * 3)
    assert health.status("mini", "acme").retry == clock() + timedelta(seconds=90)


def test_tenants_that_have_not_reported_for_longest_are_forgotten(
    health: ModelHealth, report: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert breaker_table._MOST_TENANTS == 1_000
    monkeypatch.setattr(breaker_table, "_MOST_TENANTS", 2)
    for tenant in ("first", "second"):
        report([tenant] * 3)
    report(["first"])
    report(["third"], Outcome.SUCCESS)
    assert list(health.view("first").models) == ["mini"]
    assert health.view("second").models == {}
    assert health.unpublished()[0].key == '["first", "acme", "mini"]'


@pytest.mark.parametrize("given_up", [True, False])
def test_one_tenant_whose_tries_are_lost_or_given_up_leaves_the_next_to_another(
    health: ModelHealth, report: Calls, clock: ManualClock, given_up: bool
) -> None:
    report(MANY)
    clock.advance(seconds=30)
    assert health.take_probe("mini", "acme", "bad's", "bad")
    if given_up:
        health.drop_probe("bad's")
    else:
        assert list(health.view("good").due) == []
        clock.advance(seconds=20)
    assert list(health.view("bad").due) == []
    assert not health.take_probe("mini", "acme", "bad's second", "bad")
    assert list(health.view("good").due) == ["mini"]
    clock.advance(seconds=39.9 if given_up else 19.9)
    assert not health.take_probe("mini", "acme", "bad's second", "bad")
    clock.advance(seconds=0.1)  # nobody else has called
    assert list(health.view("bad").due) == ["mini"]
    assert health.take_probe("mini", "acme", "bad's second", "bad")


def test_the_report_of_a_try_that_was_given_up_counts_all_the_same(
    health: ModelHealth, report: Calls, clock: ManualClock
) -> None:
    report(MANY)
    clock.advance(seconds=30)
    health.take_probe("mini", "acme", "probe", "a")
    health.drop_probe("probe")
    report(["a"], Outcome.SUCCESS, decision="probe")
    assert health.view("good") is ALL_HEALTHY
