"""Counts how often a text uses words of given kinds: English words and pairs of words, Japanese strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["Vocabulary"]

_JAPANESE_LETTER = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_WORD = re.compile(r"[a-z]+(?:[-+;'][a-z+]+)*\+*")


class Vocabulary:
    """Counts all kinds in one pass over the words, so that counting costs less than encoding.

    Args:
        kinds: name of a kind → its English words, where an underscore joins a pair, and its Japanese
            strings, both separated by spaces. A word belongs to one kind.
    """

    def __init__(self, kinds: Mapping[str, tuple[str, str]]) -> None:
        self.kinds = tuple(kinds)
        english = [
            (word, index)
            for index, (words, _) in enumerate(kinds.values())
            for word in words.split()
        ]
        self._words = {word: index for word, index in english if "_" not in word}
        self._pairs = {tuple(pair.split("_")): index for pair, index in english if "_" in pair}
        self._firsts = frozenset(first for first, _ in self._pairs)
        self._japanese = {
            text: index for index, (_, texts) in enumerate(kinds.values()) for text in texts.split()
        }
        # Longest first: else the prefix of a string would match in its place.
        longest_first = sorted(self._japanese, key=len, reverse=True)
        self._japanese_string = re.compile("|".join(map(re.escape, longest_first)))

    def counts(self, text: str) -> tuple[int, ...]:
        """How often a lower-case text uses each kind, in the order of ``kinds``."""
        words = _WORD.findall(text)
        known, pairs = self._words, self._pairs
        found = [known[word] for word in words if word in known]
        if not self._firsts.isdisjoint(words):
            found += [pairs[pair] for pair in pairwise(words) if pair in pairs]
        if not text.isascii() and _JAPANESE_LETTER.search(text):
            found += [self._japanese[string] for string in self._japanese_string.findall(text)]
        counts = [0] * len(self.kinds)
        for kind in found:
            counts[kind] += 1
        return tuple(counts)
