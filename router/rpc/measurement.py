"""What the server tells of itself besides its calls: versions, store, log, limits and holds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from router import logs
from router.core.limits import ANY
from router.ledger.base import Ledger
from router.routing.background_jobs import PeriodicJob
from router.rpc.ports import port_taken
from router.settings import METRICS_PORT, Settings
from router.telemetry.endpoint import MetricsEndpoint
from router.telemetry.export import Telemetry, open_telemetry, otlp_endpoint
from router.telemetry.meters import Meters
from router.telemetry.metric_names import (
    BUNDLE_INFO,
    CANARY_HALTED,
    CATALOG_INFO,
    LOG_DROPPED,
    QUEUE_LENGTH,
    STORE_UP,
    UNHEALTHY_MODELS,
)

__all__ = ["metrics_endpoint", "occupancy_job", "report_state", "telemetry_of"]

_OCCUPANCY_EVERY_S = 15.0


def telemetry_of(settings: Settings) -> Telemetry:
    """The telemetry of a server: its settings say where to send it, and how many calls to trace.

    Raises:
        InvalidInput: the address of the collector cannot be used.
    """
    return open_telemetry(otlp_endpoint(settings.otlp_endpoint), ratio=settings.trace_ratio)


def metrics_endpoint(
    settings: Settings, telemetry: Telemetry, number: int = 1
) -> MetricsEndpoint | None:
    """The endpoint that Prometheus scrapes; ``None``: another server has the port, and none was asked for.

    Args:
        settings: name the port.
        telemetry: of this process.
        number: of this process among those that serve, from 1. The second has the port after it, and so on.

    Raises:
        InvalidInput: the port that the settings name is taken.
    """
    port = METRICS_PORT if settings.metrics_port is None else settings.metrics_port
    port += number - 1 if port else 0
    failed = partial(
        logs.log_failure, "/metrics"
    )  # nobody would notice that there is nothing to scrape
    try:
        return MetricsEndpoint(settings.metrics_host, port, telemetry.text, failed)
    except OSError as error:
        if settings.metrics_port is None:
            logs.logger().warning("metrics_not_offered", port=port, reason=error.strerror)
            return None
        raise port_taken(settings.metrics_host, port, "metrics_port", error) from None


def report_state(
    meters: Meters,
    *,
    bundle: Callable[[], str],
    price_table: Callable[[], str],
    store_works: Callable[[], bool],
    queue_length: Callable[[], int],
    unhealthy_models: Callable[[], int],
    canary_halted: Callable[[], bool],
) -> None:
    """Have the state of the server read whenever metrics are collected.

    Args:
        meters: read it.
        bundle: the version of the bundle that serves now.
        price_table: the version of the price table that serves now.
        store_works: whether the store could be written when health last looked.
        queue_length: calls that wait for a worker, ≥ 0.
        unhealthy_models: models that fail at the moment, ≥ 0.
        canary_halted: whether there is a canary that was halted.
    """
    meters.read(BUNDLE_INFO, lambda: [(1, (bundle(),))])
    meters.read(CATALOG_INFO, lambda: [(1, (price_table(),))])
    meters.read(STORE_UP, lambda: [(int(store_works()), ())])
    meters.read(QUEUE_LENGTH, lambda: [(queue_length(), ())])
    meters.read(UNHEALTHY_MODELS, lambda: [(unhealthy_models(), ())])
    meters.read(CANARY_HALTED, lambda: [(int(canary_halted()), ())])
    meters.read(LOG_DROPPED, lambda: [(logs.dropped_lines(), ())])


def occupancy_job(ledger: Ledger, meters: Meters) -> PeriodicJob:
    """Read every quarter of a minute what the store holds, and how full its limits are.

    Between calls, so that neither a call nor a scrape waits for it.
    """

    def read() -> None:
        limits = ledger.limits()
        own = [limit.scope for limit in limits if ANY not in limit.scope.values()]
        views = ledger.view([*own, *meters.fullest.labels()]) if limits else []
        meters.fullest.refresh(
            [state for states in views for state in states], [limit.id for limit in limits]
        )
        meters.open_holds = ledger.open_holds()

    return PeriodicJob("occupancy", _OCCUPANCY_EVERY_S, read)
