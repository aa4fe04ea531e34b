"""Messages of tasks: validates orders, renders the reply to one."""

from __future__ import annotations

from mitsumori.v1 import admin_pb2, router_pb2
from router.catalog.catalog import Catalog
from router.core.money import NANOS_PER_USD
from router.core.task_quote import MAX_TURNS, TaskPlan
from router.ledger.base import HoldState
from router.ledger.storage_format import MAX_AMOUNT
from router.routing.tasks import DEFAULT_TTL_S, MAX_TTL_S, BegunTask, TaskOrder
from router.rpc.messages.limit import fill_limit_status
from router.rpc.messages.route import parse_route, render_held
from router.rpc.messages.task_status import STATES, fill_task_quote, fill_turn
from router.rpc.messages.values import MAX_TOKENS, fill_timestamp, identifier, nanos, wrong

__all__ = [
    "parse_begin",
    "parse_count",
    "parse_state",
    "parse_task_id",
    "render_begun",
]

_MAX_PAGE = 1_000
_DEFAULT_PAGE = 100
_LEAST_TTL_S = 1e-6
"""As short as the ledger can tell: what expires when it is made is damage to `mitsumori verify`."""
_STATES_IN = {number: state for state, number in STATES.items()}


def parse_begin(
    request: router_pb2.BeginTaskRequest, catalog: Catalog, max_bytes: int
) -> TaskOrder:
    """A validated order of a task.

    Args:
        request: as it arrived.
        catalog: as for :func:`parse_route`.
        max_bytes: as for :func:`parse_route`.

    Raises:
        InvalidInput: names the first field that is wrong.
        TooLarge: the prompt exceeds ``max_bytes``.
    """
    if request.request.task_id:
        raise wrong("request.task_id", "must be empty: a task is no turn of another")
    return TaskOrder(
        query=parse_route(request.request, catalog, max_bytes),
        plan=_plan(request),
        cap=_cap(request),
        ttl_s=_time_to_live(request),
    )


def _plan(request: router_pb2.BeginTaskRequest) -> TaskPlan:
    turns, most, growth = request.turns, min(2 * request.turns, MAX_TURNS), None
    if not 1 <= turns <= MAX_TURNS:
        raise wrong("turns", f"must be 1 to {MAX_TURNS:,}")
    if request.HasField("max_turns"):
        most = request.max_turns
        if not turns <= most <= MAX_TURNS:
            raise wrong("max_turns", f"must be {turns:,}, the turns expected, to {MAX_TURNS:,}")
    if request.HasField("input_growth"):
        growth = request.input_growth
        if not 0 <= growth <= MAX_TOKENS:
            raise wrong("input_growth", f"must be 0 to {MAX_TOKENS}")
    return TaskPlan(turns, most, growth)


def _cap(request: router_pb2.BeginTaskRequest) -> int | None:
    if not request.HasField("cap"):
        return None
    cap = nanos(request.cap, "cap")
    if not 1 <= cap <= MAX_AMOUNT:
        raise wrong("cap", f"must be more than zero, at most {MAX_AMOUNT // NANOS_PER_USD:,} USD")
    return cap


def _time_to_live(request: router_pb2.BeginTaskRequest) -> float:
    if not request.HasField("time_to_live"):
        return DEFAULT_TTL_S
    given = request.time_to_live
    seconds: float = given.seconds + given.nanos / 1e9
    if not 0 < seconds <= MAX_TTL_S:
        raise wrong("time_to_live", f"must be more than zero, at most {MAX_TTL_S:,.0f} seconds")
    return max(seconds, _LEAST_TTL_S)


def parse_task_id(request: router_pb2.EndTaskRequest | router_pb2.GetTaskRequest) -> str:
    """The id of a task.

    Raises:
        InvalidInput: it is empty, or has another form.
    """
    if not request.task_id:
        raise wrong("task_id", "must not be empty")
    return identifier(request.task_id, "task_id")


def parse_state(request: admin_pb2.ListTasksRequest) -> HoldState | None:
    """The state of the tasks to list; ``None``: any.

    Raises:
        InvalidInput: there is no such state.
    """
    if not request.state:
        return None
    if request.state not in _STATES_IN:
        raise wrong("state", "must be open, ended, expired or unspecified")
    return _STATES_IN[request.state]


def parse_count(request: admin_pb2.ListTasksRequest) -> int:
    """How many tasks to list, at most.

    Raises:
        InvalidInput: the page is too long.
    """
    if not 0 <= request.page_size <= _MAX_PAGE:
        raise wrong("page_size", f"must be 0 to {_MAX_PAGE:,}")
    return request.page_size or _DEFAULT_PAGE


def render_begun(
    begun: BegunTask, task_id: str, max_alternatives: int
) -> router_pb2.BeginTaskResponse:
    """The reply to the request for a task.

    Args:
        begun: the task.
        task_id: its id.
        max_alternatives: most alternatives to list for the first turn, ≥ 0.
    """
    reply = router_pb2.BeginTaskResponse(
        first_turn=render_held(begun.first, task_id, max_alternatives)
    )
    fill_task_quote(reply.quote, begun.quote)
    if begun.task is not None:
        fill_turn(reply.task, begun.task)
        fill_timestamp(reply.task.create_time, begun.task.created)
        for state in begun.states:
            fill_limit_status(reply.limits.add(), state)
    return reply
