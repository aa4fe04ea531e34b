"""The rules of tasks: one hold for a whole agent run, from which the holds of its turns are drawn.

Pure, like :mod:`ledger.rules`, which calls them. A task is a row that holds its cap on every limit of money
that applies to it. A turn counts on the balances of its task, in the period in which the task began: what it
draws moves from the hold of the task to its own, so that no sum of spent and held changes there, and no limit
can refuse it. What a turn does not use goes back as long as the task is open. In a whole of which a limit is
a share, a task does not count: a cap shall make no room. Its turns do, like any decision.
"""

from __future__ import annotations

from collections.abc import Sequence

from router.core.errors import NotFound, NotPossible, shown
from router.core.limits import Unit
from router.ledger.base import Hold, HoldState
from router.ledger.limit_book import ApplicableLimit
from router.ledger.rows import Account, LedgerEntry, Row
from router.ledger.unit_of_work import UnitOfWork

__all__ = [
    "covered",
    "draw",
    "give",
    "left_of",
    "left_to_check",
    "open_task",
    "task_of",
    "task_over",
    "unknown_task",
]

_NOTHING: frozenset[Account] = frozenset()


def task_of(work: UnitOfWork, new: Hold) -> Row | None:
    """The task that a new decision draws from; ``None`` for one that is no turn.

    Raises:
        NotFound: the tenant has no such task.
        NotPossible: it is over.
    """
    if new.task is None or new.task == new.id:
        return None
    row = work.row(new.task)
    if row is None or not row.is_task or row.tenant != new.labels.get("tenant", ""):
        raise unknown_task(new.task)
    if row.state is not HoldState.HELD:
        raise task_over(row.id, row.state)
    return row


def open_task(work: UnitOfWork, row: Row) -> Row | None:
    """The task of a turn while it is open; ``None`` once it is over or erased, and for what is no turn."""
    if row.task is None or row.is_task:
        return None
    task = work.row(row.task)
    return task if task is not None and task.state is HoldState.HELD else None


def left_of(task: Row) -> int:
    """What turns can still draw from an open task, nano-dollars ≥ 0."""
    assert task.held is not None  # noqa: S101 — every task has a cap
    return task.held.money - task.drawn


def covered(task: Row | None) -> frozenset[Account]:
    """The balances on which a task holds; empty without a task."""
    if task is None:
        return _NOTHING
    return frozenset(entry.balance.account for entry in task.entries)


def left_to_check(
    applying: Sequence[ApplicableLimit], task: Row | None
) -> Sequence[ApplicableLimit]:
    """The limits on which a task or a turn is to be held like any decision.

    Args:
        applying: the limits that apply.
        task: of a turn; on its balances, whatever their period, it holds already. ``None``: the limits of a
            task, which holds money alone, and counts in no whole of which a limit is a share: its turns do.
    """
    if task is None:
        return [each for each in applying if each.limit.unit is Unit.MONEY and not each.counts_only]
    held = {account[:3] for account in covered(task)}
    return [each for each in applying if each.account[:3] not in held]


def draw(work: UnitOfWork, task: Row, turn: Row) -> None:
    """Move what a new turn holds from its task to it; it fits what is left.

    Args:
        work: the rows.
        task: open.
        turn: without entries yet.
    """
    money = 0 if turn.held is None else turn.held.money
    give(work, task, -money)
    for entry in task.entries:
        entry.balance.held += money
        turn.entries.append(LedgerEntry(entry.balance, money))


def give(work: UnitOfWork, task: Row, money: int) -> None:
    """Give money back to an open task, or take it from there.

    Args:
        work: the rows.
        task: open.
        money: nano-dollars; below zero is taken, at most what is left.
    """
    if not money:
        return
    task.drawn -= money
    for entry in task.entries:
        entry.held += money
        entry.balance.held += money
    work.change(task)


def unknown_task(task_id: str) -> NotFound:
    """The error where a tenant has no such task."""
    return NotFound(
        f"task_id: there is no task {shown(task_id)}; `mitsumori tasks list` lists them",
        reason="TASK_NOT_FOUND",
        field="task_id",
    )


def task_over(task_id: str, state: HoldState) -> NotPossible:
    """The error where a task takes no more turns.

    Args:
        task_id: of the task.
        state: RELEASED or EXPIRED.
    """
    ended = state is HoldState.RELEASED
    how = "was ended" if ended else "has expired"
    return NotPossible(
        f"task_id: task {shown(task_id)} {how}; begin a new one with BeginTask",
        reason="TASK_ENDED" if ended else "TASK_EXPIRED",
        field="task_id",
        metadata={"task_id": task_id},
    )
