"""Numbers as people write them, in figures and in words: 2,000, 1 500, 2.5k, 10^6, two hundred, 2万5千."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

__all__ = ["Figure", "latin_figures", "wide_figures"]

_WORDS: dict[str, float] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
}  # fmt: skip
_VAGUE: dict[str, float] = {
    "half a": 0.5, "a": 1, "a couple of": 2, "a couple": 2, "a few": 3, "several": 4,
}  # fmt: skip
"""What may stand before a power of ten and is no number without one."""
_SMALL_POWERS: dict[str, float] = {"hundred": 1e2, "十": 10, "百": 1e2, "千": 1e3, "천": 1e3}
_GREAT_POWERS: dict[str, float] = {
    "k": 1e3, "dozen": 12, "thousand": 1e3, "million": 1e6, "billion": 1e9,
    "万": 1e4, "萬": 1e4, "만": 1e4, "億": 1e8,
}  # fmt: skip
"""These multiply all that stands before them: two hundred thousand, 二千五百万."""
_HAN_DIGITS = {digit: float(value) for value, digit in enumerate("一二三四五六七八九", 1)} | {
    "両": 2.0, "两": 2.0, "数": 3.0,
}  # fmt: skip
_MOST_DIGITS, _MOST_EXPONENT, _MOST = 300, 99, 1e15
"""Digits and exponent up to which a figure is computed, and the greatest value that it is taken for."""

_DIGITS = r"\d{1,3}(?:[,.，_'’]\d{3})+(?!\d)|\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?![\d-])|\d+"
_POWER = r"\d{1,3}(?:\^|\*\*)\d{1,3}|\d{1,3}[⁰¹²³⁴-⁹]{1,3}|\d(?:\.\d{1,3})?e\d{1,3}\b"
_DECIMAL = r"\d{1,6}\.\d{1,2}(?!\d)"
_SCALE = "(?:hundred|thousand|million|billion|dozen)"
_TENS = "|".join(word for word in _WORDS if word.endswith("ty"))
_UNDER_A_HUNDRED = rf"(?:(?:{_TENS})(?:[ -](?:{'|'.join(list(_WORDS)[:9])})\b)?|{'|'.join(_WORDS)})"
_HAN_POWER = "[百千万億萬천만]"

_LATIN_FIGURE = re.compile(
    rf"(?<![\d.,])\b(?:(?:{_POWER}|{_DECIMAL}|{_DIGITS})(?:[ -]?(?:k|{_SCALE})\b)?"
    rf"|(?:{'|'.join(_VAGUE)})(?: {_SCALE}\b){{1,2}}"
    rf"|{_UNDER_A_HUNDRED}\b(?:[ -]{_SCALE}\b(?: (?:and )?{_UNDER_A_HUNDRED}\b)?){{0,3}})"
)
_WIDE_FIGURE = re.compile(
    rf"(?:{_POWER}|{_DIGITS})(?: ?{_HAN_POWER}(?:\d{{1,4}}{_HAN_POWER}?|{_HAN_POWER}){{0,4}})?"
    r"|数?[一二三四五六七八九十百千万億萬両两]{1,9}|[천만]"
)
_MAY_BE = re.compile(
    r"\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twe|thir|fort|fif|hundred|thousand|dozen|illion"
)
"""Every number in figures or English words has this; to look for it takes a fifth of the time."""
_MOST_BEFORE = len("a couple of m")
"""Characters of a number before the first of it: as in "a couple of million"."""
_SEPARATOR = re.compile(r"(?<=\d)[,.， _'’\u00a0\u202f](?=\d{3}(?!\d))")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_IS_POWER = re.compile(r"(\d{1,3}?)(?:\^|\*\*|(?=[⁰¹²³⁴-⁹]))(\d{1,3}|[⁰¹²³⁴-⁹]{1,3})")
_TERM = re.compile(
    r"\d(?:\.\d{1,3})?e\d{1,3}\b|\d+(?:\.\d+)?"
    r"|half a|a (?:few|couple)|[a-z]+|[一二三四五六七八九十百千万億萬両两数천만]"
)


def _power(base: str, exponent: str) -> float:
    """``base`` to the ``exponent``, which may be raised digits; infinite beyond what is computed."""
    power = int(exponent.translate(_RAISED))
    return float(base) ** power if power <= _MOST_EXPONENT or float(base) < 2 else math.inf


def _under_a_power(term: str) -> float:
    """The value of a term that is no power of ten; 0 of a word that is no number."""
    if not term[0].isdecimal():
        return _WORDS.get(term) or _HAN_DIGITS.get(term) or _VAGUE.get(term, 0.0)
    return float(term) if len(term) <= _MOST_DIGITS else math.inf


def _value(figure: str) -> float:
    """The number that a match of one of the patterns stands for."""
    if figure.isdecimal() and len(figure) <= _MOST_DIGITS:  # almost every number is written so
        return float(figure)
    if power := _IS_POWER.match(figure):
        return _power(power[1], power[2])
    total = group = units = 0.0
    for term in _TERM.findall(_SEPARATOR.sub("", figure)):
        if small := _SMALL_POWERS.get(term):
            group, units = group + (units or 1) * small, 0.0
        elif great := _GREAT_POWERS.get(term):
            total, group, units = total + (group + units or 1) * great, 0.0, 0.0
        else:
            units += _under_a_power(term)
    return total + group + units


class Figure(NamedTuple):
    """A number in a text: where it begins, where it ends, and how it is written."""

    start: int
    end: int
    text: str

    @property
    def value(self) -> float:
        """The number, 0..1e15: a greater one is taken for that."""
        return min(_value(self.text), _MOST)


def latin_figures(text: str) -> list[Figure]:
    """The numbers in figures or in English words of a lower-case text, such as may stand before a space."""
    figures: list[Figure] = []
    end = 0
    while may_be := _MAY_BE.search(text, end):
        found = _LATIN_FIGURE.search(text, max(end, may_be.start() - _MOST_BEFORE))
        if found is None:
            break
        end = found.end()
        figures.append(Figure(found.start(), end, found[0]))
    return figures


def wide_figures(text: str) -> list[Figure]:
    """The numbers in figures, in Chinese characters or in both, such as may stand before a counter."""
    return [Figure(*found.span(), found[0]) for found in _WIDE_FIGURE.finditer(text)]
