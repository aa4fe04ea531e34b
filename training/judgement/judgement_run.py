"""A run of judgement: what is judged how often, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from training.calls.paid_calls import PaidCalls
from training.calls.run import Task
from training.judgement.agreement import Agreement, agreement_of
from training.judgement.grading import Graded, Grading, Subject

__all__ = ["OFF_THE_RUBRIC", "Judgement", "judgement_tasks", "repetitions"]

_MOST_OFF = 10
"""Judgements in a row without one on the rubric that a run pays for."""
OFF_THE_RUBRIC = f"{_MOST_OFF} judgements in a row are off the rubric"
"""Why a run stops whose judge does not keep to the rubric."""


@dataclass
class Judgement:
    """What came of the subjects.

    Attributes:
        graded: place of a row → repetition → what was given; repetition 0 counts.
        off_in_a_row: how many judgements are off the rubric since the last one on it.
    """

    graded: dict[int, dict[int, Graded]] = field(default_factory=dict)
    off_in_a_row: int = 0

    def add(self, place: int, repetition: int, found: Graded) -> None:
        """Take a judgement in.

        Args:
            place: of a row.
            repetition: 0 for the one that counts, then 1, 2 …
            found: what was given; a failed call says nothing of the judge.
        """
        self.graded.setdefault(place, {})[repetition] = found
        if found.off_rubric:
            self.off_in_a_row += 1
        elif found.value is not None:
            self.off_in_a_row = 0

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
    """The tasks of a run, which stops once :data:`OFF_THE_RUBRIC` holds.

    Args:
        work: subjects with their repetition.
        grading: grades them.
        into: gets what is given.
        paid: asks the judge.
    """

    def task(subject: Subject, repetition: int) -> Task:
        async def judge() -> None:
            into.add(subject.place, repetition, await grading.grade(paid, subject, repetition))
            if into.off_in_a_row >= _MOST_OFF:
                paid.stop(OFF_THE_RUBRIC)

        return judge

    return (task(*one) for one in work)
