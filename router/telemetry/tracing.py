"""Spans: one per sampled call, with one inside for each of its stages.

A call is sampled where its caller records the trace, or, without a caller's trace, by a ratio. Any other call
costs a look at its metadata and a random number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from opentelemetry import trace as api
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from router.telemetry.trace import CallTrace, TraceParent, Value, parent_of

__all__ = ["Tracing"]

_FAULTS = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Status codes by which the conventions call the span of a server failed."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Implements :class:`trace.Recording`. Nothing of an exception is kept: its text may quote a request."""

    tracer: api.Tracer
    span: api.Span
    context: Context

    def stage(self, name: str) -> AbstractContextManager[None]:
        return self._stage(name)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        inner = self.tracer.start_span(name, self.context, record_exception=False)
        try:
            yield
        finally:
            inner.end()

    def set(self, attributes: Mapping[str, Value]) -> None:
        self.span.set_attributes(attributes)


@dataclass(frozen=True)
class Tracing:
    """Decides which calls are sampled, and makes their spans. Thread-safe.

    Attributes:
        tracer: makes the spans, every one that it is asked for; ``None``: none is ever made, and traces of
            callers only give the log its ids, and histograms their exemplars.
        ratio: of the calls without a caller's trace that are sampled, 0..1.
        draw: a random number in [0, 1).
    """

    tracer: api.Tracer | None = None
    ratio: float = 0.0
    draw: Callable[[], float] = random.random

    def begin(self, metadata: Iterable[tuple[str, str | bytes]], method: str) -> CallTrace | None:
        """The trace of a call that begins; ``None``: it belongs to none.

        Args:
            metadata: of the call.
            method: its full name, such as ``mitsumori.v1.RouterService/Route``.
        """
        parent = parent_of(metadata)
        if self.tracer is None or not (
            self.draw() < self.ratio if parent is None else parent.sampled
        ):
            if parent is None:
                return None
            return CallTrace(
                parent.trace_id, parent.span_id, _context_of(parent) if parent.sampled else None
            )
        span = self.tracer.start_span(
            method,
            Context() if parent is None else _context_of(parent),
            kind=api.SpanKind.SERVER,
            attributes={"rpc.system.name": "grpc", "rpc.method": method},
            record_exception=False,
        )
        ids = span.get_span_context()
        context = api.set_span_in_context(span, Context())
        return CallTrace(
            api.format_trace_id(ids.trace_id),
            api.format_span_id(ids.span_id),
            context,
            _Span(self.tracer, span, context),
        )

    def end(self, call: CallTrace | None, code: str) -> None:
        """A call has ended, with this status code; ``call`` is what :meth:`begin` returned."""
        if call is None or not isinstance(call.recording, _Span):
            return
        span = call.recording.span
        span.set_attribute("rpc.response.status_code", code)
        if code != "OK":
            span.set_attribute("error.type", code)
        if code in _FAULTS:
            span.set_status(api.StatusCode.ERROR)
        span.end()


def _context_of(parent: TraceParent) -> Context:
    flags = "01" if parent.sampled else "00"
    carrier = {"traceparent": f"00-{parent.trace_id}-{parent.span_id}-{flags}"}
    if parent.state:
        carrier["tracestate"] = parent.state
    return TraceContextTextMapPropagator().extract(carrier, Context())
