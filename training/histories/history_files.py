"""Readers of history files, a batch of rows at a time: Parquet, JSONL or CSV.

Only one batch of a file is in memory, however long the file is. Of Parquet, every distinct text of a batch
is one object, however many attempts repeat it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from router.core.errors import InvalidInput
from training.histories.attempts import NUMERIC, Attempt, BadRow, framed

__all__ = ["SUFFIXES", "Reader", "reader_of", "unreadable"]

BATCH = 65_536
"""Rows in memory at once."""
CHARACTERS = 2**26
"""Characters of JSONL or CSV in memory at once: long prompts make shorter batches."""
_PAGES = 2**20
"""Bytes of a column of Parquet read at once; without it, a whole row group would be."""

_TEXTS = [name for name in Attempt.model_fields if name not in NUMERIC]

Batch = tuple[pd.DataFrame, list[BadRow]]
"""Unchecked rows, and those of them that the format itself makes bad, counted from 1 in the batch."""


class Reader(Protocol):
    """Reads one format."""

    def __call__(self, path: Path, columns: Collection[str]) -> Iterator[Batch]:
        """The rows in order; no column but ``columns``, where leaving the others out saves time.

        Raises:
            InvalidInput: the file is damaged, or of another format.
        """
        ...


def unreadable(path: Path, why: str) -> InvalidInput:
    """The error of a file that is no history."""
    return InvalidInput(f"{path}: {why}", reason="HISTORY_UNREADABLE", field=str(path))


# --- Parquet -----------------------------------------------------------------------------------


def _objects(values: pa.DictionaryArray) -> npt.NDArray[np.object_]:
    """Texts as Python objects, one per distinct text; None for null."""
    codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    used, places = np.unique(codes, return_inverse=True)
    known = used[used >= 0]
    texts = np.empty(len(used), dtype=object)
    texts[len(used) - len(known) :] = values.dictionary.take(pa.array(known)).to_pylist()
    return np.asarray(texts[places])


def _series(name: str, values: pa.Array) -> pd.Series:
    if pa.types.is_dictionary(values.type):
        if pa.types.is_string(values.type.value_type):
            return pd.Series(_objects(values), dtype=object)
        values = values.cast(values.type.value_type)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("ms"))
    if name in _TEXTS and pa.types.is_integer(values.type):
        # Through pandas, 7 would become "7.0" in batches with a gap, and stay "7" in others.
        return pd.Series(values.to_pylist(), dtype=object)
    plain = values.to_numpy(zero_copy_only=False)
    return pd.Series(plain, dtype=object if plain.dtype.kind == "O" else plain.dtype)


def _parquet(path: Path, columns: Collection[str]) -> Iterator[Batch]:
    try:
        fields = [field for field in pq.read_schema(path) if field.name in columns]
        wanted = [field.name for field in fields]
        # Parquet stores lists and records as columns of other names.
        texts = [
            field.name
            for field in fields
            if field.name in _TEXTS and not pa.types.is_nested(field.type)
        ]
        # Read ahead of need (pre_buffer), every row group would stay in memory until the end.
        with pq.ParquetFile(
            path, read_dictionary=texts, buffer_size=_PAGES, pre_buffer=False
        ) as file:
            for batch in file.iter_batches(BATCH, columns=wanted):
                named = {name: _series(name, batch.column(name)) for name in wanted}
                yield pd.DataFrame(named, index=range(batch.num_rows)), []
    except (pa.ArrowException, OSError, ValueError):
        raise unreadable(path, "not a readable Parquet file; write it again") from None


# --- Lines -------------------------------------------------------------------------------------


class _Rows:
    """Collects the rows of a batch."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.bad: list[BadRow] = []
        self._characters = 0

    def add(self, row: dict[str, Any], wrong: str | None, characters: int) -> None:
        self.rows.append(row)
        self._characters += characters
        if wrong is not None:
            self.bad.append(BadRow(len(self.rows), "row", wrong))

    @property
    def full(self) -> bool:
        return len(self.rows) >= BATCH or self._characters >= CHARACTERS


def _jsonl(path: Path, columns: Collection[str]) -> Iterator[Batch]:
    held = _Rows()
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError:
                    row = None
                sound = isinstance(row, dict)
                held.add(row if sound else {}, None if sound else "is not a JSON object", len(line))
                if held.full:
                    yield framed(held.rows, columns), held.bad
                    held = _Rows()
    except UnicodeDecodeError:
        raise unreadable(path, "is not UTF-8 text; save it as UTF-8") from None
    if held.rows:
        yield framed(held.rows, columns), held.bad


def _csv(path: Path, columns: Collection[str]) -> Iterator[Batch]:
    held, before = _Rows(), 0
    csv.field_size_limit(2**31 - 1)  # a prompt may be longer than the default of 128 KiB
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for row in csv.DictReader(lines, restkey="\0rest", restval="\0short"):
                odd = "\0rest" in row or "\0short" in row.values()
                length = sum(map(len, row.values()))
                held.add(row, "has another number of fields" if odd else None, length)
                if held.full:
                    yield framed(held.rows, columns), held.bad
                    held, before = _Rows(), before + len(held.rows)
    except UnicodeDecodeError:
        raise unreadable(path, "is not UTF-8 text; save it as UTF-8") from None
    except csv.Error:
        row_number = before + len(held.rows)
        raise unreadable(path, f"is not CSV after row {row_number}; check its quotes") from None
    if held.rows:
        yield framed(held.rows, columns), held.bad


_READERS: dict[str, Reader] = {
    ".parquet": _parquet,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".csv": _csv,
}
SUFFIXES = (*_READERS,)


def reader_of(path: Path) -> Reader:
    """What reads a file, by its suffix.

    Raises:
        InvalidInput: nothing does, or there is no such file.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        if not path.exists():
            raise unreadable(path, "there is no such file")
        raise unreadable(path, f"a history is one of {', '.join(SUFFIXES)}")
    return reader
