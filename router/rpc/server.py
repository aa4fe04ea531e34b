"""Builds the server from the settings and runs it: the one place that wires the parts together."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mitsumori.v1 import admin_pb2_grpc, router_pb2_grpc
from router.allocator import bound_allocator
from router.catalog.catalog import Catalog, load_catalog, watch_catalog
from router.catalog.tokens import TokenCounter
from router.classifier.bundle import Bundle
from router.classifier.hot_swap import ServedBundle, open_bundle_source
from router.core.money import NANOS_PER_USD
from router.decision_log.prompt_log import PromptLog
from router.ledger.address import ledger_place
from router.ledger.base import Ledger
from router.logs import logger, set_level
from router.routing.background_jobs import (
    BackgroundJobs,
    correction_job,
    expiry_job,
    label_names_job,
    reload_job,
    retention_job,
    store_job,
)
from router.routing.correction_learner import CorrectionLearner
from router.routing.label_names import LabelNames
from router.routing.reservations import Reservations
from router.routing.router import Router
from router.rpc.access_interceptor import AccessInterceptor
from router.rpc.admin_service import AdminServicer
from router.rpc.admission_interceptor import AdmissionInterceptor
from router.rpc.duties import ALONE, Duties
from router.rpc.error_interceptor import ErrorInterceptor
from router.rpc.health import ADMIN, ROUTER, ServiceHealth
from router.rpc.lanes import Lane, lane_job, lanes_of
from router.rpc.live_state import LiveState, Sources
from router.rpc.measurement import (
    metrics_endpoint,
    occupancy_job,
    report_state,
    telemetry_of,
)
from router.rpc.messages.route import render_example
from router.rpc.ports import listen
from router.rpc.protection import AccessInput, check_settings, protection_of
from router.rpc.router_service import RouterServicer
from router.rpc.settings_change import SettingsFile, settings_version, watch_settings
from router.rpc.signals import reload_signal, stop_signals
from router.rpc.snapshot import Snapshot
from router.rpc.telemetry_interceptor import TelemetryInterceptor
from router.settings import Settings
from router.telemetry.export import Telemetry
from router.telemetry.observer import Observer
from router.watched import InputStatus

__all__ = [
    "RunningServer",
    "build_reservations",
    "build_router",
    "live_state_of",
    "open_bundle",
    "serve",
    "start",
]

_MESSAGE_OVERHEAD = 1 << 20
"""Bytes of a message besides the prompt. gRPC refuses larger messages before decompressing or parsing."""
_UNOBSERVED = Observer()
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


def _utc_now() -> datetime:
    return datetime.now(UTC)


def open_bundle(settings: Settings) -> ServedBundle:
    """Load the bundle that the settings name.

    Raises:
        BadArtifact, Unavailable: no bundle can serve.
    """
    return ServedBundle(
        open_bundle_source(settings.bundle, settings.registry, settings.registry_cache),
        settings.encoders,
        settings.bundle_public_keys,
    )


def build_router(
    settings: Settings,
    now: Callable[[], datetime] = _utc_now,
    *,
    catalog: Catalog | None = None,
    bundle: Bundle | None = None,
    tokens: TokenCounter | None = None,
) -> Router:
    """Load everything that a Route call needs.

    Args:
        settings: of the service.
        now: the clock; returns an aware datetime.
        catalog: a loaded catalog; ``None`` loads that of the settings.
        bundle: a loaded bundle; ``None`` loads that of the settings.
        tokens: counts tokens; ``None`` makes a counter.

    Raises:
        BadArtifact, Unavailable: the bundle, encoder, catalog or tokenizer is missing or damaged, or the
            registry does not answer and the cache is empty.
    """
    catalog = catalog or load_catalog(settings.catalog)
    serving = bundle or open_bundle(settings).current()
    return Router(
        bundles=lambda: serving,
        catalog=catalog,
        tokens=tokens or TokenCounter(settings.tokenizer_dir),
        default_goals=settings.default_goals,
        quote_ttl=timedelta(seconds=settings.quote_ttl_s),
        now=now,
        target_regret=settings.target_regret,
        settings_version=settings_version(settings),
    )


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


def _labels_of_settings(settings: Settings) -> frozenset[str]:
    """Names of labels that mean something to the service whatever the limits are."""
    retained = (name for rule in settings.retention for name in rule.labels)
    return frozenset({"tenant", *settings.correct_by, *retained})


def build_reservations(
    settings: Settings, router: Router, ledger: Ledger, observer: Observer = _UNOBSERVED
) -> Reservations:
    """Combine a router and a ledger.

    Args:
        settings: say how much to hold, for how long, and what to log of prompts.
        router: decides.
        ledger: holds.
        observer: is told what is decided and settled.

    Raises:
        MitsumoriError: the settings need an extra that is not installed.
    """
    return Reservations(
        router,
        ledger,
        strict=settings.strict,
        hold_ttl_s=settings.hold_ttl_s,
        prompt_log=PromptLog(settings.log_prompts, settings.prompt_key.get_secret_value().encode()),
        label_names=LabelNames(_labels_of_settings(settings)),
        max_settle=int(settings.max_settle_usd * NANOS_PER_USD),
        observer=observer,
        render_example=render_example,
    )


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
        live: what it serves as settings, catalog and bundle change; ``None``: nothing changes.
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

    def owner(decision_id: str) -> str | None:
        found = live.current().reservations.ledger.decision(decision_id)
        return None if found is None else found.labels.get("tenant", "")

    access = AccessInterceptor(protection.gate, protection.audit, owner)
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
            names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
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


def _sources(settings: Settings, file: SettingsFile | None) -> Sources:
    """What the server follows: its settings file, a catalog that does not ship, and the bundle."""
    return Sources(
        None if file is None else watch_settings(file, settings),
        None if settings.catalog is None else watch_catalog(settings.catalog),
        open_bundle(settings),
    )


def _rebuilt(
    before: Reservations, settings: Settings, catalog: Catalog, bundle: Bundle
) -> Reservations:
    """Reservations of other settings, another catalog or bundle, with all else as it was.

    Args:
        before: what is served now.
        settings: from now on.
        catalog: from now on.
        bundle: from now on.
    """
    router = before.router
    made = build_router(settings, router.now, catalog=catalog, bundle=bundle, tokens=router.tokens)
    made = replace(made, corrections=router.corrections)
    found = build_reservations(settings, made, before.ledger, before.observer)
    return replace(found, label_names=before.label_names)


def live_state_of(
    settings: Settings, sources: Sources, ledger: Ledger, observer: Observer
) -> tuple[LiveState, CorrectionLearner]:
    """What calls run on, and what learns their corrections.

    Nothing else keeps the first catalog and bundle: they go when others replace them.

    Args:
        settings: to begin with.
        sources: what is followed; the bundle always is.
        ledger: holds.
        observer: is told what is decided and settled.
    """
    assert sources.bundle is not None  # noqa: S101 — a bundle is always followed
    catalog = load_catalog() if sources.catalog is None else sources.catalog.current()[0]
    learner = CorrectionLearner(
        ledger, settings.correct_by, settings.correct_from, catalog.reasoning_allowances
    )
    router = build_router(settings, catalog=catalog, bundle=sources.bundle.current())
    router = replace(router, corrections=lambda: learner.corrections)
    first = Snapshot(settings, build_reservations(settings, router, ledger, observer))

    def applied(snapshot: Snapshot) -> None:
        set_level(snapshot.settings.log_level)
        reservations = snapshot.reservations
        learner.allowances = reservations.router.catalog.reasoning_allowances
        reservations.label_names.configured = _labels_of_settings(snapshot.settings)

    return LiveState(first, sources, rebuild=_rebuilt, applied=applied), learner


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
            "demonstration bundle",
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
        sources = _sources(settings, file)
        telemetry = telemetry_of(settings)
        opened.callback(telemetry.close)
        meters = telemetry.meters
        ledger = duties.open_ledger(settings.ledger, meters)
        opened.callback(ledger.close)
        live, learner = live_state_of(settings, sources, ledger, meters)
        endpoint = metrics_endpoint(settings, telemetry, duties.number)
        if endpoint is not None:
            opened.enter_context(endpoint)
        running = start(settings, live.current().reservations, live, telemetry, duties)
        opened.callback(running.drain)
        live.current().reservations.warm_up()
        # What is loaded now stays: the garbage collector need not scan it during calls.
        gc.collect()
        gc.freeze()
        running.mark_serving()
        _announce(live.current(), running, "" if endpoint is None else endpoint.address)
        jobs = [
            correction_job(learner),
            label_names_job(live.current().reservations.label_names, ledger),
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
            "reload": live.refresh_bundle,
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
        with BackgroundJobs(jobs), watch, reloader, reload_signal(look_at_all):
            on_ready(running.address)
            stop.wait()
        logger().info("draining", seconds=settings.drain_s)
    logger().info("stopped")
