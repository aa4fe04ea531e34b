"""A run of judgement: what is judged how often, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from training.calls.paid_calls import PaidCalls
from training.calls.run import Task
from training.judgement.agreement import Agreement, agreement_of
from training.judgement.grading import Graded, Grading, Subject

__all__ = ["Judgement", "judgement_tasks", "repetitions"]


@dataclass
class Judgement:
    """What came of the subjects.

    Attributes:
        graded: place of a row → repetition → what was given; repetition 0 counts.
    """

    graded: dict[int, dict[int, Graded]] = field(default_factory=dict)

    @property
    def first(self) -> dict[int, Graded]:
        """Place of a row → the grade that counts."""
        return {place: given[0] for place, given in self.graded.items() if 0 in given}

    def agreement(self, step: float, seed: int) -> Agreement | None:
        """How far the repetitions agree; ``None`` where nothing was repeated.

        Args:
            step: one step of the scale.
            seed: of the resamples.
        """
        values = [
            [one.value for _, one in sorted(given.items()) if one.value is not None]
            for _, given in sorted(self.graded.items())
        ]
        return agreement_of(values, step=step, seed=seed)


def repetitions(
    subjects: Sequence[Subject], again: Sequence[Subject], repeat: int
) -> list[tuple[Subject, int]]:
    """Every subject once, then the sample again, so that a run that ends early has more grades.

    Args:
        subjects: all.
        again: those that are judged more than once.
        repeat: how often, 1 or more.
    """
    return [(one, 0) for one in subjects] + [(one, n) for n in range(1, repeat) for one in again]


def judgement_tasks(
    work: Iterable[tuple[Subject, int]], grading: Grading, into: Judgement, paid: PaidCalls
) -> Iterator[Task]:
    """The tasks of a run.

    Args:
        work: subjects with their repetition.
        grading: grades them.
        into: gets what is given.
        paid: asks the judge.
    """

    def task(subject: Subject, repetition: int) -> Task:
        async def judge() -> None:
            found = await grading.grade(paid, subject, repetition)
            into.graded.setdefault(subject.place, {})[repetition] = found

        return judge

    return (task(*one) for one in work)
