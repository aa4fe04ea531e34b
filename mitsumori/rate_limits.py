"""What a provider says of its limits in the headers of an answer, as a message."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from mitsumori.v1 import router_pb2

__all__ = ["rate_limits_from_headers"]

_OPENAI = "x-ratelimit-{fact}-{unit}"
_ANTHROPIC = "anthropic-ratelimit-{unit}-{fact}"
_UNITS = {"requests": ("requests",), "tokens": ("tokens", "input-tokens")}
"""Unit of the message → names of the unit in headers, the first that is there counts."""
_MOST = 10**15
_MOST_RESET = timedelta(days=31)
_PARTS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{0,9})?)(ms|s|m|h|d)")


def rate_limits_from_headers(
    headers: Mapping[str, str], now: datetime | None = None
) -> router_pb2.RateLimits | None:
    """What the headers of an answer say of the provider's limits; ``None``: nothing.

    Reads ``x-ratelimit-*``, as OpenAI and many others send them, and ``anthropic-ratelimit-*``. A limit whose
    headers are incomplete, unreadable or contradict each other is left out.

    Args:
        headers: name → value; names in any case.
        now: for headers that name a moment, aware; ``None``: the current time.
    """
    found = {str(name).lower(): str(value).strip() for name, value in headers.items()}
    limits = router_pb2.RateLimits()
    for unit, names in _UNITS.items():
        for form in (_OPENAI, _ANTHROPIC):
            for name in names:
                told = _limit(found, form, name, now)
                if told is not None and not limits.HasField(unit):
                    getattr(limits, unit).CopyFrom(told)
    return limits if limits.HasField("requests") or limits.HasField("tokens") else None


def _limit(
    headers: Mapping[str, str], form: str, unit: str, now: datetime | None
) -> router_pb2.RateLimit | None:
    limit, remaining = (
        _whole(headers.get(form.format(fact=fact, unit=unit), ""))
        for fact in ("limit", "remaining")
    )
    if limit is None or remaining is None or not 1 <= limit <= _MOST or remaining > limit:
        return None
    told = router_pb2.RateLimit(limit=limit, remaining=remaining)
    reset = _reset(headers.get(form.format(fact="reset", unit=unit), ""), now)
    if reset is not None:
        told.reset.FromTimedelta(min(max(reset, timedelta()), _MOST_RESET))
    return told


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _reset(text: str, now: datetime | None) -> timedelta | None:
    """How long until a reset, given as a number of seconds, a time such as ``6m0.5s``, or a moment."""
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return timedelta(seconds=math.fsum(float(number) * _PARTS[unit] for number, unit in parts))
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return moment - (datetime.now(UTC) if now is None else now)
