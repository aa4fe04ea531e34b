"""Writer of history files: redacts, removes repeats, checks and writes in bounded memory.

Memory holds one batch of rows, 16 bytes and their overhead per attempt and per prompt to find repeats, and
the reports of bad rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from router.core.errors import InvalidInput, MitsumoriError
from training.histories.history import LISTED, NUMERIC, Attempt, BadRow, check_rows, write_rejected
from training.histories.log_import.row_adapters import (
    AdaptedRow,
    ExcludedRow,
    LoggedAttempt,
    file_name,
)
from training.histories.split import group_of

__all__ = ["GROUP_COLUMN", "AdaptedRows", "Imported", "write_history"]

GROUP_COLUMN = "prompt_group"
"""A column beyond the contract: the key of :func:`split.group_of`; splits keep a group together."""

_BATCH = 1_000
_SCHEMA = pa.schema(
    [(name, pa.float64() if name in NUMERIC else pa.string()) for name in Attempt.model_fields]
    + [(GROUP_COLUMN, pa.string())]
)
_TEXTS = tuple(name for name in Attempt.model_fields if name not in NUMERIC)

AdaptedRows = Iterable[tuple[str, AdaptedRow]]
"""The rows of an import, each with its source: a file or an address."""


@dataclass
class Imported:
    """Counts of an import.

    Attributes:
        read: attempts, bad rows and excluded rows together.
        attempts: written.
        prompts: distinct prompts among them, by group.
        judged: attempts with a quality.
        with_propensity: attempts with the probability of their choice.
        repeats: exact repeats that were collapsed.
        redacted: attempts in whose prompt something was replaced; ``None`` without redaction.
        excluded: (reason, remedy) → rows.
        rejected: source → what was wrong with its bad rows.
        rejected_rows: how many rows were bad.
    """

    read: int = 0
    attempts: int = 0
    prompts: int = 0
    judged: int = 0
    with_propensity: int = 0
    repeats: int = 0
    redacted: int | None = None
    excluded: Counter[tuple[str, str]] = field(default_factory=Counter)
    rejected: dict[str, list[BadRow]] = field(default_factory=dict)
    rejected_rows: int = 0


def _digest(*parts: object) -> bytes:
    text = json.dumps(parts, default=str)  # ASCII, so that half of a surrogate pair is accepted
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _repeat_key(attempt: LoggedAttempt) -> bytes:
    """A key that exact repeats share: prompt, model, answer and time; without answer and time, all values."""
    values = attempt.values
    named = [values.get(name) for name in ("prompt", "model", "timestamp", "quality", "judge")]
    if attempt.answer or values.get("timestamp") is not None:
        return _digest(*named, attempt.answer)
    return _digest(sorted(values.items()))


def _identified(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with a ``prompt_id``: the group, then a hash of the exact text; it stands for one text.

    Ids of one group begin alike, so that its prompts sort together.
    """
    text = values.get("prompt")
    if not isinstance(text, str) or not text.strip():
        return dict(values)
    group = group_of(text)
    exact = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return {**values, "prompt_id": f"{group[:16]}-{exact}", GROUP_COLUMN: group}


def _unwritable(values: Mapping[str, Any]) -> str | None:
    """The column whose text cannot be encoded as UTF-8; ``None`` where every text can."""
    for name in _TEXTS:
        value = values.get(name)
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                return name
    return None


class _Writer:
    """Collects rows, checks them in batches, and appends the sound ones to a Parquet file."""

    def __init__(self, path: Path, done: Imported) -> None:
        self._file = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._done = done
        self._held: list[tuple[str, LoggedAttempt, dict[str, Any]]] = []
        self._groups: set[bytes] = set()

    def add(self, source: str, attempt: LoggedAttempt, values: dict[str, Any]) -> None:
        self._held.append((source, attempt, values))
        if len(self._held) >= _BATCH:
            self.flush()

    def reject(self, source: str, *bad: BadRow) -> None:
        self._done.rejected.setdefault(source, []).extend(bad)
        self._done.rejected_rows += 1

    def flush(self) -> None:
        if not self._held:
            return
        attempts, bad = check_rows([values for _, _, values in self._held])
        wrong: dict[int, list[BadRow]] = {}
        for one in bad:
            wrong.setdefault(one.row - 1, []).append(one)
        for place, found in sorted(wrong.items()):
            source, attempt, _ = self._held[place]
            named = (
                BadRow(attempt.row, attempt.names.get(b.column, b.column), b.reason) for b in found
            )
            self.reject(source, *named)
        sound = np.ones(len(attempts), dtype=bool)
        sound[list(wrong)] = False
        kept = attempts[sound]
        groups = [
            values[GROUP_COLUMN]
            for (_, _, values), good in zip(self._held, sound, strict=True)
            if good
        ]
        columns = [
            pa.array(kept[name], type=_SCHEMA.field(name).type, from_pandas=True)
            for name in Attempt.model_fields
        ]
        self._file.write_table(pa.table([*columns, pa.array(groups, pa.string())], schema=_SCHEMA))
        self._groups.update(bytes.fromhex(group) for group in groups)
        self._done.attempts += len(kept)
        self._done.judged += int(kept["quality"].notna().sum())
        self._done.with_propensity += int(kept["propensity"].notna().sum())
        self._held.clear()

    def close(self) -> None:
        self.flush()
        self._file.close()
        self._done.prompts = len(self._groups)

    def abandon(self) -> None:
        self._file.close()


def _take(
    found: AdaptedRows, writer: _Writer, done: Imported, redact: Callable[[str], str] | None
) -> None:
    clean = lru_cache(maxsize=256)(redact) if redact is not None else None
    seen: set[bytes] = set()
    for source, one in found:
        done.read += 1
        if isinstance(one, ExcludedRow):
            done.excluded[one.reason, one.remedy] += 1
            continue
        if isinstance(one, BadRow):
            writer.reject(source, one)
            continue
        key = _repeat_key(one)
        if key in seen:
            done.repeats += 1
            continue
        seen.add(key)
        values = dict(one.values)
        if clean is not None:
            before = values.get("prompt")
            for name in ("prompt", "user"):
                if isinstance(values.get(name), str):
                    values[name] = clean(values[name])
            done.redacted = (done.redacted or 0) + (values.get("prompt") != before)
        column = _unwritable(values)
        if column is not None:
            name = one.names.get(column, column)
            writer.reject(source, BadRow(one.row, name, "holds half of a surrogate pair"))
            continue
        writer.add(source, one, _identified(values))
    writer.close()


def _refusal(done: Imported, reports: Iterable[Path]) -> InvalidInput:
    listed = [f"{file_name(s)} {bad}" for s, rows in done.rejected.items() for bad in rows]
    more = f"; and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    where = ", ".join(map(str, reports))
    return InvalidInput(
        f"{done.rejected_rows:,} of {done.read:,} rows are bad: {'; '.join(listed[:LISTED])}{more}. All are "
        f"listed in {where}; correct them, or skip them with --skip-bad-rows",
        reason="BAD_ROWS",
        metadata={"bad_rows": str(done.rejected_rows)},
    )


def _nothing(done: Imported) -> InvalidInput:
    reasons = [
        f"{count:,}: {reason}" + (f" ({remedy})" if remedy else "")
        for (reason, remedy), count in done.excluded.most_common()
    ]
    why = "; ".join(reasons) or "there are no rows"
    return InvalidInput(
        f"no attempt to write, of {done.read:,} rows: {why}", reason="NOTHING_TO_IMPORT"
    )


def _report_rejected(done: Imported, out: Path) -> list[Path]:
    """One file per source with bad rows, beside the history."""
    written: list[Path] = []
    for source, bad in done.rejected.items():
        stem = f"{out.stem}-rejected-{Path(file_name(source)).stem}"
        target = out.with_name(f"{stem}.jsonl")
        if target in written:
            target = out.with_name(f"{stem}-{len(written)}.jsonl")
        write_rejected(bad, target)
        written.append(target)
    return written


def write_history(
    found: AdaptedRows,
    out: Path,
    *,
    redact: Callable[[str], str] | None,
    skip_bad_rows: bool = False,
) -> tuple[Imported, list[Path]]:
    """Write a history; whole or not at all.

    Rows are checked by the code that reads histories. An exact repeat (of prompt, model, answer and time)
    is written once. Each row gets a ``prompt_id`` whose beginning is its group, and the group itself as
    :data:`GROUP_COLUMN`.

    Args:
        found: the rows of the logs.
        out: the Parquet file.
        redact: takes personal data out of prompts and users; ``None`` leaves them.
        skip_bad_rows: skip bad rows instead of refusing; they are reported either way.

    Returns:
        The counts, and the files that list the bad rows.

    Raises:
        InvalidInput: rows are bad, or there is no attempt to write; only the reports are written then.
        MitsumoriError: the file cannot be written.
    """
    done = Imported(redacted=None if redact is None else 0)
    scratch = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        writer = _Writer(scratch, done)
        try:
            _take(found, writer, done, redact)
        finally:
            writer.abandon()
        reports = _report_rejected(done, out)
        if done.rejected_rows and (not skip_bad_rows or not done.attempts):
            raise _refusal(done, reports)
        if not done.attempts:
            raise _nothing(done)
        scratch.replace(out)
    except OSError as error:
        raise MitsumoriError(
            f"{out} cannot be written ({error.strerror}); name another file with --out",
            reason="NOT_WRITABLE",
            field="out",
        ) from None
    finally:
        scratch.unlink(missing_ok=True)
    return done, reports
