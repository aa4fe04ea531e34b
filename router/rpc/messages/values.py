"""Values that stand in many messages: money, ids, times. Validation of one value at a time."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from router.core.errors import InvalidInput
from router.core.money import MAX_NANOS, NANOS_PER_USD

__all__ = [
    "MAX_TOKENS",
    "SCOPE_KEY",
    "fill_duration",
    "fill_money",
    "identifier",
    "money",
    "nanos",
    "time_zone",
    "timestamp",
    "wrong",
]

SCOPE_KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_TOKENS = 2**31 - 1
_ID = re.compile(r"[A-Za-z0-9._:\-]{0,128}")


def wrong(field: str, problem: str) -> InvalidInput:
    """The error of a field whose value is wrong."""
    return InvalidInput(f"{field}: {problem}", field=field)


def money(amount: int) -> Money:
    """Nano-dollars ≥ 0 as ``google.type.Money`` in USD."""
    units, rest = divmod(amount, NANOS_PER_USD)
    return Money(currency_code="USD", units=units, nanos=rest)


def nanos(amount: Money, field: str) -> int:
    """``google.type.Money`` as nano-dollars.

    Raises:
        InvalidInput: not USD, negative, malformed, or out of range.
    """
    if amount.currency_code != "USD":
        raise wrong(field, "currency_code must be USD")
    if amount.units < 0 or not 0 <= amount.nanos < NANOS_PER_USD:
        raise wrong(field, "must not be negative, with nanos in 0..999,999,999")
    total = amount.units * NANOS_PER_USD + amount.nanos
    if total > MAX_NANOS:
        raise wrong(field, f"must be at most {MAX_NANOS // NANOS_PER_USD} USD")
    return int(total)


def identifier(value: str, field: str) -> str:
    """An id of at most 128 harmless characters; may be empty.

    Raises:
        InvalidInput: it has others, or more.
    """
    if not _ID.fullmatch(value):
        raise wrong(field, "at most 128 characters of letters, digits and . _ : -")
    return value


def fill_money(target: Money, amount: int) -> None:
    """Write nano-dollars ≥ 0 into a message in place."""
    target.currency_code = "USD"
    target.units, target.nanos = divmod(amount, NANOS_PER_USD)


def fill_duration(target: Duration, seconds: float) -> None:
    """Write seconds ≥ 0 into a message in place."""
    target.seconds = int(seconds)
    target.nanos = int((seconds - int(seconds)) * 1e9)


@lru_cache(maxsize=64)  # all quotes of one reply expire at the same moment
def timestamp(moment: datetime) -> Timestamp:
    """An aware moment as a message; not to be changed by the caller."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def time_zone(name: str, field: str) -> str:
    """An IANA time zone name; the empty one is UTC.

    Raises:
        InvalidInput: there is no such time zone.
    """
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        raise wrong(field, "must be an IANA name such as Asia/Tokyo") from None
    return name or "UTC"
