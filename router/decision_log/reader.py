"""The decision log as replay and training read it: from a ledger, or from what `decisions --out` wrote.

Rows come one by one, oldest first, so that a log of any length is read in bounded memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from router.core.errors import InvalidInput, MitsumoriError
from router.core.money import usd_to_nanos
from router.ledger.address import open_ledger
from router.ledger.base import StoredDecision
from router.ledger.sqlite.file import open_reader, store_errors
from router.ledger.sqlite.queries import log
from router.ledger.storage_format import to_micros

__all__ = ["Damaged", "LoggedDecision", "read_log"]

_PAGE = 500
_COLUMNS = ("decision_id", "state", "created", "spent_usd", "labels", "record")
_SUFFIXES = (".parquet", ".jsonl", ".csv")
_AGAIN = "write it again with `mitsumori decisions --out`"


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """One decision of the log.

    Attributes:
        id: of the decision.
        state: ``quoted``, ``held``, ``settled``, ``released`` or ``expired``.
        created: when it was made, aware.
        labels: scope, model, provider and tier.
        spent: what was settled, nano-dollars; ``None`` where nothing was.
        record: of :func:`record.record_of`, with what was settled under ``usage``.
    """

    id: str
    state: str
    created: datetime
    labels: Mapping[str, str]
    spent: int | None
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Damaged:
    """A row that cannot be read: the column, and what is wrong with it. Never its content."""

    column: str
    reason: str


def _of_ledger(decided: StoredDecision) -> LoggedDecision:
    return LoggedDecision(
        decided.id,
        decided.state.value,
        decided.created,
        decided.labels,
        None if decided.actual is None else decided.actual.money,
        {**decided.record, "usage": dict(decided.usage)},
    )


def _sqlite(path: Path) -> Iterator[LoggedDecision]:
    """The rows of a SQLite ledger, which may be in use: it is only read."""
    if not path.is_file():
        raise InvalidInput(
            f"there is no ledger {path}; name one such as sqlite:PATH", field=str(path)
        )
    with store_errors(path), closing(open_reader(path)) as connection:
        since = 0
        while True:
            page = log(connection, {}, since, None, None, _PAGE, newest_first=False)
            yield from map(_of_ledger, page)
            if len(page) < _PAGE:
                return
            since = to_micros(page[-1].created) + 1


def _postgres(address: str) -> Iterator[LoggedDecision]:
    ledger = open_ledger(address)
    try:
        after: str | None = None
        while True:
            page = ledger.decisions(after=after, count=_PAGE)
            yield from map(_of_ledger, page)
            if len(page) < _PAGE:
                return
            after = page[-1].id
    finally:
        ledger.close()


# --- Files -------------------------------------------------------------------------------------


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any] | None]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MitsumoriError(
            f"{path}: reading Parquet needs pyarrow: `pip install 'mitsumori[export]'`, or write .csv",
            field=str(path),
        ) from None
    try:
        file = pq.ParquetFile(path)
        present = [name for name in _COLUMNS if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=_PAGE, columns=present):
            yield from batch.to_pylist()
    except pa.ArrowException:
        raise _unreadable(path, "is no readable Parquet file") from None


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


def _unreadable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"{path}: {why}; {_AGAIN}", reason="LOG_UNREADABLE", field=str(path))


def _moment(value: object) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _spent(value: object) -> int | None:
    if value is None or value == "":
        return None
    return usd_to_nanos(Decimal(str(value)))


def _labels(value: object) -> dict[str, str]:
    """Labels from the text ``name=value name=value``; a value with a space loses what follows it."""
    pairs = (pair.partition("=") for pair in str(value or "").lstrip("'").split(" "))
    return {name: text for name, equals, text in pairs if equals}


def _of_row(row: Mapping[str, Any] | None) -> LoggedDecision | Damaged:
    if row is None:
        return Damaged("row", "is not a JSON object")
    try:
        record = json.loads(row["record"])
    except (TypeError, ValueError, RecursionError):
        return Damaged("record", "is not JSON")
    if not isinstance(record, dict) or not isinstance(record.get("usage", {}), dict):
        return Damaged("record", "is not a record of a decision")
    try:
        created = _moment(row["created"])
    except ValueError:
        return Damaged("created", "is no moment in ISO 8601")
    try:
        spent = _spent(row["spent_usd"])
    except (InvalidOperation, MitsumoriError):
        return Damaged("spent_usd", "is no amount in USD")
    return LoggedDecision(
        str(row["decision_id"]), str(row["state"]), created, _labels(row.get("labels")), spent, record
    )  # fmt: skip


def _file(path: Path) -> Iterator[LoggedDecision | Damaged]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidInput(
            f"{path}: a decision log is a ledger (sqlite:PATH, postgresql://…) or one of "
            f"{', '.join(_SUFFIXES)}",
            field=str(path),
        )
    checked = False
    try:
        for row in reader(path):
            if not checked and row is not None:
                lacking = [name for name in _COLUMNS if name != "labels" and name not in row]
                if lacking:
                    raise _unreadable(
                        path, f"without the column {lacking[0]!r} this is no decision log"
                    )
                checked = True
            try:
                yield _of_row(row)
            except KeyError as missing:
                yield Damaged(str(missing.args[0]), "is missing")
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8 text") from None
    except csv.Error:
        raise _unreadable(path, "is no readable CSV") from None
    except OSError as error:
        raise InvalidInput(
            f"{path}: cannot be read ({error.strerror}); name a decision log", field=str(path)
        ) from None


def read_log(source: str) -> Iterator[LoggedDecision | Damaged]:
    """Every row of a decision log, oldest first; of a file, in its order.

    Args:
        source: ``sqlite:PATH``, ``postgresql://…``, or a ``.parquet``, ``.jsonl`` or ``.csv`` file that
            ``mitsumori decisions --out`` wrote.

    Yields:
        A decision, or what is wrong with the row. The first row is number 1.

    Raises:
        InvalidInput: it is no decision log, or cannot be read.
        Unavailable: the ledger cannot be read.
    """
    kind, _, rest = source.partition(":")
    if kind == "sqlite" and rest:
        yield from _sqlite(Path(rest).expanduser())
    elif kind in ("postgresql", "postgres") and rest:
        yield from _postgres(source)
    else:
        yield from _file(Path(source))
