"""One group of operations on the SQLite ledger: what it reads, changes in memory, and writes at the end.

Everything a group needs is read in a few statements, the rules work on objects, and the rows that changed
are written with one statement per table. A :class:`Cache` of what the only writer knows anyway lives from
group to group; it is dropped whenever a transaction fails, because it may then be ahead of the file.
"""

# Only names of columns and tables written here are ever put into SQL; values are bound.
# ruff: noqa: S608

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import apsw

from router.core.limits import Amounts, Limit, Unit
from router.ledger import rules
from router.ledger.base import Decided, Hold, HoldState, Settlement
from router.ledger.rules import Account, Balance, Entry, LimitBook, Row, from_micros, to_micros

__all__ = ["Cache", "Work", "balances", "decided", "log", "position", "reply", "rows"]

_STATES = (
    HoldState.QUOTED,
    HoldState.HELD,
    HoldState.SETTLED,
    HoldState.RELEASED,
    HoldState.EXPIRED,
)
_NUMBER = {state: number for number, state in enumerate(_STATES)}
_FINAL = "(state >= 2 OR state = 0 AND expires <= {now})"
_MOST_EXPIRED = 1_000
_MOST_BALANCES = 200_000
_MOST_LABEL_SETS = 100_000
_MOST_MERGED = 1_000
_NEVER = 2**62

_ROW = (
    "created, id, tenant, fingerprint, state, expires,"
    " held_money, held_tokens, held_requests, held_concurrent,"
    " actual_money, actual_tokens, actual_requests, actual_concurrent, late, overage, report, reply"
)
_BALANCE = (
    "number, limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
)


class Cache:
    """What the writer remembers between groups, all of it committed."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.limits = LimitBook(
            rules.limit_from_json(text)
            for (text,) in connection.execute("SELECT definition FROM limits")
        )
        self.accounts: dict[Account, Balance] = {}
        self.balances: dict[int, Balance] = {}
        self.label_sets: dict[str, int] = {}
        self.next_balance = _next(connection, "balances")
        self.next_label_set = _next(connection, "label_sets")
        self.last_created = int(
            connection.execute("SELECT coalesce(max(created), 0) FROM decisions").get
        )

    def trim(self) -> None:
        """Forget what has grown too long; it can be read again."""
        if len(self.accounts) > _MOST_BALANCES:
            self.accounts.clear()
            self.balances.clear()
        if len(self.label_sets) > _MOST_LABEL_SETS:
            self.label_sets.clear()


class Work:
    """:class:`rules.Books` for one group, inside one transaction.

    Args:
        connection: in a transaction.
        cache: of the writer.
        moment: the store's time for the whole group.
    """

    def __init__(self, connection: apsw.Connection, cache: Cache, moment: datetime) -> None:
        self._connection = connection
        self._cache = cache
        self._moment = moment
        self._papers: dict[str, tuple[str, str]] = {}
        self._rows: dict[str, Row] = {}
        self._new: dict[str, Row] = {}
        self._changed: dict[str, Row] = {}
        self._usages: dict[str, str] = {}
        self._dirty: dict[Account, Balance] = {}
        self._new_sets: list[tuple[int, str]] = []
        self.expired = 0

    # ── Books ─────────────────────────────────────────────────────────────────────────────────────

    @property
    def limits(self) -> LimitBook:
        """The limits, with what this group changed."""
        return self._cache.limits

    def row(self, decision_id: str) -> Row | None:
        """A decision that was loaded or made by this group."""
        return self._rows.get(decision_id)

    def balance(self, account: Account, unit: Unit) -> Balance:
        """The balance of an account."""
        found = self._cache.accounts.get(account)
        if found is None:
            values = self._connection.execute(
                f"SELECT {_BALANCE} FROM balances"
                " WHERE limit_id = ? AND series = ? AND key = ? AND period = ?",
                account,
            ).fetchone()
            found = _balance(values) if values is not None else Balance(account, unit)
            self._remember(found)
        return found

    def add(self, row: Row, new: Hold) -> None:  # noqa: ARG002 - its JSON comes by with_papers
        """Keep a new decision until the group is written."""
        row.number = self._cache.last_created = to_micros(row.created)
        self._rows[row.id] = self._new[row.id] = row
        self._touch(row)

    def change(self, row: Row, report: Settlement | None = None) -> None:  # noqa: ARG002 - with_usage
        """Keep a changed decision until the group is written."""
        self._changed[row.id] = row
        self._touch(row)

    # ── operations ────────────────────────────────────────────────────────────────────────────────

    def tick(self) -> datetime:
        """The moment of the next decision: no two share one, so that the log has one order."""
        return max(self._moment, from_micros(self._cache.last_created + 1))

    def with_papers(self, decision_id: str, labels: str, record: str) -> None:
        """The labels and the record of a decision that was just made, as JSON."""
        self._papers[decision_id] = labels, record

    def with_usage(self, decision_id: str, usage: str) -> None:
        """The record of the usage of a decision that was just settled, as JSON."""
        self._usages[decision_id] = usage

    def set_limit(self, limit: Limit) -> None:
        """Make or replace a limit."""
        self._connection.execute(
            "INSERT OR REPLACE INTO limits VALUES (?, ?)", (limit.id, rules.limit_to_json(limit))
        )
        self._cache.limits = self._cache.limits.with_limit(limit)

    def delete_limit(self, limit_id: str) -> bool:
        """Remove a limit; false where there was none."""
        there = self._cache.limits.get(limit_id) is not None
        if there:
            self._connection.execute("DELETE FROM limits WHERE id = ?", (limit_id,))
            self._cache.limits = self._cache.limits.without(limit_id)
        return there

    def load(self, ids: Iterable[str]) -> None:
        """Read decisions with their entries, where they exist, before operations ask for them."""
        loaded: dict[int, Row] = {}
        values: Any
        for values in self._connection.execute(
            f"SELECT {_ROW} FROM decisions WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        ):
            row = _row(values)
            if row.id not in self._rows:
                self._rows[row.id] = loaded[values[0]] = row
        if not loaded:
            return
        entries: list[Any] = self._connection.execute(
            "SELECT decision, balance, held, spent, over"
            " FROM entries WHERE decision IN (SELECT value FROM json_each(?))",
            (json.dumps(list(loaded)),),
        ).fetchall()
        for decision, balance, held, spent, over in entries:
            loaded[decision].entries.append(
                Entry(self._numbered_balance(balance), held, spent, over)
            )

    def expire_due(self) -> None:
        """Give back every hold whose time has run out by the moment of the group."""
        now = to_micros(self._moment)
        while True:
            due = [
                decision_id
                for (decision_id,) in self._connection.execute(
                    "SELECT id FROM decisions INDEXED BY decisions_held"
                    " WHERE state = 1 AND expires <= ? LIMIT ?",
                    (now, _MOST_EXPIRED),
                )
            ]
            if not due:
                return
            self.load(due)
            self.expired += rules.expire(self, [self._rows[decision_id] for decision_id in due])
            self.write()

    def erase(
        self, labels: Mapping[str, str], since: int, before: int, count: int
    ) -> tuple[int, int | None]:
        """Delete up to ``count`` final decisions created in a span of microseconds.

        Returns: how many, and where to go on; ``None`` at the end.
        """
        self.write()
        moments = list(
            _moments(
                self._connection,
                labels,
                since,
                before,
                _FINAL.format(now=to_micros(self._moment)),
                count,
            )
        )
        if not moments:
            return 0, None
        found: list[Any] = self._connection.execute(
            "SELECT id, label_set FROM decisions WHERE created IN (SELECT value FROM json_each(?))",
            (json.dumps(moments),),
        ).fetchall()
        self.load(decision_id for decision_id, _ in found)
        for decision_id, _ in found:
            row = self._rows.pop(decision_id)
            self._touch(row)
            rules.erase(row)
        for table, column in (("entries", "decision"), ("decisions", "created")):
            self._connection.executemany(
                f"DELETE FROM {table} WHERE {column} = ?", [(moment,) for moment in moments]
            )
        self._forget_label_sets({label_set for _, label_set in found})
        self.write()
        return len(found), (moments[-1] + 1 if len(found) == count else None)

    def write(self) -> None:
        """Write every row that changed since the last time, one statement per table."""
        if not (self._new or self._changed or self._dirty):
            return
        run = self._connection.executemany
        for balance in self._dirty.values():
            if balance.number is None:
                balance.number = self._cache.next_balance
                self._cache.next_balance += 1
                self._cache.balances[balance.number] = balance
        run(
            f"INSERT INTO balances ({_BALANCE}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (number) DO UPDATE SET spent = excluded.spent, held = excluded.held,"
            " over = excluded.over, ceiling = excluded.ceiling, erased = excluded.erased,"
            " erased_over = excluded.erased_over",
            [
                (b.number, *b.account, b.unit.value, b.spent, b.held, b.over, b.ceiling, b.erased,
                 b.erased_over)
                for b in self._dirty.values()
            ],
        )  # fmt: skip
        run(
            f"INSERT INTO decisions ({_ROW}, label_set, record, usage)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [self._values(row) for row in self._new.values()],
        )
        run("INSERT INTO label_sets VALUES (?, ?)", self._new_sets)
        run(
            "INSERT INTO label_values VALUES (?, ?, ?)",
            [
                (name, value, number)
                for number, labels in self._new_sets
                for name, value in json.loads(labels).items()
            ],
        )
        run(
            "INSERT INTO entries VALUES (?,?,?,?,?)",
            [
                (row.number, entry.balance.number, entry.held, entry.spent, entry.over)
                for row in self._new.values()
                for entry in row.entries
            ],
        )
        changed = [row for row in self._changed.values() if row.id not in self._new]
        run(
            "UPDATE decisions SET state = ?, actual_money = ?, actual_tokens = ?,"
            " actual_requests = ?, actual_concurrent = ?, late = ?, overage = ?, report = ?,"
            " usage = coalesce(?, usage) WHERE created = ?",
            [
                (_NUMBER[row.state], *_amounts(row.actual), row.late, row.overage, row.report,
                 self._usages.get(row.id), row.number)
                for row in changed
            ],
        )  # fmt: skip
        run(
            "UPDATE entries SET held = ?, spent = ?, over = ? WHERE decision = ? AND balance = ?",
            [
                (entry.held, entry.spent, entry.over, row.number, entry.balance.number)
                for row in changed
                for entry in row.entries
            ],
        )
        self._connection.execute(
            "UPDATE meta SET value = max(value, ?) WHERE name = 'time'",
            (max(to_micros(self._moment), self._cache.last_created),),
        )
        self._new, self._changed, self._dirty, self._new_sets = {}, {}, {}, []

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _touch(self, row: Row) -> None:
        for entry in row.entries:
            self._dirty[entry.balance.account] = entry.balance

    def _remember(self, balance: Balance) -> None:
        self._cache.accounts[balance.account] = balance
        if balance.number is not None:
            self._cache.balances[balance.number] = balance

    def _numbered_balance(self, number: int) -> Balance:
        found = self._cache.balances.get(number)
        if found is None:
            values = self._connection.execute(
                f"SELECT {_BALANCE} FROM balances WHERE number = ?", (number,)
            ).fetchone()
            found = _balance(values)
            self._remember(found)
        return found

    def _values(self, row: Row) -> tuple[Any, ...]:
        labels, record = self._papers[row.id]
        return (
            row.number, row.id, row.tenant, row.fingerprint, _NUMBER[row.state],
            to_micros(row.expires), *_amounts(row.held),
            *_amounts(row.actual), row.late, row.overage, row.report, row.reply,
            self._label_set(labels), record, self._usages.get(row.id, "{}"),
        )  # fmt: skip

    def _label_set(self, labels: str) -> int:
        number = self._cache.label_sets.get(labels)
        if number is None:
            found = self._connection.execute(
                "SELECT number FROM label_sets WHERE labels = ?", (labels,)
            ).fetchone()
            if found is not None:
                number = int(found[0])
            else:
                number = self._cache.next_label_set
                self._cache.next_label_set += 1
                self._new_sets.append((number, labels))
            self._cache.label_sets[labels] = number
        return number

    def _forget_label_sets(self, numbers: Iterable[int]) -> None:
        # Labels name people: they go with the last decision that carried them.
        for number in numbers:
            gone: list[Any] = self._connection.execute(
                "DELETE FROM label_sets WHERE number = ?1"
                " AND NOT EXISTS (SELECT 1 FROM decisions WHERE label_set = ?1) RETURNING labels",
                (number,),
            ).fetchall()
            for (labels,) in gone:
                self._cache.label_sets.pop(labels, None)
                self._connection.executemany(
                    "DELETE FROM label_values WHERE name = ? AND value = ? AND label_set = ?",
                    [(name, value, number) for name, value in json.loads(labels).items()],
                )


# ── reading ───────────────────────────────────────────────────────────────────────────────────────


def log(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    state: HoldState | None,
    count: int,
) -> list[Decided]:
    """A page of the decision log, from ``since`` until before ``until`` in microseconds."""
    condition = "1" if state is None else f"state = {_NUMBER[state]}"
    moments = _moments(
        connection, labels, since, _NEVER if until is None else until, condition, count
    )
    return _decided(connection, "created", list(moments))


def decided(connection: apsw.Connection, decision_id: str) -> Decided | None:
    """One row of the decision log."""
    if not rules.storable(decision_id):
        return None
    return next(iter(_decided(connection, "id", [decision_id])), None)


def reply(connection: apsw.Connection, decision_id: str) -> tuple[str, str, bytes] | None:
    """Tenant, fingerprint and reply of a decision."""
    if not rules.storable(decision_id):
        return None
    found: Any = connection.execute(
        "SELECT tenant, fingerprint, reply FROM decisions WHERE id = ?", (decision_id,)
    ).fetchone()
    return None if found is None else (found[0], found[1], found[2])


def position(connection: apsw.Connection, decision_id: str) -> int | None:
    """When a decision was created, in microseconds."""
    if not rules.storable(decision_id):
        return None
    found = connection.execute(
        "SELECT created FROM decisions WHERE id = ?", (decision_id,)
    ).fetchone()
    return None if found is None else int(found[0])


def balances(connection: apsw.Connection) -> Iterator[Balance]:
    """Every balance."""
    return (_balance(values) for values in connection.execute(f"SELECT {_BALANCE} FROM balances"))


def rows(connection: apsw.Connection) -> Iterator[Row]:
    """Every decision with its entries, in the order of creation; the file is walked once."""
    known = {balance.number: balance for balance in balances(connection)}
    entries = connection.execute(
        "SELECT decision, balance, held, spent, over FROM entries ORDER BY decision"
    )
    ahead = next(entries, None)
    for values in connection.execute(f"SELECT {_ROW} FROM decisions ORDER BY created"):
        row = _row(values)
        while ahead is not None and ahead[0] <= values[0]:
            if ahead[0] == values[0]:
                row.entries.append(Entry(known[ahead[1]], *ahead[2:]))
            ahead = next(entries, None)
        yield row


def _moments(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int,
    condition: str,
    count: int,
) -> Iterator[int]:
    # Few label sets: their decisions are merged by time, each read no further than needed. Many:
    # they are common enough for a walk along the log.
    span = (since, until)
    within = f"created >= ? AND created < ? AND {condition}"
    sets = _label_sets(connection, labels) if labels else None
    if sets is not None and len(sets) <= _MOST_MERGED:
        walks = [
            connection.execute(
                f"SELECT created FROM decisions INDEXED BY decisions_labels"
                f" WHERE label_set = ? AND {within} ORDER BY created",
                (number, *span),
            )
            for number in sets
        ]
        found: Iterator[Any] = heapq.merge(*walks)
    else:
        among = "" if sets is None else " AND label_set IN (SELECT value FROM json_each(?))"
        bound = span if sets is None else (*span, json.dumps(sets))
        found = connection.execute(
            f"SELECT created FROM decisions WHERE {within}{among} ORDER BY created", bound
        )
    return (created for (created,) in islice(found, count))


def _label_sets(connection: apsw.Connection, labels: Mapping[str, str]) -> list[int]:
    one = "SELECT label_set FROM label_values WHERE name = ? AND value = ?"
    bound = [text for pair in labels.items() for text in pair]
    return [
        number for (number,) in connection.execute(" INTERSECT ".join([one] * len(labels)), bound)
    ]


def _decided(connection: apsw.Connection, column: str, keys: Sequence[int | str]) -> list[Decided]:
    columns = ", ".join(f"decisions.{name.strip()}" for name in _ROW.split(","))
    return [
        rules.decided(_row(values), *values[-3:])
        for values in connection.execute(
            f"SELECT {columns}, labels, record, usage FROM decisions"
            " JOIN label_sets ON label_sets.number = label_set"
            f" WHERE decisions.{column} IN (SELECT value FROM json_each(?)) ORDER BY created",
            (json.dumps(keys),),
        )
    ]


def _row(values: Any) -> Row:
    return Row(
        number=values[0],
        created=from_micros(values[0]),
        id=values[1],
        tenant=values[2],
        fingerprint=values[3],
        state=_STATES[values[4]],
        expires=from_micros(values[5]),
        held=None if values[6] is None else Amounts(*values[6:10]),
        actual=None if values[10] is None else Amounts(*values[10:14]),
        late=bool(values[14]),
        overage=values[15],
        report=values[16],
        reply=values[17],
    )


def _balance(values: Any) -> Balance:
    number, *account, unit, spent, held, over, ceiling, erased, erased_over = values
    return Balance(
        Account(*account), Unit(unit), spent, held, over, ceiling, erased, erased_over, number
    )


def _amounts(amounts: Amounts | None) -> tuple[int | None, ...]:
    if amounts is None:
        return (None, None, None, None)
    return (amounts.money, amounts.tokens, amounts.requests, amounts.concurrent)


def _next(connection: apsw.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(number), 0) + 1 FROM {table}").get)
