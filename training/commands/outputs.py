"""What commands put out: files whole or not at all, JSON, and notes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from router.core.errors import MitsumoriError
from router.files import replace_text

__all__ = ["print_json", "print_notes", "write_json", "write_whole"]


def write_whole(text: str, target: Path, option: str) -> None:
    """Write a text file whole or not at all.

    Args:
        text: in UTF-8 then.
        target: its folder is made if need be.
        option: of the command line, by which another file can be named.

    Raises:
        MitsumoriError: the file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_text(target, text)
    except OSError as error:
        raise MitsumoriError(
            f"{target} cannot be written ({error.strerror}); name another file with --{option}",
            reason="NOT_WRITABLE",
            field=option,
        ) from None


def write_json(report: Any, target: Path, option: str = "json") -> None:
    """Write JSON, as :func:`write_whole` does.

    Args:
        report: JSON types.
        target: the file.
        option: of the command line that names the file, for messages.

    Raises:
        MitsumoriError: the file cannot be written.
    """
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(text, target, option)


def print_json(value: object) -> None:
    """Print JSON; what JSON has no word for, such as a path, as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Print what a reader should know of the result, a line each."""
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)
