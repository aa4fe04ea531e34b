"""Kinds of words, and how often a text names each: English words and pairs, Japanese strings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["Vocabulary"]

_JAPANESE_LETTER = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_WORD = re.compile(r"[a-z]+(?:[-+;'][a-z+]+)*\+*")


class Vocabulary:
    """Counts in one pass over the words, since counting must not cost more than encoding.

    Args:
        kinds: name → English words, an underscore joining two; Japanese strings, as they stand in a text.
            A word names one kind.
    """

    def __init__(self, kinds: Mapping[str, tuple[str, str]]) -> None:
        self.kinds = tuple(kinds)
        english = [
            (word, place)
            for place, (words, _) in enumerate(kinds.values())
            for word in words.split()
        ]
        self._words = {word: place for word, place in english if "_" not in word}
        self._pairs = {tuple(pair.split("_")): place for pair, place in english if "_" in pair}
        self._japanese = {
            text: place for place, (_, texts) in enumerate(kinds.values()) for text in texts.split()
        }
        # The longest first, so that the beginning of one never hides another.
        longest_first = sorted(self._japanese, key=len, reverse=True)
        self._japanese_string = re.compile("|".join(map(re.escape, longest_first)))

    def counts(self, text: str) -> tuple[int, ...]:
        """How often each kind is named, in the order of ``kinds``.

        Args:
            text: in lower case.
        """
        words = _WORD.findall(text)
        found = Counter(self._words[word] for word in words if word in self._words)
        found.update(self._pairs[pair] for pair in pairwise(words) if pair in self._pairs)
        if _JAPANESE_LETTER.search(text):
            found.update(self._japanese[one] for one in self._japanese_string.findall(text))
        return tuple(found[place] for place in range(len(self.kinds)))
