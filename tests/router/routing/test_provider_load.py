"""What one process knows of the load of provider accounts, while calls begin and end and time passes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from router.core.load import (
    NO_LOAD,
    AccountLimits,
    ProviderLimits,
    RateLimit,
    RateLimits,
)
from router.ledger.base import StoredDecision
from router.ledger.memory import MemoryLedger
from router.routing.provider_load import ProviderLoad
from tests.router.ledger.builders import ManualClock, hold, report

LIMITS = {"acme": ProviderLimits(10, 10_000, 5, 5_000, models={"mini": AccountLimits(4)})}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def load(clock: ManualClock) -> ProviderLoad:
    return ProviderLoad(LIMITS, clock)


def begin(load: ProviderLoad, name: str, tokens: int = 100, *, model: str = "mini") -> None:
    load.began(name, model, "acme", tokens=tokens, ttl_s=300)


def used(load: ProviderLoad, model: str = "mini") -> dict[str, int]:
    """What counts on each limit that a call to a model counts on."""
    return {f"{g.account} {g.limit}": g.used for g in load.view(1.0).gauges("acme", model)}


def of_account(requests: int, tokens: int, in_flight: int, tokens_in_flight: int) -> dict[str, int]:
    return {
        "acme requests_per_minute": requests,
        "acme tokens_per_minute": tokens,
        "acme requests_in_flight": in_flight,
        "acme tokens_in_flight": tokens_in_flight,
    }


def test_without_limits_there_is_no_load_to_look_at(clock: ManualClock) -> None:
    load = ProviderLoad(now=clock)
    begin(load, "1")
    assert load.view(0.7) is NO_LOAD
    assert load.in_flight("mini") == 1


def test_a_call_counts_in_flight_until_it_ends_and_in_its_minute_after_that(
    load: ProviderLoad, clock: ManualClock
) -> None:
    begin(load, "1")
    assert used(load) == of_account(1, 100, 1, 100) | {"acme/mini requests_per_minute": 1}
    load.ended("1")
    assert used(load, "other") == of_account(1, 100, 0, 0)
    clock.advance(seconds=60)
    assert used(load, "other") == of_account(1, 100, 0, 0)
    clock.advance(seconds=1)
    assert used(load, "other") == of_account(0, 0, 0, 0)


def test_the_tokens_that_a_call_really_took_replace_those_that_were_expected(
    load: ProviderLoad,
) -> None:
    begin(load, "1", 900)
    load.ended("1", tokens=250)
    load.ended("1", tokens=250)  # the report is sent again
    assert used(load, "other") == of_account(1, 250, 0, 0)


def test_a_call_that_was_never_made_counts_nowhere(load: ProviderLoad) -> None:
    begin(load, "1", 900)
    load.cancelled("1")
    load.cancelled("1")
    assert used(load) == of_account(0, 0, 0, 0) | {"acme/mini requests_per_minute": 0}


def test_a_call_that_another_model_answered_counts_there(load: ProviderLoad) -> None:
    begin(load, "1", 900)
    load.ended("1", tokens=250, by=("large", "globex"))
    assert used(load) == of_account(0, 0, 0, 0) | {"acme/mini requests_per_minute": 0}


def test_a_call_whose_end_nobody_reports_is_lost_with_its_hold(
    load: ProviderLoad, clock: ManualClock
) -> None:
    begin(load, "1")
    clock.advance(seconds=299.9)
    assert load.all_in_flight() == {"mini": 1}
    clock.advance(seconds=0.1)
    assert (load.in_flight("mini"), used(load, "other")) == (0, of_account(0, 0, 0, 0))
    load.ended("1", tokens=5)
    assert load.all_in_flight() == {"mini": 0}


def test_the_same_decision_counts_once(load: ProviderLoad) -> None:
    begin(load, "1")
    begin(load, "1")
    assert used(load, "other") == of_account(1, 100, 1, 100)


def test_a_gauge_says_when_what_is_used_leaves_from_half_of_the_limit_on(
    load: ProviderLoad, clock: ManualClock
) -> None:
    begin(load, "1", 4_949)
    clock.advance(seconds=10)
    begin(load, "2", 50)
    requests, tokens, flying, _ = load.view(0.8).gauges("acme", "other")
    assert requests == ("acme", "requests_per_minute", 10, 2, False, 10 / 60, None)
    assert (tokens.used, tokens.leaving) == (4_999, None)
    assert (flying.rate, flying.leaving) == (0.0, None)
    begin(load, "3", 1)
    tokens = load.view(0.8).gauges("acme", "other")[1]
    assert tokens.leaving is not None
    amounts = {at + tokens.leaving.first_s: many for at, many in enumerate(tokens.leaving.amounts)}
    assert {at: many for at, many in amounts.items() if many} == {51.0: 4_949, 61.0: 51}
    for name in "456":
        begin(load, name)
    requests = load.view(0.8).gauges("acme", "other")[0]
    assert requests.leaving is not None
    assert sum(requests.leaving.amounts) == 6


def test_limits_may_change_at_any_time(load: ProviderLoad) -> None:
    begin(load, "1")
    load.limits = {"acme": ProviderLimits(requests_in_flight=3)}
    assert used(load) == {"acme requests_in_flight": 1}
    load.limits = {}
    assert load.view(1.0) is NO_LOAD


def test_calls_at_once_are_all_counted(load: ProviderLoad) -> None:
    def one(name: int) -> None:
        begin(load, str(name), 1)
        load.view(1.0)
        if name % 2:
            load.ended(str(name), tokens=3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(400)))
    assert used(load, "other") == of_account(400, 200 + 600, 200, 200)


# --- What a provider says -----------------------------------------------------------------------


def test_a_reported_limit_holds_with_what_was_sent_since_and_comes_back_evenly(
    clock: ManualClock,
) -> None:
    load = ProviderLoad(now=clock)
    begin(load, "before")
    clock.advance(seconds=1)
    load.reported("mini", "acme", RateLimits(RateLimit(100, 40, 30.0)))
    assert used(load) == {"acme/mini reported_requests": 60}
    begin(load, "after")
    assert used(load) == {"acme/mini reported_requests": 61}
    clock.advance(seconds=15)
    assert used(load) == {"acme/mini reported_requests": 31}
    (gauge,) = load.view(1.0).gauges("acme", "mini")
    assert gauge.rate == 2.0  # 60 in 30 seconds
    assert load.view(1.0).gauges("acme", "other") == ()
    clock.advance(seconds=15)
    assert load.view(1.0) is NO_LOAD


def test_the_newest_answer_counts_and_tokens_have_a_limit_of_their_own(clock: ManualClock) -> None:
    load = ProviderLoad(now=clock)
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0)))
    begin(load, "0", 70)  # the provider has seen it when it answers
    clock.advance(seconds=1)
    load.reported("mini", "acme", RateLimits(None, RateLimit(5_000, 4_000)))
    begin(load, "1", 900)
    assert used(load) == {"acme/mini reported_tokens": 1_000 + 900}
    load.cancelled("1")
    assert used(load) == {"acme/mini reported_tokens": 1_000}


def test_a_report_counts_for_five_minutes_whatever_reset_it_names(
    clock: ManualClock,
) -> None:
    load = ProviderLoad(now=clock)
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0, 86_400.0)))
    clock.advance(seconds=299.9)
    assert used(load) == {"acme/mini reported_requests": 100}
    clock.advance(seconds=0.1)
    assert load.view(1.0) is NO_LOAD


def test_a_provider_with_everything_left_fills_its_limit_in_a_minute(clock: ManualClock) -> None:
    load = ProviderLoad(now=clock)
    load.reported("mini", "acme", RateLimits(RateLimit(120, 120, 1.0)))
    (gauge,) = load.view(1.0).gauges("acme", "mini")
    assert (gauge.used, gauge.rate) == (0, 2.0)


# --- What the ledger knows ----------------------------------------------------------------------


def held(store: MemoryLedger, name: str, *, tokens: int = 100, ttl_s: float = 300) -> None:
    store.hold(hold(name, tokens=tokens, ttl_s=ttl_s, model="mini", provider="acme"))


def test_after_a_restart_calls_in_flight_and_in_the_last_minute_count(clock: ManualClock) -> None:
    store = MemoryLedger(clock)
    held(store, "long ago")
    clock.advance(seconds=100)
    held(store, "settled")
    store.settle(report("settled", tokens=40))
    held(store, "released")
    store.release("released", "acme")
    held(store, "open")
    store.hold(hold("quote", None, model="mini", provider="acme"))
    clock.advance(seconds=1)
    load = ProviderLoad(LIMITS, clock)
    load.sync(store)
    assert used(load, "other") == of_account(2, 140, 2, 200)
    load.ended("long ago", tokens=7)
    load.ended("open", tokens=60)
    assert used(load, "other") == of_account(2, 100, 0, 0)


def test_what_other_processes_decide_and_settle_is_seen_and_counts_once(clock: ManualClock) -> None:
    store = MemoryLedger(clock)
    here, there = ProviderLoad(LIMITS, clock), ProviderLoad(LIMITS, clock)
    for name in ("a", "b"):
        held(store, name)
        begin(there, name)
    for _ in range(2):
        here.sync(store)
        there.sync(store)
        assert used(here, "other") == used(there, "other") == of_account(2, 200, 2, 200)
        clock.advance(seconds=6)
    store.settle(report("a", tokens=100))
    here.ended("a", tokens=100)
    there.sync(store)
    assert used(here, "other") == used(there, "other") == of_account(2, 200, 1, 100)


def test_a_call_that_ends_while_the_ledger_is_read_does_not_come_back(clock: ManualClock) -> None:
    store, load = MemoryLedger(clock), ProviderLoad(LIMITS, clock)
    held(store, "a")
    begin(load, "a")

    class Slow(MemoryLedger):
        def decisions(self, **asked: Any) -> list[StoredDecision]:  # type: ignore[override]
            found = store.decisions(**asked)
            load.ended("a", tokens=30)
            return found

    load.sync(Slow(clock))
    assert used(load, "other") == of_account(1, 30, 0, 0)


def test_a_call_that_is_about_to_be_committed_is_not_taken_for_lost(clock: ManualClock) -> None:
    store, load = MemoryLedger(clock), ProviderLoad(LIMITS, clock)
    begin(load, "new")
    clock.advance(seconds=5)
    load.sync(store)
    assert load.in_flight("mini") == 1
    clock.advance(seconds=0.1)
    load.sync(store)
    assert load.in_flight("mini") == 0


def test_without_limits_only_calls_in_flight_are_read(clock: ManualClock) -> None:
    store = MemoryLedger(clock)
    held(store, "open")
    held(store, "settled")
    store.settle(report("settled"))
    load = ProviderLoad(now=clock)
    load.sync(store)
    assert load.all_in_flight() == {"mini": 1}
    load.limits = LIMITS
    assert used(load, "other") == of_account(0, 0, 1, 100)
    load.sync(store)
    assert used(load, "other") == of_account(2, 100, 1, 100)


def test_a_report_counts_for_its_tenant_and_operators_see_the_newest(clock: ManualClock) -> None:
    load = ProviderLoad(now=clock)
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0)), "a")
    load.reported("mini", "acme", RateLimits(RateLimit(50, 10)), "b")

    def most(tenant: str | None) -> list[tuple[int, int]]:
        return [(g.used, g.most) for g in load.view(1.0, tenant).gauges("acme", "mini")]

    assert [most(each) for each in ("a", "b", None)] == [[(100, 100)], [(40, 50)], [(40, 50)]]
    assert load.view(1.0) is NO_LOAD
    assert load.view(1.0, "c") is NO_LOAD
    begin(load, "1")  # whoever sends it
    assert [most(each) for each in ("a", "b")] == [[(101, 100)], [(41, 50)]]


def test_of_a_model_the_reports_of_a_hundred_tenants_are_kept(clock: ManualClock) -> None:
    load = ProviderLoad(now=clock)
    for number in range(100):
        load.reported("mini", "acme", RateLimits(RateLimit(100, 0)), f"t{number}")
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0)), "t0")
    assert load.view(1.0, "t1").gauges("acme", "mini")
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0)), "one more")
    assert load.view(1.0, "t1") is NO_LOAD  # the one that reported longest ago
    for known in ("t0", "t2", "t99", "one more"):
        assert load.view(1.0, known).gauges("acme", "mini")


def test_a_report_that_is_over_is_told_nobody_though_an_older_one_still_holds(
    clock: ManualClock,
) -> None:
    load = ProviderLoad(now=clock)
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0, 120.0)), "long")
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0, 30.0)), "short")
    clock.advance(seconds=30)
    assert load.view(1.0, "short") is NO_LOAD
    assert load.view(1.0, "long").gauges("acme", "mini")
    clock.advance(seconds=90)
    assert load.view(1.0, "long") is NO_LOAD


def test_a_clock_that_is_set_back_keeps_no_account_full(clock: ManualClock) -> None:
    load = ProviderLoad(LIMITS, clock)
    clock.advance(seconds=7200)
    for name in ("lost", "open"):
        begin(load, name)
    load.reported("mini", "acme", RateLimits(RateLimit(100, 0)))
    clock.advance(seconds=-7200)
    assert used(load, "other") == of_account(0, 0, 2, 200)
    begin(load, "new")
    assert used(load, "other") == of_account(1, 100, 3, 300)
    load.ended("open", tokens=50)
    assert used(load, "other") == of_account(1, 100, 2, 200)
    clock.advance(seconds=300)
    assert used(load, "other") == of_account(0, 0, 0, 0)
    assert "acme/mini reported_requests" not in used(load)


def test_a_clock_that_is_corrected_by_a_minute_changes_nothing(clock: ManualClock) -> None:
    load = ProviderLoad(LIMITS, clock)
    begin(load, "1")
    clock.advance(seconds=-60)
    assert used(load, "other") == of_account(1, 100, 1, 100)
    clock.advance(seconds=-0.001)
    assert used(load, "other") == of_account(0, 0, 1, 100)
