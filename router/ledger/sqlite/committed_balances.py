"""Balances as of the last commit, in memory: a view of balances that were seen before reads no file.

To read even two of them takes a dozen short calls of SQLite. Each lets another thread go on in Python
meanwhile, for which this one then has to wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from router.core.bounded_cache import BoundedCache
from router.ledger.rows import Account, Balance
from router.ledger.storage_format import to_micros

__all__ = ["CommittedBalances", "Sums"]

_BYTES = 8 << 20

Sums = Mapping[Account, tuple[int, int]]
"""What is spent and held, by account."""


class CommittedBalances:
    """What is spent and held by account, and when the first open hold runs out. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = BoundedCache[Account, tuple[int, int]](_BYTES)
        self._next_expiry: int | None = 0
        self._commits = 0

    def commit(self, changed: Iterable[Balance], next_expiry: int | None) -> None:
        """Take over a commit; only the writer calls this.

        Args:
            changed: balances as they were committed.
            next_expiry: when the first open hold runs out, microseconds; ``None``: there is none.
        """
        with self._lock:
            self._commits += 1
            self._next_expiry = next_expiry
            for balance in changed:
                self._put(balance.account, (balance.spent, balance.held))

    def may_be_due(self, moment: datetime) -> bool:
        """Whether some hold may have expired by a moment; false: none has."""
        first = self._next_expiry
        return first is not None and first <= to_micros(moment)

    def of(self, accounts: Sequence[Account], read: Callable[[Sequence[Account]], Sums]) -> Sums:
        """The sums of some accounts, all as of one commit.

        Args:
            accounts: to look for.
            read: reads them all from the file, where one is not known.
        """
        with self._lock:
            known = {account: self._sums.get(account) for account in accounts}
            before = self._commits
        found = {account: sums for account, sums in known.items() if sums is not None}
        if len(found) == len(known):
            return found
        sums = read(accounts)
        with self._lock:
            # After another commit it may be older than what that one has told.
            if self._commits == before:
                for account, one in sums.items():
                    self._put(account, one)
        return sums

    def _put(self, account: Account, sums: tuple[int, int]) -> None:
        self._sums.put(account, sums, len(account.limit) + len(account.key))
