"""The audit log: who administered what, and when. Lines are only ever added.

An administrative call is written before it is carried out, and once more when it is done or refused. Where
the first line cannot be written, nothing is done.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from router.clock import utc_now
from router.core.errors import MitsumoriError, Unavailable
from router.logs import logger

__all__ = ["AuditLog"]

_MOST_CHARACTERS = 4096


class AuditLog:
    """Lines of JSON in a file that only its owner reads, and in the log of the process.

    Args:
        path: the file; ``None``: only the log of the process.
        now: the clock, UTC.
        logs: whether the process has a log; a command has none.
    """

    def __init__(
        self, path: Path | None, now: Callable[[], datetime] = utc_now, *, logs: bool = True
    ) -> None:
        self._path, self._now, self._logs = path, now, logs

    @contextmanager
    def recorded(
        self, who: str, action: str, facts: Mapping[str, Any], peer: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Record what the block does; what it adds to the yielded facts is recorded when it is done.

        Args:
            who: the caller's name.
            action: such as ``SetLimit``.
            facts: what it concerns; JSON-ready, without secrets; kept up to 4,096 characters.
            peer: where it came from; empty: this machine.

        Raises:
            Unavailable: the log cannot be written; the block was not entered.
        """
        facts = _cut(facts)
        self._write("asked", who, action, facts, peer)
        try:
            yield facts
        except Exception as error:
            reason = error.reason if isinstance(error, MitsumoriError) else type(error).__name__
            self._write_after("refused", who, action, {**facts, "reason": reason}, peer)
            raise
        self._write_after("done", who, action, facts, peer)

    def refused(
        self, who: str, action: str, facts: Mapping[str, Any], reason: str, peer: str = ""
    ) -> None:
        """Record an action that was refused before it could begin.

        Args:
            who: as for :meth:`recorded`, like the next two.
            action: see ``who``.
            facts: see ``who``.
            reason: why; machine-readable.
            peer: where it came from; empty: this machine.
        """
        self._write_after("refused", who, action, {**_cut(facts), "reason": reason}, peer)

    def _write_after(self, outcome: str, *what: Any) -> None:
        with suppress(Unavailable):  # it is done, and was announced
            self._write(outcome, *what)

    def _write(
        self, outcome: str, who: str, action: str, facts: Mapping[str, Any], peer: str
    ) -> None:
        line = {
            "time": self._now().isoformat(timespec="milliseconds"),
            "who": who,
            "peer": peer,
            "action": action,
            "outcome": outcome,
            **facts,
        }
        if self._logs and outcome != "asked":
            # Where there is no file, this is the only record, also where the log says little else.
            say = logger().info if self._path is not None else logger().warning
            say("audit", **{key: value for key, value in line.items() if key != "time"})
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _add(
                self._path, json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            )
        except OSError as error:
            raise self._unwritable(error.strerror or type(error).__name__) from None

    def _unwritable(self, why: str) -> Unavailable:
        place = f" {self._path}"
        if self._logs:  # the caller of a server gets no path of it
            logger().error("audit_log_failed", path=str(self._path), error=why)
            place = ""
        return Unavailable(
            f"the audit log{place} cannot be written ({why}), so nothing was changed; "
            "free the disk or name another file with audit_log",
            reason="AUDIT_LOG_UNAVAILABLE",
        )


def _add(path: Path, line: bytes) -> None:
    """Add a line to a file, on a line of its own whatever the file ends with, and have it on the disk.

    Raises:
        OSError: it was not added, or not whole. What was added of it stays.
    """
    # Opening a pipe that nobody reads would wait for a reader.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    handle = os.open(path, flags, 0o600)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file")
        if status.st_size and os.pread(handle, 1, status.st_size - 1) != b"\n":
            line = b"\n" + line  # the disk was full in the middle of the last one
        # One write per line, so that lines of several processes never mix.
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    finally:
        os.close(handle)


def _cut(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts; where they are long, the beginning of their text. A caller could fill the disk with them."""
    text = json.dumps(facts, ensure_ascii=False)
    return dict(facts) if len(text) <= _MOST_CHARACTERS else {"cut": text[:_MOST_CHARACTERS]}
