"""Reads the decision log for replay and training, from a ledger or a file that `decisions --out` wrote.

Rows are read one by one, oldest first, in bounded memory; or only the newest ones are read.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any

from router.core.errors import InvalidInput, MitsumoriError
from router.core.money import usd_to_nanos
from router.decision_log.record import DecisionRecord
from router.decision_log.record_json import DamagedRecord, RecordError, parse
from router.ledger.address import open_ledger, sqlite_path
from router.ledger.base import HoldState, Ledger, StoredDecision
from router.ledger.sqlite.file import read
from router.ledger.sqlite.queries import decisions
from router.ledger.storage_format import damaged_decision, to_micros
from router.paths import default_ledger_hint

__all__ = [
    "Damaged",
    "LogRow",
    "LoggedDecision",
    "Unparsed",
    "decisions_of",
    "is_decision_log",
    "logged",
    "read_log",
    "read_newest",
    "undamaged",
]

_PAGE = 500
_COLUMNS = ("decision_id", "state", "created", "spent_usd", "record")
_LABELS = "labels"
_NEXT_LABEL = re.compile(r" (?=[a-z][a-z0-9_]*=)")
_SUFFIXES = (".parquet", ".jsonl", ".csv")
_AGAIN = "write it again with `mitsumori decisions --out`"
_LEDGERS = ("sqlite", "postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One decision of the log.

    Attributes:
        id: of the decision.
        state: ``quoted``, ``held``, ``settled``, ``released`` or ``expired``.
        created: when it was made, UTC.
        labels: scope, model, provider and tier.
        spent: what was booked, nano-dollars; ``None`` if the decision is not settled.
        record: of the decision, with the settled usage.
    """

    id: str
    state: str
    created: datetime
    labels: Mapping[str, str]
    spent: int | None
    record: DecisionRecord


@dataclass(frozen=True, slots=True)
class Unparsed:
    """An undamaged row whose record this release cannot read.

    Attributes:
        created: when the decision was made, UTC.
        reason: what is wrong with the record, without its content; the same for all records with this fault.
        remedy: what to do.
    """

    created: datetime
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that cannot be read.

    Attributes:
        column: that cannot be read.
        reason: what is wrong with it, without its content.
        decision_id: of the decision in a ledger, which cannot be written again; empty for a row of a file.
    """

    column: str
    reason: str
    decision_id: str = ""


LogRow = LoggedDecision | Unparsed | Damaged


# --- Ledgers -----------------------------------------------------------------------------------


def logged(decided: StoredDecision) -> LogRow:
    """A row of a ledger, with its usage in its record."""
    try:
        record = parse(decided.record, decided.usage)
    except DamagedRecord as error:
        return Damaged("record", error.reason, decided.id)
    except RecordError as error:
        return Unparsed(decided.created, error.reason, error.remedy)
    return LoggedDecision(
        decided.id,
        decided.state.value,
        decided.created,
        decided.labels,
        None if decided.actual is None else decided.actual.money,
        record,
    )


def decisions_of(
    ledger: Ledger, *, state: HoldState | None = None, newest_first: bool = False
) -> Iterator[StoredDecision]:
    """Every decision of a ledger, read page by page.

    Args:
        ledger: the store.
        state: only decisions in this state.
        newest_first: oldest first otherwise.

    Raises:
        Unavailable: the store cannot be read.
    """
    after: str | None = None
    while True:
        page = ledger.decisions(state=state, after=after, count=_PAGE, newest_first=newest_first)
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def _sqlite(path: Path, *, newest_first: bool) -> Iterator[StoredDecision]:
    """The rows of a SQLite ledger, read a page at a time because a server may be using it."""
    if not path.is_file():
        raise InvalidInput(
            f"there is no ledger {path}; name one such as sqlite:PATH{default_ledger_hint()}",
            field=str(path),
        )

    def page_of(since: int, until: int | None) -> list[StoredDecision]:
        return read(
            path,
            lambda reader: decisions(
                reader, {}, since, until, None, _PAGE, newest_first=newest_first
            ),
        )

    since, until = 0, None
    while True:
        page = page_of(since, until)
        yield from page
        if len(page) < _PAGE:
            return
        last = to_micros(page[-1].created)
        since, until = (since, last) if newest_first else (last + 1, until)


def _ledger(source: str, *, newest_first: bool = False) -> Iterator[LogRow]:
    path = sqlite_path(source)
    if path is not None:
        yield from map(logged, _sqlite(path, newest_first=newest_first))
    else:
        with closing(open_ledger(source)) as ledger:
            yield from map(logged, decisions_of(ledger, newest_first=newest_first))


def _is_ledger(source: str) -> bool:
    kind, _, rest = source.partition(":")
    return kind in _LEDGERS and bool(rest)


# --- Files -------------------------------------------------------------------------------------


@contextmanager
def _parquet_file(path: Path) -> Iterator[Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MitsumoriError(
            f"{path}: reading Parquet needs pyarrow: `pip install 'mitsumori[export]'`, or write .csv",
            field=str(path),
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except pa.ArrowException:
        raise _unreadable(path, "is not a readable Parquet file") from None
    except (OSError, UnicodeDecodeError) as error:
        # Of damage inside the file, Arrow makes an error of the system without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _unreadable(path, "is damaged") from None


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    with _parquet_file(path) as file:
        present = [name for name in (*_COLUMNS, _LABELS) if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=_PAGE, columns=present):
            yield from batch.to_pylist()


def _json_rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    with path.open(encoding="utf-8-sig") as lines:
        for line in lines:
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    row = None
                yield row if isinstance(row, dict) else None


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    csv.field_size_limit(2**31 - 1)  # a prompt may be longer than the default of 128 KiB
    with path.open(encoding="utf-8-sig", newline="") as lines:
        yield from csv.DictReader(lines)


_READERS = {".parquet": _parquet_rows, ".jsonl": _json_rows, ".csv": _csv_rows}


def _header(path: Path) -> Sequence[str]:
    """Names of the columns of a file; none where it has none."""
    match path.suffix.lower():
        case ".parquet":
            with _parquet_file(path) as file:
                return list(file.schema_arrow.names)
        case ".csv":
            with path.open(encoding="utf-8-sig", newline="") as lines:
                return csv.DictReader(lines).fieldnames or ()
        case ".jsonl":
            return list(next(_json_rows(path), None) or ())
        case _:
            return ()


def _unreadable(path: Path, why: str, remedy: str = _AGAIN) -> InvalidInput:
    return InvalidInput(f"{path}: {why}; {remedy}", reason="LOG_UNREADABLE", field=str(path))


@contextmanager
def _clear_errors(path: Path, remedy: str = _AGAIN) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8 text", remedy) from None
    except csv.Error:
        raise _unreadable(path, "is not readable CSV", remedy) from None
    except OSError as error:
        # Not its own words: Arrow's repeat the path.
        why = os.strerror(error.errno) if error.errno else "the disk failed"
        raise InvalidInput(
            f"{path}: cannot be read ({why}); name a decision log", field=str(path)
        ) from None


def _moment(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _spent(value: object) -> int | None:
    if value is None or value == "":
        return None
    return usd_to_nanos(Decimal(str(value)))


def _labels(value: object) -> dict[str, str]:
    """Labels from the text ``name=value name=value``; a value ends before the next name, not at a space."""
    pairs = (pair.partition("=") for pair in _NEXT_LABEL.split(str(value or "").lstrip("'")))
    return {name: text for name, equals, text in pairs if equals}


def _of_row(row: Mapping[str, Any] | None) -> LogRow:
    if row is None:
        return Damaged("row", "is not a JSON object")
    missing = next((name for name in _COLUMNS if name not in row), None)
    if missing is not None:
        return Damaged(missing, "is missing")
    try:
        created = _moment(row["created"])
    except (ValueError, OverflowError):  # in UTC it may lie outside the years 1 to 9999
        return Damaged("created", "is no moment in ISO 8601")
    try:
        spent = _spent(row["spent_usd"])
    except (InvalidOperation, MitsumoriError):
        return Damaged("spent_usd", "is no amount in USD")
    try:
        record = parse(str(row["record"]))
    except DamagedRecord as error:
        return Damaged("record", error.reason)
    except RecordError as error:
        return Unparsed(created, error.reason, error.remedy)
    labels = _labels(row.get(_LABELS))
    return LoggedDecision(
        str(row["decision_id"]), str(row["state"]), created, labels, spent, record
    )


def _file(path: Path) -> Iterator[LogRow]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"{path}: a decision log is a ledger (sqlite:PATH, postgresql://…) or one of "
            f"{', '.join(_SUFFIXES)}",
            field=str(path),
        )
    checked = False
    with _clear_errors(path):
        for row in reader(path):
            if not checked and row is not None:
                lacking = [name for name in _COLUMNS if name not in row]
                if lacking:
                    raise _unreadable(
                        path, f"is not a decision log: it has no column {lacking[0]!r}"
                    )
                checked = True
            yield _of_row(row)


# --- Either ------------------------------------------------------------------------------------


def is_decision_log(source: str) -> bool:
    """Whether an address or a file is a decision log, by the columns that :func:`read_log` needs.

    Raises:
        InvalidInput: the file cannot be read.
    """
    if _is_ledger(source):
        return True
    path = Path(source)
    with _clear_errors(path, "name a history, or a file of `mitsumori decisions --out`"):
        return set(_COLUMNS) <= set(_header(path))


def read_log(source: str) -> Iterator[LogRow]:
    """Every row of a decision log: of a ledger oldest first, of a file in the order of the file.

    Args:
        source: ``sqlite:PATH``, ``postgresql://…``, or a ``.parquet``, ``.jsonl`` or ``.csv`` file that
            ``mitsumori decisions --out`` wrote.

    Yields:
        A decision, or what is wrong with the row. The first row is number 1.

    Raises:
        InvalidInput: the source is not a decision log, or cannot be read.
        Unavailable: the ledger cannot be read.
    """
    return _ledger(source) if _is_ledger(source) else _file(Path(source))


def read_newest(source: str, count: int) -> list[LoggedDecision | Unparsed]:
    """The newest rows of a decision log, oldest first. Memory grows with ``count``, not with the log.

    Args:
        source: as for :func:`read_log`.
        count: how many, at most.

    Raises:
        InvalidInput: the source is not a decision log, cannot be read, or has a damaged row.
        BadArtifact: the ledger has a damaged row.
        Unavailable: the ledger cannot be read.
    """
    if _is_ledger(source):
        return list(islice(undamaged(_ledger(source, newest_first=True)), count))[::-1]
    numbered = enumerate(undamaged(_file(Path(source))))
    newest = nlargest(count, numbered, key=lambda one: (one[1].created, one[0]))
    return [row for _, row in reversed(newest)]


def undamaged(rows: Iterable[LogRow]) -> Iterator[LoggedDecision | Unparsed]:
    """The rows, up to the first damaged one.

    Raises:
        InvalidInput: a row of a file is damaged; names its number and column.
        BadArtifact: a row of a ledger is damaged; names the decision and the column.
    """
    for number, row in enumerate(rows, start=1):
        if isinstance(row, Damaged):
            if row.decision_id:
                raise damaged_decision(row.decision_id, row.column, row.reason)
            raise InvalidInput(
                f"row {number} of the log: {row.column}: {row.reason}; write the log again with "
                "`mitsumori decisions --out`",
                reason="LOG_DAMAGED",
                field=row.column,
            )
        yield row
