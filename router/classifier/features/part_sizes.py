"""The length of a text whose parts have lengths: "an introduction of 50 words, five chapters of 600 each".

The parts add up to the whole where the main one is among them, such as chapters or the body; an abstract and
a title alone say nothing of the rest.
"""

from __future__ import annotations

import re

from router.classifier.features.figure import latin_figures, wide_figures
from router.classifier.features.marked_pattern import has_any
from router.classifier.features.text_amount import LATIN_UNITS, NUMBER_WORDS, UNITS

__all__ = ["parts_size"]

_MAIN = (
    r"(?:chapters?|sections?|paragraphs?|parts?|acts?|scenes?|body|main part|stanzas?|lessons?|kapiteln?"
    r"|abschnitte?n?|absätzen?|hauptteil|chapitres?|sections?|paragraphes?|développement|capítulos?|secciones"
    r"|párrafos?|desarrollo|seções|parágrafos?|desenvolvimento|capitol[io]|sezioni|paragrafi|svolgimento)"
)
_MINOR = (
    r"(?:intro(?:duction)?|conclusion|abstract|summary|preface|foreword|epilogue|prologue|outro|ending"
    r"|opening|einleitung|schluss|fazit|introducción|conclusión|introdução|conclusão|introduzione"
    r"|conclusione)"
)
_COUNT = rf"(?:(\d{{1,3}}|two|three|four|five|six|seven|eight|nine|ten|twelve|{'|'.join(NUMBER_WORDS)}) )?"
_PART = re.compile(
    rf"\b{_COUNT}(?:[a-z]{{3,12}} )?(?:({_MAIN})|{_MINOR})"
    r"(?: ?[:(,–-]| (?:of|with|in|at|about|around|approximately|roughly|exactly|each|is|are|having|has|have"
    r"|long|à|de|d['’]|di|da|con|com|mit|von|mit je|je|zu)){0,4}"
    rf" ?(\d[\d,.]{{0,6}})(?:[ -]?({LATIN_UNITS})\b)?(?: each\b| per\b| jeweils\b| chacun\w*| cada\b)?"
)
_WIDE_PART = re.compile(
    r"(?:(本論|本文|各章|中間|正文|本论|본론)|導入|序論|はじめに|結論|まとめ|結び|引言|开头|结尾|结论|서론"
    r"|결론)"
    r"(?:は|を|が|に|部分|:|：)?(?:約|约|약)? ?(\d[\d,]{0,6}) ?(?:文字|字|자)"
)
_FACT = re.compile(
    r"(?:^|[.!?\n])(?:(?!should|must|shall|write)[^.!?\n]){0,80}\b(?:has|have|had|contains?|contained"
    r"|consists?|comprises?|hat"
    r"|enthält|tiene|tem|ha|contient)\b[^.!?\n]{0,40}$"
)
"""Such a text is given, not asked for."""
_BEFORE = 140
_TWO_NUMBERS = re.compile(r"\d[^\d]{2,200}\d")
_SIGNS = (
    "chapter", "section", "paragraph", "part", "act", "scene", "body", "stanza", "lesson", "kapitel",
    "abschnitt", "absätz",
    "chapitre", "développement", "capítulo", "secciones", "párrafo", "desarroll", "seções", "parágrafo",
    "desenvolv",
    "capitol", "sezioni", "paragraf", "svolg",
)  # fmt: skip
"""One of these is in every text whose main part is named."""
_WIDE_SIGNS = ("本論", "本文", "各章", "中間", "正文", "本论", "본론")
_MOST_COUNT = 100.0


def _times(number: str | None) -> float:
    if not number:
        return 1.0
    figures = latin_figures(number)
    return min(figures[0].value if figures else NUMBER_WORDS[number], _MOST_COUNT)


def parts_size(request: str) -> float:
    """Tokens of all parts of a text together; 0 where fewer than two, or not the main one, have a length.

    Args:
        request: in lower case.
    """
    if not _TWO_NUMBERS.search(request):
        return 0.0
    if has_any(_SIGNS, request):
        return _latin_size(request)
    if has_any(_WIDE_SIGNS, request):
        found = _WIDE_PART.findall(request)
        if len(found) > 1 and any(main for main, _ in found):
            return sum(wide_figures(number)[0].value for _, number in found) * UNITS["字"].tokens
    return 0.0


def _latin_size(request: str) -> float:
    tokens, unit, parts, main = 0.0, "", 0, False
    for found in _PART.finditer(request):
        if not parts and _FACT.search(request[max(0, found.start() - _BEFORE) : found.start()]):
            return 0.0
        times, body, number, named = found.groups()
        unit = named or unit
        if not unit:
            return 0.0
        tokens += _times(times) * latin_figures(number.rstrip(".,"))[0].value * UNITS[unit].tokens
        parts, main = parts + 1, main or bool(body)
    return tokens if main and parts > 1 else 0.0
