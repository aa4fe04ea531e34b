"""Words in a text: whether it has one of some, and how often it uses each kind, English and Japanese."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise

__all__ = ["Vocabulary", "has_any"]

_JAPANESE_LETTER = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
_WORD = re.compile(r"[a-z]+(?:[-+;'][a-z+]+)*\+*")


def has_any(signs: tuple[str, ...], text: str) -> bool:
    """Whether one of some strings stands in a text; most texts have none, which saves a search by pattern."""
    return any(sign in text for sign in signs)


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
        self._japanese = {
            text: index for index, (_, texts) in enumerate(kinds.values()) for text in texts.split()
        }
        # Longest first: else the prefix of a string would match in its place.
        longest_first = sorted(self._japanese, key=len, reverse=True)
        self._japanese_string = re.compile("|".join(map(re.escape, longest_first)))

    def counts(self, text: str) -> tuple[int, ...]:
        """How often a lower-case text uses each kind, in the order of ``kinds``."""
        words = _WORD.findall(text)
        found = Counter(self._words[word] for word in words if word in self._words)
        found.update(self._pairs[pair] for pair in pairwise(words) if pair in self._pairs)
        if _JAPANESE_LETTER.search(text):
            found.update(self._japanese[string] for string in self._japanese_string.findall(text))
        return tuple(found[index] for index in range(len(self.kinds)))
