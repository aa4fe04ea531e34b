"""A collector of OpenTelemetry in this process: a real gRPC server that keeps what it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as traces_grpc


@dataclass
class Collector:
    """What was received.

    Attributes:
        endpoint: where it listens, as the setting ``otlp_endpoint`` wants it.
        requests: as they came.
        headers: names and values that came with them.
    """

    endpoint: str = ""
    requests: list[Any] = field(default_factory=list)
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            if isinstance(request, traces.ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> set[str]:
        return {
            metric.name
            for request in self.requests
            if isinstance(request, metrics.ExportMetricsServiceRequest)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def take(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.headers += [(str(key), str(value)) for key, value in context.invocation_metadata()]


def attributes_of(span: Any) -> dict[str, Any]:
    """The attributes of a span that was received."""
    return {
        each.key: getattr(each.value, str(each.value.WhichOneof("value")))
        for each in span.attributes
    }


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector that listens on a free port of loopback."""
    made = Collector()

    class Traces(traces_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
            made.take(request, context)
            return traces.ExportTraceServiceResponse()

    class Metrics(metrics_grpc.MetricsServiceServicer):
        def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
            made.take(request, context)
            return metrics.ExportMetricsServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    traces_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    made.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(None).wait()
