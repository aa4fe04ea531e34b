"""The store of another process: what its callers see when that process is away, slow, or another one."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from router.core.errors import Conflict, InvalidInput, MitsumoriError, Unavailable
from router.ledger.base import Granted, Hold, HoldResult, Repeated
from router.ledger.local_socket.client import SocketLedger
from router.ledger.local_socket.messages import HEADER_BYTES, decoded_result, encoded_request
from router.ledger.local_socket.observations import KeptObservations
from router.ledger.local_socket.server import LedgerServer
from router.ledger.memory import MemoryLedger
from router.ledger.time_budget import time_limit
from router.telemetry.observer import Observer
from tests.readiness import PATIENCE_S
from tests.router.ledger.builders import ManualClock, balance, hold, limit, report
from tests.router.ledger.socket_store import listening


class Place:
    """Where the owner of a store is called. Like the supervisor of a service, it goes on listening."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "s"
        self.listener = listening(self.path)

    @contextmanager
    def owned(self, ledger: Any, observations: KeptObservations | None = None) -> Iterator[None]:
        with LedgerServer(ledger, self.listener.dup(), observations or KeptObservations()):
            yield


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("s"))
    yield made
    made.listener.close()


@pytest.fixture
def memory() -> MemoryLedger:
    made = MemoryLedger(ManualClock())
    made.set_limit(limit(hard=100))
    return made


@pytest.fixture
def store(place: Place) -> Iterator[SocketLedger]:
    made = SocketLedger(place.path)
    yield made
    made.close()


class DyingOwner:
    """Takes one call after the other, and hangs up instead of answering; carries them out before, or not."""

    def __init__(self, place: Place, carry_out: Callable[[], object]) -> None:
        self._listener, self._carry_out = place.listener.dup(), carry_out
        self.calls = 0

    def die(self, times: int) -> None:
        for _ in range(times):
            connected, _ = self._listener.accept()
            with connected:
                assert connected.recv(1 << 16)
                self.calls += 1
                self._carry_out()
        self._listener.close()

    def dying(self, times: int) -> threading.Thread:
        thread = threading.Thread(target=self.die, args=(times,))
        thread.start()
        return thread


def test_a_hold_whose_owner_died_is_held_once_by_the_next_owner(
    place: Place, memory: MemoryLedger, store: SocketLedger
) -> None:
    owner = DyingOwner(place, lambda: None)
    results: list[HoldResult] = []
    caller = threading.Thread(target=lambda: results.append(store.hold(hold("a", 10))))
    caller.start()
    owner.die(1)
    with place.owned(memory):
        caller.join(PATIENCE_S)
        assert [type(each) for each in results] == [Granted]
        assert balance(store) == (0, 10)


def test_a_hold_that_was_committed_before_its_owner_died_is_not_held_again(
    place: Place, memory: MemoryLedger, store: SocketLedger
) -> None:
    owner = DyingOwner(place, lambda: memory.hold(hold("a", 10)))
    results: list[HoldResult] = []
    caller = threading.Thread(target=lambda: results.append(store.hold(hold("a", 10))))
    caller.start()
    owner.die(1)
    with place.owned(memory):
        caller.join(PATIENCE_S)
        assert results == [Repeated(b"reply to a")]
        assert balance(store) == (0, 10)


def test_a_call_that_kills_its_owner_does_not_kill_the_third(
    place: Place, store: SocketLedger
) -> None:
    owner = DyingOwner(place, lambda: None)
    dying = owner.dying(2)
    with pytest.raises(Unavailable, match="ended during the call; repeat it"):
        store.hold(hold("a", 10))
    dying.join(PATIENCE_S)
    assert owner.calls == 2


def test_connections_from_before_lead_to_the_next_owner(
    place: Place, memory: MemoryLedger, store: SocketLedger
) -> None:
    start = threading.Barrier(4)

    def call() -> None:
        start.wait(PATIENCE_S)
        store.limits()

    with place.owned(memory):
        callers = [threading.Thread(target=call) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(PATIENCE_S)
    with place.owned(memory):
        assert [each.id for each in store.limits()] == ["budget"]


def test_an_owner_that_does_not_answer_is_unavailable_within_the_caller_s_time(
    place: Place, store: SocketLedger
) -> None:
    with time_limit(0.1), pytest.raises(Unavailable, match=r"did not answer within 0\.0\d+ s"):
        store.hold(hold("a", 10))


def test_a_call_whose_caller_has_gone_is_not_carried_out(
    place: Place, memory: MemoryLedger, store: SocketLedger
) -> None:
    with time_limit(0.01), pytest.raises(Unavailable):
        store.hold(hold("a", 10))
    # It waited on the socket for this owner, who answers what came after it.
    with place.owned(memory):
        assert balance(store) == (0, 0)
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(place.path))
            late.sendall(encoded_request(time.monotonic() - 1, "hold", (hold("b", 10),)))
            with pytest.raises(Unavailable, match="did not answer in time"):
                decoded_result("hold", late.recv(1 << 16)[HEADER_BYTES:])
        assert balance(store) == (0, 0)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be reached; try again later"):
        SocketLedger(tmp_path / "none").limits()


class Waiting(MemoryLedger):
    """Holds only when it may."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.begun, self.may = threading.Event(), threading.Event()

    def hold(self, hold: Hold) -> HoldResult:
        self.begun.set()
        assert self.may.wait(PATIENCE_S)
        return super().hold(hold)


def test_an_owner_that_stops_answers_what_has_begun(place: Place, store: SocketLedger) -> None:
    ledger = Waiting()
    results: list[HoldResult] = []
    caller = threading.Thread(target=lambda: results.append(store.hold(hold("a", 10))))
    owned = ExitStack()
    owned.enter_context(place.owned(ledger))
    caller.start()
    assert ledger.begun.wait(PATIENCE_S)
    stopping = threading.Thread(target=owned.close)
    stopping.start()
    ledger.may.set()
    stopping.join(PATIENCE_S)
    caller.join(PATIENCE_S)
    assert results == [Granted(())]


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", b"\0\0\0\2\x91\x01"],
)
def test_whoever_speaks_another_language_is_cut_off(
    place: Place, memory: MemoryLedger, store: SocketLedger, sent: bytes
) -> None:
    with place.owned(memory):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(place.path))
            stranger.sendall(sent)
            stranger.shutdown(socket.SHUT_WR)
            stranger.settimeout(PATIENCE_S)
            assert stranger.recv(100) == b""
        assert balance(store) == (0, 0)


@pytest.mark.parametrize("method", ["close", "__init__", "rows", "_check_open"])
def test_only_methods_of_the_ledger_can_be_called(
    place: Place, memory: MemoryLedger, method: str
) -> None:
    with place.owned(memory), socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(place.path))
        stranger.sendall(encoded_request(time.monotonic() + PATIENCE_S, method, ()))
        with pytest.raises(MitsumoriError, match="not a call of the ledger"):
            decoded_result("limits", stranger.recv(1 << 16)[HEADER_BYTES:])
    memory.check()


def test_errors_arrive_as_they_were_raised(
    place: Place, memory: MemoryLedger, store: SocketLedger
) -> None:
    with place.owned(memory):
        store.hold(hold("a", 10))
        with pytest.raises(Conflict) as conflict:
            store.hold(hold("a", 10, body="another"))
        assert conflict.value.reason == "REQUEST_ID_REUSED"
        with pytest.raises(InvalidInput) as wrong:
            store.hold(hold("b", -1))
        assert wrong.value.field == "amounts.money"
        store.settle(report("a", 7))
        with pytest.raises(Conflict) as settled:
            store.settle(report("a", 8))
        assert settled.value.reason == "ALREADY_SETTLED"


class Faulty(MemoryLedger):
    def limits(self) -> Any:
        raise ZeroDivisionError("secret text of a caller")


def test_a_fault_of_the_owner_is_internal_and_says_nothing_of_the_call(
    place: Place, store: SocketLedger
) -> None:
    with place.owned(Faulty()):
        with pytest.raises(MitsumoriError) as caught:
            store.limits()
        assert caught.value.reason == "INTERNAL"
        assert "secret" not in caught.value.message
        store.check()


class Told(Observer):
    def __init__(self) -> None:
        self.commits: list[tuple[float, int]] = []
        self.holds = 0

    def committed(self, seconds: float, operations: int) -> None:
        self.commits.append((seconds, operations))

    def expired(self, holds: int) -> None:
        self.holds += holds


def test_of_each_commit_one_process_is_told(place: Place, memory: MemoryLedger) -> None:
    kept = KeptObservations()
    kept.committed(0.001, 3)
    kept.committed(0.002, 1)
    kept.expired(2)
    first, second = Told(), Told()
    with place.owned(memory, kept):
        for each in (first, second):
            ledger = SocketLedger(place.path, observer=each)
            ledger.check()
            ledger.close()
    assert first.commits == [(0.001, 3), (0.002, 1)]
    assert first.holds == 2
    assert (second.commits, second.holds) == ([], 0)


def test_what_is_kept_for_those_who_measure_is_bounded() -> None:
    kept = KeptObservations()
    for number in range(20_000):
        kept.committed(0.0, number)
    commits = kept.taken().commits
    assert [operations for _, operations in commits] == list(range(10_000, 20_000))


def test_times_arrive_exactly(place: Place, store: SocketLedger) -> None:
    moment = datetime(2026, 11, 23, 12, 0, 0, 123_457, tzinfo=UTC)
    with place.owned(MemoryLedger(lambda: moment)):
        assert store.now() == moment
        assert store.now().tzinfo is UTC
