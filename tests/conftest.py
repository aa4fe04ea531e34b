"""Fixtures shared by all tests: real files, a real server in the process, no mocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import mitsumori
from router.ledger.memory import MemoryLedger
from router.logs import configure
from router.routing.router import Router
from router.rpc.server import RunningServer, build_reservations, build_router, start
from router.settings import Settings

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """The servers of the tests run in this process: their logs would mix with what commands print."""
    configure("error", "json")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The shipped bundle and catalog, on a free port."""
    return Settings(port=0, drain_s=1, max_prompt_bytes=100_000, ledger="memory:")


@pytest.fixture(scope="session")
def router(settings: Settings) -> Router:
    """A router at a fixed moment, so that prices and quotes never depend on today."""
    made = build_router(settings, now=lambda: NOON)
    made.warm_up()
    return made


@pytest.fixture(scope="session")
def server(settings: Settings, router: Router) -> Iterator[RunningServer]:
    """A listening server with the real ONNX files."""
    running = start(settings, build_reservations(settings, router, MemoryLedger()))
    running.mark_serving()
    yield running
    running.drain()


@pytest.fixture
def client(server: RunningServer) -> Iterator[mitsumori.Router]:
    with mitsumori.Router(server.address) as made:
        yield made
