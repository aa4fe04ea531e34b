"""What only the SQLite store promises: nothing acknowledged is lost, and no fault is final."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import apsw
import pytest

from router.core.errors import Conflict, InvalidInput, MitsumoriError, Unavailable
from router.ledger.base import Granted, Repeated
from router.ledger.check import check
from router.ledger.sqlite import ledger as sqlite
from router.ledger.sqlite import writer
from router.ledger.sqlite.ledger import SqliteLedger
from router.ledger.sqlite.writer import Operation
from tests.readiness import PATIENCE_S, wait_until
from tests.router.ledger.builders import ManualClock, balance, hold, limit, report

ROOT = Path(__file__).parents[3]


def busy(ledger: SqliteLedger) -> threading.Event:
    """Keep the writer busy until the event is set; what is asked meanwhile waits."""
    at_work, go_on = threading.Event(), threading.Event()

    def work(_: object) -> None:
        at_work.set()
        go_on.wait(PATIENCE_S)

    ledger._writer.submit(Operation(work))
    assert at_work.wait(PATIENCE_S)
    return go_on


# ── durability ────────────────────────────────────────────────────────────────────────────────────


def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    acknowledged: dict[str, set[str]] = {"held": set(), "settled": set()}
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-m", "tests.router.ledger.writer_process", str(path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        with writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(100)]
            writer.kill()
            lines += writer.stdout.readlines()
        assert len(lines) > 10
        for line in lines:
            if line.endswith("\n"):  # the last one may be cut
                what, name = line.split()
                acknowledged[what].add(name)
        with_rows = SqliteLedger(path)
        found = check(
            with_rows, decisions=acknowledged["held"], settlements=acknowledged["settled"]
        )
        with_rows.close()
        assert found.violations == []
        assert found.decisions >= len(acknowledged["held"])


def test_everything_is_there_after_a_restart(path: Path) -> None:
    clock = ManualClock()
    first = SqliteLedger(path, clock)
    first.set_limit(limit(hard=100, scope={"user": "*"}))
    first.hold(hold("a", 60, user="ann"))
    first.hold(hold("b", 30, user="ann"))
    first.settle(report("b", 20))
    clock.advance(seconds=5)
    first.hold(hold("c", 1, user="bob"))
    first.close()
    second = SqliteLedger(path, ManualClock())  # the clock went back five seconds
    assert second.now() >= clock.moment
    assert second.limits() == [limit(hard=100, scope={"user": "*"})]
    assert balance(second, user="ann") == (20, 60)
    assert second.hold(hold("a", 60, user="ann")) == Repeated(b"reply to a")
    assert isinstance(second.hold(hold("d", 20, user="ann")), Granted)
    second.settle(report("a", 60))
    assert [made.id for made in second.decisions()] == ["a", "b", "c", "d"]
    assert check(second).violations == []
    second.close()


def test_nobody_is_answered_before_the_commit(ledger: SqliteLedger, path: Path) -> None:
    # The commit is held up; another connection must see no row, and the callers no answer, until then.
    reached, go_on = threading.Event(), threading.Event()

    def hold_up() -> bool:
        reached.set()
        go_on.wait(PATIENCE_S)
        return False

    ledger._writer.connection.set_commit_hook(hold_up)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(ledger.hold, hold(str(number))) for number in range(4)]
        assert reached.wait(PATIENCE_S)
        assert not wait(jobs, timeout=0.05, return_when=FIRST_COMPLETED).done
        assert ledger.decisions() == []
        go_on.set()
        assert all(isinstance(job.result(), Granted) for job in jobs)
    ledger._writer.connection.set_commit_hook(None)
    assert len(ledger.decisions()) == 4


def test_callers_that_wait_share_a_commit(ledger: SqliteLedger) -> None:
    commits = 0

    def count() -> bool:
        nonlocal commits
        commits += 1
        return False

    ledger._writer.connection.set_commit_hook(count)
    go_on = busy(ledger)
    with ThreadPoolExecutor(32) as pool:
        jobs = [pool.submit(ledger.hold, hold(str(number), 1)) for number in range(32)]
        wait_until(lambda: ledger._writer.waiting.qsize() == len(jobs))
        go_on.set()
        assert all(isinstance(job.result(), Granted) for job in jobs)
    ledger._writer.connection.set_commit_hook(None)
    assert commits == 2  # of what kept the writer busy, and of all the rest
    assert balance(ledger) == (0, 32)


def test_many_holds_share_few_commits_and_each_stands_for_itself(ledger: SqliteLedger) -> None:
    ledger.hold(hold("used", 1))
    results = ledger.hold_many(
        [hold(f"{number}", 1) for number in range(600)]
        + [hold("used", 1, body="another"), hold("0", 1), hold("big", 2000)]
    )
    assert all(isinstance(result, Granted) for result in results[:600])
    assert [type(result).__name__ for result in results[600:]] == [
        "Conflict",
        "Repeated",
        "Refused",
    ]
    assert balance(ledger) == (0, 601)
    with pytest.raises(InvalidInput):
        ledger.hold_many([hold("fine", 1), hold("", 1)])
    assert ledger.decision("fine") is None


def test_one_bad_operation_does_not_fail_its_neighbours(ledger: SqliteLedger) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError

    go_on = busy(ledger)
    operations = [
        sqlite._hold_operation(hold("a", 1)),
        Operation(broken),
        sqlite._hold_operation(hold("b", 1)),
    ]
    tasks = [ledger._writer.submit(operation) for operation in operations]
    go_on.set()
    assert isinstance(tasks[0].wait(PATIENCE_S), Granted)
    with pytest.raises(ZeroDivisionError):
        tasks[1].wait(PATIENCE_S)
    assert isinstance(tasks[2].wait(PATIENCE_S), Granted)
    assert balance(ledger) == (0, 2)


# ── faults: nothing is acknowledged, nothing is lost, and it goes on when the cause is gone ──────


def test_a_locked_file_is_unavailable_until_the_lock_is_gone(
    ledger: SqliteLedger, path: Path
) -> None:
    ledger.hold(hold("a", 10))
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another program has locked it"):
        ledger.hold(hold("b", 20))
    with pytest.raises(Unavailable):
        ledger.settle(report("a", 10))
    assert balance(ledger) == (0, 10)  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert isinstance(ledger.hold(hold("b", 20)), Granted)
    assert ledger.settle(report("a", 10)).repeated is False
    assert balance(ledger) == (10, 20)
    assert check(ledger).violations == []


def test_a_full_disk_is_unavailable_until_there_is_room(ledger: SqliteLedger) -> None:
    ledger.hold(hold("a", 10))
    pages = ledger._writer.connection.pragma("page_count")
    ledger._writer.connection.pragma("max_page_count", pages)
    kept = {"a"}
    refused = None
    for number in range(1000):
        try:
            ledger.hold(hold(f"big {number}", 0, record={"text": "x" * 5000}))
        except Unavailable as error:
            refused = error
            break
        kept.add(f"big {number}")
    assert refused is not None
    assert "the disk is full" in refused.message
    assert {made.id for made in ledger.decisions()} == kept
    assert balance(ledger) == (0, 10)
    ledger._writer.connection.pragma("max_page_count", 2**30)
    assert isinstance(ledger.hold(hold("b", 20, record={"text": "x" * 5000})), Granted)
    assert balance(ledger) == (0, 30)
    assert check(ledger, decisions=kept).violations == []


def test_a_store_that_becomes_read_only_is_unavailable_until_it_is_not(
    ledger: SqliteLedger,
) -> None:
    ledger.hold(hold("a", 10))
    ledger._writer.connection.pragma("query_only", True)
    with pytest.raises(Unavailable, match="read-only"):
        ledger.hold(hold("b", 20))
    assert balance(ledger) == (0, 10)
    ledger._writer.connection.pragma("query_only", False)
    assert isinstance(ledger.hold(hold("b", 20)), Granted)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_read_only_file_is_refused_in_words() -> None:
    directory = Path(tempfile.mkdtemp(prefix="ledger-"))
    try:
        SqliteLedger(directory / "ledger.db").close()
        (directory / "ledger.db.lock").chmod(0o666)
        (directory / "ledger.db").chmod(0o444)
        directory.chmod(0o555)
        opened = (
            "from pathlib import Path; from router.ledger.sqlite.ledger import SqliteLedger; import os;"
            "os.setgid(65534); os.setuid(65534);"
            f"SqliteLedger(Path({str(directory / 'ledger.db')!r}))"
        )
        done = subprocess.run(
            [sys.executable, "-c", opened], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert "Unavailable: " in done.stderr
        assert "read-only" in done.stderr
    finally:
        shutil.rmtree(directory)


def test_a_commit_that_fails_is_not_acknowledged(ledger: SqliteLedger) -> None:
    ledger.hold(hold("a", 10))
    ledger._writer.connection.set_commit_hook(lambda: True)  # turns the commit into a rollback
    with pytest.raises(Unavailable):
        ledger.hold(hold("b", 20))
    ledger._writer.connection.set_commit_hook(None)
    assert balance(ledger) == (0, 10)
    assert isinstance(ledger.hold(hold("b", 20)), Granted)
    assert balance(ledger) == (0, 30)


def test_an_interrupted_writer_says_so_and_goes_on(ledger: SqliteLedger) -> None:
    def interrupted(_: object) -> None:
        raise SystemExit

    with pytest.raises(Unavailable, match="interrupted"):
        ledger._execute(interrupted)
    assert isinstance(ledger.hold(hold("a", 10)), Granted)


def test_an_answer_that_takes_too_long_is_unavailable_and_may_be_asked_for_again(
    path: Path,
) -> None:
    ledger = SqliteLedger(path, ManualClock(), timeout_s=PATIENCE_S)
    ledger.set_limit(limit(hard=100))
    go_on = busy(ledger)
    ledger._timeout_s = 0.05
    with pytest.raises(Unavailable, match=r"did not answer within 0\.05 s"):
        ledger.hold(hold("a", 10))
    ledger._timeout_s = PATIENCE_S
    go_on.set()
    assert isinstance(ledger.hold(hold("b", 20)), Granted)
    assert ledger.decision("a") is None  # it was given up before it began
    assert isinstance(ledger.hold(hold("a", 10)), Granted)
    ledger.close()


def test_a_queue_that_is_full_is_unavailable_at_once(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = busy(ledger)
    monkeypatch.setattr(writer, "_MAX_WAITING", 2)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(ledger.hold, hold(str(number))) for number in range(2)]
        wait_until(lambda: ledger._writer.waiting.qsize() == 2)
        with pytest.raises(Unavailable, match="wait for the store"):
            ledger.hold(hold("one more"))
        go_on.set()
        assert all(isinstance(job.result(), Granted) for job in jobs)


def test_closing_finishes_what_was_accepted(path: Path) -> None:
    ledger = SqliteLedger(path, ManualClock())
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(ledger.hold, hold(str(number), 1)) for number in range(200)]
        wait_until(lambda: not ledger._writer.waiting.empty() or all(job.done() for job in jobs))
        ledger.close()
        granted = set()
        for number, job in enumerate(jobs):
            try:
                job.result(PATIENCE_S)
                granted.add(str(number))
            except Unavailable:
                pass
    again = SqliteLedger(path, ManualClock())
    assert {made.id for made in again.decisions(count=1000)} == granted
    again.close()


# ── what it remembers, what it says ───────────────────────────────────────────────────────────────


def test_the_cache_of_the_writer_is_bounded(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.ledger.sqlite.cache._MAX_BALANCES", 5)
    assert ledger._writer.cache is not None
    monkeypatch.setattr(ledger._writer.cache.label_sets, "_max_bytes", 2_000)
    ledger.set_limit(limit("user", 100, scope={"user": "*"}))
    for number in range(40):
        ledger.hold(hold(str(number), 1, user=f"u{number % 10}"))
    assert len(ledger._writer.cache.accounts) <= 10
    assert ledger._writer.cache.label_sets.nbytes <= 2_000
    assert balance(ledger, "user", user="u3") == (0, 4)
    assert check(ledger).violations == []


def test_holds_that_expire_while_nobody_is_there_expire_all_at_once(path: Path) -> None:
    clock = ManualClock()
    first = SqliteLedger(path, clock)
    first.set_limit(limit(hard=3000))
    first.hold_many([hold(str(number), 1, ttl_s=5) for number in range(2500)])
    first.close()
    clock.advance(minutes=1)
    second = SqliteLedger(path, clock)
    assert isinstance(second.hold(hold("new", 3000)), Granted)
    assert second.expire() == 0
    assert check(second).violations == []
    second.close()


def test_every_error_is_one_of_the_project(ledger: SqliteLedger) -> None:
    assert issubclass(Unavailable, MitsumoriError)
    ledger.hold(hold("a", 1))
    with pytest.raises(Conflict):
        ledger.hold(hold("a", 1, body="another"))
