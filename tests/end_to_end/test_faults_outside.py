"""What is outside of the service fails: the log, the store, the registry, its files. The service goes on."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import mitsumori
from benchmarks.ledger_postgres import server as postgres
from mitsumori import CallFailed, Usd
from mitsumori.money import nanos_of
from mitsumori.v1 import admin_pb2, admin_pb2_grpc
from router.cli.demo import serving
from router.ledger.base import Hold, Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.postgres.ledger import PostgresLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import Router
from router.rpc.assembly import build_reservations
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.end_to_end.test_process import run
from tests.readiness import PATIENCE_S, wait_until


@contextmanager
def served(settings: Settings, router: Router, ledger: Ledger) -> Iterator[RunningServer]:
    running = start(settings, build_reservations(settings, router, ledger))
    running.mark_serving()
    try:
        yield running
    finally:
        running.drain()
        ledger.close()


# ── the log ───────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def log_that_takes_nothing(how: str) -> Iterator[IO[str]]:
    if how == "a full disk":
        with open("/dev/full", "w") as full:  # noqa: PTH123 — a device
            yield full
        return
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as log:
        if how == "a closed pipe":
            os.close(reader)
            yield log
            return
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)  # full after some twelve calls
        yield log
        os.close(reader)


@pytest.mark.parametrize("how", ["a closed pipe", "a full disk", "a pipe that nobody reads"])
def test_calls_are_answered_and_sigterm_is_obeyed_whatever_becomes_of_the_log(how: str) -> None:
    # `serving` says so where the server does not leave with 0.
    with (
        log_that_takes_nothing(how) as log,
        serving("--log-level", "info", log=log) as (address, _),
        mitsumori.Router(address, timeout_s=PATIENCE_S) as client,
    ):
        held = [client.route(f"What is 2 + {number}?") for number in range(40)]
        assert client.settle(held[-1].id, input_tokens=1, output_tokens=1).spent.nanos > 0


def test_a_closed_standard_output_keeps_no_server_from_stopping_cleanly(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "router", "serve", "--port", "0", "--ledger", "memory:"]
    with log.open("w") as err, subprocess.Popen(command, stdout=writer, stderr=err) as process:
        os.close(writer)
        wait_until(lambda: '"serving"' in log.read_text() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert "Traceback" not in log.read_text()


BROKEN = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # settings
    + bytes((0, 0, 11, 1, 4, 0, 0, 0, 1))  # headers of a first call
    + b"\x00\x07:method\x01?"
)
"""A connection of HTTP/2 and a call whose method is none."""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_strangers_who_make_grpc_complain_neither_fill_the_log_nor_stop_the_service(
    processes: str,
) -> None:
    with (
        log_that_takes_nothing("a pipe that nobody reads") as log,
        serving("--processes", processes, "--admin-port", "0", log=log) as (address, _),
        mitsumori.Router(address, timeout_s=PATIENCE_S) as client,
    ):
        host, port = address.split(":")
        for _ in range(100):
            with socket.create_connection((host, int(port)), PATIENCE_S) as stranger:
                stranger.sendall(BROKEN)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(1 << 16):
                    pass
        assert client.route("What is 2 + 2?").id


# ── the start ─────────────────────────────────────────────────────────────────────────────────────


def test_sigterm_ends_a_start_that_still_loads_its_code(tmp_path: Path) -> None:
    # As the first process of a container, a start would otherwise go on to serve.
    slow = "import os; os.write(1, b'loading\\n'); os.read(0, 1)"
    (tmp_path / "grpc.py").write_text(slow, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    command = [sys.executable, "-m", "router", "serve", "--port", "0", "--ledger", "memory:"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    assert said == ("", "")


def test_sigterm_ends_a_start_that_waits_for_a_registry() -> None:
    with socket.socket() as silent:  # accepts connections and never speaks
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        registry = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = [
            sys.executable, "-m", "router", "serve", "--port", "0", "--ledger", "memory:",
            "--bundle", "models:/router@champion", "--registry", registry,
        ]  # fmt: skip
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=PATIENCE_S)
            connection.close()
        assert process.returncode == 0
        assert "Traceback" not in said
        assert "error" not in said


@pytest.mark.parametrize("flag", ["--catalog", "--config"])
def test_a_pipe_that_nobody_fills_ends_the_start_in_one_line(tmp_path: Path, flag: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    started = run("serve", flag, str(tmp_path / "pipe"), "--ledger", "memory:")
    assert started.returncode == 2
    assert started.stderr.count("\n") == 1
    assert "sends nothing" in started.stderr


# ── what callers and operators send ───────────────────────────────────────────────────────────────

LONG = "x" * 1_000_000


def test_a_name_of_a_megabyte_is_refused_with_its_reason(
    client: mitsumori.Router, server: RunningServer
) -> None:
    with mitsumori.Admin(server.address, timeout_s=PATIENCE_S) as admin:
        calls = {
            "UNKNOWN_NAME": lambda: client.route("hello", models=[LONG]),
            "NOT_FOUND": lambda: client.release(LONG),
        }
        for reason, call in calls.items():
            with pytest.raises(CallFailed) as caught:
                call()
            assert caught.value.reason == reason
            assert len(caught.value.message) < 1_500
            assert "1,000,000 characters" in caught.value.message
        page = admin_pb2.ListDecisionsRequest(page_token=LONG)
        with pytest.raises(CallFailed) as caught:
            admin.call(admin._stub.ListDecisions, page)
        assert caught.value.code == "NOT_FOUND"


@pytest.mark.parametrize("letter", ["x", "青", "😀", "%"])
def test_the_reason_arrives_whatever_a_message_says(client: mitsumori.Router, letter: str) -> None:
    with pytest.raises(CallFailed) as caught:
        client.route("hello", models=[letter * 100_000])
    assert caught.value.reason == "UNKNOWN_NAME"


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_a_filter_of_very_many_labels_is_refused_alike_in_every_store(
    settings: Settings, router: Router, tmp_path: Path, store: str
) -> None:
    ledger: Ledger = MemoryLedger() if store == "memory" else SqliteLedger(tmp_path / "ledger.db")
    chosen = admin_pb2.DecisionFilter(labels={f"label_{number}": "x" for number in range(600)})
    with (
        served(settings, router, ledger) as running,
        mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin,
    ):
        for call in (
            lambda: list(admin.decisions(chosen)),
            lambda: admin.usage(chosen, ["model"]),
            lambda: admin.limits(dict(chosen.labels)),
        ):
            with pytest.raises(CallFailed) as caught:
                call()
            assert caught.value.code == "INVALID_ARGUMENT"
            assert "600 labels are too many" in caught.value.message
            assert str(tmp_path) not in caught.value.message


# ── pages of decisions ────────────────────────────────────────────────────────────────────────────


def test_pages_of_decisions_fit_what_any_client_takes(settings: Settings, router: Router) -> None:
    ledger = MemoryLedger()
    for number in range(1_500):
        record = f'{{"text": "{"x" * 6_000}"}}'
        ledger.hold(Hold(f"d{number:04}", "f", {}, None, 60, b"", record))
    with (
        served(settings, router, ledger) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = admin_pb2_grpc.AdminServiceStub(channel)  # type: ignore[no-untyped-call]
        names, token, pages = [], "", 0
        while pages == 0 or token:
            page = stub.ListDecisions(
                admin_pb2.ListDecisionsRequest(page_size=1000, page_token=token), timeout=PATIENCE_S
            )
            assert page.ByteSize() < 4 << 20
            names += [row.decision_id for row in page.decisions]
            token, pages = page.next_page_token, pages + 1
        assert names == [f"d{number:04}" for number in range(1_500)]
        assert pages == 3
        with mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin:
            newest = admin.decisions(admin_pb2.DecisionFilter(), newest_first=True)
            assert [row.decision_id for row in newest] == names[::-1]


def test_a_row_that_is_longer_than_a_page_is_a_page_of_its_own(
    settings: Settings, router: Router
) -> None:
    ledger = MemoryLedger()
    for number, size in enumerate((10, 5 << 20, 10)):
        record = f'{{"text": "{"x" * size}"}}'
        ledger.hold(Hold(f"d{number}", "f", {}, None, 60, b"", record))
    with (
        served(settings, router, ledger) as running,
        mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin,
    ):
        listed = list(admin.decisions(admin_pb2.DecisionFilter()))
    assert [row.decision_id for row in listed] == ["d0", "d1", "d2"]


# ── settlements ───────────────────────────────────────────────────────────────────────────────────


def test_a_cost_that_no_call_can_have_is_refused_and_an_administrator_can_amend_one(
    settings: Settings, router: Router
) -> None:
    with (
        served(settings, router, MemoryLedger()) as running,
        mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client,
        mitsumori.Admin(running.address, timeout_s=PATIENCE_S) as admin,
    ):
        made = client.route("hello")
        for cost in (Usd(1_000_000_000_001), Usd(5_000_000_000_000_000)):
            with pytest.raises(CallFailed) as caught:
                client.settle(made.id, input_tokens=1, output_tokens=1, cost_usd=cost)
            assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "IMPLAUSIBLE")
            assert "max_settle_usd" in caught.value.message
        with pytest.raises(CallFailed, match="output_tokens"):
            client.settle(made.id, input_tokens=1, output_tokens=100_000_001)
        client.settle(made.id, input_tokens=1, output_tokens=1, cost_usd=Usd(1_000_000_000_000))
        amended = admin.amend(made.id, cost_usd="0.01", reason="cents, not dollars", tokens=3)
        assert nanos_of(amended.spent_before) == 1_000_000_000_000
        assert nanos_of(amended.spent) == 10_000_000
        (row,) = admin.decisions(admin_pb2.DecisionFilter())
        assert (nanos_of(row.spent), row.tokens) == (10_000_000, 3)
        assert '"reason": "cents, not dollars"' in row.record_json


# ── the store ─────────────────────────────────────────────────────────────────────────────────────


def health_of(address: str, service: str) -> str:
    with grpc.insecure_channel(address) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S
        )
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def test_health_tells_of_the_store_and_calls_say_what_is_wrong_without_its_path(
    settings: Settings, router: Router, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    services = (
        "", "mitsumori.v1.RouterService", "mitsumori.v1.AdminService", "mitsumori.ledger",
        "mitsumori.process",
    )  # fmt: skip

    def told(running: RunningServer) -> list[str]:
        running.health.check_store(ledger)
        return [health_of(running.address, service) for service in services]

    with (
        served(settings, router, ledger) as running,
        mitsumori.Router(running.address, timeout_s=PATIENCE_S, attempts=1) as client,
    ):
        assert told(running) == ["SERVING"] * 5
        away = path.rename(tmp_path / "away.db")
        assert told(running) == ["NOT_SERVING"] * 4 + ["SERVING"]
        with pytest.raises(CallFailed) as caught:
            client.route("hello")
        assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "STORE_LOST")
        assert str(tmp_path) not in caught.value.message
        away.rename(path)
        assert told(running) == ["SERVING"] * 5


def test_a_paused_postgresql_is_unavailable_before_the_caller_gives_up(
    settings: Settings, router: Router
) -> None:
    with postgres() as database:
        ledger = PostgresLedger(database.get_uri())
        with (
            served(settings, router, ledger) as running,
            mitsumori.Router(running.address, timeout_s=PATIENCE_S) as patient,
            mitsumori.Router(running.address, timeout_s=5, attempts=1) as client,
        ):
            made = patient.route("hello")
            with psycopg.connect(database.get_uri()) as other:
                found = other.execute(
                    "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                ).fetchall()
            processes = [database.get_pid(), *(pid for (pid,) in found)]
            for process in processes:
                os.kill(process, signal.SIGSTOP)
            try:
                for call in (
                    lambda: client.route("hello"),
                    lambda: client.settle(made.id, input_tokens=1, output_tokens=1),
                ):
                    with pytest.raises(CallFailed) as caught:
                        call()
                    assert caught.value.code == "UNAVAILABLE"
            finally:
                for process in processes:
                    os.kill(process, signal.SIGCONT)
