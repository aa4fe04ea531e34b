"""What goes over the socket: frames of MessagePack, typed by the methods of :class:`base.Ledger`.

A frame is its length, four bytes, most significant first, and so many bytes of MessagePack. A request is
``[ends_at, method, arguments]``; a reply is ``[worked, result]``, where a result that did not work is an
error. Both ends are of one release: nothing here is kept, and no version is negotiated.
"""

from __future__ import annotations

import inspect
import struct
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

import msgspec

from router.core import errors
from router.core.errors import MitsumoriError
from router.ledger.base import Granted, HoldResult, Ledger, Refused, Repeated
from router.ledger.local_socket.observations import Observations

__all__ = [
    "HEADER_BYTES",
    "MAX_FRAME_BYTES",
    "METHODS",
    "OBSERVATIONS",
    "Request",
    "decoded_arguments",
    "decoded_request",
    "decoded_result",
    "encoded_error",
    "encoded_request",
    "encoded_result",
    "length_of",
]

OBSERVATIONS = "observations"
"""Takes what the store has told its observer; no method of the ledger."""
MAX_FRAME_BYTES = 1 << 30
"""Of one message: far more than the longest page of the decision log."""
_HEADER = struct.Struct(">I")
HEADER_BYTES = _HEADER.size

_encoder = msgspec.msgpack.Encoder()
_ERRORS: dict[str, type[MitsumoriError]] = {
    name: kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, MitsumoriError)
}

T = TypeVar("T")


class Request(msgspec.Struct, array_like=True):
    """A call of a method.

    Attributes:
        ends_at: when the caller gives up, by the monotonic clock of this machine, seconds.
        method: a key of :data:`METHODS`.
        arguments: its arguments in their order.
    """

    ends_at: float
    method: str
    arguments: msgspec.Raw


class _Reply(msgspec.Struct, array_like=True):
    worked: bool
    result: msgspec.Raw


class _Error(msgspec.Struct, array_like=True):
    kind: str
    message: str
    reason: str
    field: str
    metadata: dict[str, str]


class _HoldResult(msgspec.Struct, array_like=True):
    """A :data:`base.HoldResult`: one of them."""

    granted: Granted | None = None
    repeated: Repeated | None = None
    refused: Refused | None = None


class _Method(NamedTuple, Generic[T]):
    """How the arguments and the result of a method are read."""

    names: tuple[str, ...]
    arguments: msgspec.msgpack.Decoder[tuple[Any, ...]]
    result: msgspec.msgpack.Decoder[Any]


def _method(name: str) -> _Method[Any]:
    hints = get_type_hints(getattr(Ledger, name))
    result = hints.pop("return")
    return _Method(
        tuple(hints),
        msgspec.msgpack.Decoder(tuple[tuple(hints.values())]),  # type: ignore[misc]
        msgspec.msgpack.Decoder(_HoldResult if result == HoldResult else result),
    )


METHODS = {
    name: _method(name)
    for name, _ in inspect.getmembers(Ledger, inspect.isfunction)
    if not name.startswith("_") and name != "close"
}
"""Every method that can be called from another process."""
METHODS[OBSERVATIONS] = _Method(
    (), msgspec.msgpack.Decoder(tuple[()]), msgspec.msgpack.Decoder(Observations)
)

_request = msgspec.msgpack.Decoder(Request)
_reply = msgspec.msgpack.Decoder(_Reply)
_error = msgspec.msgpack.Decoder(_Error)


def _frame(message: object) -> bytes:
    data = _encoder.encode(message)
    return _HEADER.pack(len(data)) + data


def length_of(header: bytes) -> int:
    """The bytes of the message that follows a header.

    Raises:
        ValueError: more than :data:`MAX_FRAME_BYTES`.
    """
    length: int = _HEADER.unpack(header)[0]
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {length:,} bytes")
    return length


def encoded_request(ends_at: float, method: str, arguments: tuple[Any, ...]) -> bytes:
    """The frame of a call; see :class:`Request`.

    Args:
        ends_at: see :class:`Request`.
        method: see :class:`Request`.
        arguments: all of them, in their order.

    Raises:
        OverflowError, TypeError, UnicodeEncodeError: an argument has no form here, nor in a store.
    """
    return _frame((ends_at, method, arguments))


def decoded_request(message: bytes) -> Request:
    """The call that a message asks for.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return _request.decode(message)


def decoded_arguments(request: Request) -> dict[str, Any]:
    """The arguments of a call, by name.

    Raises:
        KeyError: there is no such method.
        msgspec.DecodeError: they are not those of the method.
    """
    method = METHODS[request.method]
    return dict(zip(method.names, method.arguments.decode(request.arguments), strict=True))


def encoded_result(result: object) -> bytes:
    """The frame of a reply to a call that worked."""
    match result:
        case Granted():
            result = _HoldResult(granted=result)
        case Repeated():
            result = _HoldResult(repeated=result)
        case Refused():
            result = _HoldResult(refused=result)
    return _frame((True, result))


def encoded_error(error: MitsumoriError) -> bytes:
    """The frame of a reply to a call that failed."""
    kind = type(error).__name__
    return _frame((False, (kind, error.message, error.reason, error.field, error.metadata)))


def decoded_result(method: str, message: bytes) -> Any:
    """What a reply brings back from a method.

    Args:
        method: that was called.
        message: the reply.

    Raises:
        MitsumoriError: what the method raised.
        msgspec.DecodeError: the message is no reply of this method.
    """
    reply = _reply.decode(message)
    if not reply.worked:
        error = _error.decode(reply.result)
        kind = _ERRORS.get(error.kind, MitsumoriError)
        raise kind(error.message, reason=error.reason, field=error.field, metadata=error.metadata)
    result = METHODS[method].result.decode(reply.result)
    if isinstance(result, _HoldResult):
        return result.granted or result.repeated or result.refused
    return result
