"""How many Route calls a second the service answers, and how soon, beside servers that do less or otherwise.

Every call has another prompt and another id: the everyday prompts of ``examinations/``, each with a number.
The service has SQLite and two limits, and holds money in every call. The client does not parse replies, but
shares the cores with the servers, and other programs may share them as well: all servers run from the
beginning, are asked by turns in short rounds, and the best round of each counts.
"""

from __future__ import annotations

import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from rich.progress import track

from benchmarks.bare_server import EMPTY
from benchmarks.everyday_calls import TIMEOUT_S, Prompts
from benchmarks.http1_client import closed_loop as http_closed_loop
from benchmarks.http2_client import Call, Http2Client
from benchmarks.http_router import available_kind
from benchmarks.overload import HEALTH
from benchmarks.report import Figure
from benchmarks.serving import resident_mib
from router.classifier.bundle import Bundle, load_bundle
from router.cli.demo import serving
from router.core.errors import MitsumoriError
from router.core.limits import Limit, Unit, Window
from router.ledger.sqlite.ledger import SqliteLedger
from router.paths import ENCODERS, MODELS
from router.settings import Settings

BUNDLE = MODELS / "bundles" / "static"
SHARE_OF_EMPTY = {1: 0.25, 2: 0.35}
"""Processes → the least Route/s, as a share of the empty calls a second, with so many in flight:"""
WITH_TARGET = 32
AGAINST_HTTP = 20.0
ADDED_MS, READY_S, RESIDENT_MB = 1.2, 2.0, 250.0
_CONNECTIONS = 16
_QUEUE_WAIT_S = 10.0
"""Of the servers, so that 64 calls in flight wait instead of being refused: what is asked is the rate."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Plan:
    """How long everything is measured.

    Attributes:
        rounds: of which the best counts, ≥ 1.
        seconds: of each measurement of a round, > 0.
        in_flight: numbers of calls at once.
        starts: of a server, ≥ 1.
        open_loop: shares of the rate that are offered in an open loop.
        tries: of each share, of which the best counts, ≥ 1.
        encoder: of the HTTP router, one of ``ENCODER_KINDS``.
    """

    rounds: int = 6
    seconds: float = 1.0
    in_flight: Sequence[int] = (1, 16, 32, 64)
    starts: int = 5
    open_loop: Sequence[float] = (0.5, 0.8)
    tries: int = 3
    encoder: str = field(default_factory=available_kind)


def _empty(path: str) -> Callable[[], Call]:
    return lambda: Call(0.0, path, b"", TIMEOUT_S)


def _cpu_s(process: int) -> float:
    """Seconds of CPU time that a process has used so far, its threads included."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """The rounds of one server with one number of calls in flight.

    Attributes:
        rates: answered calls a second, per round.
        medians_ms: of the latency, per round.
        inside_ms: medians of what the server says it took, per round; empty where it does not say.
        cpu_ms: CPU time of the server per answered call, per round.
        failed: calls without a good answer, of all rounds.
    """

    rates: list[float] = field(default_factory=list)
    medians_ms: list[float] = field(default_factory=list)
    inside_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def rate(self) -> float:
        """Of the best round."""
        return max(self.rates)

    @property
    def p50_ms(self) -> float:
        """Of the best round."""
        return min(self.medians_ms)


@dataclass(frozen=True)
class Server:
    """One that is asked.

    Attributes:
        name: of the figures.
        address: ``host:port``.
        process: its id.
    """

    name: str
    address: str
    process: int


def inside_ms(trailers: bytes) -> float | None:
    """What a server says it took, in milliseconds, by its ``server-timing`` among raw trailers."""
    said = trailers.partition(b";dur=")[2]
    number = bytes(itertools.takewhile(lambda each: each in b"0123456789.", said))
    return float(number) if number else None


def _while(seconds: float, things: Iterable[_T]) -> Iterator[_T]:
    until = time.monotonic() + seconds
    return itertools.takewhile(lambda _: time.monotonic() < until, things)


class Load:
    """Asks servers in a closed loop and keeps what it measures.

    Args:
        seconds: of each measurement, > 0.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.found: dict[tuple[str, int], Measured] = defaultdict(Measured)
        self.client_s: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def grpc(self, server: Server, make: Callable[[], Call], in_flight: int) -> None:
        """One round of one gRPC server.

        Args:
            server: to ask.
            make: the next call; called before the clock runs.
            in_flight: calls at once, ≥ 1.
        """
        before = self.found[server.name, in_flight]
        expected = 1.3 * max(before.rates, default=1_500.0) + 200
        calls = [make() for _ in range(int(expected * self.seconds))]
        latencies, inside, failed = [], [], 0
        with Http2Client(server.address, min(in_flight, _CONNECTIONS)) as client:
            used = _cpu_s(server.process)
            cpu, began = time.process_time(), time.monotonic()
            for outcome in client.closed_loop(_while(self.seconds, calls), in_flight):
                failed += outcome.status != 0
                if outcome.status == 0:
                    latencies.append(outcome.latency_s)
                    inside.append(outcome.headers)
            passed, cpu = time.monotonic() - began, time.process_time() - cpu
            used = _cpu_s(server.process) - used
        self.client_s[server.name] += cpu
        self.calls[server.name] += len(latencies) + failed
        said = [ms for ms in map(inside_ms, inside) if ms is not None]
        self._keep(server, in_flight, latencies, passed, failed)
        before.cpu_ms.append(used * 1000 / len(latencies))
        if said:
            before.inside_ms.append(statistics.median(said))

    def http(self, server: Server, make: Callable[[], bytes], in_flight: int) -> None:
        """One round of an HTTP server, three times as long: it answers few calls."""
        seconds = 3 * self.seconds
        bodies = [make() for _ in range(int(300 * seconds) + in_flight)]
        latencies, failed = [], 0
        began = time.monotonic()
        posts = _while(seconds, bodies)
        for answer in http_closed_loop(server.address, "/route", posts, in_flight):
            failed += answer.status != 200
            latencies += [answer.latency_s] if answer.status == 200 else []
        self._keep(server, in_flight, latencies, time.monotonic() - began, failed)

    def _keep(
        self, server: Server, in_flight: int, latencies: list[float], passed: float, failed: int
    ) -> None:
        kept = self.found[server.name, in_flight]
        kept.failed += failed
        if not latencies:
            raise MitsumoriError(f"{server.name} answered none of {failed} calls; see its log")
        kept.rates.append(len(latencies) / passed)
        kept.medians_ms.append(statistics.median(latencies) * 1000)


@contextmanager
def _started(name: str, module: str, *words: str) -> Iterator[Server]:
    """A baseline in a process of its own, which prints its port once it listens."""
    command = [sys.executable, "-m", module, *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        if not port:
            raise MitsumoriError(f"{name} did not start; run `python -m {module}` to see why")
        yield Server(name, f"127.0.0.1:{port}", process.pid)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _service(opened: ExitStack, name: str, ledger: str, *more: str) -> Server:
    """The service; it is stopped when the stack is closed."""
    flags = ["--bundle", str(BUNDLE), "--ledger", ledger, "--log-level", "error"]
    flags += ["--queue-wait-s", str(_QUEUE_WAIT_S), *more]
    address, process = opened.enter_context(serving(*flags))
    return Server(name, address, process.pid)


def _limited(path: Path) -> str:
    """A new SQLite ledger with two limits that never refuse."""
    ledger = SqliteLedger(path)
    for unit, scope in ((Unit.MONEY, {"team": "search"}), (Unit.REQUESTS, {"user": "*"})):
        ledger.set_limit(Limit(unit.value, scope, unit, Window.MONTH, hard=10**15))
    ledger.close()
    return f"sqlite:{path}"


@dataclass(frozen=True)
class Servers:
    """All that are asked.

    Attributes:
        bare: empty calls, and calls that only classify.
        services: with SQLite and two limits, by processes.
        free: the service with a ledger in memory and no limits.
        http: the HTTP router.
    """

    bare: Server
    services: Mapping[int, Server]
    free: Server
    http: Server

    @property
    def classifying(self) -> Server:
        """The bare server, asked to classify."""
        return replace(self.bare, name="features + encode + classify in a bare server")

    @property
    def checked(self) -> Server:
        """The service of one process, asked for its health."""
        return replace(self.services[1], name="empty call of the service (health)")

    @property
    def beside(self) -> tuple[Server, ...]:
        """What the services are compared to, besides empty calls of a bare server."""
        return self.checked, self.classifying, self.free

    @classmethod
    def started(cls, opened: ExitStack, folder: Path, encoder: str) -> Servers:
        """Start them all; they are stopped when the stack is closed.

        Args:
            opened: the stack.
            folder: for the ledgers.
            encoder: of the HTTP router.
        """
        threads = str(Settings.model_fields["workers"].default)
        bare = _started("empty call", "benchmarks.bare_server", str(BUNDLE), threads)
        words = (str(folder / "http.sqlite"), "--encoder", encoder)
        http = _started(f"FastAPI + {encoder} + scikit-learn", "benchmarks.http_router", *words)
        one, two = (_limited(folder / f"{name}.sqlite") for name in ("one", "two"))
        more = ("--processes", "2", "--admin-port", "0")
        return cls(
            opened.enter_context(bare),
            {
                1: _service(opened, "Route, SQLite, two limits", one),
                2: _service(opened, "Route, SQLite, two limits, two processes", two, *more),
            },
            _service(opened, "Route, memory, no limits", "memory:"),
            opened.enter_context(http),
        )


def _loop_ms(bundle: Bundle, texts: Sequence[str]) -> list[float]:
    """The times of features, encoder and classifier alone, in this process."""
    taken = []
    for text in texts:
        began = time.perf_counter()
        bundle.score(text)
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def _open_loop_ms(
    server: Server, prompts: Prompts, offered: float, seconds: float
) -> tuple[list[float], int]:
    """Latencies from the moment at which each call was meant to start, at random moments.

    Args:
        server: to ask.
        prompts: makes the calls.
        offered: calls a second.
        seconds: that calls come.

    Returns:
        Those of the answered calls in milliseconds, ascending, and the number of the others.
    """
    chance, calls, at_s = random.Random(prompts.made), [], 0.0
    while (at_s := at_s + chance.expovariate(offered)) < seconds:
        calls.append(prompts.route(at_s))
    with Http2Client(server.address, _CONNECTIONS) as client:
        outcomes = list(client.open_loop(calls, extra_s=TIMEOUT_S))
    times = sorted(1000 * each.latency_s for each in outcomes if each.status == 0)
    return times, len(calls) - len(times)


def _open_loop_figures(
    load: Load, server: Server, prompts: Prompts, plan: Plan
) -> Iterator[Figure]:
    """Of each share of the rate as it is just before, the try with the lowest 99th percentile."""
    for share in plan.open_loop:
        tries = []
        for _ in range(plan.tries):
            load.grpc(server, prompts.route, WITH_TARGET)
            offered = share * load.found[server.name, WITH_TARGET].rates[-1]
            times, others = _open_loop_ms(server, prompts, offered, 3 * plan.seconds)
            p50, p99 = (_quantile(times, each) for each in (0.5, 0.99))
            tries.append((others, p99, p50, offered))
        others, p99, p50, offered = min(tries)
        name = f"open loop, {share:.0%} of the rate"
        yield Figure(f"{name}, offered", offered, "calls/s")
        yield Figure(f"{name}, from the intended start, p50", p50, "ms")
        yield Figure(f"{name}, from the intended start, p99", p99, "ms")
        yield Figure(f"{name}, calls without a good answer", others, "calls")


def _quantile(times: Sequence[float], share: float) -> float:
    """Of ascending times; NaN where there are none."""
    return times[min(int(len(times) * share), len(times) - 1)] if times else float("nan")


def _ready_figures(plan: Plan, folder: Path) -> Iterator[Figure]:
    taken, resident = [], []
    for number in range(plan.starts):
        ledger = _limited(folder / f"start-{number}.sqlite")
        with ExitStack() as opened:
            began = time.perf_counter()
            server = _service(opened, "", ledger)
            taken.append(time.perf_counter() - began)
            resident.append(_resident_mb(server))
    yield Figure("ready after start, best", min(taken), "s", READY_S)
    yield Figure("ready after start, median", statistics.median(taken), "s")
    yield Figure("resident when ready", max(resident), "MB", RESIDENT_MB)


def _resident_mb(server: Server) -> float:
    return resident_mib(server.process, "VmRSS") * 1.048576


def _rate_figures(load: Load, servers: Servers, plan: Plan) -> Iterator[Figure]:
    for in_flight in plan.in_flight:
        empty = load.found[servers.bare.name, in_flight]
        yield Figure(f"baseline: empty call, {in_flight} in flight", empty.rate, "calls/s")
        for server in servers.beside:
            if (server.name, in_flight) not in load.found:
                continue
            rate = load.found[server.name, in_flight].rate
            yield Figure(f"baseline: {server.name}, {in_flight} in flight", rate, "calls/s")
        for server in servers.services.values():
            rate = load.found[server.name, in_flight].rate
            yield Figure(f"{server.name}, {in_flight} in flight", rate, "calls/s")
        for processes, server in servers.services.items():
            target = SHARE_OF_EMPTY[processes] if in_flight == WITH_TARGET else None
            rate, named = (
                load.found[server.name, in_flight].rate,
                f"{server.name}, {in_flight} in flight",
            )
            share = rate / empty.rate
            yield Figure(f"{named}, over empty calls", share, "×", target, ">=")
            classified = load.found[servers.classifying.name, in_flight].rate
            yield Figure(f"{named}, over a bare server that classifies", rate / classified, "×")


def _added_figures(
    load: Load, servers: Servers, loops: Sequence[Sequence[float]]
) -> Iterator[Figure]:
    empty, classify, free, route = (
        load.found[one.name, 1]
        for one in (servers.bare, servers.classifying, servers.free, servers.services[1])
    )
    inside, loop_ms = min(route.inside_ms), min(map(statistics.median, loops))
    named = "features + encode + classify"
    yield Figure(f"baseline: {named} in a loop, p50", loop_ms, "ms")
    mean_ms = min(map(statistics.fmean, loops))
    yield Figure(f"baseline: {named} in a loop, mean", mean_ms, "ms")
    yield Figure("baseline: empty call, one in flight, round trip p50", empty.p50_ms, "ms")
    yield Figure(f"baseline: {named} in a bare server, round trip p50", classify.p50_ms, "ms")
    yield Figure(f"{servers.free.name}, round trip p50", free.p50_ms, "ms")
    yield Figure(f"{servers.services[1].name}, round trip p50", route.p50_ms, "ms")
    yield Figure(f"{servers.services[1].name}, by the server's own clock, p50", inside, "ms")
    yield Figure("Route adds to the loop by the server's own clock, p50", inside - loop_ms, "ms")
    added = route.p50_ms - classify.p50_ms
    yield Figure(f"Route adds to {named}, hold included, one in flight, p50", added, "ms", ADDED_MS)


def _cpu_figures(load: Load, servers: Servers) -> Iterator[Figure]:
    """CPU time of one server process per call, which other programs on the machine hardly change."""
    for server in (servers.bare, *servers.beside, servers.services[1]):
        spent = min(load.found[server.name, WITH_TARGET].cpu_ms)
        yield Figure(f"{server.name}, {WITH_TARGET} in flight, CPU time per call", spent, "ms")


def _http_figures(load: Load, servers: Servers, plan: Plan) -> Iterator[Figure]:
    rates = [load.found[servers.http.name, n].rate for n in (1, WITH_TARGET)]
    p50_ms = load.found[servers.http.name, 1].p50_ms
    ours = max(load.found[servers.services[1].name, n].rate for n in plan.in_flight)
    yield Figure(f"baseline: {servers.http.name}, best rate", max(rates), "calls/s")
    yield Figure(f"baseline: {servers.http.name}, one in flight, p50", p50_ms, "ms")
    over = f"{servers.services[1].name}, best rate, over {servers.http.name}"
    yield Figure(over, ours / max(rates), "×", AGAINST_HTTP, ">=")


def _round(load: Load, servers: Servers, plan: Plan, prompts: Prompts) -> None:
    """Ask every server with every number of calls in flight, by turns."""
    for in_flight in plan.in_flight:
        load.grpc(servers.bare, _empty(EMPTY), in_flight)
        if in_flight == WITH_TARGET:
            load.grpc(servers.checked, _empty(HEALTH), in_flight)
        load.grpc(servers.classifying, prompts.classify, in_flight)
        for server in (servers.free, *servers.services.values()):
            load.grpc(server, prompts.route, in_flight)
    for in_flight in (1, WITH_TARGET):
        load.http(servers.http, prompts.posted, in_flight)


def measure(plan: Plan | None = None) -> Iterator[Figure]:
    """All figures of the service.

    Args:
        plan: how long; ``None``: some four minutes.
    """
    plan = plan or Plan()
    prompts, load, loops = Prompts(), Load(plan.seconds), []
    bundle = load_bundle(BUNDLE, ENCODERS)
    Path("build").mkdir(exist_ok=True)  # a file system in memory would have no fsync to speak of
    yield Figure("load average of the machine before", os.getloadavg()[0], "")
    with (
        tempfile.TemporaryDirectory(prefix="service-", dir="build") as folder,
        ExitStack() as opened,
    ):
        yield from _ready_figures(plan, Path(folder))
        servers = Servers.started(opened, Path(folder), plan.encoder)
        for _ in track(range(plan.rounds), description="rounds", transient=True):
            loops.append(_loop_ms(bundle, [prompts.text() for _ in range(300)]))
            _round(load, servers, plan, prompts)
        yield from _rate_figures(load, servers, plan)
        yield from _added_figures(load, servers, loops)
        yield from _cpu_figures(load, servers)
        yield from _http_figures(load, servers, plan)
        service = servers.services[1]
        yield from _open_loop_figures(load, service, prompts, plan)
        calls = load.calls[service.name]
        yield Figure(f"resident after {calls:,} calls", _resident_mb(service), "MB", RESIDENT_MB)
        client_us = load.client_s[service.name] / calls * 1e6
        yield Figure("the client's own CPU time per Route call", client_us, "µs")
        failed = sum(one.failed for one in load.found.values())
        yield Figure("calls without a good answer", failed, "calls", 0.0)
    yield Figure("load average of the machine after", os.getloadavg()[0], "")
