"""Recent traffic from the decision log: a file of ``mitsumori decisions --out``, or a ledger.

The log is enough even where it kept nothing of the prompts: its records hold the lexical features and the
scores. Only vectors need more.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from pyarrow import ArrowException
from rich.console import Console

from router.classifier.bundle import Bundle
from router.classifier.features.lexical import scripts_of
from router.core.errors import InvalidInput
from router.ledger.address import open_ledger
from router.ledger.base import StoredDecision
from router.ledger.sqlite.file import open_reader, store_errors
from router.ledger.sqlite.queries import log
from router.ledger.storage_format import to_micros
from training.drift.traffic import (
    Traffic,
    arm_names,
    moment_of,
    of_history,
    settled_of,
    week_of,
)
from training.histories.history import read_history

__all__ = ["Logged", "is_decision_log", "of_decisions", "read_decisions", "read_recent"]

_PAGE = 500
_LOG_COLUMNS = ("decision_id", "state", "created", "record")


@dataclass(frozen=True)
class Logged:
    """A row of the decision log: its moment, and its record with ``usage``."""

    created: datetime | None
    record: Mapping[str, Any]


def _sqlite(path: Path, most: int) -> Iterator[StoredDecision]:
    """The newest decisions of a SQLite ledger, which may be in use: it is only read."""
    if not path.is_file():
        raise InvalidInput(f"--recent: there is no ledger {path}", field="recent")
    with store_errors(path), closing(open_reader(path)) as connection:
        until = None
        while most > 0:
            page = log(connection, {}, 0, until, None, min(_PAGE, most), newest_first=True)
            yield from page
            if len(page) < _PAGE:
                return
            most -= len(page)
            until = to_micros(page[-1].created)


def _postgres(address: str, most: int) -> Iterator[StoredDecision]:
    ledger = open_ledger(address)
    try:
        after: str | None = None
        while most > 0:
            page = ledger.decisions(after=after, count=min(_PAGE, most), newest_first=True)
            yield from page
            if len(page) < _PAGE:
                return
            most -= len(page)
            after = page[-1].id
    finally:
        ledger.close()


def _exported(path: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of a file that ``mitsumori decisions --out`` wrote."""
    match path.suffix.lower():
        case ".parquet":
            yield from pq.read_table(path, columns=list(_LOG_COLUMNS)).to_pylist()
        case ".csv":
            with path.open(encoding="utf-8", newline="") as lines:
                yield from csv.DictReader(lines)
        case _:
            with path.open(encoding="utf-8") as lines:
                yield from (json.loads(line) for line in lines if line.strip())


def is_decision_log(recent: str) -> bool:
    """Whether an address or a file is a decision log; a history otherwise.

    Raises:
        InvalidInput: the file cannot be read.
    """
    if recent.startswith(("sqlite:", "postgresql:", "postgres:")):
        return True
    path = Path(recent)
    try:
        if path.suffix.lower() == ".parquet":
            return set(_LOG_COLUMNS) <= set(pq.read_schema(path).names)
        with path.open(encoding="utf-8-sig") as lines:
            first = lines.readline()
        if path.suffix.lower() == ".csv":
            return set(_LOG_COLUMNS) <= set(next(csv.reader([first]), []))
        row = json.loads(first or "null")
        return isinstance(row, dict) and set(_LOG_COLUMNS) <= set(row)
    except (OSError, UnicodeError, ArrowException) as error:
        raise InvalidInput(
            f"--recent: {recent} cannot be read ({type(error).__name__}); name a history, a file of"
            " `mitsumori decisions --out`, or a ledger such as sqlite:PATH",
            field="recent",
        ) from None
    except ValueError:
        return False


def read_decisions(recent: str, *, most: int) -> list[Logged]:
    """The newest ``most`` rows of a decision log, an export or a ledger; oldest first.

    Raises:
        InvalidInput: it is not what it should be.
        Unavailable, BadArtifact: the ledger cannot be read.
    """
    kind, _, rest = recent.partition(":")
    if kind in ("sqlite", "postgresql", "postgres"):
        found = (
            _sqlite(Path(rest).expanduser(), most) if kind == "sqlite" else _postgres(recent, most)
        )
        rows = [Logged(one.created, {**one.record, "usage": dict(one.usage)}) for one in found]
        return rows[::-1]
    try:
        rows = [
            Logged(moment_of(row["created"]), json.loads(row["record"]))
            for row in _exported(Path(recent))
        ]
    except (KeyError, TypeError, ValueError, OSError, ArrowException):
        raise InvalidInput(
            f"--recent: {recent} is damaged; write it again with `mitsumori decisions --out`",
            field="recent",
        ) from None
    return sorted(rows, key=lambda row: row.created or datetime.min.replace(tzinfo=UTC))[-most:]


def of_decisions(bundle: Bundle, rows: Sequence[Logged]) -> Traffic:
    """Recent traffic from a decision log; nothing of the prompts need have been kept.

    Features and scores are those of the moment of the decision. Scores and outcomes count only where this
    bundle made them, and scores not of two stages; vectors only where its encoder did
    (``log_prompts: embedding``).
    """
    arms, width = arm_names(bundle), bundle.classifier.features
    features: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    vectors: dict[str, npt.NDArray[np.float32]] = {}
    outcomes: dict[tuple[str, int], tuple[int, float, bool, str]] = {}
    odd = others = 0
    for row in rows:
        record = row.record
        values = record.get("features")
        if not isinstance(values, list) or len(values) < width:
            odd += 1
            continue
        values = values[:width]
        promised = record.get("p_adequate", {})
        # A repeated prompt is no second witness. Where no hash was kept, equal scores tell it: they come from
        # the text, and prompts of the same form differ in them.
        key = record.get("prompt_hash") or json.dumps([values, promised])
        features.setdefault(key, values)
        kept = record.get("prompt_embedding")
        if kept and kept.get("encoder_sha256") == bundle.encoder.manifest.sha256:
            vectors.setdefault(key, _vector(kept["float16"]))
        if record.get("bundle") != bundle.version or set(promised) != set(arms):
            others += 1
            continue
        if bundle.second is None:
            scores.setdefault(key, [promised[arm] for arm in arms])
        outcome = _outcome(bundle, arms, row)
        if outcome is not None:
            outcomes[key, outcome[0]] = outcome
    notes = [f"{len(rows):,} decisions read, {len(features):,} distinct prompts"]
    if odd:
        notes.append(f"{odd:,} decisions of other features were left out")
    if others:
        notes.append(
            f"{others:,} decisions were made by another bundle than {bundle.version}: their scores and"
            " outcomes say nothing of its promises and were left out"
        )
    untold = []
    if not vectors:
        untold.append(
            "vectors: the log kept none of this bundle's encoder, so a change of topic shows only in"
            " form, length, language and score; `log_prompts: embedding` keeps them"
        )
    if bundle.second is not None:
        untold.append(
            "score: which of the two stages spoke depends on the goals of the callers, so logged scores"
            " cannot be compared with those of training; name a history with --recent"
        )
    matrix = np.asarray(list(features.values()), dtype=np.float32).reshape(-1, width)
    return Traffic(
        arms,
        matrix,
        scripts_of(matrix),
        np.asarray(list(scores.values()), dtype=np.float64).reshape(-1, len(arms)),
        np.stack(list(vectors.values())) if vectors else np.zeros((0, 0), dtype=np.float32),
        settled_of(outcomes.values()),
        tuple(notes),
        tuple(untold),
    )


def _vector(float16: str) -> npt.NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(float16), dtype="<f2").astype(np.float32)


def _outcome(
    bundle: Bundle, arms: Sequence[str], row: Logged
) -> tuple[int, float, bool, str] | None:
    usage = row.record.get("usage", {})
    quality = usage.get("quality")
    if quality is None:
        return None
    model = usage.get("model")
    arm: str | None = next(
        (one["arm"] for one in row.record.get("candidates", ()) if one["model"] == model), None
    )
    if arm is None or arm not in arms:
        return None
    return (
        list(arms).index(arm),
        float(row.record["p_adequate"][arm]),
        quality >= bundle.manifest.adequacy_threshold,
        week_of(row.created),
    )


def read_recent(
    bundle: Bundle, recent: str, *, most: int, cache: Path, console: Console
) -> Traffic:
    """Recent traffic from a history, an export of the decision log, or a ledger.

    Raises:
        InvalidInput: it cannot be read.
    """
    if is_decision_log(recent):
        return of_decisions(bundle, read_decisions(recent, most=most))
    history = read_history(Path(recent), skip_bad_rows=True)
    found = of_history(bundle, history, most=most, cache=cache, console=console)
    bad = (f"{history.rejected_rows:,} bad rows left out",) if history.rejected_rows else ()
    return replace(found, notes=(f"{len(found.features):,} distinct prompts", *bad))
