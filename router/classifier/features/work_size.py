"""How long an answer is by the length of the text that it works on."""

from __future__ import annotations

import re
from typing import NamedTuple

from router.classifier.features.token_density import tokens_per_character, wide_share

__all__ = ["POLITE_WORDS", "AnswerSize", "Work", "data_tokens", "text_tokens"]

POLITE_WORDS = (
    r"(?:(?:please|kindly|can|could|would|will|you|bitte|kannst|können"
    r"|du|sie|pouvez-vous|peux-tu|s['’]il (?:te|vous) plaît,?|por favor,?|puedes|podrías|puede)[ ,]+){0,4}"
)
"""A pattern of what stands before a verb that asks for work on a text."""

_HEAD = 600
"""Characters of a text of which the script is read."""
_DIGIT, _SIGN = re.compile(r"[0-9]"), re.compile(r"[!-/:-@\[-`{-~\n]")
_LETTER_TOKENS, _DIGIT_TOKENS, _SIGN_TOKENS = 0.24, 0.45, 0.85
"""Tokens of a letter or space, a digit and a sign, in data and programs: a sign is most often a token of its
own, and tokenizers join one to three digits."""


class AnswerSize(NamedTuple):
    """Tokens of an answer, ≥ 0: the median is in ``least..middle``, the ninth decile at most ``most``."""

    least: float
    middle: float
    most: float


class Work(NamedTuple):
    """Tokens of an answer by tokens of the given text: ``(factor, addend)`` of each bound."""

    least: float
    middle: tuple[float, float]
    most: tuple[float, float]

    def size(self, given: float, more: float = 0.0) -> AnswerSize:
        """Bounds of the answer.

        Args:
            given: tokens of the text, ≥ 0.
            more: tokens that come on top, ≥ 0.
        """
        (factor, addend), (largest, remark) = self.middle, self.most
        return AnswerSize(
            self.least * given,
            factor * given + addend + more,
            largest * given + remark + 1.2 * more,
        )


def text_tokens(text: str, characters: int | None = None) -> float:
    """Rough tokens of a text.

    Args:
        text: of which the script is read, at most its first 600 characters.
        characters: of the whole; by default those of the text.
    """
    return (len(text) if characters is None else characters) * tokens_per_character(
        wide_share(text[:_HEAD])
    )


def data_tokens(text: str, characters: int) -> float:
    """Rough tokens of data or of a program, whose signs and digits count more than letters.

    Args:
        text: a sample, of which all is read.
        characters: of the whole.
    """
    digits, signs = len(_DIGIT.findall(text)), len(_SIGN.findall(text))
    wide = wide_share(text) * len(text)
    letters = len(text) - digits - signs - wide
    tokens = _LETTER_TOKENS * letters + _DIGIT_TOKENS * digits + _SIGN_TOKENS * signs
    tokens += tokens_per_character(1.0) * wide
    return tokens / max(len(text), 1) * characters
