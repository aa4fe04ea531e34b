"""What the journal of a judgement has already: replies that count, and those that are off the rubric."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from training.calls.journal import Answered, Failed
from training.calls.paid_calls import Call
from training.judgement.grades import OffRubric
from training.judgement.grading import Grading, Subject

__all__ = ["off_the_rubric", "unpaid_calls"]

Known = Callable[[str], Answered | Failed | None]
"""The outcome of a call by its key, ``None`` where it is to be sent."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """How far a question to the judge has come.

    Attributes:
        unpaid: the call that is to be sent; ``None``: there is none.
        off: keys of the reply and of the one to the reminder, where both are off the rubric.
        given_up: no verdict will come of it.
    """

    unpaid: Call | None = None
    off: tuple[str, ...] = ()
    given_up: bool = False


def _standing(grading: Grading, call: Call, known: Known) -> _Standing:
    asked, off = call, list[str]()
    while True:
        found = known(asked.key)
        if found is None:
            return _Standing(unpaid=asked)
        if isinstance(found, Failed):
            return _Standing(given_up=True)
        verdict = grading.read(found.text)
        if not isinstance(verdict, OffRubric):
            return _Standing()
        off.append(asked.key)
        if asked is not call:
            return _Standing(off=tuple(off), given_up=True)
        asked = grading.reminder(call, found.text, verdict)


def unpaid_calls(work: Iterable[tuple[Subject, int]], grading: Grading, known: Known) -> list[Call]:
    """The calls that a run will send if every reply is on the rubric, each once.

    Args:
        work: subjects with their repetition.
        grading: makes the calls.
        known: what is paid for.
    """
    wanted: dict[str, Call] = {}
    for one in work:
        for call in grading.calls(*one):
            standing = _standing(grading, call, known)
            if standing.unpaid is not None:
                wanted[standing.unpaid.key] = standing.unpaid
            if standing.given_up:
                break
    return list(wanted.values())


def off_the_rubric(
    work: Iterable[tuple[Subject, int]], grading: Grading, known: Known
) -> list[str]:
    """Keys of the replies of which no verdict came, even when the judge was reminded, each once.

    Args:
        work: subjects with their repetition.
        grading: makes the calls.
        known: what is paid for.
    """
    calls = (call for one in work for call in grading.calls(*one))
    return list(dict.fromkeys(key for call in calls for key in _standing(grading, call, known).off))
