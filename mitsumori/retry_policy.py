"""When a call is made again: by gRPC's own retry policy first, then until the caller's deadline.

gRPC waits for a connection, and repeats a call that a restarting or draining server broke off, five times at
most. What it cannot do is done here: it goes on until the deadline, and waits as long as an overloaded server
asks. A refusal is an answer, and is never repeated: neither that of an argument nor that of a limit.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

__all__ = [
    "CHANNEL_OPTIONS",
    "call_until",
    "details_of",
    "is_overload",
    "retry_after_s",
    "service_config",
]

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # gRPC's default grows to two minutes, during which a server that is back is not noticed.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A machine that is gone answers no attempt to connect; the default waits 20 seconds for it.
    ("grpc.min_reconnect_backoff_ms", 3000),
    # Nor does it end a connection: where a call hears nothing for ten seconds, it is asked whether it lives.
    # Servers of gRPC bear three such questions without an answer of theirs in between, and calls end before.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.max_pings_without_data", 0),
    # While a ping of any purpose is unanswered no other goes out, and by default one is waited for a minute.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # A call is kept for its repetition; the default forgets it from 256 KiB on.
    ("grpc.per_rpc_retry_buffer_size", 256 << 20),
)
"""How a channel connects, notices that its peer is gone, and keeps calls to repeat them."""

_MAX_TRIES = 5
"""gRPC makes no more of one call."""
_FIRST_BACKOFF_S, _FACTOR, _MAX_BACKOFF_S = 0.1, 2.5, 1.0
_BROKEN_OFF = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""The codes of a server that restarts or drains."""
_PAUSE_S = 1.0
"""Between rounds of gRPC's tries."""
_MIN_PAUSE_S, _JITTER = 0.05, 0.25
_MIN_TIMEOUT_S = 0.001
_SERVICES = ("mitsumori.v1.RouterService", "mitsumori.v1.AdminService")
_STREAM = {"service": _SERVICES[0], "method": "QuoteBatch"}


def service_config(attempts: int | None) -> str:
    """gRPC's service config: the spreading of calls, the waiting for a connection, and the retry policy.

    Args:
        attempts: the most tries of a call, ≥ 1, of which gRPC makes five at most; ``None``: five, and calls
            wait for a connection instead of failing without one. A stream has no deadline and never waits.

    Returns:
        JSON, for the channel argument ``grpc.service_config``.
    """
    tries = _MAX_TRIES if attempts is None else min(attempts, _MAX_TRIES)
    policy: dict[str, object] = {}
    if tries > 1:
        policy["retryPolicy"] = {
            "maxAttempts": tries,
            "initialBackoff": f"{_FIRST_BACKOFF_S}s",
            "backoffMultiplier": _FACTOR,
            "maxBackoff": f"{_MAX_BACKOFF_S}s",
            "retryableStatusCodes": sorted(code.name for code in _BROKEN_OFF),
        }
    calls = {
        "name": [{"service": service} for service in _SERVICES],
        "waitForReady": attempts is None,
        **policy,
    }
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [calls, {"name": [_STREAM], **policy}],
        }
    )


def call_until(
    call: Callable[[float], Any],
    *,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Any:
    """Call until there is an answer or a refusal, or until the time is over.

    The pause is what the server asks for (RetryInfo), else a second, and up to a quarter more by chance, so
    that callers who failed together do not come back together. No pause begins that would end at or after
    the deadline.

    Args:
        call: makes one round of tries; takes the seconds that are left.
        timeout_s: for all rounds together, seconds > 0.
        clock: monotonic, seconds.
        sleep: waits for a number of seconds.
        chance: returns a random number in [0, 1).

    Returns:
        What ``call`` returned.

    Raises:
        grpc.RpcError: of the last round; where that only ran out of time, of the one before if the server
            said there why it cannot answer.
    """
    deadline = clock() + timeout_s
    told: grpc.RpcError | None = None
    while True:
        try:
            return call(max(deadline - clock(), _MIN_TIMEOUT_S))
        except grpc.RpcError as error:
            if told is not None and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise told from None
            pause_s = _pause_s(error)
            if pause_s is None:
                raise
            told = error if details_of(error) else None
            pause_s *= 1 + _JITTER * chance()
            if clock() + pause_s >= deadline:
                raise
        sleep(pause_s)


def is_overload(error: grpc.RpcError) -> bool:
    """Whether a server had no time for a call, and said when it may have. A limit's refusal is an answer."""
    details = details_of(error)
    by_limit = any(each.Is(error_details_pb2.QuotaFailure.DESCRIPTOR) for each in details)
    exhausted = error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return exhausted and not by_limit and retry_after_s(details) is not None


def _pause_s(error: grpc.RpcError) -> float | None:
    """Seconds until the next round; ``None`` where it could not help."""
    if error.code() not in _BROKEN_OFF and not is_overload(error):
        return None
    asked_s = retry_after_s(details_of(error))
    return _PAUSE_S if asked_s is None else max(asked_s, _MIN_PAUSE_S)


def details_of(error: grpc.RpcError) -> list[Any]:
    """The google.rpc details of an error, as they travel in its trailing metadata."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            with suppress(DecodeError):  # a proxy may have written it
                return list(status_pb2.Status.FromString(value).details)
    return []


def retry_after_s(details: list[Any]) -> float | None:
    """What the RetryInfo among the details asks for, seconds ≥ 0; ``None``: there is none."""
    info = error_details_pb2.RetryInfo()
    for detail in details:
        with suppress(DecodeError):
            if detail.Unpack(info):
                return max(float(info.retry_delay.ToNanoseconds()) / 1e9, 0.0)
    return None
