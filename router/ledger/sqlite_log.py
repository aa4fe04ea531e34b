"""Reading the SQLite ledger: the decision log by filter, single decisions, everything for the checker."""

# Only names of columns and tables written here are ever put into SQL; values are bound.
# ruff: noqa: S608

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import apsw

from router.core.limits import Amounts, Unit
from router.ledger import storing
from router.ledger.base import Decided, HoldState
from router.ledger.rows import Account, Balance, Entry, Row
from router.ledger.storing import from_micros

__all__ = [
    "BALANCE",
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
    " actual_money, actual_tokens, actual_requests, actual_concurrent, late, overage, report, reply"
)
BALANCE = (
    "number, limit_id, series, key, period, unit, spent, held, over, ceiling, erased, erased_over"
)
_MOST_MERGED = 1_000
_NEVER = 2**62


def log(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int | None,
    state: HoldState | None,
    count: int,
) -> list[Decided]:
    """A page of the decision log, from ``since`` until before ``until`` in microseconds."""
    condition = "1" if state is None else f"state = {NUMBER[state]}"
    moments = find(connection, labels, since, _NEVER if until is None else until, condition, count)
    return _decided(connection, "created", list(moments))


def decided(connection: apsw.Connection, decision_id: str) -> Decided | None:
    """One row of the decision log."""
    if not storing.storable(decision_id):
        return None
    return next(iter(_decided(connection, "id", [decision_id])), None)


def reply(connection: apsw.Connection, decision_id: str) -> tuple[str, str, bytes] | None:
    """Tenant, fingerprint and reply of a decision."""
    if not storing.storable(decision_id):
        return None
    found: Any = connection.execute(
        "SELECT tenant, fingerprint, reply FROM decisions WHERE id = ?", (decision_id,)
    ).fetchone()
    return None if found is None else (found[0], found[1], found[2])


def position(connection: apsw.Connection, decision_id: str) -> int | None:
    """When a decision was created, in microseconds."""
    if not storing.storable(decision_id):
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
    for values in connection.execute(f"SELECT {ROW} FROM decisions ORDER BY created"):
        row = row_of(values)
        while ahead is not None and ahead[0] <= values[0]:
            if ahead[0] == values[0]:
                row.entries.append(Entry(known[ahead[1]], *ahead[2:]))
            ahead = next(entries, None)
        yield row


def find(
    connection: apsw.Connection,
    labels: Mapping[str, str],
    since: int,
    until: int,
    condition: str,
    count: int,
) -> Iterator[int]:
    """When the first ``count`` decisions were created that carry labels and meet a condition of SQL."""
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
    columns = ", ".join(f"decisions.{name.strip()}" for name in ROW.split(","))
    return [
        storing.decided(row_of(values), *values[-3:])
        for values in connection.execute(
            f"SELECT {columns}, labels, record, usage FROM decisions"
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
        reply=values[17],
    )


def balance_of(values: Any) -> Balance:
    """From the columns :data:`BALANCE`."""
    number, *account, unit, spent, held, over, ceiling, erased, erased_over = values
    return Balance(
        Account(*account), Unit(unit), spent, held, over, ceiling, erased, erased_over, number
    )
