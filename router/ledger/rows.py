"""The rows of the ledger, as every store hands them to the rules.

account   which balance: (limit, series, key, period)
balance   what is spent and held on an account; the sums of its entries
entry     what one decision holds or spent on one account
row       one decision with its entries
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from router.core.limits import Amounts, Unit
from router.ledger.base import HoldState

__all__ = ["UNBOUNDED", "Account", "Balance", "LedgerEntry", "Row"]

UNBOUNDED = 2**63 - 1
"""The ceiling of a balance that was granted under no hard value; also the greatest sum that is kept."""


class Account(NamedTuple):
    """Which balance: a limit, what it counted then, for whom, and from when (seconds since 1970)."""

    limit: str
    series: str
    key: str
    period: int


@dataclass(slots=True)
class Balance:
    """What is spent and held on an account, all ≥ 0, in its unit.

    Attributes:
        account: identity.
        unit: what is counted; kept here because the limit may be gone when a hold settles.
        spent: sum over settlements.
        held: sum over open holds.
        over: sum of the flagged overage: what was settled beyond what was held at that moment.
        ceiling: the highest hard value under which something was granted; :data:`UNBOUNDED` if none.
        erased: the part of ``spent`` whose decisions were erased.
        erased_over: the part of ``over`` whose decisions were erased.
        number: the store's own; ``None`` until it has a row.
    """

    account: Account
    unit: Unit
    spent: int = 0
    held: int = 0
    over: int = 0
    ceiling: int = 0
    erased: int = 0
    erased_over: int = 0
    number: int | None = None


@dataclass(slots=True)
class LedgerEntry:
    """What one decision holds, or spent, on one balance; ``over`` is its part of the overage."""

    balance: Balance
    held: int = 0
    spent: int = 0
    over: int = 0


@dataclass(slots=True)
class Row:
    """One decision as the rules see it. Labels, record and usage stay with the store, as JSON.

    ``held`` and ``actual`` are the amounts of the hold and of the settlement; ``report`` is the
    fingerprint of the settlement; ``overage`` and ``quoted`` are in nano-dollars. ``number`` is the
    store's own.
    """

    id: str
    tenant: str
    fingerprint: str
    state: HoldState
    created: datetime
    expires: datetime
    held: Amounts | None
    reply: bytes
    actual: Amounts | None = None
    late: bool = False
    overage: int = 0
    report: str | None = None
    quoted: int = 0
    entries: list[LedgerEntry] = field(default_factory=list)
    number: int | None = None
