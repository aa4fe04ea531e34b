"""One transaction of the ledger on PostgreSQL: read and lock what a group of operations needs, let the
rules decide in Python, write what changed, commit. Five round trips, however many operations. (psycopg's
pipeline mode saves two, and costs more than that on a fast network.)

Locks are taken in one order everywhere, so replicas wait for each other and never deadlock: the
limits (shared), decisions by id, holds that ran out (skipping those that another replica works on),
balances by account, new decisions by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from router.core.errors import MitsumoriError, NotFound
from router.core.limits import Limit, Unit
from router.ledger import rules, storage_format
from router.ledger.base import Hold, HoldState, Refused, Settlement
from router.ledger.limit_book import ApplicableLimit, LimitBook
from router.ledger.postgres.database import Connection, Cursor, Overtaken, TupleRow
from router.ledger.postgres.row_mapping import (
    BALANCE,
    ROW,
    balance_of,
    changed_row,
    identity,
    new_row,
    row_of,
    sums,
    to_array,
)
from router.ledger.rows import Account, Balance, Row

__all__ = [
    "LIMITS",
    "MOMENT",
    "GroupResult",
    "Limits",
    "Operation",
    "PostgresBooks",
    "erase",
    "read_balances",
    "run",
]

_DUE_AT_ONCE = 500
"""How many holds that ran out one transaction gives back."""
_TICK = timedelta(microseconds=1)


# ruff: noqa: S608  (the texts are put together from the constants above, never from values)

# The database's time, or that of a test; never before the newest decision, so that a clock that is set
# back stands still and replicas agree. Parameters: the test's time or NULL, what was said before.
_NOW = (
    "SELECT greatest(coalesce(%s::timestamptz, clock_timestamp()), %s::timestamptz,"
    " (SELECT max(created) FROM decisions)) AS now"
)
MOMENT = (
    "SELECT now, limits_version,"
    " EXISTS (SELECT FROM decisions WHERE state = 'held' AND expires <= now)"
    f" FROM state, ({_NOW}) AS moment"
)
LIMITS = "SELECT limits_version, body FROM state LEFT JOIN limits ON true"
# The moment, beside each decision that is known (NULLs where none is). Parameters: ids, last.
_MOMENT_AND_KNOWN = (
    f"SELECT moment.*, known.* FROM ({MOMENT}) AS moment LEFT JOIN"
    f" (SELECT {ROW} FROM decisions WHERE id = ANY(%s) ORDER BY id FOR UPDATE) AS known ON true"
)
_DUE = (
    f"SELECT {ROW} FROM decisions WHERE state = 'held' AND expires <= %s"
    f" ORDER BY expires LIMIT {_DUE_AT_ONCE} FOR UPDATE SKIP LOCKED"
)
# An update that changes nothing locks the row that is there and gives back what was committed while we
# waited; one pass makes and locks, in the order given.
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
        entries = new.entries, usage = coalesce(new.usage::json, old.usage)
    FROM json_to_recordset(%s::json)
        AS new (id text, state text, late boolean, overage bigint, report text,
                actual_money bigint, actual_tokens bigint, actual_requests bigint,
                actual_concurrent bigint, entries json, usage text)
    WHERE old.id = new.id
"""
# New decisions go in by id: two replicas that make the same ones wait for each other in one order.
# Together with the balances, because almost every transaction does just these two.
_CHANGE_BALANCES_AND_ADD = f"""
    WITH changed AS ({_CHANGE_BALANCES})
    INSERT INTO decisions (id, tenant, fingerprint, state, created, expires, held_money,
        held_tokens, held_requests, held_concurrent, actual_money, actual_tokens, actual_requests,
        actual_concurrent, late, overage, report, quoted, reply, entries, labels, record, usage)
    SELECT id, tenant, fingerprint, state, created, expires, held_money,
        held_tokens, held_requests, held_concurrent, actual_money, actual_tokens, actual_requests,
        actual_concurrent, late, overage, report, quoted, reply, entries, labels::jsonb, record::json,
        coalesce(usage, '{{}}')::json
    FROM json_to_recordset(%s::json)
        AS new (n integer, id text, tenant text, fingerprint text, state text,
                created timestamptz, expires timestamptz, held_money bigint, held_tokens bigint,
                held_requests bigint, held_concurrent bigint, actual_money bigint,
                actual_tokens bigint, actual_requests bigint, actual_concurrent bigint, late boolean,
                overage bigint, report text, quoted bigint, reply bytea, entries json, labels text,
                record text, usage text)
    ORDER BY n
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits as one replica knows them, and which version of the table that is."""

    version: int = -1
    book: LimitBook = field(default_factory=LimitBook)

    @staticmethod
    def of(rows: Iterable[TupleRow]) -> Limits:
        """From the rows of :data:`LIMITS`."""
        version, found = -1, list[Limit]()
        for version, body in rows:  # noqa: B007 - every row carries the same version
            if body is not None:
                found.append(storage_format.limit_from_json(json.dumps(body)))
        return Limits(version, LimitBook(found))


@dataclass(frozen=True, slots=True)
class Operation:
    """One hold, settlement, release or expiry.

    Attributes:
        apply: what the rules do; gets the books and the moment of this operation.
        ids: the decisions that it reads.
        hold: the hold that it wants to make, or ``None``.
    """

    apply: Callable[[PostgresBooks, datetime], object]
    ids: tuple[str, ...] = ()
    hold: Hold | None = None


class PostgresBooks:
    """:class:`rules.PostgresBooks` over the rows that one transaction has locked.

    Attributes:
        limits: as they are now.
        expired: how many holds ran out and were given back.
        papers: labels and record of new decisions, as JSON.
        usages: of settlements, as JSON.
    """

    def __init__(self, limits: LimitBook, balances: Sequence[Balance]) -> None:
        self.limits = limits
        self.expired = 0
        self.papers: dict[str, tuple[str, str]] = {}
        self.usages: dict[str, str] = {}
        self._balances = {balance.account: balance for balance in balances}
        self._rows: dict[str, Row] = {}
        self._added: set[str] = set()
        self._changed: set[str] = set()
        self._touched: set[Account] = set()

    def keep(self, row: TupleRow) -> Row:
        """Take in a decision that was read."""
        made = row_of(row, self.balance)
        return self._rows.setdefault(made.id, made)

    def row(self, decision_id: str) -> Row | None:
        """See :class:`rules.PostgresBooks`."""
        return self._rows.get(decision_id)

    def balance(self, account: Account, unit: Unit) -> Balance:  # noqa: ARG002 - the protocol's
        """See :class:`rules.PostgresBooks`; every account was locked before, or this fails."""
        return self._balances[account]

    def add(self, row: Row, new: Hold) -> None:  # noqa: ARG002 - the protocol's
        """See :class:`rules.PostgresBooks`."""
        self._rows[row.id] = row
        self._added.add(row.id)
        self.touch(row)

    def change(self, row: Row, report: Settlement | None = None) -> None:  # noqa: ARG002 - the protocol's
        """See :class:`rules.PostgresBooks`."""
        self._changed.add(row.id)
        self.touch(row)

    def touch(self, row: Row) -> None:
        """Write the balances of this decision."""
        self._touched.update(entry.balance.account for entry in row.entries)

    def write(self, cursor: Cursor) -> None:
        """Send what changed."""
        balances = to_array([sums(self._balances[account]) for account in self._touched])
        changed = [self._rows[key] for key in self._changed - self._added]
        if changed:
            changes = (changed_row(row, self.usages.get(row.id)) for row in changed)
            cursor.execute(_CHANGE_DECISIONS, (to_array(changes),))
        if self._added:
            added = enumerate(map(self._rows.__getitem__, sorted(self._added)))
            new = (
                new_row(n, row, *self.papers[row.id], self.usages.get(row.id)) for n, row in added
            )
            cursor.execute(_CHANGE_BALANCES_AND_ADD, (balances, to_array(new)))
        elif self._touched:
            cursor.execute(_CHANGE_BALANCES, (balances,))


class _Found(LimitBook):
    """What applies at the moments of one transaction, so that the rules need not search again."""

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
    """What came out of a transaction that was committed.

    Attributes:
        results: of each operation, or the error that it raised; ``None`` where so many holds ran out
            that this transaction only gives back some, and the operations are to be run again.
        expired: how many holds were given back, those of transactions before included.
        moment: the latest that was given out.
        limits: as they are now.
    """

    results: list[object] | None
    expired: int
    moment: datetime
    limits: Limits


def run(
    connection: Connection,
    operations: Sequence[Operation],
    before: GroupResult,
    fixed: datetime | None,
    lock: int,
) -> GroupResult:
    """Run a group of operations in one transaction.

    Args:
        connection: in autocommit, outside a transaction.
        operations: in order; they see each other's effects.
        before: the transaction before.
        fixed: the time of a test; ``None`` for the database's.
        lock: key of the advisory lock on the limits.

    Raises:
        DriverError: roll back. Only of a lost connection it is not known whether it committed.
    """
    ids = sorted({key for each in operations for key in each.ids if storage_format.storable(key)})
    # Whoever changes a limit waits for those who decide by it, so an acknowledged change binds. A
    # statement of its own, or what it waited for would not be seen.
    cursor = connection.cursor()
    cursor.execute(f"BEGIN; SELECT pg_advisory_xact_lock_shared({lock:d})")
    read = cursor.execute(_MOMENT_AND_KNOWN, (fixed, before.moment, ids)).fetchall()
    (now, version, is_due), limits = read[0][:3], before.limits
    if version != limits.version:
        limits = Limits.of(cursor.execute(LIMITS).fetchall())
    rows = [row[3:] for row in read if row[3] is not None]
    if is_due:
        due = cursor.execute(_DUE, (now,)).fetchall()
        rows += due
        if len(due) == _DUE_AT_ONCE:
            operations = ()
    now = now.astimezone(UTC)
    timed = list(zip(operations, _moments(operations, now), strict=True))
    found = _Found(limits.book, timed)
    accounts = {
        applying.account: applying.limit.unit
        for option in found.found.values()
        for applying in option
    }
    accounts |= _accounts(rows)
    books = PostgresBooks(found, _lock_balances(cursor, accounts))
    gone = {
        row.id: row
        for row in map(books.keep, rows)
        if row.state is HoldState.HELD and row.expires <= now
    }
    books.expired = before.expired + rules.expire(books, gone.values())
    results = [_outcome(each, books, moment) for each, moment in timed]
    _check_refusals(cursor, books, operations, results)
    books.write(cursor)
    cursor.execute("COMMIT")
    last = timed[-1][1] if timed else now
    return GroupResult(results if operations else None, books.expired, last, limits)


def _check_refusals(
    cursor: Cursor, books: PostgresBooks, operations: Sequence[Operation], results: Sequence[object]
) -> None:
    """Let no request be refused that another replica granted while we waited for its locks.

    Decisions were read before that wait, balances and ``replaces`` after it. A grant would collide with
    the row of the other; a refusal writes nothing, so it looks again: ``Overtaken`` begins anew.
    """
    refused = [
        each.hold.id
        for each, result in zip(operations, results, strict=True)
        if each.hold is not None
        and isinstance(result, Refused | NotFound)
        and books.row(each.hold.id) is None
    ]
    if refused:
        made = cursor.execute("SELECT 1 FROM decisions WHERE id = ANY(%s) LIMIT 1", (refused,))
        if made.fetchone() is not None:
            raise Overtaken


def erase(connection: Connection, condition: str, values: Sequence[object]) -> int:
    """Delete some of the decisions that a condition of SQL names, in one transaction; how many."""
    with connection.transaction(), connection.cursor() as cursor:
        found = cursor.execute(
            f"SELECT {ROW} FROM decisions WHERE id IN"
            f" (SELECT id FROM decisions WHERE {condition} LIMIT {_DUE_AT_ONCE})"
            f" AND {condition} ORDER BY id FOR UPDATE",
            (*values, *values),
        ).fetchall()
        books = PostgresBooks(LimitBook(), _lock_balances(cursor, _accounts(found)))
        for row in map(books.keep, found):
            books.touch(row)
            rules.erase(row)
        books.write(cursor)
        cursor.execute("DELETE FROM decisions WHERE id = ANY(%s)", ([row[0] for row in found],))
    return len(found)


def _moments(operations: Sequence[Operation], now: datetime) -> list[datetime]:
    # Two decisions of a replica never share a moment, so that its log has one order.
    found = []
    for each in operations:
        now += _TICK if each.hold is not None else timedelta()
        found.append(now)
    return found


def _outcome(operation: Operation, books: PostgresBooks, moment: datetime) -> object:
    try:
        return operation.apply(books, moment)
    except MitsumoriError as error:
        return error


def _accounts(rows: Iterable[TupleRow]) -> dict[Account, Unit]:
    return {Account(*entry[:4]): Unit(entry[4]) for row in rows for entry in row[10]}


def _lock_balances(cursor: Cursor, accounts: Mapping[Account, Unit]) -> list[Balance]:
    """Lock the balances of these accounts in their order, and read them; makes those that are new."""
    if not accounts:
        return []
    ordered = enumerate(sorted(accounts))
    wanted = [
        {"n": n, **identity(account), "unit": accounts[account].value} for n, account in ordered
    ]
    found = cursor.execute(_LOCK_BALANCES, (to_array(wanted),)).fetchall()
    return [balance_of(row) for row in found]


def read_balances(connection: Connection, accounts: Iterable[Account]) -> list[Balance]:
    """The balances of these accounts; those that have no row yet are left out."""
    found = connection.execute(_BALANCES, (to_array(map(identity, accounts)),)).fetchall()
    return [balance_of(row) for row in found]
