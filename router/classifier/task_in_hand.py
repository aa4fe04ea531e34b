"""The task in hand of a chat: what the classifier reads of it.

A message that refers back («yes, do it», «now in Python», «why?») has the task of the message that it refers
to, and what it changes. A closing or a greeting is read alone, and a new task alone: without the greeting or
the thanks before it. Of a short message that may be either, both are read, and the harder one counts.
What tools returned and what the assistant wrote is context, not the task, and so are system messages, which
are read only where there is no other message.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.topic import Topic, topic_of
from router.classifier.features.turn_form import (
    LONGEST,
    Form,
    Turn,
    asks_openly,
    question_at_end,
    read_turn,
)
from router.core.types import Message, Prompt

__all__ = ["TaskInHand", "classifier_text", "task_in_hand"]

_MOST_TURNS = 40
"""Messages of the user that are looked at, from the last one back."""
_MOST_TASKS = 3
"""Tasks among which a message may choose that returns to one."""
_CHANGE_SHARE, _CHANGE_LEAST = 0.5, 40
"""A change is read that is longer than this share of the task, and than this number of characters: to the
classifiers a few words at the end, such as «in German, please», make any text look simple."""
_MOST_CHANGES = 3
"""Changes that are read, the latest ones."""
_CHANGE_SIGNS = 600
"""Characters read from each end of a change."""
_TOPIC_TURNS, _TOPIC_MESSAGES = 3, 3
"""Messages of the user before one that may have its topic, and messages at each end that are read of them."""
_WORD = re.compile(r"\w{4,}")
"""A word by which a chat returns to a task."""


@dataclass(frozen=True, slots=True)
class TaskInHand:
    """What the last message of the user is about.

    Attributes:
        form: what that message does.
        parts: of each reading the texts that are read as one: a task with its changes, or one text.
    """

    form: Form
    parts: tuple[tuple[str, ...], ...]

    @property
    def readings(self) -> tuple[str, ...]:
        """Texts of which the classifier reads each, one or two; the hardest counts."""
        return tuple("\n\n".join(texts) for texts in self.parts)

    def request(self, place: int) -> int | None:
        """A hash of the request that the message makes; ``None``: it goes on with an earlier one.

        Where that is unclear, the first reading goes on with the earlier one, the second is a request.
        """
        unclear = self.form is Form.UNCLEAR and place == 0
        return None if unclear or self.form.refers_back else hash(self.readings[place])


def task_in_hand(prompt: Prompt) -> TaskInHand:
    """The task of the last message of the user, whatever follows it.

    Where the user says nothing, all messages are read but those of the system; where only the system speaks,
    its messages.
    """
    messages = prompt.messages
    users = [place for place, one in enumerate(messages) if one.role == "user"]
    if not users:
        said = [one.text for one in messages if one.role != "system"]
        text = "\n\n".join(said or [one.text for one in messages])
        return TaskInHand(Form.REQUEST, ((text,),))
    turn = _turn(messages, users, users[-1])
    if turn.form.refers_back or turn.form is Form.UNCLEAR:
        return TaskInHand(turn.form, _continued(messages, users, turn))
    return TaskInHand(turn.form, ((turn.text,),))


def classifier_text(prompt: Prompt) -> str:
    """The task in hand as one text, as training reads chats: where there are two readings, both."""
    return "\n\n".join(task_in_hand(prompt).readings)


def _question_before(messages: Sequence[Message], place: int) -> str:
    """The question of the assistant that a message answers; empty where there is none."""
    before = messages[place - 1] if place else None
    return question_at_end(before.text) if before and before.role == "assistant" else ""


def _turn(messages: Sequence[Message], users: Sequence[int], place: int) -> Turn:
    said, first = messages[place].text, place == users[0]
    turn = read_turn(said, _question_before(messages, place), first=first)
    if turn.form is not Form.REQUEST or first or turn.alone:
        return turn
    since = users[max(bisect_left(users, place) - _TOPIC_TURNS, 0)]
    before = [one.text for one in messages[since:place] if one.role in ("user", "assistant")]
    before = before[:_TOPIC_MESSAGES] + before[_TOPIC_MESSAGES:][-_TOPIC_MESSAGES:]
    topic = topic_of(turn.text, before)
    if topic is Topic.OWN:
        return turn
    return Turn(Form.CHANGES if topic is Topic.SAME else Form.UNCLEAR, turn.text)


def _continued(
    messages: Sequence[Message], users: Sequence[int], turn: Turn
) -> tuple[tuple[str, ...], ...]:
    """The parts of the readings of a message that continues a task, or may."""
    returns = turn.form is Form.RETURNS
    changes = [turn.text] if turn.form in (Form.CHANGES, Form.RETURNS) else []
    own = [turn.text] if turn.form is Form.UNCLEAR else []
    tasks: list[str] = []
    for place in users[-2 : -_MOST_TURNS - 2 : -1]:
        earlier = _turn(messages, users, place)
        if earlier.form is Form.REQUEST:
            tasks.append(earlier.text)
            if not returns or len(tasks) == _MOST_TASKS:
                break
        elif earlier.form is Form.UNCLEAR:
            own.append(earlier.text)
        elif earlier.form in (Form.CHANGES, Form.RETURNS) and not returns:
            changes.append(earlier.text)
            returns = earlier.form is Form.RETURNS
    if tasks:
        task = _returned_to(tasks, turn.text) if returns else tasks[0]
        return (_changed(task, changes), *((text,) for text in own[:1]))
    if own:
        return (_changed(own[-1], changes),)
    if changes[turn.form is not Form.REPEATS :]:
        # The first message to say something has no other to refer to.
        return (_changed(changes[-1], changes[:-1]),)
    # It answers the assistant, or refers to what is not there.
    question = _question_before(messages, users[-1])
    if not question or asks_openly(question):
        return ((turn.text,),)
    return ((question, turn.text),)


def _changed(task: str, changes: Sequence[str]) -> tuple[str, ...]:
    """A task with the changes that have a weight of their own, latest first."""
    least = min(max(_CHANGE_SHARE * len(task), _CHANGE_LEAST), LONGEST)
    kept = [one for one in changes if len(one) > least][:_MOST_CHANGES]
    return task, *(head_and_tail(one, _CHANGE_SIGNS) for one in reversed(kept))


def _returned_to(tasks: Sequence[str], said: str) -> str:
    """The task with most words of the message that returns to it, else the longest one."""
    words = set(_WORD.findall(said.lower()))
    return max(
        tasks, key=lambda task: (len(words.intersection(_WORD.findall(task.lower()))), len(task))
    )
