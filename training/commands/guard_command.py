"""``python -m training guard``: make the guard against gadgets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from router.classifier.gadget_guard import GUARD
from training.gadgets.guard import fit_guard, write_guard
from training.requests.request_set import read_requests

__all__ = ["guard_command"]


def guard_command(
    out: Annotated[Path, typer.Option(help="Directory of the guard.")] = GUARD,
) -> None:
    """Fit the guard against texts that make prompts look harder, on the annotated requests that ship.

    Takes minutes. `python -m benchmarks gadgets` measures what it is worth.
    """
    fitted = fit_guard(read_requests())
    write_guard(fitted, out)
    Console().print(
        f"guard: {out}; suspects {fitted.honest:.1%} of held-out honest requests, {fitted.found:.1%} of "
        "those with gadgets drawn by chance",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
