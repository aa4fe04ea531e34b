"""Who works, who waits, and who is refused: the queue before the slots, by an injected clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from router.core.errors import CallerGone, Throttled
from router.rpc.work_queue import Priority, ServiceTimes, WorkQueue, retry_after_s
from tests.readiness import PATIENCE_S, wait_until

ROUTE, BATCH, FREEING = Priority.INTERACTIVE, Priority.BATCH, Priority.FREEING


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Caller:
    """A caller without a transport: it hangs up when told to."""

    def __init__(self, remaining_s: float | None = None) -> None:
        self.remaining_s, self.active = remaining_s, True
        self.callbacks: list[Callable[[], None]] = []

    def is_active(self) -> bool:
        return self.active

    def time_remaining(self) -> float | None:
        return self.remaining_s

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self.callbacks.append(callback)
        return self.active

    def hang_up(self) -> None:
        self.active = False
        for callback in self.callbacks:
            callback()


class Service:
    """A queue whose every call takes 10 ms by the clock, and the threads of its callers."""

    def __init__(self, slots: int = 1, wait_limit_s: float = 0.05, most: int = 256) -> None:
        self.clock = Clock()
        times = ServiceTimes(first_s=0.01)
        self.queue = WorkQueue(slots, wait_limit_s, most=most, times=times, clock=self.clock)
        self.turns: list[str] = []
        self._threads = ThreadPoolExecutor(64)
        self.working = [self.queue.enter("Route", ROUTE, Caller()) for _ in range(slots)]

    def wait(
        self, name: str, priority: Priority = ROUTE, caller: Caller | None = None, **options: bool
    ) -> Future[None]:
        """A call that waits for its turn, and leaves as soon as it has had it."""
        before = self.queue.waiting
        done = self._threads.submit(self._turn, name, priority, caller or Caller(), options)
        wait_until(lambda: self.queue.waiting > before or done.done())
        return done

    def _turn(
        self, name: str, priority: Priority, caller: Caller, options: dict[str, bool]
    ) -> None:
        since = self.queue.enter("Route", priority, caller, **options)
        self.turns.append(name)
        self.queue.leave("Route", since)

    def finish(self) -> None:
        """The calls that are worked on end."""
        for since in self.working:
            self.queue.leave("Route", since)


def test_a_call_is_admitted_up_to_the_expected_wait_and_refused_beyond_it() -> None:
    service = Service(wait_limit_s=0.05)  # five calls of 10 ms
    waiting = [service.wait(f"{number}") for number in range(5)]
    assert service.queue.refusal(ROUTE) is None  # exactly 50 ms are ahead
    waiting.append(service.wait("the last"))
    assert service.queue.refusal(ROUTE) is not None
    with pytest.raises(Throttled) as refused:
        service.queue.enter("Route", ROUTE, Caller())
    assert refused.value.reason == "OVERLOADED"
    assert service.queue.refused == 2
    service.finish()
    for call in waiting:
        call.result(PATIENCE_S)
    assert service.turns == ["0", "1", "2", "3", "4", "the last"]
    assert service.queue.refusal(ROUTE) is None


def test_two_slots_let_twice_as_many_wait() -> None:
    service = Service(slots=2, wait_limit_s=0.05)
    waiting = [service.wait(f"{number}") for number in range(11)]
    with pytest.raises(Throttled):
        service.queue.enter("Route", ROUTE, Caller())
    service.finish()
    assert [call.result(PATIENCE_S) for call in waiting] == [None] * 11


def test_however_short_calls_are_their_number_is_bounded() -> None:
    service = Service(wait_limit_s=60, most=3)
    waiting = [service.wait(f"{number}") for number in range(3)]
    with pytest.raises(Throttled):
        service.queue.enter("Route", ROUTE, Caller())
    service.finish()
    assert [call.result(PATIENCE_S) for call in waiting] == [None] * 3


def test_a_call_is_refused_that_would_be_answered_after_its_deadline() -> None:
    service = Service()
    waiting = [service.wait("first"), service.wait("in time", caller=Caller(remaining_s=0.02))]
    with pytest.raises(Throttled):  # 20 ms ahead and 10 of its own, and 29 left
        service.queue.enter("Route", ROUTE, Caller(remaining_s=0.029))
    service.finish()
    assert [call.result(PATIENCE_S) for call in waiting] == [None, None]


def test_a_call_that_waits_for_the_store_lends_its_slot() -> None:
    service = Service()
    waiting = service.wait("next")
    assert service.queue.lend("Route", service.working.pop())
    waiting.result(PATIENCE_S)
    assert service.turns == ["next"]
    service.queue.end_loan()
    assert service.queue.refusal(ROUTE) is None


def test_where_the_store_stands_still_only_so_many_slots_are_lent() -> None:
    queue = WorkQueue(1, 60.0, most_lent=2)
    for _ in range(2):
        assert queue.lend("Route", queue.enter("Route", ROUTE, Caller()))
    last = queue.enter("Route", ROUTE, Caller())
    assert not queue.lend("Route", last)  # it keeps its slot, and the next call waits for it
    queue.end_loan()
    assert queue.lend("Route", last)
    assert queue.most_threads == 1 + 256 + 2


def test_while_calls_are_refused_one_slot_is_lent() -> None:
    queue = WorkQueue(2, 0.001, most=0)
    turns = [queue.enter("Route", ROUTE, Caller()) for _ in range(2)]
    for _ in range(6):  # of the latest calls, more than a twentieth
        with pytest.raises(Throttled):
            queue.enter("Route", ROUTE, Caller())
    assert [queue.lend("Route", since) for since in turns] == [True, False]


def test_settlements_come_before_routes_and_batches_last() -> None:
    service = Service()
    waiting = [
        service.wait("a batch", BATCH),
        service.wait("a route"),
        service.wait("another route"),
        service.wait("a settlement", FREEING),
    ]
    service.finish()
    for call in waiting:
        call.result(PATIENCE_S)
    assert service.turns == ["a settlement", "a route", "another route", "a batch"]


def test_a_settlement_is_admitted_where_routes_are_refused() -> None:
    service = Service()
    waiting = [service.wait(f"{number}") for number in range(6)]
    assert service.queue.refusal(ROUTE) is not None
    assert service.queue.refusal(FREEING) is None
    waiting.append(service.wait("a settlement", FREEING))
    service.finish()
    for call in waiting:
        call.result(PATIENCE_S)
    assert service.turns[0] == "a settlement"


def test_batches_that_wait_do_not_keep_a_route_out() -> None:
    service = Service()
    waiting = [service.wait("a batch", BATCH, bounded=False) for _ in range(20)]
    assert service.queue.refusal(ROUTE) is None
    with pytest.raises(
        Throttled
    ):  # of a batch that is not a stream, no more wait than have their turn soon
        service.queue.enter("Route", BATCH, Caller())
    waiting.append(service.wait("a route"))
    service.finish()
    for call in waiting:
        call.result(PATIENCE_S)
    assert service.turns[0] == "a route"


def test_a_caller_that_hangs_up_leaves_the_queue_at_once() -> None:
    service, caller = Service(), Caller()
    waiting = service.wait("gone", caller=caller)
    caller.hang_up()
    with pytest.raises(CallerGone):
        waiting.result(PATIENCE_S)
    assert service.queue.waiting == 0
    service.finish()
    assert service.turns == []


def test_a_deadline_that_passed_in_the_queue_gets_no_slot_and_frees_none_twice() -> None:
    service, caller = Service(), Caller(remaining_s=10)
    waiting, behind = service.wait("late", caller=caller), service.wait("behind it")
    caller.remaining_s = 0.0
    service.finish()
    with pytest.raises(CallerGone):
        waiting.result(PATIENCE_S)
    behind.result(PATIENCE_S)
    assert service.turns == ["behind it"]
    service.queue.enter("Route", ROUTE, Caller())  # the one slot
    waiting = service.wait("waits for the one slot")
    assert not waiting.done()
    service.queue.leave("Route", 0.0)
    waiting.result(PATIENCE_S)


def test_a_caller_that_has_gone_before_it_is_asked_gets_no_slot() -> None:
    queue, gone = WorkQueue(1, 0.05), Caller()
    gone.hang_up()
    with pytest.raises(CallerGone):
        queue.enter("Route", ROUTE, gone)
    queue.enter("Route", ROUTE, Caller())  # the slot is free


def test_times_are_learnt_by_kind_and_the_newest_call_weighs_a_tenth() -> None:
    times = ServiceTimes(first_s=0.010)
    times.add("Route", 0.020)
    assert (times.of("Route"), times.of("Settle")) == (pytest.approx(0.011), 0.010)


def test_a_pause_of_one_call_does_not_make_the_server_look_slow() -> None:
    times = ServiceTimes(first_s=0.010)
    times.add("Route", 6.0)  # counts as ten times the average
    assert times.of("Route") == pytest.approx(0.019)


@pytest.mark.parametrize(
    ("refused_share", "seconds"), [(0.0, 0.1), (0.5, 0.2), (0.9, 1.0), (1.0, 5.0)]
)
def test_the_more_are_refused_the_later_they_are_to_come_back(
    refused_share: float, seconds: float
) -> None:
    assert retry_after_s(0.1, refused_share) == pytest.approx(seconds)


def test_slots_are_neither_lost_nor_doubled_where_many_callers_come_and_go() -> None:
    queue, inside, most = WorkQueue(3, 60.0), [0], [0]
    lock = threading.Lock()

    def call(number: int) -> None:
        caller = Caller()
        if number % 3 == 0:
            threading.Thread(target=caller.hang_up).start()
        try:
            since = queue.enter("Route", Priority(number % 3), caller)
        except CallerGone:
            return
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        with lock:
            inside[0] -= 1
        queue.leave("Route", since)

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(call, range(2_000)))
    assert queue.waiting == 0
    assert most[0] <= 3
    for _ in range(3):
        queue.enter("Route", ROUTE, Caller())
