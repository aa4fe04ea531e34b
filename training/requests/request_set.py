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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

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


def _annotation(values: Mapping[str, Any]) -> Annotation:
    level, answer = int(values["level"]), ANSWERS.index(values["answer"])
    knowledge, reasoning, constraints = reasons = [int(values[name]) for name in _REASONS]
    if not 0 <= level < len(LEVELS) or any(not 0 <= one <= _MOST for one in reasons):
        raise ValueError("out of range")
    return Annotation(level, knowledge, reasoning, constraints, answer)


def _damaged(path: Path, line: int) -> BadArtifact:
    return BadArtifact(
        f"{path}, line {line}, cannot be read as the annotated requests; restore it from the release",
        field=str(path),
    )


@lru_cache(maxsize=4)
def read_requests(path: Path = REQUESTS) -> tuple[Request, ...]:
    """The annotated requests.

    Args:
        path: JSON lines with ``prompt``, ``language``, ``kind`` and ``annotations``.

    Raises:
        BadArtifact: the file or a line of it cannot be read.
    """
    found: list[Request] = []
    try:
        with path.open(encoding="utf-8") as file:
            for text in file:
                row = json.loads(text)
                annotations = tuple(map(_annotation, row["annotations"]))
                if not annotations or not row["prompt"]:
                    raise ValueError("empty")
                found.append(Request(row["prompt"], row["language"], row["kind"], annotations))
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(path, len(found) + 1) from None
    return tuple(found)


@lru_cache(maxsize=4)
def history_annotations(path: Path = HISTORY_PROMPTS) -> Mapping[str, Annotation]:
    """Annotations of prompts of histories by :func:`prompt_key`.

    Args:
        path: CSV with the column ``key`` and those of an :class:`Annotation`.

    Raises:
        BadArtifact: the file or a line of it cannot be read.
    """
    found: dict[str, Annotation] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found[row["key"]] = _annotation(row)
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(path, len(found) + 2) from None
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
