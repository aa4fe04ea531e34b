"""Rough tokens of a text by its script, without a tokenizer."""

from __future__ import annotations

import re

__all__ = ["WIDE", "tokens_per_character", "wide_share"]

WIDE = re.compile(r"[\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uff66-\uff9f]")
"""A character of Chinese, Japanese or Korean."""
_WIDE_TOKENS, _NARROW_TOKENS = 0.75, 0.26
"""Tokens of such a character, and of any other."""


def wide_share(text: str) -> float:
    """The share of characters of Chinese, Japanese and Korean, 0..1."""
    return 0.0 if text.isascii() else len(WIDE.findall(text)) / max(len(text), 1)


def tokens_per_character(wide: float) -> float:
    """Tokens of a character in the mean, .26 to .75, in a text with this share of wide characters."""
    return _NARROW_TOKENS + (_WIDE_TOKENS - _NARROW_TOKENS) * wide
