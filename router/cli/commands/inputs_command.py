"""``mitsumori inputs``: which settings, catalog, bundle, keys and certificates a running server uses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from rich.console import Console
from rich.markup import escape

from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import Json
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import console, print_json, table

__all__ = ["inputs", "print_inputs"]


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
    print_inputs(console(), found)


def print_inputs(out: Console, found: Sequence[admin_pb2.ServedInput]) -> None:
    """Print what a server serves from, and below it what was refused, whole on every terminal.

    Args:
        out: where to.
        found: as the server tells it.
    """
    facts = list(map(_facts, found))
    rows = [
        [escape(each[name]) for name in ("name", "version", "since", "source")] for each in facts
    ]
    out.print(table("Inputs", ("input", "version", "since", "?source"), rows))
    for each in facts:
        if each["refused"]:
            text = f"refused {each['name']}: {each['refused']}"
            out.print(text, markup=False, highlight=False, soft_wrap=True)


def _facts(told: admin_pb2.ServedInput) -> dict[str, str]:
    refusal = told.refusal
    return {
        "name": told.name,
        "version": told.version,
        "since": f"{told.since_time.ToDatetime(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "source": told.source,
        "refused": ": ".join(filter(None, (refusal.reason, refusal.text))),
    }
