"""Asks of every call who makes it, and confines it to what its caller may touch.

It stands inside of the error interceptor, which turns its refusals into status. Health and reflection are
answered to anyone who can connect.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from google.protobuf.message import Message
from structlog.contextvars import bind_contextvars

from router.access.audit_log import AuditLog
from router.access.caller import Caller
from router.access.gate import Gate, Metadata
from router.access.policy import (
    admit,
    check_role,
    facts_of,
    id_before_credentials,
    is_administration,
    reveal,
)
from router.core.addresses import peer_of
from router.core.errors import MitsumoriError, NotFound
from router.rpc.service_names import is_ours

__all__ = ["AccessInterceptor"]


def _new_id() -> str:
    return str(uuid.uuid4())


class AccessInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Wraps the handlers of our services; without credentials, only those of administration.

    Args:
        gate: says who calls.
        audit: records administration.
        owner: the tenant label of a decision that is kept under an id; ``None`` where there is none.
        new_id: makes the id of a decision whose request has none.
    """

    def __init__(
        self,
        gate: Gate,
        audit: AuditLog,
        owner: Callable[[str], str | None],
        new_id: Callable[[], str] = _new_id,
    ) -> None:
        self._gate, self._audit, self._owner, self._new_id = gate, audit, owner, new_id

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Any],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of one of our methods; return any other as it is."""
        handler = continuation(details)
        if handler is None or not is_ours(details.method):
            return handler
        method = details.method.rpartition("/")[2]
        if not self._gate.asks_for_credentials and not is_administration(method):
            return handler
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._guarded(handler.unary_unary, method),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
        return grpc.stream_stream_rpc_method_handler(
            self._guarded_stream(handler.stream_stream, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def refusal(self, method: str, metadata: Metadata) -> MitsumoriError | None:
        """Why a call is refused by what it carries alone: no credential, where one is needed; else ``None``.

        Args:
            method: its full name.
            metadata: of the call, keys in lower case.
        """
        if is_ours(method) and self._gate.asks_for_credentials:
            return self._gate.missing(metadata)
        return None

    def authenticate(self, method: str, context: grpc.ServicerContext) -> None:
        """Refuse a caller of one of our methods that may not call it, whatever the message will be.

        Args:
            method: its full name.
            context: of the call, whose message need not be there.

        Raises:
            Unauthenticated, NotAllowed, Throttled: its credentials do not allow the call.
        """
        if is_ours(method):
            name = method.rpartition("/")[2]
            if self._gate.asks_for_credentials or is_administration(name):
                self._caller(name, context)

    def _caller(self, method: str, context: grpc.ServicerContext) -> Caller:
        caller = self._gate.caller(context.invocation_metadata(), peer_of(context.peer()))
        bind_contextvars(caller=caller.name)  # for the log lines of this call
        check_role(method, caller)
        return caller

    def _guarded(
        self, behave: Callable[[Any, grpc.ServicerContext], Message], method: str
    ) -> Callable[[Any, grpc.ServicerContext], Message]:
        def call(request: Any, context: grpc.ServicerContext) -> Message:
            caller = self._caller(method, context)
            self._admit(request, caller, method, context)
            if is_administration(method):
                facts = facts_of(request)
                with self._audit.recorded(caller.name, method, facts, peer_of(context.peer())):
                    reply = behave(request, context)
            else:
                reply = self._found(behave, request, context, caller)
            reveal(request, reply, caller)
            return reply

        return call

    def _admit(
        self, request: Any, caller: Caller, method: str, context: grpc.ServicerContext
    ) -> None:
        try:
            admit(request, caller, self._new_id)
        except MitsumoriError as error:
            if is_administration(method):
                facts, peer = facts_of(request), peer_of(context.peer())
                self._audit.refused(caller.name, method, facts, error.reason, peer)
            raise

    def _found(
        self,
        behave: Callable[[Any, grpc.ServicerContext], Message],
        request: Any,
        context: grpc.ServicerContext,
        caller: Caller,
    ) -> Message:
        """The reply, also for a decision of this tenant that was made before its server had credentials."""
        try:
            return behave(request, context)
        except NotFound:
            field, plain = id_before_credentials(request, caller)
            if not plain or self._owner(plain) != caller.tenant:
                raise
            setattr(request, field, plain)
            return behave(request, context)

    def _guarded_stream(
        self,
        behave: Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Message]],
        method: str,
    ) -> Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Message]]:
        """A message that is not allowed goes on as its error, which costs that message its answer alone.

        The credential is looked at for every message: a stream may be open for longer than it is valid.
        """

        def call(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
            self._caller(method, context)

            def admitted() -> Iterator[Any]:
                for request in requests:
                    caller = self._caller(method, context)
                    try:
                        admit(request, caller, self._new_id)
                    except MitsumoriError as error:
                        yield error
                    else:
                        yield request

            yield from behave(admitted(), context)

        return call
