"""The client against a real gRPC server that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc
import pytest

from mitsumori import Admin, CallFailed, InvalidArgument, Router, route_request
from mitsumori.v1 import router_pb2, router_pb2_grpc
from tests.readiness import PATIENCE_S

Behaviour = Callable[[int, grpc.ServicerContext], None]


class Moody(router_pb2_grpc.RouterServiceServicer):
    """Answers after running a behaviour with the number of the try, from 1."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[router_pb2.RouteRequest] = []

    def Route(
        self, request: router_pb2.RouteRequest, context: grpc.ServicerContext
    ) -> router_pb2.RouteResponse:
        self.requests.append(request)
        self.behaviour(len(self.requests), context)
        return router_pb2.RouteResponse(decision_id=request.request_id)

    def QuoteBatch(
        self, requests: Iterator[router_pb2.QuoteBatchRequest], _: grpc.ServicerContext
    ) -> Iterator[router_pb2.QuoteBatchResponse]:
        for index, _request in enumerate(requests):
            yield router_pb2.QuoteBatchResponse(index=index, response=router_pb2.RouteResponse())
        yield router_pb2.QuoteBatchResponse(summary=router_pb2.BatchSummary())


@contextmanager
def moody(behaviour: Behaviour) -> Iterator[tuple[str, Moody]]:
    servicer = Moody(behaviour)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    router_pb2_grpc.add_RouterServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait()


def failing(code: grpc.StatusCode, tries: int) -> Behaviour:
    def behave(number: int, context: grpc.ServicerContext) -> None:
        if number <= tries:
            context.abort(code, "not now")

    return behave


@contextmanager
def slamming_door() -> Iterator[tuple[str, list[None]]]:
    """A port that hangs up on whoever connects; the list grows with each."""
    visits: list[None] = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def slam() -> None:
            with contextlib.suppress(OSError):  # until it is shut down
                while True:
                    door.accept()[0].close()
                    visits.append(None)

        slammer = threading.Thread(target=slam)
        slammer.start()
        yield f"127.0.0.1:{door.getsockname()[1]}", visits
        door.shutdown(socket.SHUT_RDWR)
        slammer.join()


def test_a_server_that_is_away_is_looked_for_more_often_than_grpc_would() -> None:
    with slamming_door() as (address, ours), slamming_door() as (other, theirs):
        with Router(address, timeout_s=1) as client, grpc.insecure_channel(other) as channel:
            plain = router_pb2_grpc.RouterServiceStub(channel)
            while len(theirs) < 4:
                with pytest.raises(CallFailed):
                    client.route("hello")
                with pytest.raises(grpc.RpcError):
                    plain.Route(router_pb2.RouteRequest(), timeout=1)
        assert len(ours) > 1.5 * len(theirs)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_a_server_that_restarts_is_asked_again_with_the_same_id(code: grpc.StatusCode) -> None:
    with (
        moody(failing(code, 2)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        decision = client.route("hello")
    assert [request.request_id for request in servicer.requests] == [decision.id] * 3
    first, second, third = servicer.requests
    assert first == second == third


def test_the_number_of_tries_is_bounded() -> None:
    with (
        moody(failing(grpc.StatusCode.UNAVAILABLE, 99)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S, attempts=3) as client,
        pytest.raises(CallFailed) as caught,
    ):
        client.route("hello")
    assert caught.value.code == "UNAVAILABLE"
    assert len(servicer.requests) == 3


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    ],
)
def test_a_refusal_is_final(code: grpc.StatusCode) -> None:
    with (
        moody(failing(code, 1)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S) as client,
        pytest.raises(CallFailed) as caught,
    ):
        client.route("hello")
    assert caught.value.code == code.name
    assert len(servicer.requests) == 1


def test_details_that_cannot_be_read_do_not_hide_the_refusal() -> None:
    def garbled(_: int, context: grpc.ServicerContext) -> None:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        context.abort(grpc.StatusCode.INTERNAL, "broken")

    with (
        moody(garbled) as (address, _),
        Router(address, timeout_s=PATIENCE_S) as client,
        pytest.raises(CallFailed, match="broken") as caught,
    ):
        client.route("hello")
    assert (caught.value.code, caught.value.reason) == ("INTERNAL", "CALL_FAILED")


@pytest.mark.parametrize(
    "error",
    [
        CallFailed("scope: wrong", "INVALID_ARGUMENT", "INVALID_INPUT", "scope", {"a": "b"}),
        InvalidArgument("prompt[0].role", "must be one of user"),
    ],
)
def test_an_error_survives_the_way_to_another_process(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), vars(again), str(again)) == (type(error), vars(error), str(error))


def test_a_slow_server_is_given_up_at_the_deadline_and_not_asked_again() -> None:
    release = threading.Event()
    with moody(lambda *_: bool(release.wait(PATIENCE_S))) as (address, servicer):  # type: ignore[arg-type]
        with (
            Router(address, timeout_s=2) as client,
            pytest.raises(CallFailed, match=r"within 2 s") as caught,
        ):
            client.route("hello")
        release.set()
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert len(servicer.requests) == 1


def test_an_error_of_the_callers_own_iterator_is_raised_as_it_is() -> None:
    error = KeyError("row 3")

    def requests() -> Iterator[router_pb2.RouteRequest]:
        yield route_request("hello")
        raise error

    with (
        moody(lambda *_: None) as (address, _),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        with pytest.raises(KeyError) as caught:
            list(client.quote_batch(requests()))
        assert caught.value is error
        with pytest.raises(
            InvalidArgument, match=r"^requests\[1\]: must be a RouteRequest .* not str$"
        ):
            list(client.quote_batch([route_request("hello"), "hello"]))  # type: ignore[list-item]
        with pytest.raises(InvalidArgument, match=r"^requests: must be requests"):
            list(client.quote_batch(None))  # type: ignore[arg-type]
        assert len(list(client.quote_batch([route_request("hello")]))) == 2


def test_a_closed_client_says_so() -> None:
    with moody(lambda *_: None) as (address, servicer):
        with Router(address, timeout_s=PATIENCE_S) as client:
            client.route("hello")
            open_batch = client.quote_batch(route_request("hello") for _ in range(10**9))
            next(open_batch)
        for call in (
            lambda: client.route("hello"),
            lambda: list(client.quote_batch([])),
            lambda: list(open_batch),
        ):
            with pytest.raises(CallFailed) as caught:
                call()
            error = caught.value
            assert error.message == f"this client of {address} is closed; make a new one"
            assert (error.code, error.reason) == ("CANCELLED", "CLIENT_CLOSED")
        assert len(servicer.requests) == 1


def test_a_server_of_another_version_is_told_from_one_that_refuses() -> None:
    with (
        moody(lambda *_: None) as (address, _),
        Admin(address, timeout_s=PATIENCE_S) as admin,  # only the RouterService is there
        pytest.raises(CallFailed) as caught,
    ):
        admin.limits()
    assert caught.value.code == "UNIMPLEMENTED"
    assert caught.value.message == (
        f"the server at {address} does not speak this client's mitsumori.v1: client and server are of "
        "different versions, another service listens there, or AdminService has a port of its own"
    )
