"""The table of calls that wait for their callers: whom it cuts off, and when."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import pytest

from router.rpc.open_calls import OpenCall, OpenCalls
from tests.readiness import PATIENCE_S, wait_until


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Context:
    """The context of a call without a transport."""

    def __init__(self, peer: str = "ipv4:10.0.0.1:1") -> None:
        self._peer, self.cancelled = peer, False

    def peer(self) -> str:
        return self._peer

    def cancel(self) -> None:
        self.cancelled = True


class Table:
    """A table with the calls of a test."""

    def __init__(self, stack: ExitStack, most: int = 2) -> None:
        self.clock, self._stack = Clock(), stack
        self.calls = OpenCalls(most, longest_s=5.0, spared_s=0.1, clock=self.clock)

    def enter(self, context: Context) -> OpenCall | None:
        """Come in; by the next one's time, this call can be cut off."""
        call = self._stack.enter_context(self.calls.entered(context))
        self.clock.now += 0.1
        return call


def test_a_full_table_cuts_off_the_call_that_has_waited_longest() -> None:
    with ExitStack() as stack:
        table, contexts = Table(stack), [Context() for _ in range(3)]
        for context in contexts:
            table.enter(context)
        assert [context.cancelled for context in contexts] == [True, False, False]
        assert (len(table.calls), table.calls.cut) == (2, 1)
    assert len(table.calls) == 0


def test_the_machine_with_the_most_waiting_calls_loses_one_even_where_another_waits_longer() -> (
    None
):
    with ExitStack() as stack:
        table = Table(stack, most=3)
        honest, greedy = Context(), [Context(f"ipv4:10.6.6.6:{port}") for port in range(3)]
        for context in (honest, *greedy):
            table.enter(context)
        assert not honest.cancelled
        assert [context.cancelled for context in greedy] == [True, False, False]


def test_a_call_that_has_only_just_come_is_not_cut_off_and_another_waits_for_its_place() -> None:
    calls, came = OpenCalls(1, longest_s=5.0, spared_s=5.0), threading.Event()
    honest, found = Context(), []

    def comes() -> None:
        came.set()
        with calls.entered(Context()) as call:
            found.append(call)

    other = threading.Thread(target=comes)
    with calls.entered(honest):
        other.start()
        assert came.wait(PATIENCE_S)
        assert (found, len(calls)) == ([], 1)
    other.join(PATIENCE_S)
    assert [call is not None for call in found] == [True]
    assert (honest.cancelled, calls.cut, len(calls)) == (False, 0, 0)


def test_in_a_flood_no_call_is_spared() -> None:
    """Where as many wait for a place as the table has, the next one takes the place of the oldest at once."""
    calls = OpenCalls(1, longest_s=600.0, spared_s=600.0)
    oldest, others = Context(), []

    def comes() -> None:
        with calls.entered(Context()) as call:
            others.append(call)

    waiting = threading.Thread(target=comes)
    with calls.entered(oldest):
        waiting.start()
        wait_until(lambda: calls.outside == 1)
        with calls.entered(Context()) as next_one:
            assert next_one is not None
            assert (oldest.cancelled, calls.cut) == (True, 1)
    waiting.join(PATIENCE_S)
    assert [call is not None for call in others] == [True]
    assert (calls.outside, len(calls)) == (0, 0)


def test_a_call_is_spared_for_exactly_its_moment() -> None:
    """The clock goes on while another waits for the place."""
    clock, contexts = Clock(), [Context(), Context()]

    class Moving(Clock):
        def __call__(self) -> float:
            clock.now += 0.05
            return clock.now

    calls = OpenCalls(1, longest_s=5.0, spared_s=0.1, clock=Moving())
    with calls.entered(contexts[0]), calls.entered(contexts[1]) as second:
        assert second is not None
        assert [context.cancelled for context in contexts] == [True, False]
        # It came at 0.05; at 0.10 it was spared, at 0.15 not; then the other came.
        assert second.since == pytest.approx(0.2)


def test_a_call_that_does_not_wait_is_not_cut_off() -> None:
    with ExitStack() as stack:
        table, working, waiting = Table(stack), Context(), Context()
        call = table.enter(working)
        assert call is not None
        call.works()
        table.enter(waiting)
        table.enter(Context())
        assert (working.cancelled, waiting.cancelled) == (False, True)


def test_where_every_call_is_at_work_another_finds_no_place() -> None:
    with ExitStack() as stack:
        table = Table(stack)
        for _ in range(2):
            call = table.enter(Context())
            assert call is not None
            call.works()
        assert table.enter(Context()) is None
        assert len(table.calls) == 2


def test_a_call_is_cut_off_once_it_has_waited_for_the_whole_time() -> None:
    with ExitStack() as stack:
        table, context = Table(stack), Context()
        call = table.enter(context)
        assert call is not None
        table.clock.now = 4.999
        table.calls.cut_overdue()
        assert not context.cancelled
        call.works()
        call.waits()  # it has sent something: its time begins anew
        table.clock.now = 9.998
        table.calls.cut_overdue()
        assert not context.cancelled
        table.clock.now = 9.999
        table.calls.cut_overdue()
        assert context.cancelled
        call.waits()
        assert len(table.calls) == 0  # and it does not come back
