"""Measures every call of our services, and puts it into its trace. It stands outside of all others.

So it counts the refusals of those within, with the status that the caller sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import Message

from mitsumori.v1 import router_pb2
from router.telemetry.export import Telemetry
from router.telemetry.trace import current_call

__all__ = ["TelemetryInterceptor"]

_OUR_METHODS = f"/{router_pb2.DESCRIPTOR.package}."


class TelemetryInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps the handlers of our services; health and reflection stay as they are."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._meters, self._tracing = telemetry.meters, telemetry.tracing

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one of our methods; return any other as it is."""
        arrived = time.perf_counter()
        handler = continuation(details)
        if handler is None or not details.method.startswith(_OUR_METHODS):
            return handler
        method = details.method[1:]
        if handler.unary_unary:
            behave = handler.unary_unary

            def call(request: Any, context: grpc.ServicerContext) -> Message:
                with self._watched(method, arrived, context):
                    reply: Message = behave(request, context)
                return reply

            return grpc.unary_unary_rpc_method_handler(
                call,
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        behave_stream = handler.stream_stream

        def stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
            with self._watched(method, arrived, context):
                yield from behave_stream(requests, context)

        return grpc.stream_stream_rpc_method_handler(
            stream,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

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
            self._meters.call(method, code, time.perf_counter() - arrived, trace)
            self._tracing.end(trace, code)
            current_call.set(None)


def _code_of(context: grpc.ServicerContext) -> str:
    """The status of a call that has failed."""
    if context.code() is not None:
        return str(context.code().name)
    # Ours always set one; without it, the caller has gone, or gRPC answers UNKNOWN.
    return "UNKNOWN" if context.is_active() else "CANCELLED"
