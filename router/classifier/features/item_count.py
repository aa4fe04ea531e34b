"""How many items a text asks for: "list 1,000 cities", "generate 10,000 rows of CSV", 「都市を100個挙げて」.

A long list has a length that can be counted, whatever its items are. Only what is certainly asked for counts:
the number is the object of an imperative, and no program is asked for that would make the list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.classifier.features.figure import Figure, latin_figures, wide_figures

__all__ = ["LEAST_ITEMS", "LINE_TOKENS", "PLAIN_ITEM_TOKENS", "asked_items", "listed_tokens"]

LEAST_ITEMS = 10
"""A shorter list says little of how long the answer is: what is said of each item decides."""
PLAIN_ITEM_TOKENS, LINE_TOKENS = 4.0, 12.0
"""Least tokens of an item of a list, such as a name, and of a row or a line."""

_BEFORE = 80
"""Characters read before a figure."""
_IMPERATIVE = re.compile(
    r"(?:^|[.!?:;,\n]\s{0,2}|\b(?:please|(?:can|could|would|will) you|and|then|now) )(?:please |kindly )?"
    r"(?:list|give|generate|name|write|create|provide|suggest|produce|make|come up with|brainstorm"
    r"|enumerate"
    r"|find|show|tell|output|print|draft|compile|recommend|invent|propose|i (?:want|need)|i['’]d like)"
    r"(?: (?:me|us|out|down|up|at|least|exactly|about|around|to|the|top|a|an|list|table|set|of|with|as|in"
    r"|total|names|another|some|over|more|than|no|fewer|roughly)){0,6} $"
)
_CHINESE_IMPERATIVE = re.compile(r"(?:列出|列举|给我|生成|写出?|推荐) ?$")
_NO_ADJECTIVE = (
    r"(?:word|sentence|paragraph|page|line|character|token|digit|minute|hour|day|week|month|year"
    r"|dollar|step|about"
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
    r"(?:ほど|くらい|ぐらい|程度|以上|ずつ)?(?:(?:の[^。、を\n]{1,15})?を|[를을] ?|[、 ])?(?:全部"
    r"|すべて)?"
    r"(?:挙げ|列挙|リスト|生成|作成|作っ|作り|出し|出力|考え|紹介|並べ|提案|教え|書い|書き|くれ"
    r"|ください|下さい|お願い"
    r"|ほしい|欲しい|나열|알려|작성|만들|추천|써)"
)
_MAKES_LISTS = re.compile(r"\b(?:programs?|code|script|function|loop|regex|query)\b")
"""What makes a list may be asked for in its place."""
_ASKS_WHICH = re.compile(
    r"\bwhat (?:are|were) (?:(?:the|some|my|your|top|best|main|at least) ){0,3}$"
)
_USUAL_TOKENS = {
    "names": 10.0, "titles": 30.0, "headlines": 30.0, "words": 8.0, "synonyms": 8.0, "numbers": 5.0,
    "rows": 20.0, "records": 20.0, "entries": 20.0, "slogans": 30.0, "taglines": 30.0, "recipes": 400.0,
    "stories": 400.0, "poems": 150.0, "emails": 200.0, "essays": 900.0, "行": 20.0,
}  # fmt: skip
"""Usual tokens of a list of these, per item to the power of :data:`_PLAIN_EXPONENT`."""
_PLAIN, _PLAIN_EXPONENT = 25.0, 0.7
"""The same of what is only listed or named."""
_EXPLAINED, _EXPLAINED_EXPONENT = 220.0, 0.45
"""Tokens of a list whose items are explained, such as ideas. Models say the less of an item the more there
are: in histories lists of 3, 5, 10, 20 and 100 have some 450, 490, 190, 280 and 600 tokens."""
_NAMES_BEFORE = re.compile(r"\b(?:list|name|enumerate)\b[^.!?\n]{0,24}$")
_EXPLAINED_ITEMS = frozenset((
    "ideas", "tips", "reasons", "ways", "steps", "examples", "facts", "benefits", "advantages",
    "disadvantages", "causes", "effects", "methods", "strategies", "arguments", "questions", "exercises",
    "problems", "lessons",
))  # fmt: skip
_NO_LISTS = frozenset((
    "scripts", "programs", "functions", "files", "classes", "queries", "tests", "components", "articles",
    "sections",
))  # fmt: skip
_GROUPED = re.compile(r"[^。\n]{0,12}に分")
_ONLY_AFTER_DIGITS = frozenset("人社本曲冊語")
"""Counters that also end other words."""
_MOST_ITEMS = 5_000.0
_TEXT_SIZES = frozenset(
    (
        "lines",
        "points",
        "bullets",
        "行",
        "語",
        "more",
        "paragraphs",
        "mots",
        "palabras",
        "parole",
        "palavras",
        "worte",
        "zeichen",
        "lignes",
        "seiten",
        "páginas",
    )
)
"""What is an amount of text rather than of items."""
_MAYBE_LISTS = re.compile(
    r"\b(?:list|give|generate|name|write|create|provide|suggest|produce|make|come up|brainstorm"
    r"|enumerate|find|show"
    r"|tell|output|print|draft|compile|recommend|invent|propose|i want|i need|i['’]d like"
    r"|what (?:are|were))\b"
)
_VERB_ELSEWHERE = (
    r"\b(?:nenne|gib|liste|schreib\w?|zähle|erstelle|empfiehl|donne|cite|propose|énumère|écris|dame"
    r"|da|enumera"
    r"|escribe|nombra|lista|menciona|propón|dime|genera)\b"
)
_NUMBERS_ELSEWHERE = {
    "zwei": 2.0, "drei": 3.0, "vier": 4.0, "fünf": 5.0, "zehn": 10.0, "deux": 2.0, "trois": 3.0,
    "quatre": 4.0, "cinq": 5.0, "dix": 10.0, "dos": 2.0, "tres": 3.0, "cuatro": 4.0, "cinco": 5.0,
    "diez": 10.0,
}  # fmt: skip
_ELSEWHERE = re.compile(
    rf"{_VERB_ELSEWHERE}(?:-moi)?(?: (?:mir|me|uns|die|les|las|los|una lista de|eine liste von"
    rf"|une liste de)){{0,2}}"
    rf" (\d{{1,4}}|{'|'.join(_NUMBERS_ELSEWHERE)}) "
    r"(?!wört|wort|s[aä]tz|zeile|seite|absätz|mots?\b|phrases?\b|lignes?\b|pages?\b|paragraphes?\b"
    r"|palabras?\b|frases?\b|líneas?\b|páginas?\b|párrafos?\b)[^\W\d_]{3,}"
)
_PROGRAM = re.compile(
    r"\b(?:python|java(?:script)?|typescript|bash|sql|rust|golang|c\+\+|code|script|program|function|loop"
    r"|api|regex|query)\b"
)


def _listed(window: str, figure: Figure) -> str | None:
    """The items that an imperative asks for in this number; none where it does not."""
    start = max(0, figure.start - _BEFORE)
    if noun := _NOUN.match(window, figure.end):
        before = window[start : figure.start]
        asked = noun[1] not in _NO_ITEMS and (
            _IMPERATIVE.search(before) or _ASKS_WHICH.search(before)
        )
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


def _list_tokens(window: str, figure: Figure, item: str) -> float:
    if item in _USUAL_TOKENS:
        return float(_USUAL_TOKENS[item] * figure.value**_PLAIN_EXPONENT)
    before = window[max(0, figure.start - _BEFORE) : figure.start]
    if item not in _EXPLAINED_ITEMS and _NAMES_BEFORE.search(before):
        return float(_PLAIN * figure.value**_PLAIN_EXPONENT)
    return float(_EXPLAINED * figure.value**_EXPLAINED_EXPONENT)


def asked_items(window: str) -> tuple[float, float]:
    """The longest list that a text asks for.

    Args:
        window: the text, in lower case.

    Returns:
        How many items, ≥ 2, or 0 for none; and the usual tokens of such a list.
    """
    count = tokens = 0.0
    wide = not window.isascii()
    figures: list[Figure] = []
    if _MAYBE_LISTS.search(window):
        figures += latin_figures(window)
    if wide:
        figures += wide_figures(window)
    for figure in figures:
        value = figure.value
        if not 2 <= value <= _MOST_ITEMS or value % 1 or value <= count:
            continue
        item = _listed(window, figure)
        if item is None or item in _TEXT_SIZES or item in _NO_LISTS:
            continue
        if item in _ONLY_AFTER_DIGITS and not figure.text[0].isdigit():
            continue
        if not _GROUPED.match(window, figure.end):
            count, tokens = value, _list_tokens(window, figure, item)
    if elsewhere := _ELSEWHERE.search(window) if not count else None:
        number = _NUMBERS_ELSEWHERE.get(elsewhere[1]) or float(elsewhere[1])
        if number >= 2:
            count, tokens = number, _EXPLAINED * number**_EXPLAINED_EXPONENT
    if count and (_MAKES_LISTS.search(window) or window.count("list of") > 1):
        return 0.0, 0.0
    return count, tokens
