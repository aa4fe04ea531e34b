"""Processes that do nothing but live, die, or hang; each is the main function of a real one."""

from __future__ import annotations

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

from router.processes.control_line import Failed, LogLevel, Ready, Report, Stop


def lives(pipe: Connection) -> None:
    """Ends by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    pipe.send(Ready())
    while True:
        time.sleep(3600)


def lives_and_says_goodbye(ended: Path, pipe: Connection) -> None:
    """Ends by SIGTERM, and makes a file then."""

    def end(*_: object) -> None:
        ended.touch()
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    pipe.send(Ready())
    while True:
        time.sleep(3600)


def owns(pipe: Connection) -> None:
    """Ends when it is told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send(Ready())
    while not isinstance(pipe.recv(), Stop):
        pass


def lives_and_logs(level: str, pipe: Connection) -> None:
    """Follows settings by which it logs so much. Ends by SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    pipe.send(Ready())
    while True:
        pipe.send(Report(serves=True, log_level=level))
        time.sleep(0.1)


def owns_and_notes(told: Path, pipe: Connection) -> None:
    """Ends when it is told; notes the levels that it was told, a line each."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send(Ready())
    while not isinstance(message := pipe.recv(), Stop):
        if isinstance(message, LogLevel):
            with told.open("a") as notes:
                notes.write(f"{message.level}\n")


def dies(pipe: Connection) -> None:
    """Works, and is killed once it is told that it does."""
    pipe.send(Ready())
    pipe.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def dies_first(_: Connection) -> None:
    os._exit(7)


def fails(pipe: Connection) -> None:
    pipe.send(
        Failed("BadArtifact", "the bundle is damaged; train another", "BAD_ARTIFACT", "bundle")
    )
    sys.exit(2)


def hangs(pipe: Connection) -> None:
    """Ends by SIGKILL alone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send(Ready())
    while True:
        time.sleep(3600)
