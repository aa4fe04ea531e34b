"""Reading the SQLite ledger: the decision log by filter, single decisions, everything for the checker."""

# Only names of columns and tables written here are ever put into SQL; values are bound.
# ruff: noqa: S608

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import apsw

from router.core.limits import Amounts, Unit
from router.ledger import storage_format
from router.ledger.base import HoldState, StoredDecision, Tally
from router.ledger.rows import Account, Balance, LedgerEntry, Row
from router.ledger.storage_format import SLOT_MICROS, from_micros

__all__ = [
    "BALANCE",
    "DECISIONS",
    "NUMBER",
    "ROW",
    "balance_of",
    "balances",
    "decided",
    "find",
    "log",
    "position",
    "reply",
    "row_of",
    "rows",
    "tally",
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
    " reply"
)
DECISIONS = "decisions JOIN papers USING (created)"
BALANCE = (
    "number, limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
)
# In the order of the fields of Tally. Only what is settled has actual amounts.
_TALLY = """
    count(*), count(actual_money), count(*) FILTER (WHERE actual_money > held_money),
    coalesce(sum(actual_tokens), 0), coalesce(sum(actual_money), 0),
    coalesce(sum(held_money) FILTER (WHERE state = 1), 0),
    coalesce(sum(quoted) FILTER (WHERE actual_money NOTNULL), 0),
    coalesce(sum(held_money) FILTER (WHERE actual_money NOTNULL), 0),
    coalesce(sum(max(held_money - actual_money, 0)), 0), coalesce(sum(overage), 0)
"""
_MOST_MERGED = 1_000
_NEVER = 2**62


def log(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    state: HoldState | None,
    count: int,
    *,
    newest_first: bool,
) -> list[StoredDecision]:
    """A page of the decision log, from ``since`` until before ``until`` in microseconds."""
    moments = find(
        connection, labels, since, until, _in_state(state), count, newest_first=newest_first
    )
    found = _decided(connection, "created", list(moments))
    return found[::-1] if newest_first else found


def tally(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    state: HoldState | None,
    *,
    by_time: bool,
) -> Iterator[tuple[Mapping[str, str], datetime | None, Tally]]:
    """Decisions added up by labels, and by the quarter of an hour where wanted."""
    slot = f"created / {SLOT_MICROS} * {SLOT_MICROS}" if by_time else "NULL"
    sets = _label_sets(connection, labels) if labels else None
    among = "" if sets is None else " AND label_set IN (SELECT value FROM json_each(?))"
    bound = () if sets is None else (json.dumps(sets),)
    texts: dict[int, str] = {}
    values: Any
    for values in connection.execute(
        f"SELECT label_set, {slot} AS slot, {_TALLY} FROM decisions"
        f" WHERE created >= ? AND created < ? AND {_in_state(state)}{among} GROUP BY label_set, slot",
        (since, _NEVER if until is None else until, *bound),
    ):
        number, begin, *sums = values
        if number not in texts:
            texts[number] = str(
                connection.execute("SELECT labels FROM label_sets WHERE number = ?", (number,)).get
            )
        yield json.loads(texts[number]), None if begin is None else from_micros(begin), Tally(*sums)


def _in_state(state: HoldState | None) -> str:
    return "1" if state is None else f"state = {NUMBER[state]}"


def decided(connection: apsw.Connection, decision_id: str) -> StoredDecision | None:
    """One row of the decision log."""
    if not storage_format.storable(decision_id):
        return None
    return next(iter(_decided(connection, "id", [decision_id])), None)


def reply(connection: apsw.Connection, decision_id: str) -> tuple[str, str, bytes] | None:
    """Tenant, fingerprint and reply of a decision."""
    if not storage_format.storable(decision_id):
        return None
    found: Any = connection.execute(
        f"SELECT tenant, fingerprint, reply FROM {DECISIONS} WHERE id = ?", (decision_id,)
    ).fetchone()
    return None if found is None else (found[0], found[1], found[2])


def position(connection: apsw.Connection, decision_id: str) -> int | None:
    """When a decision was created, in microseconds."""
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
    """Every decision with its entries, in the order of creation; the file is walked once."""
    known = {balance.number: balance for balance in balances(connection)}
    entries = connection.execute(
        "SELECT decision, balance, held, spent, over FROM entries ORDER BY decision"
    )
    ahead = next(entries, None)
    for values in connection.execute(f"SELECT {ROW} FROM {DECISIONS} ORDER BY created"):
        row = row_of(values)
        while ahead is not None and ahead[0] <= values[0]:
            if ahead[0] == values[0]:
                row.entries.append(LedgerEntry(known[ahead[1]], *ahead[2:]))
            ahead = next(entries, None)
        yield row


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
    """When the first ``count`` decisions were created that carry labels and meet a condition of SQL."""
    # Few label sets: their decisions are merged by time, each read no further than needed. Many:
    # they are common enough for a walk along the log.
    span = (since, _NEVER if until is None else until)
    order = "ORDER BY created DESC" if newest_first else "ORDER BY created"
    within = f"created >= ? AND created < ? AND {condition}"
    sets = _label_sets(connection, labels) if labels else None
    if sets is not None and len(sets) <= _MOST_MERGED:
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
    one = "SELECT label_set FROM label_values WHERE name = ? AND value = ?"
    bound = [text for pair in labels.items() for text in pair]
    return [
        number for (number,) in connection.execute(" INTERSECT ".join([one] * len(labels)), bound)
    ]


def _decided(
    connection: apsw.Connection, column: str, keys: Sequence[int | str]
) -> list[StoredDecision]:
    return [
        storage_format.decided(row_of(values), *values[-3:])
        for values in connection.execute(
            f"SELECT {ROW}, labels, record, usage FROM {DECISIONS}"
            " JOIN label_sets ON label_sets.number = label_set"
            f" WHERE decisions.{column} IN (SELECT value FROM json_each(?)) ORDER BY created",
            (json.dumps(keys),),
        )
    ]


def row_of(values: Any) -> Row:
    """From the columns :data:`ROW`; without its entries."""
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
        reply=values[18],
    )


def balance_of(values: Any) -> Balance:
    """From the columns :data:`BALANCE`."""
    number, *account, unit, spent, held, over, ceiling, erased, erased_over = values
    return Balance(
        Account(*account), Unit(unit), spent, held, over, ceiling, erased, erased_over, number
    )
