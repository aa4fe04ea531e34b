"""The rows of the ledger, in the form that every store passes to the rules.

account   identifies a balance: (limit, series, key, period)
balance   what is spent and held on an account: the sums of its entries
entry     what one decision holds or spent on one account
row       one decision with its entries, or one task: a hold from which the holds of its turns are drawn
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from router.core.limits import Amounts, Unit
from router.ledger.base import HoldState

__all__ = ["UNBOUNDED", "Account", "Amended", "Balance", "LedgerEntry", "Row"]

UNBOUNDED = 2**63 - 1
"""The ceiling of a balance whose limit has no hard value; sums stay below it."""


class Account(NamedTuple):
    """Identifies a balance.

    Attributes:
        limit: id of the limit.
        series: hash of what the limit counts, see :func:`limit_book.series_of`.
        key: which of the limit's balances, see :func:`limits.balance_key`.
        period: start of the period in seconds since 1970.
    """

    limit: str
    series: str
    key: str
    period: int


@dataclass(slots=True)
class Balance:
    """What is spent and held on an account; all amounts ≥ 0, in its unit.

    Attributes:
        account: identifies the balance.
        unit: what is counted; stored here because the limit may be deleted before a hold settles.
        spent: sum of the settlements.
        held: sum of the open holds.
        over: sum of the overage: what settlements spent beyond what was held for them.
        ceiling: the highest hard value under which a hold was granted; :data:`UNBOUNDED` for no hard value.
        erased: the part of ``spent`` whose decisions were erased.
        erased_over: the part of ``over`` whose decisions were erased.
        number: key of the row in the store; ``None`` before it is stored.
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
    """What one decision holds or spent on one balance; amounts ≥ 0, in the unit of the balance.

    Attributes:
        balance: the balance.
        held: the open hold.
        spent: the settlement.
        over: the part of ``spent`` beyond what was held.
    """

    balance: Balance
    held: int = 0
    spent: int = 0
    over: int = 0


@dataclass(frozen=True, slots=True)
class Amended:
    """An amendment as the row keeps it.

    Attributes:
        time: when it was made, ISO 8601 in UTC.
        report: fingerprint of the request.
        reason: why.
        before: nano-dollars and tokens that were booked until then.
        after: nano-dollars and tokens that are booked since.
    """

    time: str
    report: str
    reason: str
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(slots=True)
class Row:
    """One decision as the rules see it; the store keeps its labels, record and usage as JSON.

    Attributes:
        id: of the decision.
        tenant: its owner; empty without one.
        fingerprint: hash of the request's body.
        state: see :class:`HoldState`.
        created: when it was made, UTC.
        expires: when its hold or quote ends, UTC.
        held: amounts of the hold; ``None`` for a quote.
        reply: the serialised reply.
        actual: reported amounts; ``None`` before it is settled.
        late: whether it was settled after its hold had expired.
        overage: money spent beyond the hold, nano-dollars ≥ 0.
        report: fingerprint of the settlement; ``None`` before it is settled.
        quoted: the expected price in the quote, nano-dollars ≥ 0.
        entries: what it holds or spent, by balance.
        amendments: corrections of the settlement, oldest first.
        task: id of the task that it draws from; its own id: it is a task. ``None``: neither.
        drawn: of a task, what its turns have drawn of its cap so far; of a turn, what its settlement drew
            beyond its hold. Nano-dollars ≥ 0.
        number: key of the row in the store; ``None`` before it is stored.
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
    amendments: tuple[Amended, ...] = ()
    task: str | None = None
    drawn: int = 0
    number: int | None = None

    @property
    def is_task(self) -> bool:
        """Whether it holds money for turns, and is no decision itself."""
        return self.task == self.id
