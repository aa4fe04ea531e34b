"""How a question is put: options to choose from, the stem before them, what it supposes, its numbers.

Exams and tests are full of such questions, and so are agents that let a model choose. How hard one is shows
in its form: five options of one line are harder than four words, «which is NOT» harder than «which is», a
case of ten sentences harder than a definition. The vocabulary is English and Japanese.
"""

from __future__ import annotations

import math
import re
import statistics

from router.classifier.features.head_and_tail import both_ends
from router.classifier.features.vocabulary import Vocabulary

__all__ = ["QUESTION", "REACH", "question"]

_KINDS: dict[str, tuple[str, str]] = {
    "negates": (
        "not except least never false incorrect incorrectly cannot without neither nor isn't doesn't",
        "ない ません 誤っ 誤り 間違っ 不適切 除い 除く",
    ),
    "names_all_or_none": (
        "only both all_of none_of any_of",
        "すべて 全て いずれ どれも のみ 両方",
    ),
    "supposes": (
        "if suppose assume assuming given let unless provided",
        "もし 仮に とする とすると 場合 ならば 与えられ",
    ),
    "ranks": (
        "best most likely primarily main mainly correct true",
        "最も 一番 正しい 適切 主に 主な",
    ),
    "points_to_options": ("following which_of which_one", "次の 以下の うち どれ"),
    "states": (
        "statement statements proposition claim ii iii iv",
        "記述 命題 文章",
    ),
}

REACH = 2_000
"""Characters read from each end of a longer text, which bounds the time on any input."""

QUESTION = (
    "option_length", "longest_option", "option_spread", "options_of_numbers", "options_vary",
    "options_begin_alike", "options_in_stem", "stem_length", "stem_sentences", "sentence_length",
    "ends_asking", "ends_stating", "ends_open", "leaves_a_blank", *_KINDS,
    "largest_number", "decimals", "percents_and_prices", "compounds", "years",
)  # fmt: skip
"""Names in the order of the values."""

_VOCABULARY = Vocabulary(_KINDS)
_OPTION = re.compile(
    r"^[^\S\n]*(?:\(?[A-J][).:](?=\s)|[(（]?[A-Jア-コ][）．：、]|[①-⑩])(.*)$", re.MULTILINE
)
_FEWEST = 2
"""Options; one alone is none."""
_LONGEST_NUMBER = 24
"""Characters of an option that is read as a number with its unit."""
_MOST_LETTERS = 6
"""Letters of such a unit."""
_TERM = re.compile(r"\w+")
_SENTENCE = re.compile(r"[.!?](?:\s|$)|[。！？]")
_ASKING = re.compile(r"(?:[?？]|か。?)$")
_BLANK = re.compile(r"__|[(（]\s[)）]|（）")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?")
_PERCENT_OR_PRICE = re.compile(r"[$€£¥] ?\d|[%％]|\bpercent\b|\d円")
_COMPOUND = re.compile(r"\b(?:[A-Z][a-z]?\d){1,6}")
_YEAR = re.compile(r"(?<!\d)(?:1\d|20)\d\d(?!\d)")


def _is_number(option: str) -> bool:
    """Whether an option is a number, with a unit or without."""
    return (
        len(option) <= _LONGEST_NUMBER
        and any(map(str.isdecimal, option))
        and sum(map(str.isalpha, option)) <= _MOST_LETTERS
    )


def _options(options: list[str], stem: str) -> tuple[float, ...]:
    """What the options are like; zeros where there are none."""
    if len(options) < _FEWEST:
        return (0.0,) * 7
    lengths = [len(option) for option in options]
    mean = statistics.fmean(lengths)
    words = [option.lower().split() for option in options]
    all_words = [word for one in words for word in one]
    terms = set(_TERM.findall(" ".join(options).lower()))
    return (
        math.log1p(mean),
        math.log1p(max(lengths)),
        statistics.pstdev(lengths, mean) / (mean + 1),
        sum(map(_is_number, options)) / len(options),
        len(set(all_words)) / max(len(all_words), 1),
        1 - len({one[0] if one else "" for one in words}) / len(options),
        len(terms & set(_TERM.findall(stem.lower()))) / max(len(terms), 1),
    )


def _stem(stem: str) -> tuple[float, ...]:
    """What stands before the options, or the whole text."""
    end = stem.rstrip()
    sentences = len(_SENTENCE.findall(stem))
    asking, stating = bool(_ASKING.search(end[-2:])), end.endswith((".", "。"))
    return (
        math.log1p(len(stem)),
        math.log1p(sentences),
        math.log1p(len(stem.split()) / max(sentences, 1)),
        float(asking),
        float(stating and not asking),
        float(bool(end) and not asking and not stating),
        float(bool(_BLANK.search(stem))),
    )


def _numbers(text: str) -> tuple[float, ...]:
    """Its numbers."""
    numbers = _NUMBER.findall(text)
    return (
        math.log1p(max(map(float, numbers), default=0.0)),
        math.log1p(sum("." in number for number in numbers)),
        math.log1p(len(_PERCENT_OR_PRICE.findall(text))),
        math.log1p(len(_COMPOUND.findall(text))),
        math.log1p(len(_YEAR.findall(text))),
    )


def question(text: str) -> tuple[float, ...]:
    """How a question is put.

    Args:
        text: any text, of any length; at most twice :data:`REACH` characters are read.

    Returns:
        One value per name in :data:`QUESTION`, finite and ≥ 0. Lengths, counts and the largest number are
        ``log1p``; the spread of the options' lengths is in means; the rest are shares and yes or no.
    """
    window = both_ends(text, REACH)
    found = list(_OPTION.finditer(window))
    options = [one[1].strip() for one in found]
    stem = window[: found[0].start()] if len(found) >= _FEWEST else window
    return (
        *_options(options, stem),
        *_stem(stem),
        *map(math.log1p, _VOCABULARY.counts(window.lower())),
        *_numbers(window),
    )
