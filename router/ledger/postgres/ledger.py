"""The ledger on PostgreSQL, for replicas that share one database.

Callers put operations on a queue and wait. The writer thread takes all queued operations, runs them in one
transaction (:mod:`postgres.write_group`) and answers only after the commit; meanwhile the next group
collects in the queue. So a busy balance is locked once per group, not once per call. Needs the extra
``mitsumori[postgres]``.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from router.core.errors import Conflict, InvalidInput, MitsumoriError, NotFound, Unavailable
from router.core.limits import Limit, LimitState
from router.ledger import rules, storage_format
from router.ledger.base import (
    Amendment,
    AmendResult,
    Granted,
    Hold,
    HoldResult,
    HoldState,
    Settlement,
    SettleResult,
    StoredDecision,
    Totals,
)
from router.ledger.postgres import queries, row_mapping, write_group
from router.ledger.postgres.database import (
    RETRYABLE_ERRORS,
    SCHEMA,
    TIMEOUT_S,
    Connection,
    Database,
    DriverError,
    TupleRow,
    check_address,
    is_disconnected,
    migrate,
    store_errors,
)
from router.ledger.postgres.queries import matching
from router.ledger.postgres.write_group import GroupResult, Limits, LockedRows, Operation
from router.ledger.rows import Account, Balance, Row
from router.ledger.time_budget import seconds_left
from router.ledger.writer_task import WriterTask
from router.telemetry.observer import Observer

__all__ = ["PostgresLedger"]

T = TypeVar("T")

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_UNOBSERVED = Observer()
_MAX_WAITING = 10_000
_ATTEMPTS = 5
_LINGER_S = 0.001


class PostgresLedger:
    """Implements :class:`base.Ledger`; any number of replicas may share a database.

    The database provides the time, so that replicas agree on it. After an error during the commit it is not
    known whether it happened: that is ``Unavailable`` too, and repeating the call returns the result.

    Args:
        address: ``postgresql://…`` or a libpq connection string.
        schema: the schema that contains the tables; created or migrated at the start.
        timeout_s: seconds that a caller waits for its result, and that a statement may take.
        readers: the largest number of connections for reading; the writer has one of its own.
        max_batch: the largest number of operations in one transaction.
        clock: for tests: gives the time instead of the database; may go backwards.
        observer: is told of every commit.

    Raises:
        Unavailable: the database cannot be reached or changed.
        MitsumoriError: the schema is of a newer version.
    """

    def __init__(
        self,
        address: str,
        *,
        schema: str = SCHEMA,
        timeout_s: float = TIMEOUT_S,
        readers: int = 4,
        max_batch: int = 256,
        clock: Callable[[], datetime] | None = None,
        observer: Observer = _UNOBSERVED,
    ) -> None:
        self._observer = observer
        check_address(address)
        self._database = Database(address, schema, timeout_s)
        self._timeout_s = timeout_s
        self._max_batch = max_batch
        self._clock = clock
        self._limits_lock = self._database.lock_key("limits")
        migrate(self._database)
        self._time_lock = threading.Lock()
        self._last = _EARLIEST
        self._limits = Limits()
        self._waiting: deque[WriterTask[Operation, Any]] = deque()
        self._target_size = 1
        self._queue_changed = threading.Condition()
        self._closed = False
        self._writer: Connection | None = None
        self._pool = self._database.pool(readers)
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    # ── Ledger ────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        return self._moment()[0]

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        moment = self._expire_due()
        book = self._limits.book
        applying = [book.applying(labels, moment) for labels in options]
        accounts = {each.account for option in applying for each in option}
        balances: dict[Account, Balance] = {}
        if accounts:
            with self._connection() as connection:
                found = write_group.read_balances(connection, accounts)
            balances = {balance.account: balance for balance in found}
        return [
            tuple(
                LimitState(limit, account.key, period, balance.spent, balance.held)
                for limit, account, period in option
                for balance in [balances.get(account) or Balance(account, limit.unit)]
            )
            for option in applying
        ]

    def earlier_reply(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """See :meth:`Ledger.earlier_reply`."""
        if not storage_format.storable(decision_id):
            return None
        with self._connection() as connection:
            found = connection.execute(
                "SELECT tenant, fingerprint, reply FROM decisions WHERE id = %s", (decision_id,)
            ).fetchone()
        if found is None:
            return None
        rules.check_same(decision_id, (found[0], found[1]), (tenant, fingerprint))
        return bytes(found[2])

    def hold(self, hold: Hold) -> HoldResult:
        """See :meth:`Ledger.hold`."""
        task = _hold_task(hold)
        self._submit(task)
        return task.wait(self._timeout_s)

    def hold_many(self, holds: Sequence[Hold]) -> list[HoldResult | MitsumoriError]:
        """Hold each of many, as :meth:`hold` does, in as few commits as possible.

        Each hold is independent: if :meth:`hold` would raise ``Conflict`` or ``NotFound``, the result is
        that error.

        Raises:
            InvalidInput: one of them is not valid; nothing was held.
            Unavailable: some may be committed; the same call may be repeated.
        """
        tasks = [_hold_task(hold) for hold in holds]
        for task in tasks:
            self._submit(task)
        results: list[HoldResult | MitsumoriError] = []
        for task in tasks:
            try:
                results.append(task.wait(self._timeout_s))
            except (Conflict, NotFound) as error:
                results.append(error)
        return results

    def settle(self, settlement: Settlement) -> SettleResult:
        """See :meth:`Ledger.settle`."""
        usage = storage_format.check_settlement(settlement)

        def apply(work: LockedRows, _: datetime) -> SettleResult:
            settled = rules.settle(work, settlement)
            if not settled.repeated:
                work.usages[settlement.id] = usage
            return settled

        return self._execute(apply, settlement.id)

    def amend(self, amendment: Amendment) -> AmendResult:
        """See :meth:`Ledger.amend`."""
        storage_format.check_amendment(amendment)

        def apply(work: LockedRows, moment: datetime) -> AmendResult:
            result = rules.amend(work, amendment, moment)
            if not result.repeated:
                work.amended.add(amendment.id)
            return result

        return self._execute(apply, amendment.id)

    def release(self, decision_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.release`."""
        return self._execute(lambda work, _: rules.release(work, decision_id, tenant), decision_id)

    def expire(self) -> int:
        """See :meth:`Ledger.expire`."""
        return self._execute(lambda work, _: work.expired)

    def set_limit(self, limit: Limit) -> None:
        """See :meth:`Ledger.set_limit`."""
        storage_format.check_limit(limit)
        self._change_limits(
            "INSERT INTO limits (id, body) VALUES (%s, %s)"
            " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (limit.id, storage_format.limit_to_json(limit)),
        )

    def delete_limit(self, limit_id: str) -> bool:
        """See :meth:`Ledger.delete_limit`."""
        if not storage_format.storable(limit_id):
            return False
        return self._change_limits("DELETE FROM limits WHERE id = %s", (limit_id,))

    def limits(self) -> list[Limit]:
        """See :meth:`Ledger.limits`."""
        self._moment()
        return list(self._limits.book)

    def decision(self, decision_id: str) -> StoredDecision | None:
        """See :meth:`Ledger.decision`."""
        with self._connection() as connection:
            return queries.decision(connection, decision_id)

    def owner(self, decision_id: str) -> str | None:
        """See :meth:`Ledger.owner`."""
        with self._connection() as connection:
            return queries.owner(connection, decision_id)

    def decisions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        after: str | None = None,
        count: int = 100,
        newest_first: bool = False,
    ) -> list[StoredDecision]:
        """See :meth:`Ledger.decisions`."""
        storage_format.check_count(count)
        storage_format.check_labels(labels or {})
        with self._connection() as connection:
            return queries.decisions(
                connection,
                matching(labels, since, until, state),
                after,
                count,
                newest_first=newest_first,
            )

    def totals(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        by_time: bool = False,
    ) -> list[tuple[Mapping[str, str], datetime | None, Totals]]:
        """See :meth:`Ledger.totals`."""
        storage_format.check_labels(labels or {})
        self._expire_due()
        with self._connection() as connection:
            return queries.totals(
                connection, matching(labels, since, until, state), by_time=by_time
            )

    def open_holds(self) -> tuple[int, int]:
        """See :meth:`Ledger.open_holds`."""
        with self._connection() as connection:
            return queries.open_holds(connection)

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """See :meth:`Ledger.erase`; in several commits, so that holds go on between them."""
        storage_format.check_labels(labels)
        moment = self._expire_due()
        chosen = matching(labels, None, before, None).and_(
            "state <> 'held' AND (state <> 'quoted' OR expires <= %s)", moment
        )
        erased = 0
        while True:
            with self._connection() as connection:
                count = write_group.erase(connection, chosen.text, chosen.values)
            if not count:
                return erased
            erased += count

    def check(self) -> None:
        """See :meth:`Ledger.check`."""
        with self._connection() as connection:
            # Fails on a server that takes no writes, such as a standby.
            connection.execute("UPDATE state SET limits_version = limits_version")

    def close(self) -> None:
        """See :meth:`Ledger.close`."""
        with self._queue_changed:
            if self._closed:
                return
            self._closed = True
            self._queue_changed.notify()
        self._thread.join()
        self._pool.close()

    # ── beyond the protocol ───────────────────────────────────────────────────────────────────────

    def rows(self) -> Iterator[Row]:
        """Every decision with its entries, for the checker."""
        balances = {balance.account: balance for balance in self.balances()}
        for row in self._read_all(f"SELECT {row_mapping.ROW} FROM decisions ORDER BY created, id"):  # noqa: S608
            yield row_mapping.row_of(
                row, lambda account, unit: balances.get(account) or Balance(account, unit)
            )

    def balances(self) -> Iterator[Balance]:
        """Every balance, for the checker."""
        for row in self._read_all(f"SELECT {row_mapping.BALANCE} FROM balances"):  # noqa: S608
            yield row_mapping.balance_of(row)

    # ── callers ───────────────────────────────────────────────────────────────────────────────────

    def _execute(self, apply: Callable[[LockedRows, datetime], T], *ids: str) -> T:
        task: WriterTask[Operation, T] = WriterTask(Operation(apply, ids))
        self._submit(task)
        return task.wait(self._timeout_s)

    def _submit(self, task: WriterTask[Operation, Any]) -> None:
        with self._queue_changed:
            self._check_open()
            if len(self._waiting) >= _MAX_WAITING:
                raise Unavailable(f"{_MAX_WAITING} operations wait for the store; try again later")
            self._waiting.append(task)
            if len(self._waiting) >= self._target_size:
                self._queue_changed.notify()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the ledger is closed")

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection of the pool, outside a transaction, that the server has not closed."""
        self._check_open()
        with store_errors():
            connection = self._pool.getconn(seconds_left(self._timeout_s))
            while is_disconnected(connection):
                connection.close()
                self._pool.putconn(connection)
                connection = self._pool.getconn(seconds_left(self._timeout_s))
            try:
                yield connection
            finally:
                self._pool.putconn(connection)

    def _moment(self) -> tuple[datetime, bool]:
        """The store's time, and whether holds have expired; reads the limits again if they changed."""
        with self._time_lock:
            last = self._last
        with self._connection() as connection:
            row = connection.execute(write_group.MOMENT, (self._test_time(), last)).fetchone()
            found, version, due = cast("tuple[datetime, int, bool]", row)
            if version != self._limits.version:
                self._update_limits(Limits.of(connection.execute(write_group.LIMITS).fetchall()))
        return self._advance_time(found.astimezone(UTC)), due

    def _expire_due(self) -> datetime:
        """Free expired holds, and return the current time."""
        moment, due = self._moment()
        if due:
            self.expire()
        return moment

    def _advance_time(self, moment: datetime) -> datetime:
        with self._time_lock:
            self._last = rules.later(self._last, moment)
            return self._last

    def _update_limits(self, limits: Limits) -> None:
        with self._time_lock:
            if limits.version > self._limits.version:
                self._limits = limits

    def _test_time(self) -> datetime | None:
        return None if self._clock is None else self._clock()

    def _change_limits(self, statement: str, values: Sequence[object]) -> bool:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (self._limits_lock,))
            changed = connection.execute(statement, values).rowcount > 0
            connection.execute("UPDATE state SET limits_version = limits_version + 1")
        return changed

    def _read_all(self, statement: str) -> Iterator[TupleRow]:
        with self._connection() as connection, connection.transaction():
            # Reading all rows has no time limit.
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            with connection.cursor("everything") as cursor:
                yield from cursor.execute(statement)

    # ── the writer ────────────────────────────────────────────────────────────────────────────────

    def _write(self) -> None:
        last_size, last_s = 0, 0.0
        while group := self._next_group(last_size, last_s):
            started = time.monotonic()
            self._answer([task for task in group if not task.abandoned])
            last_size, last_s = len(group), time.monotonic() - started
        if self._writer is not None:
            self._writer.close()

    def _next_group(self, last_size: int, last_s: float) -> list[WriterTask[Operation, Any]]:
        """The next group of tasks; empty once the ledger is closed and no task is left.

        Callers often return as soon as they have their result. Waiting for them for a fraction of the last
        transaction (``last_size`` tasks in ``last_s`` seconds) keeps them in one group; otherwise they
        split into two groups that wait for each other. A single caller never waits.
        """
        with self._queue_changed:
            self._target_size = min(last_size + len(self._waiting), self._max_batch)
            self._queue_changed.wait_for(self._group_ready, timeout=min(last_s / 4, _LINGER_S))
            self._target_size = 1
            self._queue_changed.wait_for(self._group_ready)
            size = min(len(self._waiting), self._max_batch)
            return [self._waiting.popleft() for _ in range(size)]

    def _group_ready(self) -> bool:
        return self._closed or len(self._waiting) >= self._target_size

    def _answer(self, tasks: list[WriterTask[Operation, Any]]) -> None:
        try:
            with store_errors():
                results = self._commit([task.operation for task in tasks]) if tasks else []
        except InvalidInput as error:
            if len(tasks) > 1:
                # One operation caused the error: run each alone, so that the others succeed.
                for task in tasks:
                    self._answer([task])
                return
            results = [error]
        except Exception as error:  # noqa: BLE001 - callers get the error; the writer continues
            # One error object per caller: threads that raise the same object share its traceback.
            why = error.message if isinstance(error, MitsumoriError) else type(error).__name__
            results = [Unavailable(f"the store cannot be written: {why}") for _ in tasks]
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, MitsumoriError):
                task.error = result
            else:
                task.result = result
            task.finish()

    def _commit(self, operations: list[Operation]) -> list[object]:
        done = GroupResult(None, 0, self._last, self._limits)
        attempts = 0
        started = time.monotonic()
        while done.results is None:
            try:
                connection = self._session()
                done = write_group.run(
                    connection, operations, done, self._test_time(), self._limits_lock
                )
            except BaseException as error:
                self._roll_back()
                attempts += 1
                again = isinstance(error, RETRYABLE_ERRORS)
                if not again or attempts == _ATTEMPTS:
                    raise
            self._advance_time(done.moment)
            self._update_limits(done.limits)
        self._observer.committed(time.monotonic() - started, len(operations))
        self._observer.expired(done.expired)
        return done.results

    def _session(self) -> Connection:
        if self._writer is not None and is_disconnected(self._writer):
            self._writer.close()
        if self._writer is None or self._writer.closed:
            self._writer = self._database.connect_writer()
        return self._writer

    def _roll_back(self) -> None:
        if self._writer is None or self._writer.closed:
            return
        try:
            self._writer.execute("ROLLBACK")
        except DriverError:
            self._writer.close()


def _hold_task(hold: Hold) -> WriterTask[Operation, HoldResult]:
    labels, record = storage_format.check_hold(hold)

    def apply(work: LockedRows, moment: datetime) -> HoldResult:
        result = rules.hold(work, hold, moment)
        if isinstance(result, Granted):
            work.payloads[hold.id] = labels, record
        return result

    ids = (hold.id,) if hold.replaces is None else (hold.id, hold.replaces)
    return WriterTask(Operation(apply, ids, hold))
