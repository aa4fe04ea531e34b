"""More calls than can be answered, in an open loop: what is answered, how soon the rest hears, who has gone.

The server has SQLite and two limits. Every call has another prompt and another id; latency counts from the
moment at which a call was meant to start. The capacity is measured beside each phase, since other programs
may use the same cores. ``python -m benchmarks.overload`` prints the table.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.http2_client import CANCELLED_BY_US, LOST, Call, Http2Client, Outcome
from benchmarks.report import Figure, write_report
from mitsumori.v1 import admin_pb2, admin_pb2_grpc, limit_pb2, router_pb2
from router.cli.demo import serving
from router.cli.errors import errors_in_one_line
from router.ledger.sqlite.ledger import SqliteLedger
from router.settings import Settings

ROUTE = "/mitsumori.v1.RouterService/Route"
QUOTE_BATCH = "/mitsumori.v1.RouterService/QuoteBatch"
HEALTH = "/grpc.health.v1.Health/Check"
GOODPUT = {1.5: 0.9, 5.0: 0.8, 10.0: 0.6}
"""Factor of the offered load → the share of the capacity that must be answered."""

_OK, _RESOURCE_EXHAUSTED = 0, 8
_IN_FLIGHT = 8
_TIMEOUT_S = 1.0
_HEALTH_EVERY_S = 0.05
_SILENT = 1_000
_STAY_OPEN = (
    Settings.model_fields["max_waiting_calls"].default
    + Settings.model_fields["max_streams"].default
)
_GOOD_S = 0.15
_WORDS = (
    *(
        "shirt",
        "costs",
        "price",
        "court",
        "claim",
        "matrix",
        "proof",
        "river",
        "engine",
        "cheap",
        "long",
    ),
    *(
        "answer",
        "plan",
        "summer",
        "letter",
        "cash",
        "graph",
        "tree",
        "bread",
        "contract",
        "tenant",
        "rent",
    ),
    *(
        "window",
        "thread",
        "lock",
        "queue",
        "island",
        "history",
        "poem",
        "verse",
        "translate",
        "meeting",
    ),
    *(
        "supplier",
        "delivery",
        "penalty",
        "clause",
        "week",
        "review",
        "budget",
        "forecast",
        "column",
        "index",
    ),
)


@dataclass
class Callers:
    """Makes calls, no two of which are the same, by a seed."""

    chance: random.Random
    made: int = 0

    def route(self, at_s: float = 0.0) -> Call:
        """A Route call with a deadline."""
        self.made += 1
        asked = router_pb2.RouteRequest(
            request_id=f"{self.chance.getrandbits(64):016x}-{self.made}"
        )
        words = self.chance.choices(_WORDS, k=self.chance.randint(8, 60))
        asked.prompt.text = f"{' '.join(words)} {self.made}?"
        asked.scope.update(team="search", user=f"u-{self.made % 50}")
        return Call(at_s, ROUTE, asked.SerializeToString(), _TIMEOUT_S, asked.request_id)

    def arrivals(self, rate: float, seconds: float) -> list[Call]:
        """Route calls at random moments, ``rate`` of them a second, and a look at health every 50 ms."""
        calls, at_s = [], 0.0
        while (at_s := at_s + self.chance.expovariate(rate)) < seconds:
            calls.append(self.route(at_s))
        looks = round(seconds / _HEALTH_EVERY_S)
        calls += [Call(n * _HEALTH_EVERY_S, HEALTH, b"", _TIMEOUT_S) for n in range(looks)]
        return sorted(calls, key=lambda call: call.at_s)


@dataclass(frozen=True)
class Phase:
    """What became of the calls of one phase.

    Attributes:
        seconds: that it lasted.
        routes: outcomes of Route.
        health: outcomes of the looks at health.
    """

    seconds: float
    routes: Sequence[Outcome]
    health: Sequence[Outcome]

    @classmethod
    def of(cls, client: Http2Client, calls: Sequence[Call], seconds: float) -> Phase:
        outcomes = list(client.open_loop(calls, extra_s=2 * _TIMEOUT_S))
        routes = [outcome for outcome in outcomes if outcome.call.path == ROUTE]
        return cls(seconds, routes, [each for each in outcomes if each.call.path == HEALTH])

    @property
    def answered(self) -> list[Outcome]:
        return [outcome for outcome in self.routes if outcome.status == _OK]

    @property
    def refused(self) -> list[Outcome]:
        return [each for each in self.routes if each.status not in (_OK, CANCELLED_BY_US)]

    @property
    def recovered_s(self) -> float:
        """When the last call began that was not answered within 150 ms."""
        late = [o for o in self.routes if o.status != _OK or o.latency_s > _GOOD_S]
        return max((outcome.call.at_s for outcome in late), default=0.0)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _ms(outcomes: Sequence[Outcome], quantile: float) -> float:
    times = sorted(outcome.latency_s for outcome in outcomes)
    return 1000 * times[min(int(len(times) * quantile), len(times) - 1)] if times else 0.0


def _set_limits(address: str) -> None:
    wanted = (
        limit_pb2.Limit(
            limit_id="team",
            scope={"team": "search"},
            unit=limit_pb2.UNIT_MONEY,
            window=limit_pb2.WINDOW_MONTH,
            hard=10**15,
        ),
        limit_pb2.Limit(
            limit_id="user",
            scope={"user": "*"},
            unit=limit_pb2.UNIT_REQUESTS,
            window=limit_pb2.WINDOW_DAY,
            hard=10**9,
        ),
    )
    with grpc.insecure_channel(address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        for limit in wanted:
            stub.SetLimit(admin_pb2.SetLimitRequest(limit=limit), timeout=30)


def _capacity(client: Http2Client, callers: Callers, seconds: float) -> float:
    """Calls a second that are answered where the next one starts when one ends."""
    answered, began = 0, time.monotonic()

    def calls() -> Iterator[Call]:
        while time.monotonic() - began < seconds:
            yield callers.route()

    for outcome in client.closed_loop(calls(), _IN_FLIGHT):
        answered += outcome.status == _OK
    return answered / (time.monotonic() - began)


def _committed(path: Path) -> set[str]:
    """The ids of all decisions of a ledger that no server uses."""
    ledger, found = SqliteLedger(path), set()
    after = None
    while page := ledger.decisions(after=after, count=10_000):
        found.update(row.id for row in page)
        after = page[-1].id
    ledger.close()
    return found


def _phase_figures(
    factor: float, capacity: float, phase: Phase, kept: set[str]
) -> Iterator[Figure]:
    name = f"{factor:g} × capacity"
    answered, refused = phase.answered, phase.refused
    gone = {o.call.name for o in phase.routes if o.status in (CANCELLED_BY_US, LOST)}
    committed = [o.call.name for o in phase.routes if o.call.name in kept]
    yield Figure(f"baseline: capacity beside {name}", capacity, "calls/s")
    yield Figure(
        f"{name}: answered, share of the capacity",
        len(answered) / phase.seconds / capacity,
        "",
        GOODPUT.get(factor),
        ">=",
    )
    yield Figure(f"{name}: answered, p50", _ms(answered, 0.5), "ms")
    yield Figure(f"{name}: answered, p99", _ms(answered, 0.99), "ms", 150.0)
    yield Figure(f"{name}: refused, p99", _ms(refused, 0.99), "ms", 100.0)
    told = sum(outcome.status == _RESOURCE_EXHAUSTED for outcome in refused)
    yield Figure(f"{name}: of those, told when to try again", _share(told, len(refused)) * 100, "%")
    late = sum(outcome.status == CANCELLED_BY_US for outcome in phase.routes)
    yield Figure(f"{name}: gave up after 1 s", _share(late, len(phase.routes)) * 100, "%")
    yield Figure(f"{name}: health, slowest", _ms(phase.health, 1.0), "ms", 100.0)
    unhealthy = sum(outcome.status != _OK for outcome in phase.health)
    yield Figure(f"{name}: health not answered", float(unhealthy), "looks", 0.0)
    yield Figure(
        f"{name}: holds for callers who had gone",
        _share(sum(name in gone for name in committed), len(committed)) * 100,
        "%",
        1.0,
    )


def _silent_share(address: str, client: Http2Client, callers: Callers, seconds: float) -> float:
    """The capacity beside 1,000 calls without a message and 1,000 idle streams, as a share of that before."""
    shares = []
    for _ in range(3):
        before = _capacity(client, callers, seconds / 3)
        with Http2Client(address, 8) as silent:
            silent.begin([Call(0.0, path, None, 60.0) for path in [ROUTE, QUOTE_BATCH] * _SILENT])
            silent.ended(2 * _SILENT - _STAY_OPEN, 30.0)
            shares.append(_capacity(client, callers, seconds / 3) / before)
    return statistics.median(shares)


def measure(
    seconds: float = 5.0, factors: Sequence[float] = tuple(GOODPUT), flags: Sequence[str] = ()
) -> Iterator[Figure]:
    """All figures of overload.

    Args:
        seconds: that each phase lasts, > 0.
        factors: of the capacity, as they are offered.
        flags: further ones of the server.
    """
    callers = Callers(random.Random(15))
    phases: list[tuple[float, float, Phase]] = []
    Path("build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir="build") as folder:
        ledger = Path(folder) / "ledger.sqlite"
        command = ["--ledger", f"sqlite:{ledger}", "--log-level", "error", *flags]
        with serving(*command) as (address, _), Http2Client(address, 8) as client:
            _set_limits(address)
            _capacity(client, callers, seconds / 2)  # to warm up
            for factor in factors:
                before = _capacity(client, callers, seconds / 2)
                calls = callers.arrivals(factor * before, seconds)
                overload = Phase.of(client, calls, seconds)
                after = Phase.of(client, callers.arrivals(0.5 * before, 3.0), 3.0)
                capacity = (before + _capacity(client, callers, seconds / 2)) / 2
                phases.append((factor, capacity, overload))
                yield Figure(
                    f"{factor:g} × capacity: every call within 150 ms again after",
                    after.recovered_s,
                    "s",
                    2.0,
                )
            share = _silent_share(address, client, callers, seconds)
        kept = _committed(ledger)
    for factor, capacity, phase in phases:
        yield from _phase_figures(factor, capacity, phase, kept)
    yield Figure(
        f"beside {_SILENT:,} calls without a message and {_SILENT:,} idle streams, share of the capacity",
        share,
        "",
        0.9,
        ">=",
    )


if __name__ == "__main__":
    with errors_in_one_line():
        sys.exit(0 if write_report("overload", measure()) else 1)
