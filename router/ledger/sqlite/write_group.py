"""One group of operations on the SQLite ledger, run in one transaction.

A few statements read everything that the group needs, the rules work on objects, and one statement per
table writes the rows that changed.
"""

# SQL is built from constants only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import apsw

from router.core.limits import Amounts, Limit, Unit
from router.ledger import rules, storage_format
from router.ledger.base import Hold, Settlement
from router.ledger.limit_book import LimitBook
from router.ledger.rows import Account, Balance, LedgerEntry, Row
from router.ledger.shared_state import SharedRow
from router.ledger.sqlite import shared_state
from router.ledger.sqlite.cache import Cache
from router.ledger.sqlite.queries import BALANCE, DECISIONS, NUMBER, ROW, balance_of, find, row_of
from router.ledger.storage_format import from_micros, to_micros

__all__ = ["Payload", "WriteGroup"]

_FINAL = "(state >= 2 OR state = 0 AND expires <= {now})"
_SET_TIME = "UPDATE meta SET value = ? WHERE name = 'time'"
_MAX_EXPIRED = 1_000


class Payload(NamedTuple):
    """The long texts of a new decision.

    Attributes:
        labels: as JSON.
        record: as JSON; not stored where ``packed`` holds it.
        packed: reply and record in their packed form; ``None``: they are stored as they are.
        dictionary: of the packed form.
    """

    labels: str
    record: str
    packed: bytes | None = None
    dictionary: bytes = b""


class WriteGroup:
    """Implements :class:`unit_of_work.UnitOfWork` for one group.

    Args:
        connection: a connection in a transaction.
        cache: the cache of the writer.
        moment: the store's time for the whole group.

    Attributes:
        moment: the same.
        expired: the number of expired holds that were freed.
        written: the balances that were written so far.
    """

    def __init__(self, connection: apsw.Connection, cache: Cache, moment: datetime) -> None:
        self._connection = connection
        self._cache = cache
        self.moment = moment
        self._payloads: dict[str, Payload] = {}
        self._rows: dict[str, Row] = {}
        self._new: dict[str, Row] = {}
        self._changed: dict[str, Row] = {}
        self._usages: dict[str, str] = {}
        self._dirty: dict[Account, Balance] = {}
        self._new_sets: dict[str, int] = {}
        self.expired = 0
        self.written: dict[Account, Balance] = {}

    # ── UnitOfWork ────────────────────────────────────────────────────────────────────────────────

    @property
    def limits(self) -> LimitBook:
        """The limits, including the changes of this group."""
        return self._cache.limits

    def row(self, decision_id: str) -> Row | None:
        """A decision that this group has loaded or added."""
        return self._rows.get(decision_id)

    def balance(self, account: Account, unit: Unit) -> Balance:
        """The balance of an account."""
        found = self._cache.accounts.get(account)
        if found is None:
            values = self._connection.execute(
                f"SELECT {BALANCE} FROM balances"
                " WHERE limit_id = ? AND series = ? AND key = ? AND period = ?",
                account,
            ).fetchone()
            found = balance_of(values) if values is not None else Balance(account, unit)
            self._cache_balance(found)
        return found

    def add(self, row: Row, new: Hold) -> None:  # noqa: ARG002 - its JSON comes by set_payload
        """Add a new decision; :meth:`write` stores it."""
        row.number = self._cache.last_created = to_micros(row.created)
        self._rows[row.id] = self._new[row.id] = row
        self._mark_balances(row)

    def change(self, row: Row, report: Settlement | None = None) -> None:  # noqa: ARG002 - set_usage
        """Note that a decision has changed; :meth:`write` stores it."""
        self._changed[row.id] = row
        self._mark_balances(row)

    # ── operations ────────────────────────────────────────────────────────────────────────────────

    def next_created(self) -> datetime:
        """The time of creation of the next decision; no two are equal, so the order of the log is unique."""
        return max(self.moment, from_micros(self._cache.last_created + 1))

    def set_payload(self, decision_id: str, payload: Payload) -> None:
        """Set the long texts of a new decision."""
        self._payloads[decision_id] = payload

    def set_usage(self, decision_id: str, usage: str) -> None:
        """Set the usage of a decision that was just settled, as JSON."""
        self._usages[decision_id] = usage

    def amend_usage(self, decision_id: str) -> None:
        """Add the amendments of a decision to its usage."""
        row = self._rows[decision_id]
        before = self._usages.get(decision_id)
        if before is None:
            before = str(
                self._connection.execute(
                    "SELECT usage FROM decisions WHERE created = ?", (row.number,)
                ).get
            )
        self._usages[decision_id] = storage_format.amended_usage(before, row)

    def set_limit(self, limit: Limit) -> None:
        """Create or replace a limit."""
        self._connection.execute(
            "INSERT OR REPLACE INTO limits VALUES (?, ?)",
            (limit.id, storage_format.limit_to_json(limit)),
        )
        self._cache.limits = self._cache.limits.with_limit(limit)

    def delete_limit(self, limit_id: str) -> bool:
        """Delete a limit; false if there is none."""
        exists = self._cache.limits.get(limit_id) is not None
        if exists:
            self._connection.execute("DELETE FROM limits WHERE id = ?", (limit_id,))
            self._cache.limits = self._cache.limits.without(limit_id)
        return exists

    def publish(self, rows: Sequence[SharedRow]) -> None:
        """Share rows with the other processes."""
        shared_state.publish(self._connection, rows, self.moment)

    def load(self, ids: Iterable[str]) -> None:
        """Read the decisions that operations will need, with their tasks; unknown ids are skipped."""
        tasks = self._load(ids) - self._rows.keys()
        if tasks:
            self._load(tasks)

    def _load(self, ids: Iterable[str]) -> set[str]:
        """Read some decisions or tasks with their entries, and return the ids of the tasks of turns."""
        loaded: dict[int, Row] = {}
        values: Any
        for values in self._connection.execute(
            f"SELECT {ROW} FROM {DECISIONS} WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        ):
            row = row_of(values)
            if row.id not in self._rows:
                self._rows[row.id] = loaded[values[0]] = row
        if not loaded:
            return set()
        entries: list[Any] = self._connection.execute(
            "SELECT decision, balance, held, spent, over"
            " FROM entries WHERE decision IN (SELECT value FROM json_each(?))",
            (json.dumps(list(loaded)),),
        ).fetchall()
        for decision, balance, held, spent, over in entries:
            loaded[decision].entries.append(
                LedgerEntry(self._numbered_balance(balance), held, spent, over)
            )
        return {row.task for row in loaded.values() if row.task is not None}

    def expire_due(self) -> None:
        """Free every hold that has expired by the time of the group."""
        now = to_micros(self.moment)
        while True:
            due = [
                decision_id
                for (decision_id,) in self._connection.execute(
                    "SELECT id FROM decisions INDEXED BY decisions_held"
                    " WHERE state = 1 AND expires <= ? LIMIT ?",
                    (now, _MAX_EXPIRED),
                )
            ]
            if not due and self._cache.next_taken is not None:
                due = [
                    decision_id
                    for (decision_id,) in self._connection.execute(
                        "SELECT id FROM decisions WHERE created >= ? AND state = 1 LIMIT ?",
                        (self._cache.next_taken, _MAX_EXPIRED),
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
        """Delete final decisions, up to a number.

        Args:
            labels: only decisions with all of these labels.
            since: only decisions created at or after this time, microseconds.
            before: only decisions created before this time, microseconds.
            count: the largest number to delete.

        Returns:
            The number deleted, and the ``since`` of the next call; ``None`` at the end.
        """
        self.write()
        created = list(
            find(
                self._connection,
                labels,
                since,
                before,
                _FINAL.format(now=to_micros(self.moment)),
                count,
            )
        )
        if not created:
            return 0, None
        found: list[Any] = self._connection.execute(
            "SELECT id, label_set FROM decisions WHERE created IN (SELECT value FROM json_each(?))",
            (json.dumps(created),),
        ).fetchall()
        self.load(decision_id for decision_id, _ in found)
        for decision_id, _ in found:
            row = self._rows.pop(decision_id)
            self._mark_balances(row)
            rules.erase(row)
        for table, column in (
            ("entries", "decision"),
            ("payloads", "created"),
            ("tasks", "created"),
            ("turns", "created"),
            ("decisions", "created"),
        ):
            self._connection.executemany(
                f"DELETE FROM {table} WHERE {column} = ?", [(each,) for each in created]
            )
        self._delete_unused_label_sets({label_set for _, label_set in found})
        self.write()
        return len(found), (created[-1] + 1 if len(found) == count else None)

    def touch(self) -> None:
        """Write the time, so that a disk that is full or gone is noticed."""
        now = max(to_micros(self.moment), self._cache.last_created)
        self._connection.execute(_SET_TIME, (now,))

    def write(self) -> None:
        """Write every row that has changed since the last call, with one statement per table."""
        if not (self._new or self._changed or self._dirty):
            return
        for balance in self._dirty.values():
            if balance.number is None:
                balance.number = self._cache.next_balance
                self._cache.next_balance += 1
                self._cache.balances[balance.number] = balance
        self._run(
            f"INSERT INTO balances ({BALANCE}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT (number) DO UPDATE SET spent = excluded.spent, held = excluded.held,"
            " over = excluded.over, ceiling = excluded.ceiling, erased = excluded.erased,"
            " erased_over = excluded.erased_over",
            [
                (b.number, *b.account, b.unit.value, b.spent, b.held, b.over, b.ceiling, b.erased,
                 b.erased_over)
                for b in self._dirty.values()
            ],
        )  # fmt: skip
        self._run(
            "INSERT INTO decisions (created, id, tenant, fingerprint, state, expires, held_money,"
            " held_tokens, held_requests, held_concurrent, actual_money, actual_tokens,"
            " actual_requests, actual_concurrent, late, overage, report, quoted, label_set, usage)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [self._values(row) for row in self._new.values()],
        )
        self._run(
            "INSERT INTO payloads (created, reply, record, dictionary) VALUES (?, ?, ?, ?)",
            [self._payload(row) for row in self._new.values()],
        )
        self._write_tasks()
        new_sets = [(number, labels) for labels, number in self._new_sets.items()]
        self._run("INSERT INTO label_sets VALUES (?, ?)", new_sets)
        self._run(
            "INSERT INTO label_values VALUES (?, ?, ?)",
            [
                (name, value, number)
                for number, labels in new_sets
                for name, value in json.loads(labels).items()
            ],
        )
        self._run(
            "INSERT INTO entries VALUES (?,?,?,?,?)",
            [
                (row.number, entry.balance.number, entry.held, entry.spent, entry.over)
                for row in self._new.values()
                for entry in row.entries
            ],
        )
        changed = [row for row in self._changed.values() if row.id not in self._new]
        self._run(
            "UPDATE decisions SET state = ?, actual_money = ?, actual_tokens = ?,"
            " actual_requests = ?, actual_concurrent = ?, late = ?, overage = ?, report = ?,"
            " usage = coalesce(?, usage) WHERE created = ?",
            [
                (NUMBER[row.state], *_amounts(row.actual), row.late, row.overage, row.report,
                 self._usages.get(row.id), row.number)
                for row in changed
            ],
        )  # fmt: skip
        self._run(
            "UPDATE entries SET held = ?, spent = ?, over = ? WHERE decision = ? AND balance = ?",
            [
                (entry.held, entry.spent, entry.over, row.number, entry.balance.number)
                for row in changed
                for entry in row.entries
            ],
        )
        self._connection.execute(
            _SET_TIME, (max(to_micros(self.moment), self._cache.last_created),)
        )
        self.written.update(self._dirty)
        self._new, self._changed, self._dirty, self._new_sets = {}, {}, {}, {}

    def _write_tasks(self) -> None:
        """Write what tasks and turns have besides other decisions."""
        new = [row for row in self._new.values() if row.task is not None]
        changed = [row for row in self._changed.values() if row.task is not None]
        self._run(
            "INSERT INTO tasks (created, drawn) VALUES (?, ?)",
            [(row.number, row.drawn) for row in new if row.is_task],
        )
        self._run(
            "INSERT INTO turns (created, task, drawn) VALUES (?, ?, ?)",
            [(row.number, row.task, row.drawn) for row in new if not row.is_task],
        )
        for table, are_tasks in (("tasks", True), ("turns", False)):
            self._run(
                f"UPDATE {table} SET drawn = ? WHERE created = ?",
                [(row.drawn, row.number) for row in changed if row.is_task is are_tasks],
            )

    # ── details ───────────────────────────────────────────────────────────────────────────────────

    def _run(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._connection.executemany(statement, rows)

    def _mark_balances(self, row: Row) -> None:
        for entry in row.entries:
            self._dirty[entry.balance.account] = entry.balance

    def _cache_balance(self, balance: Balance) -> None:
        self._cache.accounts[balance.account] = balance
        self._cache.account_bytes += sys.getsizeof(balance.account.key)
        if balance.number is not None:
            self._cache.balances[balance.number] = balance

    def _numbered_balance(self, number: int) -> Balance:
        found = self._cache.balances.get(number)
        if found is None:
            values = self._connection.execute(
                f"SELECT {BALANCE} FROM balances WHERE number = ?", (number,)
            ).fetchone()
            found = balance_of(values)
            self._cache_balance(found)
        return found

    def _values(self, row: Row) -> tuple[Any, ...]:
        return (
            row.number, row.id, row.tenant, row.fingerprint, NUMBER[row.state],
            to_micros(row.expires), *_amounts(row.held),
            *_amounts(row.actual), row.late, row.overage, row.report, row.quoted,
            self._label_set(self._payloads[row.id].labels), self._usages.get(row.id, "{}"),
        )  # fmt: skip

    def _payload(self, row: Row) -> tuple[int | None, bytes, str, int | None]:
        payload = self._payloads[row.id]
        if payload.packed is None:
            return row.number, row.reply, payload.record, None
        return row.number, payload.packed, "", self._dictionary(payload.dictionary)

    def _dictionary(self, content: bytes) -> int:
        number = self._cache.dictionaries.get(content)
        if number is None:
            run = self._connection.execute
            run("INSERT OR IGNORE INTO dictionaries (content) VALUES (?)", (content,))
            number = int(run("SELECT number FROM dictionaries WHERE content = ?", (content,)).get)
            self._cache.dictionaries.put(content, number, len(content))
        return number

    def _label_set(self, labels: str) -> int:
        # A new set is in neither the cache, where that is full, nor the file, before it is written.
        number = self._new_sets.get(labels) or self._cache.label_sets.get(labels)
        if number is None:
            found = self._connection.execute(
                "SELECT number FROM label_sets WHERE labels = ?", (labels,)
            ).fetchone()
            if found is not None:
                number = int(found[0])
            else:
                number = self._cache.next_label_set
                self._cache.next_label_set += 1
                self._new_sets[labels] = number
            self._cache.label_sets.put(labels, number, sys.getsizeof(labels))
        return number

    def _delete_unused_label_sets(self, numbers: Iterable[int]) -> None:
        # Labels can name people, so they are deleted with the last decision that has them.
        for number in numbers:
            deleted: list[Any] = self._connection.execute(
                "DELETE FROM label_sets WHERE number = ?1"
                " AND NOT EXISTS (SELECT 1 FROM decisions WHERE label_set = ?1) RETURNING labels",
                (number,),
            ).fetchall()
            for (labels,) in deleted:
                self._cache.label_sets.pop(labels)
                try:
                    pairs = json.loads(labels).items()
                except (ValueError, AttributeError):
                    # Damaged: without names no index helps, but the rows must go all the same.
                    self._connection.execute(
                        "DELETE FROM label_values WHERE label_set = ?", (number,)
                    )
                    continue
                self._connection.executemany(
                    "DELETE FROM label_values WHERE name = ? AND value = ? AND label_set = ?",
                    [(name, value, number) for name, value in pairs],
                )


def _amounts(amounts: Amounts | None) -> tuple[int | None, ...]:
    if amounts is None:
        return (None, None, None, None)
    return (amounts.money, amounts.tokens, amounts.requests, amounts.concurrent)
