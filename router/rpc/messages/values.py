"""Values that many messages share: money, ids, times, time zones. Each is validated on its own."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from mitsumori.money import nanos_of
from router.core.errors import InvalidInput
from router.core.limits import LABEL_NAME
from router.core.money import MAX_NANOS, NANOS_PER_USD

__all__ = [
    "MAX_TOKENS",
    "check_label_name",
    "fill_duration",
    "fill_timestamp",
    "identifier",
    "nanos",
    "time_zone",
    "timestamp",
    "wrong",
]

MAX_TOKENS = 2**31 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"[A-Za-z0-9._:\-]{0,128}")


def wrong(field: str, problem: str) -> InvalidInput:
    """The error for a field with a wrong value."""
    return InvalidInput(f"{field}: {problem}", field=field)


def check_label_name(name: str, field: str) -> None:
    """Refuse what is no name of a label.

    Raises:
        InvalidInput: it has another form; does not quote it.
    """
    if not LABEL_NAME.fullmatch(name):
        raise wrong(field, f"keys must match {LABEL_NAME.pattern}, such as team")


def nanos(amount: Money, field: str) -> int:
    """``google.type.Money`` as nano-dollars.

    Raises:
        InvalidInput: not USD, negative, malformed, or out of range.
    """
    if amount.currency_code != "USD":
        raise wrong(field, "currency_code must be USD")
    if amount.units < 0 or not 0 <= amount.nanos < NANOS_PER_USD:
        raise wrong(field, "must not be negative, with nanos in 0..999,999,999")
    total = nanos_of(amount)
    if total > MAX_NANOS:
        raise wrong(field, f"must be at most {MAX_NANOS // NANOS_PER_USD} USD")
    return total


def identifier(value: str, field: str) -> str:
    """A validated id: at most 128 letters, digits and ``._:-``; may be empty.

    Raises:
        InvalidInput: it is longer or has other characters.
    """
    if not _ID.fullmatch(value):
        raise wrong(field, "must have at most 128 characters of letters, digits and . _ : -")
    return value


def fill_duration(target: Duration, seconds: float) -> None:
    """Write seconds ≥ 0 into a message in place, to the millisecond as the log keeps them.

    Finer digits say nothing of a latency, and would not compress.
    """
    target.seconds, milliseconds = divmod(round(seconds * 1000), 1000)
    target.nanos = milliseconds * 1_000_000


def fill_timestamp(target: Timestamp, moment: datetime) -> None:
    """Write an aware moment into a message in place."""
    # As the message's own FromDatetime does it, in a third of the time.
    since = moment - _EPOCH
    target.seconds = since.days * 86_400 + since.seconds
    target.nanos = since.microseconds * 1_000


@lru_cache(maxsize=64)  # all quotes of one reply expire at the same moment
def timestamp(moment: datetime) -> Timestamp:
    """An aware moment as a message. It is shared: do not change it."""
    message = Timestamp()
    fill_timestamp(message, moment)
    return message


def time_zone(name: str, field: str) -> str:
    """A validated IANA time zone name; an empty one becomes UTC.

    Raises:
        InvalidInput: there is no such time zone.
    """
    try:
        ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        raise wrong(field, "must be an IANA name such as Asia/Tokyo") from None
    return name or "UTC"
