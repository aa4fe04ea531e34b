"""How many items a text asks for: "list 1,000 cities", "generate 10,000 rows of CSV", 「都市を100個挙げて」.

A long list has a length that can be counted, whatever its items are. Only what is certainly asked for counts:
the number is the object of an imperative, and no program is asked for that would make the list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.classifier.features.figure import Figure

__all__ = ["LEAST_ITEMS", "LINE_TOKENS", "PLAIN_ITEM_TOKENS", "listed_tokens"]

LEAST_ITEMS = 10
"""A shorter list says little of how long the answer is: what is said of each item decides."""
PLAIN_ITEM_TOKENS, LINE_TOKENS = 4.0, 12.0
"""Least tokens of an item of a list, such as a name, and of a row or a line."""

_BEFORE = 80
"""Characters read before a figure."""
_IMPERATIVE = re.compile(
    r"(?:^|[.!?:;,\n]\s{0,2}|\b(?:please|(?:can|could|would|will) you|and|then|now) )(?:please |kindly )?"
    r"(?:list|give|generate|name|write|create|provide|suggest|produce|make|come up with|brainstorm|enumerate"
    r"|find|show|tell|output|print|draft|compile|recommend|invent|propose|i (?:want|need)|i['’]d like)"
    r"(?: (?:me|us|out|down|up|at|least|exactly|about|around|to|the|top|a|an|list|table|set|of|with|as|in"
    r"|total|names|another|some|over|more|than|no|fewer|roughly)){0,6} $"
)
_CHINESE_IMPERATIVE = re.compile(r"(?:列出|列举|给我|生成|写出?|推荐) ?$")
_NO_ADJECTIVE = (
    r"(?:word|sentence|paragraph|page|line|character|token|digit|minute|hour|day|week|month|year|dollar|step|about"
    r"|at|by|for|from|in|into|on|per|that|to|which|with|a|an|and|or)"
)
"""What ends the search for the noun: a measure, or the beginning of another phrase."""
_NOUN = re.compile(
    rf"\+? (?:(?!{_NO_ADJECTIVE}\b)[a-z'’-]{{1,20}} ){{0,3}}?"
    r"([a-z-]{2,24}(?<![su'i])s|people|men|women|more)\b"
)
_NO_ITEMS = frozenset({
    "words", "sentences", "paragraphs", "pages", "chapters", "stanzas", "verses", "characters",
    "letters", "chars", "tokens", "digits", "bytes", "bits", "seconds", "minutes", "hours", "days",
    "weeks", "months", "years", "times", "dollars", "euros", "pounds", "cents", "percent",
    "degrees", "grams", "calories", "miles", "meters", "metres", "phrases", "frases", "decimals",
})  # fmt: skip
"""Plurals that measure something."""
_LINES = frozenset(("rows", "lines", "records", "entries", "bullets", "行", "줄"))
_COUNTER = re.compile(
    r" ?(個|つ|件|行|人|案|選|例|問|種類|本|語|か所|箇所|冊|曲|社|개|가지|줄|个|条|种)"
)
_REQUEST_AFTER = re.compile(
    r"(?:ほど|くらい|ぐらい|程度|以上|ずつ)?(?:(?:の[^。、を\n]{1,15})?を|[、 ])?(?:全部|すべて)?"
    r"(?:挙げ|列挙|リスト|生成|作成|作っ|作り|出し|出力|考え|紹介|並べ|提案|教え|書い|書き|くれ|ください|下さい|お願い"
    r"|ほしい|欲しい|나열|알려|작성|만들|추천|써)"
)
_PROGRAM = re.compile(
    r"\b(?:python|java(?:script)?|typescript|bash|sql|rust|golang|c\+\+|code|script|program|function|loop"
    r"|api|regex|query)\b"
)


def _listed(window: str, figure: Figure) -> str | None:
    """The items that an imperative asks for in this number; none where it does not."""
    start = max(0, figure.start - _BEFORE)
    if noun := _NOUN.match(window, figure.end):
        asked = noun[1] not in _NO_ITEMS and _IMPERATIVE.search(window[start : figure.start])
        return noun[1] if asked else None
    if counter := _COUNTER.match(window, figure.end):
        asked = _REQUEST_AFTER.match(window, counter.end())
        asked = asked or _CHINESE_IMPERATIVE.search(window[start : figure.start])
        return counter[1] if asked else None
    return None


def listed_tokens(window: str, figures: Sequence[Figure]) -> float:
    """Least tokens of the longest list that is asked for.

    Args:
        window: the text, in lower case.
        figures: its numbers, Latin and wide.

    Returns:
        Items times :data:`PLAIN_ITEM_TOKENS`, or lines times :data:`LINE_TOKENS`; 0 where fewer than
        :data:`LEAST_ITEMS` are asked for, or a program.
    """
    most = 0.0
    for figure in figures:
        item = _listed(window, figure)
        if item is not None and figure.value >= LEAST_ITEMS:
            most = max(most, figure.value * (LINE_TOKENS if item in _LINES else PLAIN_ITEM_TOKENS))
    return 0.0 if most and _PROGRAM.search(window) else most
