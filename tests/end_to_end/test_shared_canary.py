"""Real server processes on one store: they judge a canary together, and halt it for all and for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.ledger_postgres import server as postgres
from mitsumori import Admin, Router
from mitsumori.v1 import admin_pb2
from router.cli.demo import serving
from tests.end_to_end.test_shared_health import Caller, Process, one_of_each
from tests.readiness import PATIENCE_S, wait_until

DEAR = 'rules: [{name: all-is-done-well, when: "true", then: {tier_floor: high}}]\n'
PROCESSES = ("--processes", "2", "--admin-port", "0")


@contextmanager
def running(
    folder: Path, name: str, ledger: str, *flags: str, run: str = "one"
) -> Iterator[Process]:
    """A server with a canary for half of the requests, which exchanges what it knows all the time."""
    (folder / "dear.yaml").write_text(DEAR)
    config = folder / f"{name}.yaml"
    config.write_text(
        f"share_every_s: 0.05\ncanary: {{rules: {folder / 'dear.yaml'}, share: 0.5, run: {run}}}\n"
    )
    words = ["--ledger", ledger, "--config", str(config), "--log-level", "info", *flags]
    log = folder / f"{name}.log"
    with log.open("a") as out, serving(*words, log=out) as (address, _):
        yield Process(address, log)


def came_to(address: str) -> admin_pb2.GetCanaryResponse:
    with Admin(address, timeout_s=PATIENCE_S) as admin:
        return admin.canary()


def counted(address: str) -> int:
    """Settled calls of both sides, as a process knows them."""
    return next(
        each.canary_calls + each.rest_calls
        for each in came_to(address).comparisons
        if each.check == "errors"
    )


def takes(client: Router) -> bool:
    """Whether a canary answers the next call of a caller, which settles it: badly, the rest well."""
    decision = client.route("Say hello.")
    took = any(each.code == "CANARY" for each in decision.reasons)
    client.settle(decision.id, input_tokens=10, output_tokens=10, quality=float(not took))
    return took


def side_by_side(client: Router) -> list[bool]:
    """Whether a canary answers each of twelve calls."""
    return [takes(client) for _ in range(12)]


def until_halted(client: Router, address: str) -> None:
    """Settle calls in one process until another one, or the same, says that the canary is halted."""
    for _ in range(200):
        takes(client)
        if came_to(address).HasField("halt"):
            return
    raise AssertionError("it was not halted")


def decides_nothing(client: Router) -> None:
    wait_until(lambda: not any(side_by_side(client)))


def test_processes_on_one_sqlite_file_add_up_and_a_halt_is_one_for_all_and_their_successors(
    tmp_path: Path,
) -> None:
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    with running(tmp_path, "first", ledger, *PROCESSES) as service, one_of_each(service) as both:
        admin = service.lines("serving")[-1]["admin_address"]
        for client in both:
            for _ in range(6):
                takes(client)
        wait_until(lambda: counted(admin) == 12)
        # Administration is at the first process, where nothing of what follows is settled.
        until_halted(both[1], admin)
        decides_nothing(both[0])
        decides_nothing(both[1])
        halt, calls = came_to(admin).halt, counted(admin)
        assert halt.check == "quality"
        assert {line["process"] for line in service.lines("canary_halted")} == {
            "serving-1",
            "serving-2",
        }
    assert not list(tmp_path.glob("*.json"))
    with (
        running(tmp_path, "second", ledger) as again,
        Router(again.address, timeout_s=PATIENCE_S) as client,
    ):
        assert came_to(again.address).halt == halt
        assert counted(again.address) == calls
        assert not any(side_by_side(client))
    with (
        running(tmp_path, "third", ledger, run="two") as anew,
        Router(anew.address, timeout_s=PATIENCE_S) as client,
    ):
        assert not came_to(anew.address).HasField("halt")
        assert counted(anew.address) == 0
        assert any(side_by_side(client))


def test_replicas_on_postgresql_add_up_and_a_halt_is_one_for_all_and_their_successors(
    tmp_path: Path,
) -> None:
    with postgres() as database:
        ledger = database.get_uri()
        with (
            running(tmp_path, "one", ledger) as one,
            running(tmp_path, "other", ledger) as other,
            Caller(one.address, timeout_s=PATIENCE_S) as to_one,
            Caller(other.address, timeout_s=PATIENCE_S) as to_other,
        ):
            for client in (to_one, to_other):
                for _ in range(6):
                    takes(client)
            wait_until(lambda: counted(one.address) == counted(other.address) == 12)
            until_halted(to_one, other.address)
            decides_nothing(to_one)
            decides_nothing(to_other)
            halt, calls = came_to(one.address).halt, counted(one.address)
            assert came_to(other.address).halt == halt
        with (
            running(tmp_path, "third", ledger) as third,
            Router(third.address, timeout_s=PATIENCE_S) as client,
        ):
            assert came_to(third.address).halt == halt
            assert counted(third.address) == calls
            assert not any(side_by_side(client))


def test_damaged_rows_in_a_ledger_stop_no_start_and_no_canary(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with (
        running(tmp_path, "first", f"sqlite:{path}") as service,
        Router(service.address, timeout_s=PATIENCE_S) as client,
    ):
        for _ in range(6):
            takes(client)
    with closing(sqlite3.connect(path)) as store, store:
        changed = "UPDATE shared_state SET value = '{' WHERE kind = 'canary_tallies'"
        assert store.execute(changed).rowcount == 1
    with (
        running(tmp_path, "second", f"sqlite:{path}") as again,
        Router(again.address, timeout_s=PATIENCE_S) as client,
    ):
        (line,) = again.lines("canary_row_damaged")
        assert line["kind"] == "canary_tallies"
        assert counted(again.address) == 0
        assert any(side_by_side(client))
        assert counted(again.address) == 12
