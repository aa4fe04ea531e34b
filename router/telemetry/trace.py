"""The trace that the current call belongs to: its ids for the log, and spans for its stages.

Nothing here loads OpenTelemetry. Where a call is not traced, a stage costs a look at a context variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = [
    "CallTrace",
    "Recording",
    "TraceParent",
    "add_ids",
    "annotate",
    "current_call",
    "parent_of",
    "stage",
]

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.{0,200})?"
)
_MAX_STATE = 512
"""Characters of a ``tracestate`` that is handed on; W3C asks for at least this many."""

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class TraceParent:
    """The caller's place in a trace, from its W3C ``traceparent``.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits.
        sampled: whether the caller records the trace.
        state: its ``tracestate``; empty where it has none.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


class Recording(Protocol):
    """The span of a call that is sampled."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A span inside of it, from enter to exit."""
        ...

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Add attributes to it."""
        ...


@dataclass(frozen=True, slots=True)
class CallTrace:
    """The trace of a call.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: 16 hexadecimal digits: of the call's span, or of the caller's where it has none.
        context: of OpenTelemetry, by which a histogram keeps an exemplar; ``None``: it keeps none.
        recording: the span; ``None`` where the call is not sampled.
    """

    trace_id: str
    span_id: str
    context: Any = None
    recording: Recording | None = None


current_call: ContextVar[CallTrace | None] = ContextVar("current_call_trace", default=None)
"""Of the call that this thread makes; ``None`` where it belongs to no trace."""

_UNTRACED: AbstractContextManager[None] = nullcontext()


def parent_of(metadata: Iterable[tuple[str, str | bytes]]) -> TraceParent | None:
    """The caller's trace, from the metadata of its call; ``None`` where there is none, or no valid one.

    Args:
        metadata: pairs of name and value.
    """
    parent = None
    state = ""
    for name, value in metadata:
        if name == "traceparent" and isinstance(value, str):
            parent = _TRACEPARENT.fullmatch(value)
        elif name == "tracestate" and isinstance(value, str) and len(value) <= _MAX_STATE:
            state = value
    if parent is None:
        return None
    trace_id, span_id, flags = parent.groups()
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & 1), state)


def stage(name: str) -> AbstractContextManager[None]:
    """A span of the current call from enter to exit, where the call is sampled; else nothing.

    Args:
        name: such as ``classify``; never with values of the request.
    """
    call = current_call.get()
    if call is None or call.recording is None:
        return _UNTRACED
    return call.recording.stage(name)


def annotate(attributes: Mapping[str, Value]) -> None:
    """Add attributes to the span of the current call, where it is sampled: never text of a prompt."""
    call = current_call.get()
    if call is not None and call.recording is not None:
        call.recording.set(attributes)


def add_ids(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A processor of structlog: adds ``trace_id`` and ``span_id`` to the lines of a call that is traced."""
    call = current_call.get()
    if call is not None:
        event["trace_id"], event["span_id"] = call.trace_id, call.span_id
    return event
