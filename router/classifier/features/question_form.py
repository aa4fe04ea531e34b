"""Features of how a question is put: its options, the stem before them, its assumptions, its numbers.

Exams ask such questions, and so do agents that let a model choose. The form shows how hard a question is:
five options of a line each are harder than four words, "which is NOT" is harder than "which is", a case of
ten sentences is harder than a definition. The vocabulary is English and Japanese.
"""

from __future__ import annotations

import math
import re
import statistics

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.marked_pattern import MarkedPattern
from router.classifier.features.vocabulary import Vocabulary

__all__ = ["QUESTION_FORM_FEATURES", "WINDOW", "question_form_features"]

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

WINDOW = 2_000
"""Characters read from each end of a longer text, which bounds the time on any input."""

QUESTION_FORM_FEATURES = (
    "option_length", "longest_option", "option_spread", "options_of_numbers", "options_vary",
    "options_begin_alike", "options_in_stem", "stem_length", "stem_sentences", "sentence_length",
    "ends_asking", "ends_stating", "ends_open", "leaves_a_blank", *_KINDS,
    "largest_number", "decimals", "percents_and_prices", "compounds", "years",
)  # fmt: skip
"""Names in the order of the values of :func:`question_form_features`."""

_VOCABULARY = Vocabulary(_KINDS)
_OPTION = re.compile(
    r"^[^\S\n]*(?:\(?[A-J][).:](?=\s)|[(（]?[A-Jア-コ][）．：、]|[①-⑩])(.*)$", re.MULTILINE
)
_MIN_OPTIONS = 2
_MAX_NUMBER_CHARACTERS = 24
"""The longest option that is read as a number with its unit."""
_MAX_UNIT_LETTERS = 6
_TERM = re.compile(r"\w+")
_SENTENCE = re.compile(r"[.!?](?:\s|$)|[。！？]")
_ASKING = re.compile(r"(?:[?？]|か。?)$")
_BLANK = re.compile(r"__|[(（]\s[)）]|（）")
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,6})?")
_PERCENT_OR_PRICE = MarkedPattern(
    r"[$€£¥] ?\d|[%％]|\bpercent\b|\d円", "$", "€", "£", "¥", "%", "％", "percent", "円"
)
_COMPOUND = re.compile(r"\b(?:[A-Z][a-z]?\d){1,6}")
_YEAR = MarkedPattern(r"(?<!\d)(?:1\d|20)\d\d(?!\d)", "1", "20")


def _is_number(option: str) -> bool:
    """Whether an option is a number, with or without a unit."""
    return (
        len(option) <= _MAX_NUMBER_CHARACTERS
        and any(map(str.isdecimal, option))
        and sum(map(str.isalpha, option)) <= _MAX_UNIT_LETTERS
    )


def _option_features(options: list[str], stem: str) -> tuple[float, ...]:
    """The seven features of the options; zeros for fewer than two options."""
    if len(options) < _MIN_OPTIONS:
        return (0.0,) * 7
    lengths = [len(option) for option in options]
    mean = statistics.fmean(lengths)
    words = [option.lower().split() for option in options]
    all_words = [word for option_words in words for word in option_words]
    terms = set(_TERM.findall(" ".join(options).lower()))
    return (
        math.log1p(mean),
        math.log1p(max(lengths)),
        statistics.pstdev(lengths, mean) / (mean + 1),
        sum(map(_is_number, options)) / len(options),
        len(set(all_words)) / max(len(all_words), 1),
        1 - len({option_words[0] if option_words else "" for option_words in words}) / len(options),
        len(terms & set(_TERM.findall(stem.lower()))) / max(len(terms), 1),
    )


def _stem_features(stem: str) -> tuple[float, ...]:
    """The seven features of what precedes the options, or of the whole text if there are none."""
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


def _number_features(text: str) -> tuple[float, ...]:
    """The five features of the numbers in a text."""
    numbers = _NUMBER.findall(text)
    return (
        math.log1p(max(map(float, numbers), default=0.0)),
        math.log1p(sum("." in number for number in numbers)),
        math.log1p(_PERCENT_OR_PRICE.count(text)),
        math.log1p(len(_COMPOUND.findall(text)) if numbers else 0),
        math.log1p(_YEAR.count(text)),
    )


def question_form_features(text: str) -> tuple[float, ...]:
    """The features of how a question is put.

    Args:
        text: any text, of any length; at most twice :data:`WINDOW` characters are read.

    Returns:
        One value per name in :data:`QUESTION_FORM_FEATURES`, finite and ≥ 0. Lengths, counts and the largest
        number are ``log1p``; the spread of the options' lengths is relative to their mean; the rest are
        shares in 0..1, or 0 and 1 for no and yes.
    """
    window = head_and_tail(text, WINDOW)
    found = list(_OPTION.finditer(window))
    options = [match[1].strip() for match in found]
    stem = window[: found[0].start()] if len(found) >= _MIN_OPTIONS else window
    return (
        *_option_features(options, stem),
        *_stem_features(stem),
        *map(math.log1p, _VOCABULARY.counts(window.lower())),
        *_number_features(window),
    )
