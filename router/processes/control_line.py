"""The line between the supervisor and a process: a pipe, on which each tells the other what it must know."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

from router import logs
from router.core import errors
from router.core.errors import MitsumoriError

__all__ = ["ControlLine", "Failed", "LogLevel", "Ready", "Report", "Statuses", "Stop"]

_REPORT_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Ready:
    """A process tells that it does its work."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A process tells why it cannot start."""

    kind: str
    message: str
    reason: str
    field: str

    @classmethod
    def of(cls, error: MitsumoriError) -> Failed:
        """The message about an error."""
        return cls(type(error).__name__, error.message, error.reason, error.field)

    def error(self) -> MitsumoriError:
        """The error that the message is about."""
        kind = getattr(errors, self.kind, MitsumoriError)
        made: MitsumoriError = kind(self.message, reason=self.reason, field=self.field)
        return made


@dataclass(frozen=True, slots=True)
class Report:
    """A process tells, every second, whether it can answer calls, and the lowest level that it logs."""

    serves: bool
    log_level: str


@dataclass(frozen=True, slots=True)
class Statuses:
    """The supervisor tells which processes can answer, by name."""

    serves: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class LogLevel:
    """The supervisor tells the owner of the ledger, who reads no settings, the lowest level to log."""

    level: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The supervisor tells the owner of the ledger that nobody needs it any more."""


class ControlLine:
    """A process's end of the line, with a thread that reads it. Thread-safe.

    Args:
        pipe: to the supervisor.
        report: whether this process can answer calls.
        on_statuses: called with what the supervisor tells of all processes.
        on_end: called once, with whether the supervisor said so, when this process shall end: or else
            the supervisor is gone.
    """

    def __init__(
        self,
        pipe: Connection,
        *,
        report: Callable[[], bool] = lambda: True,
        on_statuses: Callable[[Mapping[str, bool]], None] = lambda _: None,
        on_end: Callable[[bool], None],
    ) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self.report = report
        self.on_statuses = on_statuses
        self._on_end = on_end
        threading.Thread(target=self._listen, name="control-line", daemon=True).start()

    def tell(self, message: Ready | Failed | Report) -> None:
        """Send a message; nothing happens where the supervisor is gone."""
        with self._lock, suppress(OSError):
            self._pipe.send(message)

    def _listen(self) -> None:
        try:
            while True:
                if not self._pipe.poll(_REPORT_EVERY_S):
                    self.tell(Report(self.report(), logs.level()))
                    continue
                message = self._pipe.recv()
                if isinstance(message, Statuses):
                    self.on_statuses(message.serves)
                elif isinstance(message, LogLevel):
                    logs.set_level(message.level)
                elif isinstance(message, Stop):
                    return self._on_end(True)
        except (EOFError, OSError):
            self._on_end(False)
