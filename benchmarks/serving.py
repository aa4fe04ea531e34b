"""Latency of Route over loopback; the server runs in its own process on one core, the caller on another."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.progress import track

from benchmarks.bare_server import ENCODE
from benchmarks.report import Figure
from mitsumori.v1 import prompt_pb2, router_pb2, router_pb2_grpc
from router.classifier.bundle import load_bundle
from router.cli.demo import serving
from router.paths import ENCODERS, MODELS

SHORT = "A shirt costs $24 and is 25% off. What do I pay, and why do shops round prices up?"
CALLS = {"static": 2000, "multilingual": 600}
RESIDENT_MIB = {"static": 250e6 / 2**20, "multilingual": 350.0}
WARM_UP = 50


def _median_ms(times_s: list[float]) -> float:
    return statistics.median(times_s) * 1000


def _timed(call: Callable[[], object], times: int, label: str) -> list[float]:
    for _ in range(WARM_UP):
        call()
    measured = []
    for _ in track(range(times), description=label, transient=True):
        started = time.perf_counter()
        call()
        measured.append(time.perf_counter() - started)
    return measured


def _bare_hot(bundle_dir: Path, times: int) -> float:
    """Median ms of tokenising and onnxruntime alone, in a loop in this process."""
    encoder = load_bundle(bundle_dir, ENCODERS).encoder
    return _median_ms(_timed(lambda: encoder.embed(SHORT), times, f"bare {bundle_dir.name}"))


def _pin(pid: int, core: int) -> None:
    subprocess.run(  # all threads of the process, also those that run already
        ["taskset", "--all-tasks", "--cpu-list", "--pid", str(core), str(pid)],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _bare_served(bundle_dir: Path, times: int, core: int) -> float:
    """Median ms of the same work in a bare server, where caches are as cold as in the real one."""
    command = [sys.executable, "-m", "benchmarks.bare_server", str(bundle_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = f"127.0.0.1:{process.stdout.readline().strip()}"
        _pin(process.pid, core)
        inside: list[float] = []
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary(ENCODE)
            _timed(
                lambda: inside.append(float(call(SHORT.encode(), wait_for_ready=True)) / 1000),
                times,
                f"bare server, {bundle_dir.name}",
            )
        process.stdout.close()
        return _median_ms(inside[WARM_UP:])
    finally:
        process.kill()
        process.wait()


def resident_mib(pid: int, key: str) -> float:
    """The memory of a process in MiB: ``VmRSS`` for the resident size now, ``VmHWM`` for its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {key} for process {pid}")


def _route_figures(name: str) -> Iterator[Figure]:
    bundle_dir = MODELS / "bundles" / name
    times = CALLS[name]
    cores = sorted(os.sched_getaffinity(0))
    server_core, client_core = cores[0], cores[-1]
    with serving("--bundle", str(bundle_dir), "--workers", "1") as (address, process):
        _pin(process.pid, server_core)
        os.sched_setaffinity(0, {client_core})
        inside: list[float] = []
        with grpc.insecure_channel(address) as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            health = health_pb2_grpc.HealthStub(channel)
            request = router_pb2.RouteRequest(prompt=prompt_pb2.Prompt(text=SHORT))

            def route() -> None:
                _, call = stub.Route.with_call(request)
                (timing,) = (v for k, v in call.trailing_metadata() if k == "server-timing")
                inside.append(float(timing.partition("dur=")[2]) / 1000)

            round_trip = _timed(route, times, f"Route, {name}")
            empty = _timed(
                lambda: health.Check(health_pb2.HealthCheckRequest()), times, "empty call"
            )
        resident = resident_mib(process.pid, "VmRSS")
    served = _bare_served(bundle_dir, times, server_core)
    os.sched_setaffinity(0, {server_core})
    bare = _bare_hot(bundle_dir, times)
    os.sched_setaffinity(0, set(cores))
    inside_ms = _median_ms(inside[WARM_UP:])
    targets = {"static": 3.0, "multilingual": bare + 1.0}
    yield Figure(f"baseline: bare tokenise + onnxruntime in a loop, {name}, p50", bare, "ms")
    yield Figure(f"baseline: the same once per call in a bare server, {name}, p50", served, "ms")
    yield Figure(f"Route, {name}, server-side p50", inside_ms, "ms", targets[name])
    yield Figure(f"Route over the bare loop, {name}", inside_ms / bare, "×")
    yield Figure(f"Route over the bare server, {name}", inside_ms / served, "×")
    yield Figure("baseline: empty gRPC call, round trip p50", _median_ms(empty), "ms")
    yield Figure(f"Route, {name}, round trip p50", _median_ms(round_trip), "ms")
    yield Figure(
        f"Route, {name}, round trip p99",
        statistics.quantiles(round_trip, n=100)[98] * 1000,
        "ms",
    )
    yield Figure(f"server resident, {name}", resident, "MiB", RESIDENT_MIB[name])


def _ready_figures() -> Iterator[Figure]:
    bare_command = [sys.executable, "-c", "import grpc, onnxruntime, tiktoken, tokenizers"]
    bare, ready = [], []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(bare_command, check=True)
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        with serving():
            ready.append(time.perf_counter() - started)
    yield Figure(
        "baseline: importing grpc, onnxruntime, tiktoken, tokenizers", statistics.median(bare), "s"
    )
    yield Figure("server ready (start to SERVING)", statistics.median(ready), "s", 2.0)


def measure() -> Iterator[Figure]:
    """All figures of serving."""
    for name in CALLS:
        yield from _route_figures(name)
    yield from _ready_figures()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    yield Figure("largest server process, peak resident", peak, "MiB", 350.0)
