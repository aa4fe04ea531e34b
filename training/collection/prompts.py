"""The prompts of a collection: from a file of texts or chats, a history, or the decision log."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.classifier.task_in_hand import classifier_text
from router.core.errors import InvalidInput
from router.core.types import Message, Prompt
from router.decision_log.reader import Damaged, Unparsed, is_decision_log, read_log
from training.histories.history import BadRow, bad_rows_refusal
from training.histories.log_import.decisions import told_by
from training.histories.log_import.log_rows import rows_of
from training.histories.log_import.row_adapters import content_text, first_given, known

__all__ = ["PromptFile", "SourcePrompt", "read_prompts", "sampled"]

_BESIDE = ("language", "category", "source", "user", "reference")
"""Columns of a prompt that its attempts keep."""
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_LEDGERS = ("sqlite", "postgresql", "postgres")
_NOT_KEPT = "nothing of the prompt was kept; set log_prompts to redacted or text"


@dataclass(frozen=True, slots=True)
class SourcePrompt:
    """One prompt.

    Attributes:
        id: as given, else a hash of the messages.
        messages: the chat to send; a text is one ``user`` message.
        max_output_tokens: the prompt's own limit; ``None``: it has none.
        beside: what else is known: language, category, source, user, reference.
    """

    id: str
    messages: tuple[Message, ...]
    max_output_tokens: int | None = None
    beside: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What the classifier reads of it, which is the ``prompt`` of a history."""
        return classifier_text(Prompt(self.messages))


@dataclass
class PromptFile:
    """What was read.

    Attributes:
        prompts: distinct, in the order of the file.
        repeats: rows with a prompt that was there already.
        left_out: why sound rows have no prompt to send, with how many.
        bad: what is wrong with bad rows.
    """

    prompts: list[SourcePrompt] = field(default_factory=list)
    repeats: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    bad: list[BadRow] = field(default_factory=list)


class _Wrong(Exception):
    """A row is bad: (column, reason)."""


def _chat(raw: object) -> tuple[Message, ...]:
    if not isinstance(raw, list) or not raw:
        raise _Wrong("messages", "is no list of messages")
    made = []
    for turn in raw:
        if not isinstance(turn, dict) or _ROLES.get(str(turn.get("role"))) is None:
            raise _Wrong("messages", "has a turn that is not of system, user or assistant")
        content = turn.get("content")
        parts = content if isinstance(content, list) else [content]
        if any(not isinstance(one, str) and _kind(one) != "text" for one in parts):
            raise _Wrong("messages", "has a turn that is not text, such as an image or a tool call")
        made.append(Message(_ROLES[turn["role"]], content_text(content)))
    if made[-1].role != "user" or not made[-1].text.strip():
        raise _Wrong("messages", "its last turn is not a question of the user's")
    return tuple(made)


def _kind(part: object) -> object:
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        return None
    return part.get("type", "text")


def _messages(row: Mapping[str, Any]) -> tuple[Message, ...]:
    if known(row.get("messages")) is not None:
        return _chat(first_given(row, "messages"))
    prompt = row.get("prompt")
    if isinstance(prompt, list):
        return _chat(prompt)
    if not isinstance(prompt, str) or not prompt.strip():
        raise _Wrong("prompt", "is missing; a row has prompt or messages")
    return (Message("user", prompt),)


def _limit(value: object) -> int | None:
    found = known(value)
    if found is None:
        return None
    try:
        limit = int(str(found).removesuffix(".0"))
    except ValueError:
        limit = 0
    if limit < 1:
        raise _Wrong("max_output_tokens", "is not a whole number, 1 or more")
    return limit


def _identity(messages: Sequence[Message]) -> str:
    content = json.dumps([[one.role, one.text] for one in messages], ensure_ascii=False)
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _prompt(row: Mapping[str, Any]) -> SourcePrompt:
    messages = _messages(row)
    beside = {name: str(row[name]) for name in _BESIDE if known(row.get(name)) is not None}
    named = known(row.get("prompt_id"))
    try:
        "".join([*(one.text for one in messages), *beside.values(), str(named)]).encode()
    except UnicodeEncodeError:
        raise _Wrong("prompt", "holds half of a surrogate pair") from None
    identity = _identity(messages) if named is None else str(named)
    return SourcePrompt(identity, messages, _limit(row.get("max_output_tokens")), beside)


def _rows(source: str, found: PromptFile) -> Iterator[tuple[int, SourcePrompt | _Wrong]]:
    """The prompts with the numbers of their rows; what has none is counted."""
    if is_decision_log(source):
        for number, one in enumerate(read_log(source), start=1):
            if isinstance(one, Damaged):
                yield number, _Wrong(one.column, one.reason)
            elif isinstance(one, Unparsed):
                found.left_out[f"{one.reason}; {one.remedy}"] += 1
            elif one.record.prompt is None:
                found.left_out[_NOT_KEPT] += 1
            else:
                told = told_by(one.labels)
                yield number, _made({"prompt": one.record.prompt, "source": "decisions"} | told)
        return
    for number, row in rows_of(Path(source), texts=True):
        if isinstance(row, BadRow):
            yield number, _Wrong(row.column, row.reason)
        else:
            yield number, _made(row)


def _made(row: Mapping[str, Any]) -> SourcePrompt | _Wrong:
    try:
        return _prompt(row)
    except _Wrong as wrong:
        return wrong


def read_prompts(source: str, *, skip_bad_rows: bool = False) -> PromptFile:
    """Read the distinct prompts of a file or ledger.

    A row is a JSON string, or has ``prompt`` (a text) or ``messages`` (a chat), as ``mitsumori quote`` reads
    them, and perhaps ``prompt_id``, ``reference``, ``language``, ``category``, ``source``, ``user`` and
    ``max_output_tokens``; CSV, Parquet and histories have them as columns. Of the decision log, prompts are
    read that were kept as text, with their labels ``language``, ``category`` and ``user``.

    Args:
        source: a file, or the address of a ledger.
        skip_bad_rows: leave bad rows out, and count them, instead of refusing.

    Raises:
        InvalidInput: it cannot be read, has bad rows, or no prompt to send.
    """
    if source.partition(":")[0] not in _LEDGERS and not Path(source).is_file():
        raise InvalidInput(f"--prompts: there is no file {source}", field="prompts")
    found = PromptFile()
    contents: dict[str, str] = {}
    rows = 0
    for number, one in _rows(source, found):
        rows += 1
        if isinstance(one, _Wrong):
            found.bad.append(BadRow(number, *map(str, one.args)))
            continue
        content = _identity(one.messages)
        before = contents.get(one.id)
        if before is None:
            contents[one.id] = content
            found.prompts.append(one)
        elif before != content:
            reason = "stands for another prompt in an earlier row"
            found.bad.append(BadRow(number, "prompt_id", reason))
        else:
            found.repeats += 1
    _check(source, found, rows, skip_bad_rows)
    return found


def _check(source: str, found: PromptFile, rows: int, skip_bad_rows: bool) -> None:
    if found.bad and not skip_bad_rows:
        raise bad_rows_refusal(_name(source), found.bad, len(found.bad), rows)
    if not found.prompts:
        why = "; ".join(f"{count:,}: {reason}" for reason, count in found.left_out.items())
        raise InvalidInput(
            f"{_name(source)}: has no prompts{f' ({why})' if why else ''}",
            reason="NO_PROMPTS",
            field="prompts",
        )


def _name(source: str) -> str:
    """The source without an address, which may hold a password."""
    return source.partition(":")[0] if "://" in source else source


def sampled(prompts: Sequence[SourcePrompt], count: int | None, seed: int) -> list[SourcePrompt]:
    """A random sample, in random order, so that a run that ends early has a sample too.

    The order depends on the ids and the seed only: a larger sample begins with the smaller one.

    Args:
        prompts: distinct.
        count: the size of the sample; ``None``, or more than there are: all.
        seed: of the order.
    """
    key = seed.to_bytes(8, "little", signed=True)

    def place(prompt: SourcePrompt) -> bytes:
        return hashlib.blake2b(prompt.id.encode(), digest_size=8, key=key).digest()

    return sorted(prompts, key=place)[:count]
