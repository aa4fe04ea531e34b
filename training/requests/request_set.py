"""The annotated requests that ship with the project, and annotations of prompts that histories hold.

``requests.jsonl`` holds our own requests, each annotated twice on ``rubric.md``: by whoever wrote it, and
by another annotator who saw the text alone. Writers and annotators were language models of one family, so
their agreement says less than that of two people would. ``history_prompts.csv`` annotates prompts of
histories once, by the hash of their text, so that what the rubric calls a level can be compared with what
models really did; the texts are not here. An annotation is not an outcome: fitting takes it as a prior.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from router.core.errors import BadArtifact

__all__ = [
    "ANSWERS",
    "HISTORY_PROMPTS",
    "LEVELS",
    "REQUESTS",
    "Annotation",
    "Request",
    "agreement",
    "history_annotations",
    "prompt_key",
    "read_requests",
]

_HERE = Path(__file__).parent
REQUESTS = _HERE / "requests.jsonl"
HISTORY_PROMPTS = _HERE / "history_prompts.csv"

LEVELS = ("trivial", "routine", "demanding", "expert")
"""Names of the levels 0 to 3."""
ANSWERS = ("word", "sentence", "paragraph", "page", "pages", "document")
"""Lengths of answers, ascending; ``rubric.md`` gives each in tokens."""
_REASONS = ("knowledge", "reasoning", "constraints")
_MOST = 2
_COLUMNS = ("key", "level", *_REASONS, "answer")
_KEY = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one annotator says of one request.

    Attributes:
        level: place in :data:`LEVELS`.
        knowledge: how much the request needs of it, 0 (not at all) to 2 (mainly).
        reasoning: likewise.
        constraints: likewise.
        answer: place in :data:`ANSWERS`.
    """

    level: int
    knowledge: int
    reasoning: int
    constraints: int
    answer: int


@dataclass(frozen=True, slots=True)
class Request:
    """One annotated request.

    Attributes:
        prompt: its text.
        language: ISO 639-1, ``zh-Hant`` for traditional Chinese.
        kind: of work, such as ``email_drafting``.
        annotations: independent ones, at least one.
    """

    prompt: str
    language: str
    kind: str
    annotations: tuple[Annotation, ...]

    @property
    def level(self) -> float:
        """The mean level, 0..3."""
        return sum(one.level for one in self.annotations) / len(self.annotations)

    @property
    def answer(self) -> float:
        """The mean place in :data:`ANSWERS`."""
        return sum(one.answer for one in self.annotations) / len(self.annotations)


def prompt_key(text: str) -> str:
    """What stands for a prompt whose text must not be kept: 16 digits of the SHA-256 of the text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class _Wrong(Exception):
    """A line is damaged: (field, what it must be). Never holds the text of the line."""


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    if not isinstance(found, str) or not found.strip():
        raise _Wrong(name, "must be a text that is not blank")
    return found


def _count(values: Mapping[str, Any], name: str, most: int) -> int:
    found = values.get(name)
    # In CSV a number is a text.
    if isinstance(found, str) and len(found) == 1 and found.isascii() and found.isdigit():
        found = int(found)
    if type(found) is not int or not 0 <= found <= most:
        raise _Wrong(name, f"must be a whole number from 0 to {most}")
    return found


def _annotation(values: object, *, texts: bool = False) -> Annotation:
    """An annotation from a JSON object, or from a row of CSV, whose values are all texts."""
    if not isinstance(values, dict):
        raise _Wrong("annotations", "must be a list of objects")
    if not texts and any(isinstance(values.get(name), str) for name in ("level", *_REASONS)):
        raise _Wrong("annotations", f"must have numbers for level, {', '.join(_REASONS)}")
    level = _count(values, "level", len(LEVELS) - 1)
    knowledge, reasoning, constraints = (_count(values, name, _MOST) for name in _REASONS)
    answer = values.get("answer")
    if not isinstance(answer, str) or answer not in ANSWERS:
        raise _Wrong("answer", f"must be one of {', '.join(ANSWERS)}")
    return Annotation(level, knowledge, reasoning, constraints, ANSWERS.index(answer))


def _request(row: object) -> Request:
    if not isinstance(row, dict):
        raise _Wrong("line", "must be a JSON object")
    annotations = row.get("annotations")
    if not isinstance(annotations, list) or not annotations:
        raise _Wrong("annotations", "must be a list of at least one annotation")
    return Request(
        _text(row, "prompt"),
        _text(row, "language"),
        _text(row, "kind"),
        tuple(map(_annotation, annotations)),
    )


def _keyed(row: Mapping[str | None, Any], known: Collection[str]) -> tuple[str, Annotation]:
    if None in row:
        raise _Wrong("line", f"must have the {len(_COLUMNS)} columns {', '.join(_COLUMNS)}")
    key = row["key"]
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _Wrong("key", "must be 16 hexadecimal digits")
    if key in known:
        raise _Wrong("key", "stands on an earlier line, too")
    return key, _annotation(dict(row), texts=True)


def _damaged(path: Path, line: int, field: str, why: str) -> BadArtifact:
    return BadArtifact(
        f"{path}, line {line}, {field}: {why}; restore the file from the release", field=str(path)
    )


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        why = "is not UTF-8 text"
    else:
        return
    raise BadArtifact(f"{path} {why}; restore it from the release", field=str(path))


def _not_empty(path: Path, found: Sized) -> None:
    if not len(found):
        raise BadArtifact(f"{path} has no line; restore it from the release", field=str(path))


@lru_cache(maxsize=4)
def read_requests(path: Path = REQUESTS) -> tuple[Request, ...]:
    """The annotated requests.

    Args:
        path: JSON lines with ``prompt``, ``language``, ``kind`` and ``annotations``; no prompt twice.

    Raises:
        BadArtifact: the file cannot be read or has no request, or a line of it is damaged; names the line and
            its field.
    """
    found: dict[str, Request] = {}
    with _opened(path) as file:
        for number, text in enumerate(file, start=1):
            try:
                request = _request(json.loads(text))
                if request.prompt in found:
                    raise _Wrong("prompt", "stands on an earlier line, too")
            except (ValueError, RecursionError):
                raise _damaged(path, number, "line", "must be a JSON object") from None
            except _Wrong as wrong:
                raise _damaged(path, number, *wrong.args) from None
            found[request.prompt] = request
    _not_empty(path, found)
    return tuple(found.values())


@lru_cache(maxsize=4)
def history_annotations(path: Path = HISTORY_PROMPTS) -> Mapping[str, Annotation]:
    """Annotations of prompts of histories by :func:`prompt_key`.

    Args:
        path: CSV with the column ``key`` and those of an :class:`Annotation`.

    Raises:
        BadArtifact: the file cannot be read or has no annotation, or a line of it is damaged; names the line
            and its field.
    """
    found: dict[str, Annotation] = {}
    with _opened(path) as file:
        rows = csv.DictReader(file)
        try:
            lacking = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if lacking and rows.fieldnames:
                raise _Wrong(lacking[0], "is no column of the header")
            for row in rows:
                key, annotation = _keyed(row, found)
                found[key] = annotation
        except csv.Error:
            raise _damaged(path, rows.line_num, "line", "is not CSV") from None
        except _Wrong as wrong:
            raise _damaged(path, rows.line_num, *wrong.args) from None
    _not_empty(path, found)
    return found


def agreement(first: Sequence[int], second: Sequence[int], values: int) -> float:
    """Agreement of two annotators beyond chance: kappa with quadratic weights (Cohen 1968), at most 1.

    Args:
        first: ``n`` values, 0 … values − 1, of one annotator.
        second: of the other, for the same requests.
        values: how many values there are, ≥ 2.
    """
    counts = np.zeros((values, values))
    np.add.at(counts, (np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)), 1)
    places = np.arange(values)
    apart = (places[:, None] - places) ** 2
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(1 - (apart * counts).sum() / (apart * by_chance).sum())
