"""The ledger on SQLite: holds per second through the group commit, and balances however long the log."""

from __future__ import annotations

import gc
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apsw

from benchmarks.report import Figure
from router.core.limits import Amounts, Limit, Unit, Window
from router.ledger.base import Granted, Hold
from router.ledger.sqlite.ledger import SqliteLedger

CALLERS = 64
USERS = 1_000
FEW, MANY = 10_000, 10_000_000
PLENTY = 10**15


def measure() -> Iterator[Figure]:
    """Both figures, each beside its baseline of the same run."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        yield from _throughput(Path(directory))
    with tempfile.TemporaryDirectory(dir="build") as directory:
        yield from _balances(Path(directory))


def _throughput(directory: Path) -> Iterator[Figure]:
    store = _open(directory / "throughput.db")
    _threads(store, 1, 500)  # warm
    one_by_one = _threads(store, 1, 1_500)
    single = _threads(store, CALLERS, 200)
    bulk = statistics.median(_threads(store, CALLERS, 512, in_flight=64) for _ in range(3))
    store.close()
    yield Figure("baseline: holds one by one, a transaction each (SQLite FULL)", one_by_one, "/s")
    yield Figure(f"holds, {CALLERS} threads with one in flight each", single, "/s")
    yield Figure(
        f"holds through the group commit, {CALLERS} callers with 64 in flight each",
        bulk,
        "/s",
        15_000,
        ">=",
    )


def _balances(directory: Path) -> Iterator[Figure]:
    stores = []
    for count in (FEW, MANY):
        path = directory / f"{count}.db"
        _fill(path, count)
        stores.append(SqliteLedger(path))
    labels = [_labels(number) for number in range(USERS)]
    few, many = _alternating(
        [
            lambda number, store=store: store.view([labels[number % USERS]])  # type: ignore[misc]
            for store in stores
        ],
        4_000,
    )
    holding = _alternating(
        [
            lambda number, store=store: store.hold(_hold(10**8 + number))  # type: ignore[misc]
            for store in stores
        ],
        1_000,
    )
    adding_up = _alternating([lambda _, store=store: store.totals() for store in stores], 1)  # type: ignore[misc]
    for store in stores:
        store.close()
    yield Figure(f"baseline: balances of {FEW:,} decisions, p50", few * 1e6, "µs")
    yield Figure(f"balances of {MANY:,} decisions, p50", many * 1e6, "µs")
    yield Figure(f"balances of {MANY:,} decisions against {FEW:,}", many / few, "×", 1.2)
    yield Figure(f"a hold beside {MANY:,} decisions, p50", holding[1] * 1e6, "µs", 2_000)
    yield Figure(f"a hold beside {MANY:,} decisions against {FEW:,}", holding[1] / holding[0], "×")
    yield Figure(f"baseline: adding up {FEW:,} decisions by labels", adding_up[0], "s")
    yield Figure(f"adding up {MANY:,} decisions by labels", adding_up[1], "s")


def _open(path: Path) -> SqliteLedger:
    store = SqliteLedger(path)
    store.set_limit(
        Limit("team", {"team": "*"}, Unit.MONEY, Window.MONTH, "Asia/Tokyo", hard=PLENTY)
    )
    store.set_limit(Limit("model", {"model": "*"}, Unit.TOKENS, Window.MINUTE, hard=PLENTY))
    store.set_limit(Limit("user", {"user": "*"}, Unit.CONCURRENT, Window.TOTAL, hard=PLENTY))
    return store


def _labels(number: int) -> dict[str, str]:
    user = number % USERS
    return {
        "tenant": "acme",
        "team": f"team {user % 7}",
        "user": f"user {user}",
        "model": f"model {user % 5}",
        "provider": "acme",
    }


def _hold(number: int) -> Hold:
    record = '{"scores": {"low": 0.25, "medium": 0.5, "high": 0.25}, "rule": "default"}'
    return Hold(
        f"{number:032x}", "f" * 32, _labels(number), Amounts(1_000, 500), 600, b"r" * 200, record
    )


_taken = 0


def _threads(store: SqliteLedger, callers: int, each: int, *, in_flight: int = 1) -> float:
    """Holds per second: every caller makes ``each`` holds, ``in_flight`` at a time."""
    global _taken  # ids are used once
    shares = [
        [_hold(_taken + caller * each + number) for number in range(each)]
        for caller in range(callers)
    ]
    _taken += callers * each
    begin = threading.Barrier(callers + 1)

    def call(share: list[Hold]) -> None:
        begin.wait()
        if in_flight == 1:
            results = [store.hold(hold) for hold in share]
        else:
            results = [
                result
                for first in range(0, each, in_flight)
                for result in store.hold_many(share[first : first + in_flight])
            ]
        assert all(isinstance(result, Granted) for result in results)

    threads = [threading.Thread(target=call, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    # As a server does once it is warm: what is there for good is not searched for garbage again.
    gc.collect()
    gc.freeze()
    begin.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    gc.unfreeze()
    return callers * each / elapsed


def _alternating(actions: Sequence[Callable[[int], object]], rounds: int) -> list[float]:
    """The median seconds of each action; they take turns, so that a busy moment hits all alike."""
    spent: list[list[float]] = [[] for _ in actions]
    for number in range(rounds):
        for action, times in zip(actions, spent, strict=True):
            started = time.perf_counter()
            action(number)
            times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in spent]


def _fill(path: Path, count: int) -> None:
    """A store with ``count`` settled decisions: a real one for each user, and copies of them in SQL."""
    store = _open(path)
    store.hold_many([_hold(10**9 + number) for number in range(USERS)])
    store.close()
    file = apsw.Connection(str(path))
    file.execute("PRAGMA synchronous = off; PRAGMA cache_size = -400000")
    with file:
        for first in range(0, count, 1_000_000):
            last = min(first + 1_000_000, count)
            # Copies are older than the real ones, and in the order of their ids and moments.
            file.execute(
                "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
                " INSERT INTO decisions"
                " (created, id, tenant, fingerprint, state, expires, label_set, held_money,"
                " held_tokens, held_requests, held_concurrent, actual_money, actual_tokens,"
                " actual_requests, actual_concurrent, late, overage, report, quoted, usage)"
                " SELECT 1000000 + i, printf('old %030d', i), 'acme', 'f', 2, 2000000 + i,"
                " 1 + i % ?3, 1000, 500, 1, 1, 900, 400, 1, 1, 0, 0, 'r', 950, '{}' FROM n",
                (first, last, USERS),
            )
            file.execute(
                "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
                " INSERT INTO payloads (created, reply, record) SELECT 1000000 + i, x'00', '{}' FROM n",
                (first, last),
            )
            file.execute(
                "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)"
                " INSERT INTO entries SELECT 1000000 + i, 1 + i % 12, 0, 900, 0 FROM n",
                (first, last),
            )
        file.execute(
            "UPDATE balances SET spent = spent + coalesce("
            "(SELECT sum(spent) FROM entries WHERE balance = number AND decision < 10000000000), 0)"
            " WHERE number <= 12"
        )
    file.close()
