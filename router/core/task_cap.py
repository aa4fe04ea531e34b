"""The cap of a task as a limit: what is left of it blocks candidates like what is left of any other.

Pure. A task is one hold for many decisions, its turns; see :mod:`router.ledger.task_rules`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from router.core.errors import Exhausted
from router.core.limits import Limit, LimitState, Unit, Window, period_of
from router.core.money import format_usd

__all__ = ["TASK", "cap_refusal", "cap_state", "is_cap"]

TASK = "task "
"""Begins the id of the limit that a cap is; no id of another limit has a space."""
_FOREVER = period_of(Window.TOTAL, "UTC", datetime(2000, 1, 1, tzinfo=UTC))


def cap_state(task_id: str, cap: int, spent: int, held: int) -> LimitState:
    """The cap of a task with its balance.

    Args:
        task_id: of the task.
        cap: the most that its turns may cost together, nano-dollars ≥ 0.
        spent: what its turns have used of it for good, nano-dollars ≥ 0.
        held: what its open turns hold, nano-dollars ≥ 0.
    """
    limit = Limit(f"{TASK}{task_id}", {}, Unit.MONEY, Window.TOTAL, hard=cap)
    return LimitState(limit, "", _FOREVER, spent, held)


def is_cap(limit: Limit) -> bool:
    """Whether a limit is the cap of a task."""
    return limit.id.startswith(TASK)


def cap_refusal(state: LimitState, needed: int, model: str) -> Exhausted:
    """The error where the cap of a task leaves too little for a turn.

    Args:
        state: of :func:`cap_state`.
        needed: what the turn would hold, nano-dollars.
        model: the cheapest that it could use, by catalog id; empty: not known.
    """
    task_id = state.limit.id.removeprefix(TASK)
    left = state.remaining or 0
    what = f"the cheapest model, {model}," if model else "the turn"
    remedy = "end it, and begin one with a higher cap"
    if state.held and needed <= left + state.held:
        remedy = "settle or release its open turns, or begin a task with a higher cap"
    return Exhausted(
        f"task_id: the cap of task {task_id} has {format_usd(left)} left, and {what} needs"
        f" {format_usd(needed)}: {remedy}",
        reason="TASK_CAP_REACHED",
        field="task_id",
        metadata={
            "task_id": task_id,
            "cap_usd": format_usd(state.limit.hard or 0)[1:],
            "left_usd": format_usd(left)[1:],
            "held_usd": format_usd(state.held)[1:],
            "needed_usd": format_usd(needed)[1:],
            **({"model": model} if model else {}),
        },
    )
