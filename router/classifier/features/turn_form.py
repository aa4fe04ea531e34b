"""What form a message of a chat has: a greeting, a closing, one that refers back, or a request of its own.

By closed lists of words and by length, for English and Japanese; of other languages only the commonest words
of thanks, agreement and going on, and messages of a word or two. Nothing here reads a longer message than
:data:`LONGEST` beyond its beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from router.classifier.features.reference import (
    GIVEN,
    QUOTED,
    RETURNS,
    answers,
    is_spaced,
    only_says,
    refers,
    requests,
)
from router.classifier.features.turn_words import (
    CHAT,
    CLAUSE,
    FINISHED,
    GO_ON,
    TRIMMED,
    thanks_at_end,
    unhappy,
    words_before,
)

__all__ = ["LONGEST", "Form", "Turn", "asks_openly", "question_at_end", "read_turn"]

LONGEST = 240
"""Characters of the longest message that may refer back by its words; a longer one says what it wants."""
_OPENING = 160
"""Characters of a message in which words before the request are looked for."""
_LONGEST_ANSWER = 40
"""Characters of the longest answer to a question that gives no text."""
_LONGEST_CLOSING = 80
"""Characters of the longest message that asks for nothing."""


class Form(Enum):
    """What a message does in its chat."""

    GREETING = "greeting"
    CLOSING = "closing"
    REPEATS = "repeats"
    """Asks for the task of before and changes nothing of it: «continue», «yes, do it», «why?»."""
    CHANGES = "changes"
    """Refers back and says something new: «now in Python», «what about the second point?»."""
    RETURNS = "returns"
    """Like :attr:`CHANGES`, after another task came between: «back to the query: …»."""
    REQUEST = "request"
    UNCLEAR = "unclear"
    """A request of its own, or one that refers back: only what was said before could tell."""

    @property
    def refers_back(self) -> bool:
        """Whether its task is that of an earlier message."""
        return self in (Form.REPEATS, Form.CHANGES, Form.RETURNS)


@dataclass(frozen=True, slots=True)
class Turn:
    """A message as read.

    Attributes:
        form: what it does.
        text: the message without the words before its request, such as «Hi!» and «Thanks!»; the whole message
            where nothing else is left.
        alone: whether its words say that it is a request of its own: it gives a text, or changes the topic.
    """

    form: Form
    text: str
    alone: bool = False


class _Asked(Enum):
    """How the message before ends."""

    NOTHING = 0
    OFFER = 1
    QUESTION = 2
    ANYTHING_ELSE = 3


_OFFER = re.compile(
    r"(?:shall|should|can|may|could) (?:i|we)\b|(?:would|do) you (?:like|want)|want me to"
    r"|let me know (?:if|whether) you(?:'d)? (?:like|want)"
    r"|ましょうか|(?:続け|進め|始め|示し|書き|作り|見せ|出し|い?たし)ますか|いかがですか|よろしいですか|ご希望"
)
_ANYTHING_ELSE = re.compile(
    r"(?:anything|something) else|how (?:can|may) i help|can i (?:help|do)|else (?:can|may) i"
    r"|what's up|how are you|(?:and|about) you\?"
    r"|on your mind|ほかに|他に|何かあり|お手伝い|ご用件|ご質問|どうしま|どうされ|あなたは|お元気"
)
_SENTENCES = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")


def question_at_end(text: str) -> str:
    """The question or the offer that ends a message of the assistant, at most 300 characters; empty: none."""
    tail = text.rstrip()[-300:]
    if not tail or (tail[-1] not in "?？" and not _OFFER.search(tail.lower()[-120:])):
        return ""
    parts: list[str] = [part.strip() for part in _SENTENCES.findall(tail) if part.strip()]
    return parts[-1] if parts else ""


def asks_openly(question: str) -> bool:
    """Whether a question is about no task: «Anything else?»."""
    return _kind_of(question) is _Asked.ANYTHING_ELSE


def _kind_of(question: str) -> _Asked:
    if not question:
        return _Asked.NOTHING
    said = question.lower()
    if _ANYTHING_ELSE.search(said):
        return _Asked.ANYTHING_ELSE
    return _Asked.OFFER if _OFFER.search(said) else _Asked.QUESTION


def _bare(before: set[str], asked: _Asked) -> Form:
    """The form of a message of such words alone."""
    if (
        "agreed" in before
        and asked is not _Asked.ANYTHING_ELSE
        and ("thanks" not in before or asked is not _Asked.NOTHING)
    ):
        return Form.REPEATS
    if (
        "refused" in before
        and "thanks" not in before
        and asked in (_Asked.QUESTION, _Asked.NOTHING)
    ):
        return Form.CHANGES
    if "noted" in before and "thanks" not in before and asked is _Asked.OFFER:
        return Form.REPEATS
    if before & {"thanks", "noted", "refused", "agreed"}:
        return Form.CLOSING
    return Form.GREETING if "greeting" in before else Form.REPEATS


def read_turn(text: str, question: str = "", *, first: bool = False) -> Turn:
    """What a message of the user does, after a message of the assistant.

    Args:
        text: of the message.
        question: how the message before it ends, by :func:`question_at_end`.
        first: whether the user said nothing before, so that there is nothing to refer to but the question.
    """
    stripped = text.strip()
    before, place = words_before(stripped)
    rest = stripped[place:]
    asked, core = _kind_of(question), rest[: LONGEST + 1].lower().strip(TRIMMED)
    if (thanks := thanks_at_end(core)) is not None:
        core, before = core[:thanks].rstrip(TRIMMED), before | {"thanks"}
    if not core:
        nothing = Form.REQUEST if first else Form.REPEATS
        return Turn(_bare(before, asked) if before else nothing, text)
    if form := _whole(core, rest, before):
        return Turn(form, text)
    said = rest if before else text
    if first and not question:
        greeted = before == {"greeting"} and requests(core)
        return Turn(Form.REQUEST, rest if greeted else text)
    if len(rest) > LONGEST:
        return Turn(_long(rest, asked), said)
    if GO_ON.fullmatch(core):
        return Turn(Form.REPEATS, said)
    if "shift" in before:
        return Turn(Form.REQUEST, said, alone=True)
    return Turn(_short(core, rest, before, question), said, alone=QUOTED.search(rest) is not None)


def _whole(core: str, rest: str, before: set[str]) -> Form | None:
    """The form of a message that asks for nothing; ``None``: it may ask for something."""
    if len(core) > _LONGEST_CLOSING:
        return None
    if FINISHED.fullmatch(core):
        return Form.CLOSING
    if CHAT.fullmatch(core):
        return Form.GREETING
    # It thanks, and tells of nothing that is wrong.
    thanks = "thanks" in before and not unhappy(rest.lower()) and GO_ON.fullmatch(core) is None
    return Form.CLOSING if thanks and only_says(core) else None


def _long(rest: str, asked: _Asked) -> Form:
    start = rest[:_OPENING].lower()
    if RETURNS.match(start):
        return Form.RETURNS
    # What was asked for is given.
    given = asked is _Asked.QUESTION and answers(start, rest)
    return Form.CHANGES if given else Form.REQUEST


def _chosen(core: str, question: str) -> bool:
    """Whether a message has few words that the question before it has not."""
    words = [word for word in core.split() if len(word) > 3]
    asked = question.lower()
    return 0 < len(words) <= 6 and 2 * sum(word in asked for word in words) > len(words)


def _short(core: str, rest: str, before: set[str], question: str) -> Form:
    """The form of a message of at most :data:`LONGEST` characters that is not of known words alone."""
    if RETURNS.match(core):
        return Form.RETURNS
    asked, given = _kind_of(question), GIVEN.search(rest) is not None
    if given and asked is not _Asked.QUESTION:
        return Form.REQUEST
    if not given:
        goes_on = GO_ON.fullmatch(CLAUSE.split(core, maxsplit=1)[0])
        if goes_on or "doubt" in before or refers(core, rest):
            return Form.CHANGES
        if asked in (_Asked.QUESTION, _Asked.OFFER) and is_spaced(core) and _chosen(core, question):
            return Form.CHANGES
    if asked is _Asked.QUESTION and (given or len(core) <= _LONGEST_ANSWER):
        return Form.CHANGES if answers(core, rest) else Form.REQUEST
    return Form.REQUEST
