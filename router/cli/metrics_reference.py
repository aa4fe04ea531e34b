"""The reference of all metrics as a page of Markdown, made from :mod:`router.telemetry.metric_names`.

``make reference`` writes it to ``docs/operations/metrics.md``; a test compares the two.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from router.settings import METRICS_PORT
from router.telemetry.metric_names import METRICS, Metric

__all__ = ["metrics_reference"]

_HEAD = f"""\
# Metrics, traces and logs

Made by `make reference` from `router/telemetry/metric_names.py` and `router/cli/metrics_reference.py`; do
not edit.

**Prometheus** scrapes `/metrics` at `metrics_host` and `metrics_port`, by default
`127.0.0.1:{METRICS_PORT}`. The port asks for no credentials and speaks no TLS: metrics name models,
versions and the ids of limits, and nothing else of callers. An id may name a tenant: those that a tenant
sets begin with its name. Where Prometheus runs elsewhere, set `metrics_host` and let only Prometheus
through. Where another server has port {METRICS_PORT} and `metrics_port` is unset, the server starts without
the endpoint and says so in its log. Where [several processes](processes.md) serve, the second has the next
port, and so on: scrape all of them, and add up counters and histograms; gauges of the store are the same in
all, and of a limit's headroom the least counts. A scrape that asks for OpenMetrics, as Prometheus does with
`--enable-feature=exemplar-storage`, gets exemplars with the ids of traces.

**A collector** is sent traces and metrics by OTLP over gRPC, where `otlp_endpoint` or
`OTEL_EXPORTER_OTLP_ENDPOINT` is set. OpenTelemetry's own variables set the rest, such as
`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_EXPORTER_OTLP_CERTIFICATE`, `OTEL_RESOURCE_ATTRIBUTES`,
`OTEL_METRIC_EXPORT_INTERVAL` and `OTEL_BSP_MAX_QUEUE_SIZE`. What a collector does not take is dropped: it
delays no call, and the end of the server by a second at most.

**A trace** has a span per call, named as the method, and in a Route call one for each stage: `features`,
`encode`, `classify`, `quote`, `decide`, `hold`. A call whose caller sends a W3C `traceparent` is traced
where its caller is; of the others the share `trace_ratio`. The span of a call holds `rpc.system.name`,
`rpc.method`, `rpc.response.status_code` and `error.type`; that of a decision `gen_ai.request.model`,
`gen_ai.provider.name` and `mitsumori.bundle.version`; that of a settlement has the
model and the provider too, and `gen_ai.usage.input_tokens` and `gen_ai.usage.output_tokens`.

**The lines of the log** have `trace_id` and `span_id` where the call belongs to a trace.

No label, attribute or line holds the text of a prompt or a credential. A model that is not in the catalog,
and a reason after the hundredth, count as `other`; of the limits the fullest hundred are shown. A limit
that counts each value of a label by itself is shown by the fullest of the accounts that calls have met.
"""


def _table() -> Iterator[str]:
    yield "| in Prometheus | kind | labels | what |"
    yield "|---|---|---|---|"
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "–"
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.description} |"


def _instruments() -> Iterator[str]:
    yield "| in OpenTelemetry | unit | upper bounds of the buckets |"
    yield "|---|---|---|"
    for metric in METRICS:
        yield f"| `{metric.instrument}` | {_unit(metric)} | {_bounds(metric)} |"


def _unit(metric: Metric) -> str:
    return f"`{metric.unit}`" if metric.unit else "–"


def _bounds(metric: Metric) -> str:
    return ", ".join(f"{bound:.10g}" for bound in metric.buckets) or "–"


def metrics_reference() -> str:
    """The page: how metrics and traces are had, and a line per metric in two tables."""
    return "\n".join([_HEAD, *_table(), "", *_instruments()]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(metrics_reference())
