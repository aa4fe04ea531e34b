"""What a judge wrote, as a grade or a preference; what is off the rubric is said so, never guessed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = [
    "GRADE_TASK",
    "PAIR_TASK",
    "OffRubric",
    "grade_of",
    "preference_of",
    "quality_of",
    "reminder",
]

LEAST, MOST = 1, 10
_SHOWN = 12
"""Characters of a number that are repeated."""

GRADE_TASK = (
    "Grade the answer by the rubric. Write at most three sentences of reasons. Then write, as the last line "
    "and with nothing after it, GRADE: and a whole number from 1 to 10, such as\nGRADE: 6"
)
PAIR_TASK = (
    "Compare the two answers by the rubric. Write at most three sentences of reasons. Then write, as the "
    "last line and with nothing after it, one of\nBETTER: FIRST\nBETTER: SECOND\nBETTER: TIE"
)

_NUMBER = r"(-?\d+(?:[.,]\d+)?)(?:\s*/\s*10(?!\d))?"
_GRADE = re.compile(rf"[^\w-]*grade[^\w-]*{_NUMBER}\W*", re.IGNORECASE)
_BARE = re.compile(rf"[^\w-]*{_NUMBER}\W*")
_BETTER = re.compile(r"\W*better\W*(first|second|tie)\W*", re.IGNORECASE)
_PREFERENCES = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True, slots=True)
class OffRubric:
    """A reply that gives no grade of the rubric. ``reason`` has no text of the reply but a number."""

    reason: str


def reminder(task: str, off: OffRubric) -> str:
    """What a judge is told that was off the rubric."""
    return f"Your reply {off.reason}. {task}"


def _line(reply: str, pattern: re.Pattern[str]) -> re.Match[str] | None:
    """The verdict in the last line, or the only one: a judge may quote others from the answer."""
    lines = [line for line in unicodedata.normalize("NFKC", reply).splitlines() if line.strip()]
    if not lines:
        return None
    last = pattern.fullmatch(lines[-1])
    if last is not None:
        return last
    found = [match for line in lines if (match := pattern.fullmatch(line)) is not None]
    return found[0] if len(found) == 1 else None


def grade_of(reply: str) -> int | OffRubric:
    """The grade, 1 to 10, of a judge's reply.

    Args:
        reply: ends with ``GRADE: 7``; ``7/10``, other digits (７) and emphasis are read too, and a reply
            that is a number alone.
    """
    found = _line(reply, _GRADE) or _BARE.fullmatch(unicodedata.normalize("NFKC", reply).strip())
    if found is None:
        return OffRubric("gives no grade")
    number, shown = float(found[1].replace(",", ".")), found[1][:_SHOWN]
    if not LEAST <= number <= MOST:  # an endless row of digits is infinity
        return OffRubric(f"gives {shown}, which is not from {LEAST} to {MOST}")
    if not number.is_integer():
        return OffRubric(f"gives {shown}, which is no whole number")
    return int(number)


def quality_of(grade: int) -> float:
    """A grade as the quality of a history: 1 is 0, 10 is 1; 8, the least that does its job, is .78."""
    return (grade - LEAST) / (MOST - LEAST)


def preference_of(reply: str) -> float | OffRubric:
    """How the first answer did in a judge's reply: 1 better, .5 as good, 0 worse."""
    found = _line(reply, _BETTER)
    if found is None:
        return OffRubric("names neither FIRST, SECOND nor TIE")
    return _PREFERENCES[found[1].lower()]
