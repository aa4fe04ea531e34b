"""Builds the server from the settings and runs it: the one place that wires the parts together."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent import futures
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from mitsumori.v1 import admin_pb2_grpc, router_pb2_grpc
from router.catalog.catalog import Catalog, load_catalog
from router.catalog.tokens import TokenCounter
from router.classifier.bundle import Bundle
from router.classifier.hot_swap import ServedBundle, open_bundle_source
from router.core.errors import BadArtifact, InvalidInput
from router.core.money import NANOS_PER_USD
from router.decision_log.prompt_log import PromptLog
from router.ledger.address import ledger_place
from router.ledger.base import Ledger
from router.logs import logger
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
from router.rpc.duties import ALONE, Duties
from router.rpc.error_interceptor import ErrorInterceptor
from router.rpc.health import ADMIN, ROUTER, ServiceHealth
from router.rpc.ports import check_port_is_free
from router.rpc.protection import check_settings, protection_of
from router.rpc.router_service import RouterServicer
from router.rpc.signals import reload_signal, stop_signals
from router.settings import Settings

__all__ = ["RunningServer", "build_reservations", "build_router", "open_bundle", "serve", "start"]

_MESSAGE_OVERHEAD = 1 << 20
"""Bytes of a message besides the prompt. gRPC refuses larger messages before decompressing or parsing."""
_ADMIN_WORKERS = 2


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _models_with_arms(catalog: Catalog, bundle: Bundle) -> set[str]:
    arms = {arm.tier for arm in bundle.manifest.arms} | {arm.name for arm in bundle.manifest.arms}
    return {entry.spec.id for entry in catalog.entries if {entry.spec.id, entry.spec.tier} & arms}


def open_bundle(settings: Settings, catalog: Catalog) -> ServedBundle:
    """Load the bundle that the settings name.

    A later bundle may only replace it if it has an arm for every model that can be chosen now; requests that
    name such a model or tier would fail otherwise.

    Raises:
        BadArtifact, Unavailable: no bundle can serve.
    """

    def check_arms(new: Bundle, current: Bundle | None) -> None:
        if current is None:
            return
        lost = _models_with_arms(catalog, current) - _models_with_arms(catalog, new)
        if lost:
            raise BadArtifact(
                f"{new.version} has no arm for {', '.join(sorted(lost))}, which can be chosen now; "
                "train it with their arms, or restart the server to use it anyway",
                reason="ARMS_MISSING",
                field="bundle",
            )

    return ServedBundle(
        open_bundle_source(settings.bundle, settings.registry, settings.registry_cache),
        settings.encoders,
        check_arms,
    )


def build_router(
    settings: Settings,
    now: Callable[[], datetime] = _utc_now,
    *,
    catalog: Catalog | None = None,
    served: ServedBundle | None = None,
) -> Router:
    """Load everything that a Route call needs.

    Args:
        settings: of the service.
        now: the clock; returns an aware datetime.
        catalog: a loaded catalog; ``None`` loads that of the settings.
        served: an open bundle; ``None`` opens that of the settings.

    Raises:
        BadArtifact, Unavailable: the bundle, encoder, catalog or tokenizer is missing or damaged, or the
            registry does not answer and the cache is empty.
    """
    catalog = catalog or load_catalog(settings.catalog)
    served = served or open_bundle(settings, catalog)
    return Router(
        bundles=served.current,
        catalog=catalog,
        tokens=TokenCounter(settings.tokenizer_dir),
        default_goals=settings.default_goals,
        quote_ttl=timedelta(seconds=settings.quote_ttl_s),
        now=now,
        target_regret=settings.target_regret,
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
    """

    servers: tuple[grpc.Server, ...]
    health: ServiceHealth
    address: str
    port: int
    admin_address: str
    drain_s: float

    def mark_serving(self) -> None:
        """Report SERVING."""
        self.health.mark_warm()

    def drain(self) -> None:
        """Report NOT_SERVING, refuse new calls, and let those in flight finish within ``drain_s``."""
        self.health.drain()
        for stopped in [server.stop(self.drain_s) for server in self.servers]:
            stopped.wait()


def _labels_of_settings(settings: Settings) -> frozenset[str]:
    """Names of labels that mean something to the service whatever the limits are."""
    retained = (name for rule in settings.retention for name in rule.labels)
    return frozenset({"tenant", *settings.correct_by, *retained})


def build_reservations(settings: Settings, router: Router, ledger: Ledger) -> Reservations:
    """Combine a router and a ledger.

    Args:
        settings: say how much to hold, for how long, and what to log of prompts.
        router: decides.
        ledger: holds.

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
    )


def _server(
    settings: Settings, workers: int, interceptors: list[Any], duties: Duties
) -> grpc.Server:
    return grpc.server(
        futures.ThreadPoolExecutor(workers, thread_name_prefix="route"),
        interceptors=interceptors,
        options=[
            ("grpc.max_receive_message_length", settings.max_prompt_bytes + _MESSAGE_OVERHEAD),
            ("grpc.so_reuseport", int(duties.shares_ports)),
        ],
    )


def _listen(
    server: grpc.Server, host: str, port: int, tls: grpc.ServerCredentials | None, setting: str
) -> tuple[str, int]:
    """Bind a server; return its address, and its port also where 0 was asked for."""
    shown = f"[{host}]" if ":" in host else host
    try:
        if tls is None:
            bound = server.add_insecure_port(f"{shown}:{port}")
        else:
            bound = server.add_secure_port(f"{shown}:{port}", tls)
    except RuntimeError:
        option = setting.replace("_", "-")
        raise InvalidInput(
            f"cannot listen on {shown}:{port}; choose another with --{option.replace('port', 'host')} or "
            f"--{option}",
            reason="PORT_TAKEN",
            field=setting,
        ) from None
    return f"{shown}:{bound}", bound


def start(settings: Settings, reservations: Reservations, duties: Duties = ALONE) -> RunningServer:
    """Start listening, with health NOT_SERVING.

    AdminService has a server of its own, with threads of its own, where it has a port of its own.

    Args:
        settings: of the service.
        reservations: decide.
        duties: of this process.

    Raises:
        InvalidInput: an address cannot be bound, or others could come in.
        MitsumoriError: keys or certificates cannot be used.
    """
    protection = protection_of(settings)

    def owner(decision_id: str) -> str | None:
        found = reservations.ledger.decision(decision_id)
        return None if found is None else found.labels.get("tenant", "")

    interceptors = [
        ErrorInterceptor(),
        AccessInterceptor(protection.gate, protection.audit, owner),
    ]
    server = _server(settings, settings.workers, interceptors, duties)
    service_health = ServiceHealth()
    add_to_server = router_pb2_grpc.add_RouterServiceServicer_to_server
    add_to_server(  # type: ignore[no-untyped-call]
        RouterServicer(reservations, max_prompt_bytes=settings.max_prompt_bytes), server
    )
    if not duties.shares_ports:
        check_port_is_free(settings.host, settings.port, "port")
    address, port = _listen(server, settings.host, settings.port, protection.tls, "port")
    servers, admin_address = {server: [ROUTER]}, address if duties.leads else ""
    admin_server = server
    if duties.leads and settings.admin_address is not None:
        admin_server = _server(settings, _ADMIN_WORKERS, interceptors, duties)
        host, admin_port = settings.admin_address
        if not duties.shares_ports:
            check_port_is_free(host, admin_port, "admin_port")
        admin_address, _ = _listen(admin_server, host, admin_port, protection.tls, "admin_port")
    if duties.leads:
        servers.setdefault(admin_server, []).append(ADMIN)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(  # type: ignore[no-untyped-call]
            AdminServicer(reservations), admin_server
        )
    for one, services in servers.items():
        health_pb2_grpc.add_HealthServicer_to_server(service_health.servicer, one)
        if settings.offers_reflection:
            names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, one)
    running = RunningServer(
        tuple(servers), service_health, address, port, admin_address, settings.drain_s
    )
    for one in servers:
        one.start()
    return running


def serve(
    settings: Settings,
    *,
    on_ready: Callable[[str], None] = lambda _: None,
    duties: Duties = ALONE,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. SIGHUP looks for a new bundle.

    A signal to stop ends the start as well, wherever that waits: for a registry, a database or a pipe.

    Args:
        settings: of the service.
        on_ready: called with the address once the server is warm and healthy.
        duties: of this process.

    Raises:
        BadArtifact, InvalidInput, Unavailable: the server cannot start.
    """
    check_settings(settings)  # before anything that takes time
    with stop_signals() as stop, ExitStack() as opened:
        catalog = load_catalog(settings.catalog)
        served = open_bundle(settings, catalog)
        router = build_router(settings, catalog=catalog, served=served)
        ledger = duties.open_ledger(settings.ledger)
        opened.callback(ledger.close)
        learner = CorrectionLearner(
            ledger, settings.correct_by, settings.correct_from, catalog.reasoning_allowances
        )
        router = replace(router, corrections=lambda: learner.corrections)
        reservations = build_reservations(settings, router, ledger)
        running = start(settings, reservations, duties)
        opened.callback(running.drain)
        router.warm_up()
        # What is loaded now stays: the garbage collector need not scan it during calls.
        gc.collect()
        gc.freeze()
        running.mark_serving()
        logger().info(
            "serving",
            address=running.address,
            admin_address=running.admin_address,
            bundle=router.bundle.version,
            ledger=ledger_place(settings.ledger),
        )
        if router.bundle.manifest.demonstration:
            logger().warning(
                "demonstration bundle",
                bundle=router.bundle.version,
                remedy="it was trained on generated data; serve another with --bundle",
            )
        jobs = [
            correction_job(learner),
            label_names_job(reservations.label_names, ledger),
        ]
        if duties.leads:
            jobs += [
                expiry_job(ledger, settings.expire_every_s),
                retention_job(ledger, settings.retention),
            ]
        # In a thread of its own: a slow registry must not delay the expiry of holds.
        reloader = BackgroundJobs([reload_job(served, settings.reload_every_s)])
        # Likewise: a store that does not answer delays every other job.
        watch = BackgroundJobs([store_job(lambda: running.health.check_store(ledger))])
        opened.enter_context(duties.attended(running.health))
        with BackgroundJobs(jobs), watch, reloader, reload_signal(served, reloader):
            on_ready(running.address)
            stop.wait()
        logger().info("draining", seconds=settings.drain_s)
    logger().info("stopped")
