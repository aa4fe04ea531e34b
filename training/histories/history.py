"""Histories: read a batch at a time, checked whole before anything is done with them.

A file is read twice. The first pass checks and counts every row, which is enough to choose arms and a
judge; the second, :meth:`History.batches`, reads the attempts that are needed. Memory therefore grows with
the distinct prompts, not with the attempts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from router.core.errors import InvalidInput
from training.histories.attempts import (
    NUMERIC,
    REQUIRED,
    Attempt,
    BadRow,
    Identities,
    check,
    framed,
)
from training.histories.history_files import SUFFIXES, reader_of, unreadable

__all__ = [
    "LISTED",
    "NUMERIC",
    "SUFFIXES",
    "Attempt",
    "BadRow",
    "History",
    "bad_rows_refusal",
    "check_rows",
    "history_of",
    "read_history",
    "write_rejected",
]

LISTED = 20
"""Bad rows named in an error; the report of rejected rows has all of them."""

_COLUMNS = tuple(Attempt.model_fields)
_KINDS = ["model", "judge", "judged", "priced"]


@dataclass(frozen=True)
class History:
    """A checked history.

    Attributes:
        name: the file's name without its suffix.
        sha256: of the file.
        counts: how many attempts there are of each kind, in the order of their first: columns ``model``,
            ``judge`` (``None``: not named), ``judged`` and ``priced`` (bool: whether the quality, the cost
            is known), ``attempts``.
        prompts: how many different ``prompt_id`` there are.
        rejected: what was wrong with the rows that were left out, in order.
        rejected_rows: how many rows were left out.
    """

    name: str
    sha256: str
    counts: pd.DataFrame
    prompts: int
    rejected: tuple[BadRow, ...]
    rejected_rows: int
    _sound: Callable[[Collection[str], Collection[str] | None], Iterator[pd.DataFrame]] = field(
        repr=False, compare=False
    )

    @property
    def models(self) -> list[str]:
        """The models with attempts, sorted."""
        return sorted(self.counts["model"].unique())

    def batches(
        self, *, columns: Collection[str] = _COLUMNS, models: Collection[str] | None = None
    ) -> Iterator[pd.DataFrame]:
        """The attempts in the order of the file, a batch at a time.

        Args:
            columns: those that are needed, ``prompt`` and ``model`` with them; others may be empty.
            models: whose attempts are wanted; ``None``: all.

        Yields:
            One row per attempt, every column of :class:`Attempt`: numbers as float64 with NaN for «not
            given», texts as str or None. ``prompt_id`` is always there.

        Raises:
            InvalidInput: the file is gone, or is another than the one that was checked.
        """
        return self._sound(columns, models)

    @property
    def attempts(self) -> pd.DataFrame:
        """All attempts in memory at once: for histories that are known to be small."""
        return pd.concat([*self.batches()], ignore_index=True)


def bad_rows_refusal(
    source: Path | str, bad: Sequence[BadRow], rows: int, total: int
) -> InvalidInput:
    """The error of a file with bad rows; it names the first of them.

    Args:
        source: the file, for the message.
        bad: what is wrong, in order of rows.
        rows: how many rows are bad.
        total: how many rows there are.
    """
    listed = "; ".join(map(str, bad[:LISTED]))
    more = f"; and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    return InvalidInput(
        f"{source}: {rows} of {total} rows are bad: {listed}{more}. Correct them, or leave them out "
        "with --skip-bad-rows",
        reason="BAD_ROWS",
        field=str(source),
        metadata={"bad_rows": str(rows)},
    )


def _check_columns(path: Path, raw: pd.DataFrame) -> None:
    lacking = [name for name in REQUIRED if name not in raw.columns]
    if lacking:
        raise InvalidInput(
            f"{path}: without the column {' and '.join(map(repr, lacking))} this is no history; it "
            "needs prompt and model, one row per attempt",
            reason="COLUMN_MISSING",
            field=lacking[0],
        )


class _Counts:
    """Attempts by kind, over all batches."""

    def __init__(self) -> None:
        self._attempts: Counter[tuple[Any, ...]] = Counter()

    def add(self, attempts: pd.DataFrame) -> None:
        kinds = pd.DataFrame(
            {
                "model": attempts["model"],
                "judge": attempts["judge"],
                "judged": attempts["quality"].notna(),
                "priced": attempts["cost_usd"].notna(),
            }
        )
        for kind, count in kinds.groupby(_KINDS, sort=False, dropna=False).size().items():
            model, judge, judged, priced = kind
            self._attempts[model, None if pd.isna(judge) else judge, judged, priced] += int(count)

    def table(self) -> pd.DataFrame:
        rows = [(*kind, count) for kind, count in self._attempts.items()]
        made = pd.DataFrame(rows, columns=[*_KINDS, "attempts"])
        types = {"model": object, "judge": object, "judged": bool, "priced": bool}
        return made.astype(types)


def _state(path: Path) -> tuple[int, int]:
    """Size and modification time of a file, which change when it is written."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, f"cannot be read ({error.strerror})") from None
    return found.st_size, found.st_mtime_ns


def _from_file(
    path: Path, rejected: npt.NDArray[np.int64], state: tuple[int, int]
) -> Callable[[Collection[str], Collection[str] | None], Iterator[pd.DataFrame]]:
    """The second pass over a checked file: its rows but those ``rejected`` (from 0, ascending)."""

    def sound(columns: Collection[str], models: Collection[str] | None) -> Iterator[pd.DataFrame]:
        start = 0
        for raw, _ in reader_of(path)(path, columns):
            if _state(path) != state:
                raise unreadable(path, "was changed while it was read; start again")
            kept = ~np.isin(np.arange(start, start + len(raw)), rejected)
            if models is not None:
                kept &= raw["model"].isin(models).to_numpy()
            start += len(raw)
            if kept.any():
                yield check(raw[kept].reset_index(drop=True))[0]

    return sound


def check_files(paths: Iterable[Path]) -> None:
    """Refuse what is no file of a known format, before any work is done.

    Raises:
        InvalidInput: one of them is not there, or has another suffix.
    """
    for path in paths:
        reader_of(path)
        _state(path)


def read_history(path: Path, *, skip_bad_rows: bool = False) -> History:
    """Check a history, every row of it.

    Args:
        path: a file with the suffix .parquet, .jsonl, .ndjson or .csv.
        skip_bad_rows: leave bad rows out, and name them in ``rejected``, instead of refusing.

    Raises:
        InvalidInput: the file cannot be read, has no attempts, lacks a required column, or has bad
            rows; the message names the first of them.
    """
    reader = reader_of(path)
    state = _state(path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, f"cannot be read ({error.strerror})") from None
    counts, identities = _Counts(), Identities()
    bad: list[BadRow] = []
    total = 0
    for raw, damaged in reader(path, _COLUMNS):
        if not total:
            _check_columns(path, raw)
        attempts, found = check(raw, identities)
        unusable = {row.row for row in damaged}
        wrong = [*damaged, *(row for row in found if row.row not in unusable)]
        counts.add(attempts.drop(index=[row.row - 1 for row in wrong]))
        bad += (replace(row, row=row.row + total) for row in wrong)
        total += len(raw)
    if not total:
        raise unreadable(path, "holds no attempts; a history has one row per attempt")
    bad.sort()
    rejected = np.unique(np.asarray([row.row - 1 for row in bad], dtype=np.int64))
    if (bad and not skip_bad_rows) or len(rejected) == total:
        raise bad_rows_refusal(path, bad, len(rejected), total)
    return History(
        path.stem, sha256, counts.table(), len(identities), tuple(bad), len(rejected),
        _from_file(path, rejected, state),
    )  # fmt: skip


def check_rows(rows: Sequence[dict[str, Any]]) -> tuple[pd.DataFrame, list[BadRow]]:
    """Check rows in memory as :func:`read_history` checks those of a file.

    Args:
        rows: each with ``prompt`` and ``model``, and other columns of :class:`Attempt` where known.

    Returns:
        The attempts as :meth:`History.batches` gives them, bad ones included, and what is wrong with these.
    """
    return check(framed(rows), Identities())


def history_of(name: str, rows: Sequence[dict[str, Any]]) -> History:
    """A history from rows in memory, which must all be sound.

    Raises:
        InvalidInput: a row is bad.
    """
    attempts, bad = check_rows(rows)
    if bad:
        raise bad_rows_refusal(Path(name), bad, len({row.row for row in bad}), len(rows))
    sha256 = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
    counts = _Counts()
    counts.add(attempts)

    def sound(_: Collection[str], models: Collection[str] | None) -> Iterator[pd.DataFrame]:
        kept = attempts if models is None else attempts[attempts["model"].isin(models)]
        yield kept.reset_index(drop=True)

    prompts = attempts["prompt_id"].nunique()
    return History(name, sha256, counts.table(), prompts, (), 0, sound)


def write_rejected(rejected: Sequence[BadRow], target: Path) -> None:
    """Write what was wrong with the rejected rows, one JSON object a line: row, column, reason."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"row": bad.row, "column": bad.column, "reason": bad.reason}) + "\n"
        for bad in rejected
    ]
    target.write_text("".join(lines), encoding="utf-8")
