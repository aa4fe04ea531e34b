"""What happens to the rows of the ledger: the transitions that every store shares.

Pure: no clock, no I/O. A store brings :class:`Books` (where rows lie) and the moment; the functions here
check everything first and change rows only then, so an operation that raises or is refused has changed
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Protocol

from router.core.errors import Conflict, InvalidInput, NotFound, NotPossible
from router.core.limits import LimitState, Unit, obstacle
from router.ledger.base import (
    Granted,
    Hold,
    HoldResult,
    HoldState,
    Refused,
    Replayed,
    Settlement,
    SettleResult,
)
from router.ledger.limit_book import LimitBook
from router.ledger.rows import UNBOUNDED, Account, Balance, LedgerEntry, Row

__all__ = ["Books", "check_same", "erase", "expire", "hold", "release", "settle"]


class Books(Protocol):
    """Where a store keeps rows while operations run; one thread at a time."""

    @property
    def limits(self) -> LimitBook:
        """The limits as they are now."""
        ...

    def row(self, decision_id: str) -> Row | None:
        """The decision with its entries."""
        ...

    def balance(self, account: Account, unit: Unit) -> Balance:
        """The balance of an account, always the same object; at zero where there was none."""
        ...

    def add(self, row: Row, new: Hold) -> None:
        """Keep a new decision, its entries and their balances."""
        ...

    def change(self, row: Row, report: Settlement | None = None) -> None:
        """Keep what changed in a decision, its entries and their balances."""
        ...


def hold(books: Books, new: Hold, moment: datetime) -> HoldResult:
    """Check every limit that applies and hold, all or none. See :meth:`Ledger.hold`."""
    before = books.row(new.id)
    if before is not None:
        tenant = new.labels.get("tenant", "")
        check_same(new.id, (before.tenant, before.fingerprint), (tenant, new.fingerprint))
        return Replayed(before.reply)
    replaced = _replaced(books, new)
    freed = {entry.balance.account: entry.held for entry in replaced.entries} if replaced else {}
    amounts, taken = new.amounts, []
    for applying in books.limits.applying(new.labels, moment):
        limit, account, period = applying
        balance = books.balance(account, limit.unit)
        amount = 0
        if amounts is not None:
            amount = amounts.of(limit.unit)
            held = balance.held - freed.get(account, 0)
            # Almost everything fits: the reason is only looked for where it does not.
            if balance.spent + held + amount > (
                UNBOUNDED - 1 if limit.hard is None else limit.hard
            ):
                state = LimitState(limit, account.key, period, balance.spent, held)
                why = obstacle(state, amount)
                if why is None:
                    raise _overflow()
                return Refused(state, amount, why)
        taken.append((applying, balance, amount))
    if replaced is not None:
        _give_back(books, replaced, HoldState.RELEASED)
    row = Row(
        id=new.id,
        tenant=new.labels.get("tenant", ""),
        fingerprint=new.fingerprint,
        state=HoldState.QUOTED if amounts is None else HoldState.HELD,
        created=moment,
        expires=moment + timedelta(seconds=new.ttl_s),
        held=amounts,
        reply=new.reply,
        quoted=new.quoted,
    )
    states = []
    for (limit, account, period), balance, amount in taken:
        if amounts is not None:
            ceiling = UNBOUNDED if limit.hard is None else limit.hard
            if ceiling > balance.ceiling:
                balance.ceiling = ceiling
            balance.held += amount
        row.entries.append(LedgerEntry(balance, amount))
        states.append(LimitState(limit, account.key, period, balance.spent, balance.held))
    books.add(row, new)
    return Granted(tuple(states))


def check_same(decision_id: str, before: tuple[str, str], now: tuple[str, str]) -> None:
    """Refuse an id that was used before; ``before`` and ``now`` are (tenant, fingerprint).

    Raises:
        NotFound: by another tenant.
        Conflict: for another request.
    """
    if before[0] != now[0]:
        raise _unknown(decision_id)
    if before[1] != now[1]:
        raise Conflict(f"decision {decision_id} was made for another request; use a fresh id")


def settle(books: Books, report: Settlement) -> SettleResult:
    """Book what really happened in the period of the hold. See :meth:`Ledger.settle`.

    The place of a concurrent limit comes back; requests stay spent; of money and tokens the actual
    amount is spent, more than was held included. A decision that expired, or was only quoted, is booked
    too: the money is gone. What nothing was held for any more counts as overage of its balances.
    """
    row = _owned(books, report.id, report.tenant)
    if row.state is HoldState.SETTLED:
        if row.report != report.fingerprint:
            raise Conflict(
                f"decision {row.id} was settled by another report", reason="ALREADY_SETTLED"
            )
        return SettleResult(row.overage, row.late, repeated=True)
    if row.state is HoldState.RELEASED:
        raise NotPossible(
            f"decision {row.id} was released; its call was not to be made",
            reason="ALREADY_RELEASED",
        )
    actual = report.usage.amounts
    amounts = [
        0 if entry.balance.unit is Unit.CONCURRENT else actual.of(entry.balance.unit)
        for entry in row.entries
    ]
    for entry, spent in zip(row.entries, amounts, strict=True):
        _check_sum(entry.balance.spent + entry.balance.held + spent)
        _check_sum(entry.balance.over + spent)
    for entry, spent in zip(row.entries, amounts, strict=True):
        over = max(spent - entry.held, 0)
        entry.balance.held -= entry.held
        entry.balance.spent += spent
        entry.balance.over += over
        entry.held, entry.spent, entry.over = 0, spent, over
    row.late = row.state is HoldState.EXPIRED
    row.overage = max(actual.money - (row.held.money if row.held is not None else 0), 0)
    row.state, row.actual, row.report = HoldState.SETTLED, actual, report.fingerprint
    books.change(row, report)
    return SettleResult(row.overage, row.late, repeated=False)


def release(books: Books, decision_id: str, tenant: str) -> bool:
    """Give a hold back without spend. See :meth:`Ledger.release`."""
    row = _owned(books, decision_id, tenant)
    if row.state is HoldState.SETTLED:
        raise NotPossible(
            f"decision {row.id} was settled; there is nothing left to give back",
            reason="ALREADY_SETTLED",
        )
    if row.state is not HoldState.HELD:
        return False
    _give_back(books, row, HoldState.RELEASED)
    return True


def expire(books: Books, due: Iterable[Row]) -> int:
    """Give back holds whose time has run out; how many."""
    count = 0
    for row in due:
        _give_back(books, row, HoldState.EXPIRED)
        count += 1
    return count


def erase(row: Row) -> None:
    """Take the entries out of a final decision; the balances keep what was spent."""
    for entry in row.entries:
        entry.balance.erased += entry.spent
        entry.balance.erased_over += entry.over
    row.entries = []


def _give_back(books: Books, row: Row, state: HoldState) -> None:
    for entry in row.entries:
        entry.balance.held -= entry.held
        entry.held = 0
    row.state = state
    books.change(row)


def _owned(books: Books, decision_id: str, tenant: str) -> Row:
    row = books.row(decision_id)
    if row is None or row.tenant != tenant:
        raise _unknown(decision_id)
    return row


def _replaced(books: Books, new: Hold) -> Row | None:
    if new.replaces is None:
        return None
    row = _owned(books, new.replaces, new.labels.get("tenant", ""))
    if row.state is not HoldState.HELD:
        raise NotFound(f"decision {new.replaces} is no longer held", reason="NOT_HELD")
    return row


def _unknown(decision_id: str) -> NotFound:
    return NotFound(f"there is no decision {decision_id}")


def _check_sum(value: int) -> None:
    if value >= UNBOUNDED:
        raise _overflow()


def _overflow() -> InvalidInput:
    return InvalidInput("the sum of this balance would overflow", reason="OVERFLOW")
