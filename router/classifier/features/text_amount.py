"""Amounts of text: their units, how many tokens one of each takes, and the number that stands before one.

The vocabulary is English, Japanese, German, French, Spanish, Portuguese, Italian, Russian, Chinese and
Korean.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from router.classifier.features.figure import latin_figures, wide_figures
from router.classifier.features.marked_pattern import MarkedPattern, shortest
from router.classifier.features.token_density import WIDE

__all__ = [
    "LATIN_UNITS",
    "NUMBER_WORDS",
    "UNIT",
    "UNITS",
    "WIDE_UNITS",
    "TextUnit",
    "number_before",
]


class TextUnit(NamedTuple):
    """Tokens of one, tokens by which a limit is passed at any number, and whether it is counted exactly."""

    tokens: float
    slack: float = 8.0
    counted: bool = True


_SENTENCE, _LINE = TextUnit(28.0, 20.0, False), TextUnit(20.0, 20.0, False)
_PARAGRAPH, _PAGE = TextUnit(110.0, 60.0, False), TextUnit(600.0, 100.0, False)
_BULLET = TextUnit(40.0, 40.0, False)
UNITS: dict[str, TextUnit] = {
    unit: size
    for names, size in (
        ("word words", TextUnit(1.3)),
        ("palabra palabras mot mots parola parole palavra palavras", TextUnit(1.6)),
        ("wort worte worten wörter wörtern", TextUnit(1.8)),
        ("слово слова слов слове словом словами словах", TextUnit(2.0)),
        ("단어", TextUnit(2.5)),
        ("文字 字", TextUnit(0.9)),
        ("単語 ワード 語", TextUnit(1.3)),
        ("글자 자", TextUnit(0.7)),
        ("character characters chars zeichen caractères caracteres caratteri battute", TextUnit(0.27)),
        ("символ символа символов символах знаков знака", TextUnit(0.36)),
        ("tokens token トークン 토큰 токенов", TextUnit(1.0)),
        ("sentence sentences satz sätze sätzen phrase phrases frase frases frasi предложение предложения"
         " предложений предложении предложением предложениях предложениями 文 センテンス 句话 句 문장",
         _SENTENCE),
        ("line lines zeile zeilen ligne lignes línea líneas linha linhas riga righe строка строки строк"
         " строке строках 行 줄", _LINE),
        ("paragraph paragraphs absatz absätze absätzen paragraphe paragraphes párrafo párrafos parágrafo"
         " parágrafos paragrafo paragrafi абзац абзаца абзацев абзаце абзацах 段落 段 문단",
         _PARAGRAPH),
        ("page pages seite seiten página páginas pagina pagine страница страницу страницы страниц странице"
         " ページ 页 페이지 쪽", _PAGE),
        ("bullets", _BULLET),
        ("bullet points", _BULLET),
    )
    for unit in ([names] if names == "bullet points" else names.split())
}  # fmt: skip
"""Unit of a text → its size. A sentence, and what is larger, is as long as it happens to be."""
_FOLLOWED = {"語": "語(?=以内|以下|以上|程度|ほど|くらい|ぐらい|前後|まで|で)"}
"""Where a unit that also ends other words is one."""
_LONGEST_FIRST = sorted(UNITS, key=len, reverse=True)
LATIN_UNITS = "|".join(unit for unit in _LONGEST_FIRST if not WIDE.match(unit))
"""A pattern of the units that stand after a space."""
WIDE_UNITS = "|".join(_FOLLOWED.get(unit, unit) for unit in _LONGEST_FIRST if WIDE.match(unit))
"""A pattern of those that follow their number at once."""
UNIT = MarkedPattern(
    rf"(?<=[ -])(?:{LATIN_UNITS})\b|(?:{WIDE_UNITS})(?!学|書|章|献|法|明|化|脈|句|幕|数|列|典|体"
    rf"|型|目|分|身|동)",
    *shortest(UNITS),
)
"""A unit in a lower-case text."""

NUMBER_WORDS = {
    word: value
    for value, words in (
        (
            1.0,
            "a single one ein eine einem einen einer einzigen un une una uno um uma numa num один одна одно"
            " одном одной одну одним 한",
        ),
        (2.0, "two zwei deux dos dois duas due два две двух двумя 두"),
        (3.0, "three drei trois tres três tre три трёх трех тремя 세"),
        (4.0, "four vier quatre cuatro quatro quattro четыре четырёх четырех 네"),
        (5.0, "five fünf cinq cinco cinque пять пяти 다섯"),
        (6.0, "six sechs seis sei шесть шести 여섯"),
        (7.0, "sieben sept siete sete sette семь семи"),
        (8.0, "acht huit ocho oito otto восемь восьми"),
        (9.0, "neun neuf nueve nove девять девяти"),
        (10.0, "zehn dix diez dez dieci десять десяти 열"),
    )
    for word in words.split()
}
"""Numbers in words that are no English figures, such as ``latin_figures`` reads."""
_VAGUE_NUMBERS = {
    "half a": 0.5, "a half": 0.5, "a couple of": 2.0, "a few": 3.0, "several": 4.0, "ein paar": 3.0,
    "quelques": 3.0, "unas pocas": 3.0, "algunas": 3.0, "algumas": 3.0, "alcune": 3.0, "poche": 3.0,
    "несколько": 3.0, "нескольких": 3.0,
}  # fmt: skip
"""Of sentences and what is larger."""
_VAGUE_NUMBER = re.compile(rf"(?<!\w)({'|'.join(_VAGUE_NUMBERS)})[ -](?:short |simple |clear )?$")
_NUMBER_WORD = re.compile(
    rf"(?<!\w)({'|'.join(sorted(NUMBER_WORDS, key=len, reverse=True))})[ -]?"
    r"(?:(?:short|simple|concise|single|clear|brief|full|complete|kurzen?|einzigen?|courtes?|cortas?"
    r"|seule?|sola|única|só|curtas?|brevi|breve|корот\w{2,4})"
    r"[ -])?$"
)
_COUNTED_BY_A = re.compile(r"sentence|paragraph")
"""What the English "a" counts, unlike "a word about bees", "a page for our site", "a palavra"."""
_SAYINGS = frozenset(("mots", "palabras", "palavras", "parole", "worten", "словах"))
"""Units of which two stand for few: "en deux mots", "in due parole". «Одним словом,» opens a sentence."""
_FIGURE_END = re.compile(
    r"(?:\+?(?: ?-?)|个|個)(?:(?:short|simple|concise|clear|brief|full|complete|bullet|english"
    r"|or (?:so|fewer|less|more))"
    r"[ -])?$"
)
_BACK = 48
"""Characters before a unit in which its number is looked for."""


def number_before(window: str, unit: re.Match[str]) -> tuple[int, float] | None:
    """Where the number of a unit begins, and the number; none where there is none.

    Args:
        window: the text, in lower case.
        unit: a match of :data:`UNIT` in it.
    """
    start = max(0, unit.start() - _BACK)
    before = window[start : unit.start()]
    wide = WIDE.match(unit[0]) is not None
    for figures in (latin_figures(before), wide_figures(before) if wide else []):
        if figures and _FIGURE_END.fullmatch(before, figures[-1].end):
            return start + figures[-1].start, figures[-1].value
    if (vague := _VAGUE_NUMBER.search(before)) and not UNITS[unit[0]].counted:
        return start + vague.start(), _VAGUE_NUMBERS[vague[1]]
    if not (word := _NUMBER_WORD.search(before)):
        return None
    number = NUMBER_WORDS[word[1]]
    if word[1] == "a" and not _COUNTED_BY_A.match(unit[0]):
        return None
    if unit[0] in ("phrase", "phrases") and word[1] in ("a", "single", "one"):
        return None
    if number == 2 and unit[0] in _SAYINGS:
        return None
    if unit[0] == "словом" and window.startswith(",", unit.end()):
        return None
    return start + word.start(), number
