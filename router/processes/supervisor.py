"""Serves with several processes behind one port: starts them, watches them, starts them again, stops them."""

from __future__ import annotations

import os
import signal
import socket
import time
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path
from tempfile import TemporaryDirectory

from router.core.addresses import host_port
from router.core.errors import InvalidInput, MitsumoriError
from router.ledger.address import has_one_writer, ledger_place
from router.logs import level, logger, set_level
from router.processes import ledger_owner, serving_process
from router.processes.child import Child
from router.processes.control_line import Statuses, Stop
from router.processes.restarts import MAX_DEATHS, WITHIN_S, restart_delay
from router.processes.serving_process import Seat
from router.rpc.ports import reserved_port
from router.rpc.protection import check_settings
from router.rpc.settings_change import SettingsFile
from router.settings import Settings

__all__ = ["Supervisor", "serve_by_processes"]

_LEDGER_OWNER = "ledger"
_SILENT_S = 10.0
"""A process that has told nothing for so long is taken for one that cannot answer."""
_HUNG_S = 60.0
"""A process that has told nothing for so long is killed, and replaced as one that has died."""
_GAP_S = 5.0
"""Between two looks: after more than that the supervisor itself stood still, as with a whole container."""
_STEP_S = 1.0
_END_S = 15.0
"""Seconds that a process may take to end, beside what calls in flight may take."""
_WAITING_CALLS = 4096
"""Connections that wait for the ledger's owner, as while it is started again."""


class Supervisor:
    """Keeps processes running until it is told to stop.

    Args:
        serving: the processes that answer calls.
        owner: the one that has the store for them; ``None``: there is none.
        drain_s: seconds that calls in flight may take to finish.
        signals: a descriptor from which the numbers of signals are read, a byte each.
        hung_s: seconds of silence after which a process is killed, > 0. Time that passes while the supervisor
            itself stands still does not count.
        clock: monotonic, seconds.
    """

    def __init__(
        self,
        serving: Sequence[Child],
        owner: Child | None,
        *,
        drain_s: float,
        signals: int,
        hung_s: float = _HUNG_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._serving, self._owner = serving, owner
        self._all = [*serving] if owner is None else [owner, *serving]
        self._patience_s = drain_s + _END_S
        self._signals, self._hung_s, self._clock = signals, hung_s, clock
        self._looked = self._awake_since = clock()
        self._announced = self._stopping = False
        self._kept = list(self._all)
        self._told: dict[str, bool] = {}

    def run(self, on_ready: Callable[[], None]) -> None:
        """Start the processes; return once a signal to stop has come, and all have ended.

        Args:
            on_ready: called once all of them do their work.

        Raises:
            MitsumoriError: a process cannot start, dies again and again, or does not end.
        """
        try:
            for child in self._all:
                _start(child)
            self._watch(on_ready)
        except MitsumoriError:
            with suppress(MitsumoriError):
                self._end()  # the others still answer what they have begun
            raise
        else:
            self._end()
        finally:
            for child in reversed(self._all):
                child.kill()

    def _watch(self, on_ready: Callable[[], None]) -> None:
        while not self._stopping:
            self._step()
            if not self._announced and all(child.is_ready for child in self._all):
                self._announced = True
                on_ready()

    def _step(self) -> None:
        """Wait for something to happen, and see to it."""
        waiting = [at - self._clock() for child in self._all if (at := child.starts_at) is not None]
        handles = [handle for child in self._all for handle in child.handles]
        happened = wait([self._signals, *handles], max(min([_STEP_S, *waiting]), 0.0))
        self._note_gap()
        for child in self._all:
            child.listen()
            self._kill_if_hung(child)
            code = child.ended()
            if code is not None:
                self._see_to_death(child, code)
            if child.starts_at is not None and child.starts_at <= self._clock():
                _start(child)
        if self._signals in happened:
            self._obey(os.read(self._signals, 64))
        self._follow_log_level()
        self._tell_statuses()

    def _follow_log_level(self) -> None:
        """Log what those log that follow the settings."""
        theirs = next((child.log_level for child in self._serving if child.log_level), "")
        if not theirs:
            return
        if theirs != level():
            set_level(theirs)
            logger().info("log_level_changed", now=theirs)
        if self._owner is not None:
            self._owner.tell_level(theirs)

    def _note_gap(self) -> None:
        now = self._clock()
        if now - self._looked > _GAP_S:
            self._awake_since = now
        self._looked = now

    def _kill_if_hung(self, child: Child) -> None:
        silent_s = self._looked - max(child.heard_at, self._awake_since)
        if not child.is_ready or self._stopping or silent_s <= self._hung_s:
            return
        logger().error("process_hung", name=child.name, number=child.pid, silent_s=round(silent_s))
        child.is_ready = False
        child.signal(signal.SIGKILL)

    def _see_to_death(self, child: Child, code: int) -> None:
        if child not in self._kept:
            return
        if not self._announced:
            raise _not_started(child, code)
        if code == 0:  # somebody asked this one to stop
            logger().info("process_ended", name=child.name)
            child.starts_at = self._clock()
            return
        child.deaths = [*child.deaths[-MAX_DEATHS:], self._clock()]
        delay = restart_delay(child.deaths)
        if delay is None:
            raise MitsumoriError(
                f"the process {child.name} died again and again within {WITHIN_S:g} s, last with "
                f"{_shown(code)}{_because(child)}; the log says more",
                reason="PROCESS_DIES",
            )
        child.starts_at = self._clock() + delay
        logger().error("process_died", name=child.name, end=_shown(code), starts_in_s=delay)

    def _obey(self, numbers: bytes) -> None:
        if signal.SIGHUP in numbers:
            for child in self._serving:
                if child.is_ready:
                    child.signal(signal.SIGHUP)
        if signal.SIGTERM in numbers or signal.SIGINT in numbers:
            self._stopping = True

    def _tell_statuses(self) -> None:
        now = {child.name: child.serves(_SILENT_S) for child in self._all}
        if now == self._told or not self._announced:
            return
        for name, serves in now.items():
            if self._told.get(name, True) and not serves and not self._stopping:
                logger().warning("process_cannot_answer", name=name)
        self._told = now
        for child in self._serving:
            if child.is_ready:
                child.tell(Statuses(now))

    def _end(self) -> None:
        """Stop the processes that serve, then the owner of the ledger, which they need until then."""
        self._stopping = True
        self._kept = [] if self._owner is None or not self._announced else [self._owner]
        for child in self._serving:
            child.starts_at = None
            child.signal(signal.SIGTERM)
        self._wait_for(self._serving)
        self._kept = []
        if self._owner is not None:
            self._owner.starts_at = None
            self._owner.tell(Stop())
            self._wait_for([self._owner])

    def _wait_for(self, children: Sequence[Child]) -> None:
        until = self._clock() + self._patience_s
        while any(child.lives for child in children):
            if self._clock() > until:
                names = ", ".join(child.name for child in children if child.lives)
                raise MitsumoriError(
                    f"{names} did not end within {self._patience_s:g} s and had to be killed",
                    reason="PROCESS_HANGS",
                )
            self._step()


def _start(child: Child) -> None:
    child.start()
    logger().info("process_started", name=child.name, number=child.pid)


def _not_started(child: Child, code: int) -> MitsumoriError:
    if child.failure is not None:
        return child.failure.error()
    return MitsumoriError(
        f"the process {child.name} ended with {_shown(code)} before it could serve; the log says more",
        reason="PROCESS_DIES",
    )


def _shown(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def _because(child: Child) -> str:
    return "" if child.failure is None else f" ({child.failure.message})"


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of the signals to stop and to reload can be read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def on_signal(number: int, _frame: types.FrameType | None) -> None:
        with suppress(BlockingIOError):  # it is full of signals
            os.write(writer, bytes([number]))

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def serve_by_processes(
    settings: Settings,
    file: SettingsFile | None = None,
    *,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve with several processes until SIGTERM or SIGINT, then drain. SIGHUP looks at what has changed.

    A store in memory or in SQLite belongs to a process of its own, which the others call. With PostgreSQL,
    each process has connections of its own.

    Args:
        settings: of the service.
        file: where they came from; followed while the service runs. ``None``: there is none.
        on_ready: called with the address once all processes are warm and healthy.

    Raises:
        MitsumoriError: a process cannot start, or dies again and again.
    """
    check_settings(settings)  # before anything that takes time
    place = ledger_place(settings.ledger)
    with ExitStack() as opened, _signals() as signals:
        port = _reserved(opened, settings.host, settings.port, "port")
        assert settings.admin_address is not None  # noqa: S101 — several processes: it has a port
        admin_host, admin_port = settings.admin_address
        admin_port = _reserved(opened, admin_host, admin_port, "admin_port")
        owner, path = None, None
        if has_one_writer(settings.ledger):
            path, listener = _listening(opened)
            log = (settings.log_level, settings.log_format)
            of_owner = (_LEDGER_OWNER, settings.ledger, listener, log, settings.drain_s + _END_S)
            owner = Child(_LEDGER_OWNER, ledger_owner.run, of_owner, time.monotonic)
        # An address may be answered by any of them, and shall not have more tries than with one.
        tries = max(settings.failed_logins_per_minute // settings.processes, 1)
        own = {"port": port, "admin_port": admin_port, "failed_logins_per_minute": tries}
        # Above the file, in which they would otherwise seem to have changed.
        followed = None if file is None else replace(file, flags={**file.flags, **own})
        work = {**dict(settings), **own}, followed
        seats = [Seat(number, path) for number in range(1, settings.processes + 1)]
        serving = [
            Child(seat.name, serving_process.run, (seat, *work), time.monotonic) for seat in seats
        ]
        address = host_port(settings.host, port)

        def announce() -> None:
            logger().info(
                "serving",
                address=address,
                admin_address=host_port(admin_host, admin_port),
                processes=settings.processes,
                ledger=place,
            )
            on_ready(address)

        Supervisor(serving, owner, drain_s=settings.drain_s, signals=signals).run(announce)
    logger().info("stopped")


def _reserved(opened: ExitStack, host: str, port: int, setting: str) -> int:
    keeper = opened.enter_context(closing(reserved_port(host, port, setting)))
    number: int = keeper.getsockname()[1]
    return number


def _listening(opened: ExitStack) -> tuple[Path, socket.socket]:
    """A socket that only this user can call, and that outlives the process that answers."""
    try:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="mitsumori-")))
        path = folder / _LEDGER_OWNER
        listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_WAITING_CALLS)
    except OSError as error:
        why = error.strerror or str(error)
        raise InvalidInput(
            f"no socket can be made in a temporary folder ({why}); name another folder with TMPDIR",
            reason="NO_SOCKET",
        ) from None
    return path, listener
