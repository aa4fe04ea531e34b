"""``mitsumori verify``: prove a ledger from its rows, after a restore or a crash."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from router.cli.commands.arguments import Json
from router.cli.render import console, print_json
from router.core.errors import InvalidInput
from router.core.plurals import counted
from router.ledger.address import ledger_place, sqlite_path
from router.ledger.check import Findings, check
from router.settings_sources import load_settings

__all__ = ["verify"]

_MAX_SHOWN = 20


def _findings(address: str) -> Findings:
    place = ledger_place(address)  # refuses what is no address
    if address == "memory:":
        raise InvalidInput(f"--ledger: {place} ends with its server; name a stored ledger")
    path = sqlite_path(address)
    if path is None:
        from router.ledger.postgres.ledger import PostgresLedger

        with closing(PostgresLedger(address)) as shared:
            return check(shared)
    from router.ledger.sqlite.file import back_up
    from router.ledger.sqlite.ledger import SqliteLedger

    # A copy: the server may go on, and a backup is not touched.
    with TemporaryDirectory(prefix="mitsumori-verify-") as scratch:
        copy = Path(scratch) / "ledger.sqlite"
        back_up(path, copy)
        with closing(SqliteLedger(copy)) as own:
            return check(own)


def verify(
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="MITSUMORI_LEDGER",
            help="Ledger to verify, sqlite:PATH or postgresql://… (default: as for serve).",
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """Check a ledger against its invariants; exit with code 1 if a row violates one.

    A SQLite ledger may be in use. On PostgreSQL nobody may write during the check: stop the servers, or
    verify a restored copy.
    """
    address = load_settings(ledger=ledger).ledger
    found = _findings(address)
    if json_output:
        print_json(
            {
                "ledger": ledger_place(address),
                "decisions": found.decisions,
                "notes": found.notes,
                "violations": found.violations,
            }
        )
    else:
        _print(found, ledger_place(address))
    if found.violations:
        raise typer.Exit(1)


def _print(found: Findings, place: str) -> None:
    shown = console()
    for note in found.notes[:_MAX_SHOWN]:
        shown.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    for violation in found.violations[:_MAX_SHOWN]:
        shown.print(f"VIOLATION: {violation}", highlight=False, markup=False, soft_wrap=True)
    shown.print(
        f"{place}: {counted(found.decisions, 'decision')}, "
        f"{counted(len(found.violations), 'violation')}",
        highlight=False,
        soft_wrap=True,
    )
