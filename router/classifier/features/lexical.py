"""Cheap features of a text that an embedding captures badly: length, digits, code, maths, script, request.

They carry much of the routing signal, above all on topics that training never saw. Training and serving
both call :func:`lexical_features`, so there is no skew.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from router.classifier.features.answer_size import ANSWER_SIZE_FEATURES, answer_size_features
from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.marked_pattern import has_any
from router.classifier.features.question_form import QUESTION_FORM_FEATURES, question_form_features
from router.classifier.features.request_kind import REQUEST_KIND_FEATURES, request_kind_features

__all__ = [
    "FEATURES",
    "SCRIPTS",
    "foreign_share",
    "lexical_features",
    "script_of",
    "scripts_of",
]

FEATURES = (
    "log_characters",
    "log_words",
    "log_lines",
    "mean_word_length",
    "digit_share",
    "upper_share",
    "punctuation_share",
    "math_share",
    "code_markers",
    "number_count",
    "question_marks",
    "option_lines",
    "formula_markers",
    "proof_words",
    "latin_share",
    "kana_share",
    "han_share",
    "other_letter_share",
    *REQUEST_KIND_FEATURES,
    *QUESTION_FORM_FEATURES,
    *ANSWER_SIZE_FEATURES,
)
"""Names in the order of the vector. New features are appended: a bundle reads the first ones, as many as it
was fitted on."""

WINDOW = 8192
"""Characters read from each end of a longer text, which bounds the time on any input."""

_DIGIT = re.compile(r"\d")
_UPPER = re.compile(r"[A-Z]")
_PUNCTUATION = re.compile(r"[^\w\s]")
_MATH = re.compile(r"[=+*/^<>≤≥≠±×÷√∑∏∫∂∞∈⊂∪∩→⇒∀∃\\|]")
_CODE = re.compile(
    r"```|[{};]\s*$|\bdef |\bclass |\breturn\b|\bimport |#include|\bfunction\b|\bSELECT\b|=>|\(\)|</",
    re.MULTILINE,
)
_CODE_SIGNS = (
    "`", "{", "}", ";", "def ", "class ", "return", "import ", "#include", "function", "SELECT", "=>", "()",
    "</",
)  # fmt: skip
"""One of these is in every text that the pattern finds; to look for them takes a tenth of the time."""
_NUMBER = re.compile(r"\d[\d,.]*")
# Not \s: it would run over line ends, and a text of empty lines would take quadratic time.
_OPTION = re.compile(r"^[^\S\n]*\(?[A-J][).:]\s", re.MULTILINE)
_FORMULA = re.compile(r"\\[a-zA-Z]+|\$[^$\n]{1,80}\$|[a-zA-Z]\^[\d{(]|_\{")
_PROOF = re.compile(
    r"\b(?:prove|proof|show that|derive|theorem|lemma|integral|step by step|explain why)\b"
    r"|証明|導出|定理|なぜ|理由を",
    re.IGNORECASE,
)
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_KANA = re.compile(r"[\u3040-\u30ff\uff66-\uff9f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_OTHER = re.compile(r"[^\W\d_A-Za-zÀ-ɏ\u3040-\u30ff\uff66-\uff9f\u3400-\u4dbf\u4e00-\u9fff]")


SCRIPTS = ("Latin script", "Japanese", "Chinese characters", "another script", "no letters")
"""What the features reveal of a prompt's language, without its text."""

_SCRIPT_BOUNDS = (
    ("kana_share", 0.05, 1),
    ("han_share", 0.3, 2),
    ("other_letter_share", 0.3, 3),
    ("latin_share", 0.3, 0),
)
"""Feature, threshold above which it indicates a script, index in :data:`SCRIPTS`. The first match wins."""

_FOREIGN = [FEATURES.index(name) for name in ("kana_share", "han_share", "other_letter_share")]


_ASCII = "".join(map(chr, range(128)))
_IN_ASCII = {
    pattern: "".join(pattern.findall(_ASCII)).encode()
    for pattern in (_DIGIT, _UPPER, _PUNCTUATION, _MATH, _LATIN)
}
"""Patterns of one character → what they match in a text of ASCII, where they are counted in a tenth of the
time."""
_FORMULA_SIGNS = ("\\", "$", "^", "_{")
_PROOF_SIGNS = (
    "prove", "proof", "show that", "derive", "theorem", "lemma", "integral", "step by step", "explain why",
)  # fmt: skip


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))


def _character_counts(window: str) -> tuple[int, ...]:
    """How many digits, capitals, signs of punctuation, signs of mathematics and Latin letters a text has."""
    if window.isascii():
        data = window.encode()
        return tuple([len(data) - len(data.translate(None, one)) for one in _IN_ASCII.values()])
    return tuple([_count(pattern, window) for pattern in _IN_ASCII])


def _proof_words(window: str) -> int:
    if window.isascii():
        lower = window.lower()
        if not has_any(_PROOF_SIGNS, lower):
            return 0
    return _count(_PROOF, window)


def lexical_features(text: str) -> npt.NDArray[np.float32]:
    """The features of one text.

    Args:
        text: any text, of any length; at most twice :data:`WINDOW` characters are read.

    Returns:
        float32 of shape ``(len(FEATURES),)``, every value finite and in 0..16. Counts are
        ``log1p``; shares are of the characters that are not white space.
    """
    window = head_and_tail(text, WINDOW)
    scale = len(text) / max(len(window), 1)
    words = window.split()
    visible = max(sum(map(len, words)), 1)
    digits, upper, punctuation, maths, latin = _character_counts(window)
    values = (
        math.log1p(len(text)),
        math.log1p(len(words) * scale),
        math.log1p(window.count("\n") * scale),
        min(visible / max(len(words), 1), 16.0),
        digits / visible,
        upper / visible,
        punctuation / visible,
        maths / visible,
        math.log1p(_count(_CODE, window) if has_any(_CODE_SIGNS, window) else 0),
        math.log1p(_count(_NUMBER, window) if digits else 0),
        math.log1p(window.count("?") + window.count("？")),
        math.log1p(_count(_OPTION, window)),
        math.log1p(_count(_FORMULA, window) if has_any(_FORMULA_SIGNS, window) else 0),
        math.log1p(_proof_words(window)),
        latin / visible,
        *(
            (0.0, 0.0, 0.0)
            if window.isascii()
            else (_count(script, window) / visible for script in (_KANA, _HAN, _OTHER))
        ),
        *request_kind_features(text),
        *question_form_features(text),
        *answer_size_features(text),
    )
    return np.minimum(np.asarray(values, dtype=np.float32), np.float32(16.0))


def foreign_share(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The share of letters outside the Latin script, 0..1, ``(…)`` from features ``(…, len(FEATURES))``."""
    return np.asarray(features[..., _FOREIGN].sum(axis=-1))


def script_of(features: Sequence[float]) -> int:
    """The script of one prompt, as an index into :data:`SCRIPTS`, from its features."""
    return next(
        (
            script
            for name, bound, script in _SCRIPT_BOUNDS
            if features[FEATURES.index(name)] > bound
        ),
        len(SCRIPTS) - 1,
    )


def scripts_of(features: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """The script of each prompt, as indices into :data:`SCRIPTS` ``(n,)``, from features ``(n, f)``."""
    matches = [features[:, FEATURES.index(name)] > bound for name, bound, _ in _SCRIPT_BOUNDS]
    scripts = [script for _, _, script in _SCRIPT_BOUNDS]
    return np.select(matches, scripts, len(SCRIPTS) - 1).astype(np.intp)
