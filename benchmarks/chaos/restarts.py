"""Restarts under load of the shipped client with its defaults, TLS and an API key: no call may fail.

Two ways: one server on a SQLite file is stopped and started again, so that for seconds nobody listens; and
two servers on one PostgreSQL are restarted in turn, as a rolling update does. Beside each a plain channel of
gRPC calls as well, without retries: what fails there is what the client keeps from its callers.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from rich.progress import track

from benchmarks.chaos.plan import Plan, StoreKind
from benchmarks.chaos.replicas import Replica
from benchmarks.chaos.stores import opened
from benchmarks.report import Figure
from benchmarks.secured import Secured
from mitsumori import CallFailed, Router, route_request
from mitsumori.v1 import router_pb2_grpc

__all__ = ["Restarted", "measure", "restarted"]

RESTARTS = int(os.environ.get("RESTARTS", "50"))
CALLERS = 8
PAUSE_S = 0.5
"""Seconds of quiet between two restarts."""


@dataclass
class Restarted:
    """What callers met.

    Attributes:
        answered: calls of the shipped client that had their answer, routes and settlements.
        failed: its calls that had none, by code.
        slowest_s: the longest of its calls.
        plain: calls of the plain channel by code, ``OK`` among them.
        unclean: stops of a server that were not in good order.
        seconds: of all of it.
    """

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    plain: Counter[str] = field(default_factory=Counter)
    unclean: int = 0
    seconds: float = 0.0


class _Load:
    """Callers that share the client, and one that has a plain channel.

    Args:
        client: the shipped one.
        plain: of gRPC alone.
        secured: has the credential.
        found: is filled.
    """

    def __init__(
        self, client: Router, plain: grpc.Channel, secured: Secured, found: Restarted
    ) -> None:
        self._client, self._secured, self._found = client, secured, found
        self._stub = router_pb2_grpc.RouterServiceStub(plain)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(n,)) for n in range(CALLERS)]
        self._threads.append(threading.Thread(target=self._call_plainly))

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, caller: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            prompt = f"Order {number} of customer {caller} is late. What do I write to them?"
            made = self._timed(lambda text=prompt: self._client.route(text, scope={"team": "a"}))
            if made is not None:
                self._timed(
                    lambda it=made: self._client.settle(it.id, input_tokens=9, output_tokens=90)
                )

    def _timed(self, call: Callable[[], object]) -> object | None:
        started = time.perf_counter()
        try:
            reply = call()
        except CallFailed as error:
            with self._lock:
                self._found.failed[f"{error.code} {error.reason}"] += 1
            return None
        with self._lock:
            self._found.answered += 1
            taken = time.perf_counter() - started
            self._found.slowest_s = max(self._found.slowest_s, taken)
        return reply

    def _call_plainly(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            request = route_request(f"What is {number} + {number}?", quote_only=True)
            try:
                self._stub.Route(request, timeout=10, metadata=self._secured.metadata)
                self._found.plain["OK"] += 1
            except grpc.RpcError as error:
                self._found.plain[error.code().name] += 1
            time.sleep(0.02)  # where nobody listens it fails at once


def restarted(
    store: StoreKind,
    restarts: int,
    seed: int,
    tick: Callable[[Sequence[int]], Iterator[int]] = iter,
) -> Restarted:
    """Restart servers under load, one at a time.

    Args:
        store: ``sqlite``: one server; ``postgresql``: two, restarted in turn.
        restarts: how many.
        seed: of the ports.
        tick: wraps what is iterated, for progress.

    Raises:
        MitsumoriError: a server did not come back.
    """
    plan, found = Plan(store, 1, CALLERS, seed, hold_ttl_s=600), Restarted()
    with tempfile.TemporaryDirectory(prefix="mitsumori-restarts-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        secured = Secured(folder)
        opened_store = stack.enter_context(opened(plan, folder, folder))
        choices = random.Random(seed)
        replicas = [
            Replica(plan, opened_store.address, folder / f"log-{n}", choices, secured.flags)
            for n in range(opened_store.replicas)
        ]
        for replica in replicas:
            stack.callback(replica.kill)
            replica.start()
            replica.wait()
        addresses = [replica.address for replica in replicas]
        client = stack.enter_context(
            secured.router(addresses if len(addresses) > 1 else addresses[0])
        )
        plain = stack.enter_context(secured.channel(addresses[0]))
        started = time.perf_counter()
        with _Load(client, plain, secured, found):
            time.sleep(PAUSE_S)
            for number in tick(range(restarts)):
                replica = replicas[number % len(replicas)]
                found.unclean += not replica.stop()
                replica.start()
                replica.wait()
                time.sleep(PAUSE_S)
        found.seconds = time.perf_counter() - started
    return found


def _figures(name: str, restarts: int, found: Restarted) -> Iterator[Figure]:
    plain_failed = found.plain.total() - found.plain["OK"]
    yield Figure(f"{name}: restarts", restarts, "")
    yield Figure(f"{name}: a restart takes, with the quiet after it", found.seconds / restarts, "s")
    yield Figure(f"{name}: baseline: failed calls of gRPC without our policy", plain_failed, "")
    yield Figure(f"{name}: answered calls of the shipped client", found.answered, "")
    yield Figure(f"{name}: its failed calls", found.failed.total(), "", target=0)
    yield Figure(f"{name}: its slowest call", found.slowest_s, "s")
    yield Figure(f"{name}: stops that were not clean", found.unclean, "", target=0)


def measure() -> Iterator[Figure]:
    """Both ways, ``RESTARTS`` (50) each."""
    ways: tuple[tuple[StoreKind, str], ...] = (
        ("sqlite", "one server, stopped and started"),
        ("postgresql", "two servers, in turn"),
    )
    for store, name in ways:
        found = restarted(
            store, RESTARTS, 15, lambda them, name=name: track(them, name, transient=True)
        )
        yield from _figures(name, RESTARTS, found)
