"""Turns: decisions of a task, whose holds are drawn from it: what it has reserved is there for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from router.core.errors import InvalidInput
from router.core.limits import CHOICE_LABELS, Amounts, LimitState, Unit
from router.core.task_cap import cap_state
from router.ledger.base import HoldState, Ledger, StoredDecision, StoredTask
from router.ledger.limit_book import series_of
from router.ledger.task_rules import task_over, unknown_task
from router.routing.router import RouteQuery
from router.routing.task_record import TaskRecord

__all__ = ["after_turn", "covers", "for_turn", "scope_of", "task_of", "within"]

_record = msgspec.json.Decoder(TaskRecord)


def task_of(ledger: Ledger, query: RouteQuery) -> StoredTask:
    """The open task whose turn a request is.

    Args:
        ledger: keeps the tasks.
        query: names one.

    Raises:
        NotFound: this tenant has no such task.
        NotPossible: it is over.
        InvalidInput: the scope is not that of the task.
    """
    task = ledger.task(query.task_id)
    if task is None or task.labels.get("tenant", "") != query.tenant:
        raise unknown_task(query.task_id)
    if task.state is not HoldState.HELD:
        raise task_over(task.id, task.state)
    scope, given = scope_of(task), query.scope
    differing = sorted(
        name for name in scope.keys() | given.keys() if scope.get(name) != given.get(name)
    )
    if differing:
        raise InvalidInput(
            f"scope: differs from that of task {task.id} in {', '.join(differing)}; send the labels with"
            " which it began",
            reason="OTHER_SCOPE",
            field="scope",
        )
    return task


def scope_of(task: StoredTask) -> Mapping[str, str]:
    """The labels of the request with which a task began."""
    return {name: value for name, value in task.labels.items() if name not in CHOICE_LABELS}


def within(query: RouteQuery, task: StoredTask) -> RouteQuery:
    """A request with the models and tiers to which its task is confined.

    Args:
        query: of a turn.
        task: whose turn it is.

    Raises:
        InvalidInput: it allows none of those of the task.
    """
    record, given = _record.decode(task.record), query.constraints
    if not record.models and not record.tiers:
        return query
    return replace(
        query,
        constraints=replace(
            given,
            models=_both(given.models, record.models, "allowed_models", task.id),
            tiers=_both(given.tiers, record.tiers, "allowed_tiers", task.id),
        ),
    )


def _both(
    given: frozenset[str], of_task: tuple[str, ...], name: str, task_id: str
) -> frozenset[str]:
    if not given or not of_task:
        return given or frozenset(of_task)
    found = given.intersection(of_task)
    if not found:
        raise InvalidInput(
            f"constraints.{name}: task {task_id} allows {', '.join(of_task)} alone; name one of them, or"
            " none",
            field=f"constraints.{name}",
        )
    return found


def covers(task: StoredTask, state: LimitState) -> bool:
    """Whether a task holds on the balance of a limit, so that its turns need nothing more there."""
    limit = state.limit
    return limit.unit is Unit.MONEY and (limit.id, series_of(limit), state.key) in task.covered


def for_turn(
    task: StoredTask,
    views: Sequence[tuple[LimitState, ...]],
    freed: StoredDecision | None,
) -> list[tuple[LimitState, ...]]:
    """The limits of candidates as a turn sees them: without what its task holds, and with the cap of that.

    Args:
        task: whose turn it is.
        views: by candidate, the limits that apply.
        freed: the turn that it replaces, whose hold goes back to the task, and which the views leave out;
            ``None``: none.
    """
    back = _given_back(freed)
    cap = cap_state(task.id, task.cap, task.cap - task.left - task.held, task.held - back)
    made: dict[int, tuple[LimitState, ...]] = {}
    for states in views:  # those with the same limits share a tuple, and go on doing so
        if id(states) not in made:
            seen = (_without_task(state, task, back) for state in states)
            made[id(states)] = (*seen, cap)
    return [made[id(states)] for states in views]


def _given_back(freed: StoredDecision | None) -> int:
    return freed.held.money if freed is not None and freed.held is not None else 0


def _without_task(state: LimitState, task: StoredTask, back: int) -> LimitState:
    """A balance without what is reserved for turns, and room for that, whatever has become of the limit."""
    if not covers(task, state):
        return state
    held, hard = state.held, state.limit.hard
    if state.period.start <= task.created < state.period.end:
        held = max(held - task.left, 0)
    least = state.spent + held + task.left + back
    if hard is not None and hard < least:
        state = replace(state, limit=replace(state.limit, hard=least))
    return replace(state, held=held)


def after_turn(
    task: StoredTask, amounts: Amounts | None, freed: StoredDecision | None
) -> StoredTask:
    """A task as it will be once a turn holds.

    Args:
        task: before.
        amounts: of the turn; ``None``: it holds nothing.
        freed: the turn that it replaces; ``None``: none.
    """
    back = _given_back(freed)
    more = 0 if amounts is None else amounts.money
    return replace(
        task,
        left=task.left + back - more,
        held=task.held - back + more,
        turns=task.turns + (freed is None),
    )
