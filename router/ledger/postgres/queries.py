"""Queries of the decision log on PostgreSQL: by filter, single decisions, totals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from router.core.errors import NotFound, shown
from router.ledger import storage_format
from router.ledger.base import HoldState, StoredDecision, StoredTask, Totals
from router.ledger.postgres.database import Connection
from router.ledger.postgres.row_mapping import ROW, row_of
from router.ledger.rows import Account

__all__ = [
    "IS_TASK",
    "Condition",
    "decision",
    "decisions",
    "matching",
    "open_holds",
    "owner",
    "task",
    "tasks",
    "totals",
]

# ruff: noqa: S608  (SQL is built from constants only; values are bound)

# In the order of the fields of Totals. Only settled decisions have actual amounts.
_TOTALS = """
    count(*), count(actual_money), count(*) FILTER (WHERE actual_money > held_money),
    coalesce(sum(actual_tokens), 0)::bigint, coalesce(sum(actual_money), 0)::bigint,
    coalesce(sum(held_money) FILTER (WHERE state = 'held'), 0)::bigint,
    coalesce(sum(quoted) FILTER (WHERE actual_money IS NOT NULL), 0)::bigint,
    coalesce(sum(held_money) FILTER (WHERE actual_money IS NOT NULL), 0)::bigint,
    coalesce(sum(greatest(held_money - actual_money, 0)), 0)::bigint,
    coalesce(sum(overage), 0)::bigint
"""
IS_TASK = "task IS NOT NULL AND task = id"
"""The condition of tasks; the index knows its first part."""
_NO_TASK = "task IS DISTINCT FROM id"
_SUMS = """
    SELECT count(*), coalesce(sum(held_money) FILTER (WHERE state = 'held'), 0)::bigint,
        coalesce(sum(actual_money), 0)::bigint
    FROM decisions WHERE task = %s AND id <> task AND state <> 'released'
"""
_SECONDS = storage_format.QUARTER_HOUR_MICROS // 1_000_000
_QUARTER_HOUR = f"floor(extract(epoch FROM created) / {_SECONDS})::bigint * {_SECONDS}"


@dataclass(frozen=True, slots=True)
class Condition:
    """An SQL condition on decisions, and the values of its placeholders."""

    text: str
    values: tuple[object, ...]

    def and_(self, text: str, *values: object) -> Condition:
        """Both this condition and another."""
        return Condition(f"{self.text} AND {text}", self.values + values)


def matching(
    labels: Mapping[str, str] | None,
    since: datetime | None,
    until: datetime | None,
    state: HoldState | None,
    *,
    of: str = _NO_TASK,
) -> Condition:
    """The condition of a filter of the log.

    Args:
        labels: as for :meth:`Ledger.decisions`, like the other three.
        since: see ``labels``.
        until: see ``labels``.
        state: see ``labels``.
        of: the condition of decisions, or :data:`IS_TASK`.
    """
    found = Condition(of, ())
    if labels:
        found = found.and_("labels @> %s::jsonb", storage_format.to_json(labels))
    if labels and "tenant" in labels:  # implied by the labels, but this column has an index
        found = found.and_("tenant = %s", labels["tenant"])
    if since is not None:
        found = found.and_("created >= %s", since)
    if until is not None:
        found = found.and_("created < %s", until)
    if state is not None:
        found = found.and_("state = %s", state.value)
    return found


def decision(connection: Connection, decision_id: str) -> StoredDecision | None:
    """One row of the decision log; ``None`` if there is none."""
    if not storage_format.storable(decision_id):
        return None
    found = _rows(connection, Condition(f"id = %s AND {_NO_TASK}", (decision_id,)), "id", 1)
    return found[0] if found else None


def task(connection: Connection, task_id: str) -> StoredTask | None:
    """A task, open or over; ``None`` if there is none."""
    if not storage_format.storable(task_id):
        return None
    found = tasks(connection, Condition(f"id = %s AND {IS_TASK}", (task_id,)), 1)
    return found[0] if found else None


def tasks(connection: Connection, chosen: Condition, count: int) -> list[StoredTask]:
    """The newest tasks, newest first.

    Args:
        connection: to read with.
        chosen: the filter, of tasks alone.
        count: the largest number of results.
    """
    found = connection.execute(
        f"SELECT {ROW}, labels::text, record::text FROM decisions WHERE {chosen.text}"
        f" ORDER BY created DESC, id DESC LIMIT {count:d}",
        chosen.values,
    ).fetchall()
    made = []
    for values in found:
        sums = connection.execute(_SUMS, (values[0],)).fetchone()
        made.append(
            storage_format.stored_task(
                row_of(values, None),
                values[-2],
                values[-1],
                cast("tuple[int, int, int]", sums),
                [Account(*entry[:4]) for entry in values[10]],
            )
        )
    return made


def owner(connection: Connection, decision_id: str) -> str | None:
    """The tenant of a decision, empty without one; ``None`` if there is no such decision."""
    if not storage_format.storable(decision_id):
        return None
    found = connection.execute(
        "SELECT tenant FROM decisions WHERE id = %s", (decision_id,)
    ).fetchone()
    return None if found is None else str(found[0])


def decisions(
    connection: Connection,
    chosen: Condition,
    after: str | None,
    count: int,
    *,
    newest_first: bool,
) -> list[StoredDecision]:
    """A page of the decision log.

    Args:
        connection: to read with.
        chosen: the filter.
        after: id of the last row of the previous page; ``None`` for the first page.
        count: length of the page.
        newest_first: descending order instead of ascending.

    Raises:
        NotFound: there is no decision ``after``.
    """
    if after is not None:
        last = decision(connection, after)
        if last is None:
            raise NotFound(f"there is no decision {shown(after)} to continue after")
        beyond = "<" if newest_first else ">"
        # The first part is for the index, which does not contain the id.
        chosen = chosen.and_(
            f"created {beyond}= %s AND (created, id) {beyond} (%s, %s)",
            last.created,
            last.created,
            last.id,
        )
    order = "created DESC, id DESC" if newest_first else "created, id"
    return _rows(connection, chosen, order, count)


def totals(
    connection: Connection, chosen: Condition, *, by_time: bool
) -> list[tuple[Mapping[str, str], datetime | None, Totals]]:
    """Sums over decisions, grouped by labels.

    Args:
        connection: to read with.
        chosen: the filter.
        by_time: whether to group by the quarter of an hour of creation too.
    """
    found = connection.execute(
        f"SELECT labels::text, {_QUARTER_HOUR if by_time else 'NULL::bigint'} AS quarter_hour,"
        f" {_TOTALS} FROM decisions WHERE {chosen.text} GROUP BY labels, quarter_hour",
        chosen.values,
    ).fetchall()
    return [
        (
            json.loads(labels),
            None if seconds is None else datetime.fromtimestamp(seconds, UTC),
            Totals(*sums),
        )
        for labels, seconds, *sums in found
    ]


def open_holds(connection: Connection) -> tuple[int, int]:
    """The number of open holds, and their money in nano-dollars."""
    found = connection.execute(
        "SELECT count(*), coalesce(sum(held_money - drawn), 0)::bigint FROM decisions"
        " WHERE state = 'held'"
    ).fetchone()
    count, money = cast("tuple[int, int]", found)
    return count, money


def _rows(
    connection: Connection, chosen: Condition, order: str, count: int
) -> list[StoredDecision]:
    statement = (
        f"SELECT {ROW}, labels::text, record::text, usage::text FROM decisions"
        f" WHERE {chosen.text} ORDER BY {order} LIMIT {count:d}"
    )
    found = connection.execute(statement, chosen.values).fetchall()
    return [storage_format.stored_decision(row_of(row, None), *row[-3:]) for row in found]
