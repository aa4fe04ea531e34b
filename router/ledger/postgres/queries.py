"""Reading the decision log on PostgreSQL: by filter, one by one, added up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from router.core.errors import NotFound
from router.ledger import storage_format
from router.ledger.base import HoldState, StoredDecision, Tally
from router.ledger.postgres.database import Connection
from router.ledger.postgres.row_mapping import ROW, row_of

__all__ = ["Condition", "decided", "log", "matching", "tally"]

# ruff: noqa: S608  (the texts are put together from constants, never from values)

# In the order of the fields of Tally. Only what is settled has actual amounts.
_TALLY = """
    count(*), count(actual_money), count(*) FILTER (WHERE actual_money > held_money),
    coalesce(sum(actual_tokens), 0)::bigint, coalesce(sum(actual_money), 0)::bigint,
    coalesce(sum(held_money) FILTER (WHERE state = 'held'), 0)::bigint,
    coalesce(sum(quoted) FILTER (WHERE actual_money IS NOT NULL), 0)::bigint,
    coalesce(sum(held_money) FILTER (WHERE actual_money IS NOT NULL), 0)::bigint,
    coalesce(sum(greatest(held_money - actual_money, 0)), 0)::bigint,
    coalesce(sum(overage), 0)::bigint
"""
_SECONDS = storage_format.SLOT_MICROS // 1_000_000
_SLOT = f"floor(extract(epoch FROM created) / {_SECONDS})::bigint * {_SECONDS}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of SQL on decisions, and the values that it has places for."""

    text: str
    values: tuple[object, ...]

    def and_(self, text: str, *values: object) -> Condition:
        """This and that."""
        return Condition(f"{self.text} AND {text}", self.values + values)


def matching(
    labels: Mapping[str, str] | None,
    since: datetime | None,
    until: datetime | None,
    state: HoldState | None,
) -> Condition:
    """The condition of a filter of the log; see :meth:`Ledger.decisions`."""
    found = Condition("true", ())
    if labels:
        found = found.and_("labels @> %s::jsonb", storage_format.to_json(labels))
    if labels and "tenant" in labels:  # said twice, because this one has an index
        found = found.and_("tenant = %s", labels["tenant"])
    if since is not None:
        found = found.and_("created >= %s", since)
    if until is not None:
        found = found.and_("created < %s", until)
    if state is not None:
        found = found.and_("state = %s", state.value)
    return found


def decided(connection: Connection, decision_id: str) -> StoredDecision | None:
    """One row of the decision log."""
    if not storage_format.storable(decision_id):
        return None
    found = _rows(connection, Condition("id = %s", (decision_id,)), "id", 1)
    return found[0] if found else None


def log(
    connection: Connection,
    chosen: Condition,
    after: str | None,
    count: int,
    *,
    newest_first: bool,
) -> list[StoredDecision]:
    """A page of the decision log.

    Raises:
        NotFound: there is no decision ``after``.
    """
    if after is not None:
        last = decided(connection, after)
        if last is None:
            raise NotFound(f"there is no decision {after} to go on behind")
        beyond = "<" if newest_first else ">"
        # The first part is for the index, which does not hold the id.
        chosen = chosen.and_(
            f"created {beyond}= %s AND (created, id) {beyond} (%s, %s)",
            last.created,
            last.created,
            last.id,
        )
    order = "created DESC, id DESC" if newest_first else "created, id"
    return _rows(connection, chosen, order, count)


def tally(
    connection: Connection, chosen: Condition, *, by_time: bool
) -> list[tuple[Mapping[str, str], datetime | None, Tally]]:
    """Decisions added up by labels, and by the quarter of an hour where wanted."""
    found = connection.execute(
        f"SELECT labels::text, {_SLOT if by_time else 'NULL::bigint'} AS slot, {_TALLY}"
        f" FROM decisions WHERE {chosen.text} GROUP BY labels, slot",
        chosen.values,
    ).fetchall()
    return [
        (
            json.loads(labels),
            None if begin is None else datetime.fromtimestamp(begin, UTC),
            Tally(*sums),
        )
        for labels, begin, *sums in found
    ]


def _rows(
    connection: Connection, chosen: Condition, order: str, count: int
) -> list[StoredDecision]:
    statement = (
        f"SELECT {ROW}, labels::text, record::text, usage::text FROM decisions"
        f" WHERE {chosen.text} ORDER BY {order} LIMIT {count:d}"
    )
    found = connection.execute(statement, chosen.values).fetchall()
    return [storage_format.decided(row_of(row, None), *row[-3:]) for row in found]
