"""``mitsumori inputs``: which settings, catalog, bundle, keys and certificates a running server uses."""

from __future__ import annotations

from datetime import UTC

from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import Json
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import console, print_json, table

__all__ = ["inputs"]


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
    columns = ("input", "version", "since", "?source", "?refused")
    console().print(
        table("Inputs", columns, [list(map(str, _facts(each).values())) for each in found])
    )


def _facts(told: admin_pb2.ServedInput) -> dict[str, str]:
    refusal = told.refusal
    return {
        "name": told.name,
        "version": told.version,
        "since": f"{told.since_time.ToDatetime(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "source": told.source,
        "refused": ": ".join(filter(None, (refusal.reason, refusal.text))),
    }
