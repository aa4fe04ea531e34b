"""Messages that say what providers said of their limits."""

from __future__ import annotations

from typing import Any

from mitsumori.v1 import router_pb2
from router.core.load import RateLimit, RateLimits
from router.rpc.messages.values import wrong

__all__ = ["parse_rate_limits"]

_MOST = 10**15
_MOST_RESET_S = 31 * 86_400


def parse_rate_limits(request: Any) -> RateLimits | None:
    """What a report says of the limits of a provider; ``None``: nothing.

    Raises:
        InvalidInput: names the field.
    """
    if not request.HasField("rate_limits"):
        return None
    told: router_pb2.RateLimits = request.rate_limits
    return RateLimits(
        _parse(told.requests, "requests") if told.HasField("requests") else None,
        _parse(told.tokens, "tokens") if told.HasField("tokens") else None,
    )


def _parse(told: router_pb2.RateLimit, name: str) -> RateLimit:
    path = f"rate_limits.{name}"
    if not 1 <= told.limit <= _MOST:
        raise wrong(
            f"{path}.limit", f"must be 1 to {_MOST:,}; leave {path} out where it is not known"
        )
    if not 0 <= told.remaining <= told.limit:
        raise wrong(f"{path}.remaining", "must be 0 or more, and not more than limit")
    if not told.HasField("reset"):
        return RateLimit(told.limit, told.remaining)
    seconds: float = told.reset.seconds + told.reset.nanos / 1e9
    if not 0 <= seconds <= _MOST_RESET_S:
        raise wrong(f"{path}.reset", "must be 0 seconds to 31 days")
    return RateLimit(told.limit, told.remaining, seconds)
