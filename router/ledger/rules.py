"""The rules of the ledger: how operations change its rows, the same for every store.

Pure: no clock, no I/O. A store passes a :class:`UnitOfWork` with the rows, and the current time. Each
function checks everything before it changes a row, so an operation that raises or is refused changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from router.core.errors import Conflict, InvalidInput, NotFound, NotPossible, shown
from router.core.limits import Amounts, LimitState, Unit, find_obstacle
from router.core.task_cap import cap_state
from router.ledger import task_rules
from router.ledger.base import (
    Amendment,
    AmendResult,
    Granted,
    Hold,
    HoldResult,
    HoldState,
    Refused,
    Repeated,
    Settlement,
    SettleResult,
)
from router.ledger.limit_book import ApplicableLimit, states_of
from router.ledger.rows import UNBOUNDED, Account, Amended, Balance, LedgerEntry, Row
from router.ledger.unit_of_work import UnitOfWork

__all__ = [
    "GLITCH",
    "amend",
    "check_same",
    "end_task",
    "erase",
    "expire",
    "hold",
    "is_due",
    "later",
    "release",
    "settle",
]


GLITCH = timedelta(hours=1)
"""A time of the store that lies further ahead of the clock was one of a clock that ran wild."""


def later(last: datetime, clock: datetime) -> datetime:
    """The time of a store: the clock's, and never earlier than the time before.

    A time before that lies more than :data:`GLITCH` ahead of the clock is dropped: it would keep every window
    open until the clock has caught up, which may take years.

    Args:
        last: the time before, aware.
        clock: what the clock says now, aware.
    """
    return clock if last > clock + GLITCH else max(last, clock)


def is_due(row: Row, moment: datetime) -> bool:
    """Whether an open hold has expired: its time has run out, or it was made while the clock ran wild."""
    return row.expires <= moment or row.created > moment + GLITCH


def hold(work: UnitOfWork, new: Hold, moment: datetime) -> HoldResult:
    """Check every limit that applies, and hold on all of them or on none. See :meth:`Ledger.hold`.

    Args:
        work: the rows of ``new.id``, ``new.replaces``, their tasks, and every balance that applies.
        new: the decision to record.
        moment: its time of creation.
    """
    before = work.row(new.id)
    if before is not None:
        tenant = new.labels.get("tenant", "")
        check_same(new.id, (before.tenant, before.fingerprint), (tenant, new.fingerprint))
        return Repeated(before.reply)
    task = task_rules.task_of(work, new)
    replaced = _replaced(work, new)
    freed = {entry.balance.account: entry.held for entry in replaced.entries} if replaced else {}
    amounts, holds_to_make = new.amounts, []
    to_check = work.limits.applying(new.labels, moment)
    if new.task is not None:
        to_check = task_rules.left_to_check(to_check, task)
    wholes: dict[Account, Balance] = {}
    for applying in to_check:
        limit, account, _, whole, _ = applying
        balance = work.balance(account, limit.unit)
        if whole is not None:
            wholes[whole] = work.balance(whole, limit.unit)
        amount, ceiling = 0, limit.hard
        if amounts is not None:
            amount = amounts.of(limit.unit)
            state = _state(applying, balance, wholes, freed)
            ceiling = state.ceiling(amount)
            # Almost every amount fits, so the obstacle is computed only for one that does not.
            if state.spent + state.held + amount > (UNBOUNDED - 1 if ceiling is None else ceiling):
                obstacle = find_obstacle(state, amount)
                if obstacle is None:
                    raise _overflow()
                return Refused(state, amount, obstacle)
        holds_to_make.append((applying, balance, amount, ceiling))
    if task is not None:
        over = _over_cap(task, replaced, amounts)
        if over is not None:
            return over
    if replaced is not None:
        _free(work, replaced, HoldState.RELEASED)
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
        task=new.task,
    )
    if task is not None:
        task_rules.draw(work, task, row)
    states = _hold_on(row, holds_to_make, wholes)
    work.add(row, new)
    return Granted(states)


def _state(
    applying: ApplicableLimit,
    balance: Balance,
    wholes: Mapping[Account, Balance],
    freed: Mapping[Account, int],
) -> LimitState:
    """A limit with its balance, as it is once what is freed is no longer held.

    Args:
        applying: the limit.
        balance: of it.
        wholes: the balances of which others are a share.
        freed: what a replaced decision holds, by account.
    """
    limit, account, period, whole, _ = applying
    held, of_whole = balance.held - freed.get(account, 0), 0
    if whole is not None:
        counted = wholes[whole]
        of_whole = counted.spent + counted.held - freed.get(whole, 0)
    return LimitState(limit, account.key, period, balance.spent, held, of_whole)


def _hold_on(
    row: Row,
    holds: Sequence[tuple[ApplicableLimit, Balance, int, int | None]],
    wholes: Mapping[Account, Balance],
) -> tuple[LimitState, ...]:
    """Hold amounts on balances, and return these.

    Args:
        row: the new decision.
        holds: on which balance how much is held, below which ceiling; ``None``: below any.
        wholes: the balances of which others are a share.
    """
    balances = dict(wholes)
    for applying, balance, amount, ceiling in holds:
        if row.held is not None:
            balance.ceiling = max(balance.ceiling, UNBOUNDED if ceiling is None else ceiling)
            balance.held += amount
        row.entries.append(LedgerEntry(balance, amount))
        balances[applying.account] = balance

    def sums_of(account: Account) -> tuple[int, int]:
        balance = balances[account]
        return balance.spent, balance.held

    return states_of([applying for applying, *_ in holds], sums_of)


def _over_cap(task: Row, replaced: Row | None, amounts: Amounts | None) -> Refused | None:
    """The refusal where a turn does not fit what is left of its task, and of the turn that it replaces."""
    assert task.held is not None  # noqa: S101 — every task has a cap
    freed, money = 0, 0 if amounts is None else amounts.money
    if replaced is not None and replaced.task == task.id and replaced.held is not None:
        freed = replaced.held.money
    state = cap_state(task.id, task.held.money, task.drawn - freed, 0)
    obstacle = find_obstacle(state, money)
    return None if obstacle is None else Refused(state, money, obstacle)


def check_same(decision_id: str, before: tuple[str, str], now: tuple[str, str]) -> None:
    """Refuse an id that was used for another request.

    Args:
        decision_id: the id that was used before.
        before: tenant and fingerprint of the earlier request.
        now: tenant and fingerprint of this request.

    Raises:
        NotFound: another tenant used the id.
        Conflict: the request was another one.
    """
    if before[0] != now[0]:
        raise _unknown(decision_id)
    if before[1] != now[1]:
        raise Conflict(
            f"decision {shown(decision_id)} was made for another request; use a fresh id"
        )


def settle(work: UnitOfWork, report: Settlement) -> SettleResult:
    """Record the actual usage in the period of the hold. See :meth:`Ledger.settle`.

    The balance of a concurrent limit gets its place back, the request stays spent, and the actual money
    and tokens are spent even if more than was held. The spend of a decision that expired or was only quoted
    counts too; because nothing was held for it any more, all of it is overage of its balances.

    What a turn did not use goes back to its task while that is open, and what it had too little is drawn from
    there: only what the task cannot give is overage of the balances that they share.
    """
    row = _owned(work, report.id, report.tenant)
    if row.state is HoldState.SETTLED:
        if row.report != report.fingerprint:
            raise Conflict(
                f"decision {shown(row.id)} was settled by another report", reason="ALREADY_SETTLED"
            )
        # The answer from before, whatever was amended since.
        first = row.amendments[0].before[0] if row.amendments else None
        overage = row.overage if first is None else _overage(row, first)
        return SettleResult(overage, row.late, repeated=True)
    if row.state is HoldState.RELEASED:
        raise NotPossible(
            f"decision {shown(row.id)} was released, so it cannot be settled; ask for a new decision",
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
    task = task_rules.open_task(work, row)
    shared, drawn = task_rules.covered(task), 0
    if task is not None:
        held = row.held.money if row.state is HoldState.HELD and row.held is not None else 0
        drawn = min(max(actual.money - held, 0), task_rules.left_of(task))
        task_rules.give(work, task, max(held - actual.money, -drawn))
    for entry, spent in zip(row.entries, amounts, strict=True):
        more = drawn if entry.balance.account in shared else 0
        over = max(spent - entry.held - more, 0)
        entry.balance.held -= entry.held
        entry.balance.spent += spent
        entry.balance.over += over
        entry.held, entry.spent, entry.over = 0, spent, over
    row.late, row.drawn = row.state is HoldState.EXPIRED, drawn
    row.overage = _overage(row, actual.money)
    row.state, row.actual, row.report = HoldState.SETTLED, actual, report.fingerprint
    work.change(row, report)
    return SettleResult(row.overage, row.late, repeated=False)


def amend(work: UnitOfWork, wanted: Amendment, moment: datetime) -> AmendResult:
    """Correct what a settled decision spent. See :meth:`Ledger.amend`.

    Args:
        work: the rows of the decision and its balances.
        wanted: what was really spent.
        moment: its time.
    """
    row = _owned(work, wanted.id, wanted.tenant)
    if row.state is not HoldState.SETTLED or row.actual is None:
        raise NotPossible(
            f"decision {shown(row.id)} is {row.state.value}, and only a settled one can be amended",
            reason="NOT_SETTLED",
        )
    before = row.actual
    if row.amendments and row.amendments[-1].report == wanted.fingerprint:
        money, tokens = row.amendments[-1].before
        return AmendResult(before._replace(money=money, tokens=tokens), row.overage, repeated=True)
    tokens = before.tokens if wanted.tokens is None else wanted.tokens
    actual = before._replace(money=wanted.money, tokens=tokens)
    amendment = Amended(
        time=moment.isoformat(),
        report=wanted.fingerprint,
        reason=wanted.reason,
        before=(before.money, before.tokens),
        after=(actual.money, actual.tokens),
    )
    amendments = (*row.amendments, amendment)
    changes = []
    # Where the task was erased, what was drawn from it covers no balance any more.
    shared = task_rules.covered(work.row(row.task) if row.task is not None else None)
    for entry in row.entries:
        if entry.balance.unit not in (Unit.MONEY, Unit.TOKENS):
            continue
        spent = actual.of(entry.balance.unit)
        more = row.drawn if entry.balance.account in shared else 0
        over = max(spent - _covered(row, amendments, entry.balance.unit, more), 0)
        _check_sum(entry.balance.spent - entry.spent + entry.balance.held + spent)
        _check_sum(entry.balance.over - entry.over + over)
        changes.append((entry, spent, over))
    for entry, spent, over in changes:
        entry.balance.spent += spent - entry.spent
        entry.balance.over += over - entry.over
        entry.spent, entry.over = spent, over
    row.overage = _overage(row, actual.money)
    row.actual, row.amendments = actual, amendments
    work.change(row)
    return AmendResult(before, row.overage, repeated=False)


def _overage(row: Row, money: int) -> int:
    held = row.held.money if row.held is not None else 0
    return max(money - held - row.drawn, 0)


def _covered(row: Row, amendments: Iterable[Amended], unit: Unit, drawn: int) -> int:
    """What was held for the spend of a settled decision and never given back: the rest went to others."""
    held = 0 if row.held is None or row.late else row.held.of(unit)
    kept = [each.before[0] if unit is Unit.MONEY else each.before[1] for each in amendments]
    return min(held + drawn, *kept)


def release(work: UnitOfWork, decision_id: str, tenant: str) -> bool:
    """Free a hold without spend. See :meth:`Ledger.release`."""
    row = _owned(work, decision_id, tenant)
    if row.state is HoldState.SETTLED:
        raise NotPossible(
            f"decision {shown(row.id)} was settled, so it cannot be released",
            reason="ALREADY_SETTLED",
        )
    if row.state is not HoldState.HELD:
        return False
    _free(work, row, HoldState.RELEASED)
    return True


def end_task(work: UnitOfWork, task_id: str, tenant: str) -> bool:
    """Free what is left of a task. See :meth:`Ledger.end_task`."""
    row = work.row(task_id)
    if row is None or not row.is_task or row.tenant != tenant:
        raise task_rules.unknown_task(task_id)
    if row.state is not HoldState.HELD:
        return False
    _free(work, row, HoldState.RELEASED)
    return True


def expire(work: UnitOfWork, due: Iterable[Row]) -> int:
    """Free expired holds and tasks, and return their number; ``due`` come with the tasks of turns."""
    count = 0
    for row in due:
        _free(work, row, HoldState.EXPIRED)
        count += 1
    return count


def erase(row: Row) -> None:
    """Remove the entries of a final decision; the balances keep what was spent."""
    for entry in row.entries:
        entry.balance.erased += entry.spent
        entry.balance.erased_over += entry.over
    row.entries = []


def _free(work: UnitOfWork, row: Row, state: HoldState) -> None:
    task = task_rules.open_task(work, row)
    for entry in row.entries:
        entry.balance.held -= entry.held
        entry.held = 0
    row.state = state
    work.change(row)
    if task is not None and row.held is not None:
        task_rules.give(work, task, row.held.money)


def _owned(work: UnitOfWork, decision_id: str, tenant: str) -> Row:
    row = work.row(decision_id)
    if row is None or row.tenant != tenant or row.is_task:
        raise _unknown(decision_id)
    return row


def _replaced(work: UnitOfWork, new: Hold) -> Row | None:
    if new.replaces is None:
        return None
    row = _owned(work, new.replaces, new.labels.get("tenant", ""))
    if row.state is not HoldState.HELD:
        raise NotFound(f"decision {shown(new.replaces)} is no longer held", reason="NOT_HELD")
    task = task_rules.open_task(work, row)
    if task is not None and new.task != task.id:
        raise NotPossible(
            f"task_id: decision {shown(row.id)} is a turn of task {shown(task.id)}; choose again with"
            " the same task_id",
            reason="OTHER_TASK",
            field="task_id",
        )
    return row


def _unknown(decision_id: str) -> NotFound:
    return NotFound(f"there is no decision {shown(decision_id)}")


def _check_sum(value: int) -> None:
    if value >= UNBOUNDED:
        raise _overflow()


def _overflow() -> InvalidInput:
    return InvalidInput("the balance of a limit would overflow", reason="OVERFLOW")
