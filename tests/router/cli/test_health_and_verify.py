"""The commands that probes and restores rely on."""

from __future__ import annotations

import json
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner, Result

import mitsumori
from router.cli.main import app
from router.core.errors import InvalidInput
from router.ledger.address import open_ledger
from router.rpc.assembly import build_reservations, build_router
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.readiness import PATIENCE_S


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_server_that_can_answer_is_healthy(server: RunningServer) -> None:
    asked = invoke("health", "--server", server.address, "--timeout", str(PATIENCE_S))
    assert (asked.exit_code, asked.output) == (0, "SERVING\n")
    process = invoke("health", "--service", "mitsumori.process", "--server", server.address)
    assert process.exit_code == 0
    unknown = invoke("health", "--service", "other", "--server", server.address)
    assert isinstance(unknown.exception, InvalidInput)
    assert "has no service 'other'; leave it out for the server as a whole" in str(
        unknown.exception
    )


def test_a_server_that_drains_is_not(settings: Settings) -> None:
    reservations = build_reservations(settings, build_router(settings), open_ledger("memory:"))
    running = start(settings, reservations)
    asked = invoke("health", "--server", running.address, "--timeout", str(PATIENCE_S))
    assert (asked.exit_code, asked.output) == (1, "NOT_SERVING\n")
    running.drain()
    gone = invoke("health", "--server", running.address)
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert gone.stderr == (
        f"error: no server answers at {running.address}; is it running (`mitsumori serve`) and reachable?\n"
    )


@pytest.fixture
def ledger(tmp_path: Path, settings: Settings) -> Path:
    """A SQLite ledger with a limit, an open hold and one settled decision."""
    path = tmp_path / "ledger.sqlite"
    store = open_ledger(f"sqlite:{path}")
    running = start(settings, build_reservations(settings, build_router(settings), store))
    invoke("limits", "set", "everything", "--hard", "5", "--server", running.address)
    with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
        client.route("What is 2 + 2?")
        client.settle(client.route("Why?").id, input_tokens=1, output_tokens=2, quality=1.0)
    running.drain()
    store.close()
    return path


def test_a_backup_of_a_sound_ledger_is_proven_and_not_touched(ledger: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    copied = invoke("backup", str(copy), "--ledger", f"sqlite:{ledger}")
    assert (copied.exit_code, copied.stderr) == (0, "")  # nothing that cron would send by mail
    before = copy.read_bytes()
    verified = invoke("verify", "--ledger", f"sqlite:{copy}")
    assert (verified.exit_code, verified.output) == (
        0,
        f"sqlite:{copy}: 2 decisions, 0 violations\n",
    )
    assert copy.read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "--ledger", "{ledger}"),
        ("backup", "{scratch}/copy", "--ledger", "{ledger}"),
        ("replay", "{ledger}"),
        ("doctor", "--ledger", "{ledger}"),
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_only_reads_leaves_nothing_beside_a_ledger(
    ledger: Path, tmp_path_factory: pytest.TempPathFactory, words: tuple[str, ...]
) -> None:
    def files() -> dict[str, tuple[bytes, int]]:
        return {
            each.name: (each.read_bytes(), each.stat().st_mtime_ns)
            for each in ledger.parent.iterdir()
        }

    before = files()
    scratch = tmp_path_factory.mktemp("scratch")
    invoked = invoke(*(word.format(ledger=f"sqlite:{ledger}", scratch=scratch) for word in words))
    assert invoked.exit_code == 0, invoked.output
    assert files() == before


def test_what_was_open_at_the_backup_is_settled_after_the_restore(
    ledger: Path, tmp_path: Path, settings: Settings
) -> None:
    copy = tmp_path / "copy.sqlite"
    invoke("backup", str(copy), "--ledger", f"sqlite:{ledger}")
    for damaged in tmp_path.glob("ledger.sqlite*"):
        damaged.unlink()
    copy.rename(ledger)
    store = open_ledger(f"sqlite:{ledger}")
    running = start(settings, build_reservations(settings, build_router(settings), store))
    listed = invoke("decisions", "--state", "held", "--server", running.address, "--json")
    [decision] = json.loads(listed.output)
    with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
        client.settle(decision["decision_id"], input_tokens=1, output_tokens=2)
    running.drain()
    store.close()
    assert invoke("verify", "--ledger", f"sqlite:{ledger}").exit_code == 0


def test_money_that_no_row_explains_is_found(ledger: Path) -> None:
    with apsw.Connection(str(ledger)) as connection:
        connection.execute("UPDATE balances SET held = held + 1")
    verified = invoke("verify", "--ledger", f"sqlite:{ledger}")
    assert verified.exit_code == 1
    assert "VIOLATION: I3" in verified.output


def test_there_is_nothing_to_verify_in_memory_or_where_no_file_is(tmp_path: Path) -> None:
    assert "ends with its server" in str(invoke("verify", "--ledger", "memory:").exception)
    assert "the address must be" in str(invoke("verify", "--ledger", "mysql:x").exception)
    nowhere = invoke("verify", "--ledger", f"sqlite:{tmp_path}/none.sqlite")
    assert "there is no ledger at" in str(nowhere.exception)
