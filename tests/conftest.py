"""Fixtures shared by all tests: real files, a real server in the process, no mocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

import mitsumori
from router.ledger.memory import MemoryLedger
from router.logs import configure
from router.routing.router import Router
from router.rpc.assembly import build_reservations, build_router
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.readiness import PATIENCE_S

# `make test` and `pytest` test the same: what make tells its recipes would change messages.
for _told in ("MAKE_INPUTS", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(_told, None)

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

# One profile for all properties. The same examples every time, so that a failure is the change's and
# not the day's; no time limits, since other programs may use the same cores. New examples:
# `pytest --hypothesis-profile explore`, which says how to repeat what it finds.
_UNTIMED = hypothesis_settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
hypothesis_settings.register_profile("explore", _UNTIMED)
hypothesis_settings.register_profile("repeatable", _UNTIMED, derandomize=True)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """The servers of the tests run in this process: their logs would mix with what commands print."""
    configure("error", "json")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The shipped bundle and catalog, on a free port."""
    return Settings(
        port=0,
        drain_s=1,
        max_prompt_bytes=100_000,
        ledger="memory:",
        # A server is shared: what one test reports of a model must not leave it out for the next.
        health={"max_ejected_share": 0},  # type: ignore[arg-type]  # pydantic makes a policy of it
    )


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


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow that nobody has used, to be copied: making one costs as much as a small fit."""
    from mlflow import MlflowClient  # it takes seconds, and most tests do without

    path = tmp_path_factory.mktemp("mlflow-database") / "mlflow.db"
    store = MlflowClient(tracking_uri=f"sqlite:///{path}", registry_uri=f"sqlite:///{path}")
    store.search_experiments()
    store.search_registered_models()
    return path


@pytest.fixture
def client(server: RunningServer) -> Iterator[mitsumori.Router]:
    with mitsumori.Router(server.address, timeout_s=PATIENCE_S) as made:
        yield made


@pytest.fixture
def log() -> Iterator[list[structlog.typing.EventDict]]:
    """The lines that are logged during a test, of every level."""
    # Capturing swaps the processors; the level of the tests' logger would hide what is captured.
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**before)
