"""Measures every call of our services, and puts it into its trace. It stands outside of all others.

So it sees what the caller sees, also of a call that another interceptor refuses: the time, the status and the
reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from router.rpc.refusals import RefusingHandler
from router.rpc.service_names import is_ours
from router.telemetry.export import Telemetry
from router.telemetry.trace import current_call

__all__ = ["TelemetryInterceptor"]

_DETAILS = "grpc-status-details-bin"
_FAULTS = frozenset({"INTERNAL", "UNKNOWN"})
"""Codes of calls that failed without being refused."""

# By whether requests and replies are streams.
_KINDS = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class TelemetryInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps the handlers of our services; health and reflection stay as they are."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._meters, self._tracing = telemetry.meters, telemetry.tracing

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one of our methods, for one call; return any other as it is."""
        arrived = time.perf_counter()
        handler = continuation(details)
        if handler is None or not is_ours(details.method):
            return handler
        method = details.method[1:]
        if isinstance(handler, RefusingHandler):
            self._refused(method, arrived, details, handler)
            return handler
        name, make = _KINDS[handler.request_streaming, handler.response_streaming]
        behave = getattr(handler, name)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with self._watched(method, arrived, context):
                return behave(request, context)

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._watched(method, arrived, context):
                yield from behave(request, context)

        watched = stream if handler.response_streaming else call
        # By attributes of a behaviour grpcio knows which threads it wants.
        watched.__dict__.update(getattr(behave, "__dict__", {}))
        return make(watched, handler.request_deserializer, handler.response_serializer)

    def _refused(
        self,
        method: str,
        arrived: float,
        details: grpc.HandlerCallDetails,
        handler: RefusingHandler,
    ) -> None:
        """Count a call that will be refused at once. To wrap its handler would cost more than the refusal.

        Args:
            method: its full name.
            arrived: when it came, by the clock of performance.
            details: of the call.
            handler: refuses it.
        """
        trace = self._tracing.begin(details.invocation_metadata or (), method)
        self._meters.refused(handler.reason)
        self._meters.call(method, handler.code, time.perf_counter() - arrived, trace)
        self._tracing.end(trace, handler.code)

    @contextmanager
    def _watched(
        self, method: str, arrived: float, context: grpc.ServicerContext
    ) -> Iterator[None]:
        self._meters.waited(time.perf_counter() - arrived)
        trace = self._tracing.begin(context.invocation_metadata(), method)
        current_call.set(trace)  # gRPC gives each call a context of its own
        code = "OK"
        try:
            yield
        except BaseException:
            code = _code_of(context)
            raise
        finally:
            if code != "OK" and code not in _FAULTS:
                self._meters.refused(_reason_of(context) or code)
            self._meters.call(method, code, time.perf_counter() - arrived, trace)
            self._tracing.end(trace, code)
            current_call.set(None)


def _code_of(context: grpc.ServicerContext) -> str:
    """The status of a call that has failed."""
    if context.code() is not None:
        return str(context.code().name)
    # Ours always set one; without it, the caller has gone, or gRPC answers UNKNOWN.
    return "UNKNOWN" if context.is_active() else "CANCELLED"


def _reason_of(context: grpc.ServicerContext) -> str:
    """The reason in the ErrorInfo that the caller gets; empty without one."""
    details = next(
        (value for key, value in context.trailing_metadata() or () if key == _DETAILS), b""
    )
    return _reason_in(details)


@lru_cache(maxsize=256)
def _reason_in(details: bytes) -> str:
    # Kept, because a server that refuses much refuses with few different statuses.
    found = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(details).details:
            if detail.Unpack(found):
                return str(found.reason)
    except DecodeError:
        pass
    return ""
