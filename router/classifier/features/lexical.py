"""Cheap features of a text that an embedding captures badly: length, digits, code, maths, script, request.

They carry much of the routing signal, above all on topics that training never saw. Training and serving
both call :func:`lexical_features`, so there is no skew.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from router.classifier.features.answer_size import ANSWER_SIZE_FEATURES, answer_size_features
from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.question_form import QUESTION_FORM_FEATURES, question_form_features
from router.classifier.features.request_kind import REQUEST_KIND_FEATURES, request_kind_features
from router.classifier.features.vocabulary import has_any

__all__ = [
    "FEATURES",
    "SCRIPTS",
    "foreign_share",
    "lexical_features",
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


def _count(pattern: re.Pattern[str], text: str) -> int:
    return len(pattern.findall(text))


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
    values = (
        np.log1p(len(text)),
        np.log1p(len(words) * scale),
        np.log1p(window.count("\n") * scale),
        min(visible / max(len(words), 1), 16.0),
        _count(_DIGIT, window) / visible,
        _count(_UPPER, window) / visible,
        _count(_PUNCTUATION, window) / visible,
        _count(_MATH, window) / visible,
        np.log1p(_count(_CODE, window) if has_any(_CODE_SIGNS, window) else 0),
        np.log1p(_count(_NUMBER, window)),
        np.log1p(window.count("?") + window.count("？")),
        np.log1p(_count(_OPTION, window)),
        np.log1p(_count(_FORMULA, window)),
        np.log1p(_count(_PROOF, window)),
        _count(_LATIN, window) / visible,
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


def scripts_of(features: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """The script of each prompt, as indices into :data:`SCRIPTS` ``(n,)``, from features ``(n, f)``."""
    matches = [features[:, FEATURES.index(name)] > bound for name, bound, _ in _SCRIPT_BOUNDS]
    scripts = [script for _, _, script in _SCRIPT_BOUNDS]
    return np.select(matches, scripts, len(SCRIPTS) - 1).astype(np.intp)
