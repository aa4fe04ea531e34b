"""What is particular to PostgreSQL: replicas, servers that stop or do not answer, migrations."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from benchmarks.ledger_postgres import server, start
from router.core.errors import InvalidInput, MitsumoriError, Unavailable
from router.core.limits import Amounts, Unit
from router.ledger.base import Granted, Hold, HoldState, Refused, Repeated
from router.ledger.check import check
from router.ledger.postgres import database
from router.ledger.postgres.ledger import PostgresLedger
from router.ledger.time_budget import time_limit
from tests.readiness import PATIENCE_S, wait_until
from tests.router.ledger.builders import START, ManualClock, balance, hold, limit, report

Replica = Callable[..., PostgresLedger]
_SCHEMAS = itertools.count()


@pytest.fixture
def replica(postgres_address: str) -> Iterator[Replica]:
    """Makes replicas of one ledger that is empty at first."""
    schema = f"replicas{next(_SCHEMAS)}"
    made: list[PostgresLedger] = []

    def make(**options: Any) -> PostgresLedger:
        made.append(PostgresLedger(postgres_address, schema=schema, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


# ── replicas ──────────────────────────────────────────────────────────────────────────────────────


def test_two_replicas_race_for_the_last_unit_a_thousand_times(replica: Replica) -> None:
    stores = [replica(), replica()]
    stores[0].set_limit(limit(hard=1, scope={"round": "*"}))
    start = threading.Barrier(2)

    def race(number: int) -> list[bool]:
        won = []
        for turn in range(1000):
            start.wait()
            result = stores[number].hold(hold(f"{turn}/{number}", 1, round=str(turn)))
            assert isinstance(result, Granted | Refused)
            won.append(isinstance(result, Granted))
        return won

    with ThreadPoolExecutor(2) as callers:
        first, second = callers.map(race, range(2))
    assert [one + other for one, other in zip(first, second, strict=True)] == [1] * 1000
    assert any(first)
    assert any(second)
    assert check(stores[0]).violations == []


def test_replicas_share_decisions_limits_and_settlements(replica: Replica) -> None:
    one, other = replica(), replica()
    one.set_limit(limit(hard=10))
    assert isinstance(one.hold(hold("a", 10)), Granted)
    assert other.hold(hold("a", 10)) == Repeated(b"reply to a")
    assert isinstance(other.hold(hold("b", 1)), Refused)
    one.set_limit(limit(hard=12))
    assert isinstance(other.hold(hold("b", 2)), Granted)
    assert other.settle(report("a", 7)).repeated is False
    assert one.settle(report("a", 7)).repeated is True
    assert balance(one) == balance(other) == (7, 2)
    assert one.delete_limit("budget")
    assert isinstance(other.hold(hold("c", 1000)), Granted)


def test_the_same_request_at_two_replicas_at_once_is_held_once(replica: Replica) -> None:
    stores = [replica(), replica()]
    stores[0].set_limit(limit(hard=1000))
    start = threading.Barrier(2)

    def call(number: int) -> list[object]:
        results: list[object] = []
        for turn in range(100):
            start.wait()
            results.append(stores[number].hold(hold(f"same {turn}", 1)))
        return results

    with ThreadPoolExecutor(2) as callers:
        answers = zip(*callers.map(call, range(2)), strict=True)
        for pair in answers:
            assert sorted(type(answer).__name__ for answer in pair) == ["Granted", "Repeated"]
    assert balance(stores[0]) == (0, 100)


def test_a_request_is_not_refused_because_another_replica_has_just_granted_it(
    replica: Replica,
) -> None:
    stores = [replica(), replica()]
    stores[0].set_limit(limit(hard=1))  # room for one, so that its twin finds it full
    start = threading.Barrier(2)

    def call(store: PostgresLedger, new: Hold) -> str:
        start.wait()
        return type(store.hold(new)).__name__

    with ThreadPoolExecutor(2) as callers:
        for turn in range(50):
            for new in (hold(f"a{turn}", 1), hold(f"b{turn}", 1, replaces=f"a{turn}")):
                answers = callers.map(call, stores, (new, new))
                assert sorted(answers) == ["Granted", "Repeated"]
            stores[0].release(f"b{turn}", "acme")


def test_many_overlapping_limits_in_any_order_never_deadlock(
    replica: Replica, postgres_address: str
) -> None:
    stores = [replica(timeout_s=PATIENCE_S), replica(timeout_s=PATIENCE_S)]
    names = [f"l{number}" for number in range(8)]
    for name in names:
        stores[0].set_limit(limit(name, 10_000, scope={name: "*"}))
        stores[0].set_limit(limit(f"{name} places", 50, unit=Unit.CONCURRENT, scope={name: "x"}))

    def deadlocks() -> int:
        with psycopg.connect(postgres_address) as connection:
            row = connection.execute("SELECT sum(deadlocks) FROM pg_stat_database").fetchone()
        assert row is not None
        return int(row[0])

    def call(caller: int) -> None:
        chance = random.Random(caller)
        open_: list[str] = []
        for turn in range(40):
            store = stores[chance.randrange(2)]
            labels = {name: chance.choice("xyz") for name in chance.sample(names, 4)}
            # Some ids are the same for several callers, so that new rows meet as well.
            name = f"{caller if chance.random() < 0.8 else 'all'}-{turn}"
            replaces = open_.pop() if open_ and chance.random() < 0.3 else None
            wanted = hold(name, 5, body="same", replaces=replaces, **labels)
            with contextlib.suppress(MitsumoriError):
                if isinstance(store.hold(wanted), Granted):
                    open_.append(name)
            if open_ and chance.random() < 0.6:
                store.settle(report(open_.pop(0), chance.randrange(8)))

    before = deadlocks()
    with ThreadPoolExecutor(12) as callers:
        list(callers.map(call, range(12)))
    for each in stores:
        each.close()
    assert deadlocks() == before
    assert check(replica()).violations == []


def test_a_moment_never_comes_before_what_another_replica_decided(replica: Replica) -> None:
    ahead, behind = (
        replica(clock=ManualClock(START + timedelta(minutes=50))),
        replica(clock=ManualClock()),
    )
    assert behind.now() == START
    ahead.hold(hold("a"))
    assert behind.now() > START + timedelta(minutes=50)
    behind.hold(hold("b"))
    assert [row.id for row in ahead.decisions()] == ["a", "b"]


def test_time_is_the_database_s(replica: Replica) -> None:
    store = replica()
    times = [store.now() for _ in range(5)]
    assert times == sorted(times)
    store.hold(hold("a", ttl_s=0.05))

    def is_expired() -> bool:
        store.expire()
        row = store.decision("a")
        assert row is not None
        return row.state is HoldState.EXPIRED

    wait_until(is_expired)


# ── migrations ────────────────────────────────────────────────────────────────────────────────────


def test_replicas_that_start_at_once_migrate_once(replica: Replica, postgres_address: str) -> None:
    start = threading.Barrier(4)

    def begin(number: int) -> object:
        start.wait()
        return replica().hold(hold(f"by {number}"))

    with ThreadPoolExecutor(4) as starters:
        assert all(isinstance(each, Granted) for each in starters.map(begin, range(4)))
    store = replica()
    with psycopg.connect(postgres_address) as connection:
        schema = store._database.schema
        rows = connection.execute(f"SELECT version FROM {schema}.schema_versions").fetchall()
    assert rows == [(number,) for number in range(1, len(database._MIGRATIONS) + 1)]
    assert len(store.decisions()) == 4


def test_a_store_of_the_first_schema_keeps_its_rows_and_learns_what_was_quoted(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as then:
        then.setattr(database, "_MIGRATIONS", database._MIGRATIONS[:1])
        old = replica()
    with old._connection() as connection:
        connection.execute(
            "INSERT INTO decisions (id, tenant, fingerprint, state, created, expires, held_money,"
            " held_tokens, held_requests, held_concurrent, reply, entries, labels, record)"
            " SELECT name, 'acme', 'f', 'held', now(), now() + interval '1 hour', 10, 0, 1, 1, 'r',"
            " '[]', '{\"tenant\": \"acme\"}', record::json FROM (VALUES"
            " ('a', '{\"candidates\": [{\"price_nanos\": [5, 7, 9, 11]}]}'), ('b', '{}'))"
            " AS before (name, record)"
        )
    store = replica()
    assert {made.id: made.quoted for made in store.decisions()} == {"a": 7, "b": 0}
    assert store.settle(report("a", 12)).overage == 2


def test_a_newer_schema_is_refused(replica: Replica, postgres_address: str) -> None:
    schema = replica()._database.schema
    with psycopg.connect(postgres_address) as connection:
        connection.execute(f"INSERT INTO {schema}.schema_versions VALUES (99)")
    with pytest.raises(MitsumoriError, match="version 99") as refusal:
        replica()
    assert refusal.value.reason == "SCHEMA_TOO_NEW"
    with pytest.raises(
        MitsumoriError, match=r"written by a newer version of mitsumori \(its schema"
    ):
        database.check_database(postgres_address, schema)


def test_a_database_is_checked_before_the_first_start_and_nothing_is_made(
    postgres_address: str,
) -> None:
    database.check_database(postgres_address, "not_there_yet")
    with psycopg.connect(postgres_address) as connection:
        found = connection.execute("SELECT to_regnamespace('not_there_yet')").fetchone()
    assert found == (None,)


# ── a store that cannot be used ───────────────────────────────────────────────────────────────────


def test_an_address_where_nobody_listens_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="PostgreSQL"):
        PostgresLedger("postgresql://nobody@127.0.0.1:1/none")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ann:kana/ry4711@127.0.0.1:1/none",
        "postgresql://ann:kana@ry4711@127.0.0.1:1/none",
        "postgresql://ann:kana:ry4711@127.0.0.1:1/none",
        "postgresql://ann:kana%zzry4711@127.0.0.1:1/none",
        "postgresql://ann:kana?ry4711@127.0.0.1:1/none",
        "postgresql://ann:kana ry4711@127.0.0.1:1/none",
        "postgresql://ann:kanary4711@127.0.0.1:1/none",
        "kana ry4711",
    ],
)
def test_no_message_and_no_form_of_the_ledger_holds_a_part_of_the_password(address: str) -> None:
    with pytest.raises(MitsumoriError) as caught:
        PostgresLedger(address, timeout_s=2.0)
    shown = f"{caught.value.message} {caught.value!r} {database.Database(address, 's', 1.0)!r}"
    for error in (caught.value.__cause__, caught.value.__context__):
        assert error is None or caught.value.__suppress_context__
    assert "kana" not in shown
    assert "ry4711" not in shown


def test_a_silent_server_is_given_up_within_the_time_of_the_caller(replica: Replica) -> None:
    store = replica(timeout_s=PATIENCE_S)
    wait_until(lambda: _held(store, "a"))
    with store._connection() as connection:
        backend = connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        with time_limit(0.5), pytest.raises(Unavailable, match="does not answer in time"):
            store.decision("a")
    finally:
        os.kill(backend, signal.SIGCONT)
    wait_until(lambda: _held(store, "b"))


def test_a_store_that_takes_writes_is_told_from_one_that_does_not(
    replica: Replica, postgres_address: str
) -> None:
    store = replica()
    store.check()
    with psycopg.connect(postgres_address) as other:
        other.execute(f"ALTER TABLE {store._database.schema}.state RENAME TO away")
        other.commit()
        with pytest.raises(Unavailable, match="UndefinedTable") as caught:
            store.check()
        assert "away" not in caught.value.message
        other.execute(f"ALTER TABLE {store._database.schema}.away RENAME TO state")
        other.commit()
    store.check()


def test_a_server_that_dies_loses_nothing_acknowledged_and_comes_back() -> None:
    acknowledged: list[str] = []
    unavailable: list[str] = []
    with server() as running:
        store = PostgresLedger(running.get_uri(), timeout_s=2.0)
        store.set_limit(limit(hard=10**9))
        stop = threading.Event()

        def call(caller: int) -> None:
            for turn in itertools.count():
                if stop.is_set():
                    return
                name = f"{caller}-{turn}"
                try:
                    store.hold(hold(name, 1))
                    acknowledged.append(name)
                except Unavailable:
                    unavailable.append(name)
                    time.sleep(0.05)

        with ThreadPoolExecutor(8) as callers:
            jobs = [callers.submit(call, number) for number in range(8)]
            wait_until(lambda: len(acknowledged) > 50)
            os.kill(running.get_pid(), signal.SIGQUIT)  # at once, without a checkpoint: a crash
            wait_until(lambda: bool(unavailable))
            with pytest.raises(Unavailable):
                store.view([{}])
            wait_until(lambda: not _listening(running))
            start(running)
            before = len(acknowledged)
            wait_until(lambda: len(acknowledged) > before + 50)
            stop.set()
            for job in jobs:
                job.result()
        store.close()
        store = PostgresLedger(running.get_uri(), timeout_s=PATIENCE_S)
        # What was not acknowledged may be repeated: the answer is that of the first time, or a new one.
        answers = store.hold_many([hold(name, 1) for name in unavailable])
        assert all(isinstance(answer, Granted | Repeated) for answer in answers)
        assert check(store, decisions=[*acknowledged, *unavailable]).violations == []
        assert balance(store) == (0, len(acknowledged) + len(unavailable))
        store.close()


def test_a_server_that_falls_silent_is_unavailable_in_time(replica: Replica) -> None:
    store = replica(timeout_s=1.0)
    wait_until(lambda: _held(store, "a"))
    assert store._writer.connection is not None
    backend = store._writer.connection.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):  # while the server is silent still
            store.hold(hold("b"))
        # The writer gives the silent connection up and takes another.
        wait_until(lambda: _held(store, "c"))
    finally:
        os.kill(backend, signal.SIGCONT)


def test_a_locked_row_is_unavailable_in_time_and_free_afterwards(
    replica: Replica, postgres_address: str
) -> None:
    before = replica()
    before.set_limit(limit())
    before.hold(hold("a"))
    store = replica(timeout_s=2.0)
    with psycopg.connect(postgres_address) as other:
        other.execute(f"SELECT FROM {store._database.schema}.balances FOR UPDATE")
        with pytest.raises(Unavailable):
            store.hold(hold("b"))
        other.rollback()
    wait_until(lambda: _held(store, "b"))
    assert balance(before) == (0, 20)


def test_readers_wait_for_a_free_connection_only_so_long(replica: Replica) -> None:
    store = replica(timeout_s=1.0, readers=1)
    with store._connection(), pytest.raises(Unavailable, match="no connection became free"):
        store.decision("a")
    assert store.decision("a") is None
    wait_until(lambda: _held(store, "a"))


def test_a_commit_whose_answer_is_lost_can_be_repeated(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = replica()
    store.set_limit(limit())
    store.hold(hold("a"))
    execute = psycopg.Cursor.execute

    def cut(self: psycopg.Cursor[Any], query: Any, *args: Any, **words: Any) -> Any:
        result = execute(self, query, *args, **words)
        if query == "COMMIT":
            monkeypatch.undo()
            self.connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return result

    monkeypatch.setattr(psycopg.Cursor, "execute", cut)
    with pytest.raises(Unavailable):
        store.hold(hold("b"))
    assert store.hold(hold("b")) == Repeated(b"reply to b")
    assert balance(store) == (0, 20)


def test_a_value_that_cannot_be_kept_fails_alone(replica: Replica) -> None:
    store = replica()
    store.set_limit(limit(hard=1000))
    bad = Hold("bad", "\0", {"tenant": "acme"}, Amounts(1, 1), 60, b"")

    def call(number: int) -> object:
        if number % 5:
            return store.hold(hold(f"good {number}"))
        with pytest.raises(InvalidInput):
            store.hold(bad)
        return None

    with ThreadPoolExecutor(20) as callers:
        results = list(callers.map(call, range(20)))
    assert sum(isinstance(result, Granted) for result in results) == 16
    assert balance(store) == (0, 160)


def test_after_closing_everything_is_unavailable(replica: Replica) -> None:
    store = replica()
    store.close()
    store.close()
    for call in (store.now, store.limits, store.expire, lambda: store.hold(hold("a"))):
        with pytest.raises(Unavailable):
            call()


# ── amounts of work ───────────────────────────────────────────────────────────────────────────────


def test_a_backlog_of_holds_that_ran_out_is_given_back_before_the_next_hold(
    replica: Replica,
) -> None:
    clock = ManualClock()
    store = replica(clock=clock)
    store.set_limit(limit(hard=1200))
    store.hold_many([hold(f"old {number}", 1, ttl_s=1) for number in range(1200)])
    assert isinstance(store.hold(hold("early", 1200)), Refused)
    clock.advance(minutes=1)
    assert isinstance(store.hold(hold("new", 1200)), Granted)
    assert balance(store) == (0, 1200)
    assert store.erase({"tenant": "acme"}, clock() + timedelta(days=1)) == 1200
    assert [row.id for row in store.decisions()] == ["new"]
    assert check(store).violations == []


def test_refused_callers_and_other_tenants_leave_nothing_behind(replica: Replica) -> None:
    store = replica()
    store.set_limit(limit(hard=0, scope={"user": "*"}))
    for user in ("ann", "bob"):
        assert isinstance(store.hold(hold(f"of {user}", 1, user=user)), Refused)
    assert list(store.rows()) == []
    assert [(each.spent, each.held) for each in store.balances()] in ([], [(0, 0), (0, 0)])


def test_without_psycopg_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from router.core.errors import MitsumoriError\n"
        "try:\n    import router.ledger.postgres.ledger\n"
        "except MitsumoriError as error:\n    print(error.reason, error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("EXTRA_MISSING ")
    assert "pip install 'mitsumori[postgres]'" in said


def _listening(running: Any) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(running.get_uri(), connect_timeout=2).close()
        return True
    return bool(running.get_postmaster_info().process.is_running())


def _held(store: PostgresLedger, name: str) -> bool:
    with contextlib.suppress(Unavailable):
        return isinstance(store.hold(hold(name)), Granted | Repeated)
    return False
