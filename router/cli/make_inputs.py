"""Errors of a command that a target of the Makefile runs, in the words that were typed: ``HISTORY=file``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Final

__all__ = ["INPUTS", "as_typed"]

INPUTS: Final = "MAKE_INPUTS"
"""Environment variable by which the Makefile names its inputs, separated by spaces."""
_OPTION: Final = re.compile(r"--([a-z][a-z-]*[a-z])")
_ARGUMENTS: Final[Mapping[str, Sequence[str]]] = {
    "compare": ("A", "B"),
    "import": ("LOG",),
    "replay": ("LOG",),
}
"""Inputs that become arguments of a command without an option."""


def as_typed(message: str, words: Sequence[str], inputs: Collection[str]) -> str:
    """A message with the inputs of make beside the options, and before the value that it begins with.

    Args:
        message: one line, such as ``old.csv: cannot be read`` or ``--price: is no number``.
        words: the command and its arguments, as make wrote them.
        inputs: the names of the Makefile's inputs; empty: the command was not run by make.
    """
    seen: set[str] = set()

    def beside(found: re.Match[str]) -> str:
        name = _input(found[1])
        if name not in inputs or name in seen:
            return found[0]
        seen.add(name)
        return f"{found[0]} ({name}=)"

    named = _OPTION.sub(beside, message)
    for name, value in _given(words):
        if name in inputs and value and re.match(re.escape(value) + r"(?![\w./-])", message):
            return f"{name}={named}"
    return named


def _input(option: str) -> str:
    return option.upper().replace("-", "_")


def _given(words: Sequence[str]) -> list[tuple[str, str]]:
    """Inputs with the values that they have in a command."""
    options = [
        (_input(option[2:]), value) for option, value in pairwise(words) if option.startswith("--")
    ]
    bare = [
        word
        for before, word in pairwise(words)
        if not word.startswith("--") and not before.startswith("--")
    ]
    names = _ARGUMENTS.get(words[0], ()) if words else ()
    return options + list(zip(names, bare, strict=False))
