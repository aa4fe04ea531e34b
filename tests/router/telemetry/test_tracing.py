"""Which calls are sampled, and what their spans hold."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from router.telemetry.trace import annotate, current_call, stage
from router.telemetry.tracing import Tracing

METHOD = "mitsumori.v1.RouterService/Route"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "vendor=1")]
UNSAMPLED = [("traceparent", f"00-{TRACE}-{SPAN}-00")]


class Spans:
    """Finished spans, and the tracer that makes them."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.tracer = provider.get_tracer("test")

    def by_name(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.kept.get_finished_spans()}


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.mark.parametrize(("drawn", "sampled"), [(0.0, True), (0.2499, True), (0.25, False)])
def test_a_call_without_a_callers_trace_is_sampled_by_the_ratio(
    spans: Spans, drawn: float, sampled: bool
) -> None:
    tracing = Tracing(spans.tracer, 0.25, draw=lambda: drawn)
    call = tracing.begin([], METHOD)
    tracing.end(call, "OK")
    assert (call is not None) is sampled
    assert list(spans.by_name()) == ([METHOD] if sampled else [])


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_call_with_a_callers_trace_is_sampled_as_the_caller_is(
    spans: Spans, ratio: float
) -> None:
    tracing = Tracing(spans.tracer, ratio)
    not_sampled = tracing.begin(UNSAMPLED, METHOD)
    assert not_sampled is not None
    assert (not_sampled.trace_id, not_sampled.span_id) == (TRACE, SPAN)
    assert not_sampled.recording is None
    tracing.end(not_sampled, "OK")
    assert spans.by_name() == {}
    sampled = tracing.begin(SAMPLED, METHOD)
    assert sampled is not None
    assert sampled.trace_id == TRACE
    assert sampled.span_id != SPAN
    tracing.end(sampled, "OK")
    span = spans.by_name()[METHOD]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN
    assert span.context is not None
    assert span.context.trace_state.get("vendor") == "1"
    assert span.kind is SpanKind.SERVER


def test_without_a_collector_a_callers_trace_still_gives_its_ids(spans: Spans) -> None:
    call = Tracing(ratio=1.0).begin(SAMPLED, METHOD)
    assert call is not None
    assert (call.trace_id, call.span_id, call.recording) == (TRACE, SPAN, None)
    assert Tracing(ratio=1.0).begin([], METHOD) is None


def test_stages_are_spans_inside_of_the_call_and_attributes_are_its_own(spans: Spans) -> None:
    tracing = Tracing(spans.tracer, 1.0)
    call = tracing.begin([], METHOD)
    token = current_call.set(call)
    with stage("classify"):
        annotate({"gen_ai.request.model": "gpt-5-nano"})
    current_call.reset(token)
    tracing.end(call, "OK")
    found = spans.by_name()
    outer, inner = found[METHOD], found["classify"]
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": METHOD,
        "rpc.response.status_code": "OK",
        "gen_ai.request.model": "gpt-5-nano",
    }


def test_a_stage_that_fails_keeps_nothing_of_the_error(spans: Spans) -> None:
    tracing = Tracing(spans.tracer, 1.0)
    call = tracing.begin([], METHOD)
    token = current_call.set(call)
    with pytest.raises(ValueError, match="canary"), stage("classify"):
        raise ValueError("canary of a prompt")
    current_call.reset(token)
    tracing.end(call, "INTERNAL")
    assert "canary" not in "".join(span.to_json() for span in spans.by_name().values())


CODES = {
    "OK": False,
    "RESOURCE_EXHAUSTED": False,
    "NOT_FOUND": False,
    "INTERNAL": True,
    "UNAVAILABLE": True,
}


@pytest.mark.parametrize(("code", "failed"), CODES.items())
def test_only_faults_of_the_server_make_its_span_an_error(
    spans: Spans, code: str, failed: bool
) -> None:
    tracing = Tracing(spans.tracer, 1.0)
    tracing.end(tracing.begin([], METHOD), code)
    span = spans.by_name()[METHOD]
    assert (span.status.status_code is StatusCode.ERROR) is failed
    assert (span.attributes or {}).get("error.type") == (None if code == "OK" else code)
