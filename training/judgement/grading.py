"""Grading of attempts by a model: one at a time, or in pairs in both orders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from router.core.types import Message
from training.calls.journal import Answered, Failed
from training.calls.paid_calls import Call
from training.judgement.grades import OffRubric, grade_of, preference_of, quality_of, reminder
from training.judgement.rubric import Rubric, shown

__all__ = ["Graded", "Grading", "PairGrading", "RubricGrading", "Subject", "conversation"]

_QUOTED = 2_000
"""Characters of a reply off the rubric that are sent back with the reminder."""
_TIE = 0.5


class Asker(Protocol):
    """Asks paid calls, as :meth:`training.calls.paid_calls.PaidCalls.ask` does."""

    async def ask(self, call: Call) -> Answered | Failed:
        """The outcome of a call."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """An attempt to be graded.

    Attributes:
        place: of its row among the rows of the history.
        prompt: what was asked, a chat as text.
        answer: of the model.
        reference: found right; empty where there is none.
        baseline: another answer to compare with; empty where none is needed.
    """

    place: int
    prompt: str
    answer: str
    reference: str = ""
    baseline: str = ""


@dataclass(frozen=True, slots=True)
class Graded:
    """What became of a subject.

    Attributes:
        quality: 0..1; ``None``: none was given.
        value: as the judge says it: a grade from 1 to 10, or 1, .5, 0 of a comparison; ``None`` likewise.
        reason: why there is none.
        swapped: of a comparison, whether the two orders disagreed.
        off_rubric: the judge replied, and even when reminded gave nothing of the rubric.
    """

    quality: float | None
    value: float | None = None
    reason: str = ""
    swapped: bool = False
    off_rubric: bool = False


class Grading(Protocol):
    """A way to grade."""

    @property
    def judge(self) -> str:
        """Who grades: the model and the version of the rubric, for the column ``judge``."""
        ...

    @property
    def step(self) -> float:
        """One step of its scale."""
        ...

    def calls(self, subject: Subject, repeat: int) -> list[Call]:
        """The calls without reminders. ``repeat``: 0 for the grade that counts, then 1, 2 …"""
        ...

    def read(self, reply: str) -> float | OffRubric:
        """The verdict of a reply."""
        ...

    def reminder(self, call: Call, reply: str, off: OffRubric) -> Call:
        """What the judge is asked after a reply that is off the rubric.

        Args:
            call: that brought the reply.
            reply: the text.
            off: what is wrong with it.
        """
        ...

    async def grade(self, asker: Asker, subject: Subject, repeat: int) -> Graded:
        """Grade a subject.

        Args:
            asker: asks the judge.
            subject: the attempt.
            repeat: 0 for the grade that counts, then 1, 2 …

        Raises:
            NotAsked: the run stops.
        """
        ...


@dataclass(frozen=True)
class _Judge:
    """A model with a rubric.

    Attributes:
        model: of the endpoint.
        rubric: that it gets.
        max_output_tokens: limit of a reply.
    """

    model: str
    rubric: Rubric
    max_output_tokens: int

    def call(self, material: Mapping[str, str], repeat: int, order: str = "") -> Call:
        content = json.dumps([self.model, self.rubric.version, [*material.items()], repeat, order])
        key = hashlib.blake2b(content.encode(), digest_size=12).hexdigest()
        return Call(
            key,
            self.model,
            shown(self.rubric, material),
            self.max_output_tokens,
            {"model": self.model},
        )

    def reminder(self, call: Call, reply: str, off: OffRubric) -> Call:
        return Call(
            f"{call.key}-reminder",
            call.model,
            [
                *call.messages,
                Message("assistant", reply[-_QUOTED:]),
                Message("user", reminder(self.rubric.task, off)),
            ],
            call.max_output_tokens,
            call.about,
        )


async def _verdict(grading: Grading, asker: Asker, call: Call) -> float | Graded:
    """The verdict of a call, or why there is none; off the rubric, it is asked once more with a reminder."""
    found = await asker.ask(call)
    if isinstance(found, Failed):
        return _failed(found)
    verdict = grading.read(found.text)
    if not isinstance(verdict, OffRubric):
        return verdict
    found = await asker.ask(grading.reminder(call, found.text, verdict))
    if isinstance(found, Failed):
        return _failed(found)
    verdict = grading.read(found.text)
    if isinstance(verdict, OffRubric):
        reason = f"the judge {verdict.reason}, even when reminded"
        return Graded(None, reason=reason, off_rubric=True)
    return verdict


def _failed(failed: Failed) -> Graded:
    kind = failed.kind.replace("_", " ")
    return Graded(None, reason=f"the call of the judge failed: {kind}, {failed.detail}")


def _material(subject: Subject, answers: Mapping[str, str]) -> dict[str, str]:
    reference = {"reference": subject.reference} if subject.reference else {}
    return {"prompt": subject.prompt, **reference, **answers}


@dataclass(frozen=True)
class RubricGrading:
    """Grades from 1 to 10 by a rubric."""

    by: _Judge
    step: float = 1.0

    @classmethod
    def of(cls, model: str, rubric: Rubric, max_output_tokens: int) -> RubricGrading:
        """By a model with a rubric.

        Args:
            model: judges.
            rubric: that it gets.
            max_output_tokens: limit of a reply.
        """
        return cls(_Judge(model, rubric, max_output_tokens))

    @property
    def judge(self) -> str:
        """``MODEL/RUBRIC@HASH``."""
        return f"{self.by.model}/{self.by.rubric.version}"

    def calls(self, subject: Subject, repeat: int) -> list[Call]:
        """One."""
        return [self.by.call(_material(subject, {"answer": subject.answer}), repeat)]

    def read(self, reply: str) -> float | OffRubric:
        """The grade of a reply."""
        return grade_of(reply)

    def reminder(self, call: Call, reply: str, off: OffRubric) -> Call:
        """See :meth:`Grading.reminder`."""
        return self.by.reminder(call, reply, off)

    async def grade(self, asker: Asker, subject: Subject, repeat: int) -> Graded:
        """The quality of the grade. See :meth:`Grading.grade`."""
        (call,) = self.calls(subject, repeat)
        found = await _verdict(self, asker, call)
        if isinstance(found, Graded):
            return found
        return Graded(quality_of(int(found)), found)


@dataclass(frozen=True)
class PairGrading:
    """Comparisons with the answer of a baseline, in both orders; where they disagree, it is a tie."""

    by: _Judge
    baseline: str
    step: float = _TIE

    @classmethod
    def of(
        cls, model: str, rubric: Rubric, max_output_tokens: int, *, baseline: str
    ) -> PairGrading:
        """By a model with a rubric for pairs.

        Args:
            model: judges.
            rubric: for pairs.
            max_output_tokens: limit of a reply.
            baseline: name of the model to compare with.
        """
        return cls(_Judge(model, rubric, max_output_tokens), baseline)

    @property
    def judge(self) -> str:
        """``MODEL/RUBRIC@HASH/BASELINE``."""
        return f"{self.by.model}/{self.by.rubric.version}/{self.baseline}"

    def calls(self, subject: Subject, repeat: int) -> list[Call]:
        """Two: the answer first, then second."""
        answers: Sequence[tuple[str, str]] = (
            (subject.answer, subject.baseline),
            (subject.baseline, subject.answer),
        )
        return [
            self.by.call(
                _material(subject, {"first answer": one, "second answer": other}), repeat, order
            )
            for order, (one, other) in zip(("first", "second"), answers, strict=True)
        ]

    def read(self, reply: str) -> float | OffRubric:
        """The preference of a reply."""
        return preference_of(reply)

    def reminder(self, call: Call, reply: str, off: OffRubric) -> Call:
        """See :meth:`Grading.reminder`."""
        return self.by.reminder(call, reply, off)

    async def grade(self, asker: Asker, subject: Subject, repeat: int) -> Graded:
        """1 where both orders prefer the answer, 0 where both prefer the baseline, .5 otherwise.

        See :meth:`Grading.grade`.
        """
        found: list[float] = []
        for place, call in enumerate(self.calls(subject, repeat)):
            one = await _verdict(self, asker, call)
            if isinstance(one, Graded):
                return one
            found.append(1 - one if place else one)
        agree = found[0] == found[1]
        value = found[0] if agree else _TIE
        return Graded(value, value, swapped=not agree)


def conversation(row: Mapping[str, Any]) -> str:
    """What was asked, for a judge: the whole chat with its roles where the history has it."""
    chat = row.get("messages")
    try:
        turns = json.loads(chat) if isinstance(chat, str) else chat or ()
        said = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
    except (ValueError, TypeError, KeyError, RecursionError):
        said = ""
    return said or str(row["prompt"])
