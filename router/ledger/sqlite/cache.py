"""What the writer of the SQLite ledger keeps in memory between groups, within bounds.

It is dropped when a transaction fails, because it may then contain changes that the file does not.
"""

# SQL is built from constants only; values are bound.
# ruff: noqa: S608

from __future__ import annotations

from datetime import datetime
from typing import Any

import apsw

from router.core.bounded_cache import BoundedCache
from router.ledger import rules, storage_format
from router.ledger.limit_book import LimitBook
from router.ledger.rows import Account, Balance
from router.ledger.storage_format import to_micros

__all__ = ["Cache"]

_MAX_BALANCES = 200_000
_ACCOUNTS_BYTES = 64 << 20
"""Of the keys of balances."""
_LABEL_SETS_BYTES = 16 << 20
_DICTIONARIES_BYTES = 4 << 20


class Cache:
    """Committed rows that the writer keeps in memory between groups.

    Attributes:
        limits: the current limits.
        accounts: balances by account.
        balances: the same balances by number.
        account_bytes: what the keys of the accounts take, bytes.
        label_sets: number of each label set, by its JSON.
        dictionaries: number of each dictionary of payloads, by its content.
        next_balance: number of the next new balance.
        next_label_set: number of the next new label set.
        last_created: when the newest decision was created, microseconds; 0 for an empty log. Decisions
            that were created while the clock ran wild (:data:`rules.GLITCH`) do not count.
        next_taken: when the first of those was created; ``None`` if there is none.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.limits = LimitBook(
            storage_format.limit_from_json(text)
            for (text,) in connection.execute("SELECT definition FROM limits")
        )
        self.accounts: dict[Account, Balance] = {}
        self.balances: dict[int, Balance] = {}
        self.label_sets = BoundedCache[str, int](_LABEL_SETS_BYTES)
        self.dictionaries = BoundedCache[bytes, int](_DICTIONARIES_BYTES)
        self.account_bytes = 0
        self.next_balance = _next(connection, "balances")
        self.next_label_set = _next(connection, "label_sets")
        self.last_created = int(
            connection.execute("SELECT coalesce(max(created), 0) FROM decisions").get
        )
        self.next_taken: int | None = None

    def follow(self, connection: apsw.Connection, moment: datetime) -> None:
        """Follow the store's time back from a time that lay too far ahead.

        Args:
            connection: to read with.
            moment: the store's time now.
        """
        ahead = to_micros(moment + rules.GLITCH)
        if self.last_created > ahead or (self.next_taken is not None and self.next_taken <= ahead):
            found: Any = connection.execute(
                "SELECT (SELECT coalesce(max(created), 0) FROM decisions WHERE created <= ?1),"
                " (SELECT min(created) FROM decisions WHERE created > ?1)",
                (ahead,),
            ).fetchone()
            self.last_created, self.next_taken = found

    def trim(self) -> None:
        """Clear what has grown too large; it can be read again."""
        if len(self.accounts) > _MAX_BALANCES or self.account_bytes > _ACCOUNTS_BYTES:
            self.accounts.clear()
            self.balances.clear()
            self.account_bytes = 0


def _next(connection: apsw.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT coalesce(max(number), 0) + 1 FROM {table}").get)
