"""The audit log: who administered what, and when. Lines are only ever added.

An administrative call is written before it is carried out, and once more when it is done or refused. Where
the first line cannot be written, nothing is done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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

    def _write_after(self, outcome: str, *what: Any) -> None:
        try:
            self._write(outcome, *what)
        except Unavailable as error:  # it is done, and was announced
            if self._logs:
                logger().error("audit_log_failed", error=error.message)

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
            logger().info("audit", **{key: value for key, value in line.items() if key != "time"})
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(
                self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                # One write per line, so that lines of several processes never mix.
                os.write(
                    handle, (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "replace")
                )
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise Unavailable(
                f"the audit log {self._path} cannot be written ({error.strerror}), so nothing was changed; "
                "free the disk or name another file with audit_log",
                reason="AUDIT_LOG_UNAVAILABLE",
            ) from None


def _cut(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts; where they are long, the beginning of their text. A caller could fill the disk with them."""
    text = json.dumps(facts, ensure_ascii=False)
    return dict(facts) if len(text) <= _MOST_CHARACTERS else {"cut": text[:_MOST_CHARACTERS]}
