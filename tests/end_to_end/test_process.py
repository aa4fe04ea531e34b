"""The server as a process of its own: start, health, drain, kill, logs, and refusing to start."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from benchmarks.serving import resident_mib
from mitsumori import CallFailed, Router
from router.cli.demo import serving
from router.ledger.memory import MemoryLedger
from router.paths import DEFAULT_BUNDLE, ENCODERS
from router.rpc.assembly import build_reservations, build_router
from router.rpc.server import start
from router.settings import Settings
from tests.readiness import PATIENCE_S, wait_until

CANARY = "canary-4711-secret"


def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        input=stdin,
        check=False,
    )


def health_of(address: str) -> str:
    with grpc.insecure_channel(address) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="mitsumori.v1.RouterService"), timeout=PATIENCE_S
        )
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


def test_not_serving_until_warm_and_not_serving_while_draining(settings: Settings) -> None:
    reservations = build_reservations(settings, build_router(settings), MemoryLedger())
    running = start(settings, reservations)
    assert health_of(running.address) == "NOT_SERVING"
    running.mark_serving()
    assert health_of(running.address) == "SERVING"
    running.drain()


def test_the_whole_life_of_a_server_process(tmp_path: Path) -> None:
    with serving() as (address, process):
        assert health_of(address) == "SERVING"
        asked = run(
            "route",
            CANARY,
            "--timeout",
            "60",
            "--server",
            address,
            "--json",
            "--scope",
            "team=search",
        )
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout)["chosen"]["model"]
        shown = run("route", "-", "--timeout", "60", "--server", address, stdin="What is 2 + 2?")
        assert "Quotes, best first" in shown.stdout
        with grpc.insecure_channel(address) as channel:
            names = ProtoReflectionDescriptorDatabase(channel).get_services()
        assert "mitsumori.v1.RouterService" in names
    assert process.returncode == 0  # SIGTERM, drained


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_server_that_is_ready_takes_at_most_250_mb() -> None:
    with serving() as (_, process):
        assert resident_mib(process.pid, "VmRSS") * 2**20 <= 250e6


def test_reflection_is_off_by_flag() -> None:
    with serving("--no-reflection") as (address, _), grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        with pytest.raises(grpc.RpcError) as caught:
            database.get_services()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def events(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def test_logs_are_json_and_never_hold_the_prompt(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        log.open("w") as out,
        serving("--log-level", "info", log=out) as (address, _),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        client.route(f"Please remember {CANARY}", scope={"team": "search"})
        with pytest.raises(CallFailed):
            client.route(CANARY, request_id=f"bad id {CANARY}")
    assert {"serving", "routed", "refused", "draining", "stopped"} <= set(events(log))
    assert CANARY not in log.read_text()


def started_with(log: Path, *words: str) -> dict[str, dict[str, str]]:
    """The log lines of a server that starts and stops, by event."""
    with log.open("w") as out, serving("--log-level", "info", *words, log=out):
        pass
    return {line["event"]: line for line in map(json.loads, log.read_text().splitlines())}


def test_the_start_says_where_the_ledger_lies(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    lines = started_with(tmp_path / "log", "--ledger", f"sqlite:{path}")
    assert lines["serving"]["ledger"] == f"sqlite:{path}"
    assert "demonstration_bundle" not in lines


def test_the_start_warns_of_a_demonstration(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "demonstration": True}))
    words = ("--bundle", str(bundle), "--encoders", str(ENCODERS))
    warning = started_with(tmp_path / "log", *words)["demonstration_bundle"]
    assert warning["level"] == "warning"
    assert "--bundle" in warning["remedy"]


def test_a_killed_server_gives_the_client_one_clean_error() -> None:
    errors: list[CallFailed] = []
    answered = threading.Event()

    def call_until_it_fails(address: str) -> None:
        with Router(address, timeout_s=PATIENCE_S, attempts=3) as client:
            for _ in range(10_000):
                try:
                    client.route("What is 2 + 2?")
                    answered.set()
                except CallFailed as error:
                    errors.append(error)
                    return

    def killed() -> None:
        with serving() as (address, process):
            caller = threading.Thread(target=call_until_it_fails, args=(address,))
            caller.start()
            assert answered.wait(PATIENCE_S)
            process.kill()
            caller.join(PATIENCE_S)
            assert not caller.is_alive()

    with pytest.raises(Exception, match="stopped with code -9"):
        killed()
    (error,) = errors
    assert error.code in {"UNAVAILABLE", "CANCELLED"}
    assert "mitsumori serve" in error.message or "try again" in error.message


def test_calls_in_flight_finish_when_the_server_gets_sigterm(tmp_path: Path) -> None:
    answered: list[str] = []
    refused: list[str] = []

    def keep_calling(address: str) -> None:
        with Router(address, timeout_s=PATIENCE_S, attempts=1) as client:
            while True:
                try:
                    answered.append(client.route("What is 2 + 2?").id)
                except CallFailed as error:
                    refused.append(error.code)
                    return

    log = tmp_path / "log"
    with log.open("w") as out, serving("--log-level", "info", log=out) as (address, process):
        callers = [threading.Thread(target=keep_calling, args=(address,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(answered) > 2 * len(callers))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        for caller in callers:
            caller.join(PATIENCE_S)
    assert answered
    assert events(log).count("routed") == len(answered)  # whatever was begun was also answered
    assert set(refused) <= {"UNAVAILABLE", "CANCELLED"}  # what the shipped client retries


def test_no_server_and_no_time_have_different_errors() -> None:
    with socket.socket() as listener:  # accepts connections and never speaks
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent = f"127.0.0.1:{listener.getsockname()[1]}"
        with Router(silent, timeout_s=0.3) as client, pytest.raises(CallFailed) as caught:
            client.route("x")
        assert caught.value.code in {"DEADLINE_EXCEEDED", "UNAVAILABLE"}
    gone = run("route", "hello", "--server", silent, "--timeout", "1")
    assert gone.returncode == 2
    assert gone.stderr.startswith("error: no ")
    assert gone.stderr.count("\n") == 1


def _tamper(bundle: Path) -> None:
    with (bundle / "classifier.onnx").open("ab") as file:
        file.write(b"x")


def _newer(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["format_version"] = 99
    (bundle / "manifest.json").write_text(json.dumps(manifest))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (shutil.rmtree, "is not a bundle"),
    "tampered": (_tamper, "was altered or damaged"),
    "newer format": (_newer, "bundle format 99"),
    "file missing": (lambda b: (b / "classifier.onnx").unlink(), "cannot be read"),
    "cut short": (lambda b: (b / "manifest.json").write_text('{"format_'), "not a bundle manifest"),
    "wrong field": (
        lambda b: (b / "manifest.json").write_text('{"format_version": 1}'),
        "manifest.json: ",
    ),
}


@pytest.mark.parametrize(("breakage", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_bundle_keeps_the_server_from_starting(
    tmp_path: Path, breakage: Callable[[Path], object], message: str
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    breakage(bundle)
    started = run(
        "serve", "--bundle", str(bundle), "--encoders", str(ENCODERS), "--port", "0",
        "--ledger", "memory:",
    )  # fmt: skip
    assert started.returncode == 2
    assert started.stderr.startswith("error: ")
    assert message in started.stderr
    assert started.stderr.count("\n") == 1
    assert started.stdout == ""


def test_a_taken_port_is_named() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        started = run("serve", "--port", port, "--ledger", "memory:")
    assert started.returncode == 2
    assert f"127.0.0.1:{port}" in started.stderr
    assert "--port" in started.stderr


def test_a_server_that_others_reach_does_not_start_without_tls_and_credentials(
    tmp_path: Path,
) -> None:
    refused = run("serve", "--host", "0.0.0.0", "--ledger", f"sqlite:{tmp_path}/l.sqlite")
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: host: 0.0.0.0 can be reached from other machines")
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
