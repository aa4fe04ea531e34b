"""Metrics as text for Prometheus: its own format, and OpenMetrics, which has exemplars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import HistogramDataPoint, MetricsData, NumberDataPoint

from router.telemetry.metric_names import METRICS, Metric
from router.telemetry.observer import OTHER

__all__ = ["OPEN_METRICS", "PLAIN", "metrics_text"]

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_BY_INSTRUMENT = {metric.instrument: metric for metric in METRICS}
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


def metrics_text(data: MetricsData | None, *, open_metrics: bool = False) -> str:
    """The metrics that a reader of OpenTelemetry has collected, as text.

    Args:
        data: collected; ``None``: nothing was.
        open_metrics: in the format :data:`OPEN_METRICS`, with exemplars; otherwise in :data:`PLAIN`.
    """
    lines = [
        line
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for line in _lines(_BY_INSTRUMENT[metric.name], metric.data.data_points, open_metrics)
    ]
    if open_metrics:
        lines.append("# EOF")
    return "".join([f"{line}\n" for line in lines])


def _lines(metric: Metric, points: Iterable[Any], open_metrics: bool) -> Iterator[str]:
    # OpenMetrics names the family of a counter without the suffix of its samples.
    family = metric.name.removesuffix("_total") if open_metrics else metric.name
    yield f"# HELP {family} {metric.description}"
    yield f"# TYPE {family} {metric.kind}"
    for point in points:
        if isinstance(point, NumberDataPoint):
            yield f"{metric.name}{_labels(metric, point.attributes)} {_number(point.value)}"
        elif isinstance(point, HistogramDataPoint):
            yield from _histogram(metric, point, open_metrics)


def _histogram(metric: Metric, point: HistogramDataPoint, open_metrics: bool) -> Iterator[str]:
    examples = _by_bucket(point) if open_metrics else {}
    bounds = [*map(_number, point.explicit_bounds), "+Inf"]
    total = 0
    for index, (bound, count) in enumerate(zip(bounds, point.bucket_counts, strict=True)):
        total += count
        labels = _labels(metric, point.attributes, ("le", bound))
        yield f"{metric.name}_bucket{labels} {total}{_example(examples.get(index))}"
    labels = _labels(metric, point.attributes)
    yield f"{metric.name}_sum{labels} {_number(point.sum)}"
    yield f"{metric.name}_count{labels} {point.count}"


def _by_bucket(point: HistogramDataPoint) -> dict[int, Exemplar]:
    """The last exemplar of each bucket that has a trace."""
    found: dict[int, Exemplar] = {}
    for exemplar in sorted(point.exemplars, key=lambda each: each.time_unix_nano):
        if exemplar.trace_id is not None:
            found[_bucket(exemplar.value, point.explicit_bounds)] = exemplar
    return found


def _bucket(value: float, bounds: Sequence[float]) -> int:
    return sum(bound < value for bound in bounds)


def _example(exemplar: Exemplar | None) -> str:
    if exemplar is None or exemplar.trace_id is None or exemplar.span_id is None:
        return ""
    ids = f'{{trace_id="{exemplar.trace_id:032x}",span_id="{exemplar.span_id:016x}"}}'
    return f" # {ids} {_number(exemplar.value)} {exemplar.time_unix_nano / 1e9:.3f}"


def _labels(metric: Metric, attributes: Mapping[str, Any] | None, *more: tuple[str, str]) -> str:
    given = attributes or {}
    pairs = [
        (label, str(given.get(attribute, OTHER)))  # the SDK's sum of what is too much has none
        for attribute, label in zip(metric.attributes, metric.labels, strict=True)
    ]
    texts = [f'{name}="{value.translate(_ESCAPED)}"' for name, value in (*pairs, *more)]
    return f"{{{','.join(texts)}}}" if texts else ""


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(value)
