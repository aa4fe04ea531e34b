"""Retries by a clock that stands still unless somebody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import grpc
import pytest

from mitsumori.retrying_channel import call_repeatedly


class Failure(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code


class Caller:
    """Calls what fails so many times; each try takes a while of the clock."""

    def __init__(
        self, failures: int, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE, takes_s: float = 0
    ) -> None:
        self.failures, self.code, self.takes_s = failures, code, takes_s
        self.now = 100.0
        self.left: list[float] = []
        self.pauses: list[float] = []

    def __call__(self, left_s: float) -> str:
        self.left.append(left_s)
        self.now += self.takes_s
        if len(self.left) <= self.failures:
            raise Failure(self.code)
        return "answer"

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def run(
        self,
        *,
        timeout_s: float = 60.0,
        attempts: int = 9,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> str:
        answer: str = call_repeatedly(
            self,
            timeout_s=timeout_s,
            attempts=attempts,
            clock=lambda: self.now,
            sleep=self.sleep,
            chance=chance,
        )
        return answer


def test_an_answer_at_once_is_not_waited_for() -> None:
    caller = Caller(0)
    assert caller.run() == "answer"
    assert (caller.left, caller.pauses) == ([60.0], [])


def test_pauses_double_up_to_one_second() -> None:
    caller = Caller(7)
    assert caller.run() == "answer"
    assert caller.pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_chance_adds_at_most_fifty_milliseconds_so_that_callers_spread() -> None:
    caller = Caller(2)
    caller.run(chance=lambda: 0.5)
    assert caller.pauses == pytest.approx([0.075, 0.125])


def test_all_tries_share_one_deadline() -> None:
    caller = Caller(2, takes_s=2.0)
    caller.run(timeout_s=10.0)
    assert caller.left == pytest.approx([10.0, 7.95, 5.85])


def test_a_pause_that_ends_at_the_deadline_is_not_begun() -> None:
    at_the_deadline, before_it = Caller(1), Caller(1)
    with pytest.raises(Failure):
        at_the_deadline.run(timeout_s=0.05)
    assert at_the_deadline.pauses == []
    assert before_it.run(timeout_s=0.0625) == "answer"


def test_the_last_try_is_the_last() -> None:
    caller = Caller(3)
    with pytest.raises(Failure):
        caller.run(attempts=3)
    assert (len(caller.left), len(caller.pauses)) == (3, 2)
    assert Caller(2).run(attempts=3) == "answer"


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
def test_what_a_restarting_server_says_is_repeated(code: grpc.StatusCode) -> None:
    assert Caller(1, code).run() == "answer"


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code.name not in {"OK", "UNAVAILABLE", "CANCELLED"}],
)
def test_nothing_else_is_repeated(code: grpc.StatusCode) -> None:
    caller = Caller(1, code)
    with pytest.raises(Failure):
        caller.run()
    assert len(caller.left) == 1


def test_an_error_that_is_not_the_servers_passes() -> None:
    def broken(_: float) -> NoReturn:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call_repeatedly(broken, timeout_s=1, attempts=9)
