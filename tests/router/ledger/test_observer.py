"""What a store tells of its commits and of the holds that expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.postgres.ledger import PostgresLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.telemetry.observer import Observer
from tests.router.ledger.builders import ManualClock, hold


class Told(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.operations = 0
        self.holds = 0

    def committed(self, seconds: float, operations: int) -> None:
        assert seconds >= 0
        self.operations += operations

    def expired(self, holds: int) -> None:
        self.holds += holds


Opener = Callable[[Callable[[], datetime], Observer], Ledger]


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "memory":
        return lambda clock, observer: MemoryLedger(clock, observer=observer)
    if request.param == "sqlite":
        return lambda clock, observer: SqliteLedger(tmp_path / "l.db", clock, observer=observer)
    address = request.getfixturevalue("postgres_address")
    return lambda clock, observer: PostgresLedger(
        address, schema="told", clock=clock, observer=observer
    )


def test_every_operation_and_every_expired_hold_is_told_once(opener: Opener) -> None:
    told, clock = Told(), ManualClock()
    store = opener(clock, told)
    try:
        store.hold(hold("a", ttl_s=60))
        store.hold(hold("b", ttl_s=60))
        store.hold(hold("c", ttl_s=600))
        # Memory has no commits.
        assert told.operations == (0 if isinstance(store, MemoryLedger) else 3)
        assert told.holds == 0
        clock.advance(seconds=61)
        store.expire()
        store.expire()
        assert told.holds == 2
    finally:
        store.close()
