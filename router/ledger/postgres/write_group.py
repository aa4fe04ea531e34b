"""One group of operations on PostgreSQL, run in one transaction.

It reads and locks the rows that the group needs, applies the rules in Python, writes the rows that changed,
and commits: five round trips for any number of operations. (psycopg's pipeline mode saves two, and costs more
than that on a fast network.)

All replicas take locks in the same order, so they wait for each other and never deadlock: the limits
(shared), decisions by id, expired holds (except those that another replica has locked), balances by account,
new decisions by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from router.core.errors import MitsumoriError, NotFound, NotPossible
from router.core.limits import Limit, Unit
from router.ledger import rules, storage_format
from router.ledger.base import Hold, HoldState, Refused, Settlement
from router.ledger.limit_book import ApplicableLimit, LimitBook
from router.ledger.postgres.database import Connection, Cursor, GrantedElsewhere, TupleRow
from router.ledger.postgres.row_mapping import (
    BALANCE,
    ROW,
    account_columns,
    balance_columns,
    balance_of,
    changed_row,
    new_row,
    row_of,
    to_json_array,
)
from router.ledger.rows import Account, Balance, Row

__all__ = [
    "LIMITS",
    "MOMENT",
    "GroupResult",
    "Limits",
    "LockedRows",
    "Operation",
    "erase",
    "read_balances",
    "run",
]

_MAX_EXPIRED = 500
"""The largest number of expired holds or erased decisions in one transaction."""
_TICK = timedelta(microseconds=1)


# ruff: noqa: S608  (SQL is built from the constants above; values are bound)

_AHEAD = f"interval '{rules.GLITCH.total_seconds():.0f} seconds'"
# The time of the database, or of a test; never earlier than the newest decision, so that it does not go
# backwards and replicas agree. What lies further ahead than a clock that runs wild may push it does not count
# (rules.later). Parameters: `test`, the time of the test or NULL, and `last`, the previous time.
_NOW = (
    "SELECT greatest(clock, CASE WHEN last <= clock + " + _AHEAD + " THEN last END,"
    " (SELECT max(created) FROM decisions WHERE created <= clock + " + _AHEAD + ")) AS now"
    " FROM (SELECT coalesce(%(test)s::timestamptz, clock_timestamp()) AS clock, %(last)s::timestamptz"
    " AS last) AS given"
)
MOMENT = (
    "SELECT now, limits_version,"
    " EXISTS (SELECT FROM decisions WHERE state = 'held' AND expires <= now)"
    f" OR EXISTS (SELECT FROM decisions WHERE created > now + {_AHEAD} AND state = 'held')"
    f" FROM state, ({_NOW}) AS moment"
)
LIMITS = "SELECT limits_version, body FROM state LEFT JOIN limits ON true"
# The moment, joined with each decision that exists (NULL columns if none does). Parameters: those of
# MOMENT, and `ids`.
_MOMENT_AND_DECISIONS = (
    f"SELECT moment.*, known.* FROM ({MOMENT}) AS moment LEFT JOIN"
    f" (SELECT {ROW} FROM decisions WHERE id = ANY({{ids}}) ORDER BY id FOR UPDATE) AS known ON true"
)
_KNOWN = _MOMENT_AND_DECISIONS.format(ids="%(ids)s")
# With the tasks of turns: all in one order of locks.
_KNOWN_AND_TASKS = _MOMENT_AND_DECISIONS.format(
    ids="ARRAY(SELECT unnest(%(ids)s::text[]) UNION SELECT task FROM decisions"
    " WHERE id = ANY(%(ids)s) AND task IS NOT NULL)"
)
# Tasks of turns that have expired. What is locked is not waited for: that would be out of order.
_TASKS = f"SELECT {ROW} FROM decisions WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED"
_DUE = (
    f"SELECT {ROW} FROM decisions WHERE state = 'held' AND id IN"
    " (SELECT id FROM decisions WHERE state = 'held' AND expires <= %(now)s UNION ALL"
    f" SELECT id FROM decisions WHERE created > %(now)s + {_AHEAD} AND state = 'held')"
    f" ORDER BY expires LIMIT {_MAX_EXPIRED} FOR UPDATE SKIP LOCKED"
)
# Creates missing rows and locks all, in the order given. The update that changes nothing locks an existing
# row, and returns what was committed while this transaction waited for the lock.
_LOCK_BALANCES = f"""
    INSERT INTO balances AS old (limit_id, series, key, period, unit)
    SELECT limit_id, series, key, period, unit
    FROM json_to_recordset(%s::json)
        AS want (n integer, limit_id text, series text, key text, period bigint, unit text)
    ORDER BY n
    ON CONFLICT (limit_id, series, key, period) DO UPDATE SET held = old.held
    RETURNING {BALANCE}
"""
_BALANCES = f"""
    SELECT {BALANCE}
    FROM json_to_recordset(%s::json)
        AS want (limit_id text, series text, key text, period bigint)
    JOIN balances USING (limit_id, series, key, period)
"""
_CHANGE_BALANCES = """
    UPDATE balances AS old
    SET spent = new.spent, held = new.held, over = new.over, ceiling = new.ceiling,
        erased = new.erased, erased_over = new.erased_over
    FROM json_to_recordset(%s::json)
        AS new (limit_id text, series text, key text, period bigint, spent bigint, held bigint,
                over bigint, ceiling bigint, erased bigint, erased_over bigint)
    WHERE (old.limit_id, old.series, old.key, old.period)
        = (new.limit_id, new.series, new.key, new.period)
"""
_CHANGE_DECISIONS = """
    UPDATE decisions AS old
    SET state = new.state, late = new.late, overage = new.overage, report = new.report,
        actual_money = new.actual_money, actual_tokens = new.actual_tokens,
        actual_requests = new.actual_requests, actual_concurrent = new.actual_concurrent,
        drawn = new.drawn, entries = new.entries, usage = coalesce(new.usage::json, old.usage)
    FROM json_to_recordset(%s::json)
        AS new (id text, state text, late boolean, overage bigint, report text,
                actual_money bigint, actual_tokens bigint, actual_requests bigint,
                actual_concurrent bigint, drawn bigint, entries json, usage text)
    WHERE old.id = new.id
"""
# New decisions are inserted by id, so that two replicas that insert the same ones wait for each other in the
# same order. One statement changes balances too, because almost every transaction does exactly these two.
_CHANGE_BALANCES_AND_ADD = f"""
    WITH changed AS ({_CHANGE_BALANCES})
    INSERT INTO decisions (id, tenant, fingerprint, state, created, expires, held_money,
        held_tokens, held_requests, held_concurrent, actual_money, actual_tokens, actual_requests,
        actual_concurrent, late, overage, report, quoted, task, drawn, reply, entries, labels, record,
        usage)
    SELECT id, tenant, fingerprint, state, created, expires, held_money,
        held_tokens, held_requests, held_concurrent, actual_money, actual_tokens, actual_requests,
        actual_concurrent, late, overage, report, quoted, task, drawn, reply, entries, labels::jsonb,
        record::json,
        coalesce(usage, '{{}}')::json
    FROM json_to_recordset(%s::json)
        AS new (n integer, id text, tenant text, fingerprint text, state text,
                created timestamptz, expires timestamptz, held_money bigint, held_tokens bigint,
                held_requests bigint, held_concurrent bigint, actual_money bigint,
                actual_tokens bigint, actual_requests bigint, actual_concurrent bigint, late boolean,
                overage bigint, report text, quoted bigint, task text, drawn bigint, reply bytea,
                entries json, labels text, record text, usage text)
    ORDER BY n
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits, and the version of the table from which this replica read them."""

    version: int = -1
    book: LimitBook = field(default_factory=LimitBook)

    @staticmethod
    def of(rows: Iterable[TupleRow]) -> Limits:
        """The limits from the rows of :data:`LIMITS`."""
        version, found = -1, list[Limit]()
        for version, body in rows:  # noqa: B007 - every row carries the same version
            if body is not None:
                found.append(storage_format.limit_from_json(json.dumps(body)))
        return Limits(version, LimitBook(found))


@dataclass(frozen=True, slots=True)
class Operation:
    """One hold, settlement, release or expiry.

    Attributes:
        apply: the rule to run; gets the rows and the time of this operation.
        ids: ids of the decisions that it reads.
        hold: the hold that it requests, or ``None``.
    """

    apply: Callable[[LockedRows, datetime], object]
    ids: tuple[str, ...] = ()
    hold: Hold | None = None


class LockedRows:
    """Implements :class:`unit_of_work.UnitOfWork` with the rows that one transaction has locked.

    Attributes:
        limits: the current limits.
        expired: the number of expired holds that were freed.
        payloads: labels and record of new decisions by id, as JSON.
        usages: usage of settled decisions by id, as JSON.
        amended: ids of amended decisions.
    """

    def __init__(self, limits: LimitBook, balances: Sequence[Balance]) -> None:
        self.limits = limits
        self.expired = 0
        self.payloads: dict[str, tuple[str, str]] = {}
        self.usages: dict[str, str] = {}
        self.amended: set[str] = set()
        self._balances = {balance.account: balance for balance in balances}
        self._rows: dict[str, Row] = {}
        self._added: set[str] = set()
        self._changed: set[str] = set()
        self._changed_balances: set[Account] = set()

    def load(self, row: TupleRow) -> Row:
        """Add a decision that was read from the database."""
        made = row_of(row, self.balance)
        return self._rows.setdefault(made.id, made)

    def row(self, decision_id: str) -> Row | None:
        """See :class:`unit_of_work.UnitOfWork`."""
        return self._rows.get(decision_id)

    def balance(self, account: Account, unit: Unit) -> Balance:  # noqa: ARG002 - the protocol's
        """See :class:`unit_of_work.UnitOfWork`; a KeyError if the account was not locked."""
        return self._balances[account]

    def add(self, row: Row, new: Hold) -> None:  # noqa: ARG002 - the protocol's
        """See :class:`unit_of_work.UnitOfWork`."""
        self._rows[row.id] = row
        self._added.add(row.id)
        self.mark_balances(row)

    def change(self, row: Row, report: Settlement | None = None) -> None:  # noqa: ARG002 - the protocol's
        """See :class:`unit_of_work.UnitOfWork`."""
        self._changed.add(row.id)
        self.mark_balances(row)

    def mark_balances(self, row: Row) -> None:
        """Note that the balances of a decision have changed."""
        self._changed_balances.update(entry.balance.account for entry in row.entries)

    def write(self, cursor: Cursor) -> None:
        """Write every row that has changed."""
        balances = to_json_array(
            [balance_columns(self._balances[account]) for account in self._changed_balances]
        )
        self._amend_usages(cursor)
        changed = [self._rows[key] for key in self._changed - self._added]
        if changed:
            changes = (changed_row(row, self.usages.get(row.id)) for row in changed)
            cursor.execute(_CHANGE_DECISIONS, (to_json_array(changes),))
        if self._added:
            added = enumerate(map(self._rows.__getitem__, sorted(self._added)))
            new = (
                new_row(n, row, *self.payloads[row.id], self.usages.get(row.id)) for n, row in added
            )
            cursor.execute(_CHANGE_BALANCES_AND_ADD, (balances, to_json_array(new)))
        elif self._changed_balances:
            cursor.execute(_CHANGE_BALANCES, (balances,))

    def _amend_usages(self, cursor: Cursor) -> None:
        unread = sorted(self.amended - self.usages.keys())
        if unread:
            select = "SELECT id, usage::text FROM decisions WHERE id = ANY(%s)"
            self.usages.update(cursor.execute(select, (unread,)).fetchall())
        for key in self.amended:
            self.usages[key] = storage_format.amended_usage(self.usages[key], self._rows[key])


class _ApplicableLimits(LimitBook):
    """The limits that apply to the holds of one transaction, so that the rules need not search again."""

    def __init__(self, book: LimitBook, operations: Iterable[tuple[Operation, datetime]]) -> None:
        super().__init__()
        self.found = {
            moment: book.applying(each.hold.labels, moment)
            for each, moment in operations
            if each.hold is not None
        }

    def applying(self, labels: Mapping[str, str], moment: datetime) -> Sequence[ApplicableLimit]:  # noqa: ARG002
        return self.found[moment]


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The result of a committed transaction.

    Attributes:
        results: the result of each operation, or the error that it raised; ``None`` if there were too many
            expired holds for one transaction, so that it freed some of them and ran no operation.
        expired: the number of holds freed, including those of the previous transactions of the group.
        moment: the latest time that was used.
        limits: the current limits.
    """

    results: list[object] | None
    expired: int
    moment: datetime
    limits: Limits


def run(
    connection: Connection,
    operations: Sequence[Operation],
    previous: GroupResult,
    test_time: datetime | None,
    lock_key: int,
) -> GroupResult:
    """Run a group of operations in one transaction.

    Args:
        connection: in autocommit, outside a transaction.
        operations: run in order; each sees the effects of those before it.
        previous: the result of the previous transaction.
        test_time: the time of a test; ``None`` for the time of the database.
        lock_key: of the advisory lock on the limits.

    Raises:
        DriverError: the caller must roll back. If the connection was lost, the transaction may have
            been committed.
        GrantedElsewhere: roll back and run the group again.
    """
    ids = sorted({key for each in operations for key in each.ids if storage_format.storable(key)})
    # Whoever changes a limit waits for the transactions that use it, so an acknowledged change takes effect
    # at once. The lock is a separate statement: the next one must see what was committed while it waited.
    cursor = connection.cursor()
    cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock_shared({lock_key:d})")
    # A hold names its task, and one that replaces nothing needs no other.
    named = all(each.hold is not None and each.hold.replaces is None for each in operations)
    read = cursor.execute(
        _KNOWN if named else _KNOWN_AND_TASKS,
        {"test": test_time, "last": previous.moment, "ids": ids},
    ).fetchall()
    (now, version, is_due), limits = read[0][:3], previous.limits
    if version != limits.version:
        limits = Limits.of(cursor.execute(LIMITS).fetchall())
    rows = [row[3:] for row in read if row[3] is not None]
    if is_due:
        due = cursor.execute(_DUE, {"now": now}).fetchall()
        rows = _with_tasks(cursor, rows + due)
        if len(due) == _MAX_EXPIRED:
            operations = ()
    now = now.astimezone(UTC)
    timed = list(zip(operations, _times(operations, now), strict=True))
    found = _ApplicableLimits(limits.book, timed)
    accounts = {
        applying.account: applying.limit.unit
        for option in found.found.values()
        for applying in option
    }
    accounts |= _accounts(rows)
    work = LockedRows(found, _lock_balances(cursor, accounts))
    expired = {
        row.id: row
        for row in map(work.load, rows)
        if row.state is HoldState.HELD and rules.is_due(row, now)
    }
    work.expired = previous.expired + rules.expire(work, expired.values())
    results = [_apply(each, work, moment) for each, moment in timed]
    _check_refusals(cursor, work, operations, results)
    work.write(cursor)
    cursor.execute("COMMIT")
    last = timed[-1][1] if timed else now
    return GroupResult(results if operations else None, work.expired, last, limits)


def _with_tasks(cursor: Cursor, rows: list[TupleRow]) -> list[TupleRow]:
    """Rows that may have expired, with the tasks of turns among them.

    Without the turns of a task that another replica has locked: the next transaction frees those.
    """
    needed = {row[21] for row in rows if row[21] is not None} - {row[0] for row in rows}
    if not needed:
        return rows
    tasks = cursor.execute(_TASKS, (sorted(needed),)).fetchall()
    missing = sorted(needed - {row[0] for row in tasks})
    there = cursor.execute("SELECT id FROM decisions WHERE id = ANY(%s)", (missing,)).fetchall()
    locked = {row[0] for row in there}
    return [row for row in rows if row[21] not in locked] + tasks


def _check_refusals(
    cursor: Cursor, work: LockedRows, operations: Sequence[Operation], results: Sequence[object]
) -> None:
    """Refuse no request that another replica granted while this transaction waited for locks.

    Decisions were read before that wait, balances and ``replaces`` after it. A grant would conflict with the
    row of the other replica; a refusal writes nothing, so it must look again.

    Raises:
        GrantedElsewhere: another replica granted a request that is refused here.
    """
    refused = [
        each.hold.id
        for each, result in zip(operations, results, strict=True)
        if each.hold is not None
        and isinstance(result, Refused | NotFound | NotPossible)
        and work.row(each.hold.id) is None
    ]
    if refused:
        made = cursor.execute("SELECT 1 FROM decisions WHERE id = ANY(%s) LIMIT 1", (refused,))
        if made.fetchone() is not None:
            raise GrantedElsewhere


def erase(connection: Connection, condition: str, values: Sequence[object]) -> int:
    """Delete some of the decisions that match, in one transaction.

    Args:
        connection: in autocommit, outside a transaction.
        condition: of SQL, on the columns of decisions.
        values: of the placeholders of the condition.

    Returns:
        The number deleted; 0 if no decision matches.
    """
    with connection.transaction(), connection.cursor() as cursor:
        found = cursor.execute(
            f"SELECT {ROW} FROM decisions WHERE id IN"
            f" (SELECT id FROM decisions WHERE {condition} LIMIT {_MAX_EXPIRED})"
            f" AND {condition} ORDER BY id FOR UPDATE",
            (*values, *values),
        ).fetchall()
        work = LockedRows(LimitBook(), _lock_balances(cursor, _accounts(found)))
        for row in map(work.load, found):
            work.mark_balances(row)
            rules.erase(row)
        work.write(cursor)
        cursor.execute("DELETE FROM decisions WHERE id = ANY(%s)", ([row[0] for row in found],))
    return len(found)


def _times(operations: Sequence[Operation], now: datetime) -> list[datetime]:
    # No two decisions of a replica have the same time, so that the order of its log is unique.
    found = []
    for each in operations:
        now += _TICK if each.hold is not None else timedelta()
        found.append(now)
    return found


def _apply(operation: Operation, work: LockedRows, moment: datetime) -> object:
    try:
        return operation.apply(work, moment)
    except MitsumoriError as error:
        return error


def _accounts(rows: Iterable[TupleRow]) -> dict[Account, Unit]:
    return {Account(*entry[:4]): Unit(entry[4]) for row in rows for entry in row[10]}


def _lock_balances(cursor: Cursor, accounts: Mapping[Account, Unit]) -> list[Balance]:
    """Lock and read the balances of these accounts, in their order; creates missing ones."""
    if not accounts:
        return []
    ordered = enumerate(sorted(accounts))
    wanted = [
        {"n": n, **account_columns(account), "unit": accounts[account].value}
        for n, account in ordered
    ]
    found = cursor.execute(_LOCK_BALANCES, (to_json_array(wanted),)).fetchall()
    return [balance_of(row) for row in found]


def read_balances(connection: Connection, accounts: Iterable[Account]) -> list[Balance]:
    """The balances of these accounts, without those that have no row yet."""
    found = connection.execute(
        _BALANCES, (to_json_array(map(account_columns, accounts)),)
    ).fetchall()
    return [balance_of(row) for row in found]
