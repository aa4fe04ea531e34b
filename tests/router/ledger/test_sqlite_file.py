"""The file of an SQLite store: one writer, one schema, backups, and nothing in it that was erased."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from router.core.errors import BadArtifact, Unavailable
from router.ledger.base import Granted, HoldState, StoredDecision
from router.ledger.check import check
from router.ledger.sqlite import file, queries
from router.ledger.sqlite import ledger as sqlite
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import START, ManualClock, balance, hold, limit, report, task

ROOT = Path(__file__).parents[3]


# ── one writer, migrations, foreign files ─────────────────────────────────────────────────────────


def test_a_second_writer_is_refused_in_words(ledger: SqliteLedger, path: Path) -> None:
    with pytest.raises(Unavailable, match="being written by another process") as caught:
        SqliteLedger(path)
    assert caught.value.reason == "STORE_IN_USE"
    other = subprocess.run(
        [sys.executable, "-c", f"from pathlib import Path; from router.ledger.sqlite.ledger import *;"
         f"SqliteLedger(Path({str(path)!r}))"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "being written by another process" in other.stderr
    assert isinstance(ledger.hold(hold("a", 1)), Granted)


def test_a_ledger_and_its_backup_are_the_owners_alone(ledger: SqliteLedger, path: Path) -> None:
    ledger.hold(hold("a", 1))
    file.back_up(path, path.with_name("copy"))
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert {path.name, f"{path.name}-wal", f"{path.name}.lock", "copy"} <= set(modes)
    assert set(modes.values()) == {0o600}


def test_a_failed_opening_leaves_no_lock(path: Path) -> None:
    path.write_bytes(b"this is no database, and it is long enough to be looked at" * 20)
    for _ in range(2):
        with pytest.raises(BadArtifact, match="is not a ledger"):
            SqliteLedger(path)


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    with pytest.raises(BadArtifact, match="another program"):
        SqliteLedger(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    SqliteLedger(path).close()
    newer = apsw.Connection(str(path))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(BadArtifact, match="newer version of mitsumori") as caught:
        SqliteLedger(path)
    assert caught.value.reason == "SCHEMA_TOO_NEW"


def test_an_older_schema_is_brought_up_to_date_and_keeps_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = SqliteLedger(path, ManualClock())
    first.hold(hold("a", 10))
    first.close()
    added = "CREATE TABLE later (x INTEGER) STRICT; INSERT INTO later VALUES (7);"
    monkeypatch.setattr(file, "_MIGRATIONS", (*file._MIGRATIONS, added))
    for _ in range(2):  # the second time there is nothing to do
        second = SqliteLedger(path, ManualClock())
        assert second.decision("a") is not None
        assert second._writer.connection.execute("SELECT x FROM later").fetchall() == [(7,)]
        second.close()


def test_a_store_of_the_first_schema_keeps_its_rows_and_learns_what_was_quoted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(file, "_MIGRATIONS", file._MIGRATIONS[:1])
        file.open_writer(path, busy_timeout_s=1).close()
    old = apsw.Connection(str(path))
    old.execute('INSERT INTO label_sets VALUES (1, \'{"tenant":"acme"}\')')
    for created, name, record in (
        (7, "a", '{"candidates":[{"price_nanos":[5,7,9,11]}]}'),
        (8, "b", "{}"),
    ):
        old.execute(
            "INSERT INTO decisions (created, id, tenant, fingerprint, state, expires, label_set,"
            " held_money, held_tokens, held_requests, held_concurrent, late, overage, reply, record,"
            " usage) VALUES (?, ?, 'acme', 'f', 1, ?, 1, 10, 0, 1, 1, 0, 0, ?, ?, '{}')",
            (created, name, 2 * 10**15, f"reply to {name}".encode(), record),
        )
    old.close()
    store = SqliteLedger(path, ManualClock())
    assert {made.id: made.quoted for made in store.decisions()} == {"a": 7, "b": 0}
    assert store.earlier_reply("b", "f", "acme") == b"reply to b"
    assert store.settle(report("a", 12)).overage == 2
    assert check(store).violations == []
    store.close()


@pytest.fixture
def second_schema(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of schema 2, whose table of replies and records is `papers`, with a decision in each state."""
    now = ManualClock()
    store = SqliteLedger(path, now)
    store.set_limit(limit(hard=1000))
    for name in ("settled", "released", "expired"):
        store.hold(hold(name, 10, ttl_s=60, record={"of": name}))
    store.settle(report("settled", 7))
    store.release("released", "acme")
    now.advance(seconds=61)
    store.hold(hold("held", 20, record={"of": "held"}))
    store.hold(hold("quoted", None))
    store.close()
    old = tmp_path / "old.db"
    with monkeypatch.context() as then:
        then.setattr(file, "_MIGRATIONS", file._MIGRATIONS[:2])
        with closing(file.open_writer(old, busy_timeout_s=1)) as connection:
            connection.execute("DELETE FROM meta; ATTACH ? AS new", (str(path),))
            tables = connection.execute(
                "SELECT name FROM main.sqlite_schema WHERE type = 'table'"
            ).fetchall()
            for (name,) in tables:
                source = "payloads" if name == "papers" else name
                columns = "created, reply, record" if name == "papers" else "*"
                connection.execute(f"INSERT INTO main.{name} SELECT {columns} FROM new.{source}")
    return old


def test_a_store_without_tasks_is_read_as_it_is_and_then_takes_them(path: Path) -> None:
    SqliteLedger(path, ManualClock()).close()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("DROP TABLE tasks; DROP TABLE turns; PRAGMA user_version = 5")
    with closing(file.open_reader(path)) as reader:
        assert queries.tasks(reader, {}, None, 10) == []
        assert queries.open_holds(reader) == (0, 0)
    with closing(SqliteLedger(path, ManualClock())) as store:
        assert isinstance(store.hold(task("t", 10)), Granted)
        assert isinstance(store.hold(hold("a", 10, task="t")), Granted)
        assert [made.task for made in store.decisions()] == ["t"]


def contents(store: SqliteLedger) -> tuple[list[Any], ...]:
    return store.decisions(), list(store.rows()), list(store.balances()), store.limits()


def test_a_store_of_the_second_schema_keeps_every_row(path: Path, second_schema: Path) -> None:
    now = ManualClock()
    with closing(SqliteLedger(path, now)) as new, closing(SqliteLedger(second_schema, now)) as old:
        assert contents(old) == contents(new)
        assert {made.state for made in old.decisions()} == set(HoldState)
        assert old.earlier_reply("settled", "body of settled", "acme") == b"reply to settled"
        assert old.settle(report("held", 25)).overage == 5
        assert isinstance(old.hold(hold("after", 1)), Granted)
        assert check(old).violations == []


def test_a_store_of_the_second_schema_can_be_read_before_a_server_has_migrated_it(
    path: Path, second_schema: Path
) -> None:
    def log(path: Path) -> list[StoredDecision]:
        return file.read(
            path,
            lambda reader: queries.decisions(reader, {}, 0, None, None, 10, newest_first=False),
        )

    before = second_schema.read_bytes()
    assert log(second_schema) == log(path)
    assert len(log(second_schema)) == 5
    assert second_schema.read_bytes() == before


def test_a_reader_is_told_when_a_server_migrates_the_store_under_it(second_schema: Path) -> None:
    def read(reader: apsw.Connection) -> int:
        with file.store_errors(second_schema):
            return len(queries.decisions(reader, {}, 0, None, None, 10, newest_first=False))

    with closing(file.open_reader(second_schema)) as reader:
        assert read(reader) == 5
        SqliteLedger(second_schema).close()
        with pytest.raises(Unavailable) as caught:
            read(reader)
    assert caught.value.message == (
        f"the ledger {second_schema} was migrated while it was read; read it again"
    )
    with closing(file.open_reader(second_schema)) as again:
        assert read(again) == 5


def test_a_migration_that_fails_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteLedger(path).close()
    known = file._MIGRATIONS
    broken = "CREATE TABLE later (x); INSERT INTO nowhere VALUES (1);"
    monkeypatch.setattr(file, "_MIGRATIONS", (*known, broken))
    with pytest.raises(Unavailable, match="nowhere"):
        SqliteLedger(path)
    monkeypatch.setattr(file, "_MIGRATIONS", known)
    SqliteLedger(path).close()


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        SqliteLedger(tmp_path / "file" / "ledger.db")


# ── readers that leave no trace ───────────────────────────────────────────────────────────────────


def number_of_decisions(reader: apsw.Connection) -> int:
    return len(queries.decisions(reader, {}, 0, None, None, 10, newest_first=False))


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of every file."""
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in folder.iterdir()}


@pytest.fixture
def closed(path: Path) -> Path:
    """A store with one decision, which no server has open."""
    with closing(SqliteLedger(path, ManualClock())) as store:
        store.hold(hold("a", 1))
    return path


def test_reading_a_store_that_nobody_uses_leaves_nothing_beside_it(closed: Path) -> None:
    before = files_of(closed.parent)
    assert file.read(closed, number_of_decisions) == 1
    file.check_file(closed)
    assert files_of(closed.parent) == before


@pytest.mark.parametrize("name", ["a b", "50% off?x=1", "#1", "東京", "'quoted'"])
def test_a_store_of_any_name_is_read(closed: Path, name: str, tmp_path: Path) -> None:
    renamed = closed.rename(closed.with_name(name))
    link = tmp_path / "link"
    link.symlink_to(renamed)
    before = files_of(renamed.parent)
    assert file.read(renamed, number_of_decisions) == 1
    assert file.read(link, number_of_decisions) == 1
    assert files_of(renamed.parent) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_store_is_read_where_this_user_may_not_write(closed: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.sqlite"
        shutil.copy(closed, copy)
        copy.chmod(0o444)
        copy.parent.chmod(0o555)
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError):
                (copy.parent / "other").touch()
            assert file.read(copy, number_of_decisions) == 1
        finally:
            os.seteuid(0)
        assert [each.name for each in copy.parent.iterdir()] == ["copy.sqlite"]


def test_beside_a_running_server_the_latest_decision_is_read_and_no_file_is_made(
    ledger: SqliteLedger, path: Path
) -> None:
    ledger.hold(hold("a", 1))
    before = set(files_of(path.parent))
    assert f"{path.name}-wal" in before
    assert file.read(path, number_of_decisions) == 1
    ledger.hold(hold("b", 1))
    assert file.read(path, number_of_decisions) == 2
    assert set(files_of(path.parent)) == before
    ledger.close()
    assert set(files_of(path.parent)) == before - {f"{path.name}-wal", f"{path.name}-shm"}


def test_a_store_that_was_killed_is_read_with_what_its_log_has(path: Path) -> None:
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from router.ledger.sqlite.ledger import SqliteLedger\n"
        "from tests.router.ledger.builders import ManualClock, hold\n"
        "SqliteLedger(Path(sys.argv[1]), ManualClock()).hold(hold('a', 1))\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, check=False)
    before = files_of(path.parent)
    assert f"{path.name}-wal" in before
    assert file.read(path, number_of_decisions) == 1
    after = files_of(path.parent)
    assert set(after) == set(before)
    for name in (path.name, f"{path.name}-wal"):
        assert after[name] == before[name]


def test_a_store_that_changes_while_it_is_read_is_read_again(closed: Path) -> None:
    found = []

    def run(reader: apsw.Connection) -> int:
        found.append(number_of_decisions(reader))
        if len(found) == 1:  # a server starts, works, and stops
            with closing(SqliteLedger(closed, ManualClock())) as store:
                store.hold(hold("b", 1))
        return found[-1]

    assert file.read(closed, run) == 2
    assert found == [1, 2]


def test_a_server_that_starts_while_a_store_is_read_does_not_disturb_it(closed: Path) -> None:
    found = []

    def run(reader: apsw.Connection) -> int:
        with closing(SqliteLedger(closed, ManualClock())) as store:
            store.hold(hold("b", 1))
            found.append(number_of_decisions(reader))  # as it was when the reading began
        return found[-1]

    assert file.read(closed, run) == 2
    assert found == [1, 2]


def test_a_damaged_store_is_said_to_be_damaged_and_left_alone(closed: Path) -> None:
    content = bytearray(closed.read_bytes())
    content[100:4096] = b"x" * (4096 - 100)
    closed.write_bytes(content)
    before = files_of(closed.parent)
    with pytest.raises(Unavailable, match="is damaged"):
        file.read(closed, number_of_decisions)
    assert files_of(closed.parent) == before


# ── backup, labels, the size of things ────────────────────────────────────────────────────────────


def test_a_backup_is_a_whole_store_while_holds_go_on(
    ledger: SqliteLedger, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.hold_many([hold(f"{number}", 1, record={"x": "y" * 500}) for number in range(200)])
    seen = []

    def progress(done: int, whole: int) -> None:
        seen.append((done, whole))
        ledger.hold(hold(f"meanwhile {done}", 1))

    monkeypatch.setattr(file, "_BACKUP_PAGES", 10)
    file.back_up(path, tmp_path / "copy.db", progress)
    assert len(seen) > 2
    assert seen[-1][0] == seen[-1][1]
    copy = SqliteLedger(tmp_path / "copy.db", ManualClock())
    assert len(copy.decisions(count=1000)) == 200  # as it was when the backup began
    assert check(copy).violations == []
    copy.close()
    assert not (tmp_path / "copy.db.part").exists()


def test_a_backup_that_cannot_be_written_is_unavailable(ledger: SqliteLedger, path: Path) -> None:
    with pytest.raises(Unavailable):
        file.back_up(path, path.parent / "nowhere" / "copy.db")
    assert isinstance(ledger.hold(hold("a", 1)), Granted)


def test_what_was_erased_is_not_left_in_the_file(ledger: SqliteLedger, path: Path) -> None:
    for name in ("a", "b"):
        ledger.hold(hold(name, record={"prompt": f"canary of {name} " * 500}))
    ledger.settle(report("a"))
    assert ledger.erase({}, START.replace(year=2100)) == 1
    ledger.close()
    content = path.read_bytes()
    assert b"canary of b" in content
    assert b"canary of a" not in content


def test_erased_labels_leave_the_file_with_their_last_decision(ledger: SqliteLedger) -> None:
    for name, user in (("a", "ann"), ("b", "ann"), ("c", "bob")):
        ledger.hold(hold(name, 1, user=user))
        ledger.release(name, "acme")
    ledger.erase({"user": "ann"}, START.replace(year=2100))
    texts = [
        row[0]
        for row in ledger._writer.connection.execute(
            "SELECT labels FROM label_sets UNION ALL SELECT value FROM label_values"
        )
    ]
    assert not any("ann" in text for text in texts)
    assert any("bob" in text for text in texts)
    assert isinstance(ledger.hold(hold("d", 1, user="ann")), Granted)
    assert [made.id for made in ledger.decisions(labels={"user": "ann"})] == ["d"]


def test_erasing_goes_on_in_parts(ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_ERASED_AT_ONCE", 3)
    for number in range(10):
        ledger.hold(hold(str(number), 1))
        if number != 4:
            ledger.settle(report(str(number), 1))
    assert ledger.erase({"tenant": "acme"}, START.replace(year=2100)) == 9
    assert balance(ledger) == (9, 1)
    assert check(ledger).violations == []


def test_a_label_carried_by_very_many_sets_is_found_too(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.ledger.sqlite.queries._MAX_MERGED", 3)
    ledger.hold_many(
        [hold(str(number), 1, user=f"user {number % 7}", team="blue") for number in range(20)]
    )
    ledger.hold(hold("other", 1, team="red"))
    page = ledger.decisions(labels={"team": "blue"}, after="4", count=5)
    assert [made.id for made in page] == ["5", "6", "7", "8", "9"]
