"""``mitsumori doctor``: check the installation and the settings."""

from __future__ import annotations

from typing import Annotated

import typer

from router.catalog.freshness import STALE_DAYS
from router.cli.commands.arguments import Json
from router.cli.commands.settings_options import takes_settings
from router.cli.doctor import examine
from router.cli.render import console, print_json
from router.settings import Settings

__all__ = ["doctor"]


@takes_settings
def doctor(
    settings: Settings,
    stale_days: Annotated[
        int, typer.Option("--stale-days", help="Days after which prices are old.", min=0)
    ] = STALE_DAYS,
    json_output: Json = False,
) -> None:
    """Check what the server needs, from the bundle to the port, and say how to fix what is wrong.

    Takes the same settings as `serve`. Exits with code 1 if any check fails; a warning is none.
    """
    checks = list(examine(settings, stale_days=stale_days))
    if json_output:
        print_json(
            [
                {"check": c.name, "ok": c.ok, "warning": c.warning, "detail": c.detail}
                for c in checks
            ]
        )
    else:
        shown = console()
        for check in checks:
            mark = "[green]ok  [/green]" if check.ok else "[red]FAIL[/red]"
            mark = "[yellow]warn[/yellow]" if check.warning else mark
            shown.print(f"{mark} {check.name:<10}", end=" ")
            shown.print(check.detail, highlight=False, markup=False, soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
