"""Builds the gRPC server from the settings and runs it: the one place that wires the parts together."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mitsumori.v1 import admin_pb2_grpc, router_pb2_grpc
from router.allocator import bound_allocator
from router.core.errors import Unavailable
from router.ledger.address import has_one_writer, ledger_place
from router.logs import logger
from router.routing.background_jobs import (
    BackgroundJobs,
    correction_job,
    expiry_job,
    label_names_job,
    load_job,
    reload_job,
    retention_job,
    sharing_job,
    store_job,
)
from router.routing.reservations import Reservations
from router.rpc.access_interceptor import AccessInterceptor
from router.rpc.admin_service import AdminServicer
from router.rpc.admission_interceptor import AdmissionInterceptor
from router.rpc.assembly import exchange_of, live_state_of, sources_of
from router.rpc.duties import ALONE, Duties
from router.rpc.error_interceptor import ErrorInterceptor
from router.rpc.health import ServiceHealth
from router.rpc.lanes import Lane, lane_job, lanes_of
from router.rpc.live_state import LiveState
from router.rpc.measurement import (
    metrics_endpoint,
    occupancy_job,
    report_state,
    telemetry_of,
)
from router.rpc.ports import listen
from router.rpc.protection import AccessInput, check_settings, protection_of
from router.rpc.router_service import RouterServicer
from router.rpc.service_names import ADMIN, HEALTH, ROUTER
from router.rpc.settings_change import SettingsFile
from router.rpc.signals import reload_signal, stop_signals
from router.rpc.snapshot import Snapshot
from router.rpc.telemetry_interceptor import TelemetryInterceptor
from router.settings import Settings
from router.telemetry.export import Telemetry
from router.telemetry.metric_names import SHARED_STATE_AGE
from router.watched import InputStatus

__all__ = ["RunningServer", "serve", "start"]

_MESSAGE_OVERHEAD = 1 << 20
"""Bytes of a message besides the prompt. gRPC refuses larger messages before decompressing or parsing."""
_KEYS_EVERY_S = 0.5
_BOUNDS = (
    ("grpc.server.max_pending_requests", 100),
    ("grpc.server.max_pending_requests_hard_limit", 200),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 900_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
"""From some thousands of calls a second on, Python cannot even refuse each: of those that it has not seen,
gRPC itself refuses all but so many (CANCELLED). Then: calls at once on a connection, and how soon one is
closed that says nothing, or is not there."""


_CERTIFIED_MS = 600_000
"""How long a connection lasts whose caller has shown a certificate, which is looked at when it begins."""


@dataclass(frozen=True)
class RunningServer:
    """A server that listens. It reports NOT_SERVING until :meth:`mark_serving`.

    Attributes:
        servers: the gRPC servers: one, or one beside it for AdminService.
        health: what their health service says.
        address: ``host:port`` of RouterService.
        port: the port of it, also where the settings say 0.
        admin_address: ``host:port`` of AdminService; empty: another process offers it.
        drain_s: seconds that calls in flight get to finish.
        close: ends what admits calls, after the servers.
        keys: follows keys and certificates.
        inputs: keys and certificates.
    """

    servers: tuple[grpc.Server, ...]
    health: ServiceHealth
    address: str
    port: int
    admin_address: str
    drain_s: float
    close: Callable[[], None]
    keys: BackgroundJobs
    inputs: tuple[AccessInput, ...]

    def look_at_keys(self) -> None:
        """Look at once whether keys or certificates have changed. Safe in a signal handler."""
        for each in self.inputs:
            each.retry_refused()
            self.keys.request(each.status.name)

    def mark_serving(self) -> None:
        """Report SERVING."""
        self.health.mark_warm()

    def drain(self) -> None:
        """Report NOT_SERVING, refuse new calls, and let those in flight finish within ``drain_s``."""
        self.health.drain()
        for stopped in [server.stop(self.drain_s) for server in self.servers]:
            stopped.wait()
        self.keys.stop()
        self.close()


def _server(
    settings: Settings, threads: Executor, interceptors: list[Any], duties: Duties
) -> grpc.Server:
    return grpc.server(
        threads,
        interceptors=interceptors,
        options=[
            ("grpc.max_receive_message_length", settings.max_prompt_bytes + _MESSAGE_OVERHEAD),
            ("grpc.so_reuseport", int(duties.shares_ports)),
            ("grpc.max_allowed_incoming_connections", settings.max_connections),
            *_BOUNDS,
            *([("grpc.max_connection_age_ms", _CERTIFIED_MS)] if settings.tls_client_ca else []),
        ],
    )


def start(
    settings: Settings,
    reservations: Reservations,
    live: LiveState | None = None,
    telemetry: Telemetry | None = None,
    duties: Duties = ALONE,
) -> RunningServer:
    """Start listening, with health NOT_SERVING.

    AdminService has a server of its own, with threads of its own, where it has a port of its own.

    Args:
        settings: of the service.
        reservations: what it serves at first.
        live: what it serves as settings, catalog, rules and bundle change; ``None``: nothing changes.
        telemetry: measures the calls; ``None``: nobody does.
        duties: of this process.

    Raises:
        InvalidInput: an address cannot be bound, or others could come in.
        MitsumoriError: keys or certificates cannot be used.
    """
    protection = protection_of(settings)
    live = live or LiveState(Snapshot(settings, reservations))
    keys = BackgroundJobs(
        [reload_job(each.status.name, each.look, _KEYS_EVERY_S) for each in protection.inputs]
    )

    def statuses() -> list[InputStatus]:
        return [*live.statuses, *(each.status for each in protection.inputs)]

    ledger = reservations.ledger  # the same in every snapshot
    access = AccessInterceptor(protection.gate, protection.audit, ledger.owner)
    outermost = [] if telemetry is None else [TelemetryInterceptor(telemetry)]
    used: list[Lane] = []

    def new_server() -> grpc.Server:
        lanes = lanes_of(settings)
        used.extend(lanes.values())
        admission = AdmissionInterceptor(lanes, access)
        interceptors = [*outermost, admission, ErrorInterceptor(), access]
        return _server(settings, lanes[""].threads, interceptors, duties)

    server = new_server()
    service_health = ServiceHealth()
    if telemetry is not None:
        report_state(
            telemetry.meters,
            bundle=lambda: live.current().reservations.router.bundle.version,
            price_table=lambda: live.current().reservations.router.catalog.price_table,
            store_works=lambda: service_health.store_works,
            canary_halted=lambda: _is_halted(live.current()),
            unhealthy_models=lambda: live.current().reservations.health.unhealthy,
            queue_length=lambda: sum(lane.waiting for lane in used),
        )
    add_to_server = router_pb2_grpc.add_RouterServiceServicer_to_server
    add_to_server(  # type: ignore[no-untyped-call]
        RouterServicer(live.current), server
    )
    tls, shared = protection.tls, duties.shares_ports
    address, port = listen(server, settings.host, settings.port, tls, "port", shared=shared)
    servers, admin_address = {server: [ROUTER]}, address if duties.leads else ""
    admin_server = server
    if duties.leads and settings.admin_address is not None:
        admin_server = new_server()
        host, admin_port = settings.admin_address
        admin_address, _ = listen(admin_server, host, admin_port, tls, "admin_port", shared=shared)
    if duties.leads:
        servers.setdefault(admin_server, []).append(ADMIN)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(  # type: ignore[no-untyped-call]
            AdminServicer(live.current, statuses), admin_server
        )
    for one, services in servers.items():
        health_pb2_grpc.add_HealthServicer_to_server(service_health.servicer, one)
        if settings.offers_reflection:
            names = (*services, HEALTH, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, one)
    beside = ExitStack()
    for lane in used:
        beside.callback(lane.close)
    beside.enter_context(BackgroundJobs([lane_job(used)]))
    running = RunningServer(
        tuple(servers),
        service_health,
        address,
        port,
        admin_address,
        settings.drain_s,
        beside.close,
        keys,
        protection.inputs,
    )
    keys.start()
    for one in servers:
        one.start()
    return running


def _is_halted(served: Snapshot) -> bool:
    canary = served.reservations.canary
    return canary is not None and canary.is_halted


def _announce(served: Snapshot, running: RunningServer, metrics_address: str) -> None:
    """Log that the server serves, and from what.

    Args:
        served: at first.
        running: the server.
        metrics_address: empty where nobody can read metrics.
    """
    bundle = served.reservations.router.bundle
    logger().info(
        "serving",
        address=running.address,
        admin_address=running.admin_address,
        metrics_address=metrics_address,
        bundle=bundle.version,
        ledger=ledger_place(served.settings.ledger),
    )
    if bundle.manifest.demonstration:
        logger().warning(
            "demonstration_bundle",
            bundle=bundle.version,
            remedy="it was trained on generated data; serve another with --bundle",
        )


def serve(
    settings: Settings,
    file: SettingsFile | None = None,
    *,
    on_ready: Callable[[str], None] = lambda _: None,
    duties: Duties = ALONE,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. SIGHUP looks at once what has changed.

    A signal to stop ends the start as well, wherever that waits: for a registry, a database or a pipe.

    Args:
        settings: of the service.
        file: where they came from; followed while the server runs. ``None``: there is none.
        on_ready: called with the address once the server is warm and healthy.
        duties: of this process.

    Raises:
        BadArtifact, InvalidInput, Unavailable: the server cannot start.
    """
    bound_allocator()
    check_settings(settings)  # before anything that takes time
    with stop_signals() as stop, ExitStack() as opened:
        sources = sources_of(settings, file)
        telemetry = telemetry_of(settings)
        opened.callback(telemetry.close)
        meters = telemetry.meters
        ledger = duties.open_ledger(settings.ledger, meters)
        opened.callback(ledger.close)
        live, learner = live_state_of(settings, sources, ledger, meters)
        shadow = live.current().reservations.shadow
        if shadow is not None:
            opened.enter_context(shadow)
        endpoint = metrics_endpoint(settings, telemetry, duties.number)
        if endpoint is not None:
            opened.enter_context(endpoint)
        exchange = exchange_of(live.current().reservations)
        opened.callback(exchange.finish)
        meters.read(SHARED_STATE_AGE, lambda: [(exchange.age_s, ())])
        sharing = BackgroundJobs([sharing_job(exchange, settings.share_every_s)])
        sharing.run_due()  # what others know is known before the first call
        running = start(settings, live.current().reservations, live, telemetry, duties)
        opened.callback(running.drain)
        live.current().reservations.warm_up()
        with suppress(Unavailable):  # the job tries again
            live.current().reservations.load.sync(ledger)
        # What is loaded now stays: the garbage collector need not scan it during calls.
        gc.collect()
        gc.freeze()
        live.begin_trials()
        running.mark_serving()
        _announce(live.current(), running, "" if endpoint is None else endpoint.address)
        jobs = [
            correction_job(learner),
            label_names_job(live.current().reservations.label_names, ledger),
            load_job(
                live.current().reservations.load,
                ledger,
                shared=settings.processes > 1 or not has_one_writer(settings.ledger),
            ),
        ]
        if duties.leads:
            jobs += [
                expiry_job(ledger, settings.expire_every_s),
                retention_job(ledger, lambda: live.current().settings.retention),
            ]
        # In a thread of its own: a slow registry must not delay the expiry of holds.
        looks = {
            "settings": live.refresh_settings,
            "catalog": live.refresh_catalog,
            "rules": live.refresh_rules,
            "bundle": live.refresh_bundle,
            **live.trials,
        }
        reloader = BackgroundJobs(
            [reload_job(name, look, settings.reload_every_s) for name, look in looks.items()]
        )

        def look_at_all() -> None:
            live.retry_refused()
            for name in looks:
                reloader.request(name)
            running.look_at_keys()

        # Likewise: a store that does not answer delays every other job.
        watch = BackgroundJobs(
            [store_job(lambda: running.health.check_store(ledger)), occupancy_job(ledger, meters)]
        )
        opened.enter_context(duties.attended(running.health))
        with BackgroundJobs(jobs), watch, sharing, reloader, reload_signal(look_at_all):
            on_ready(running.address)
            stop.wait()
        logger().info("draining", seconds=settings.drain_s)
    logger().info("stopped")
