"""The rows of files of any size, one by one: CSV, Parquet, JSON lines, or one JSON array."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from router.core.errors import InvalidInput
from training.histories.history import BadRow

__all__ = ["SUFFIXES", "rows_of"]

_BATCH = 512
_CHUNK = 1 << 16
_MOST = 256 * 2**20
"""Most characters of one element of a JSON array; a file with longer elements is refused."""

Rows = Iterator[tuple[int, dict[str, Any] | BadRow]]


def _parquet(path: Path) -> Rows:
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(batch_size=_BATCH):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _lines(path: Path, *, texts: bool = False) -> Rows:
    number = 0
    with path.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if not line.strip():
                continue
            number += 1
            yield number, _object(number, line, texts)


def _object(number: int, text: str, texts: bool) -> dict[str, Any] | BadRow:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if texts and isinstance(row, str):
        return {"prompt": row}
    return row if isinstance(row, dict) else BadRow(number, "row", "is not a JSON object")


def _csv(path: Path) -> Rows:
    csv.field_size_limit(2**31 - 1)  # a prompt may be longer than the default of 128 KiB
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, restkey="\0rest", restval="\0short")
        for number, row in enumerate(reader, start=1):
            if "\0rest" in row or "\0short" in row.values():
                yield number, BadRow(number, "row", "has another number of fields")
            else:
                yield number, row


def _json(path: Path) -> Rows:
    """A JSON array, element by element; any other file is read as JSON lines."""
    with path.open(encoding="utf-8-sig") as text:
        while (first := text.read(1)).isspace():
            pass
        if first == "[":
            yield from _elements(path, text)
            return
    yield from _lines(path)


def _elements(path: Path, text: TextIO) -> Rows:
    decoder = json.JSONDecoder()
    held, number, whole = "", 0, False
    while True:
        held = held.lstrip(" \t\r\n,")
        if held.startswith("]"):
            return
        try:
            row, end = decoder.raw_decode(held)
        except RecursionError:
            raise _unreadable(path, f"is nested too deep after row {number}") from None
        except ValueError:
            more = text.read(
                max(_CHUNK, len(held))
            )  # doubling: a long element is not read again and again
            whole = not more
            if whole or len(held) > _MOST:
                raise _unreadable(path, f"is not JSON after row {number}") from None
            held += more
            continue
        # A number at the end of the chunk may continue in the next one; an object is complete.
        number += 1
        held = held[end:]
        bad = BadRow(number, "row", "is not a JSON object")
        yield number, row if isinstance(row, dict) else bad


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".parquet": _parquet,
    ".jsonl": _lines,
    ".ndjson": _lines,
    ".json": _json,
    ".csv": _csv,
}
SUFFIXES = tuple(_READERS)
_PICKLES = frozenset({".pkl", ".pickle"})


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path}: {why}", reason="LOG_UNREADABLE", field=str(path))


def rows_of(path: Path, *, texts: bool = False) -> Rows:
    """Every row with its number, the first is 1; a damaged one as a :class:`BadRow`.

    Args:
        path: the file.
        texts: a line of JSON lines may be a JSON string: it is the ``prompt`` of a row.

    Raises:
        InvalidInput: the file cannot be read, or is of another kind.
    """
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise _unreadable(
            path,
            "a pickle can run any code when it is read, so it is not read; if you trust it, convert it to "
            "Parquet first: pandas.read_pickle(FILE).to_parquet(OUT)",
        )
    reader = _READERS.get(suffix)
    if reader is None:
        if not path.exists():
            raise _unreadable(path, "there is no such file")
        raise _unreadable(path, f"a log must be one of {', '.join(SUFFIXES)}")
    if texts and reader is _lines:
        reader = partial(_lines, texts=True)
    try:
        yield from reader(path)
    except pa.ArrowException:
        raise _unreadable(path, "not a readable Parquet file; write it again") from None
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8 text; save it as UTF-8") from None
    except csv.Error:
        raise _unreadable(path, "is not CSV; check its quotes") from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read ({error.strerror})") from None
