"""Features of how long an answer a text asks for: amounts in figures, bare answers, a given text to work on.

An essay of 2,000 words has its length in the request; a translation is as long as what is translated; "yes
or no" is one token. A few thousand past answers are too few to learn this from vectors. The vocabulary is
English and Japanese, with the units and the verbs of a few more languages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from router.classifier.features.amount_context import is_wish
from router.classifier.features.figure import Figure, latin_figures, wide_figures
from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.item_count import listed_tokens
from router.classifier.features.marked_pattern import MarkedPattern
from router.classifier.features.token_density import tokens_per_character, wide_share

__all__ = ["ANSWER_SIZE_FEATURES", "WINDOW", "answer_size_features"]

WINDOW = 600
"""Characters read from each end of a longer text: the request is at the beginning or at the end."""

ANSWER_SIZE_FEATURES = (
    "asked_text", "asked_items", "asks_at_most", "asks_bare_answer", "asks_structure", "asks_program",
    "asks_open_text", "text_tokens", "given_tokens", "changed_tokens", "condensed_tokens",
)  # fmt: skip
"""Names in the order of the values of :func:`answer_size_features`."""

_TEXT_UNITS: dict[str, float] = {
    "word": 1.3, "words": 1.3, "palabras": 1.6, "mots": 1.6, "wörter": 1.8, "wörtern": 1.8, "worten": 1.8,
    "palavras": 1.6, "parole": 1.6, "단어": 2.5, "字": 0.9, "文字": 0.9, "자": 0.7, "글자": 0.7, "个字": 0.9,
    "語": 1.3, "単語": 1.3, "ワード": 1.3, "sentence": 25, "sentences": 25, "文": 30, "frases": 25,
    "phrases": 25, "sätzen": 25, "sätze": 25,
    "문장": 30, "句": 25, "句话": 25, "paragraph": 110, "paragraphs": 110, "段落": 120, "párrafos": 110,
    "문단": 120, "page": 600, "pages": 600, "ページ": 700, "chapters": 500, "stanzas": 45, "verses": 45,
}  # fmt: skip
"""Unit of a text → roughly how many tokens one of it takes."""
_ITEM_UNITS: dict[str, float] = {
    "lines": 14, "行": 25, "줄": 20, "bullets": 35, "points": 35, "items": 30, "examples": 60, "ideas": 45,
    "tips": 45, "reasons": 50, "ways": 50, "questions": 40, "steps": 50, "things": 40, "facts": 40,
    "titles": 14, "headlines": 14, "names": 6, "options": 45, "recipes": 300, "exercises": 60, "problems": 60,
    "test cases": 70, "slides": 80, "つ": 45, "個": 45, "点": 45, "例": 60, "選": 45, "案": 45, "問": 60,
    "가지": 50, "개": 45, "条": 45, "个": 45,
}  # fmt: skip
"""Item of a list → roughly how many tokens one of it takes."""
_MOST_TEXT, _MOST_ITEMS = 10_000.0, 5_000.0
"""Most tokens that an amount of text, and one of items, is taken for."""
_MOST_COUNT = 99_999
"""A greater count of items is a fact about the world, unless a list of them is asked for."""
_LATIN = re.compile(r"[a-zà-ÿ]")
_FOLLOWED = {
    "語": "(?<=[0-9十百千万]{2}語)(?=以内|以下|以上|程度|ほど|くらい|ぐらい|前後|まで|で|の)"
}
"""What must stand before and after a unit that also ends other words."""
_SPACED_UNIT = r"\+?[ -](?:[a-z]{{1,20}}[ -]){{0,2}}?({units})\b"


def _units(units: Mapping[str, float]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What follows a figure: a unit after a space, and one that is joined to the figure."""
    longest_first = sorted(units, key=len, reverse=True)
    spaced = "|".join(unit for unit in longest_first if _LATIN.match(unit))
    joined = "|".join(
        unit + _FOLLOWED.get(unit, "") for unit in longest_first if not _LATIN.match(unit)
    )
    return re.compile(_SPACED_UNIT.format(units=spaced)), re.compile(f" ?({joined})")


_TEXT_UNIT, _ITEM_UNIT = _units(_TEXT_UNITS), _units(_ITEM_UNITS)
_AT_MOST = MarkedPattern(
    r"\b(?:at most|no more than|not more than|up to|under|within|less than|fewer than|below|max(?:imum)?"
    r"|or less|or fewer|höchstens|maximal|máximo|au plus|maximum)\b|以内|以下|まで|이내|이하|不超过",
    "most", "than", "max", "below", "under", "within", "up to", "or less", "or fewer", "höchstens",
    "máximo", "au plus", "以内", "以下", "まで", "이내", "이하", "不超过",
)  # fmt: skip
_BARE = MarkedPattern(
    r"\b(?:only|just|nothing else|no explanations?|no (?:other )?text|no comments?"
    r"|without (?:any )?explanation|yes or no|yes/no|y/n|true or false|true/false|one word|single word"
    r"|a single|one number|reply with|answer with|respond with|output|one line|one-line|one-liner|in short"
    r"|solo|sólo|nur|seulement|uniquement)\b"
    r"|のみ|だけ|一言|はい.{0,3}いいえ|説明は不要|不要です|答えて|만 (?:출력|답|말)|只(?:回答|输出|需)",
    "only", "just", "nothing else", "no explanation", "no text", "no other text", "no comment",
    "without", "yes or no", "yes/no", "y/n", "true or false", "true/false", "one word", "single",
    "one number", "reply with", "answer with", "respond with", "output", "one line", "one-line",
    "in short", "solo", "sólo", "nur", "seulement", "uniquement", "のみ", "だけ", "一言", "はい", "不要",
    "答えて", "만", "只",
)  # fmt: skip
_STRUCTURE = MarkedPattern(
    r"\b(?:json|csv|yaml|xml|schema|keys?|fields?|labels?|format)\b|\{\"|ラベル|形式",
    "json", "csv", "yaml", "xml", "schema", "key", "field", "label", "format", '{"', "ラベル", "形式",
)  # fmt: skip
_PROGRAM = MarkedPattern(
    r"\b(?:program|app|application|website|web page|game|library|module|package|service|server|script|class"
    r"|implement(?:ation)?|dockerfile|pipeline|component|bot|cli|tests?|testbench|unit tests)\b"
    r"|プログラム|アプリ|実装|スクリプト|프로그램|코드|程序|代码",
    "program", "app", "web", "game", "library", "module", "package", "service", "server", "script",
    "class", "implement", "dockerfile", "pipeline", "component", "bot", "cli", "test", "プログラム",
    "アプリ", "実装", "スクリプト", "프로그램", "코드", "程序", "代码",
)  # fmt: skip
_OPEN = MarkedPattern(
    r"\b(?:write|craft|create|build|make|draft|design|develop|explain|describe|discuss"
    r"|how (?:do|can|to|would|should)|compare|essay|story|guide|plan|curriculum|strategy"
    r"|report|proposal|tutorial|detailed|comprehensive"
    r"|escrib\w+|explica\w*|schreib\w*|erklär\w*|écri\w+|expliqu\w+|help me|tell me about|give me)\b"
    r"|書い|作成|説明|解説|考え|教えて|詳しく|작성|설명|만들|써 ?줘|알려|방법|写|解释|介绍",
    "write", "craft", "create", "build", "make", "draft", "design", "develop", "expl", "describe",
    "discuss", "how", "compare", "essay", "story", "guide", "plan", "curriculum", "strategy",
    "report", "proposal", "tutorial", "detailed", "comprehensive", "escrib", "schreib", "erklär",
    "écri", "help me", "tell me about", "give me", "書い", "作成", "説明", "解説", "考え", "教えて",
    "詳しく", "작성", "설명", "만들", "써", "알려", "방법", "写", "解释", "介绍",
)  # fmt: skip
_CHANGES = MarkedPattern(
    r"\b(?:translat\w+|rewrit\w+|rewrite|rephras\w+|paraphras\w+|proofread\w*"
    r"|edit this|correct the|fix (?:the|this|that|my)|convert\w*|reformat\w*"
    r"|refactor\w*|transcrib\w+|traduc\w+|tradui\w+|übersetz\w*|corrig\w+|korrigier\w*|reescrib\w+)\b"
    r"|翻訳|訳し|訳して|書き換え|書き直|校正|添削|言い換え|変換|直し|修正|번역|고쳐|바꿔|翻译|改写|润色",
    "translat", "rewrit", "phras", "proofread", "edit this", "correct the", "fix ", "convert",
    "reformat", "refactor", "transcrib", "traduc", "tradui", "übersetz", "corrig", "korrigier",
    "reescrib", "翻訳", "訳し", "書き換え", "書き直", "校正", "添削", "言い換え", "変換", "直し", "修正",
    "번역", "고쳐", "바꿔", "翻译", "改写", "润色",
)  # fmt: skip
_CONDENSES = MarkedPattern(
    r"\b(?:summari[sz]\w+|summary|extract\w*|classif\w+|categori[sz]\w+|tl;dr"
    r"|resum\w+|résum\w+|zusammenfass\w*|fasse)\b|要約|まとめ|抽出|分類|判定|요약|추출|분류|总结|摘要|提取",
    "summar", "extract", "classif", "categori", "tl;dr", "resum", "résum", "zusammenfass", "fasse",
    "要約", "まとめ", "抽出", "分類", "判定", "요약", "추출", "분류", "总结", "摘要", "提取",
)  # fmt: skip
_LONGEST_REQUEST = 400
"""Characters of a paragraph up to which it is taken for the request, not for a given text."""


class _Amount(NamedTuple):
    """A figure with its unit: where it begins and ends, its number and its tokens."""

    start: int
    end: int
    number: float
    tokens: float


def _amounts(
    window: str,
    figures: Sequence[Sequence[Figure]],
    patterns: tuple[re.Pattern[str], re.Pattern[str]],
    units: Mapping[str, float],
) -> Iterator[_Amount]:
    """Every amount in these units, of the Latin figures and of the wide ones; none overlaps another."""
    for some, pattern in zip(figures, patterns, strict=True):
        end = 0
        for figure in some:
            unit = pattern.match(window, figure.end) if figure.start >= end else None
            if unit:
                end = unit.end()
                yield _Amount(figure.start, end, figure.value, figure.value * units[unit[1]])


def _asked(window: str, wide: bool) -> tuple[float, float]:
    """Tokens of the greatest amount of text, and of items, that is asked for.

    A long list counts as text too, with the least that its items can take.
    """
    figures = latin_figures(window), wide_figures(window) if wide else []
    listed = listed_tokens(window, [*figures[0], *figures[1]])
    most_items = math.inf if listed else _MOST_COUNT
    texts = (
        amount.tokens
        for amount in _amounts(window, figures, _TEXT_UNIT, _TEXT_UNITS)
        if is_wish(window, amount.start, amount.end)
    )
    items = (
        amount.tokens
        for amount in _amounts(window, figures, _ITEM_UNIT, _ITEM_UNITS)
        if amount.number <= most_items and amount.number % 1 == 0
    )
    text = max(listed, max(texts, default=0.0))
    return min(text, _MOST_TEXT), min(max(items, default=0.0), _MOST_ITEMS)


def _request_of(text: str) -> tuple[str, str]:
    """What stands before and after a given text: the first and the last line, where they are short.

    A single line is split at a colon; without one it is a request if it is short, else a text.
    """
    first, last = text.find("\n"), text.rfind("\n")
    if first < 0:
        colon = max(text.find(mark, 0, _LONGEST_REQUEST) for mark in (": ", "：", "「", ' "'))
        if colon < 0:
            return (text if len(text) <= _LONGEST_REQUEST else "", "")
        return text[: colon + 1], ""
    head = text[:first] if first <= _LONGEST_REQUEST else ""
    tail = text[last:] if first < last and len(text) - last <= _LONGEST_REQUEST else ""
    return head, tail


def answer_size_features(text: str) -> tuple[float, ...]:
    """The features of how long an answer a text asks for.

    Args:
        text: any text, of any length; at most twice :data:`WINDOW` characters are searched.

    Returns:
        One value per name in :data:`ANSWER_SIZE_FEATURES`, finite and ≥ 0: all are ``log1p``, of tokens or of
        how often a wish is named. ``changed_tokens`` is ``given_tokens`` where a translation, a revision or a
        conversion is asked for, ``condensed_tokens`` where a summary or an extract is; else they are 0.
    """
    window = head_and_tail(text, WINDOW).lower()
    wide = wide_share(window)
    density = tokens_per_character(wide)
    stripped = text.strip()
    head, tail = _request_of(stripped)
    given = math.log1p((len(stripped) - len(head) - len(tail)) * density)
    request = f"{head}{tail}".lower()
    condenses = _CONDENSES.occurs(request)
    changes = not condenses and _CHANGES.occurs(request)
    wishes = (_AT_MOST, _BARE, _STRUCTURE, _PROGRAM, _OPEN)
    return (
        *map(math.log1p, _asked(window, wide > 0)),
        *(math.log1p(wish.count(window)) for wish in wishes),
        math.log1p(len(text) * density),
        given,
        given if changes else 0.0,
        given if condenses else 0.0,
    )
