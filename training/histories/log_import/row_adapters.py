"""What adapters make of the rows of a log: attempts, excluded rows and bad rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.classifier.task_in_hand import classifier_text
from router.core.types import Message, Prompt
from training.histories.history import BadRow

__all__ = [
    "AdaptedRow",
    "ExcludedRow",
    "LogAdapter",
    "LoggedAttempt",
    "Options",
    "content_text",
    "file_name",
    "first_given",
    "known",
    "messages_text",
    "moment_text",
]


@dataclass(frozen=True, slots=True)
class LoggedAttempt:
    """One attempt as the log has it.

    Attributes:
        row: number of the row in its file, the first is 1.
        values: by columns of the history contract (:class:`history.Attempt`); not yet
            checked.
        answer: the answer, or an id of the call: identifies repeats, and is never written.
        names: column of the contract → what the log calls it, for messages.
    """

    row: int
    values: Mapping[str, Any]
    answer: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExcludedRow:
    """A sound row that is not an attempt to train on.

    Attributes:
        row: number of the row in its file, the first is 1.
        reason: why it is excluded.
        remedy: what the user can do so that later rows are included; empty where nothing helps.
    """

    row: int
    reason: str
    remedy: str = ""


AdaptedRow = LoggedAttempt | ExcludedRow | BadRow
"""What an adapter makes of a row; a bad one has its number, the column and the reason, never its content."""


@dataclass(frozen=True)
class Options:
    """Options of an import.

    Attributes:
        model: the model of attempts whose log names none; ``None``: such rows are bad.
    """

    model: str | None = None


LogAdapter = Callable[[Sequence[str], Options], Iterator[tuple[str, AdaptedRow]]]
"""The adapter of a kind of log: from addresses or files to their adapted rows, each with its source."""


def known(value: object) -> Any:
    """The value; ``None`` for an empty text, a NaN and a missing value."""
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value


def first_given(row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these names that is given; a text that holds JSON is parsed.

    A column of a database table arrives as an object in JSON, and as text in CSV and Parquet.
    """
    for name in names:
        value = row.get(name)
        if isinstance(value, str) and value[:1] in ("{", "["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                continue
        if value not in (None, "", {}, []):
            return value
    return None


def content_text(content: object) -> str:
    """The text of a message's content: a text, or a list of parts, of which only texts are used."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [piece.get("text") if isinstance(piece, dict) else piece for piece in content]
    return "\n\n".join(text for text in texts if isinstance(text, str))


def messages_text(messages: object) -> str:
    """The prompt of chat messages as serving's classifier reads it: the task in hand.

    Empty where there is no text. Instructions by the role ``developer`` are system messages.
    """
    if isinstance(messages, str):
        return messages
    if not isinstance(messages, list):
        return ""
    turns = [
        Message(
            "system" if turn.get("role") == "developer" else str(turn.get("role", "user")), text
        )
        for turn in messages
        if isinstance(turn, dict) and (text := content_text(turn.get("content"))).strip()
    ]
    return classifier_text(Prompt(tuple(turns))) if turns else ""


def moment_text(value: object) -> str | None:
    """A time as the contract requires it: ISO 8601 with a zone (UTC where none is given), or unchanged."""
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str) and value:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return value
    else:
        return None if value in (None, "") else str(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


def file_name(source: str) -> str:
    """The name of a source in messages and reports, without an address, which may hold a password."""
    return source.partition(":")[0] if "://" in source else Path(source).name
