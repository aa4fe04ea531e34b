"""Places in a text that are to be replaced, and text folded so that patterns see one form of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["PLACEHOLDER", "Span", "folded", "replaced"]

PLACEHOLDER = r"\[(?:address|card|email|iban|ip|my_number|number|phone|secret|ssn)\]"
"""What stands where something was: a pattern of all placeholders."""

_DASHES = frozenset("‐‑‒–—―−⁃﹘")
_SAME_BUT_FOR_ITS_WIDTH = ("<wide>", "<narrow>", "<small>", "<font>", "<noBreak>")


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a text are a ``kind`` of personal data or a secret."""

    start: int
    end: int
    kind: str


class _Folding(dict[int, str]):
    """One character to one character, filled as characters come by: at most one entry of each."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        form = character
        if character in _DASHES:
            form = "-"
        elif character.isdecimal():
            form = str(unicodedata.decimal(character))
        elif unicodedata.decomposition(character).startswith(_SAME_BUT_FOR_ITS_WIDTH):
            normal = unicodedata.normalize("NFKC", character)
            form = normal if len(normal) == 1 else character
        self[code] = form
        return form


_FOLDING = _Folding()


def folded(text: str) -> str:
    """The text with full-width, half-width and styled characters, digits and dashes as plain ones.

    Every character keeps its place: a span of the folded text is a span of the text.
    """
    return text if text.isascii() else text.translate(_FOLDING)


def replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with a placeholder for every span.

    Spans that overlap become one, so that nothing of either is left; it takes the kind of the one
    that begins first, and of the longer one where both begin together.
    """
    parts: list[str] = []
    done = 0
    kind = ""
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if kind and span.start < done:
            done = max(done, span.end)
            continue
        if kind:
            parts.append(f"[{kind}]")
        parts.append(text[done : span.start])
        done, kind = span.end, span.kind
    if kind:
        parts.append(f"[{kind}]")
    parts.append(text[done:])
    return "".join(parts)
