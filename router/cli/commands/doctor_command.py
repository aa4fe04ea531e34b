"""``mitsumori doctor``: check the installation and the settings."""

from __future__ import annotations

import typer

from router.cli.commands.arguments import Json
from router.cli.commands.settings_options import takes_settings
from router.cli.doctor import examine
from router.cli.render import console, print_json
from router.settings import Settings

__all__ = ["doctor"]


@takes_settings
def doctor(settings: Settings, json_output: Json = False) -> None:
    """Check bundle, hashes, tokenizer files, prices and port, and say how to fix what is wrong.

    Takes the same settings as `serve`. Exits with code 1 if any check fails.
    """
    checks = list(examine(settings))
    if json_output:
        print_json([{"check": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        shown = console()
        for check in checks:
            mark = "[green]ok  [/green]" if check.ok else "[red]FAIL[/red]"
            shown.print(f"{mark} {check.name:<10}", end=" ")
            shown.print(check.detail, highlight=False, markup=False, soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)
