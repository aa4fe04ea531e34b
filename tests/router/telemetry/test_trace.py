"""The trace of a call: what is taken from its caller, and what a call without one pays for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from router.telemetry.trace import (
    CallTrace,
    TraceParent,
    add_ids,
    annotate,
    current_call,
    parent_of,
    stage,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    token = current_call.set(None)
    yield
    current_call.reset(token)


def test_the_trace_of_a_caller_is_taken_from_its_metadata() -> None:
    metadata = [
        ("user-agent", "x"),
        ("traceparent", f"00-{TRACE}-{SPAN}-01"),
        ("tracestate", "a=b"),
    ]
    assert parent_of(metadata) == TraceParent(TRACE, SPAN, True, "a=b")
    assert parent_of([("traceparent", f"00-{TRACE}-{SPAN}-00")]) == TraceParent(TRACE, SPAN, False)


def test_a_later_version_may_add_to_it() -> None:
    parent = parent_of([("traceparent", f"01-{TRACE}-{SPAN}-03-more")])
    assert parent == TraceParent(TRACE, SPAN, True)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01-" + "x" * 201,
        f"00-{TRACE}-{SPAN}",
        "my-secret",
    ],
)
def test_what_is_no_traceparent_is_none(value: str) -> None:
    assert parent_of([("traceparent", value)]) is None


def test_metadata_without_one_has_none_and_bytes_are_no_text() -> None:
    assert parent_of([]) is None
    assert parent_of([("tracestate", "a=b")]) is None
    assert parent_of([("traceparent", f"00-{TRACE}-{SPAN}-01".encode())]) is None


def test_a_tracestate_that_is_too_long_is_left_out() -> None:
    parent = parent_of([("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "x" * 513)])
    assert parent == TraceParent(TRACE, SPAN, True)


def test_without_a_trace_stages_and_attributes_are_nothing_and_the_log_has_no_ids() -> None:
    with stage("classify"):
        annotate({"gen_ai.request.model": "m"})
    assert add_ids(None, "", {"event": "routed"}) == {"event": "routed"}


def test_the_log_has_the_ids_of_a_call_that_is_traced_and_not_sampled() -> None:
    current_call.set(CallTrace(TRACE, SPAN))
    with stage("classify"):
        annotate({"gen_ai.request.model": "m"})
    assert add_ids(None, "", {}) == {"trace_id": TRACE, "span_id": SPAN}
