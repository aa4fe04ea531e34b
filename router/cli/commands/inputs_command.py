"""``mitsumori inputs``: which settings, catalog, bundle, keys and certificates a running server uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from rich.markup import escape

from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import Json
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import FittedTable, console, print_json, table

__all__ = ["inputs", "inputs_table"]


@takes_connection(admin=True)
def inputs(connection: Connection, json_output: Json = False) -> None:
    """List what a running server serves from: the versions in use, and what it refused.

    What cannot be used is refused, and the version before it stays in use.
    """
    with connection.admin() as client:
        found = client.inputs()
    if json_output:
        print_json([_facts(each) for each in found])
        return
    console().print(inputs_table(found))


def inputs_table(found: Sequence[admin_pb2.ServedInput]) -> FittedTable:
    """What a server serves from; a refusal is shown on narrow terminals, too.

    Args:
        found: as the server tells it.
    """
    refused = any(each.HasField("refusal") for each in found)
    columns = ("input", "version", "since", "?source", *(["refused"] if refused else []))
    rows = [list(map(escape, _facts(each).values()))[: len(columns)] for each in found]
    return table("Inputs", columns, rows)


def _facts(told: admin_pb2.ServedInput) -> dict[str, str]:
    refusal = told.refusal
    return {
        "name": told.name,
        "version": told.version,
        "since": f"{told.since_time.ToDatetime(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "source": told.source,
        "refused": ": ".join(filter(None, (refusal.reason, refusal.text))),
    }
