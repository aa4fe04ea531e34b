"""Every store of the ledger behind one fixture. A new store is one more entry of ``STORES``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from benchmarks.ledger_postgres import database
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.postgres.ledger import PostgresLedger
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import ManualClock, limit
from tests.router.ledger.socket_store import SharedLedger

_SCHEMAS = itertools.count()

StoreMaker = Callable[[Callable[[], datetime]], Ledger]
"""From a clock to a store of its own, empty and open."""


def memory(_: pytest.FixtureRequest) -> StoreMaker:
    return MemoryLedger


def sqlite(request: pytest.FixtureRequest) -> StoreMaker:
    directory: Path = request.getfixturevalue("tmp_path")
    numbers = itertools.count()
    return lambda clock: SqliteLedger(directory / f"ledger{next(numbers)}.db", clock)


def postgres(request: pytest.FixtureRequest) -> StoreMaker:
    address: str = request.getfixturevalue("postgres_address")
    return lambda clock: PostgresLedger(address, schema=f"test{next(_SCHEMAS)}", clock=clock)


def memory_by_socket(request: pytest.FixtureRequest) -> StoreMaker:
    return _by_socket(memory(request))


def sqlite_by_socket(request: pytest.FixtureRequest) -> StoreMaker:
    return _by_socket(sqlite(request))


def _by_socket(make_owned: StoreMaker) -> StoreMaker:
    return lambda clock: SharedLedger(make_owned(clock))  # type: ignore[arg-type]


STORES: dict[str, Callable[[pytest.FixtureRequest], StoreMaker]] = {
    "memory": memory,
    "sqlite": sqlite,
    "postgres": postgres,
    "memory by socket": memory_by_socket,
    "sqlite by socket": sqlite_by_socket,
}


@pytest.fixture(scope="session")
def postgres_address() -> Iterator[str]:
    """A real server for the whole session; every store gets a schema of its own."""
    with database() as address:
        yield address


@pytest.fixture(params=STORES)
def make_store(request: pytest.FixtureRequest) -> Iterator[StoreMaker]:
    """Makes empty stores of one kind; closes them all in the end."""
    maker = STORES[request.param](request)
    made: list[Ledger] = []

    def make(clock: Callable[[], datetime]) -> Ledger:
        made.append(maker(clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(make_store: StoreMaker, clock: ManualClock) -> Ledger:
    """An empty store of each kind."""
    return make_store(clock)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the SQLite store of a test lies."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SqliteLedger]:
    """An SQLite store with a budget of 1000, which waits for no lock."""
    made = SqliteLedger(path, ManualClock(), busy_timeout_s=0.05)
    made.set_limit(limit(hard=1000))
    yield made
    made.close()
