"""What the supervisor does about its processes. They are real, and do nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from router import logs
from router.core.errors import BadArtifact, MitsumoriError
from router.processes.child import Child
from router.processes.supervisor import Supervisor
from tests.readiness import PATIENCE_S, wait_until
from tests.router.processes import doubles

Run = Callable[[Connection], None]


@pytest.fixture
def signals() -> Iterator[tuple[int, int]]:
    """The ends of a pipe with the numbers of signals."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def child(name: str, run: Run) -> Child:
    return Child(name, run, (), time.monotonic)


class Watched:
    """A supervisor in a thread."""

    def __init__(
        self,
        signals: tuple[int, int],
        *serving: Run,
        owner: Run | None = None,
        drain_s: float = 60,
        hung_s: float = 60,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.looks = 0

        def counted() -> float:
            self.looks += 1
            return clock()

        self.serving = [Child(f"serving-{n}", run, (), clock) for n, run in enumerate(serving, 1)]
        self.owner = None if owner is None else Child("ledger", owner, (), clock)
        self._write = signals[1]
        supervisor = Supervisor(
            self.serving,
            self.owner,
            drain_s=drain_s,
            signals=signals[0],
            hung_s=hung_s,
            clock=counted,
        )
        self.ready = threading.Event()
        self.error: MitsumoriError | None = None

        def run() -> None:
            try:
                supervisor.run(self.ready.set)
            except MitsumoriError as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def send(self, number: int) -> None:
        os.write(self._write, bytes([number]))

    def end(self) -> MitsumoriError | None:
        """What the supervisor raised, once it has returned; none of its processes is left then."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        assert not any(each.lives for each in [*self.serving, *([self.owner] * bool(self.owner))])
        return self.error


def test_it_is_ready_when_all_are_and_stops_all(signals: tuple[int, int]) -> None:
    watched = Watched(signals, doubles.lives, doubles.lives, owner=doubles.owns)
    assert watched.ready.wait(PATIENCE_S)
    watched.send(signal.SIGTERM)
    assert watched.end() is None


def test_a_process_that_dies_is_replaced(signals: tuple[int, int]) -> None:
    watched = Watched(signals, doubles.lives, owner=doubles.owns)
    assert watched.ready.wait(PATIENCE_S)
    assert watched.owner is not None
    for one in (watched.serving[0], watched.owner):
        before = one.pid
        os.kill(before, signal.SIGKILL)
        wait_until(lambda one=one, before=before: one.pid not in (0, before) and one.is_ready)
    watched.send(signal.SIGINT)
    assert watched.end() is None


def test_a_process_that_is_silent_for_too_long_is_killed_and_replaced(
    signals: tuple[int, int],
) -> None:
    watched = Watched(signals, doubles.hangs, hung_s=0.5)
    assert watched.ready.wait(PATIENCE_S)
    (one,) = watched.serving
    before = one.pid
    wait_until(lambda: one.pid not in (0, before))
    watched.send(signal.SIGTERM)
    watched.end()


def test_time_in_which_the_supervisor_stood_still_counts_for_nobody(
    signals: tuple[int, int],
) -> None:
    """As where a whole container is paused: every process seems to have been silent."""
    late_s = 0.0
    watched = Watched(
        signals, doubles.lives, owner=doubles.owns, clock=lambda: time.monotonic() + late_s
    )
    assert watched.ready.wait(PATIENCE_S)
    before = [one.pid for one in (*watched.serving, watched.owner) if one is not None]
    for pauses in range(1, 4):
        looks = watched.looks
        late_s = 3600.0 * pauses
        wait_until(lambda looks=looks: watched.looks > looks + 1)
    assert [one.pid for one in (*watched.serving, watched.owner) if one is not None] == before
    watched.send(signal.SIGTERM)
    assert watched.end() is None


def test_a_process_that_dies_again_and_again_ends_the_service_with_one_line(
    signals: tuple[int, int],
) -> None:
    error = Watched(signals, doubles.lives, doubles.dies).end()
    assert error is not None
    assert error.reason == "PROCESS_DIES"
    assert error.message == (
        "the process serving-2 died again and again within 60 s, last with signal SIGKILL; the log says more"
    )


def test_the_others_end_in_good_order_where_one_dies_again_and_again(
    signals: tuple[int, int], tmp_path: Path
) -> None:
    ended = tmp_path / "ended"
    others = [Child("serving-1", doubles.lives_and_says_goodbye, (ended,), time.monotonic)]
    dying = child("serving-2", doubles.dies)
    with pytest.raises(MitsumoriError, match="serving-2 died again and again"):
        Supervisor([*others, dying], None, drain_s=60, signals=signals[0]).run(lambda: None)
    assert ended.exists()


def test_why_a_process_cannot_start_is_why_the_service_cannot(signals: tuple[int, int]) -> None:
    error = Watched(signals, doubles.lives, doubles.fails).end()
    assert isinstance(error, BadArtifact)
    assert (error.message, error.field) == ("the bundle is damaged; train another", "bundle")


def test_a_process_that_ends_before_it_serves_is_named(signals: tuple[int, int]) -> None:
    error = Watched(signals, doubles.dies_first).end()
    assert error is not None
    assert error.message == (
        "the process serving-1 ended with code 7 before it could serve; the log says more"
    )


def test_a_stop_during_the_start_ends_it(signals: tuple[int, int]) -> None:
    os.write(signals[1], bytes([signal.SIGTERM]))
    watched = Watched(signals, doubles.lives, owner=doubles.owns)
    assert watched.end() is None
    assert not watched.ready.is_set()


def test_a_process_that_does_not_end_is_killed_and_named(signals: tuple[int, int]) -> None:
    watched = Watched(signals, doubles.hangs, owner=doubles.owns, drain_s=-15)  # 15 more to end
    assert watched.ready.wait(PATIENCE_S)
    watched.send(signal.SIGTERM)
    error = watched.end()
    assert error is not None
    assert error.reason == "PROCESS_HANGS"
    assert "serving-1 did not end" in error.message


@pytest.fixture
def _same_level_afterwards() -> Iterator[None]:
    before = logs.level()
    yield
    logs.set_level(before)


@pytest.mark.usefixtures("_same_level_afterwards")
def test_supervisor_and_owner_log_what_those_log_that_follow_the_settings(
    signals: tuple[int, int], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    logs.set_level("error")
    serving = [
        Child("serving-1", doubles.lives_and_logs, ("warning",), time.monotonic),
        child("serving-2", doubles.lives),
    ]
    owner = Child("ledger", doubles.owns_and_notes, (told,), time.monotonic)
    supervisor = Supervisor(serving, owner, drain_s=60, signals=signals[0])
    ready = threading.Event()
    thread = threading.Thread(target=supervisor.run, args=(ready.set,))
    thread.start()
    assert ready.wait(PATIENCE_S)
    wait_until(lambda: told.exists() and told.read_text() == "warning\n")
    assert logs.level() == "warning"
    before = owner.pid
    os.kill(before, signal.SIGKILL)  # its successor is told as well, and neither of them twice
    wait_until(lambda: told.read_text() == "warning\nwarning\n")
    os.write(signals[1], bytes([signal.SIGTERM]))
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert told.read_text() == "warning\nwarning\n"


def test_a_signal_to_reload_reaches_those_that_serve(signals: tuple[int, int]) -> None:
    # The process has no handler for it, so that it ends; the next one is started.
    watched = Watched(signals, doubles.lives, owner=doubles.owns)
    assert watched.ready.wait(PATIENCE_S)
    before = watched.serving[0].pid
    watched.send(signal.SIGHUP)
    wait_until(lambda: watched.serving[0].pid not in (0, before) and watched.serving[0].is_ready)
    assert watched.owner is not None
    assert watched.owner.deaths == []
    watched.send(signal.SIGTERM)
    assert watched.end() is None
