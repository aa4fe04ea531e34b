"""Verdicts of people, from a file: one row per attempt and person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.core.errors import InvalidInput
from training.histories.history import BadRow, bad_rows_refusal
from training.histories.log_import.log_rows import rows_of
from training.histories.log_import.row_adapters import known

__all__ = ["PEOPLE", "JudgedByPeople", "VerdictFile", "read_verdicts", "with_verdicts"]

PEOPLE = "people"
"""The judge of a verdict without a name, and of attempts that several people judged."""

_ADEQUATE = {
    **dict.fromkeys(("yes", "true", "1", "1.0", "y", "はい"), 1.0),
    **dict.fromkeys(("no", "false", "0", "0.0", "n", "いいえ"), 0.0),
}


@dataclass
class VerdictFile:
    """What was read.

    Attributes:
        qualities: (prompt_id, model) → judge → qualities, 0..1; only people without a name have several.
        bad: bad rows that were left out.
    """

    qualities: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)
    bad: list[BadRow] = field(default_factory=list)


class _Wrong(Exception):
    """A row is bad: (column, reason)."""


def _text(row: Mapping[str, Any], column: str) -> str:
    value = known(row.get(column))
    if value is None or not str(value).strip():
        raise _Wrong(column, "is missing")
    return str(value).strip()


def _quality(row: Mapping[str, Any]) -> float:
    given, adequate = known(row.get("quality")), known(row.get("adequate"))
    if (given is None) == (adequate is None):
        raise _Wrong("quality", "a row has quality (0 to 1) or adequate (yes or no), one of them")
    if given is None:
        found = _ADEQUATE.get(str(adequate).strip().casefold())
        if found is None:
            raise _Wrong("adequate", "is neither yes nor no")
        return found
    try:
        quality = float(given)
    except (TypeError, ValueError):
        raise _Wrong("quality", "is not a number") from None
    except OverflowError:
        raise _Wrong("quality", "is not from 0 to 1") from None
    if not 0 <= quality <= 1:
        raise _Wrong("quality", f"{quality:g} is not from 0 to 1")
    return quality


def _add(row: Mapping[str, Any], into: VerdictFile) -> None:
    attempt = (_text(row, "prompt_id"), _text(row, "model"))
    judge = str(known(row.get("judge")) or PEOPLE).strip()
    theirs = into.qualities.get(attempt, {})
    quality = _quality(row)
    if judge != PEOPLE and judge in theirs:
        raise _Wrong("judge", "has judged this attempt in an earlier row")
    into.qualities.setdefault(attempt, theirs).setdefault(judge, []).append(quality)


def read_verdicts(path: Path, *, skip_bad_rows: bool = False) -> VerdictFile:
    """Read people's verdicts: ``prompt_id``, ``model``, ``quality`` or ``adequate``, and perhaps ``judge``.

    Several verdicts on one attempt are those of several people. A second one by the same named person is a
    bad row: nobody can tell which of them counts.

    Args:
        path: CSV, JSONL or Parquet.
        skip_bad_rows: leave bad rows out instead of refusing.

    Raises:
        InvalidInput: it cannot be read, or has bad rows or none.
    """
    found = VerdictFile()
    rows = 0
    for number, row in rows_of(path):
        rows += 1
        if isinstance(row, BadRow):
            found.bad.append(row)
            continue
        try:
            _add(row, found)
        except _Wrong as wrong:
            found.bad.append(BadRow(number, *map(str, wrong.args)))
    if found.bad and not skip_bad_rows:
        raise bad_rows_refusal(path, found.bad, len(found.bad), rows)
    if not found.qualities:
        raise InvalidInput(f"{path}: has no verdicts", reason="NO_VERDICTS", field="verdicts")
    return found


@dataclass(frozen=True)
class JudgedByPeople:
    """A history with people's verdicts.

    Attributes:
        rows: of the history.
        judged: attempts that got a quality.
        unknown: (prompt_id, model) of verdicts on no attempt of the history.
        several: the qualities of attempts that several people judged.
    """

    rows: list[dict[str, Any]]
    judged: int
    unknown: Sequence[tuple[str, str]]
    several: Sequence[Sequence[float]]


def with_verdicts(rows: Sequence[Mapping[str, Any]], verdicts: VerdictFile) -> JudgedByPeople:
    """Give attempts the mean of the verdicts on them.

    The judge is the person where one person judged the whole file, else :data:`PEOPLE`: judges are never
    mixed in training, so a panel has one name.

    Args:
        rows: of a history, with ``prompt_id``.
        verdicts: of people.

    Raises:
        InvalidInput: none of the verdicts is on an attempt of the history.
    """
    names = {judge for theirs in verdicts.qualities.values() for judge in theirs}
    panel = names.pop() if len(names) == 1 else PEOPLE
    made = [dict(row) for row in rows]
    used: dict[tuple[str, str], list[float]] = {}
    judged = 0
    for row in made:
        attempt = (str(row["prompt_id"]), str(row["model"]))
        theirs = verdicts.qualities.get(attempt)
        if theirs is not None:
            used[attempt] = [quality for given in theirs.values() for quality in given]
            row |= {"quality": sum(used[attempt]) / len(used[attempt]), "judge": panel}
            judged += 1
    if not used:
        raise InvalidInput(
            "--verdicts: no verdict is on an attempt of the history: prompt_id and model must be those of "
            "the history",
            reason="VERDICTS_UNKNOWN",
            field="verdicts",
        )
    unknown = [attempt for attempt in verdicts.qualities if attempt not in used]
    several = [given for given in used.values() if len(given) > 1]
    return JudgedByPeople(made, judged, unknown, several)
