"""The rows that processes share, on PostgreSQL. Each write of a row gets a number, by which it is read.

Who publishes holds a lock, so that numbers are committed in their order: a reader that has seen one has seen
all that are smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import cast

from router.ledger.postgres.database import Connection
from router.ledger.shared_state import MAX_PAGE, MAX_ROWS, SharedChanges, SharedRow

__all__ = ["publish", "published"]

_WRITE = """
    INSERT INTO shared_state AS old (kind, key, value, changed, keep_s, expires, number)
    VALUES (%s, %s, %s, %s, %s, %s, nextval('shared_state_numbers'))
    ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, changed = excluded.changed,
        keep_s = excluded.keep_s, expires = excluded.expires, number = excluded.number
    WHERE (excluded.changed, excluded.value) > (old.changed, old.value)
"""
_DROP_SURPLUS = """
    DELETE FROM shared_state WHERE kind = %(kind)s AND number <= (
        SELECT number FROM shared_state WHERE kind = %(kind)s
        ORDER BY number DESC LIMIT 1 OFFSET %(most)s)
"""


def publish(
    connection: Connection, rows: Sequence[SharedRow], now: datetime, lock_key: int
) -> None:
    """Write rows, unless newer ones are there, and delete what has expired or is too much.

    Args:
        connection: outside of a transaction.
        rows: to write.
        now: the store's time.
        lock_key: of the advisory lock of those who publish.
    """
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key,))
        cursor.execute("DELETE FROM shared_state WHERE expires <= %s", (now,))
        values = [
            (
                row.kind,
                row.key,
                row.value,
                row.changed,
                row.keep_s,
                now + timedelta(seconds=row.keep_s),
            )
            for row in rows
        ]
        cursor.executemany(_WRITE, values)
        for kind in sorted({row.kind for row in rows}):
            cursor.execute(_DROP_SURPLUS, {"kind": kind, "most": MAX_ROWS})


def published(
    connection: Connection, kinds: Sequence[str], since: int, now: datetime
) -> SharedChanges:
    """What :meth:`Ledger.published` returns.

    Args:
        connection: to read with.
        kinds: of the rows.
        since: the ``until`` of the previous question; 0: the first.
        now: the store's time.
    """
    found = connection.execute("SELECT last_value FROM shared_state_numbers").fetchone()
    # A database that was restored from an earlier copy counts from there again.
    begin = since if since <= cast("tuple[int]", found)[0] else 0
    rows = connection.execute(
        "SELECT kind, key, value, changed, keep_s, number FROM shared_state"
        " WHERE kind = ANY(%s) AND number > %s AND expires > %s ORDER BY number LIMIT %s",
        (list(kinds), begin, now, MAX_PAGE),
    ).fetchall()
    return SharedChanges(
        tuple(SharedRow(*each[:5]) for each in rows), rows[-1][5] if rows else begin
    )
