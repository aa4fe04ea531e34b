"""Spans of a text to replace, and folding, which gives patterns one form of each character."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["PLACEHOLDER", "Span", "folded", "replaced"]

PLACEHOLDER = r"\[(?:address|card|email|iban|ip|my_number|number|phone|secret|ssn)\]"
"""A pattern that matches every placeholder."""

_DASHES = frozenset("‐‑‒–—―−⁃﹘")
_SAME_BUT_FOR_ITS_WIDTH = ("<wide>", "<narrow>", "<small>", "<font>", "<noBreak>")


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a text are a ``kind`` of personal data or a secret."""

    start: int
    end: int
    kind: str


class _Folding(dict[int, str]):
    """Maps a character to one character; entries are added when a character is first seen."""

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

    Positions do not change: a span of the folded text is a span of the text.
    """
    return text if text.isascii() else text.translate(_FOLDING)


def replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with a placeholder for every span.

    Overlapping spans are merged, so that no part of either remains. The merged span has the kind of the
    one that begins first, and of the longer one if both begin at the same place.
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
