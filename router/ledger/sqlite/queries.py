"""Queries of the SQLite ledger: the decision log by filter, single decisions, all rows for the checker."""

# SQL is built from constants only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import apsw

from router.core.limits import Amounts, LimitState, Unit
from router.ledger import storage_format
from router.ledger.base import HoldState, StoredDecision, StoredTask, Totals
from router.ledger.limit_book import LimitBook, states_of
from router.ledger.rows import Account, Balance, LedgerEntry, Row
from router.ledger.sqlite.committed_balances import Sums
from router.ledger.sqlite.packed_payload import (
    DamagedPayload,
    unpacked_record,
    unpacked_reply,
)
from router.ledger.storage_format import QUARTER_HOUR_MICROS, from_micros, to_micros

__all__ = [
    "BALANCE",
    "DECISIONS",
    "NUMBER",
    "ROW",
    "balance_of",
    "balances",
    "created_micros",
    "decision",
    "decisions",
    "find",
    "is_due",
    "next_expiry",
    "open_holds",
    "reply",
    "row_of",
    "rows",
    "states",
    "sums",
    "task",
    "tasks",
    "totals",
]

_STATES = (
    HoldState.QUOTED,
    HoldState.HELD,
    HoldState.SETTLED,
    HoldState.RELEASED,
    HoldState.EXPIRED,
)
NUMBER = {state: number for number, state in enumerate(_STATES)}

ROW = (
    "created, id, tenant, fingerprint, state, expires,"
    " held_money, held_tokens, held_requests, held_concurrent,"
    " actual_money, actual_tokens, actual_requests, actual_concurrent, late, overage, report, quoted,"
    " reply, content, CASE WHEN json_valid(usage) THEN usage ->> '$.amendments' END,"
    " CASE WHEN tasks.created NOTNULL THEN id ELSE task END, coalesce(tasks.drawn, turns.drawn, 0)"
)
DECISIONS = (
    "decisions JOIN payloads USING (created)"
    " LEFT JOIN dictionaries ON dictionaries.number = dictionary"
    " LEFT JOIN tasks USING (created) LEFT JOIN turns USING (created)"
)
_IS_TASK = "decisions.created IN (SELECT created FROM tasks)"

BALANCE = (
    "number, limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
)
# In the order of the fields of Totals. Only settled decisions have actual amounts.
_TOTALS = """
    count(*), count(actual_money), count(*) FILTER (WHERE actual_money > held_money),
    coalesce(sum(actual_tokens), 0), coalesce(sum(actual_money), 0),
    coalesce(sum(held_money) FILTER (WHERE state = 1), 0),
    coalesce(sum(quoted) FILTER (WHERE actual_money NOTNULL), 0),
    coalesce(sum(held_money) FILTER (WHERE actual_money NOTNULL), 0),
    coalesce(sum(max(held_money - actual_money, 0)), 0), coalesce(sum(overage), 0)
"""
_MAX_MERGED = 1_000
_NEVER = 2**62


def decisions(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    state: HoldState | None,
    count: int,
    *,
    newest_first: bool,
) -> list[StoredDecision]:
    """A page of the decision log.

    Args:
        connection: to read with.
        labels: only decisions with all of these labels.
        since: only decisions created at or after this time, microseconds.
        until: only decisions created before this time, microseconds; ``None`` for no bound.
        state: only decisions in this state; ``None`` for any.
        count: length of the page.
        newest_first: descending order instead of ascending.
    """
    wanted = f"{_in_state(state)} AND NOT {_IS_TASK}"
    created = find(connection, labels, since, until, wanted, count, newest_first=newest_first)
    found = _stored_decisions(connection, "created", list(created))
    return found[::-1] if newest_first else found


def totals(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    state: HoldState | None,
    *,
    by_time: bool,
) -> Iterator[tuple[Mapping[str, str], datetime | None, Totals]]:
    """Sums over decisions, grouped by labels, and with ``by_time`` by the quarter of an hour of creation.

    Args:
        connection: to read with.
        labels: as for :func:`decisions`, like the next three.
        since: see ``labels``.
        until: see ``labels``.
        state: see ``labels``.
        by_time: whether to group by time.
    """
    begin = f"created / {QUARTER_HOUR_MICROS} * {QUARTER_HOUR_MICROS}" if by_time else "NULL"
    sets = _label_sets(connection, labels) if labels else None
    among = "" if sets is None else " AND label_set IN (SELECT value FROM json_each(?))"
    bound = () if sets is None else (json.dumps(sets),)
    texts: dict[int, str] = {}
    values: Any
    for values in connection.execute(
        f"SELECT label_set, {begin} AS quarter_hour, {_TOTALS} FROM decisions"
        f" WHERE created >= ? AND created < ? AND {_in_state(state)} AND NOT {_IS_TASK}{among}"
        " GROUP BY label_set, quarter_hour",
        (since, _NEVER if until is None else until, *bound),
    ):
        number, micros, *sums = values
        if number not in texts:
            texts[number] = str(
                connection.execute("SELECT labels FROM label_sets WHERE number = ?", (number,)).get
            )
        quarter_hour = None if micros is None else from_micros(micros)
        yield json.loads(texts[number]), quarter_hour, Totals(*sums)


def _in_state(state: HoldState | None) -> str:
    return "1" if state is None else f"state = {NUMBER[state]}"


def decision(connection: apsw.Connection, decision_id: str) -> StoredDecision | None:
    """One row of the decision log; ``None`` if there is none."""
    if not storage_format.storable(decision_id):
        return None
    found = _stored_decisions(connection, "id", [decision_id])
    return next((each for each in found if each.task != each.id), None)


def tasks(
    connection: apsw.Connection, labels: Mapping[str, str], state: HoldState | None, count: int
) -> list[StoredTask]:
    """The newest tasks, newest first.

    Args:
        connection: to read with.
        labels: only tasks with all of these labels.
        state: only tasks in this state; ``None`` for any.
        count: the largest number of results.
    """
    sets = _label_sets(connection, labels) if labels else None
    among = "" if sets is None else " AND label_set IN (SELECT value FROM json_each(?))"
    bound = () if sets is None else (json.dumps(sets),)
    created: Any = connection.execute(
        "SELECT created FROM tasks CROSS JOIN decisions USING (created)"
        f" WHERE {_in_state(state)}{among} ORDER BY created DESC LIMIT {count:d}",
        bound,
    ).fetchall()
    return [found for (each,) in created for found in _stored_tasks(connection, "created", each)]


def task(connection: apsw.Connection, task_id: str) -> StoredTask | None:
    """A task, open or over; ``None`` if there is none."""
    if not storage_format.storable(task_id):
        return None
    return next(_stored_tasks(connection, "id", task_id), None)


def _stored_tasks(connection: apsw.Connection, column: str, key: int | str) -> Iterator[StoredTask]:
    for values in connection.execute(
        f"SELECT {ROW}, labels, record, usage FROM {DECISIONS}"
        f" JOIN label_sets ON label_sets.number = label_set WHERE decisions.{column} = ?"
        f" AND {_IS_TASK}",
        (key,),
    ):
        row = row_of(values)
        sums: Any = connection.execute(
            "SELECT count(*), coalesce(sum(held_money) FILTER (WHERE state = 1), 0),"
            " coalesce(sum(actual_money), 0) FROM turns JOIN decisions USING (created)"
            f" WHERE task = ? AND state <> {NUMBER[HoldState.RELEASED]}",
            (row.id,),
        ).fetchone()
        covered: Any = connection.execute(
            "SELECT limit_id, series, key, period FROM entries"
            " JOIN balances ON balances.number = balance WHERE decision = ?",
            (row.number,),
        ).fetchall()
        yield storage_format.stored_task(
            row, values[-3], _record(values), sums, [Account(*each) for each in covered]
        )


def owner(connection: apsw.Connection, decision_id: str) -> str | None:
    """The tenant of a decision, empty without one; ``None`` if there is no such decision."""
    if not storage_format.storable(decision_id):
        return None
    found: Any = connection.execute(
        "SELECT tenant FROM decisions WHERE id = ?", (decision_id,)
    ).fetchone()
    return None if found is None else str(found[0])


def reply(connection: apsw.Connection, decision_id: str) -> tuple[str, str, bytes] | None:
    """Tenant, fingerprint and reply of a decision; ``None`` if there is none."""
    if not storage_format.storable(decision_id):
        return None
    found: Any = connection.execute(
        f"SELECT tenant, fingerprint, reply, content FROM {DECISIONS} WHERE id = ?", (decision_id,)
    ).fetchone()
    if found is None:
        return None
    tenant, fingerprint, stored, dictionary = found
    return tenant, fingerprint, _reply(decision_id, stored, dictionary)


def is_due(connection: apsw.Connection, moment: datetime) -> bool:
    """Whether some hold has expired by a moment."""
    found = connection.execute(
        "SELECT 1 FROM decisions INDEXED BY decisions_held WHERE state = 1 AND expires <= ? LIMIT 1",
        (to_micros(moment),),
    ).fetchone()
    return found is not None


def next_expiry(connection: apsw.Connection) -> int | None:
    """When the first open hold runs out, microseconds; ``None`` if there is none."""
    found: int | None = connection.execute(
        "SELECT min(expires) FROM decisions INDEXED BY decisions_held WHERE state = 1"
    ).get
    return found


def states(
    book: LimitBook,
    options: Sequence[Mapping[str, str]],
    moment: datetime,
    sums_of: Callable[[Sequence[Account]], Sums],
) -> list[tuple[LimitState, ...]]:
    """For each set of labels, the limits that apply with their balances, by limit id.

    Args:
        book: the limits.
        options: the sets of labels. Those in which limits see no difference share a result.
        moment: the current time.
        sums_of: what is spent and held on some accounts.
    """
    looked_at = [book.looked_at(labels) for labels in options]
    applying = {
        each: book.applying(labels, moment)
        for each, labels in dict(zip(looked_at, options, strict=True)).items()
    }
    accounts = {one.account: None for some in applying.values() for one in some}
    sums = sums_of(list(accounts))
    found = {each: states_of(some, sums.__getitem__) for each, some in applying.items()}
    return [found[each] for each in looked_at]


def sums(connection: apsw.Connection, accounts: Sequence[Account]) -> Sums:
    """What is spent and held on some accounts, by a connection in a transaction: all at one moment."""
    return {account: _spent_and_held(connection, account) for account in accounts}


def _spent_and_held(connection: apsw.Connection, account: Account) -> tuple[int, int]:
    found = connection.execute(
        "SELECT spent, held FROM balances"
        " WHERE limit_id = ? AND series = ? AND key = ? AND period = ?",
        account,
    ).fetchone()
    return (0, 0) if found is None else (found[0], found[1])


def created_micros(connection: apsw.Connection, decision_id: str) -> int | None:
    """When a decision was created, in microseconds; ``None`` if there is none."""
    if not storage_format.storable(decision_id):
        return None
    found = connection.execute(
        "SELECT created FROM decisions WHERE id = ?", (decision_id,)
    ).fetchone()
    return None if found is None else int(found[0])


def balances(connection: apsw.Connection) -> Iterator[Balance]:
    """Every balance."""
    return (balance_of(values) for values in connection.execute(f"SELECT {BALANCE} FROM balances"))


def rows(connection: apsw.Connection) -> Iterator[Row]:
    """Every decision with its entries, in the order of creation, read in one pass."""
    by_number = {balance.number: balance for balance in balances(connection)}
    entries = connection.execute(
        "SELECT decision, balance, held, spent, over FROM entries ORDER BY decision"
    )
    entry = next(entries, None)
    for values in connection.execute(f"SELECT {ROW} FROM {DECISIONS} ORDER BY created"):
        row = row_of(values)
        while entry is not None and entry[0] <= values[0]:
            if entry[0] == values[0]:
                row.entries.append(LedgerEntry(by_number[entry[1]], *entry[2:]))
            entry = next(entries, None)
        yield row


def open_holds(connection: apsw.Connection) -> tuple[int, int]:
    """The number of open holds, and their money in nano-dollars."""
    found: Any = connection.execute(
        "SELECT count(*), coalesce(sum(held_money - coalesce(drawn, 0)), 0)"
        " FROM decisions INDEXED BY decisions_held LEFT JOIN tasks USING (created) WHERE state = 1"
    ).fetchone()
    return found[0], found[1]


def find(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    condition: str,
    count: int,
    *,
    newest_first: bool = False,
) -> Iterator[int]:
    """When the first decisions that match were created, in microseconds.

    Args:
        connection: to read with.
        labels: as for :func:`decisions`, like the next two.
        since: see ``labels``.
        until: see ``labels``.
        condition: of SQL, on the columns of decisions.
        count: the largest number of results.
        newest_first: descending order instead of ascending.
    """
    # Few label sets: merge their decisions by time and read each only as far as needed. Many label sets:
    # matches are frequent enough to scan the log.
    span = (since, _NEVER if until is None else until)
    order = "ORDER BY created DESC" if newest_first else "ORDER BY created"
    within = f"created >= ? AND created < ? AND {condition}"
    sets = _label_sets(connection, labels) if labels else None
    if sets is not None and len(sets) <= _MAX_MERGED:
        walks = [
            connection.execute(
                f"SELECT created FROM decisions INDEXED BY decisions_labels"
                f" WHERE label_set = ? AND {within} {order}",
                (number, *span),
            )
            for number in sets
        ]
        found: Iterator[Any] = heapq.merge(*walks, reverse=newest_first)
    else:
        among = "" if sets is None else " AND label_set IN (SELECT value FROM json_each(?))"
        bound = span if sets is None else (*span, json.dumps(sets))
        found = connection.execute(
            f"SELECT created FROM decisions WHERE {within}{among} {order}", bound
        )
    return (created for (created,) in islice(found, count))


def _label_sets(connection: apsw.Connection, labels: Mapping[str, str]) -> list[int]:
    select = "SELECT label_set FROM label_values WHERE name = ? AND value = ?"
    bound = [text for pair in labels.items() for text in pair]
    statement = " INTERSECT ".join([select] * len(labels))
    return [number for (number,) in connection.execute(statement, bound)]


def _stored_decisions(
    connection: apsw.Connection, column: str, keys: Sequence[int | str]
) -> list[StoredDecision]:
    try:
        return [
            storage_format.stored_decision(row_of(values), values[-3], _record(values), values[-1])
            for values in connection.execute(
                f"SELECT {ROW}, labels, record, usage FROM {DECISIONS}"
                " JOIN label_sets ON label_sets.number = label_set"
                f" WHERE decisions.{column} IN (SELECT value FROM json_each(?)) ORDER BY created",
                (json.dumps(keys),),
            )
        ]
    except UnicodeDecodeError:
        if len(keys) == 1:
            found = connection.execute(
                f"SELECT CAST(id AS BLOB) FROM decisions WHERE {column} = ?", (keys[0],)
            ).get
            name = bytes(found).decode("utf-8", "replace")
            raise storage_format.damaged_decision(name, "a column", "is not UTF-8 text") from None
        # Somewhere among them: each alone names the one that is damaged.
        return [each for key in keys for each in _stored_decisions(connection, column, [key])]


def row_of(values: Any) -> Row:
    """A decision without its entries, from the columns :data:`ROW`."""
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
        quoted=values[17],
        reply=_reply(values[1], values[18], values[19]),
        amendments=storage_format.amendments_of(values[20]),
        task=values[21],
        drawn=values[22],
    )


def _reply(decision_id: str, stored: bytes, dictionary: bytes | None) -> bytes:
    if dictionary is None:
        return stored
    try:
        return unpacked_reply(stored, dictionary)
    except DamagedPayload:
        raise storage_format.damaged_decision(decision_id, "reply", "cannot be unpacked") from None


def _record(values: Any) -> str:
    """The record of a decision, from the columns :data:`ROW`, labels, record and usage."""
    decision_id, stored, dictionary, record = values[1], values[18], values[19], values[-2]
    if dictionary is None or record:
        return str(record)
    try:
        return unpacked_record(stored, dictionary)
    except DamagedPayload:
        raise storage_format.damaged_decision(decision_id, "record", "cannot be unpacked") from None


def balance_of(values: Any) -> Balance:
    """A balance from the columns :data:`BALANCE`."""
    number, *account, unit, spent, held, over, ceiling, erased, erased_over = values
    return Balance(
        Account(*account), Unit(unit), spent, held, over, ceiling, erased, erased_over, number
    )
