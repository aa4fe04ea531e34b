"""``mitsumori tasks``: one quote and one hold for a whole agent run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mitsumori import Usd, route_request
from mitsumori.money import nanos_of
from mitsumori.v1 import task_pb2
from router.cli.commands.arguments import Json, Tenant, choice, labels_of
from router.cli.commands.connection import Connection, takes_connection
from router.cli.commands.request_options import (
    ImportanceOption,
    MaxOutputTokensOption,
    ModelsOption,
    ScopeOption,
    TiersOption,
)
from router.cli.render import as_dict, console, print_json, table
from router.core.money import parse_usd, short_usd

__all__ = ["begin_task", "end_task", "list_tasks", "show_task"]

_STATES = {
    name.removeprefix("TASK_STATE_").lower(): value
    for name, value in task_pb2.TaskState.items()
    if value
}
_NAMES = {value: name for name, value in _STATES.items()}
_COLUMNS = ("task", "state", "labels", ">turns", ">cap", ">spent", ">held", ">left", "ends")
TaskId = Annotated[str, typer.Argument(help="Of the task.")]


def _row(task: task_pb2.TaskStatus) -> list[str]:
    amounts = (short_usd(nanos_of(each)) for each in (task.cap, task.spent, task.held, task.left))
    return [
        task.task_id,
        _NAMES[task.state],
        " ".join(f"{name}={value}" for name, value in sorted(task.labels.items())),
        f"{task.turns:,} of {task.quote.turns:,}" if task.quote.turns else f"{task.turns:,}",
        *amounts,
        f"{task.expire_time.ToDatetime():%Y-%m-%d %H:%M:%S}",
    ]


def _show(title: str, tasks: list[task_pb2.TaskStatus]) -> None:
    console().print(table(title, _COLUMNS, [_row(task) for task in tasks]))


@takes_connection()
def begin_task(
    connection: Connection,
    prompt: Annotated[
        str, typer.Argument(help="First turn, or what is to be done; - reads standard input.")
    ],
    turns: Annotated[int, typer.Option(help="Calls of a model that are expected.")],
    max_turns: Annotated[
        int | None, typer.Option(help="The most calls (default: twice as many).")
    ] = None,
    input_growth: Annotated[
        int | None,
        typer.Option(
            help="Input tokens by which the context grows per turn (default: the answer)."
        ),
    ] = None,
    cap: Annotated[
        str | None,
        typer.Option(
            help="The most that the task may cost, USD (default: the quote's high price)."
        ),
    ] = None,
    ttl: Annotated[
        float | None, typer.Option(help="Seconds for which it takes turns (default: an hour).")
    ] = None,
    importance: ImportanceOption = "medium",
    model: ModelsOption = None,
    tier: TiersOption = None,
    max_output_tokens: MaxOutputTokensOption = None,
    scope: ScopeOption = None,
    request_id: Annotated[
        str | None, typer.Option(help="Id of the task (default: the server makes one).")
    ] = None,
    quote_only: Annotated[
        bool, typer.Option("--quote-only", help="Ask for the price only; hold no money.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Quote a whole task and hold its cap; turns are calls of `route` with its --task-id."""
    request = route_request(
        sys.stdin.read() if prompt == "-" else prompt,
        scope=labels_of(scope, "--scope"),
        models=model or (),
        tiers=tier or (),
        max_output_tokens=max_output_tokens,
        importance=importance,
        request_id=request_id,
        quote_only=quote_only,
    )
    with connection.router() as client:
        begun = client.begin_task(
            request,
            turns=turns,
            max_turns=max_turns,
            input_growth=input_growth,
            cap_usd=None if cap is None else Usd(parse_usd(cap, field="--cap")),
            ttl_s=ttl,
        )
    if json_output:
        print_json(as_dict(begun.message))
        return
    quote, price = begun.quote, begun.quote.price
    tell = console().print
    tell(
        f"{quote.turns:,} to {quote.max_turns:,} turns like this one on {quote.model}:"
        f" {short_usd(price.expected.nanos)} expected, {short_usd(price.low.nanos)} to"
        f" {short_usd(price.high.nanos)}, at worst {short_usd(price.worst.nanos)}",
        highlight=False,
        soft_wrap=True,
    )
    if quote.fitting_turns < quote.max_turns:
        tell(f"only {quote.fitting_turns:,} of them fit its context window", highlight=False)
    if begun.begun is not None:
        tell(
            f"task {begun.id}: {short_usd(begun.begun.cap.nanos)} held until"
            f" {begun.begun.expires:%Y-%m-%d %H:%M:%S} UTC; end it with `mitsumori tasks end`",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


@takes_connection()
def end_task(
    connection: Connection, task_id: TaskId, tenant: Tenant = "", json_output: Json = False
) -> None:
    """End a task: what is left of its cap is free again, and open turns keep their holds."""
    with connection.router() as client:
        task = client.end_task(task_id, tenant=tenant).message
    if json_output:
        print_json(as_dict(task))
    else:
        _show(f"Task {task_id}", [task])


@takes_connection()
def show_task(
    connection: Connection, task_id: TaskId, tenant: Tenant = "", json_output: Json = False
) -> None:
    """Show a task: its cap, what its turns have used of it, and what is left."""
    with connection.router() as client:
        task = client.task(task_id, tenant=tenant).message
    if json_output:
        print_json(as_dict(task))
    else:
        _show(f"Task {task_id}", [task])


@takes_connection(admin=True)
def list_tasks(
    connection: Connection,
    labels: Annotated[
        list[str] | None, typer.Option("--label", help="Only tasks with this label; repeatable.")
    ] = None,
    state: Annotated[
        str | None, typer.Option(help=f"Only tasks in this state: {', '.join(_STATES)}.")
    ] = None,
    last: Annotated[int, typer.Option(help="The most tasks, the newest first.", min=1)] = 100,
    json_output: Json = False,
) -> None:
    """List the newest tasks, with their caps and what is left of them."""
    if state is not None:
        choice(state, _STATES, "--state")
    with connection.admin() as client:
        found = client.tasks(
            labels_of(labels, "--label"),
            state=state,  # type: ignore[arg-type]  # checked above
            count=last,
        )
    if json_output:
        print_json([as_dict(task) for task in found])
    else:
        _show("Tasks, hours in UTC", found)
