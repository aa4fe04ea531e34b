"""One writer of a SQLite file, whatever name it is opened by; and a file that disappears underneath."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from router.core.errors import Unavailable
from router.ledger.base import Granted
from router.ledger.sqlite.file import back_up
from router.ledger.sqlite.ledger import SqliteLedger
from tests.router.ledger.builders import ManualClock, hold

ROOT = Path(__file__).parents[3]


def opened_by_another_process(path: Path) -> str:
    """What a process says that opens the store to write."""
    code = (
        "from pathlib import Path; from router.ledger.sqlite.ledger import SqliteLedger;"
        f"SqliteLedger(Path({str(path)!r})); print('opened')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_a_symbolic_link_leads_to_the_same_lock(ledger: SqliteLedger, path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    assert "being written by another process" in opened_by_another_process(link)
    with pytest.raises(Unavailable, match="being written by another process"):
        SqliteLedger(link)
    assert isinstance(ledger.hold(hold("a", 1)), Granted)


def test_a_linked_directory_leads_to_the_same_lock(ledger: SqliteLedger, path: Path) -> None:
    link = path.parent.parent / f"{path.parent.name}-link"
    link.symlink_to(path.parent)
    assert "being written by another process" in opened_by_another_process(link / path.name)


def test_a_lock_file_that_somebody_removed_is_no_way_in(ledger: SqliteLedger, path: Path) -> None:
    path.with_name("ledger.db.lock").unlink()
    assert "being written by another process" in opened_by_another_process(path)
    path.with_name("ledger.db.lock").unlink()
    with pytest.raises(Unavailable, match="being written by another process"):
        SqliteLedger(path)


def test_a_store_that_was_moved_is_locked_under_its_new_name(
    ledger: SqliteLedger, path: Path
) -> None:
    moved = path.rename(path.with_name("moved.db"))
    assert "being written by another process" in opened_by_another_process(moved)


def test_a_hard_link_is_refused_for_it_would_have_a_log_of_its_own(tmp_path: Path) -> None:
    path, link = tmp_path / "ledger.db", tmp_path / "other" / "link.db"
    SqliteLedger(path).close()
    link.parent.mkdir()
    os.link(path, link)
    for name in (path, link):
        with pytest.raises(Unavailable, match=r"2 names .*hard links") as caught:
            SqliteLedger(name)
        assert caught.value.reason == "STORE_HAS_LINKS"
    link.unlink()
    SqliteLedger(path).close()


def test_a_refused_opening_leaves_the_locks_of_sqlite_alone(
    ledger: SqliteLedger, path: Path
) -> None:
    # Whoever closes a file loses all locks of SQLite that its process has on it; a reader of another process
    # that leaves as the last one would then remove the log, with what is only there.
    ledger.hold(hold("a", 1))
    with pytest.raises(Unavailable):
        SqliteLedger(path)
    code = (
        "import apsw, sys; c = apsw.Connection(sys.argv[1]);"
        "c.execute('SELECT count(*) FROM decisions').fetchall(); c.close()"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name("ledger.db-wal").exists()
    ledger.hold(hold("b", 1))
    ledger.close()
    with closing(SqliteLedger(path, ManualClock())) as again:
        assert [made.id for made in again.decisions()] == ["a", "b"]


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_a_store_that_is_deleted_underneath_acknowledges_nothing_more(
    ledger: SqliteLedger, path: Path, what: str
) -> None:
    ledger.hold(hold("a", 1))
    away = path.rename(path.with_name("away.db"))
    if what == "replaced":
        path.write_bytes(b"")
    for call in (lambda: ledger.hold(hold("b", 1)), ledger.check, ledger.decisions, ledger.expire):
        with pytest.raises(Unavailable, match="deleted or replaced") as caught:
            call()
        assert caught.value.reason == "STORE_LOST"
        assert str(path.parent) not in caught.value.message
    away.replace(path)
    assert isinstance(ledger.hold(hold("b", 1)), Granted)
    ledger.check()


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_a_log_that_is_deleted_underneath_takes_nothing_acknowledged_with_it(
    ledger: SqliteLedger, path: Path, what: str
) -> None:
    ledger.hold(hold("a", 1))
    log = path.with_name("ledger.db-wal")
    log.unlink()
    if what == "replaced":
        log.write_bytes(b"")
    for call in (lambda: ledger.hold(hold("b", 1)), ledger.check, ledger.decisions, ledger.expire):
        with pytest.raises(
            Unavailable, match="log beside the store was deleted or replaced"
        ) as caught:
            call()
        assert caught.value.reason == "STORE_LOST"
        assert str(path.parent) not in caught.value.message
    # What a process finds that starts after this one was killed.
    after = path.with_name("after.db")
    after.write_bytes(path.read_bytes())
    with closing(SqliteLedger(after, ManualClock())) as again:
        assert [made.id for made in again.decisions()] == ["a"]


def test_a_log_that_comes_back_is_used_again(ledger: SqliteLedger, path: Path) -> None:
    ledger.hold(hold("a", 1))
    log = path.with_name("ledger.db-wal")
    away = log.rename(path.with_name("away"))
    with pytest.raises(Unavailable):
        ledger.hold(hold("b", 1))
    away.rename(log)
    assert isinstance(ledger.hold(hold("b", 1)), Granted)
    assert [made.id for made in ledger.decisions()] == ["a", "b"]


def test_a_pipe_or_a_directory_is_no_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Unavailable, match="no regular file"):
        SqliteLedger(tmp_path / "pipe")
    with pytest.raises(Unavailable):
        SqliteLedger(tmp_path)


def test_only_the_user_of_the_server_can_read_the_files(tmp_path: Path) -> None:
    path, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    mask = os.umask(0o022)
    try:
        with closing(SqliteLedger(path, ManualClock())) as store:
            store.hold(hold("a", 1))
            back_up(path, copy)
            files = sorted(tmp_path.iterdir())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
    finally:
        os.umask(mask)
    assert {"ledger.db", "ledger.db-wal", "ledger.db.lock", "copy.db"} <= modes.keys()
    assert set(modes.values()) == {0o600}
