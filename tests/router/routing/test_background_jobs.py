"""The background jobs: what they do, how they survive outages, and how they stop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from router.core.errors import Unavailable
from router.ledger.base import HoldState, Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.background_jobs import BackgroundJobs, PeriodicJob, expiry_job, retention_job
from router.settings import RetentionRule
from tests.readiness import PATIENCE_S
from tests.router.ledger.builders import ManualClock, balance, hold, limit, report


class Seconds:
    """A clock of seconds that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(clock: ManualClock) -> MemoryLedger:
    return MemoryLedger(clock)


def settled(ledger: Ledger, name: str, **labels: str) -> None:
    ledger.hold(hold(name, 10, **labels))
    ledger.settle(report(name, 10))


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_hold_that_ran_out_is_given_back_though_nobody_asks(
    ledger: MemoryLedger, clock: ManualClock, log: list[structlog.typing.EventDict]
) -> None:
    ledger.set_limit(limit(hard=100))
    ledger.hold(hold("a", 30, ttl_s=60, team="search"))
    job = expiry_job(ledger, 5)
    job.do()
    assert log == []
    clock.advance(minutes=2)
    job.do()
    assert balance(ledger) == (0, 0)
    assert [(entry["event"], entry["holds"]) for entry in log] == [("expired", 1)]
    assert "search" not in str(log)


def test_each_rule_erases_what_it_matches_so_the_shortest_wins(
    ledger: MemoryLedger, clock: ManualClock, log: list[structlog.typing.EventDict]
) -> None:
    ledger.set_limit(limit(hard=1000))
    settled(ledger, "old search", team="search")
    settled(ledger, "old ads", team="ads")
    clock.advance(days=25)
    settled(ledger, "new search", team="search")
    clock.advance(days=5, seconds=1)
    rules = [RetentionRule(days=400), RetentionRule(days=30, labels={"team": "search"})]
    retention_job(ledger, lambda: rules).do()
    assert {made.id for made in ledger.decisions()} == {"old ads", "new search"}
    assert balance(ledger) == (30, 0)  # balances keep what was spent
    clock.advance(days=371)
    retention_job(ledger, lambda: rules).do()
    assert ledger.decisions() == []
    assert [entry["decisions"] for entry in log] == [1, 1, 1]
    assert "search" not in str(log)


def test_what_is_not_final_stays_however_old(ledger: MemoryLedger, clock: ManualClock) -> None:
    ledger.hold(hold("open", ttl_s=timedelta(days=9).total_seconds()))
    clock.advance(days=2)
    retention_job(ledger, lambda: [RetentionRule(days=1)]).do()
    assert [made.state for made in ledger.decisions()] == [HoldState.HELD]


def test_without_rules_nothing_is_erased(ledger: MemoryLedger, clock: ManualClock) -> None:
    settled(ledger, "a")
    clock.advance(days=4000)
    retention_job(ledger, list).do()
    assert ledger.decision("a") is not None


# ── the thread ────────────────────────────────────────────────────────────────────────────────────


def counting(name: str, every_s: float, done: list[str]) -> PeriodicJob:
    return PeriodicJob(name, every_s, lambda: done.append(name))


def test_jobs_run_at_the_start_and_then_at_their_own_intervals(seconds: Seconds) -> None:
    done: list[str] = []
    jobs = BackgroundJobs([counting("often", 5, done), counting("rarely", 60, done)], clock=seconds)
    for _ in range(61):
        jobs.run_due()
        seconds.now += 1
    assert (done.count("often"), done.count("rarely")) == (13, 2)


def test_it_waits_exactly_until_the_next_job_is_due(seconds: Seconds) -> None:
    waits: list[float] = []
    enough = threading.Event()

    def wait(span: float) -> None:
        waits.append(span)
        seconds.now += span
        if len(waits) == 4:
            enough.set()

    done: list[str] = []
    with BackgroundJobs(
        [counting("a", 5, done), counting("b", 12, done)], clock=seconds, wait=wait
    ):
        assert enough.wait(PATIENCE_S)
    assert waits[:4] == [5, 5, 2, 3]


def failing(times: int, error: Exception, done: list[str]) -> Callable[[], None]:
    left = [error] * times

    def do() -> None:
        if left:
            raise left.pop()
        done.append("done")

    return do


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Unavailable("the disk is full"), "STORE_UNAVAILABLE"),
        (ValueError("prompt text"), "ValueError"),
    ],
)
def test_an_outage_is_said_once_and_outlived(
    seconds: Seconds, log: list[structlog.typing.EventDict], error: Exception, reason: str
) -> None:
    done: list[str] = []
    jobs = BackgroundJobs([PeriodicJob("retention", 3600, failing(3, error, done))], clock=seconds)
    for _ in range(200):
        jobs.run_due()
        seconds.now += 1
    assert done == ["done"]  # tried again sooner than in an hour
    assert [(entry["event"], entry.get("reason")) for entry in log] == [
        ("job_failed", reason),
        ("job_works_again", None),
    ]
    assert "prompt text" not in str(log)


def test_a_failing_job_does_not_stop_the_others(seconds: Seconds) -> None:
    done: list[str] = []
    jobs = BackgroundJobs(
        [PeriodicJob("bad", 1, failing(9, Unavailable("away"), [])), counting("good", 1, done)],
        clock=seconds,
    )
    jobs.run_due()
    assert done == ["good"]


def test_it_stops_at_once_even_if_the_next_job_is_far_away() -> None:
    started = threading.Event()
    jobs = BackgroundJobs([PeriodicJob("once", 3600, started.set)])
    with jobs:
        assert started.wait(PATIENCE_S)
    assert not jobs._thread.is_alive()


def test_it_may_be_at_work_when_the_ledger_closes(
    tmp_path: Path, log: list[structlog.typing.EventDict]
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    at_work = threading.Event()

    def work() -> None:
        at_work.set()
        while True:
            ledger.expire()

    jobs = BackgroundJobs([PeriodicJob("endless", 5, work)])
    jobs._thread.start()
    assert at_work.wait(PATIENCE_S)
    jobs._stop.set()
    ledger.close()
    jobs._thread.join(PATIENCE_S)
    assert not jobs._thread.is_alive()
    assert log == []  # the stop is no outage


def test_a_requested_job_runs_at_once_even_if_it_is_never_due() -> None:
    done = threading.Semaphore(0)
    with BackgroundJobs([PeriodicJob("reloading", math.inf, lambda: done.release())]) as jobs:
        assert done.acquire(timeout=PATIENCE_S)  # at the start
        assert not done.acquire(timeout=0.2)
        jobs.request("another")
        jobs.request("reloading")
        assert done.acquire(timeout=PATIENCE_S)
