"""What a line of a journal must hold, so that a file altered by hand is refused where it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["VERSION", "Damage", "OtherVersion", "read_line"]

VERSION = 1
"""Of the journals that this release reads and writes."""

_MOST = 2**63 - 1
"""Of every count and amount: what a history can hold."""


class Damage(Exception):
    """A line is none that a run writes. The message names the field."""


class OtherVersion(Exception):
    """A journal is of another release."""


def _text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _filled(value: object) -> bool:
    return _text(value) and value != ""


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST


def _number(value: object) -> bool:
    return _count(value) and value != 0


def _seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= _MOST


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _named_texts(value: object) -> bool:
    return isinstance(value, dict) and all(_text(one) for pair in value.items() for one in pair)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


_Check = Callable[[object], bool]

_OUTCOME: Mapping[str, _Check] = {
    "key": _filled,
    "about": _named_texts,
    "input_tokens": _count,
    "output_tokens": _count,
    "booked": _count,
    "timestamp": _text,
    "tries": _number,
}
_FIELDS: Mapping[str, Mapping[str, _Check]] = {
    "run": {
        "id": _text,
        "version": _count,
        "purpose": lambda value: (
            isinstance(value, dict) and all(_text(one) or _count(one) for one in value.values())
        ),
    },
    "sent": {"key": _filled, "held": _count},
    "lost": {"key": _filled, "booked": _count},
    "again": {"key": _filled, "tries": _number},
    "answered": {
        **_OUTCOME,
        "text": _filled,
        "finish": _text,
        "reasoning_tokens": lambda value: value is None or _count(value),
        "cost": _count,
        "doubts": _texts,
        "latency_s": _seconds,
    },
    "failed": {**_OUTCOME, "kind": _text, "detail": _text, "final": _flag, "passing": _flag},
}


def read_line(content: bytes, about: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """The event of a line, and its fields.

    Args:
        content: the line.
        about: texts that every outcome must have in its field ``about``.

    Raises:
        Damage: it is no line that a run writes.
        OtherVersion: it begins the journal of another release.
    """
    try:
        line = json.loads(content)
    except (ValueError, RecursionError):
        raise Damage("no JSON") from None
    if not isinstance(line, dict):
        raise Damage("no JSON object")
    event = line.pop("event", None)
    fields = _FIELDS.get(event) if isinstance(event, str) else None
    if fields is None:
        raise Damage("event")
    if event == "run" and _count(line.get("version")) and line["version"] != VERSION:
        raise OtherVersion
    for name in {**fields, **line}:
        if name not in fields or name not in line or not fields[name](line[name]):
            raise Damage(name if name in fields else "a field that no run writes")
    if "about" in fields and not set(about) <= set(line["about"]):
        raise Damage("about")
    if event == "answered" and line["cost"] > line["booked"]:
        raise Damage("cost is above booked")
    return event, line
