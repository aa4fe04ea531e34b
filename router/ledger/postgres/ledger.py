"""The ledger on PostgreSQL, for replicas that share one database.

One thread of each replica writes (:mod:`postgres.writer`); readers have connections of a pool. Needs the
extra ``mitsumori[postgres]``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TypeVar, cast

from router.core.errors import Conflict, MitsumoriError, NotFound
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
    StoredTask,
    Totals,
)
from router.ledger.limit_book import states_of
from router.ledger.postgres import queries, row_mapping, shared_state, write_group
from router.ledger.postgres.database import (
    SCHEMA,
    TIMEOUT_S,
    Connection,
    Database,
    TupleRow,
    check_address,
    is_disconnected,
    migrate,
    store_errors,
)
from router.ledger.postgres.queries import matching
from router.ledger.postgres.store_state import StoreState
from router.ledger.postgres.write_group import Limits, LockedRows, Operation
from router.ledger.postgres.writer import Writer
from router.ledger.rows import Account, Balance, Row
from router.ledger.shared_state import SharedChanges, SharedRow
from router.ledger.time_budget import seconds_left
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["PostgresLedger"]

T = TypeVar("T")


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
        observer: Observer = UNOBSERVED,
    ) -> None:
        check_address(address)
        self._database = Database(address, schema, timeout_s)
        self._timeout_s = timeout_s
        self._limits_lock = self._database.lock_key("limits")
        self._sharing_lock = self._database.lock_key("shared state")
        migrate(self._database)
        self._state = StoreState(clock)
        self._pool = self._database.pool(readers)
        self._writer = Writer(self._database, self._state, max_batch=max_batch, observer=observer)

    # ── Ledger ────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        return self._moment()[0]

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        moment = self._expire_due()
        book = self._state.limits.book
        applying = [book.applying(labels, moment) for labels in options]
        accounts = {each.account for option in applying for each in option}
        sums: dict[Account, tuple[int, int]] = dict.fromkeys(accounts, (0, 0))
        if accounts:
            with self._connection() as connection:
                found = write_group.read_balances(connection, accounts)
            sums.update({balance.account: (balance.spent, balance.held) for balance in found})
        return [states_of(option, sums.__getitem__) for option in applying]

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
        result: HoldResult = self._writer.submit(_hold_operation(hold)).wait(self._timeout_s)
        return result

    def hold_many(self, holds: Sequence[Hold]) -> list[HoldResult | MitsumoriError]:
        """Hold each of many, as :meth:`hold` does, in as few commits as possible.

        Each hold is independent: if :meth:`hold` would raise ``Conflict`` or ``NotFound``, the result is
        that error.

        Raises:
            InvalidInput: one of them is not valid; nothing was held.
            Unavailable: some may be committed; the same call may be repeated.
        """
        operations = [_hold_operation(hold) for hold in holds]
        tasks = [self._writer.submit(operation) for operation in operations]
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

    def end_task(self, task_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.end_task`."""
        return self._execute(lambda work, _: rules.end_task(work, task_id, tenant), task_id)

    def task(self, task_id: str) -> StoredTask | None:
        """See :meth:`Ledger.task`."""
        self._expire_due()
        with self._connection() as connection:
            return queries.task(connection, task_id)

    def tasks(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: HoldState | None = None,
        count: int = 100,
    ) -> list[StoredTask]:
        """See :meth:`Ledger.tasks`."""
        storage_format.check_count(count)
        storage_format.check_labels(labels or {})
        self._expire_due()
        chosen = matching(labels, None, None, state, of=queries.IS_TASK)
        with self._connection() as connection:
            return queries.tasks(connection, chosen, count)

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
        return list(self._state.limits.book)

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
        chosen = matching(labels, None, before, None, of="true").and_(
            "state <> 'held' AND (state <> 'quoted' OR expires <= %s)", moment
        )
        erased = 0
        while True:
            with self._connection() as connection:
                count = write_group.erase(connection, chosen.text, chosen.values)
            if not count:
                return erased
            erased += count

    def publish(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`Ledger.publish`."""
        storage_format.check_shared(rows)
        moment = self.now()
        with self._connection() as connection:
            shared_state.publish(connection, rows, moment, self._sharing_lock)

    def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
        """See :meth:`Ledger.published`."""
        moment = self.now()
        with self._connection() as connection:
            return shared_state.published(connection, kinds, since, moment)

    def check(self) -> None:
        """See :meth:`Ledger.check`."""
        with self._connection() as connection:
            # Fails on a server that takes no writes, such as a standby.
            connection.execute("UPDATE state SET limits_version = limits_version")

    def close(self) -> None:
        """See :meth:`Ledger.close`."""
        if self._writer.stop():
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
        result: T = self._writer.submit(Operation(apply, ids)).wait(self._timeout_s)
        return result

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection of the pool, outside a transaction, that the server has not closed."""
        self._writer.check_open()
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
        state = self._state
        with self._connection() as connection:
            given = {"test": state.test_time(), "last": state.time}
            row = connection.execute(write_group.MOMENT, given).fetchone()
            found, version, due = cast("tuple[datetime, int, bool]", row)
            if version != state.limits.version:
                state.update(Limits.of(connection.execute(write_group.LIMITS).fetchall()))
        return state.advance(found.astimezone(UTC)), due

    def _expire_due(self) -> datetime:
        """Free expired holds, and return the current time."""
        moment, due = self._moment()
        if due:
            self.expire()
        return moment

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


def _hold_operation(hold: Hold) -> Operation:
    labels, record = storage_format.check_hold(hold)

    def apply(work: LockedRows, moment: datetime) -> HoldResult:
        result = rules.hold(work, hold, moment)
        if isinstance(result, Granted):
            work.payloads[hold.id] = labels, record
        return result

    return Operation(apply, hold.ids, hold)
