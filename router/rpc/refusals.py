"""Handlers that refuse a call at once: in the thread that accepts calls, before its message is there."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc

from router.core.errors import MitsumoriError
from router.rpc.error_interceptor import grpc_status
from router.rpc.work_queue import overloaded

__all__ = ["RefusingHandler", "overload_handlers"]


class _AtOnce(futures.ThreadPoolExecutor):
    """Runs what is submitted in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> futures.Future[Any]:
        done: futures.Future[Any] = futures.Future()
        done.set_result(fn(*args, **named))
        return done


_AT_ONCE = _AtOnce(1)


class RefusingHandler(grpc.RpcMethodHandler):  # type: ignore[misc]  # grpc ships no types
    """Ends any call, of any method, with the status of one error. It is made once for many calls.

    Attributes:
        code: of the status, such as ``RESOURCE_EXHAUSTED``.
        reason: in its ErrorInfo.
    """

    request_streaming, response_streaming = True, False
    request_deserializer = response_serializer = None
    unary_unary = unary_stream = stream_stream = None

    def __init__(self, error: MitsumoriError) -> None:
        status = grpc_status(error)
        self.code: str = status.code.name
        self.reason = error.reason

        def refuse(_messages: Any, context: grpc.ServicerContext) -> None:
            context.abort_with_status(status)

        # The attributes that grpcio's own health service uses.
        refuse.experimental_thread_pool = _AT_ONCE  # type: ignore[attr-defined]
        self.stream_unary = refuse


def overload_handlers() -> Callable[[float], RefusingHandler]:
    """Handlers that refuse with :func:`work_queue.overloaded`, by its argument, rounded to tenths."""
    made: dict[int, RefusingHandler] = {}

    def handler(retry_after_s: float) -> RefusingHandler:
        tenths = max(round(retry_after_s * 10), 1)
        found = made.get(tenths)
        if found is None:
            found = made[tenths] = RefusingHandler(overloaded(tenths / 10))
        return found

    return handler
