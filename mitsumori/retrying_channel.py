"""Calls with one deadline over all tries, retries with the same body, and clear errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from mitsumori.arguments import seconds_of, text_of, whole_of
from mitsumori.credentials import Credentials, Tls, Token
from mitsumori.errors import CallFailed, InvalidArgument

__all__ = ["DEFAULT_ADDRESS", "RetryingChannel", "call_repeatedly"]

DEFAULT_ADDRESS = "127.0.0.1:50051"

_RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""The codes of a server that restarts or drains. Other calls are not repeated."""

_RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
"""Milliseconds between attempts to reconnect. gRPC's default grows to two minutes, during which every call
fails even if the server is back."""

_TLS_SIGNS = ("andshake failed", "erification check failed")
"""What gRPC says where a connection is made and TLS is not."""

_FIRST_PAUSE_S, _MOST_PAUSE_S, _JITTER_S = 0.05, 1.0, 0.05
_MIN_TIMEOUT_S = 0.001


def call_repeatedly(
    call: Callable[[float], Any],
    *,
    timeout_s: float,
    attempts: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    chance: Callable[[], float] = random.random,
) -> Any:
    """Call until there is an answer or a refusal, or until time or tries run out.

    Pauses double from 50 ms to one second, each with up to 50 ms of random jitter, so that callers that
    failed together do not retry together. No pause begins that would end at or after the deadline.

    Args:
        call: makes one try; takes the seconds that are left.
        timeout_s: for all tries together, seconds > 0.
        attempts: the most tries, ≥ 1.
        clock: monotonic, seconds.
        sleep: waits for a number of seconds.
        chance: returns a random number in [0, 1).

    Returns:
        What ``call`` returned.

    Raises:
        grpc.RpcError: of the last try.
    """
    deadline = clock() + timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return call(max(deadline - clock(), _MIN_TIMEOUT_S))
        except grpc.RpcError as error:
            attempts -= 1
            wait_s = min(pause_s + chance() * _JITTER_S, _MOST_PAUSE_S)
            out_of_time = clock() + wait_s >= deadline
            if error.code() not in _RETRYABLE or attempts < 1 or out_of_time:
                raise
        sleep(wait_s)
        pause_s *= 2


class RetryingChannel:
    """A connection to a server. Thread-safe; make one and keep it.

    Args:
        address: ``host:port``.
        timeout_s: the whole time a call may take, retries included, seconds > 0.
        attempts: the most tries of one call, ≥ 1. Every try carries the same body, and every call is
            idempotent, so the server acts once.
        tls: see :class:`mitsumori.credentials.Credentials`, like the next two.
        api_key: see ``tls``.
        token: see ``tls``.

    Raises:
        InvalidArgument: one of them is of another type, or out of range; names it.
    """

    _options: tuple[tuple[str, int], ...] = _RECONNECT

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float,
        attempts: int,
        tls: Tls | bool | None = None,
        api_key: str = "",
        token: Token = "",
    ) -> None:
        self._address = text_of(address, "address")
        self._timeout_s = seconds_of(timeout_s, "timeout_s")
        self._attempts = whole_of(attempts, "attempts", least=1)
        if not address.strip():
            raise InvalidArgument("address", "write host:port, such as 127.0.0.1:50051")
        if not self._timeout_s:
            raise InvalidArgument("timeout_s", "must be more than 0 seconds")
        self._closed = False
        self.credentials = Credentials(tls, api_key, token)
        self.channel = self.credentials.channel(address, self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._closed = True
        self.channel.close()

    def call(self, method: Callable[..., Any], request: Message) -> Any:
        """Call a unary method of a stub.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        with self.failures():
            return call_repeatedly(
                lambda left_s: method(
                    request, timeout=left_s, metadata=self.credentials.metadata()
                ),
                timeout_s=self._timeout_s,
                attempts=self._attempts,
            )

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise what gRPC raises as one of our errors.

        Raises:
            CallFailed: refused, no answer in time, or the client is closed.
        """
        try:
            yield
        except grpc.RpcError as error:
            # Closing cancels what is in flight.
            if self._closed and error.code() == grpc.StatusCode.CANCELLED:
                raise self._closed_failure() from None
            raise self.failure(error) from None
        except ValueError:
            if self._closed:  # gRPC has no better error for later calls
                raise self._closed_failure() from None
            raise

    def _closed_failure(self) -> CallFailed:
        message = f"this client of {self._address} is closed; make a new one"
        return CallFailed(message, code="CANCELLED", reason="CLIENT_CLOSED")

    def failure(self, error: grpc.RpcError) -> CallFailed:
        """A gRPC error as one of ours."""
        code: grpc.StatusCode = error.code()
        for detail in _details(error):
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                metadata = dict(info.metadata)
                return CallFailed(
                    error.details(),
                    code=code.name,
                    reason=info.reason,
                    field=metadata.pop("field", ""),
                    metadata=metadata,
                )
        messages = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {self._address}; is it running "
            "(`mitsumori serve`) and reachable?",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {self._address} within "
            f"{self._timeout_s:g} s; raise the timeout or look at the server's load",
            grpc.StatusCode.CANCELLED: f"the server at {self._address} ended the call; try again",
            grpc.StatusCode.UNIMPLEMENTED: f"the server at {self._address} does not speak this "
            "client's mitsumori.v1: client and server are of different versions, another service listens "
            "there, or AdminService has a port of its own",
        }
        if code is grpc.StatusCode.UNAVAILABLE:
            # The details quote certificates and addresses, so they only choose the words.
            details = error.details() or ""
            if any(sign in details for sign in _TLS_SIGNS):
                return CallFailed(
                    f"{self._address} and this client do not agree on TLS: it has none, or one distrusts the "
                    "other's certificate (expired, of an unknown root, or for another name)",
                    code=code.name,
                    reason="TLS_FAILED",
                )
            if "Socket closed" in details and not self.credentials.encrypted:
                messages[code] += " If it serves with TLS, connect with tls (--tls)."
        return CallFailed(messages.get(code, error.details() or code.name), code=code.name)


def _details(error: grpc.RpcError) -> list[Any]:
    """The google.rpc details of an error, as they travel in its trailing metadata."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            with suppress(DecodeError):  # a proxy may have written it
                return list(status_pb2.Status.FromString(value).details)
    return []
