"""Several processes behind one port: one ledger, one administration, and each may die."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.ledger_postgres import database
from mitsumori import Admin, CallFailed, Router
from mitsumori.v1 import limit_pb2
from router.cli.demo import serving
from router.core.limits import Limit, Unit, Window
from router.ledger.base import HoldState
from router.ledger.check import check
from router.ledger.sqlite.ledger import SqliteLedger
from router.paths import DEFAULT_BUNDLE, ENCODERS
from tests.readiness import PATIENCE_S, wait_until

OWNER = "ledger"


class Caller(Router):
    """A client with a connection of its own; those of one program otherwise share one, to one process."""

    _options = (*Router._options, ("grpc.use_local_subchannel_pool", 1))


@dataclass(frozen=True)
class Service:
    """A service of several processes."""

    address: str
    process: subprocess.Popen[str]
    log: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Its lines of the log about an event; the last line may be half written."""
        text = self.log.read_text()
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if line["event"] == event]

    @property
    def admin_address(self) -> str:
        return str(self.serving()["supervisor"]["admin_address"])

    def serving(self) -> dict[str, dict[str, Any]]:
        """What each process said when it began to serve; the log may come a little later than that."""
        found: dict[str, dict[str, Any]] = {}

        def is_there() -> bool:
            found.update({line["process"]: line for line in self.lines("serving")})
            return {"supervisor", "serving-1", "serving-2"} <= set(found)

        wait_until(is_there)
        return found

    def numbers(self) -> dict[str, int]:
        """The processes of the service by name, as the system has them now."""
        found = {}
        for one in psutil.Process(self.process.pid).children():
            with_name = [
                line for line in self.lines("process_started") if line["number"] == one.pid
            ]
            if with_name:
                found[str(with_name[-1]["name"])] = one.pid
        return found

    def statuses(self) -> dict[str, str]:
        """Of all processes by name, by the process that a new connection leads to."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.insecure_channel(self.address, options) as channel:
            listed = health_pb2_grpc.HealthStub(channel).List(
                health_pb2.HealthListRequest(), timeout=PATIENCE_S, wait_for_ready=True
            )
        name_of = health_pb2.HealthCheckResponse.ServingStatus.Name
        return {
            name.removeprefix("mitsumori.process."): name_of(one.status)
            for name, one in listed.statuses.items()
            if name.startswith("mitsumori.process.")
        }


@contextmanager
def service(folder: Path, processes: int, *words: str) -> Iterator[Service]:
    """A service with a SQLite ledger, which must stop cleanly in the end."""
    log = folder / "log"
    flags = ["--processes", str(processes), "--admin-port", "0", "--log-level", "info"]
    flags += ["--ledger", f"sqlite:{folder / 'ledger.sqlite'}"]
    with log.open("a") as out, serving(*flags, *words, log=out) as (address, process):
        yield Service(address, process, log)


def store(folder: Path) -> SqliteLedger:
    return SqliteLedger(folder / "ledger.sqlite")


def allow(folder: Path, requests: int) -> None:
    with closing(store(folder)) as ledger:
        ledger.set_limit(Limit("calls", {}, Unit.REQUESTS, Window.TOTAL, hard=requests))


def granted_by(running: Service, processes: int) -> list[str]:
    """Decisions one after the other, each over a connection of its own, until so many processes made one."""
    granted: list[str] = []

    def have_made_one() -> bool:
        with Caller(running.address, timeout_s=PATIENCE_S) as client:
            granted.append(client.route(f"What is {len(granted)} + 1?").id)
        return len({line["process"] for line in running.lines("routed")}) >= processes

    wait_until(have_made_one)
    return granted


def granted_of(address: str, callers: int) -> list[str]:
    """The decisions of callers who all ask at once; the others were refused by the limit."""
    start = threading.Barrier(callers)
    reasons: list[str] = []

    def call(number: int) -> str:
        with Caller(address, timeout_s=PATIENCE_S) as client:
            start.wait(PATIENCE_S)
            try:
                return client.route(f"What is {number} + {number}?").id
            except CallFailed as error:
                reasons.append(error.reason)
                return ""

    with ThreadPoolExecutor(callers) as pool:
        granted = {name for name in pool.map(call, range(callers)) if name}
    assert len(granted) + len(reasons) == callers
    assert set(reasons) <= {"LIMIT_EXHAUSTED", "LIMIT_WAIT_FOR_HOLDS"}
    return sorted(granted)


def test_a_limit_of_twenty_grants_twenty_over_all_processes(tmp_path: Path) -> None:
    allow(tmp_path, 20)
    with service(tmp_path, 3) as running:
        granted = granted_by(running, 2)
        granted += granted_of(running.address, 64)
        # Administration has one place, and sees what all of them did.
        with Admin(running.admin_address, timeout_s=PATIENCE_S) as admin:
            (limit,) = admin.limits({"team": "any"})
    assert len(granted) == 20
    assert limit.held == 20
    with closing(store(tmp_path)) as ledger:
        assert {row.id for row in ledger.decisions()} == set(granted)
        assert check(ledger).violations == []


def test_with_postgresql_each_process_has_the_store_and_nobody_owns_it(tmp_path: Path) -> None:
    with database() as address, service(tmp_path, 2, "--ledger", address) as running:
        with Admin(running.admin_address, timeout_s=PATIENCE_S) as admin:
            admin.set_limit(
                limit_pb2.Limit(
                    limit_id="calls",
                    unit=limit_pb2.UNIT_REQUESTS,
                    window=limit_pb2.WINDOW_TOTAL,
                    hard=20,
                )
            )
        granted = granted_by(running, 2)
        granted += granted_of(running.address, 40)
        assert len(granted) == 20
        assert set(running.numbers()) == {"serving-1", "serving-2"}


def test_a_client_with_several_channels_is_answered_by_every_process_though_one_dies(
    tmp_path: Path,
) -> None:
    def answered_by(names: set[str]) -> set[str]:
        """The processes that made these decisions; the log may come a little later."""
        found: dict[str, str] = {}

        def are_there() -> bool:
            found.update({one["decision_id"]: one["process"] for one in running.lines("routed")})
            return names <= set(found)

        wait_until(are_there)
        return {found[name] for name in names}

    with service(tmp_path, 2) as running:
        with Caller(running.address, timeout_s=PATIENCE_S) as single:
            assert len(answered_by({single.route("hello").id for _ in range(8)})) == 1
        # By chance all of them reach the same process, once in 32,768 runs.
        with Router(running.address, timeout_s=PATIENCE_S, channels=16) as client:
            names = {client.route("hello").id for _ in range(32)}
            assert answered_by(names) == {"serving-1", "serving-2"}
            os.kill(running.numbers()["serving-2"], signal.SIGKILL)
            later = {client.route("hello").id for _ in range(32)}
            assert "serving-1" in answered_by(later)


class Load:
    """Callers that route and settle until they are told to stop, and what they were told."""

    def __init__(self, address: str, callers: int) -> None:
        self._address = address
        self._stop = threading.Event()
        self.decided: list[str] = []
        self.settled: list[str] = []
        self.refused: list[CallFailed] = []
        self._threads = [threading.Thread(target=self._call) for _ in range(callers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def _call(self) -> None:
        while not self._stop.is_set():
            with Caller(self._address, timeout_s=60) as client:
                try:
                    name = client.route("What is 2 + 2?", request_id=str(uuid.uuid4())).id
                    self.decided.append(name)
                    client.settle(name, input_tokens=1, output_tokens=1)
                    self.settled.append(name)
                except CallFailed as error:
                    self.refused.append(error)


def more(done: list[str], by: int = 10) -> None:
    """Wait until more is done."""
    before = len(done)
    wait_until(lambda: len(done) >= before + by)


def test_whoever_is_killed_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    most = 100_000
    allow(tmp_path, most)
    with service(tmp_path, 2) as running:
        with Load(running.address, 8) as load:
            for name in ("serving-2", OWNER, "serving-1", OWNER):
                more(load.settled)
                before = running.numbers()[name]
                os.kill(before, signal.SIGKILL)
                wait_until(lambda name=name, before=before: (
                    running.numbers().get(name, before) != before
                ))  # fmt: skip
            more(load.settled)
        wait_until(lambda: set(running.statuses().values()) == {"SERVING"})
    # Whoever tries again gets an answer: no call failed.
    assert load.refused == []
    with closing(store(tmp_path)) as ledger:
        found = check(ledger)
        assert found.violations == []
        for name in load.settled:
            row = ledger.decision(name)
            assert row is not None
            assert row.state is HoldState.SETTLED
        assert all(ledger.decision(name) is not None for name in load.decided)


def test_a_process_that_is_asked_to_end_drains_and_is_replaced(tmp_path: Path) -> None:
    with service(tmp_path, 2) as running, Load(running.address, 4) as load:
        for name in ("serving-1", "serving-2"):
            more(load.settled)
            before = running.numbers()[name]
            os.kill(before, signal.SIGTERM)
            wait_until(lambda name=name, before=before: (
                running.numbers().get(name, before) != before
            ))  # fmt: skip
        more(load.settled)
    assert load.refused == []
    assert {line["name"] for line in running.lines("process_ended")} == {"serving-1", "serving-2"}
    assert running.lines("process_died") == []


def test_calls_in_flight_finish_when_the_service_gets_sigterm(tmp_path: Path) -> None:
    answered: list[str] = []
    codes: list[str] = []

    def keep_calling() -> None:
        with Caller(running.address, timeout_s=PATIENCE_S, attempts=1) as client:
            while True:
                try:
                    answered.append(client.route("What is 2 + 2?").id)
                except CallFailed as error:
                    codes.append(error.code)
                    return

    with service(tmp_path, 2, "--queue-wait-s", "60") as running:
        callers = [threading.Thread(target=keep_calling) for _ in range(8)]
        for caller in callers:
            caller.start()
        wait_until(lambda: len(answered) > 2 * len(callers))
        # As a terminal or an init system may do it: to every process at once.
        for number in [running.process.pid, *running.numbers().values()]:
            os.kill(number, signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0
        for caller in callers:
            caller.join(PATIENCE_S)
    assert set(codes) <= {"UNAVAILABLE", "CANCELLED"}
    assert running.lines("failed") + running.lines("process_died") == []
    with closing(store(tmp_path)) as ledger:
        rows = {row.id for row in ledger.decisions(count=10_000)}
    # What was booked was also answered, and the other way round.
    assert rows == set(answered)


def test_a_change_of_the_log_level_reaches_the_supervisor(tmp_path: Path) -> None:
    log, config = tmp_path / "log", tmp_path / "mitsumori.yaml"
    config.write_text("log_level: warning\n")
    command = [sys.executable, "-m", "router", "serve", "--config", str(config)]
    command += ["--port", "0", "--processes", "2", "--admin-port", "0"]
    command += ["--ledger", f"sqlite:{tmp_path / 'ledger.sqlite'}"]
    with (
        log.open("a") as out,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out, text=True) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("serving on ").strip()
        running = Service(address, process, log)
        assert running.lines("process_started") == []
        config.write_text("log_level: info\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: running.lines("log_level_changed") != [])
        (changed,) = running.lines("log_level_changed")
        assert (changed["process"], changed["now"]) == ("supervisor", "info")
        max(psutil.Process(process.pid).children(), key=lambda one: one.pid).kill()
        wait_until(lambda: running.lines("process_started") != [])
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_each_process_has_its_own_health(tmp_path: Path) -> None:
    with service(tmp_path, 2) as running:
        everybody = {OWNER, "serving-1", "serving-2"}
        wait_until(lambda: running.statuses() == dict.fromkeys(everybody, "SERVING"))
        number = running.numbers()["serving-2"]
        os.kill(number, signal.SIGSTOP)  # it lives, and answers nobody
        shown = listed(running.admin_address, until="NOT_SERVING  mitsumori.process.serving-2")
        assert "SERVING      mitsumori.process.serving-1" in shown
        assert "SERVING      the server as a whole" in shown
        os.kill(number, signal.SIGCONT)
        listed(running.admin_address, until="SERVING      mitsumori.process.serving-2")


def listed(address: str, *, until: str) -> list[str]:
    """What ``mitsumori health --all`` prints, once a line is in it."""
    shown: list[str] = []

    def is_there() -> bool:
        shown[:] = run(
            "health", "--all", "--server", address, "--timeout", "60"
        ).stdout.splitlines()
        return until in shown

    wait_until(is_there)
    return shown


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "router", *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_second_service_on_the_same_file_is_refused(tmp_path: Path) -> None:
    with service(tmp_path, 2):
        for processes in ("1", "2"):
            second = run(
                "serve", "--processes", processes, "--port", "0", "--admin-port", "0",
                "--ledger", f"sqlite:{tmp_path / 'ledger.sqlite'}", "--log-level", "error",
            )  # fmt: skip
            assert second.returncode == 2
            assert "is being written by another process" in second.stderr
            assert second.stderr.count("\n") == 1
            assert second.stdout == ""


def test_without_their_supervisor_the_others_end_and_leave_the_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path_factory.mktemp("t")
    monkeypatch.setenv("TMPDIR", str(temporary))

    def killed() -> None:
        with service(tmp_path, 2) as running:
            numbers.update(running.numbers())
            (folder,) = temporary.glob("mitsumori-*")
            (place,) = folder.iterdir()
            assert (folder.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o700, 0o600)
            with Caller(running.address, timeout_s=PATIENCE_S) as client:
                acknowledged.append(client.route("What is 2 + 2?").id)
            running.process.kill()

    numbers: dict[str, int] = {}
    acknowledged: list[str] = []
    with pytest.raises(Exception, match="stopped with code -9"):
        killed()
    assert set(numbers) == {OWNER, "serving-1", "serving-2"}
    wait_until(lambda: not any(map(psutil.pid_exists, numbers.values())))
    with closing(store(tmp_path)) as ledger:
        assert [row.id for row in ledger.decisions()] == acknowledged
    assert list(temporary.glob("mitsumori-*")) == []


def _better(bundle: Path) -> None:
    """Another version of the same bundle."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["created"] = "2031-01-01T00:00:00Z"
    scratch = bundle / "new"
    scratch.write_text(json.dumps(manifest))
    scratch.replace(bundle / "manifest.json")


def test_every_process_takes_a_new_bundle_when_the_service_gets_sighup(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, bundle)
    words = ("--bundle", str(bundle), "--encoders", str(ENCODERS), "--reload-every-s", "0")
    with service(tmp_path, 2, *words) as running:
        _better(bundle)
        running.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                {line["process"] for line in running.lines("bundle_swapped")}
                == {"serving-1", "serving-2"}
            )
        )


BROKEN: dict[str, tuple[Callable[[Path], tuple[str, ...]], str]] = {
    "bundle": (lambda folder: ("--bundle", str(folder)), "is not a bundle"),
    "ledger": (lambda folder: ("--ledger", f"sqlite:{folder}"), "is no regular file"),
}


@pytest.mark.parametrize(("flags", "message"), BROKEN.values(), ids=BROKEN)
def test_what_keeps_a_process_from_starting_is_said_once(
    tmp_path: Path, flags: Callable[[Path], tuple[str, ...]], message: str
) -> None:
    words = ("--processes", "2", "--port", "0", "--admin-port", "0", "--ledger", "memory:")
    words += ("--log-level", "error")
    refused = run("serve", *words, *flags(tmp_path))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: ")
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert refused.stdout == ""


def test_what_each_process_measures_adds_up_and_settings_change_in_all(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("metrics_port: 0\nreload_every_s: 0\nmax_prompt_bytes: 1000\n")
    with service(tmp_path, 2, "--config", str(settings)) as running:
        for number in range(30):
            with Caller(running.address, timeout_s=PATIENCE_S) as client:
                client.route(f"What is {number} + {number}?")
        assert sum(measured(running, "mitsumori_decisions_total")) == 30
        # The commits of the ledger's owner are told to those who measure, every two seconds.
        wait_until(lambda: sum(measured(running, "mitsumori_ledger_commit_seconds_count")) >= 30)
        settings.write_text("metrics_port: 0\nreload_every_s: 0\nmax_prompt_bytes: 10\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                {line["process"] for line in running.lines("settings_swapped")}
                == {"serving-1", "serving-2"}
            )
        )
        with (
            Caller(running.address, timeout_s=PATIENCE_S) as client,
            pytest.raises(CallFailed, match="the limit of 10"),
        ):
            client.route("What is 12345 + 12345?")


def measured(running: Service, name: str) -> list[float]:
    """The sum of a metric in each process that serves."""
    addresses = [line.get("metrics_address") for line in running.serving().values()]
    texts = [
        httpx.get(f"http://{one}/metrics", timeout=PATIENCE_S).text for one in addresses if one
    ]
    assert len(texts) == 2
    return [
        sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))
        for text in texts
    ]
