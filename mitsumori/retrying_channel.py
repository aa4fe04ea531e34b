"""Connections: calls with one deadline over all tries, the same body in each, and clear errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2

from mitsumori.addresses import Address, target_of
from mitsumori.arguments import seconds_of, whole_of
from mitsumori.channels import OWN_CONNECTIONS, Channels
from mitsumori.credentials import Credentials, Tls, Token
from mitsumori.errors import CallFailed, InvalidArgument
from mitsumori.retry_policy import (
    CHANNEL_OPTIONS,
    call_until,
    details_of,
    is_overload,
    retry_after_s,
    service_config,
)

__all__ = ["RetryingChannel"]

_TLS_SIGNS = ("andshake failed", "erification check failed")
"""What gRPC says where a connection is made and TLS is not."""

_HEALTH = "/grpc.health.v1.Health/Check"
_PROBE_S = 0.2
"""The most seconds after a deadline in which it is asked whether there was a connection at all; and no more
than a tenth of the time that the caller gave."""
_FAULTS = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN"})
"""Codes by which a service gives no answer."""


class RetryingChannel:
    """A connection to a server. Thread-safe; make one and keep it.

    Args:
        address: ``host:port``, or several.
        timeout_s: the whole time a call may take, retries included, seconds > 0.
        attempts: the most tries of one call, ≥ 1; gRPC makes five at most, and without a server it fails at
            once. ``None``: the call waits for a server and is repeated until ``timeout_s`` is over. Every
            try carries the same body, and every call is idempotent, so the server acts once.
        channels: connections that calls use by turns, 1 to 127. Where there are several, other clients of the
            program have no part in them.
        tls: see :class:`mitsumori.credentials.Credentials`, like the next two.
        api_key: see ``tls``.
        token: see ``tls``.

    Raises:
        InvalidArgument: one of them is of another type, or out of range; names it.
    """

    _options: tuple[tuple[str, int], ...] = CHANNEL_OPTIONS

    def __init__(
        self,
        address: Address,
        *,
        timeout_s: float,
        attempts: int | None,
        channels: int = 1,
        tls: Tls | bool | None = None,
        api_key: str = "",
        token: Token = "",
    ) -> None:
        self._address = target_of(address)
        self._timeout_s = seconds_of(timeout_s, "timeout_s")
        self._attempts = None if attempts is None else whole_of(attempts, "attempts", least=1)
        if not self._timeout_s:
            raise InvalidArgument("timeout_s", "must be more than 0 seconds")
        self._closed = False
        self.credentials = Credentials(tls, api_key, token)
        policy = ("grpc.service_config", service_config(self._attempts))
        options: list[tuple[str, int | str]] = [*self._options, policy]
        self.channel: grpc.Channel | Channels
        if (number := whole_of(channels, "channels", least=1, bits=8)) == 1:
            self.channel = self.credentials.channel(address, options)
        else:
            options.append(OWN_CONNECTIONS)
            made = [self.credentials.channel(address, options) for _ in range(number)]
            self.channel = Channels(made)
        self._health = self.channel.unary_unary(_HEALTH)

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
            if self._attempts is not None:
                return self._tried(method, request, self._timeout_s)
            try:
                return call_until(
                    lambda left_s: self._tried(method, request, left_s), timeout_s=self._timeout_s
                )
            except grpc.RpcError as error:
                raise self._connection_failure(error) or error from None

    def _tried(self, method: Callable[..., Any], request: Message, timeout_s: float) -> Any:
        """The answer within gRPC's own tries."""
        return method(request, timeout=timeout_s, metadata=self.credentials.metadata())

    def _connection_failure(self, error: grpc.RpcError) -> grpc.RpcError | None:
        """Why there was no connection, where a call waited for one in vain; ``None``: there was one.

        gRPC itself says only that the deadline passed. A call that does not wait fails at once, and says why.
        """
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            try:
                self._health(b"", timeout=min(_PROBE_S, self._timeout_s / 10))
            except grpc.RpcError as found:
                if found.code() is grpc.StatusCode.UNAVAILABLE:
                    return found
        return None

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
        details = details_of(error)
        wait_s = retry_after_s(details)
        unanswered = code.name in _FAULTS or is_overload(error)
        info = error_details_pb2.ErrorInfo()
        for detail in details:
            if detail.Unpack(info):
                metadata = dict(info.metadata)
                return CallFailed(
                    error.details(),
                    code=code.name,
                    reason=info.reason,
                    field=metadata.pop("field", ""),
                    metadata=metadata,
                    retry_after_s=wait_s,
                    unanswered=unanswered,
                )
        messages = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {self._address}; is it running "
            "(`mitsumori serve`) and reachable?",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {self._address} within "
            f"{self._timeout_s:g} s; raise the timeout or look at the server's load",
            grpc.StatusCode.CANCELLED: f"the server at {self._address} ended the call; try again",
            grpc.StatusCode.UNIMPLEMENTED: f"the server at {self._address} does not speak this "
            "client's mitsumori.v1: client and server are of different versions, another service listens "
            "there, or it is a call of AdminService, which has a port of its own (50052 unless admin_port "
            "says otherwise): name that one (--server, MITSUMORI_ADMIN_SERVER)",
        }
        if code is grpc.StatusCode.UNAVAILABLE:
            # The details quote certificates and addresses, so they only choose the words.
            text = error.details() or ""
            if any(sign in text for sign in _TLS_SIGNS):
                return CallFailed(
                    f"{self._address} and this client do not agree on TLS: it has none, or one distrusts the "
                    "other's certificate (expired, of an unknown root, or for another name)",
                    code=code.name,
                    reason="TLS_FAILED",
                    unanswered=True,
                )
            if "Socket closed" in text and not self.credentials.encrypted:
                messages[code] += " If it serves with TLS, connect with tls (--tls)."
            elif "Socket closed" in text and not self.credentials.shows_certificate:
                messages[code] += (
                    " If it asks for client certificates, show one (--client-certificate, --client-key; "
                    "Tls(certificate=…, key=…))."
                )
        return CallFailed(
            messages.get(code, error.details() or code.name),
            code=code.name,
            retry_after_s=wait_s,
            unanswered=unanswered,
        )
