"""What the rules of the ledger need of a store."""

from __future__ import annotations

from typing import Protocol

from router.core.limits import Unit
from router.ledger.base import Hold, Settlement
from router.ledger.limit_book import LimitBook
from router.ledger.rows import Account, Balance, Row

__all__ = ["UnitOfWork"]


class UnitOfWork(Protocol):
    """The rows that operations read and change within one transaction; used by one thread at a time."""

    @property
    def limits(self) -> LimitBook:
        """The current limits."""
        ...

    def row(self, decision_id: str) -> Row | None:
        """The decision with its entries; ``None`` if there is none."""
        ...

    def balance(self, account: Account, unit: Unit) -> Balance:
        """The balance of an account, always the same object; a new one is zero."""
        ...

    def add(self, row: Row, new: Hold) -> None:
        """Store a new decision, its entries and their balances."""
        ...

    def change(self, row: Row, report: Settlement | None = None) -> None:
        """Store the changes of a decision, its entries and their balances."""
        ...
