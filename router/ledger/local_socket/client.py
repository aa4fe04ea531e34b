"""The ledger that another process of this machine offers."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from router.core.errors import Unavailable
from router.core.limits import Limit, LimitState
from router.ledger import storage_format
from router.ledger.base import (
    Amendment,
    AmendResult,
    Hold,
    HoldResult,
    HoldState,
    Settlement,
    SettleResult,
    StoredDecision,
    StoredTask,
    Totals,
)
from router.ledger.local_socket.frames import FrameSocket
from router.ledger.local_socket.messages import OBSERVATIONS, decoded_result, encoded_request
from router.ledger.shared_state import SharedChanges, SharedRow
from router.ledger.time_budget import begin_wait, seconds_left
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["SocketLedger"]

_LONG_S = 600.0
"""For what reads or deletes any number of decisions."""
_TRIES = 2
"""How often a call is sent, where the process that has it ends. A call may kill it, and must not for ever."""


class SocketLedger:
    """Implements :class:`base.Ledger` by calls of the process that has the store.

    Each call has a connection of its own, one that is free or a new one. Where the other process ends during
    a call, the call is made once more to its successor; since every call may be repeated, it does not matter
    whether the first was carried out.

    Args:
        path: of the Unix domain socket.
        timeout_s: seconds that a caller waits for its result, > 0.
        observer: is told of commits of the store with each :meth:`check`; of each, one process is told.
    """

    def __init__(
        self, path: Path, *, timeout_s: float = 10.0, observer: Observer = UNOBSERVED
    ) -> None:
        self._path = str(path)
        self._observer = observer
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._free: deque[FrameSocket] = deque()
        self._closed = False

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        return self._call("now")  # type: ignore[no-any-return]

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        return self._call("view", options)  # type: ignore[no-any-return]

    def earlier_reply(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """See :meth:`Ledger.earlier_reply`."""
        return self._call("earlier_reply", decision_id, fingerprint, tenant)  # type: ignore[no-any-return]

    def hold(self, hold: Hold) -> HoldResult:
        """See :meth:`Ledger.hold`."""
        begin_wait()
        return self._call(  # type: ignore[no-any-return]
            "hold", hold, check=lambda: storage_format.check_hold(hold)
        )

    def settle(self, settlement: Settlement) -> SettleResult:
        """See :meth:`Ledger.settle`."""
        # First, because the socket would carry more kinds of values than JSON has.
        storage_format.check_settlement(settlement)
        begin_wait()
        return self._call("settle", settlement)  # type: ignore[no-any-return]

    def amend(self, amendment: Amendment) -> AmendResult:
        """See :meth:`Ledger.amend`."""
        return self._call(  # type: ignore[no-any-return]
            "amend", amendment, check=lambda: storage_format.check_amendment(amendment)
        )

    def release(self, decision_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.release`."""
        return self._call("release", decision_id, tenant)  # type: ignore[no-any-return]

    def end_task(self, task_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.end_task`."""
        return self._call("end_task", task_id, tenant)  # type: ignore[no-any-return]

    def task(self, task_id: str) -> StoredTask | None:
        """See :meth:`Ledger.task`."""
        return self._call("task", task_id)  # type: ignore[no-any-return]

    def tasks(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: HoldState | None = None,
        count: int = 100,
    ) -> list[StoredTask]:
        """See :meth:`Ledger.tasks`."""
        return self._call(  # type: ignore[no-any-return]
            "tasks",
            labels,
            state,
            count,
            check=lambda: storage_format.check_labels(labels or {}),
            most_s=_LONG_S,
        )

    def expire(self) -> int:
        """See :meth:`Ledger.expire`."""
        return self._call("expire")  # type: ignore[no-any-return]

    def set_limit(self, limit: Limit) -> None:
        """See :meth:`Ledger.set_limit`."""
        self._call("set_limit", limit, check=lambda: storage_format.check_limit(limit))

    def delete_limit(self, limit_id: str) -> bool:
        """See :meth:`Ledger.delete_limit`."""
        return self._call("delete_limit", limit_id)  # type: ignore[no-any-return]

    def limits(self) -> list[Limit]:
        """See :meth:`Ledger.limits`."""
        return self._call("limits")  # type: ignore[no-any-return]

    def decision(self, decision_id: str) -> StoredDecision | None:
        """See :meth:`Ledger.decision`."""
        return self._call("decision", decision_id)  # type: ignore[no-any-return]

    def owner(self, decision_id: str) -> str | None:
        """See :meth:`Ledger.owner`."""
        return self._call("owner", decision_id)  # type: ignore[no-any-return]

    def decisions(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        after: str | None = None,
        count: int = 100,
        newest_first: bool = False,
    ) -> list[StoredDecision]:
        """See :meth:`Ledger.decisions`."""
        return self._call(  # type: ignore[no-any-return]
            "decisions",
            labels,
            since,
            until,
            state,
            after,
            count,
            newest_first,
            check=lambda: storage_format.check_labels(labels or {}),
            most_s=_LONG_S,
        )

    def totals(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        state: HoldState | None = None,
        by_time: bool = False,
    ) -> list[tuple[Mapping[str, str], datetime | None, Totals]]:
        """See :meth:`Ledger.totals`."""
        return self._call(  # type: ignore[no-any-return]
            "totals",
            labels,
            since,
            until,
            state,
            by_time,
            check=lambda: storage_format.check_labels(labels or {}),
            most_s=_LONG_S,
        )

    def open_holds(self) -> tuple[int, int]:
        """See :meth:`Ledger.open_holds`."""
        return self._call("open_holds")  # type: ignore[no-any-return]

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """See :meth:`Ledger.erase`."""
        return self._call(  # type: ignore[no-any-return]
            "erase",
            labels,
            before,
            check=lambda: storage_format.check_labels(labels),
            most_s=_LONG_S,
        )

    def publish(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`Ledger.publish`."""
        self._call("publish", rows, check=lambda: storage_format.check_shared(rows))

    def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
        """See :meth:`Ledger.published`."""
        return self._call("published", kinds, since)  # type: ignore[no-any-return]

    def check(self) -> None:
        """See :meth:`Ledger.check`."""
        self._call("check")
        self._call(OBSERVATIONS).tell(self._observer)

    def close(self) -> None:
        """End the connections; calls that have begun are finished by their callers."""
        with self._lock:
            self._closed = True
        self._close_free()

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────

    def _call(
        self,
        method: str,
        *arguments: Any,
        check: Callable[[], object] = lambda: None,
        most_s: float | None = None,
    ) -> Any:
        """Call a method of the other process.

        Args:
            method: of the ledger.
            arguments: all of them, in their order.
            check: says what is wrong with arguments that cannot be sent.
            most_s: seconds that it may take; ``None``: as for all.
        """
        wait_s = seconds_left(self._timeout_s if most_s is None else most_s)
        ends_at = time.monotonic() + wait_s
        try:
            frame = encoded_request(ends_at, method, arguments)
        except (OverflowError, TypeError, UnicodeEncodeError):
            check()
            frame = encoded_request(ends_at, method, tuple(map(_sendable, arguments)))
        for _ in range(_TRIES):
            try:
                return decoded_result(method, self._exchanged(frame, ends_at))
            except TimeoutError:
                raise Unavailable(f"the store did not answer within {wait_s:.3g} s") from None
            except (EOFError, OSError, ValueError):
                # Those that are free are as old, and lead to the same process.
                self._close_free()
        raise Unavailable("the process that has the store ended during the call; repeat it")

    def _exchanged(self, frame: bytes, ends_at: float) -> bytes:
        connection = self._taken(ends_at)
        try:
            connection.send(frame)
            reply = connection.receive(ends_at)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if not self._closed:
                self._free.append(connection)
                return reply
        connection.close()
        return reply

    def _taken(self, ends_at: float) -> FrameSocket:
        with self._lock:
            if self._closed:
                raise Unavailable("the ledger is closed")
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = self._connected(ends_at)
        connection.limit(ends_at)
        return connection

    def _connected(self, ends_at: float) -> FrameSocket:
        new = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection = FrameSocket(new)
        connection.limit(ends_at)
        try:
            new.connect(self._path)
        except TimeoutError:
            connection.close()
            raise
        except OSError:
            connection.close()
            raise Unavailable(
                "the process that has the store cannot be reached; try again later"
            ) from None
        return connection

    def _close_free(self) -> None:
        with self._lock:
            free, self._free = self._free, deque()
        for connection in free:
            connection.close()


def _sendable(argument: Any) -> Any:
    """An argument; for a text that no store can keep, such as a lone surrogate, another such text."""
    unknown = isinstance(argument, str) and not storage_format.storable(argument)
    return "\0" if unknown else argument
