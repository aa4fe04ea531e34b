"""The task in hand of a chat: what the classifier reads of it.

A message that refers back («yes, do it», «now in Python», «why?») has the task of the message that it refers
to, and what it changes. A closing or a greeting is read alone, and a new task alone: without the greeting or
the thanks before it. What tools returned and what the assistant wrote is context, not the task, and so are
system messages, which are read only where there is no other message.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from router.classifier.features.head_and_tail import head_and_tail
from router.classifier.features.turn_form import LONGEST, Form, Turn, question_at_end, read_turn
from router.classifier.features.topic import stays_with
from router.core.types import Message, Prompt

__all__ = ["TaskInHand", "classifier_text", "task_in_hand"]

_MOST_TURNS = 40
"""Messages of the user that are looked at, from the last one back."""
_MOST_TASKS = 3
"""Tasks among which a message may choose that returns to one."""
_CHANGE_SHARE, _CHANGE_LEAST = 0.5, 40
"""A change is read that is longer than this share of the task, and than this number of characters: a few words
at the end of a text, such as «in German, please», count for more with the classifiers than they ask for."""
_MOST_CHANGES = 3
"""Changes that are read, the latest ones."""
_CHANGE_SIGNS = 600
"""Characters read from each end of a change."""
_TOPIC_TURNS, _TOPIC_MESSAGES = 3, 3
"""Messages of the user before one that may have its topic, and messages at each end of these that are read."""
_WORD_SIGNS = 4
"""Characters of the shortest word by which a chat returns to a task."""


@dataclass(frozen=True, slots=True)
class TaskInHand:
    """What the last message of the user is about.

    Attributes:
        form: what that message does.
        text: what the classifier reads.
    """

    form: Form
    text: str


def task_in_hand(prompt: Prompt) -> TaskInHand:
    """The task of the last message of the user, whatever follows it.

    Where the user says nothing, all messages are read but those of the system; where only the system speaks,
    its messages.
    """
    messages = prompt.messages
    users = [place for place, one in enumerate(messages) if one.role == "user"]
    if not users:
        said = [one.text for one in messages if one.role != "system"]
        return TaskInHand(Form.REQUEST, "\n\n".join(said or [one.text for one in messages]))
    turn = _turn(messages, users, users[-1])
    if turn.form.refers_back:
        return TaskInHand(turn.form, _continued(messages, users, turn))
    return TaskInHand(turn.form, turn.text)


def classifier_text(prompt: Prompt) -> str:
    """The text of a prompt that the classifier reads: its task in hand."""
    return task_in_hand(prompt).text


def _question_before(messages: Sequence[Message], place: int) -> str:
    """The question of the assistant that a message answers; empty where there is none."""
    before = messages[place - 1] if place else None
    return question_at_end(before.text) if before and before.role == "assistant" else ""


def _turn(messages: Sequence[Message], users: Sequence[int], place: int) -> Turn:
    said, first = messages[place].text, place == users[0]
    turn = read_turn(said, _question_before(messages, place), first=first)
    if turn.form is Form.REQUEST and not first and not turn.alone:
        since = users[max(bisect_left(users, place) - _TOPIC_TURNS, 0)]
        before = [one.text for one in messages[since:place] if one.role in ("user", "assistant")]
        if stays_with(turn.text, before[:_TOPIC_MESSAGES] + before[_TOPIC_MESSAGES:][-_TOPIC_MESSAGES:]):
            return Turn(Form.CHANGES, turn.text)
    return turn


def _continued(messages: Sequence[Message], users: Sequence[int], turn: Turn) -> str:
    """The task that a message continues, with what was changed of it since."""
    returns = turn.form is Form.RETURNS
    changes = [] if turn.form is Form.REPEATS else [turn.text]
    tasks: list[str] = []
    for place in users[-2 : -_MOST_TURNS - 2 : -1]:
        earlier = _turn(messages, users, place)
        if earlier.form is Form.REQUEST:
            tasks.append(earlier.text)
            if not returns or len(tasks) == _MOST_TASKS:
                break
        elif earlier.form in (Form.CHANGES, Form.RETURNS) and not returns:
            changes.append(earlier.text)
            returns = earlier.form is Form.RETURNS
    if not tasks and changes[turn.form is not Form.REPEATS :]:
        # The first message to say something has no other to refer to.
        tasks.append(changes.pop())
    if tasks:
        task = _returned_to(tasks, turn.text) if returns else tasks[0]
        least = min(max(_CHANGE_SHARE * len(task), _CHANGE_LEAST), LONGEST)
        kept = [one for one in changes if len(one) > least][:_MOST_CHANGES]
        return "\n\n".join([task, *(head_and_tail(one, _CHANGE_SIGNS) for one in reversed(kept))])
    # It is the first to ask for something: it answers the assistant, or refers to what is not there.
    question = _question_before(messages, users[-1])
    said = messages[users[-1]].text
    return f"{question}\n\n{said}" if question else said


def _returned_to(tasks: Sequence[str], said: str) -> str:
    """The task with most words of the message that returns to it, else the longest one."""
    words = {word for word in said.lower().split() if len(word) >= _WORD_SIGNS}
    return max(tasks, key=lambda task: (len(words & set(task.lower().split())), len(task)))
