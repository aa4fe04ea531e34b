"""The client against a real gRPC server that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import logging
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from mitsumori import Admin, CallFailed, InvalidArgument, Router, Tls, route_request
from mitsumori.v1 import router_pb2, router_pb2_grpc
from router.core.errors import Exhausted, Unavailable
from router.rpc.error_interceptor import status_of
from tests.certificates import Authority
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

    def Reroute(
        self, request: router_pb2.RerouteRequest, context: grpc.ServicerContext
    ) -> router_pb2.RerouteResponse:
        return router_pb2.RerouteResponse(response=self.Route(request.request, context))

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
        "different versions, another service listens there, or it is a call of AdminService, which has a "
        "port of its own (50052 unless admin_port says otherwise): name that one (--server, "
        "MITSUMORI_ADMIN_SERVER)"
    )


# ── restarts, overload, refusals ──────────────────────────────────────────────────────────────────


def refusing(status: status_pb2.Status, tries: int) -> Behaviour:
    def behave(number: int, context: grpc.ServicerContext) -> None:
        if number <= tries:
            context.abort_with_status(rpc_status.to_status(status))

    return behave


def overloaded(delay: Duration) -> status_pb2.Status:
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="busy")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="OVERLOADED", domain="mitsumori"))
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


SOON, LATE = Duration(nanos=1_000_000), Duration(seconds=3600)


def test_an_overloaded_server_is_asked_again_when_it_says() -> None:
    with (
        moody(refusing(overloaded(SOON), 7)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        client.route("hello")
    assert len({request.request_id for request in servicer.requests}) == 1
    assert len(servicer.requests) == 8


def test_a_wait_beyond_the_deadline_is_told_and_not_begun() -> None:
    with (
        moody(refusing(overloaded(LATE), 1)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S) as client,
        pytest.raises(CallFailed) as caught,
    ):
        client.route("hello")
    assert (caught.value.code, caught.value.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
    assert (caught.value.retry_after_s, caught.value.unanswered) == (3600.0, True)
    assert len(servicer.requests) == 1


@pytest.mark.parametrize("reason", ["LIMIT_EXHAUSTED", "LIMIT_WAIT_FOR_HOLDS", "LIMIT_NEVER_FITS"])
def test_the_refusal_of_a_limit_is_an_answer(reason: str) -> None:
    refusal = status_of(Exhausted("team-1 is full", reason=reason))
    with (
        moody(refusing(refusal, 1)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S, fallback_model="gpt-5-nano") as client,
        pytest.raises(CallFailed) as caught,
    ):
        client.route("hello")
    assert (caught.value.reason, caught.value.unanswered) == (reason, False)
    assert caught.value.retry_after_s == (1.0 if reason == "LIMIT_WAIT_FOR_HOLDS" else None)
    assert len(servicer.requests) == 1


def test_a_restart_may_take_more_tries_than_grpc_makes_of_a_call() -> None:
    away = status_of(Unavailable("the store cannot be written"))
    with (
        moody(refusing(away, 7)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S) as client,
    ):
        client.route("hello")
    assert len({request.request_id for request in servicer.requests}) == 1
    assert len(servicer.requests) == 8


def test_with_several_channels_each_call_has_its_turn_and_is_repeated_likewise() -> None:
    peers: list[str] = []

    def behave(number: int, context: grpc.ServicerContext) -> None:
        peers.append(context.peer())
        if number in (2, 7):
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")

    with (
        moody(behave) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S, channels=3) as client,
    ):
        names = [client.route("hello").id for _ in range(9)]
        assert len(list(client.quote_batch([route_request("hello")]))) == 2
        with Router(address, timeout_s=PATIENCE_S) as other:
            other.route("hello")
    first, of_other = peers[:-1], peers[-1]
    assert len(set(first)) == 3
    assert of_other not in first
    # gRPC repeats a call on the connection of its turn.
    asked = [request.request_id for request in servicer.requests[:-1]]
    assert asked == [
        name for number, name in enumerate(names, 1) for _ in range(1 + (number in (2, 6)))
    ]
    in_turn = [peer for number, peer in enumerate(first, 1) if number not in (2, 7)]
    assert in_turn == in_turn[:3] * 3
    with pytest.raises(CallFailed, match="is closed"):
        client.route("hello")


def test_a_prompt_too_long_for_grpcs_memory_of_calls_is_repeated_too() -> None:
    with (
        moody(failing(grpc.StatusCode.UNAVAILABLE, 2)) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S, attempts=3) as client,
    ):
        client.route("x" * 1_000_000)
    assert len(servicer.requests) == 3


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port: int = door.getsockname()[1]
    return port


@pytest.mark.parametrize("channels", [1, 3])
def test_a_call_waits_for_the_server_to_come(channels: int) -> None:
    port = unused_port()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    router_pb2_grpc.add_RouterServiceServicer_to_server(Moody(lambda *_: None), server)
    with Router(f"127.0.0.1:{port}", timeout_s=PATIENCE_S, channels=channels) as client:
        with pytest.raises(CallFailed), Router(f"127.0.0.1:{port}", attempts=1) as hasty:
            hasty.route("hello")
        waiting = futures.ThreadPoolExecutor(1).submit(client.route, "hello", request_id="r-1")
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        assert waiting.result().id == "r-1"
        server.stop(None).wait()


def test_without_a_server_the_error_says_so_and_not_that_it_was_slow() -> None:
    with (
        Router(f"127.0.0.1:{unused_port()}", timeout_s=2) as client,
        pytest.raises(CallFailed, match="no server answers at") as caught,
    ):
        client.route("hello")
    assert (caught.value.code, caught.value.unanswered) == ("UNAVAILABLE", True)


def test_without_tls_at_the_server_the_error_says_so(tmp_path: Path) -> None:
    ca = Authority(tmp_path).path
    with (
        moody(lambda *_: None) as (address, _),
        Router(address, timeout_s=2, tls=Tls(ca=ca)) as client,
        pytest.raises(CallFailed, match="do not agree on TLS") as caught,
    ):
        client.route("hello")
    assert (caught.value.code, caught.value.reason) == ("UNAVAILABLE", "TLS_FAILED")


def test_several_servers_share_the_calls_and_one_of_them_suffices() -> None:
    with moody(lambda *_: None) as (first, one):
        with (
            moody(lambda *_: None) as (second, other),
            Router([first, second], timeout_s=PATIENCE_S) as client,
        ):
            while not (one.requests and other.requests):
                client.route("hello")
        with Router(f"{second},{first}", timeout_s=PATIENCE_S) as client:
            before = len(one.requests)
            for _ in range(4):
                client.route("hello")
            assert len(one.requests) == before + 4


# ── failing open ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "behaviour",
    [
        failing(grpc.StatusCode.UNAVAILABLE, 99),
        failing(grpc.StatusCode.INTERNAL, 99),
        refusing(overloaded(LATE), 99),
    ],
    ids=["away", "broken", "overloaded"],
)
def test_who_chose_to_fail_open_gets_the_fallback_model_where_there_is_no_answer(
    behaviour: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, "mitsumori"),
        moody(behaviour) as (address, servicer),
        Router(address, timeout_s=PATIENCE_S, attempts=2, fallback_model="gpt-5-nano") as client,
    ):
        decision = client.route("canary prompt", request_id="r-1")
        asked = len(servicer.requests)
        assert (decision.fallback, decision.model, decision.id) == (
            True,
            "gpt-5-nano",
            "fallback/r-1",
        )
        assert decision.hold is None
        assert decision.quote.price.worst.nanos == 0
        assert decision.reasons[0].code == "FALLBACK"
        assert decision.warnings == (decision.reasons[0].text,)
        settlement = client.settle(decision.id, input_tokens=5, output_tokens=7)
        assert (settlement.fallback, settlement.spent.nanos) == (True, 0)
        assert client.release(decision.id) is False
        with pytest.raises(InvalidArgument, match="decision_id: is that of a fallback"):
            client.reroute(decision.id, route_request("hello"))
        assert len(servicer.requests) == asked  # none of it was sent
    (record,) = caplog.records
    assert "gpt-5-nano is used" in record.getMessage()
    assert "canary" not in record.getMessage()


def test_no_server_at_all_is_no_reason_to_fail_for_who_chose_to_fail_open() -> None:
    address = f"127.0.0.1:{unused_port()}"
    with Router(address, timeout_s=2, fallback_model="gpt-5-nano") as client:
        decision = client.route("hello")
    assert (decision.fallback, decision.model) == (True, "gpt-5-nano")
    assert "no server answers" in decision.warnings[0]


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNIMPLEMENTED,
    ],
)
def test_a_refusal_is_never_replaced_by_the_fallback(code: grpc.StatusCode) -> None:
    with (
        moody(failing(code, 1)) as (address, _),
        Router(address, timeout_s=PATIENCE_S, fallback_model="gpt-5-nano") as client,
        pytest.raises(CallFailed) as caught,
    ):
        client.route("hello")
    assert (caught.value.code, caught.value.unanswered) == (code.name, False)


def test_a_decision_of_the_server_is_no_fallback_and_its_settlement_is_not_swallowed() -> None:
    with (
        moody(lambda *_: None) as (address, _),
        Router(address, timeout_s=PATIENCE_S, fallback_model="gpt-5-nano") as client,
    ):
        decision = client.route("hello", request_id="fallback-1")
        assert (decision.fallback, decision.id) == (False, "fallback-1")
        with pytest.raises(CallFailed) as caught:  # this server settles nothing
            client.settle(decision.id, input_tokens=1, output_tokens=1)
        assert caught.value.code == "UNIMPLEMENTED"


def test_a_model_that_has_just_failed_is_no_fallback() -> None:
    with (
        moody(failing(grpc.StatusCode.UNAVAILABLE, 99)) as (address, _),
        Router(address, timeout_s=PATIENCE_S, attempts=1, fallback_model="gpt-5-nano") as client,
    ):
        again = route_request("hello", request_id="r-2")
        assert client.reroute("r-1", again, failed_models=["gpt-6.1-sol"]).id == "fallback/r-2"
        with pytest.raises(CallFailed):
            client.reroute("r-1", again, failed_models=["gpt-5-nano"])


def test_a_closed_client_does_not_fall_back() -> None:
    client = Router("127.0.0.1:1", fallback_model="gpt-5-nano")
    client.close()
    with pytest.raises(CallFailed) as caught:
        client.route("hello")
    assert caught.value.reason == "CLIENT_CLOSED"
