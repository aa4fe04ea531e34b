"""The way to a collector: what it gets, and that a collector which is away delays nobody."""

from __future__ import annotations

import socket
import threading

import pytest

from router.core.errors import InvalidInput
from router.telemetry.export import Telemetry, open_telemetry, otlp_endpoint
from router.telemetry.trace import current_call, stage
from tests.collector import attributes_of, collector
from tests.readiness import PATIENCE_S

METHOD = "mitsumori.v1.RouterService/Route"


def one_call(telemetry: Telemetry) -> None:
    tracing, meters = telemetry.tracing, telemetry.meters
    call = tracing.begin([], METHOD)
    token = current_call.set(call)
    with stage("classify"):
        pass
    meters.call(METHOD, "OK", 0.01, call)
    current_call.reset(token)
    tracing.end(call, "OK")


def test_a_collector_gets_spans_and_metrics_at_the_latest_at_the_end() -> None:
    with collector() as received:
        telemetry = open_telemetry(received.endpoint, ratio=1.0)
        one_call(telemetry)
        telemetry.close()
        assert {span.name for span in received.spans} == {METHOD, "classify"}
        (outer,) = (span for span in received.spans if span.name == METHOD)
        assert attributes_of(outer)["rpc.response.status_code"] == "OK"
        assert {"rpc.server.call.duration", "mitsumori.holds"} <= received.metrics


def test_a_collector_that_never_answers_keeps_nobody_from_ending() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        telemetry = open_telemetry(endpoint, ratio=1.0)
        for _ in range(5_000):  # more than wait
            one_call(telemetry)
        ended = threading.Thread(target=telemetry.close)
        ended.start()
        ended.join(PATIENCE_S)
        assert not ended.is_alive()


def test_the_address_is_that_of_the_setting_or_of_the_standard_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert otlp_endpoint("") == ""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
    assert otlp_endpoint("") == "http://collector:4317"
    assert otlp_endpoint("https://other:4317") == "https://other:4317"


def test_an_address_of_another_kind_is_refused_without_repeating_it() -> None:
    with pytest.raises(InvalidInput) as refused:
        open_telemetry("grpc://user:canary@collector")
    assert refused.value.field == "otlp_endpoint"
    assert "canary" not in refused.value.message


def test_variables_that_cannot_be_used_are_refused_without_repeating_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "canary")
    with pytest.raises(InvalidInput, match="OTEL_EXPORTER_OTLP") as refused:
        open_telemetry("http://127.0.0.1:1")
    assert "canary" not in refused.value.message
