"""Reading a history: Parquet, JSONL or CSV in, checked attempts out.

Every row is checked, and every bad one is named by its number (the first row of data is 1) with the
column and the reason. No message contains the text of a prompt.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from router.core.errors import InvalidInput

__all__ = [
    "LISTED",
    "NUMERIC",
    "Attempt",
    "BadRow",
    "History",
    "check_rows",
    "history_of",
    "read_history",
    "write_rejected",
]

Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]


class Attempt(BaseModel):
    """One row of a history: one model's answer to one prompt. The contract, and its only source.

    A null, a NaN and an empty text all mean «not given». Columns that are not named here are ignored.
    The bounds below are what :func:`read_history` checks, a column at a time.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    prompt: Text
    model: Text
    prompt_id: str | None = Field(default=None, description="left out: a hash of the prompt")
    quality: Share | None = Field(default=None, description="of the answer; left out: not judged")
    input_tokens: Amount | None = Field(default=None, description="left out: counted")
    output_tokens: Amount | None = None
    cost_usd: Amount | None = Field(default=None, description="left out: price times tokens")
    latency_s: Amount | None = None
    language: str | None = Field(default=None, description="code such as en or ja")
    category: str | None = None
    source: str | None = None
    judge: str | None = Field(default=None, description="who gave the quality; never mixed")
    timestamp: str | None = Field(default=None, description="ISO 8601, or seconds since 1970")
    propensity: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="probability with which a router chose this model"
    )
    user: str | None = None


@dataclass(frozen=True, slots=True)
class _Range:
    """What a number may be: from ``low`` (``above``: without it) to ``high``, always finite."""

    low: float
    above: bool
    high: float

    def holds(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Which values are inside; NaN and infinities are not."""
        enough = values > self.low if self.above else values >= self.low
        return np.asarray(enough & (values <= self.high) & np.isfinite(values))

    @property
    def reason(self) -> str:
        least = f"{'above' if self.above else 'at least'} {self.low:g}"
        return f"must be finite, {least}" + (
            f" and at most {self.high:g}" if np.isfinite(self.high) else ""
        )


def _range(column: str) -> _Range | None:
    """The range of a numeric column of :class:`Attempt`, ``None`` for a column of text."""
    for part in get_args(Attempt.model_fields[column].annotation):
        inner = get_args(part)
        if not inner or inner[0] is not float:
            continue
        bounds: list[Any] = [bound for extra in inner[1:] for bound in extra.metadata]
        low = next(b.gt if hasattr(b, "gt") else b.ge for b in bounds if not hasattr(b, "le"))
        high = next((b.le for b in bounds if hasattr(b, "le")), np.inf)
        return _Range(float(low), any(hasattr(b, "gt") for b in bounds), float(high))
    return None


_REQUIRED = tuple(name for name, field in Attempt.model_fields.items() if field.is_required())
_NUMBERS = {name: found for name in Attempt.model_fields if (found := _range(name)) is not None}
NUMERIC = frozenset(_NUMBERS)
"""Columns that hold numbers; all others hold texts."""

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".csv")
LISTED = 20
"""Bad rows named in an error; the report of rejected rows has all of them."""

_DECIMALS = 6
"""Digits kept of a quality: a float32 column stores .7 as .69999999, which must still reach .7."""


@dataclass(frozen=True, slots=True, order=True)
class BadRow:
    """One thing wrong with one row. ``row`` counts data rows from 1."""

    row: int
    column: str
    reason: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.column}: {self.reason}"


@dataclass(frozen=True)
class History:
    """A checked history.

    Attributes:
        name: the file's name without its suffix.
        sha256: of the file.
        attempts: one row per attempt in the order of the file, every column of :class:`Attempt`:
            numbers as float64 with NaN for «not given», texts as str or None. ``prompt_id`` is
            always there.
        rejected: what was wrong with the rows that were left out, in order.
        rejected_rows: how many rows were left out.
    """

    name: str
    sha256: str
    attempts: pd.DataFrame
    rejected: tuple[BadRow, ...]
    rejected_rows: int

    @property
    def models(self) -> list[str]:
        """The models with attempts, sorted."""
        return sorted(self.attempts["model"].unique())


# --- Files to columns --------------------------------------------------------------------------


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path}: {why}", reason="HISTORY_UNREADABLE", field=str(path))


def _series(column: pa.ChunkedArray) -> pd.Series:
    """Texts as Python objects: quicker than through pandas' own text type, which ends there anyway."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = column.to_numpy()
    return pd.Series(values, dtype=object if values.dtype.kind == "O" else values.dtype)


def _parquet(path: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    try:
        file = pq.ParquetFile(path)
        wanted = [name for name in file.schema_arrow.names if name in Attempt.model_fields]
        table = file.read(columns=wanted)
        columns = {name: _series(table[name]) for name in wanted}
        return pd.DataFrame(columns, index=range(table.num_rows)), []
    except (pa.ArrowException, OSError, ValueError):
        raise _unreadable(path, "not a readable Parquet file; write it again") from None


def _framed(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    present = {name for row in rows for name in row}
    columns = [name for name in Attempt.model_fields if name in present]
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns},
        index=range(len(rows)),
    )


def _jsonl(path: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    rows: list[dict[str, Any]] = []
    bad = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                if not isinstance(row, dict):
                    bad.append(BadRow(len(rows) + 1, "row", "is not a JSON object"))
                    row = {}
                rows.append(row)
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8 text; save it as UTF-8") from None
    return _framed(rows), bad


def _csv(path: Path) -> tuple[pd.DataFrame, list[BadRow]]:
    rows: list[dict[str, Any]] = []
    bad = []
    csv.field_size_limit(2**31 - 1)  # a prompt may be longer than the default of 128 KiB
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, restkey="\0rest", restval="\0short")
            for row in reader:
                if "\0rest" in row or "\0short" in row.values():
                    bad.append(BadRow(len(rows) + 1, "row", "has another number of fields"))
                rows.append(row)
            header = reader.fieldnames or []
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8 text; save it as UTF-8") from None
    except csv.Error:
        raise _unreadable(path, f"is not CSV after row {len(rows)}; check its quotes") from None
    if not rows:
        return pd.DataFrame(columns=list(header)), bad
    return _framed(rows), bad


_READERS = {".parquet": _parquet, ".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv}


# --- Checks ------------------------------------------------------------------------------------


def _missing(values: pd.Series) -> npt.NDArray[np.bool_]:
    missing = values.isna()
    if values.dtype.kind in "iufb":
        return np.asarray(missing, dtype=bool)
    return np.asarray(missing | (values == ""), dtype=bool)


def _number(value: object) -> float:
    """A float, NaN for what is not a number at all."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | np.number):
        return float("nan")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return float("nan")


def _named(rows: npt.NDArray[np.bool_], column: str, reason: str) -> list[BadRow]:
    return [BadRow(int(row) + 1, column, reason) for row in np.flatnonzero(rows)]


def _check_number(name: str, raw: pd.Series) -> tuple[npt.NDArray[np.float64], list[BadRow]]:
    missing = _missing(raw)
    if raw.dtype.kind in "iuf":
        values = raw.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    else:
        values = np.fromiter(map(_number, raw.to_numpy(dtype=object, na_value=None)), np.float64)
    strange = ~missing & np.isnan(values)
    bad = _named(strange, name, "is not a number")
    with np.errstate(invalid="ignore"):
        outside = ~missing & ~strange & ~_NUMBERS[name].holds(values)
    for row in np.flatnonzero(outside):
        bad.append(BadRow(int(row) + 1, name, f"{values[row]:g} {_NUMBERS[name].reason}"))
    values[missing | outside] = np.nan
    return values.round(_DECIMALS) if name == "quality" else values, bad


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _check_text(name: str, raw: pd.Series) -> tuple[npt.NDArray[np.object_], list[BadRow]]:
    missing = _missing(raw)
    values = raw.to_numpy(dtype=object, na_value=None)
    values = values.copy()
    values[missing] = None
    if name in _REQUIRED:
        texts = np.fromiter(map(_is_text, values), bool, len(values))
        blank = missing.copy()
        blank[texts] = [not value.strip() for value in values[texts]]
        bad = _named(blank, name, "is missing")
        return values, bad + _named(~texts & ~blank, name, "is not text")
    plain = [None if value is None else str(value) for value in values]
    result = np.empty(len(plain), dtype=object)
    result[:] = plain
    return result, []


def _check_timestamp(values: npt.NDArray[np.object_]) -> list[BadRow]:
    given = pd.Series(values).dropna()
    if given.empty:
        return []
    seconds = pd.to_numeric(given, errors="coerce")
    parsed = pd.to_datetime(given[seconds.isna()], format="ISO8601", utc=True, errors="coerce")
    reason = "is neither an ISO 8601 time nor seconds since 1970"
    return [BadRow(int(row) + 1, "timestamp", reason) for row in parsed[parsed.isna()].index]


def _check_identity(attempts: pd.DataFrame, sound: npt.NDArray[np.bool_]) -> list[BadRow]:
    """One ``prompt_id`` must stand for one prompt."""
    rows = attempts[sound]
    first = rows.groupby("prompt_id", sort=False)["prompt"].transform("first")
    wrong = rows.index[(rows["prompt"] != first).to_numpy(dtype=bool)]
    reason = "stands for another prompt in an earlier row"
    return [BadRow(int(row) + 1, "prompt_id", reason) for row in wrong]


def _hashed(prompts: Iterable[str]) -> list[str]:
    """An id per prompt: 16 hexadecimal digits of its BLAKE2b."""
    known: dict[str, str] = {}
    result = []
    for prompt in prompts:
        if prompt not in known:
            data = prompt.encode("utf-8", "surrogatepass")
            known[prompt] = hashlib.blake2b(data, digest_size=8).hexdigest()
        result.append(known[prompt])
    return result


def _checked(raw: pd.DataFrame) -> tuple[pd.DataFrame, list[BadRow]]:
    bad: list[BadRow] = []
    columns: dict[str, Any] = {}
    for name in Attempt.model_fields:
        if name not in raw.columns:
            columns[name] = np.full(len(raw), np.nan if name in _NUMBERS else None)
        elif name in _NUMBERS:
            columns[name], found = _check_number(name, raw[name])
            bad += found
        else:
            columns[name], found = _check_text(name, raw[name])
            bad += found
    bad += _check_timestamp(columns["timestamp"])
    # object, not pandas' own text type: half of a surrogate pair cannot be stored in Arrow.
    attempts = pd.DataFrame(
        {
            name: pd.Series(values, dtype=float if name in _NUMBERS else object)
            for name, values in columns.items()
        }
    )
    sound = np.ones(len(attempts), dtype=bool)
    sound[[row.row - 1 for row in bad]] = False
    unnamed = sound & attempts["prompt_id"].isna().to_numpy()
    if unnamed.any():
        attempts.loc[unnamed, "prompt_id"] = _hashed(attempts.loc[unnamed, "prompt"])
    return attempts, bad + _check_identity(attempts, sound)


def _refusal(path: Path, bad: Sequence[BadRow], rows: int, total: int) -> InvalidInput:
    listed = "; ".join(map(str, bad[:LISTED]))
    more = f"; and {len(bad) - LISTED} more" if len(bad) > LISTED else ""
    return InvalidInput(
        f"{path}: {rows} of {total} rows are bad: {listed}{more}. Correct them, or leave them out "
        "with --skip-bad-rows",
        reason="BAD_ROWS",
        field=str(path),
        metadata={"bad_rows": str(rows)},
    )


def read_history(path: Path, *, skip_bad_rows: bool = False) -> History:
    """Read and check a history.

    Args:
        path: a file with the suffix .parquet, .jsonl, .ndjson or .csv.
        skip_bad_rows: leave bad rows out, and name them in ``rejected``, instead of refusing.

    Raises:
        InvalidInput: the file cannot be read, has no attempts, lacks a required column, or has bad
            rows; the message names the first of them.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise _unreadable(path, f"a history is one of {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, f"cannot be read ({error.strerror})") from None
    raw, bad = reader(path)
    if not len(raw):
        raise _unreadable(path, "holds no attempts; a history has one row per attempt")
    lacking = [name for name in _REQUIRED if name not in raw.columns]
    if lacking:
        raise InvalidInput(
            f"{path}: without the column {' and '.join(map(repr, lacking))} this is no history; it "
            "needs prompt and model, one row per attempt",
            reason="COLUMN_MISSING",
            field=lacking[0],
        )
    attempts, found = _checked(raw)
    unusable = {row.row for row in bad}
    bad = sorted([*bad, *(row for row in found if row.row not in unusable)])
    numbers = sorted({row.row for row in bad})
    if bad and not skip_bad_rows:
        raise _refusal(path, bad, len(numbers), len(attempts))
    if len(numbers) == len(attempts):
        raise _refusal(path, bad, len(numbers), len(attempts))
    kept = attempts.drop(index=[row - 1 for row in numbers]).reset_index(drop=True)
    return History(path.stem, sha256, kept, tuple(bad), len(numbers))


def check_rows(rows: Sequence[dict[str, Any]]) -> tuple[pd.DataFrame, list[BadRow]]:
    """Check rows in memory as :func:`read_history` checks those of a file.

    Args:
        rows: each with ``prompt`` and ``model``, and other columns of :class:`Attempt` where known.

    Returns:
        The attempts as :attr:`History.attempts`, bad ones included, and what is wrong with these.
    """
    return _checked(_framed(rows))


def history_of(name: str, rows: Sequence[dict[str, Any]]) -> History:
    """A history from rows in memory, which must all be sound.

    Raises:
        InvalidInput: a row is bad.
    """
    attempts, bad = check_rows(rows)
    if bad:
        raise _refusal(Path(name), bad, len({row.row for row in bad}), len(rows))
    sha256 = hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()
    return History(name, sha256, attempts, (), 0)


def write_rejected(rejected: Sequence[BadRow], target: Path) -> None:
    """Write what was wrong with the rejected rows, one JSON object a line: row, column, reason."""
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"row": bad.row, "column": bad.column, "reason": bad.reason}) + "\n"
        for bad in rejected
    ]
    target.write_text("".join(lines), encoding="utf-8")
