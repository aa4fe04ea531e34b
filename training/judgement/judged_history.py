"""Which attempts of a history are graded, and the history with what came of it. Both pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from router.core.errors import InvalidInput
from training.judgement.grading import Graded, Subject, conversation

__all__ = ["Selection", "judged_rows", "select_repeated", "select_subjects"]

NO_ANSWER = "there is no answer in the row"
_BASELINE_QUALITY = 0.5


@dataclass
class Selection:
    """What is graded, and what is not.

    Attributes:
        subjects: to be graded, in the order in which they are.
        kept: attempts that have a quality already.
        left: place of a row → why it cannot be graded.
        baseline: places of the baseline's own attempts, which are as good as themselves.
        outside: attempts that the sample leaves out.
    """

    subjects: list[Subject] = field(default_factory=list)
    kept: int = 0
    left: dict[int, str] = field(default_factory=dict)
    baseline: list[int] = field(default_factory=list)
    outside: int = 0


def _place(seed: int, identity: str) -> bytes:
    key = seed.to_bytes(8, "little", signed=True)
    return hashlib.blake2b(identity.encode("utf-8", "replace"), digest_size=8, key=key).digest()


def _sendable(text: object) -> str:
    """A text with a question mark for each half of a surrogate pair, which cannot be sent."""
    return str(text or "").encode("utf-8", "replace").decode()


def _answer(row: Mapping[str, Any]) -> str:
    found = row.get("answer")
    return _sendable(found) if isinstance(found, str) and found.strip() else ""


def _answers_of(rows: Sequence[Mapping[str, Any]], model: str) -> dict[str, str]:
    """The first answer of a model to each prompt, by ``prompt_id``.

    Raises:
        InvalidInput: it has none.
    """
    found: dict[str, str] = {}
    for row in rows:
        if row["model"] == model and _answer(row):
            found.setdefault(row["prompt_id"], _answer(row))
    if not found:
        there = ", ".join(sorted({row["model"] for row in rows})[:15])
        raise InvalidInput(
            f"--pairs: the history has no answers of {model!r}; there: {there}", field="pairs"
        )
    return found


def select_subjects(
    rows: Sequence[Mapping[str, Any]],
    *,
    baseline: str | None,
    regrade: bool,
    sample: int | None,
    seed: int,
) -> Selection:
    """Choose the attempts to grade: all answers to a prompt before the next one, prompts in random order.

    Args:
        rows: of a history, with ``prompt_id``.
        baseline: model to compare with; ``None``: no comparison.
        regrade: grade attempts that have a quality, too.
        sample: so many prompts; ``None``: all.
        seed: of the order; a larger sample begins with the smaller one.

    Raises:
        InvalidInput: the history has no answers, none of the baseline, or nothing that is to be graded.
    """
    if not any(map(_answer, rows)):
        raise InvalidInput(
            "the history has no column 'answer' with texts, so there is nothing to grade; "
            "`python -m training collect` writes one",
            reason="ANSWERS_MISSING",
            field="history",
        )
    others = {} if baseline is None else _answers_of(rows, baseline)
    found = Selection()
    ready: list[tuple[bytes, int]] = []
    for place, row in enumerate(rows):
        if row.get("quality") is not None and not regrade:
            found.kept += 1
        elif baseline is not None and row["model"] == baseline:
            found.baseline.append(place)
        elif not _answer(row):
            found.left[place] = NO_ANSWER
        elif baseline is not None and row["prompt_id"] not in others:
            found.left[place] = f"there is no answer of {baseline} to compare with"
        else:
            ready.append((_place(seed, row["prompt_id"]), place))
    if not ready:
        raise InvalidInput(
            f"there is nothing to grade: {found.kept:,} attempts have a quality (--regrade), "
            f"{len(found.left):,} have no answer or none to compare with",
            reason="NOTHING_TO_GRADE",
            field="history",
        )
    ready.sort()
    prompts = list(dict.fromkeys(key for key, _ in ready))[:sample]
    inside = set(prompts)
    found.outside = sum(key not in inside for key, _ in ready)
    for key, place in ready:
        if key in inside:
            row = rows[place]
            found.subjects.append(
                Subject(
                    place,
                    _sendable(conversation(row)),
                    _answer(row),
                    _sendable(row.get("reference")),
                    others.get(row["prompt_id"], ""),
                )
            )
    return found


def select_repeated(subjects: Sequence[Subject], count: int, seed: int) -> list[Subject]:
    """A random sample of subjects to be judged again.

    Args:
        subjects: that are graded.
        count: the size of the sample.
        seed: of the draw.
    """
    return sorted(subjects, key=lambda one: _place(seed, f"{one.prompt}\0{one.answer}"))[:count]


def judged_rows(
    rows: Sequence[Mapping[str, Any]],
    selection: Selection,
    graded: Mapping[int, Graded],
    judge: str,
    *,
    grades: bool,
) -> list[dict[str, Any]]:
    """The history with the new qualities and who gave them; nothing else changes.

    Args:
        rows: of the history.
        selection: of them.
        graded: by place.
        judge: for the column of that name.
        grades: whether the values are grades, which are written as well.
    """
    made = [dict(row) for row in rows]
    for place in selection.baseline:
        made[place] |= {"quality": _BASELINE_QUALITY, "judge": judge}
    for place, one in graded.items():
        named = None if one.quality is None else judge
        made[place] |= {"quality": one.quality, "judge": named}
        if grades:
            made[place]["grade"] = one.value
    return made
