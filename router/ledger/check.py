"""The offline checker: verifies the invariants I1 to I7 of :mod:`ledger.base` from the rows alone.

It shares no arithmetic with the stores: it recomputes every balance from its entries, and every entry from
its decision. Each violation is a sentence that names the row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from router.core.limits import Limit, Unit, period_of
from router.ledger.base import HoldState
from router.ledger.limit_book import series_of
from router.ledger.rows import UNBOUNDED, Account, Balance, LedgerEntry, Row

__all__ = ["Findings", "LedgerContents", "check"]


class LedgerContents(Protocol):
    """All rows of a store; every ledger implements this."""

    def limits(self) -> list[Limit]:
        """Every limit."""
        ...

    def balances(self) -> Iterator[Balance]:
        """Every balance."""
        ...

    def rows(self) -> Iterator[Row]:
        """Every decision with its entries."""
        ...


@dataclass(frozen=True, slots=True)
class Findings:
    """The result of a check.

    Attributes:
        violations: broken invariants; empty for a healthy store.
        notes: allowed but worth knowing, such as a limit that was lowered below its balance.
        decisions: the number of decisions read.
    """

    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    decisions: int = 0


@dataclass(slots=True)
class _Task:
    """A task, and what the turns read so far use of its cap."""

    row: Row
    used: int = 0

    @property
    def accounts(self) -> frozenset[Account]:
        return frozenset(entry.balance.account for entry in self.row.entries)


@dataclass(slots=True)
class _Sums:
    held: int = 0
    spent: int = 0
    over: int = 0


def check(
    ledger: LedgerContents, *, decisions: Iterable[str] = (), settlements: Iterable[str] = ()
) -> Findings:
    """Check every row of a store.

    Args:
        ledger: the store; nobody may write it during the check.
        decisions: ids of the decisions acknowledged to callers and not erased since (I6).
        settlements: ids of the decisions whose settlement was acknowledged to callers.
    """
    limits = {limit.id: limit for limit in ledger.limits()}
    sums: dict[Account, _Sums] = defaultdict(_Sums)
    violations: list[str] = []
    tasks: dict[str, _Task] = {}
    missing, unsettled = set(decisions), set(settlements)
    seen: set[str] = set()
    for row in ledger.rows():
        if row.id in seen:
            violations.append(f"I5: decision {row.id} has more than one row")
        seen.add(row.id)
        missing.discard(row.id)
        if row.state is HoldState.SETTLED:
            unsettled.discard(row.id)
        violations.extend(_row(row))
        if row.is_task:
            tasks[row.id] = _Task(row)
        # A task is older than its turns; it may have been erased before them.
        task = tasks.get(row.task) if row.task is not None and not row.is_task else None
        if task is not None:
            task.used += _used(row)
        for entry in row.entries:
            limit = limits.get(entry.balance.account.limit)
            violations.extend(_entry(row, entry, limit, task))
            total = sums[entry.balance.account]
            total.held += entry.held
            total.spent += entry.spent
            total.over += entry.over
    violations += [
        f"I6: decision {each} was acknowledged and has no row" for each in sorted(missing)
    ]
    violations += [
        f"I6: the settlement of decision {each} was acknowledged and is not booked"
        for each in sorted(unsettled)
    ]
    for task in tasks.values():
        violations.extend(_task(task))
    notes: list[str] = []
    for balance in ledger.balances():
        derived = sums.pop(balance.account, _Sums())
        violations.extend(_balance(balance, derived))
        notes.extend(_note(balance, limits.get(balance.account.limit)))
    violations += [f"I2: entries of {_name(account)} have no balance" for account in sums]
    return Findings(violations, notes, len(seen) - len(tasks))


def _used(turn: Row) -> int:
    """What a turn keeps of the cap of its task, as long as that is open, nano-dollars."""
    if turn.state is HoldState.HELD and turn.held is not None:
        return turn.held.money
    if turn.actual is None:
        return 0
    spent = turn.amendments[0].before[0] if turn.amendments else turn.actual.money
    held = turn.held.money if turn.held is not None and not turn.late else 0
    return min(spent, held + turn.drawn)


def _task(task: _Task) -> Iterator[str]:
    """Of an open task no more is left than what its turns, of which some may be erased, do not use."""
    row = task.row
    cap = row.held.money if row.held is not None else 0
    if row.state not in (HoldState.HELD, HoldState.RELEASED, HoldState.EXPIRED) or cap < 1:
        yield f"I5: task {row.id} ({row.state.value}) has no cap, or is in the state of a decision"
    elif row.state is HoldState.HELD and not task.used <= row.drawn <= cap:
        yield f"I7: {row.drawn} of {cap} are drawn from task {row.id}, its turns use {task.used}"


def _row(row: Row) -> Iterator[str]:
    """A decision is in exactly one state, and all its columns agree with it."""
    name = f"decision {row.id} ({row.state.value})"
    is_settled = row.state is HoldState.SETTLED
    if (row.actual is not None) != is_settled or (row.report is not None) != is_settled:
        yield f"I5: {name} is settled in one column and not in another"
    if (row.late or row.overage) and not is_settled:
        yield f"I5: {name} is flagged as late or over, and was not settled"
    if (row.held is None) != (row.state is HoldState.QUOTED) and not is_settled:
        yield f"I5: {name} has the amounts of another state"
    if row.expires <= row.created:
        yield f"I5: {name} expires before it was made"
    if row.amendments and not is_settled:
        yield f"I5: {name} is amended, and was not settled"
    if row.drawn and not is_settled and not row.is_task:
        yield f"I7: {name} drew more than its hold, and was not settled"
    chain = [
        *(each.before for each in row.amendments[1:]),
        row.actual and (row.actual.money, row.actual.tokens),
    ]
    if any(each.after != after for each, after in zip(row.amendments, chain, strict=False)):
        yield f"I2: {name} is booked with other amounts than those it was amended to"
    if row.actual is not None:
        held = row.held.money if row.held is not None else 0
        overage = max(row.actual.money - held - row.drawn, 0)
        if row.overage != overage:
            yield f"I4: {name} went over by {overage} nano-dollars, and is flagged with {row.overage}"


def _entry(row: Row, entry: LedgerEntry, limit: Limit | None, task: _Task | None) -> Iterator[str]:
    """The state and amounts of a decision determine what it holds and spent on an account."""
    account, unit = entry.balance.account, entry.balance.unit
    name = f"decision {row.id} ({row.state.value}) on {_name(account)}"
    held = row.held.of(unit) if row.state is HoldState.HELD and row.held is not None else 0
    if row.is_task and held:
        held -= row.drawn
    spent = row.actual.of(unit) if row.actual is not None and unit is not Unit.CONCURRENT else 0
    # What was held at the settlement: nothing if the hold had expired.
    covered = row.held.of(unit) if row.held is not None and not row.late else 0
    # Where its task was erased, nobody knows any more which balances they shared.
    orphan = row.task is not None and not row.is_task and task is None and unit is Unit.MONEY
    shared = task is not None and account in task.accounts
    if shared or (orphan and entry.over < max(spent - covered, 0)):
        covered += row.drawn
    if unit in (Unit.MONEY, Unit.TOKENS):
        # What was not spent before an amendment had been given back by then.
        place = 0 if unit is Unit.MONEY else 1
        covered = min([covered, *(each.before[place] for each in row.amendments)])
    over = max(spent - covered, 0)
    if entry.held != held:
        yield f"I3: {name} holds {entry.held}, not {held}"
    if entry.spent != spent:
        yield f"I2: {name} spent {entry.spent}, not {spent}"
    if entry.over != over:
        yield f"I4: {name} is flagged with {entry.over} over, not {over}"
    if limit is not None and series_of(limit) == account.series and not shared and not orphan:
        period = period_of(limit.window, limit.time_zone, row.created).key
        if account.period != period:
            yield f"I2: {name} was made in the period {period}"


def _balance(balance: Balance, derived: _Sums) -> Iterator[str]:
    """A balance is the sum of its entries, and exceeds its ceiling only by the recorded overage."""
    name = _name(balance.account)
    for invariant, what, stored, sums in (
        ("I2", "spent", balance.spent, derived.spent + balance.erased),
        ("I3", "held", balance.held, derived.held),
        ("I4", "over", balance.over, derived.over + balance.erased_over),
    ):
        if stored != sums:
            yield f"{invariant}: {name} says {stored} {what}, its entries say {sums}"
        if stored < 0:
            yield f"{invariant}: {name} says {stored} {what}, below zero"
    if (
        balance.ceiling < UNBOUNDED
        and balance.spent + balance.held > balance.ceiling + balance.over
    ):
        yield (
            f"I1, I4: {name} has {balance.spent} spent and {balance.held} held: more than"
            f" {balance.ceiling}, the highest hard value it was granted under, and {balance.over} of"
            " flagged overage"
        )


def _note(balance: Balance, limit: Limit | None) -> Iterator[str]:
    if (
        limit is not None
        and limit.hard is not None
        and series_of(limit) == balance.account.series
        and limit.hard < balance.ceiling
        and balance.spent + balance.held > limit.hard
    ):
        yield (
            f"{_name(balance.account)} was lowered to {limit.hard}, below the"
            f" {balance.spent + balance.held} that were spent and held before"
        )


def _name(account: Account) -> str:
    return f"limit {account.limit!r} key {account.key!r} period {account.period}"
