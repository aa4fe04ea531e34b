"""Usage and decisions as files for accountants: CSV, Parquet, JSON lines; amounts exact."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path

from router.core.errors import InvalidInput, MitsumoriError

__all__ = ["Currency", "check_suffix", "parse_currency", "usd", "write_table"]


@dataclass(frozen=True, slots=True)
class Currency:
    """A display currency. The ledger stays in USD.

    Attributes:
        code: three capital letters.
        per_usd: units of it per dollar, > 0.
        day: of the rate.
    """

    code: str
    per_usd: Decimal
    day: date

    @property
    def column(self) -> str:
        """Suffix of a column name: the currency and the day of its rate."""
        return f"{self.code.lower()}_at_{self.day}"

    def __str__(self) -> str:
        return f"{self.code} of {self.day}"

    def text(self, nanos: int) -> str:
        """Nano-dollars in this currency, for people: two decimals, or three significant digits."""
        amount = self.convert(nanos)
        return f"{amount:,.2f}" if amount >= 1 else f"{amount:.3g}"

    def convert(self, nanos: int) -> Decimal:
        """Nano-dollars in this currency, exact to nine decimals."""
        amount = usd(nanos) * self.per_usd
        return amount.quantize(Decimal("1.000000000"))


def parse_currency(text: str) -> Currency:
    """A currency from text such as ``JPY=154.30@2026-11-20``.

    Raises:
        InvalidInput: the text has another form.
    """
    code, equals, rest = text.partition("=")
    rate, at, day = rest.partition("@")
    try:
        per_usd = Decimal(rate)
        parsed = date.fromisoformat(day)
    except (InvalidOperation, ValueError):
        per_usd, parsed = Decimal(0), date.min
    good = equals and at and len(code) == 3 and code.isascii() and code.isupper()
    if not (good and per_usd.is_finite() and per_usd > 0):
        raise InvalidInput(
            f"--currency: {text!r} is not a currency with a dated rate; write JPY=154.30@2026-11-20",
            field="currency",
        )
    return Currency(code, per_usd, parsed)


def usd(nanos: int) -> Decimal:
    """Nano-dollars as exact dollars."""
    return Decimal(nanos).scaleb(-9)


def check_suffix(path: Path) -> None:
    """Refuse a file that :func:`write_table` could not write, before its rows are made.

    Raises:
        InvalidInput: its suffix is none of ``.csv``, ``.jsonl`` and ``.parquet``.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".parquet"):
        raise InvalidInput(
            f"--out: cannot write {suffix or 'a file without suffix'}; use .csv, .jsonl or .parquet",
            field="out",
        )


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write all rows to a file, in the format of its suffix, or nothing; return how many.

    Args:
        path: ``.csv``, ``.jsonl`` or ``.parquet``.
        columns: names.
        rows: values; decimals stay exact (as text in CSV and JSON, as decimals in Parquet).

    Raises:
        InvalidInput: another suffix.
        MitsumoriError: the file cannot be written, or Parquet needs its extra.
    """
    listed = [list(row) for row in rows]
    check_suffix(path)
    match path.suffix.lower():
        case ".csv":
            content = _csv(columns, listed)
        case ".jsonl":
            lines = (
                json.dumps(dict(zip(columns, row, strict=True)), default=str) for row in listed
            )
            content = "".join(f"{line}\n" for line in lines).encode()
        case _:
            content = _parquet(columns, listed)
    scratch = path.with_name(f".{path.name}.part")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise MitsumoriError(f"{path} cannot be written ({error.strerror})", field="out") from None
    return len(listed)


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(value) for value in row])
    return out.getvalue().encode()


def _harmless(value: object) -> object:
    """A value that spreadsheets do not run as a formula: text that looks like one gets an apostrophe."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return f"{value:f}" if isinstance(value, Decimal) else value


def _parquet(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MitsumoriError(
            "Parquet needs pyarrow: `pip install 'mitsumori[export]'`, or write .csv", field="out"
        ) from None
    arrays = {}
    for place, name in enumerate(columns):
        values = [row[place] for row in rows]
        kind = pa.decimal128(38, 9) if any(isinstance(v, Decimal) for v in values) else None
        arrays[name] = pa.array(values, type=kind)
    out = io.BytesIO()
    pq.write_table(pa.table(arrays), out)
    return out.getvalue()
