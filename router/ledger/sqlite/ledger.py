"""The ledger in one SQLite file.

One thread writes it (:mod:`sqlite.writer`). Readers have connections of their own and never wait for it.
"""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import apsw

from router.clock import utc_now
from router.core.errors import MitsumoriError, NotFound, shown
from router.core.limits import Limit, LimitState
from router.ledger import rules, storage_format
from router.ledger.base import (
    Amendment,
    AmendResult,
    Granted,
    Hold,
    HoldResult,
    HoldState,
    Settlement,
    SettleResult,
    StoredDecision,
    StoredTask,
    Totals,
)
from router.ledger.rows import Account, Balance, Row
from router.ledger.shared_state import SharedChanges, SharedRow
from router.ledger.sqlite import queries, shared_state
from router.ledger.sqlite.committed_balances import Sums
from router.ledger.sqlite.file import (
    open_reader,
    store_errors,
)
from router.ledger.sqlite.lock import FileLock
from router.ledger.sqlite.packed_payload import pack
from router.ledger.sqlite.write_group import Payload, WriteGroup
from router.ledger.sqlite.writer import MAX_GROUP, Operation, Writer
from router.ledger.storage_format import to_micros
from router.telemetry.observer import UNOBSERVED, Observer

__all__ = ["SqliteLedger"]

T = TypeVar("T")

_ERASED_AT_ONCE = 1_000


class SqliteLedger:
    """Implements :class:`base.Ledger` with one file that only this process writes.

    Args:
        path: the file, created if missing; ``.lock``, ``-wal`` and ``-shm`` files are beside it.
        clock: gives the current time; may go backwards.
        timeout_s: seconds that a caller waits for its result; after that the operation is dropped unless
            the writer has started it.
        busy_timeout_s: seconds that the writer waits while another program has locked the file.
        observer: is told of every commit.

    Raises:
        Unavailable: the file cannot be opened or written, or another process writes it.
        BadArtifact: the file is not a ledger, is damaged or was written by a newer version.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime] = utc_now,
        *,
        timeout_s: float = 10.0,
        busy_timeout_s: float = 2.0,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._timeout_s = timeout_s
        self._lock = FileLock(path)
        self._path = self._lock.path
        try:
            self._writer = Writer(
                self._lock, clock, busy_timeout_s=busy_timeout_s, observer=observer
            )
        except BaseException:
            self._lock.release()
            raise
        self._readers: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()

    # ── Ledger ────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        return self._writer.now()

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        self._check_usable()
        moment, committed = self.now(), self._writer.committed
        if committed.may_be_due(moment):
            self._expire_due()
        return queries.states(
            self._writer.limits, options, moment, lambda some: committed.of(some, self._read_sums)
        )

    def earlier_reply(self, decision_id: str, fingerprint: str, tenant: str) -> bytes | None:
        """See :meth:`Ledger.earlier_reply`."""
        with self._reading() as reader:
            found = queries.reply(reader, decision_id)
        if found is None:
            return None
        before_tenant, before_fingerprint, reply = found
        rules.check_same(decision_id, (before_tenant, before_fingerprint), (tenant, fingerprint))
        return reply

    def hold(self, hold: Hold) -> HoldResult:
        """See :meth:`Ledger.hold`."""
        return self._writer.submit(_hold_operation(hold)).wait(self._timeout_s)

    def hold_many(self, holds: Sequence[Hold]) -> list[HoldResult | MitsumoriError]:
        """Hold each of many, as :meth:`hold` does, in as few commits as possible.

        Each hold is independent: if :meth:`hold` would raise ``Conflict`` or ``NotFound``, the result is
        that error.

        Raises:
            InvalidInput: one of them is not valid; nothing was held.
            Unavailable: some may be committed; the same call may be repeated.
        """
        operations = [
            _holds_operation(holds[begin : begin + MAX_GROUP])
            for begin in range(0, len(holds), MAX_GROUP)
        ]
        tasks = [self._writer.submit(operation) for operation in operations]
        return [result for task in tasks for result in task.wait(self._timeout_s)]

    def settle(self, settlement: Settlement) -> SettleResult:
        """See :meth:`Ledger.settle`."""
        usage = storage_format.check_settlement(settlement)

        def run(work: WriteGroup) -> SettleResult:
            settled = rules.settle(work, settlement)
            if not settled.repeated:
                work.set_usage(settlement.id, usage)
            return settled

        return self._execute(run, settlement.id)

    def amend(self, amendment: Amendment) -> AmendResult:
        """See :meth:`Ledger.amend`."""
        storage_format.check_amendment(amendment)

        def run(work: WriteGroup) -> AmendResult:
            result = rules.amend(work, amendment, work.moment)
            if not result.repeated:
                work.amend_usage(amendment.id)
            return result

        return self._execute(run, amendment.id)

    def release(self, decision_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.release`."""
        return self._execute(lambda work: rules.release(work, decision_id, tenant), decision_id)

    def end_task(self, task_id: str, tenant: str) -> bool:
        """See :meth:`Ledger.end_task`."""
        return self._execute(lambda work: rules.end_task(work, task_id, tenant), task_id)

    def task(self, task_id: str) -> StoredTask | None:
        """See :meth:`Ledger.task`."""
        self._expire_due()
        with self._reading() as reader:
            return queries.task(reader, task_id)

    def tasks(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        state: HoldState | None = None,
        count: int = 100,
    ) -> list[StoredTask]:
        """See :meth:`Ledger.tasks`."""
        storage_format.check_count(count)
        storage_format.check_labels(labels or {})
        self._expire_due()
        with self._reading() as reader:
            return queries.tasks(reader, labels or {}, state, count)

    def expire(self) -> int:
        """See :meth:`Ledger.expire`."""
        return self._execute(lambda work: work.expired)

    def set_limit(self, limit: Limit) -> None:
        """See :meth:`Ledger.set_limit`."""
        storage_format.check_limit(limit)
        self._execute(lambda work: work.set_limit(limit))

    def delete_limit(self, limit_id: str) -> bool:
        """See :meth:`Ledger.delete_limit`."""
        return self._execute(lambda work: work.delete_limit(limit_id))

    def limits(self) -> list[Limit]:
        """See :meth:`Ledger.limits`."""
        self._writer.check_open()
        return list(self._writer.limits)

    def decision(self, decision_id: str) -> StoredDecision | None:
        """See :meth:`Ledger.decision`."""
        with self._reading() as reader:
            return queries.decision(reader, decision_id)

    def owner(self, decision_id: str) -> str | None:
        """See :meth:`Ledger.owner`."""
        with self._reading() as reader:
            return queries.owner(reader, decision_id)

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
        storage_format.check_count(count)
        storage_format.check_labels(labels or {})
        begin, end = _span(since, until)
        with self._reading() as reader:
            if after is not None:
                last = queries.created_micros(reader, after)
                if last is None:
                    raise NotFound(f"there is no decision {shown(after)} to continue after")
                if newest_first:
                    end = last if end is None else min(end, last)
                else:
                    begin = max(begin, last + 1)
            return queries.decisions(
                reader, labels or {}, begin, end, state, count, newest_first=newest_first
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
        storage_format.check_labels(labels or {})
        self._expire_due()
        begin, end = _span(since, until)
        with self._reading() as reader:
            return list(queries.totals(reader, labels or {}, begin, end, state, by_time=by_time))

    def open_holds(self) -> tuple[int, int]:
        """See :meth:`Ledger.open_holds`."""
        with self._reading() as reader:
            return queries.open_holds(reader)

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """See :meth:`Ledger.erase`; in several commits, so that holds go on between them."""
        storage_format.check_labels(labels)
        end = to_micros(before)
        erased = 0
        since: int | None = 0
        while since is not None:
            part = functools.partial(
                WriteGroup.erase, labels=labels, since=since, before=end, count=_ERASED_AT_ONCE
            )
            count, since = self._execute(part)
            erased += count
        return erased

    def publish(self, rows: Sequence[SharedRow]) -> None:
        """See :meth:`Ledger.publish`."""
        storage_format.check_shared(rows)
        self._execute(lambda work: work.publish(rows))

    def published(self, kinds: Sequence[str], since: int = 0) -> SharedChanges:
        """See :meth:`Ledger.published`."""
        moment = self.now()
        with self._reading() as reader:
            return shared_state.published(reader, kinds, since, moment)

    def check(self) -> None:
        """See :meth:`Ledger.check`."""
        self._execute(WriteGroup.touch)

    def close(self) -> None:
        """See :meth:`Ledger.close`."""
        if not self._writer.stop():
            return
        while not self._readers.empty():
            self._readers.get().close()
        self._writer.connection.close()
        self._lock.release()

    # ── beyond the protocol ───────────────────────────────────────────────────────────────────────

    def rows(self) -> Iterator[Row]:
        """Every decision with its entries, for the checker."""
        with self._reading() as reader:
            yield from queries.rows(reader)

    def balances(self) -> Iterator[Balance]:
        """Every balance, for the checker."""
        with self._reading() as reader:
            yield from queries.balances(reader)

    # ── callers ───────────────────────────────────────────────────────────────────────────────────

    def _execute(self, run: Callable[[WriteGroup], T], *ids: str) -> T:
        return self._writer.submit(Operation(run, ids)).wait(self._timeout_s)

    def _expire_due(self) -> None:
        """Free the holds that have expired."""
        moment = self.now()
        with self._reading() as reader:
            due = queries.is_due(reader, moment)
        if due:
            self.expire()

    def _read_sums(self, accounts: Sequence[Account]) -> Sums:
        with self._reading() as reader:
            return queries.sums(reader, accounts)

    def _check_usable(self) -> None:
        self._writer.check_open()
        self._lock.check()

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        """A connection for one snapshot of the store."""
        self._check_usable()
        with store_errors(self._path, for_caller=True):
            try:
                reader = self._readers.get_nowait()
            except queue.Empty:
                reader = open_reader(self._path, for_caller=True)
            try:
                reader.execute("BEGIN")
                yield reader
                reader.execute("COMMIT")
            except BaseException:
                # A statement that was not read to its end would keep its snapshot.
                reader.close()
                raise
            self._readers.put(reader)


def _span(since: datetime | None, until: datetime | None) -> tuple[int, int | None]:
    return 0 if since is None else to_micros(since), None if until is None else to_micros(until)


def _hold_operation(hold: Hold) -> Operation[HoldResult]:
    payload = _payload(hold)
    return Operation(lambda work: _hold(work, hold, payload), hold.ids)


def _payload(hold: Hold) -> Payload:
    labels, record = storage_format.check_hold(hold)
    if not hold.example:
        return Payload(labels, record)
    return Payload(labels, record, pack(hold.reply, record, hold.example), hold.example)


def _holds_operation(holds: Sequence[Hold]) -> Operation[list[HoldResult | MitsumoriError]]:
    checked = [(hold, _payload(hold)) for hold in holds]

    def run(work: WriteGroup) -> list[HoldResult | MitsumoriError]:
        results: list[HoldResult | MitsumoriError] = []
        for hold, payload in checked:
            try:
                results.append(_hold(work, hold, payload))
            except MitsumoriError as error:
                results.append(error)
        return results

    return Operation(run, [decision_id for hold in holds for decision_id in hold.ids])


def _hold(work: WriteGroup, hold: Hold, payload: Payload) -> HoldResult:
    result = rules.hold(work, hold, work.next_created())
    if isinstance(result, Granted):
        work.set_payload(hold.id, payload)
    return result
