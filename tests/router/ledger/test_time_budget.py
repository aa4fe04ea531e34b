"""A call waits for the store no longer than its caller waits for the call."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

import pytest

from router.core.errors import Unavailable
from router.ledger.base import Granted
from router.ledger.sqlite.ledger import SqliteLedger
from router.ledger.time_budget import on_wait, seconds_left, time_limit
from tests.router.ledger.builders import hold
from tests.router.ledger.test_sqlite import busy


def test_without_a_limit_a_wait_takes_what_the_store_allows() -> None:
    assert seconds_left(10) == 10
    for unbounded in (None, 1e9, float("inf")):
        with time_limit(unbounded):
            assert seconds_left(10) == 10


def test_a_tenth_of_the_caller_s_time_is_left_for_the_answer() -> None:
    with time_limit(100):
        assert 80 < seconds_left(1_000) <= 90
        assert seconds_left(10) == 10
        with time_limit(50):
            assert seconds_left(1_000) <= 45
        assert seconds_left(1_000) > 45
    assert seconds_left(1_000) == 1_000


def test_a_caller_who_has_gone_waits_for_nothing() -> None:
    with time_limit(0):
        assert 0 < seconds_left(10) < 0.01


def test_a_store_that_is_busy_is_unavailable_within_the_caller_s_time(ledger: SqliteLedger) -> None:
    go_on = busy(ledger)  # for minutes, while the store itself would wait for ten seconds
    with time_limit(0.1), pytest.raises(Unavailable, match=r"did not answer within 0\.0\d+ s"):
        ledger.hold(hold("a", 1))
    go_on.set()
    assert isinstance(ledger.hold(hold("a", 1)), Granted)


def test_whoever_counts_the_calls_that_work_hears_when_one_waits_for_a_commit(
    ledger: SqliteLedger,
) -> None:
    told = []

    def waits_of(call: Callable[[], object]) -> int:
        on_wait(lambda: told.append(call))
        call()
        return told.count(call)

    assert copy_context().run(waits_of, lambda: ledger.hold(hold("a", 1))) == 1
    assert copy_context().run(waits_of, lambda: ledger.release("a", "acme")) == 1
    assert copy_context().run(waits_of, lambda: ledger.view([{}])) == 0  # it reads
    ledger.hold(hold("b", 1))  # of a call that nobody counts
    assert len(told) == 2
