"""``mitsumori defer``: batch work that waits for its turn."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import Json, labels_of
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import as_dict, console, print_json, table

__all__ = ["list_deferred"]


@takes_connection(admin=True)
def list_deferred(
    connection: Connection,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="Only requests with this label; repeatable."),
    ] = None,
    json_output: Json = False,
) -> None:
    """List the batch work that was refused until later and has not come back, in the order of its turns.

    Without labels, it also shows how far the limits of providers are used, and how far batch work may use
    them. A server process knows what it refused itself. A request that does not come back within an hour of
    its turn is not listed any more.
    """
    wanted = labels_of(labels, "--label")
    with connection.admin() as client:
        found = client.deferred(wanted)
    if json_output:
        print_json(as_dict(found))
        return
    shown = console()
    columns: tuple[str, ...]
    columns = (
        "not before (UTC)",
        "request",
        "scope",
        "waits for",
        "reason",
        "refused (UTC)",
        ">times",
    )
    if found.requests:
        shown.print(table("Deferred", columns, list(map(_row, found.requests))))
    else:
        shown.print("No batch work waits.", highlight=False)
    if found.limits:
        columns = ("account", "limit", ">used", ">for batch work", ">most")
        shown.print(table("Limits of providers", columns, list(map(_limit_row, found.limits))))


def _limit_row(told: admin_pb2.ProviderLimitStatus) -> list[str]:
    amounts = (told.used, told.usable_by_batch, told.most)
    return [told.account, told.limit, *(f"{each:,}" for each in amounts)]


def _row(told: admin_pb2.DeferredRequest) -> list[str]:
    scope = " ".join(f"{name}={value}" for name, value in sorted(told.scope.items()))
    turn = told.not_before_time.ToDatetime(UTC) if told.HasField("not_before_time") else None
    return [
        "–" if turn is None else _moment(turn),
        told.decision_id,
        scope or "–",
        told.waits_for,
        told.reason,
        _moment(told.refuse_time.ToDatetime(UTC)),
        str(told.refusals),
    ]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
