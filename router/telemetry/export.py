"""Telemetry of a process: its meters and traces, and the ways by which they leave it.

Prometheus asks at the endpoint; a collector is sent OTLP over gRPC. Spans wait in a bounded queue, which
drops; metrics are read once a minute. A collector that does not answer delays no call, and the end of the
process by a second at most.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import version

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from router.core.errors import InvalidInput
from router.telemetry.exposition import metrics_text
from router.telemetry.meters import Meters
from router.telemetry.tracing import Tracing

__all__ = ["Telemetry", "open_telemetry", "otlp_endpoint"]

_CLOSE_S = 1.0
"""Seconds that the end of the process waits for a collector."""


@dataclass(frozen=True)
class Telemetry:
    """Meters and traces of a process.

    Attributes:
        meters: keep the metrics.
        tracing: makes the spans.
        text: the metrics as text, in OpenMetrics where its argument is true.
        close: sends what waits, for a second at most, and ends the threads.
    """

    meters: Meters
    tracing: Tracing
    text: Callable[[bool], str]
    close: Callable[[], None] = field(default=lambda: None)


def otlp_endpoint(given: str) -> str:
    """The address of the collector: as given, else that of OpenTelemetry's own variable; may be empty."""
    return given or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")


def open_telemetry(
    endpoint: str = "",
    *,
    ratio: float = 0.0,
    spans_to: SpanExporter | None = None,
) -> Telemetry:
    """Make the meters and traces of this process. Waits for nothing outside.

    Args:
        endpoint: address of a collector, ``http://HOST:PORT`` or ``https://HOST:PORT``; empty: nothing is
            sent. Certificates and headers come from OpenTelemetry's own variables.
        ratio: of the calls without a caller's trace that are sampled, 0..1.
        spans_to: takes the spans instead of the collector.

    Raises:
        InvalidInput: the address of the collector, or what the variables say of it, cannot be used.
    """
    resource = Resource.create(
        {"service.name": "mitsumori", "service.version": version("mitsumori")}
    )
    pulled = InMemoryMetricReader()
    readers: list[MetricReader] = [pulled]
    if endpoint:
        metrics_reader, otlp_spans = _otlp(endpoint)
        readers.append(metrics_reader)
        spans_to = spans_to or otlp_spans
    # Ours closes it: at exit it would wait for a collector longer than anyone should.
    provider = MeterProvider(readers, resource, shutdown_on_exit=False)
    closing = ExitStack()
    closing.callback(provider.shutdown)
    tracing = Tracing()
    if spans_to is not None:
        traces = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        traces.add_span_processor(BatchSpanProcessor(spans_to))
        closing.callback(traces.shutdown)
        tracing = Tracing(traces.get_tracer("mitsumori"), ratio)
    collecting = threading.Lock()

    def text(open_metrics: bool) -> str:
        with collecting:
            data = pulled.get_metrics_data()
        return metrics_text(data, open_metrics=open_metrics)

    return Telemetry(Meters(provider), tracing, text, lambda: _within_a_second(closing.close))


def _otlp(endpoint: str) -> tuple[MetricReader, SpanExporter]:
    # Only here: these load a client of gRPC and the messages of OTLP, which few servers need.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    if not endpoint.startswith(("http://", "https://")):
        raise InvalidInput(
            "otlp_endpoint: must be http://HOST:PORT or https://HOST:PORT, of a collector of OTLP over gRPC",
            field="otlp_endpoint",
        )
    try:
        return (
            PeriodicExportingMetricReader(OTLPMetricExporter(endpoint)),
            OTLPSpanExporter(endpoint),
        )
    except Exception as error:  # noqa: BLE001 — it is translated
        # Not its text, which may show what a variable holds.
        raise InvalidInput(
            f"otlp_endpoint: the variables OTEL_EXPORTER_OTLP_… cannot be used ({type(error).__name__})",
            field="otlp_endpoint",
        ) from None


def _within_a_second(close: Callable[[], None]) -> None:
    def run() -> None:
        with suppress(Exception):  # nothing of it may keep a server from stopping cleanly
            close()

    thread = threading.Thread(target=run, name="telemetry-close", daemon=True)
    thread.start()
    thread.join(_CLOSE_S)
