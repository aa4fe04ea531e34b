"""Output of commands: files, written whole or not at all, JSON and notes."""

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
        text: written as UTF-8.
        target: the file; its folder is created where it is missing.
        option: name of the command-line option that gives the file, for the message.

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
        option: name of the command-line option that gives the file, for the message.

    Raises:
        MitsumoriError: the file cannot be written.
    """
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(text, target, option)


def print_json(value: object) -> None:
    """Print JSON; values that JSON has no type for, such as paths, are printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Print notes on the result, one per line."""
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)
