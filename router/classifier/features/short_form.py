"""Requests whose answer is short by its form: a tweet, a haiku, a spelling, whether a review is positive."""

from __future__ import annotations

import re

from router.classifier.features.marked_pattern import has_any
from router.classifier.features.work_size import AnswerSize

__all__ = ["short_form_size"]

_TWEET = AnswerSize(15.0, 65.0, 150.0)
"""At most 280 characters are some 76 tokens; a remark or a second version may come on top."""
_HAIKU, _LIMERICK = AnswerSize(10.0, 30.0, 90.0), AnswerSize(30.0, 75.0, 140.0)
_WORD = AnswerSize(0.0, 30.0, 110.0)
"""Of a question about a single word, with a rule or an example."""

_LONGEST = 300
"""Characters of a text up to which the form is that of the whole."""
_MAKES = (
    r"(?:^|[.!?\n] ?)(?:(?:please|can you|could you|bitte|por favor) )?(?:help me )?"
    r"(?:write|compose|draft|create|generate|make|give|schreib\w*|verfass\w*|écri[st]\w*|rédige\w*|escribe"
    r"|redacta|haz|escreva|crie|scrivi|crea|напиши|составь)(?: me| us| mir| moi| мне)?"
    r"(?: (?:an?|one|ein(?:en|e)?|une?|una|uma?|um)|(?= [а-я])) (?:[\w'’-]{1,16} ){0,3}?"
)
_ENDS = (
    r"(?=\s*$|[.!?:]| (?:about|on|for|that|announc\w+|promot\w+|celebrat\w+|saying|to|from|in|über|für|sur"
    r"|pour|sobre|para|su|per|о|об|про)\b)"
)
_FORMS = tuple(
    (
        size,
        re.compile(
            rf"{_MAKES}(?:{latin})\b{_ENDS}"
            rf"|(?:{wide})を?(?:一[つ句]|1つ)?(?:書いて|作って|詠んで|考えて)"
            rf"|写一(?:条|首)[^。\n]{{0,12}}(?:{wide})"
        ),
    )
    for size, latin, wide in (
        (_TWEET, r"tweet|tuit|твит", "ツイート|推文|推特"),
        (_HAIKU, r"haikus?|haïku|хайку", "俳句"),
        (_LIMERICK, r"limerick", "リメリック"),
    )
)
_SIGNS = (
    "tweet",
    "tuit",
    "твит",
    "ツイート",
    "推",
    "haiku",
    "haïku",
    "хайку",
    "俳句",
    "limerick",
    "リメリック",
)
_SPELL_SIGNS = (
    "spel", "pronounc", "plural", "tense", "participle", "opposite", "antonym", "schreibt man", "écri",
    "escrib", "escrev",
    "deletr", "scrive", "пи", "漢字", "読み方", "綴り",
)  # fmt: skip
"""One of these is in every text that the patterns find."""
_MORE = re.compile(
    r"\b(?:threads?|then|also|plus|explain\w*|why|essay|article|analy\w*|and (?:an?|the|write|give|explain"
    r"|list"
    r"|\d+)|followed by|each|versions|variations|options|with (?:an? )?(?:analysis|explanation|image"
    r"|translation)"
    r"|bots?|program|app|code|script|generator|classifier|und (?:eine?n?|schreib\w*)|et (?:une?"
    r"|écri\w*)"
    r"|y (?:una?|escrib\w*))\b|, (?:an?|two|three|\d+) |それから|その後|説明|解説|複数|然后|并"
)
_SPELLS = re.compile(
    r"(?:please |hey,? |hi,? )?(?:how (?:do (?:you|i|we)|would you|to|is|should i) (?:correctly |properly )?"
    r"(?:spell(?:ed|t)?|pronounced?)(?: the word)? ?[\"'“‘]?[\w'’-]{1,30}[\"'”’]?"
    r"(?: (?:spelled|spelt|pronounced|correctly|properly|in (?:british |american )?english))?"
    r"|how is [\"'“‘]?[\w'’-]{1,30}[\"'”’]? (?:spelled|spelt|pronounced)"
    r"|what(?:['’]s| is) the (?:correct |right |proper )?(?:spelling|plural|past tense|past participle"
    r"|opposite"
    r"|antonym)(?: form)? of(?: the word)? [\"'“‘]?[\w'’-]{1,30}[\"'”’]?"
    r"|wie schreibt man (?:das wort )?[\"„“]?(?!eine?[nmrs]?\b)[\wäöüß-]{2,30}[\"“”]?(?: richtig)?"
    r"|comment (?:s['’]écrit|écrit-on|épelle-t-on)(?: le mot)? (?!une?\b)[\"«]?[\w'’-]{2,30}[\"»]?"
    r"|¿?cómo se (?:escribe|deletrea)(?: la palabra)? (?!una?\b)[\"«]?[\w-]{2,30}[\"»]?"
    r"|como se (?:escreve|soletra)(?: a palavra)? (?!uma?\b)[\"«]?[\w-]{2,30}[\"»]?"
    r"|come si scrive(?: la parola)? (?!un[ao]?\b)[\"«]?[\w-]{2,30}[\"»]?"
    r"|как (?:правильно )?(?:пишется|писать)(?: слово)? [\"«]?[\w-]{2,30}[\"»]?"
    r"|[「『]?[^\s「」『』、。]{1,12}[」』]?の(?:漢字|読み方|綴り|スペル)は?(?:何です(?:か)?|何"
    r"|教えて(?:ください)?)?)\s*[?？.。]?"
)


def short_form_size(text: str) -> AnswerSize | None:
    """How long an answer of a short form is.

    Args:
        text: in lower case, without white space around it.

    Returns:
        ``None`` where the text asks for something else, or for more.
    """
    if len(text) > _LONGEST:
        return None
    if has_any(_SPELL_SIGNS, text) and _SPELLS.fullmatch(text):
        return _WORD
    if not has_any(_SIGNS, text):
        return None
    for size, pattern in _FORMS:
        if pattern.search(text):
            return None if _MORE.search(text) else size
    return None
