"""A process of the supervisor: started, heard, asked to end, started again."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from router.processes.control_line import Failed, LogLevel, Ready, Report, Statuses, Stop

__all__ = ["Child"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_spawning = multiprocessing.get_context("spawn")


class Child:
    """One process and its line. Used by one thread.

    Args:
        name: of the process.
        run: its main function; takes ``arguments``, and its end of the line as the last one.
        arguments: for ``run``; picklable.
        clock: monotonic, seconds.

    Attributes:
        is_ready: whether it does its work.
        failure: why it could not start; ``None``: it did, or has not told.
        heard_at: when it last told something.
        log_level: the lowest that it logs; empty: it has not told.
        deaths: when it died, by the clock.
        starts_at: when to start it again; ``None``: it is not due.
    """

    def __init__(
        self,
        name: str,
        run: Callable[..., None],
        arguments: tuple[Any, ...],
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._run, self._arguments, self._clock = run, arguments, clock
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._serves = False
        self._told_level = ""
        self.is_ready = False
        self.failure: Failed | None = None
        self.heard_at = 0.0
        self.log_level = ""
        self.deaths: list[float] = []
        self.starts_at: float | None = None

    @property
    def lives(self) -> bool:
        """Whether the process was started and has not been seen to end."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """Its number; 0 while there is none."""
        return (self._process.pid if self._process is not None else None) or 0

    @property
    def handles(self) -> list[Any]:
        """What becomes readable when it tells something, or ends."""
        if self._process is None:
            return []
        return [self._process.sentinel, *([self._pipe] if self._pipe is not None else [])]

    def serves(self, silent_s: float) -> bool:
        """Whether it can answer calls, by its own report, which is at most ``silent_s`` old."""
        return self._serves and self._clock() - self.heard_at <= silent_s

    def start(self) -> None:
        """Start the process."""
        self.starts_at, self.failure, self._serves, self.is_ready = None, None, False, False
        self.heard_at, self.log_level, self._told_level = self._clock(), "", ""
        self._pipe, far_end = _spawning.Pipe()
        self._process = _spawning.Process(
            target=self._run, args=(*self._arguments, far_end), name=self.name, daemon=True
        )
        # It begins with these signals blocked, until it knows what to do about them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            far_end.close()

    def listen(self) -> None:
        """Take in what it has told."""
        try:
            while self._pipe is not None and self._pipe.poll():
                message = self._pipe.recv()
                self.heard_at = self._clock()
                if isinstance(message, Failed):
                    self.failure = message
                elif isinstance(message, Ready):
                    self.is_ready = self._serves = True
                elif isinstance(message, Report):
                    self._serves, self.log_level = message.serves, message.log_level
        except (EOFError, OSError):
            self._hang_up()

    def tell_level(self, level: str) -> None:
        """Tell it the lowest level to log, once it can hear that, and unless it was told."""
        if self.is_ready and level != self._told_level:
            self._told_level = level
            self.tell(LogLevel(level))

    def tell(self, message: Statuses | Stop | LogLevel) -> None:
        """Send it a message; nothing happens where it is gone."""
        if self._pipe is not None:
            with suppress(OSError):
                self._pipe.send(message)

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it is gone."""
        if self._process is not None and self._process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def ended(self) -> int | None:
        """Its exit code, negative for a signal, once it has ended; else ``None``."""
        if self._process is None or self._process.exitcode is None:
            return None
        code = self._process.exitcode
        self.listen()
        self._hang_up()
        self._process.join()
        self._process.close()
        self._process, self._serves, self.is_ready = None, False, False
        return code

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.ended()

    def _hang_up(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
