"""What being watched costs a Route call: all that telemetry does in one, beside the call without it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import grpc
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.report import Figure
from mitsumori.v1 import router_pb2
from router.core.limits import Limit, LimitState, Unit, Window, period_of
from router.core.types import Constraints, Importance, Message, Prompt
from router.ledger.memory import MemoryLedger
from router.logs import configure
from router.routing.router import RouteQuery
from router.rpc.assembly import build_reservations, build_router
from router.rpc.refusals import overload_handlers
from router.rpc.telemetry_interceptor import TelemetryInterceptor
from router.settings import Settings
from router.telemetry.export import Telemetry, open_telemetry
from router.telemetry.observer import SettledCall
from router.telemetry.trace import annotate, stage

CALLS, ROUTED, WARM_UP = 5_000, 1_000, 200
METHOD = "/mitsumori.v1.RouterService/Route"
STAGES = ("features", "encode", "classify", "quote", "decide", "hold")
AGENT = ("user-agent", "grpc-python/1.85")
UNSAMPLED = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
SAMPLED = ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
MOMENT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIMITS = tuple(
    LimitState(
        Limit(name, scope, Unit.MONEY, Window.DAY, hard=10**12),
        "",
        period_of(Window.DAY, "UTC", MOMENT),
        10**9,
        10**6,
    )
    for name, scope in (("search", {"team": "search"}), ("users", {"user": "*"}))
)


class _Call:
    """What a handler asks of its context."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def code(self) -> None:
        return None

    def is_active(self) -> bool:
        return True


class _Details:
    method = METHOD
    invocation_metadata = (AGENT,)


def _median_us(call: Callable[[], object], times: int) -> float:
    taken = []
    for number in range(times + WARM_UP):
        started = time.perf_counter()
        call()
        if number >= WARM_UP:
            taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1e6


def _watched(telemetry: Telemetry, *metadata: tuple[str, str]) -> Callable[[], object]:
    """All that a Route call pays to be watched, and nothing else of it."""
    meters, labels = telemetry.meters, {"team": "search", "user": "someone"}

    def behave(request: object, _: object) -> object:
        for name in STAGES:
            with stage(name):
                pass
        meters.decided("gpt-5-nano", "openai", held=True)
        meters.saw_limits(LIMITS, labels)
        meters.committed(0.001, 1)  # at most one commit per call: under load they share it
        meters.expired(0)
        annotate({"gen_ai.request.model": "gpt-5-nano", "gen_ai.provider.name": "openai"})
        return request

    return _called(TelemetryInterceptor(telemetry), behave, _Call(AGENT, *metadata))


def _called(
    interceptor: TelemetryInterceptor | None, behave: Callable[[Any, Any], Any], context: _Call
) -> Callable[[], object]:
    handler = grpc.unary_unary_rpc_method_handler(behave)
    request = router_pb2.RouteRequest()

    def call() -> object:
        found = handler
        if interceptor is not None:
            found = interceptor.intercept_service(lambda _: handler, _Details)
        return found.unary_unary(request, context)

    return call


class _Refused(_Call):
    """The context of a call that is refused."""

    def abort_with_status(self, _status: grpc.Status) -> None:
        """Do what ends a call, without one."""


def _refusing(interceptor: TelemetryInterceptor | None) -> Callable[[], object]:
    """A call that is refused because the server has too many."""
    handler, context = overload_handlers()(1.0), _Refused(AGENT)

    def call() -> object:
        found = handler
        if interceptor is not None:
            found = interceptor.intercept_service(lambda _: handler, _Details)
        return found.stream_unary(None, context)

    return call


def _route_us() -> float:
    """Deciding and holding in this process, for another prompt each time, without telemetry."""
    settings = Settings(ledger="memory:")
    router = build_router(settings)
    router.warm_up()
    reservations = build_reservations(settings, router, MemoryLedger())
    numbers = iter(range(ROUTED + WARM_UP))

    def route() -> None:
        number = next(numbers)
        text = f"Shirt {number} costs ${number % 90 + 9} and is 25% off. What do I pay?"
        query = RouteQuery(
            "", {}, Prompt((Message("user", text),)), Constraints(), None, Importance.MEDIUM, "", 5
        )
        reservations.decide(query, str(number), "", lambda _: b"")

    return _median_us(route, ROUTED)


def measure() -> Iterator[Figure]:
    """All figures of telemetry."""
    configure("error", "json")
    spans = InMemorySpanExporter()
    plain = open_telemetry()
    traced = open_telemetry(ratio=0.0, spans_to=spans)
    gc.collect()
    route = _route_us()
    bare = _median_us(_called(None, lambda request, _: request, _Call(AGENT)), CALLS)
    metrics = _median_us(_watched(plain), CALLS) - bare
    unsampled = _median_us(_watched(traced, UNSAMPLED), CALLS) - bare
    sampled = _median_us(_watched(traced, SAMPLED), CALLS) - bare
    settled = SettledCall("gpt-5-nano", "openai", 100, 200, 10**6, 10**6)
    yield Figure("baseline: Route in process, memory ledger, p50", route, "µs")
    yield Figure("watched, no collector: added per Route, p50", metrics, "µs", 40.0)
    yield Figure("watched, traced by the caller but not sampled: added, p50", unsampled, "µs", 40.0)
    yield Figure("watched and sampled, seven spans: added, p50", sampled, "µs")
    yield Figure(
        "a settlement told: added, p50",
        _median_us(lambda: plain.meters.settled(settled), CALLS),
        "µs",
        40.0,
    )
    refused = _median_us(_refusing(TelemetryInterceptor(plain)), CALLS)
    refused -= _median_us(_refusing(None), CALLS)
    yield Figure("a refusal of an overloaded server, watched: added, p50", refused, "µs", 10.0)
    yield Figure("unsampled over Route in process", unsampled / route, "×", 0.05)
    text = _median_us(lambda: plain.text(True), 50)
    yield Figure("a scrape, p50", text, "µs")
    for telemetry in (plain, traced):
        telemetry.close()
