"""The rows that processes share, in SQLite. Each write of a row gets the next number, by which it is read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import apsw

from router.ledger.shared_state import MAX_PAGE, MAX_ROWS, SharedChanges, SharedRow
from router.ledger.storage_format import to_micros

__all__ = ["publish", "published"]

_LAST = "SELECT value FROM meta WHERE name = 'shared'"
_WRITE = """
    INSERT INTO shared_state (kind, key, value, changed, keep_s, expires, number)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, changed = excluded.changed,
        keep_s = excluded.keep_s, expires = excluded.expires, number = excluded.number
    WHERE (excluded.changed, excluded.value) > (shared_state.changed, shared_state.value)
"""
_DROP_SURPLUS = """
    DELETE FROM shared_state WHERE kind = ?1 AND number <= (
        SELECT number FROM shared_state WHERE kind = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)
"""


def publish(connection: apsw.Connection, rows: Sequence[SharedRow], now: datetime) -> None:
    """Write rows, unless newer ones are there, and delete what has expired or is too much.

    Args:
        connection: in a transaction that writes.
        rows: to write.
        now: the store's time.
    """
    connection.execute("DELETE FROM shared_state WHERE expires <= ?", (to_micros(now),))
    last = int(connection.execute(_LAST).get)
    values = [
        (
            row.kind,
            row.key,
            row.value,
            row.changed,
            row.keep_s,
            to_micros(now + timedelta(seconds=row.keep_s)),
            last + place,
        )
        for place, row in enumerate(rows, 1)
    ]
    connection.executemany(_WRITE, values)
    connection.execute("UPDATE meta SET value = ? WHERE name = 'shared'", (last + len(rows),))
    kinds = sorted({row.kind for row in rows})
    connection.executemany(_DROP_SURPLUS, [(kind, MAX_ROWS) for kind in kinds])


def published(
    connection: apsw.Connection, kinds: Sequence[str], since: int, now: datetime
) -> SharedChanges:
    """What :meth:`Ledger.published` returns.

    Args:
        connection: to read with.
        kinds: of the rows.
        since: the ``until`` of the previous question; 0: the first.
        now: the store's time.
    """
    # A store that was restored from an earlier copy counts from there again.
    begin = since if since <= int(connection.execute(_LAST).get) else 0
    found: list[Any] = connection.execute(
        "SELECT kind, key, value, changed, keep_s, number FROM shared_state"
        " WHERE kind IN (SELECT value FROM json_each(?)) AND number > ? AND expires > ?"
        " ORDER BY number LIMIT ?",
        (json.dumps(list(kinds)), begin, to_micros(now), MAX_PAGE),
    ).fetchall()
    return SharedChanges(
        tuple(SharedRow(*each[:5]) for each in found), found[-1][5] if found else begin
    )
