"""Every metric that the service exports: names, labels and units in one place.

The server makes its instruments from this list; dashboards and alert rules in ``deploy/`` use no other name
and no other label, which a test checks. No label holds an id of a call, a prompt or a caller: the number of
series is bounded by methods, status codes, reasons, limits and versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["METRICS", "RATIO_BUCKETS", "SECONDS_BUCKETS", "Metric", "series_names"]

SECONDS_BUCKETS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
"""Upper bounds of the histograms of time, seconds. The objective for latency (.15) is one of them."""

RATIO_BUCKETS = (0.1, 0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0, 10.0)
"""Upper bounds of the histogram of quote errors. The objective (.8 to 1.25) is among them."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as Prometheus sees it.

    Attributes:
        name: with the prefix ``mitsumori_`` and the unit, as Prometheus' conventions ask.
        kind: counter, gauge or histogram. An info metric is a gauge that is always 1.
        labels: names, in their order.
        description: one sentence: the ``# HELP`` line.
        buckets: upper bounds of a histogram, ascending, without infinity; empty for other kinds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric(
        "mitsumori_requests_total",
        "counter",
        ("method", "code"),
        "Finished calls by method (such as Route) and gRPC status code (such as OK).",
    ),
    Metric(
        "mitsumori_request_seconds",
        "histogram",
        ("method",),
        "Time from a call's arrival to its reply, by method, refusals included.",
        SECONDS_BUCKETS,
    ),
    Metric(
        "mitsumori_queue_seconds",
        "histogram",
        (),
        "Time that admitted calls waited for a worker.",
        SECONDS_BUCKETS,
    ),
    Metric(
        "mitsumori_refusals_total",
        "counter",
        ("reason",),
        "Refused calls by the stable reason of their ErrorInfo.",
    ),
    Metric(
        "mitsumori_held_usd",
        "gauge",
        (),
        "Money of all open holds in this server's store, USD.",
    ),
    Metric(
        "mitsumori_limit_headroom_ratio",
        "gauge",
        ("limit",),
        "Share of the hard value that is neither spent nor held, of the fullest account of each limit.",
    ),
    Metric(
        "mitsumori_quote_error_ratio",
        "histogram",
        (),
        "Settled price divided by the expected price that was quoted.",
        RATIO_BUCKETS,
    ),
    Metric(
        "mitsumori_bundle_info",
        "gauge",
        ("version",),
        "1 for the version of the bundle that is served.",
    ),
    Metric(
        "mitsumori_catalog_info",
        "gauge",
        ("version",),
        "1 for the version of the price table that is served.",
    ),
    Metric(
        "mitsumori_log_dropped_total",
        "counter",
        (),
        "Log lines that were dropped because the log could not be written fast enough.",
    ),
)
"""All metrics, in the order of the reference."""


def series_names() -> dict[str, tuple[str, ...]]:
    """Series as Prometheus stores them, with their labels; a histogram has three.

    Returns:
        Names of labels by name of series, without those that scraping adds.
    """
    names: dict[str, tuple[str, ...]] = {}
    for metric in METRICS:
        if metric.kind == "histogram":
            names[f"{metric.name}_bucket"] = (*metric.labels, "le")
            names[f"{metric.name}_sum"] = names[f"{metric.name}_count"] = metric.labels
        else:
            names[metric.name] = metric.labels
    return names
