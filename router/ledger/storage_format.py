"""The storage format of the ledger: checks of values, JSON, times as microseconds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from router.core.bounded_cache import BoundedCache, bytes_of_pairs
from router.core.errors import BadArtifact, InvalidInput
from router.core.limits import Amounts, Limit, SoftAction, Unit, Window
from router.ledger.base import Amendment, Hold, Settlement, StoredDecision, StoredTask
from router.ledger.rows import Account, Amended, Row
from router.ledger.shared_state import MAX_PUBLISHED, SharedRow

__all__ = [
    "MAX_AMOUNT",
    "MAX_COUNT",
    "MAX_LABELS",
    "MAX_LIMIT",
    "MAX_REASON",
    "QUARTER_HOUR_MICROS",
    "amended_usage",
    "amendments_of",
    "check_amendment",
    "check_count",
    "check_hold",
    "check_labels",
    "check_limit",
    "check_settlement",
    "check_shared",
    "damaged_decision",
    "from_micros",
    "limit_from_json",
    "limit_to_json",
    "quarter_hour_of",
    "storable",
    "stored_decision",
    "stored_task",
    "to_json",
    "to_micros",
]

MAX_AMOUNT = 10**16
"""The largest hold or settlement: ten million dollars in nano-dollars."""
MAX_LIMIT = 10**18
"""The largest limit: a billion dollars in nano-dollars."""
MAX_LABELS = 64
"""The most labels of a decision or of a filter."""
MAX_COUNT = 10_000
"""The longest page of the decision log."""
QUARTER_HOUR_MICROS = 900 * 1_000_000
"""A quarter of an hour in microseconds; the days of every time zone begin at a multiple of it."""
MAX_REASON = 500
"""Characters of the reason of an amendment, at most."""
_MAX_TEXT = 1_000
_MAX_TTL_S = 10 * 366 * 86_400.0
_MAX_SHARED = {"kind": 100, "key": 1_000, "value": 8_000}
_MAX_KEEP_S = 366 * 86_400.0
_MAX_CHANGED = 2**62
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_labels_cache = BoundedCache[tuple[tuple[str, str], ...], str](16 << 20)
_any_object = msgspec.json.Decoder(msgspec.defstruct("AnyObject", []))
"""Checks that a text is a JSON object without building it; takes a few microseconds."""
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def check_hold(new: Hold) -> tuple[str, str]:
    """Refuse a hold that a store cannot keep, and return its labels as JSON and its record.

    Raises:
        InvalidInput: a value is not valid; the message names the field.
    """
    _check_text("id", new.id)
    if new.replaces is not None:
        _check_text("replaces", new.replaces)
    if not (math.isfinite(new.ttl_s) and 0 < new.ttl_s <= _MAX_TTL_S):
        raise InvalidInput("ttl_s must be above 0 and at most ten years", field="ttl_s")
    if new.amounts is not None:
        _check_amounts(new.amounts)
    _check_amount("quoted", new.quoted)
    if new.task is not None:
        _check_task(new, new.task)
    return _labels_json(tuple(new.labels.items())), _checked_record(new.record)


def _check_task(new: Hold, task_id: str) -> None:
    _check_text("task", task_id)
    if task_id != new.id:
        return
    if new.amounts is None or new.amounts.money < 1 or any(new.amounts[1:]) or new.replaces:
        raise InvalidInput(
            "a task holds money alone, more than 0, and replaces nothing", field="task"
        )


def _checked_record(text: str) -> str:
    try:
        _any_object.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidInput("the record is not a JSON object") from None
    return text


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that a store cannot keep.

    Raises:
        InvalidInput: a label is not valid; the message names it.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidInput(
            f"labels: {len(labels):,} are too many; name at most {MAX_LABELS}", field="labels"
        )
    for name, value in labels.items():
        _check_text("labels", name)
        _check_text(f"labels.{name}", value, empty=True)


def _labels_json(items: tuple[tuple[str, str], ...]) -> str:
    # Cached: labels repeat, and checking and serialising them is most of the work of a hold.
    found = _labels_cache.get(items)
    if found is None:
        labels = dict(items)
        check_labels(labels)
        found = to_json(labels)
        _labels_cache.put(items, found, bytes_of_pairs(items) + len(found))
    return found


def check_settlement(report: Settlement) -> str:
    """Refuse a settlement that a store cannot keep, and return the record of its usage as JSON.

    Raises:
        InvalidInput: a value is not valid; the message names the field.
    """
    _check_text("id", report.id)
    _check_amounts(report.usage.amounts)
    return to_json(report.usage.record)


def check_amendment(wanted: Amendment) -> None:
    """Refuse an amendment that a store cannot keep.

    Raises:
        InvalidInput: a value is not valid; the message names the field.
    """
    _check_text("id", wanted.id)
    _check_amount("money", wanted.money)
    _check_amount("tokens", wanted.tokens or 0)
    if not 1 <= len(wanted.reason.strip()) <= MAX_REASON or not storable(wanted.reason):
        raise InvalidInput(f"reason must be text of 1 to {MAX_REASON} characters", field="reason")


def amended_usage(usage: str, row: Row) -> str:
    """The record of a usage as JSON, with the amendments of its row.

    Args:
        usage: the record from before, as JSON.
        row: with all of its amendments.
    """
    return to_json(
        {**_object(row.id, "usage", usage), "amendments": [asdict(each) for each in row.amendments]}
    )


def amendments_of(value: Any) -> tuple[Amended, ...]:
    """The amendments that :func:`amended_usage` wrote: a list, as JSON or parsed, or ``None``.

    Damaged ones are left out, so that their decision can be erased; the checker finds what is missing.
    """
    if value is None:
        return ()
    try:
        listed = json.loads(value) if isinstance(value, str) else value
        return tuple(
            Amended(
                each["time"],
                each["report"],
                each["reason"],
                tuple(each["before"]),
                tuple(each["after"]),
            )
            for each in listed
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


def check_limit(limit: Limit) -> None:
    """Refuse a limit that is not valid.

    Raises:
        InvalidInput: a value is not valid; the message names the field.
    """
    _check_text("id", limit.id)
    for name, value in limit.scope.items():
        _check_text("scope", name)
        _check_text(f"scope.{name}", value, empty=True)
    for name, bound in (("soft", limit.soft), ("hard", limit.hard), ("free", limit.free)):
        if bound is not None and not 0 <= bound <= MAX_LIMIT:
            raise InvalidInput(f"{name} must be 0 to {MAX_LIMIT}", field=name)
    try:
        ZoneInfo(limit.time_zone)
    except (KeyError, ValueError, OSError):
        raise InvalidInput("time_zone is not an IANA name", field="time_zone") from None
    if limit.share is not None and not 0 < limit.share_millionths < 1_000_000:
        raise InvalidInput("share must be above 0 and below 1", field="share")
    if limit.share is not None and limit.whole_scope == limit.scope:
        raise InvalidInput("share needs a scope with tier, model or provider", field="share")
    if limit.unit is Unit.CONCURRENT and limit.window is not Window.TOTAL:
        raise InvalidInput("concurrent requests are counted in total only", field="window")


def check_shared(rows: Sequence[SharedRow]) -> None:
    """Refuse shared rows that a store cannot keep.

    Raises:
        InvalidInput: a value is not valid; the message names the field.
    """
    if len(rows) > MAX_PUBLISHED:
        raise InvalidInput(
            f"rows: {len(rows):,} are too many at once; publish at most {MAX_PUBLISHED:,}",
            field="rows",
        )
    for row in rows:
        for name, most in _MAX_SHARED.items():
            text = getattr(row, name)
            if not (text or name == "value") or len(text) > most or not storable(text):
                raise InvalidInput(
                    f"{name} must be text of at most {most:,} characters", field=name
                )
        if not 0 <= row.changed <= _MAX_CHANGED:
            raise InvalidInput("changed must be microseconds since 1970", field="changed")
        if not 0 < row.keep_s <= _MAX_KEEP_S:
            raise InvalidInput("keep_s must be above 0 and at most 366 days", field="keep_s")


def check_count(count: int) -> None:
    """Refuse a page length outside 1 to :data:`MAX_COUNT`.

    Raises:
        InvalidInput: the length is out of range.
    """
    if not 1 <= count <= MAX_COUNT:
        raise InvalidInput(f"count must be 1 to {MAX_COUNT}", field="count")


def _check_amounts(amounts: Amounts) -> None:
    for name, amount in (
        ("money", amounts.money),
        ("tokens", amounts.tokens),
        ("requests", amounts.requests),
        ("concurrent", amounts.concurrent),
    ):
        _check_amount(f"amounts.{name}", amount)


def _check_amount(name: str, amount: int) -> None:
    if not 0 <= amount <= MAX_AMOUNT:
        raise InvalidInput(f"{name} must be 0 to {MAX_AMOUNT}", field=name)


def storable(text: str) -> bool:
    """Whether every store can keep a text: lone surrogates have no UTF-8, and PostgreSQL refuses NUL."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_text(name: str, text: str, *, empty: bool = False) -> None:
    if not (text or empty) or len(text) > _MAX_TEXT or not storable(text):
        raise InvalidInput(
            f"{name} must be text of {0 if empty else 1} to {_MAX_TEXT} characters", field=name
        )


# ── to and from storage ───────────────────────────────────────────────────────────────────────────


def to_json(value: Mapping[str, Any]) -> str:
    """Canonical JSON in ASCII: equal mappings give the same text.

    Raises:
        InvalidInput: a value has no JSON form, such as NaN or infinity.
    """
    try:
        return _encode(value if type(value) is dict else dict(value))
    except (TypeError, ValueError, RecursionError):
        raise InvalidInput("the record cannot be written as JSON") from None


def to_micros(moment: datetime) -> int:
    """A time as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def quarter_hour_of(moment: datetime) -> datetime:
    """The start of the quarter of an hour that contains a moment, in UTC."""
    return from_micros(to_micros(moment) // QUARTER_HOUR_MICROS * QUARTER_HOUR_MICROS)


def from_micros(micros: int) -> datetime:
    """The time in UTC of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def limit_to_json(limit: Limit) -> str:
    """A limit as canonical JSON; only one with a share says so, that earlier releases read the others."""
    share = {} if limit.share is None else {"share": limit.share, "free": limit.free}
    return _encode(
        {
            "id": limit.id,
            "scope": dict(limit.scope),
            "unit": limit.unit.value,
            "window": limit.window.value,
            "time_zone": limit.time_zone,
            "soft": limit.soft,
            "hard": limit.hard,
            "on_soft": limit.on_soft.value,
            "paced": limit.paced,
            **share,
        }
    )


def limit_from_json(text: str) -> Limit:
    """The limit that :func:`limit_to_json` wrote."""
    values = json.loads(text)
    return Limit(
        **{
            **values,
            "unit": Unit(values["unit"]),
            "window": Window(values["window"]),
            "on_soft": SoftAction(values["on_soft"]),
        }
    )


def stored_decision(row: Row, labels: str, record: str, usage: str) -> StoredDecision:
    """The row of the decision log of a ledger row.

    Args:
        row: of the ledger.
        labels: as JSON.
        record: as JSON.
        usage: as JSON.

    Raises:
        BadArtifact: labels or usage are not JSON objects; names the decision.
    """
    return StoredDecision(
        id=row.id,
        state=row.state,
        created=row.created,
        expires=row.expires,
        labels=_object(row.id, "labels", labels),
        held=row.held,
        actual=row.actual,
        late=row.late,
        quoted=row.quoted,
        record=record,
        usage=_object(row.id, "usage", usage),
        task=row.task,
    )


def stored_task(
    row: Row, labels: str, record: str, sums: tuple[int, int, int], covered: Iterable[Account]
) -> StoredTask:
    """A task of a ledger row.

    Args:
        row: of the ledger.
        labels: as JSON.
        record: as JSON.
        sums: number of its turns that were not released, what the open ones hold, what the settled ones cost.
        covered: the balances on which it holds.

    Raises:
        BadArtifact: the labels are not a JSON object; names the task.
    """
    assert row.held is not None  # noqa: S101 — every task has a cap
    turns, held, spent = sums
    return StoredTask(
        id=row.id,
        state=row.state,
        created=row.created,
        expires=row.expires,
        labels=_object(row.id, "labels", labels),
        cap=row.held.money,
        left=row.held.money - row.drawn,
        turns=turns,
        held=held,
        spent=spent,
        record=record,
        covered=tuple(each[:3] for each in covered),
    )


def damaged_decision(decision_id: str, column: str, reason: str) -> BadArtifact:
    """The error of a decision whose row in the ledger cannot be read.

    Args:
        decision_id: of the row.
        column: that cannot be read.
        reason: what is wrong with it, such as ``is not JSON``; without its content.
    """
    return BadArtifact(
        f"decision {decision_id} is damaged in the ledger: {column}: {reason}; erase it with `mitsumori "
        "erase`, or restore a backup",
        reason="LOG_DAMAGED",
        metadata={"decision_id": decision_id},
    )


def _object(decision_id: str, column: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise damaged_decision(decision_id, column, "is not a JSON object")
    return value
