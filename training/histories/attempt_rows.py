"""Attempts with every column of their file, for the steps that add columns: collection and judgement.

A history may have columns beyond the contract (:class:`attempts.Attempt`); reading one ignores them. Those of
:data:`BESIDE` are written by collection and read by judgement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from router.core.errors import InvalidInput, MitsumoriError
from training.histories.history import NUMERIC, Attempt, BadRow, bad_rows_refusal, check_rows
from training.histories.log_import.log_rows import rows_of
from training.histories.log_import.row_adapters import known

__all__ = ["BESIDE", "AttemptRows", "check_output", "read_rows", "write_rows"]

BESIDE: Mapping[str, str] = {
    "answer": "the text of the answer, which judgement grades",
    "messages": "the chat as JSON, where the prompt was more than one text",
    "reference": "a reference answer",
    "finish_reason": "why the answer ended, as the endpoint said; length: it was cut",
    "grade": "1 to 10, of which the quality was made",
    "usage": "reported, or counted where the report could not be believed",
}
"""Columns beyond the contract, and what they hold."""

_NUMBERS = NUMERIC | {"grade"}
_SUFFIXES = (".parquet", ".jsonl")


def check_output(out: Path) -> None:
    """Refuse a file that no history with answers can be written to.

    CSV is left out: spreadsheets run what looks like a formula in it.

    Raises:
        InvalidInput: another suffix.
    """
    if out.suffix.lower() not in _SUFFIXES:
        raise InvalidInput(f"--out: {out} must end in {' or '.join(_SUFFIXES)}", field="out")


@dataclass(frozen=True)
class AttemptRows:
    """The sound attempts of a file.

    Attributes:
        rows: with all columns; values that are not given are ``None``.
        numbers: of the rows in the file, from 1.
        bad: how many rows were left out.
    """

    rows: list[dict[str, Any]]
    numbers: list[int]
    bad: int


def read_rows(path: Path, *, skip_bad_rows: bool = False) -> AttemptRows:
    """Every sound attempt of a history with all its columns.

    Rows are checked as histories are read; each gets the ``prompt_id`` that reading would give it.

    Args:
        path: Parquet, JSONL or CSV.
        skip_bad_rows: leave bad rows out instead of refusing.

    Raises:
        InvalidInput: the file cannot be read, has no attempts, or bad rows.
    """
    read = list(rows_of(path))
    bad = [row for _, row in read if isinstance(row, BadRow)]
    numbered = [
        (number, {name: known(value) for name, value in row.items()})
        for number, row in read
        if not isinstance(row, BadRow)
    ]
    checked, wrong = check_rows([row for _, row in numbered])
    bad += [BadRow(numbered[one.row - 1][0], one.column, one.reason) for one in wrong]
    rejected = {one.row for one in bad}
    if bad and (not skip_bad_rows or len(rejected) == len(read)):
        raise bad_rows_refusal(path, sorted(bad), len(rejected), len(read))
    if not numbered:
        raise InvalidInput(
            f"{path}: holds no attempts; a history has one row per attempt",
            reason="HISTORY_UNREADABLE",
            field=str(path),
        )
    found = AttemptRows([], [], len(rejected))
    for (number, row), sound in zip(numbered, checked.to_dict("records"), strict=True):
        if number not in rejected:
            given = {name: sound[name] for name in Attempt.model_fields if name in row}
            whole = {**row, **given, "prompt_id": sound["prompt_id"]}
            found.rows.append(
                {name: None if value != value else value for name, value in whole.items()}
            )
            found.numbers.append(number)
    return found


def _column(name: str, values: Sequence[object]) -> pa.Array:
    if name in _NUMBERS:
        return pa.array(
            [None if value is None else float(str(value)) for value in values], pa.float64()
        )
    if all(value is None or isinstance(value, str) for value in values):
        return pa.array(values, pa.string())
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        texts = [
            value if value is None or isinstance(value, str) else json.dumps(value)
            for value in values
        ]
        return pa.array(texts, pa.string())


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of the columns: those of the contract, those beside it, then others as they come."""
    present = {name: None for row in rows for name, value in row.items() if value is not None}
    ordered = [name for name in (*Attempt.model_fields, *BESIDE) if name in present]
    return ordered + [name for name in present if name not in ordered]


def write_rows(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write attempts as a history, whole or not at all; columns without a value are left out.

    Args:
        rows: attempts with any columns; values of JSON types.
        out: a file that :func:`check_output` accepts.

    Raises:
        MitsumoriError: it cannot be written.
    """
    names = _columns(rows)
    scratch = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix.lower() == ".parquet":
            columns = [_column(name, [row.get(name) for row in rows]) for name in names]
            pq.write_table(pa.table(columns, names=names), scratch, compression="zstd")
        else:
            with scratch.open("w", encoding="utf-8") as lines:
                for row in rows:
                    given = {name: row[name] for name in names if row.get(name) is not None}
                    lines.write(json.dumps(given, ensure_ascii=False, default=str) + "\n")
        scratch.replace(out)
    except OSError as error:
        raise MitsumoriError(
            f"{out} cannot be written ({error.strerror}); make room, and run the same command again",
            reason="NOT_WRITABLE",
            field="out",
        ) from None
    finally:
        scratch.unlink(missing_ok=True)
