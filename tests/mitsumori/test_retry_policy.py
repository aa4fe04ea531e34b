"""When a call is made again, by a clock that stands still unless somebody sleeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from mitsumori.retry_policy import call_until, is_overload, service_config
from router.core.errors import Exhausted, MitsumoriError, Throttled, TooLarge, Unavailable
from router.rpc.error_interceptor import status_of

UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
LIMIT = error_details_pb2.QuotaFailure()


def wait(seconds: int, nanos: int = 0) -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos))


class Failure(grpc.RpcError):  # type: ignore[misc]  # grpc ships no types
    def __init__(self, code: grpc.StatusCode, *details: Message) -> None:
        self._code, self._status = code, status_pb2.Status()
        for detail in details:
            self._status.details.add().Pack(detail)

    def code(self) -> grpc.StatusCode:
        return self._code

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return (("grpc-status-details-bin", self._status.SerializeToString()),)


class Caller:
    """Calls what fails so many times; each round takes a while of the clock."""

    def __init__(self, failures: int, failure: Failure, takes_s: float = 0) -> None:
        self.failures, self.failure, self.takes_s = failures, failure, takes_s
        self.now = 100.0
        self.left: list[float] = []
        self.pauses: list[float] = []

    def __call__(self, left_s: float) -> str:
        self.left.append(left_s)
        self.now += self.takes_s
        if len(self.left) <= self.failures:
            raise self.failure
        return "answer"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def run(self, *, timeout_s: float = 60.0, chance: Callable[[], float] = lambda: 0.0) -> str:
        answer: str = call_until(
            self, timeout_s=timeout_s, clock=lambda: self.now, sleep=self.sleep, chance=chance
        )
        return answer


def test_an_answer_at_once_is_not_waited_for() -> None:
    caller = Caller(0, Failure(UNAVAILABLE))
    assert caller.run() == "answer"
    assert (caller.left, caller.pauses) == ([60.0], [])


@pytest.mark.parametrize("code", [UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_what_a_restarting_server_says_is_repeated_until_the_deadline(
    code: grpc.StatusCode,
) -> None:
    caller = Caller(50, Failure(code))
    assert caller.run() == "answer"
    assert caller.pauses == [1.0] * 50


def test_a_server_that_says_when_is_asked_then() -> None:
    overloaded = Caller(1, Failure(EXHAUSTED, wait(2, 500_000_000)))
    assert overloaded.run() == "answer"
    assert overloaded.pauses == [2.5]
    away = Caller(1, Failure(UNAVAILABLE, wait(3)))
    assert away.run() == "answer"
    assert away.pauses == [3.0]


@pytest.mark.parametrize("delay", [wait(0), wait(-5)])
def test_who_may_come_back_at_once_pauses_all_the_same(delay: Message) -> None:
    caller = Caller(1, Failure(EXHAUSTED, delay))
    caller.run()
    assert caller.pauses == [0.05]


def test_chance_adds_at_most_a_quarter_so_that_callers_spread() -> None:
    caller = Caller(2, Failure(EXHAUSTED, wait(2)))
    caller.run(chance=lambda: 0.5)
    assert caller.pauses == pytest.approx([2.25, 2.25])


def test_all_rounds_share_one_deadline() -> None:
    caller = Caller(2, Failure(UNAVAILABLE), takes_s=2.0)
    caller.run(timeout_s=10.0)
    assert caller.left == pytest.approx([10.0, 7.0, 4.0])


def test_a_pause_that_ends_at_the_deadline_is_not_begun() -> None:
    at_the_deadline, before_it = Caller(1, Failure(UNAVAILABLE)), Caller(1, Failure(UNAVAILABLE))
    with pytest.raises(Failure):
        at_the_deadline.run(timeout_s=1.0)
    assert at_the_deadline.pauses == []
    assert before_it.run(timeout_s=1.0625) == "answer"


def test_a_server_that_said_why_it_cannot_answer_is_quoted_where_the_time_runs_out() -> None:
    late = Failure(grpc.StatusCode.DEADLINE_EXCEEDED)
    said, silent = Failure(UNAVAILABLE, wait(1)), Failure(UNAVAILABLE)

    def raised(*failures: Failure) -> Failure:
        rounds = iter(failures)

        def call(_left_s: float) -> NoReturn:
            raise next(rounds)

        with pytest.raises(Failure) as caught:
            call_until(call, timeout_s=60.0, sleep=lambda _: None)
        return caught.value

    assert raised(said, late) is said
    assert raised(silent, late) is late
    assert raised(said, silent, late) is late
    assert raised(late) is late


def test_who_would_have_to_wait_past_the_deadline_is_told_at_once() -> None:
    caller = Caller(1, Failure(EXHAUSTED, wait(10)))
    with pytest.raises(Failure):
        caller.run(timeout_s=10.0)
    assert (len(caller.left), caller.pauses) == (1, [])


@pytest.mark.parametrize(
    "failure",
    [
        *(
            Failure(code, *details)
            for code in grpc.StatusCode
            if code.name not in {"OK", "UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"}
            for details in ((), (wait(1),))
        ),
        Failure(EXHAUSTED),
        Failure(EXHAUSTED, LIMIT),
        Failure(EXHAUSTED, LIMIT, wait(1)),
    ],
    ids=lambda failure: failure.code().name,
)
def test_nothing_else_is_repeated(failure: Failure) -> None:
    caller = Caller(1, failure)
    with pytest.raises(Failure):
        caller.run()
    assert (len(caller.left), caller.pauses) == (1, [])


@pytest.mark.parametrize(
    "refusal",
    [
        Exhausted("full", reason="LIMIT_WAIT_FOR_HOLDS"),
        Exhausted("full"),
        Exhausted("full", reason="LIMIT_NEVER_FITS"),
        TooLarge("too large"),
        Throttled("too often", retry_after_s=5, reason="TOO_MANY_FAILED_LOGINS"),
    ],
    ids=lambda refusal: refusal.reason,
)
def test_a_limits_refusal_is_told_from_an_overload_by_its_details(refusal: MitsumoriError) -> None:
    status = status_of(refusal)
    kinds = {detail.TypeName() for detail in status.details}
    assert ("google.rpc.QuotaFailure" in kinds) or ("google.rpc.RetryInfo" not in kinds)
    assert not is_overload(_failure_of(refusal))
    assert not is_overload(_failure_of(Unavailable("the store is away")))


def test_an_overload_is_repeated_as_the_server_words_it() -> None:
    busy = Throttled(
        "the server has more calls than it can answer", retry_after_s=1, reason="OVERLOADED"
    )
    assert is_overload(_failure_of(busy))


def _failure_of(error: MitsumoriError) -> Failure:
    made = Failure(EXHAUSTED if not isinstance(error, Unavailable) else UNAVAILABLE)
    made._status = status_of(error)
    return made


def test_an_error_that_is_not_the_servers_passes() -> None:
    def broken(_: float) -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_until(broken, timeout_s=1)


def policy(attempts: int | None) -> tuple[dict[str, Any], dict[str, Any]]:
    calls, stream = json.loads(service_config(attempts))["methodConfig"]
    return calls, stream


def test_grpc_itself_repeats_what_a_restart_breaks_off() -> None:
    calls, stream = policy(None)
    assert calls["retryPolicy"]["retryableStatusCodes"] == ["CANCELLED", "UNAVAILABLE"]
    assert calls["retryPolicy"]["maxAttempts"] == 5  # gRPC takes no more
    assert stream["retryPolicy"] == calls["retryPolicy"]
    assert [policy(n)[0]["retryPolicy"]["maxAttempts"] for n in (2, 5, 9)] == [2, 5, 5]
    assert "retryPolicy" not in policy(1)[0]


def test_only_calls_with_a_deadline_wait_for_a_server_and_only_where_the_tries_are_not_counted() -> (
    None
):
    calls, stream = policy(None)
    assert calls["waitForReady"] is True
    assert "waitForReady" not in stream
    assert policy(3)[0]["waitForReady"] is False
