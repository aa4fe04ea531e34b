"""Lets calls in: none occupies a worker before its message is there, and only those wait whose turn is soon.

Every handler is turned into one that takes a stream of messages, which is the same on the wire. So it gets
its call before the message. Then, in this order: the thread that accepts calls refuses one that comes while
the queue is full, or without a credential; a caller whose credential is not valid is refused; the call waits
for its message in a bounded table; and it waits for a slot in a bounded queue. It lends the slot while it
waits for the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from router.access.gate import Metadata
from router.core.errors import InvalidInput, MitsumoriError, Throttled
from router.ledger.time_budget import on_wait
from router.logs import logger
from router.rpc.error_interceptor import abort, fail, grpc_status, malformed
from router.rpc.lanes import Lane
from router.rpc.refusals import RefusingHandler, overload_handlers
from router.rpc.work_queue import Priority, WorkQueue, overloaded

__all__ = ["Access", "AdmissionInterceptor"]

_PRIORITIES = {
    "Settle": Priority.FREEING,
    "Release": Priority.FREEING,
    "EndTask": Priority.FREEING,
    "QuoteBatch": Priority.BATCH,
}


class Access(Protocol):
    """Who may call."""

    def refusal(self, method: str, metadata: Metadata) -> MitsumoriError | None:
        """Why a call is refused by what it carries alone; ``None``: it is to be looked at more closely."""
        ...

    def authenticate(self, method: str, context: grpc.ServicerContext) -> None:
        """Refuse a caller by the method and the context of its call, before the message is there."""
        ...


def _in(threads: futures.ThreadPoolExecutor, behave: Any, *, non_blocking: bool = False) -> Any:
    """Have grpcio run a behaviour in these threads: the attributes that its own health service uses."""
    behave.experimental_thread_pool = threads
    behave.experimental_non_blocking = non_blocking
    return behave


_MALFORMED = grpc_status(malformed())
_TOO_MANY_STREAMS = grpc_status(overloaded(1.0))
_NO_MESSAGE = grpc_status(InvalidInput("the call has no message", reason="NO_MESSAGE"))


def _parsed(parse: Callable[[bytes], Any], message: bytes, context: grpc.ServicerContext) -> Any:
    try:
        return parse(message)
    except (DecodeError, UnicodeError, RecursionError):  # of health and reflection alone
        abort(context, _MALFORMED)


class AdmissionInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """The outermost interceptor of one server: it wraps the handlers of every service.

    Args:
        lanes: by full name of the service; that of the empty name is for every other service.
        access: who may call.
    """

    def __init__(self, lanes: Mapping[str, Lane], access: Access) -> None:
        self._lanes, self._access = lanes, access
        self._handlers: dict[str, tuple[Any, WorkQueue | None, Priority]] = {}
        self._overloaded = overload_handlers()
        self._refused: dict[str, RefusingHandler] = {}

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler of a method, or one that refuses the call at once."""
        known = self._handlers.get(details.method)
        if known is None:
            handler = continuation(details)
            if handler is None:
                return None
            lane = self._lanes.get(details.method.split("/")[1], self._lanes[""])
            priority = _PRIORITIES.get(details.method.rpartition("/")[2], Priority.INTERACTIVE)
            known = self._wrapped(handler, details.method, lane, priority), lane.work, priority
            self._handlers[details.method] = known  # of the methods that exist
        handler, work, priority = known
        if work is not None and priority is not Priority.BATCH:
            retry_after_s = work.refusal(priority)
            if retry_after_s is not None:
                return self._overloaded(retry_after_s)
        error = self._access.refusal(details.method, details.invocation_metadata or ())
        return handler if error is None else self._refusing(details.method, error)

    def _refusing(self, method: str, error: MitsumoriError) -> RefusingHandler:
        logger().info("refused", method=method, reason=error.reason, field=error.field)
        known = self._refused.get(error.reason)
        if known is None:
            known = self._refused[error.reason] = RefusingHandler(error)
        return known

    def _wrapped(self, handler: Any, method: str, lane: Lane, priority: Priority) -> Any:
        parse = handler.request_deserializer
        if handler.request_streaming:
            behave = self._stream(handler.stream_stream, parse, method, lane, priority)
            return grpc.stream_stream_rpc_method_handler(
                _in(lane.threads, behave), response_serializer=handler.response_serializer
            )
        if handler.response_streaming:
            original = handler.unary_stream
            behave = self._unary(original, parse, method, lane, priority)
            non_blocking = getattr(original, "experimental_non_blocking", False)
            return grpc.stream_stream_rpc_method_handler(
                _in(lane.threads, behave, non_blocking=non_blocking),
                response_serializer=handler.response_serializer,
            )
        behave = self._unary(handler.unary_unary, parse, method, lane, priority)
        return grpc.stream_unary_rpc_method_handler(
            _in(lane.threads, behave), response_serializer=handler.response_serializer
        )

    def _check(self, method: str, context: grpc.ServicerContext) -> None:
        try:
            self._access.authenticate(method, context)
        except Exception as error:  # noqa: BLE001 — no internals may leak to the caller
            fail(context, method, error)

    def _unary(
        self,
        behave: Callable[..., Any],
        parse: Callable[[bytes], Any],
        method: str,
        lane: Lane,
        priority: Priority,
    ) -> Callable[..., Any]:
        work = lane.work

        def call(messages: Iterator[bytes], context: grpc.ServicerContext, *more: Any) -> Any:
            self._check(method, context)
            with lane.calls.entered(context):
                message = next(messages, None)
            if message is None:
                abort(context, _NO_MESSAGE)
            request, kind = _parsed(parse, message, context), _kind(method, message)
            del message  # a megabyte need not be kept twice while it waits
            if work is None:
                return behave(request, context, *more)
            since = _enter(work, kind, _priority_of(request, priority), context)
            turn = _Turn(work, kind, since)
            on_wait(turn.lend)  # gRPC gives each call a context of its own
            try:
                return behave(request, context, *more)
            finally:
                turn.end()

        return call

    def _stream(
        self,
        behave: Callable[..., Any],
        parse: Callable[[bytes], Any],
        method: str,
        lane: Lane,
        priority: Priority,
    ) -> Callable[..., Any]:
        def call(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[Message]:
            self._check(method, context)
            with lane.streams.entered(context) as stream:
                if stream is None:
                    abort(context, _TOO_MANY_STREAMS)
                slot = _Slot(lane.work, priority, context)

                def requests() -> Iterator[Any]:
                    for message in messages:
                        stream.works()
                        slot.enter(_kind(method, message))
                        yield _parsed(parse, message, context)
                        stream.waits()

                try:
                    for reply in behave(requests(), context):
                        slot.leave()
                        stream.waits()  # for a caller that may read slowly
                        yield reply
                finally:
                    slot.leave()

        return call


def _kind(method: str, message: bytes) -> str:
    """What takes a like time: messages of one method, up to twice as long as each other."""
    return f"{method} {len(message).bit_length()}"


def _priority_of(request: Any, priority: Priority) -> Priority:
    asked = getattr(request, "request", request)  # of Reroute
    return Priority.BATCH if getattr(asked, "batch", False) else priority


def _enter(work: WorkQueue, kind: str, priority: Priority, context: grpc.ServicerContext) -> float:
    try:
        return work.enter(kind, priority, context)
    except Throttled as error:
        abort(context, grpc_status(error))
    except MitsumoriError as error:
        fail(context, kind.partition(" ")[0], error)


class _Turn:
    """The turn of a call that has one message: it has a slot until it waits for the store."""

    __slots__ = ("_kind", "_lent", "_since", "_work")

    def __init__(self, work: WorkQueue, kind: str, since: float) -> None:
        self._work, self._kind, self._since = work, kind, since
        self._lent = False

    def lend(self) -> None:
        """It waits for the store from now on."""
        if not self._lent:
            self._lent = self._work.lend(self._kind, self._since)

    def end(self) -> None:
        if self._lent:
            self._work.end_loan()
        else:
            self._work.leave(self._kind, self._since)


class _Slot:
    """The slot of a stream: it has one only while it works on a message."""

    def __init__(
        self,
        work: WorkQueue | None,
        priority: Priority,
        context: grpc.ServicerContext,
    ) -> None:
        self._work, self._priority, self._context = work, priority, context
        self._kind = ""
        self._since: float | None = None

    def enter(self, kind: str) -> None:
        self._kind = kind
        if self._work is not None:
            # The number of streams is bounded, and each has one message here at most.
            self._since = self._work.enter(kind, self._priority, self._context, bounded=False)

    def leave(self) -> None:
        if self._work is not None and self._since is not None:
            self._work.leave(self._kind, self._since)
            self._since = None
