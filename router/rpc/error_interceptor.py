"""Translates errors into gRPC status. Every call of our services passes through it.

A request that is not valid protobuf gets INVALID_ARGUMENT instead of gRPC's INTERNAL. Our own errors become
a status with exactly one ErrorInfo and, for a field at fault, a BadRequest. Any other error becomes INTERNAL
without details, and its kind and place are logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from structlog.contextvars import clear_contextvars

from router.core.errors import (
    BadArtifact,
    CallerGone,
    Conflict,
    Exhausted,
    InvalidInput,
    MitsumoriError,
    NotAllowed,
    NotFound,
    NotPossible,
    Throttled,
    TooLarge,
    Unauthenticated,
    Unavailable,
    shortened,
)
from router.ledger.time_budget import time_limit
from router.logs import log_failure, logger
from router.rpc.service_names import is_ours

__all__ = ["DOMAIN", "ErrorInterceptor", "abort", "fail", "grpc_status", "malformed", "status_of"]

DOMAIN = "mitsumori"
_MESSAGE_BYTES = 1_000
_FACT_BYTES = 128
"""Of a field or a value. A status travels in a header: of more than 8 KiB, callers get no reason at all."""

_CODES: dict[type[MitsumoriError], int] = {
    InvalidInput: code_pb2.INVALID_ARGUMENT,
    TooLarge: code_pb2.RESOURCE_EXHAUSTED,
    NotPossible: code_pb2.FAILED_PRECONDITION,
    Conflict: code_pb2.ALREADY_EXISTS,
    NotFound: code_pb2.NOT_FOUND,
    Exhausted: code_pb2.RESOURCE_EXHAUSTED,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    NotAllowed: code_pb2.PERMISSION_DENIED,
    Throttled: code_pb2.RESOURCE_EXHAUSTED,
    CallerGone: code_pb2.CANCELLED,
    Unavailable: code_pb2.UNAVAILABLE,
    BadArtifact: code_pb2.FAILED_PRECONDITION,
}


def status_of(error: MitsumoriError) -> status_pb2.Status:
    """The rich status of one of our errors."""
    code = next(
        (code for kind, code in _CODES.items() if isinstance(error, kind)), code_pb2.INTERNAL
    )
    metadata = {name: shortened(value, _FACT_BYTES) for name, value in error.metadata.items()}
    field = shortened(error.field, _FACT_BYTES)
    message = shortened(error.message, _MESSAGE_BYTES)
    if field:
        metadata["field"] = field
    status = status_pb2.Status(code=code, message=message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)
    )
    if field and code == code_pb2.INVALID_ARGUMENT:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, Exhausted) or error.reason == "TOO_MANY_FAILED_LOGINS":
        # By this a limit's refusal, an answer, is told from an overload, which has a RetryInfo alone.
        subject = metadata.get("limit", "")
        quota = error_details_pb2.QuotaFailure.Violation(subject=subject, description=message)
        status.details.add().Pack(error_details_pb2.QuotaFailure(violations=[quota]))
    if error.reason == "LIMIT_WAIT_FOR_HOLDS" or isinstance(error, Unavailable):
        # Only here does a short wait help; budgets come back with their reset.
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1)))
    elif isinstance(error, Throttled | Exhausted) and error.retry_after_s is not None:
        wait = Duration()
        wait.FromMilliseconds(math.ceil(error.retry_after_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=wait))
    return status


class _Malformed:
    """Replaces a request that could not be parsed."""


def malformed() -> InvalidInput:
    """The error of bytes that are no message of the method."""
    return InvalidInput("the request is not a valid message", reason="MALFORMED_MESSAGE")


def grpc_status(error: MitsumoriError) -> grpc.Status:
    """The status of one of our errors, as gRPC sends it."""
    return rpc_status.to_status(status_of(error))


def abort(context: grpc.ServicerContext, status: grpc.Status) -> NoReturn:
    """End a call with a status."""
    context.abort_with_status(status)
    raise AssertionError("abort_with_status raises")


class ErrorInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps the handlers of our services; health and reflection stay as they are."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one of our methods; return any other as it is."""
        handler = continuation(details)
        if handler is None or not is_ours(details.method):
            return handler
        parse = _lenient(handler.request_deserializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _guarded(handler.unary_unary, details.method),
                request_deserializer=parse,
                response_serializer=handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            _guarded_stream(handler.stream_stream, details.method),
            request_deserializer=parse,
            response_serializer=handler.response_serializer,
        )


def _lenient(parse: Callable[[bytes], Message]) -> Callable[[bytes], Message | _Malformed]:
    def deserialize(data: bytes) -> Message | _Malformed:
        try:
            return parse(data)
        except (DecodeError, UnicodeError, RecursionError):
            return _Malformed()

    return deserialize


def fail(context: grpc.ServicerContext, method: str, error: Exception) -> NoReturn:
    """Log an error and end the call with its status."""
    if isinstance(error, MitsumoriError):
        logger().info("refused", method=method, reason=error.reason, field=error.field)
        abort(context, grpc_status(error))
    log_failure(method, error)
    internal = MitsumoriError("internal error; the server's log says where", reason="INTERNAL")
    abort(context, grpc_status(internal))


def _well_formed(request: Any) -> Any:
    if isinstance(request, _Malformed):
        raise malformed()
    return request


def _guarded(
    behave: Callable[[Any, grpc.ServicerContext], Message], method: str
) -> Callable[[Any, grpc.ServicerContext], Message]:
    def call(request: Any, context: grpc.ServicerContext) -> Message:
        clear_contextvars()  # a worker makes one call after the other, and the last one had a caller
        try:
            with time_limit(context.time_remaining(), context.is_active):
                return behave(_well_formed(request), context)
        except Exception as error:  # noqa: BLE001 — no internals may leak to the caller
            fail(context, method, error)

    return call


def _guarded_stream(
    behave: Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Message]], method: str
) -> Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Message]]:
    def call(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
        clear_contextvars()
        try:
            yield from behave(map(_well_formed, requests), context)
        except Exception as error:  # noqa: BLE001 — no internals may leak to the caller
            if not context.is_active():  # the caller hung up
                return
            fail(context, method, error)

    return call
