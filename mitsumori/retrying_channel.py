"""Calling a server: one deadline over all tries, retries with the same body, clean errors."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc
import tenacity
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from router.core.errors import CallFailed

__all__ = ["DEFAULT_ADDRESS", "RetryingChannel"]

DEFAULT_ADDRESS = "127.0.0.1:50051"

_RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""A server that restarts or drains answers these. Nothing else is worth repeating."""


_RECONNECT = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 1000))
"""How soon a server that was away is looked for again. By itself gRPC waits longer and longer, up to two
minutes, in which every call fails although the server is back."""


def _should_repeat(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() in _RETRYABLE


class RetryingChannel:
    """A connection to a server. Thread-safe; make one and keep it.

    Args:
        address: ``host:port``.
        timeout_s: the whole time a call may take, retries included, seconds > 0.
        attempts: the most tries of one call, ≥ 1. Every try carries the same body, and every call of
            ours may be repeated, so the server acts once.
    """

    def __init__(self, address: str, *, timeout_s: float, attempts: int) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._attempts = attempts
        self.channel = grpc.insecure_channel(address, _RECONNECT)

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
        self.channel.close()

    def call(self, method: Callable[..., Any], request: Message) -> Any:
        """Call a unary method of a stub.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        deadline = time.monotonic() + self._timeout_s
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_should_repeat),
            stop=tenacity.stop_after_attempt(self._attempts)
            | tenacity.stop_before_delay(self._timeout_s),
            wait=tenacity.wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.05),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    left = max(deadline - time.monotonic(), 0.001)
                    return method(request, timeout=left)
        except grpc.RpcError as error:
            raise self.failure(error) from None
        raise AssertionError("tenacity reraises")

    def failure(self, error: grpc.RpcError) -> CallFailed:
        """A gRPC error as one of ours."""
        code: grpc.StatusCode = error.code()
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                metadata = dict(info.metadata)
                field = metadata.pop("field", "")
                return CallFailed(
                    error.details(),
                    code=code.name,
                    reason=info.reason,
                    field=field,
                    metadata=metadata,
                )
        messages = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {self._address}; is it running "
            "(`mitsumori serve`) and reachable?",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {self._address} within "
            f"{self._timeout_s:g} s; raise the timeout or look at the server's load",
            grpc.StatusCode.CANCELLED: f"the server at {self._address} ended the call; try again",
        }
        return CallFailed(messages.get(code, error.details() or code.name), code=code.name)
