"""Real server processes on one store: what one learns of a model, the others and their successors know."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.ledger_postgres import server, start
from mitsumori import Admin, CallFailed, Decision, Router
from mitsumori.v1 import admin_pb2
from router.cli.demo import serving
from tests.readiness import PATIENCE_S, wait_until

PROMPT = "Summarise in one sentence why the sky is blue."
OTHER_PROMPT = "Prove that every bounded sequence of real numbers has a convergent subsequence."


class Caller(Router):
    """A client with a connection of its own; those of one program otherwise share one, to one process."""

    _options = (*Router._options, ("grpc.use_local_subchannel_pool", 1))


@dataclass(frozen=True)
class Process:
    """A server on its own, or with others behind one port.

    Attributes:
        address: of RouterService.
        log: its file.
    """

    address: str
    log: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        text = self.log.read_text()
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if line["event"] == event]


@contextmanager
def running(folder: Path, name: str, ledger: str, *flags: str) -> Iterator[Process]:
    """A server whose models are left out for minutes, and which exchanges what it knows all the time."""
    config = folder / "settings.yaml"
    config.write_text("health: {wait_s: 3000, max_wait_s: 3000}\nshare_every_s: 0.05\n")
    words = ["--ledger", ledger, "--config", str(config), "--log-level", "info", *flags]
    log = folder / f"{name}.log"
    with log.open("a") as out, serving(*words, log=out) as (address, _):
        yield Process(address, log)


def failing(client: Router, prompt: str = PROMPT) -> str:
    """The model that answers a prompt, once calls to it have failed."""
    model = ""
    for _ in range(5):
        decision = client.route(prompt)
        client.settle(decision.id, input_tokens=10, output_tokens=0, outcome="server_error")
        model = decision.model
    assert client.route(prompt).model != model
    return model


def left_out(decision: Decision) -> list[str]:
    return [
        model
        for each in decision.reasons
        if each.code == "MODELS_UNHEALTHY"
        for model in each.facts
    ]


def hears_of(client: Router, model: str, prompt: str = PROMPT) -> None:
    """Wait until a process leaves out a model that nobody reported to it."""
    wait_until(lambda: model in left_out(client.route(prompt, quote_only=True)))
    assert client.route(prompt).model != model


def unhealthy(address: str) -> set[str]:
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        return {
            each.model
            for each in admin.models().models
            if each.health.state != admin_pb2.HEALTH_STATE_HEALTHY
        }


@contextmanager
def one_of_each(process: Process) -> Iterator[tuple[Router, Router]]:
    """Callers of two processes behind one port."""
    found: dict[str, Router] = {}
    with ExitStack() as opened:

        def reaches_a_new_one() -> bool:
            client = opened.enter_context(Caller(process.address, timeout_s=PATIENCE_S))
            name = client.route("hello", quote_only=True).id
            lines: list[dict[str, Any]] = []

            def is_logged() -> bool:
                lines[:] = [each for each in process.lines("routed") if each["decision_id"] == name]
                return bool(lines)

            wait_until(is_logged)
            found.setdefault(str(lines[0]["process"]), client)
            return len(found) == 2

        wait_until(reaches_a_new_one)
        yield found["serving-1"], found["serving-2"]


def test_processes_on_one_sqlite_file_know_what_one_of_them_learned(tmp_path: Path) -> None:
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    flags = ("--processes", "2", "--admin-port", "0")
    with running(tmp_path, "first", ledger, *flags) as service, one_of_each(service) as both:
        model = failing(both[1])
        hears_of(both[0], model)
        # Administration is at the first process, which has only heard of it.
        admin = service.lines("serving")[-1]["admin_address"]
        assert unhealthy(admin) == {model}
    # Nobody has to fail again after a restart.
    with (
        running(tmp_path, "second", ledger) as again,
        Router(again.address, timeout_s=PATIENCE_S) as client,
    ):
        assert left_out(client.route(PROMPT)) == [model]


def test_what_was_learned_just_before_the_end_is_known_after_it(tmp_path: Path) -> None:
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    with (
        running(tmp_path, "first", ledger, "--share-every-s", "3600") as service,
        Router(service.address, timeout_s=PATIENCE_S) as client,
    ):
        model = failing(client)
    with (
        running(tmp_path, "second", ledger) as again,
        Router(again.address, timeout_s=PATIENCE_S) as client,
    ):
        assert left_out(client.route(PROMPT)) == [model]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    with server() as found:
        yield found


def test_replicas_on_postgresql_know_what_one_of_them_learned_also_after_the_database_was_away(
    tmp_path: Path, postgres: Any
) -> None:
    ledger = postgres.get_uri()
    with (
        running(tmp_path, "one", ledger, "--metrics-port", "0") as one,
        running(tmp_path, "other", ledger) as other,
        Router(one.address, timeout_s=PATIENCE_S) as to_one,
        Router(other.address, timeout_s=PATIENCE_S) as to_other,
    ):
        model = failing(to_one)
        hears_of(to_other, model)

        def fails(process: Process, event: str) -> Callable[[], bool]:
            return lambda: any(line["job"] == "sharing" for line in process.lines(event))

        os.kill(postgres.get_pid(), signal.SIGQUIT)  # a crash
        wait_until(fails(one, "job_failed"))
        wait_until(fails(other, "job_failed"))
        # Each goes on with what it knows.
        assert unhealthy(one.address) == unhealthy(other.address) == {model}
        wait_until(lambda: age_of(one) > 0.5)
        wait_until(lambda: not postgres.get_postmaster_info().process.is_running())
        start(postgres)
        wait_until(fails(one, "job_works_again"))
        wait_until(fails(other, "job_works_again"))
        wait_until(lambda: age_of(one) < 0.5)
        second = failing(_once_more(to_other), OTHER_PROMPT)
        hears_of(_once_more(to_one), second, OTHER_PROMPT)
        assert unhealthy(one.address) == {model, second}
    with (
        running(tmp_path, "third", ledger) as third,
        Router(third.address, timeout_s=PATIENCE_S) as client,
    ):
        assert unhealthy(third.address) == {model, second}
        assert model in left_out(client.route(PROMPT))
        assert client.route(OTHER_PROMPT).model not in (model, second)


def _once_more(client: Router) -> Router:
    """The same client, once its server reaches the database again."""

    def works() -> bool:
        try:
            client.route(PROMPT)
        except CallFailed:
            return False
        return True

    wait_until(works)
    return client


def age_of(process: Process) -> float:
    """Seconds since it last exchanged what it knows, by its metrics."""
    address = process.lines("serving")[-1]["metrics_address"]
    text = httpx.get(f"http://{address}/metrics").text
    (line,) = (
        each for each in text.splitlines() if each.startswith("mitsumori_shared_state_age_seconds")
    )
    return float(line.rpartition(" ")[2])
