"""The time that a durable hold adds to Route: the same decisions in one process, with and without ledger."""

from __future__ import annotations

import gc
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.progress import track

from benchmarks.report import Figure
from router.core.limits import Limit, Unit, Window
from router.core.types import Constraints, Importance, Message, Prompt
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations, build_router
from router.rpc.messages.route import render_held, render_route
from router.settings import Settings

ROUNDS = 1_500
WARM_UP = 50
PLENTY = 10**15
QUERY = RouteQuery(
    request_id="",
    scope={"team": "search", "user": "u-17"},
    prompt=Prompt((Message("user", "A shirt costs $24 and is 25% off. What do I pay, and why?"),)),
    constraints=Constraints(),
    goal=None,
    importance=Importance.MEDIUM,
    conversation_id="",
    max_alternatives=5,
)


def measure() -> Iterator[Figure]:
    """Median times of Route without a ledger, with one in memory, and with SQLite FULL."""
    settings = Settings(ledger="memory:")
    router = build_router(settings)
    router.warm_up()
    with tempfile.TemporaryDirectory(dir="build") as folder:
        ledgers: list[Ledger] = [MemoryLedger(), SqliteLedger(Path(folder) / "ledger.sqlite")]
        calls = [lambda: _routed(router), *(_holding(settings, router, each) for each in ledgers)]
        bare, memory, durable = _medians_ms(calls)
        for ledger in ledgers:
            ledger.close()
    yield Figure("baseline: Route without a ledger, in process, p50", bare, "ms")
    yield Figure("Route with three limits and a hold in memory, in process, p50", memory, "ms")
    yield Figure("Route with three limits and a hold, SQLite FULL, in process, p50", durable, "ms")
    yield Figure("what a durable hold adds to Route at p50, unloaded", durable - bare, "ms", 2.0)
    yield Figure("Route with a durable hold over Route without a ledger", durable / bare, "×")


def _routed(router: Router) -> bytes:
    return render_route(router.route(QUERY), "decision", 5).SerializeToString()


def _holding(settings: Settings, router: Router, ledger: Ledger) -> Callable[[], bytes]:
    for unit in (Unit.MONEY, Unit.TOKENS, Unit.REQUESTS):
        ledger.set_limit(
            Limit(unit.value, {"team": "search"}, unit, Window.MONTH, "Asia/Tokyo", hard=PLENTY)
        )
    reservations = build_reservations(settings, router, ledger)
    ids = (f"decision-{number}" for number in itertools.count())

    def call() -> bytes:
        name = next(ids)
        return reservations.decide(
            QUERY, name, "f" * 64, lambda held: render_held(held, name, 5).SerializeToString()
        )

    return call


def _medians_ms(calls: list[Callable[[], bytes]]) -> list[float]:
    """The median time of each call. The calls take turns, so that other load affects all alike."""
    for call in calls * WARM_UP:
        call()
    gc.collect()
    gc.freeze()  # as a server does once it is warm
    times: list[list[float]] = [[] for _ in calls]
    for _ in track(range(ROUNDS), description="Route with and without a hold", transient=True):
        for call, taken in zip(calls, times, strict=True):
            started = time.perf_counter()
            call()
            taken.append(time.perf_counter() - started)
    gc.unfreeze()
    return [statistics.median(taken) * 1000 for taken in times]
