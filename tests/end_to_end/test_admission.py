"""Calls without a message, idle streams, more calls than can be answered: over real sockets, by events."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

import mitsumori
from benchmarks.http2_client import LOST, Call, Http2Client
from mitsumori.v1 import admin_pb2, admin_pb2_grpc, router_pb2, router_pb2_grpc
from router.access.key_store import KeyStore
from router.core.errors import CallerGone
from router.core.limits import LimitState
from router.ledger.base import Ledger
from router.ledger.memory import MemoryLedger
from router.ledger.sqlite.ledger import SqliteLedger
from router.ledger.time_budget import check_caller
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_reservations
from router.rpc.server import RunningServer, start
from router.settings import Settings
from tests.readiness import PATIENCE_S, wait_until
from tests.router.ledger.test_sqlite import busy

ROUTE = "/mitsumori.v1.RouterService/Route"
QUOTE_BATCH = "/mitsumori.v1.RouterService/QuoteBatch"
SERVING = health_pb2.HealthCheckResponse.SERVING


@contextmanager
def served(
    settings: Settings, router: Router, ledger: Ledger, **changes: Any
) -> Iterator[RunningServer]:
    changed = settings.model_copy(update=changes)
    running = start(changed, build_reservations(changed, router, ledger))
    running.mark_serving()
    try:
        yield running
    finally:
        running.drain()
        ledger.close()


@dataclass
class Caller:
    """An honest caller of every service of a server."""

    router: router_pb2_grpc.RouterServiceStub
    admin: admin_pb2_grpc.AdminServiceStub
    health: health_pb2_grpc.HealthStub

    def route(self, name: str, **options: Any) -> Any:
        """A call in flight. The deadline is that of a test that hangs, unless it is given."""
        options = {"timeout": PATIENCE_S, **options}
        return self.router.Route.future(request(name), **options)

    def is_answered(self) -> None:
        """Health and administration answer."""
        reply = self.health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        assert reply.status == SERVING
        self.admin.ListLimits(admin_pb2.ListLimitsRequest(), timeout=PATIENCE_S)


@contextmanager
def caller_of(running: RunningServer) -> Iterator[Caller]:
    with (
        grpc.insecure_channel(running.address) as channel,
        grpc.insecure_channel(running.admin_address) as admin,
    ):
        yield Caller(
            router_pb2_grpc.RouterServiceStub(channel),  # type: ignore[no-untyped-call]
            admin_pb2_grpc.AdminServiceStub(admin),  # type: ignore[no-untyped-call]
            health_pb2_grpc.HealthStub(channel),
        )


def request(name: str, **fields: Any) -> router_pb2.RouteRequest:
    made = router_pb2.RouteRequest(request_id=name, **fields)
    made.prompt.text = f"What is the capital of the country number {name}?"
    return made


def reason_of(call: Any) -> tuple[str, str]:
    """Code and reason of a call that was refused."""
    error = call.exception(PATIENCE_S)
    status = rpc_status.from_call(error)
    return error.code().name, "" if status is None else detail(
        status, error_details_pb2.ErrorInfo
    ).reason


def detail(status: Any, kind: Any) -> Any:
    for each in status.details:
        if each.Is(kind.DESCRIPTOR):
            found = kind()
            each.Unpack(found)
            return found
    raise AssertionError(f"no {kind.__name__}")


# ── calls that wait for the store ─────────────────────────────────────────────────────────────────


def test_calls_are_worked_on_while_others_wait_for_their_commit(
    settings: Settings, router: Router, tmp_path: Path
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.sqlite")
    with (
        served(settings, router, ledger, workers=1) as running,
        caller_of(running) as caller,
    ):
        go_on = busy(ledger)
        held = [caller.route(f"{index}") for index in range(8)]
        wait_until(lambda: ledger._writer.waiting.qsize() == 8)  # one commit for all of them
        assert not any(call.done() for call in held)
        go_on.set()
        assert [call.result().decision_id for call in held] == [f"{index}" for index in range(8)]
        # The slot is free again, and lent to nobody.
        assert caller.route("again").result().decision_id == "again"


# ── calls without a message ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [4, 1000])
@pytest.mark.parametrize(
    "path",
    [
        ROUTE,
        QUOTE_BATCH,
        "/mitsumori.v1.RouterService/Settle",
        "/mitsumori.v1.AdminService/ListLimits",
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_calls_without_a_message_stop_nothing(
    settings: Settings, router: Router, path: str, number: int
) -> None:
    with (
        served(settings, router, MemoryLedger(), drain_s=0) as running,
        Http2Client(running.address) as silent,
        caller_of(running) as caller,
    ):
        silent.begin([Call(0, path, None, PATIENCE_S)] * number)
        # While they come, our client may have to call again, as it does by itself.
        with mitsumori.Router(running.address, timeout_s=PATIENCE_S) as client:
            assert client.route("hello", request_id="hello").id == "hello"
        # Once they are there, nobody has to.
        silent.ended(number - Settings().max_waiting_calls, PATIENCE_S)
        held = [caller.route(f"{index}") for index in range(4)]
        assert [call.result().decision_id for call in held] == ["0", "1", "2", "3"]
        caller.is_answered()


def test_of_calls_without_a_message_only_so_many_stay_open(
    settings: Settings, router: Router
) -> None:
    with (
        served(settings, router, MemoryLedger(), drain_s=0, max_waiting_calls=10) as running,
        Http2Client(running.address) as silent,
    ):
        silent.begin([Call(0, ROUTE, None, PATIENCE_S, f"{index}") for index in range(100)])
        ended = silent.ended(90, PATIENCE_S)
        assert len(ended) == 90
        assert 0 not in {outcome.status for outcome in ended}


def test_a_call_whose_message_does_not_come_in_time_is_cut_off(
    settings: Settings, router: Router
) -> None:
    with (
        served(settings, router, MemoryLedger(), drain_s=0, message_wait_s=0.01, stream_idle_s=0.01)
        as running,
        Http2Client(running.address) as silent,
    ):  # fmt: skip
        paths = [ROUTE, QUOTE_BATCH, "/grpc.health.v1.Health/Check"]
        silent.begin([Call(0, path, None, PATIENCE_S) for path in paths])
        assert len(silent.ended(3, PATIENCE_S)) == 3


def test_a_stream_whose_answers_nobody_reads_gives_way_too(
    settings: Settings, router: Router
) -> None:
    items = [router_pb2.QuoteBatchRequest(request=request(f"{index}")) for index in range(5_000)]
    with (
        served(settings, router, MemoryLedger(), drain_s=0, max_streams=1) as running,
        caller_of(running) as caller,
    ):
        # The answers are more than flow control lets through.
        unread = caller.router.QuoteBatch(iter(items), timeout=PATIENCE_S)
        next(unread)  # it has begun

        def another_is_answered() -> bool:
            replies = caller.router.QuoteBatch(iter(items[:2]), timeout=PATIENCE_S)
            try:
                return len(list(replies)) == 3
            except grpc.RpcError:  # the first one was at work and could not give way
                return False

        wait_until(another_is_answered)
        with pytest.raises(grpc.RpcError):
            list(unread)


def test_a_call_that_is_closed_without_a_message_is_told_so(
    settings: Settings, router: Router
) -> None:
    with (
        served(settings, router, MemoryLedger()) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        call = channel.stream_unary(ROUTE).future(iter(()), timeout=PATIENCE_S)
        assert reason_of(call) == ("INVALID_ARGUMENT", "NO_MESSAGE")
        for path in (ROUTE, "/grpc.health.v1.Health/Check"):
            broken = channel.unary_unary(path).future(b"\x0a\xff", timeout=PATIENCE_S)
            assert reason_of(broken) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


def test_without_credentials_nobody_waits_for_a_message(
    settings: Settings, router: Router, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "keys.json")
    store.create(name="k", tenant="acme", roles=["route"], labels={}, scopes={}, expires=None)
    changes = {"key_store": store.path, "failed_logins_per_minute": 10_000}
    with (
        served(settings, router, MemoryLedger(), **changes) as running,
        Http2Client(running.address) as silent,
    ):
        silent.begin([Call(0, path, None, PATIENCE_S) for path in (ROUTE, QUOTE_BATCH)])
        unauthenticated = grpc.StatusCode.UNAUTHENTICATED.value[0]
        ended = silent.ended(2, PATIENCE_S)
        assert [outcome.status for outcome in ended] == [unauthenticated] * 2


def test_many_looks_at_health_at_once_are_all_answered_beside_many_other_calls(
    settings: Settings, router: Router
) -> None:
    """More than may wait for their message, of callers whose message is there."""
    health = "/grpc.health.v1.Health/Check"
    calls = [
        Call(0, ROUTE, request(f"{index}").SerializeToString(), PATIENCE_S)
        if index % 3 == 0
        else Call(0, health, b"", PATIENCE_S)
        for index in range(1_500)
    ]
    changes = {"max_waiting_calls": 40, "queue_wait_s": 60.0}
    with (
        served(settings, router, MemoryLedger(), **changes) as running,
        Http2Client(running.address, 16) as client,
    ):
        outcomes = Counter((each.call.path, each.status) for each in client.closed_loop(calls, 96))
        assert outcomes == {(ROUTE, 0): 500, (health, 0): 1_000}


def test_of_connections_only_so_many_are_taken(settings: Settings, router: Router) -> None:
    health = Call(0, "/grpc.health.v1.Health/Check", b"", PATIENCE_S)
    with (
        served(settings, router, MemoryLedger(), max_connections=2) as running,
        Http2Client(running.address, 2) as taken,
    ):
        assert [each.status for each in taken.closed_loop([health] * 4, 1)] == [0] * 4
        with Http2Client(running.address, 1) as surplus:
            assert [each.status for each in surplus.closed_loop([health], 1)] == [LOST]
        assert [each.status for each in taken.closed_loop([health] * 4, 1)] == [0] * 4


# ── more calls than can be answered ───────────────────────────────────────────────────────────────


class ClosedStore(MemoryLedger):
    """A store that looks at no balance until it is opened, and counts who has come so far."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.opened = threading.Semaphore(0), threading.Event()
        self.on_view: Callable[[], object] = lambda: self.opened.wait(PATIENCE_S)

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        self.came.release()
        self.on_view()
        return super().view(options)


@pytest.fixture
def store() -> ClosedStore:
    return ClosedStore()


def until_the_caller_has_gone() -> None:
    def has_gone() -> bool:
        try:
            check_caller()
        except CallerGone:
            return True
        return False

    wait_until(has_gone)


def test_what_cannot_be_answered_in_time_is_refused_at_once_and_told_when_to_come_back(
    settings: Settings, router: Router, store: ClosedStore
) -> None:
    """Calls are taken to need 5 ms until one was measured: one works, and eleven may wait 50 ms."""
    with (
        served(settings, router, store, workers=1, queue_wait_s=0.05) as running,
        caller_of(running) as caller,
    ):
        calls = [caller.route(f"{index}") for index in range(40)]
        wait_until(lambda: sum(call.done() for call in calls) == 28)
        refused = [call for call in calls if call.done()]
        assert {reason_of(call) for call in refused} == {("RESOURCE_EXHAUSTED", "OVERLOADED")}
        for call in refused:
            status = rpc_status.from_call(call.exception())
            wait: Duration = detail(status, error_details_pb2.RetryInfo).retry_delay
            assert 0.05 <= wait.ToTimedelta().total_seconds() <= 5
        caller.is_answered()
        store.opened.set()
        admitted = [call.result().decision_id for call in calls if call not in refused]
        assert len(admitted) == 12
        assert sorted(row.id for row in store.decisions()) == sorted(admitted)
        assert caller.route("afterwards").result().decision_id == "afterwards"


def test_a_caller_without_credentials_never_comes_into_the_queue(
    settings: Settings, router: Router, store: ClosedStore, tmp_path: Path
) -> None:
    keys = KeyStore(tmp_path / "keys.json")
    key, _ = keys.create(
        name="k", tenant="acme", roles=["route"], labels={}, scopes={}, expires=None
    )
    changes = {"key_store": keys.path, "failed_logins_per_minute": 10_000}
    with (
        served(settings, router, store, workers=1, queue_wait_s=0.001, **changes) as running,
        caller_of(running) as caller,
    ):
        metadata = [("authorization", f"Bearer {key}")]
        working = caller.route("working", metadata=metadata)
        assert store.came.acquire(timeout=PATIENCE_S)
        for number in range(20):  # while the one slot is taken
            refused = caller.route(f"{number}")
            assert reason_of(refused) == ("UNAUTHENTICATED", "NO_CREDENTIAL")
        waiting = caller.route("waiting", metadata=metadata)  # the one place in the queue is free
        store.opened.set()
        assert working.result().decision_id == "working"
        assert waiting.result().decision_id == "waiting"


def test_money_comes_back_while_routes_are_refused(
    settings: Settings, router: Router, store: ClosedStore
) -> None:
    with (
        served(settings, router, store, workers=1, queue_wait_s=0.001) as running,
        caller_of(running) as caller,
    ):
        store.opened.set()
        held = caller.route("held").result()
        store.opened.clear()
        routes = [caller.route(f"{index}") for index in range(20)]
        wait_until(lambda: any(call.done() for call in routes))
        release = router_pb2.ReleaseRequest(decision_id=held.decision_id)
        released = caller.router.Release.future(release, timeout=PATIENCE_S)
        store.opened.set()
        assert released.result().released_now


def test_a_caller_that_has_gone_while_it_waited_costs_nothing(
    settings: Settings, router: Router, store: ClosedStore
) -> None:
    scored: list[str] = []

    class Counting(Router):
        """A router that remembers whose prompts were encoded and scored."""

        def assess(self, query: RouteQuery, *more: Any, **options: Any) -> Any:
            scored.append(query.request_id)
            return super().assess(query, *more, **options)

    fields = {
        each.name: getattr(router, each.name) for each in dataclasses.fields(router) if each.init
    }
    counting = Counting(**fields)
    with (
        served(settings, counting, store, workers=1, queue_wait_s=10) as running,
        caller_of(running) as caller,
    ):
        first = caller.route("first")
        assert store.came.acquire(timeout=PATIENCE_S)
        late = caller.route("late", timeout=0.2)
        hung_up = caller.route("hung up")
        assert reason_of(late)[0] == "DEADLINE_EXCEEDED"
        hung_up.cancel()
        caller.is_answered()
        store.opened.set()
        assert first.result().decision_id == "first"
        assert caller.route("last").result().decision_id == "last"
        assert [name for name in scored if name] == ["first", "last"]
        assert sorted(row.id for row in store.decisions()) == ["first", "last"]


@pytest.mark.parametrize("how", ["hangs up", "has a deadline"])
def test_no_money_is_held_for_a_caller_that_has_gone_while_it_was_worked_on(
    settings: Settings, router: Router, store: ClosedStore, how: str
) -> None:
    store.on_view = until_the_caller_has_gone
    with served(settings, router, store) as running, caller_of(running) as caller:
        gone = caller.route("gone", timeout=PATIENCE_S if how == "hangs up" else 0.2)
        assert store.came.acquire(timeout=PATIENCE_S)
        if how == "hangs up":
            gone.cancel()
        else:
            assert gone.exception().code() is grpc.StatusCode.DEADLINE_EXCEEDED
        store.on_view = lambda: None
        assert caller.route("stays").result().decision_id == "stays"
        running.drain()  # and so the first call has come to its end
        assert [row.id for row in store.decisions()] == ["stays"]


# ── batches ───────────────────────────────────────────────────────────────────────────────────────


def test_a_batch_is_read_no_faster_than_it_is_answered(
    settings: Settings, router: Router, store: ClosedStore
) -> None:
    with (
        served(settings, router, store, workers=1) as running,
        caller_of(running) as caller,
    ):
        requests = [router_pb2.QuoteBatchRequest(request=request(f"{index}")) for index in range(9)]
        replies = caller.router.QuoteBatch(iter(requests), timeout=PATIENCE_S)
        assert store.came.acquire(timeout=PATIENCE_S)
        waiting = caller.route(
            "interactive"
        )  # has the one slot after the first item, at the latest
        caller.is_answered()
        store.opened.set()
        assert waiting.result().decision_id == "interactive"
        answered = list(replies)
        assert [reply.index for reply in answered[:-1]] == list(range(9))
        assert answered[-1].summary.quoted == 9


def test_idle_streams_give_way_to_one_that_is_used(settings: Settings, router: Router) -> None:
    with (
        served(settings, router, MemoryLedger(), drain_s=0, max_streams=3) as running,
        Http2Client(running.address) as silent,
        caller_of(running) as caller,
    ):
        silent.begin([Call(0, QUOTE_BATCH, None, PATIENCE_S)] * 20)
        assert len(silent.ended(17, PATIENCE_S)) == 17
        items = [router_pb2.QuoteBatchRequest(request=request(f"{index}")) for index in range(20)]
        replies = list(caller.router.QuoteBatch(iter(items), timeout=PATIENCE_S))
        assert replies[-1].summary.quoted == 20
