"""The ledger in one SQLite file, written by one thread that commits operations in groups.

Callers put operations on a bounded queue and wait. The writer takes all queued operations, runs them in one
transaction and answers only after the commit; meanwhile the next group collects in the queue. Readers have
connections of their own and never wait for the writer.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import apsw

from router.core.errors import MitsumoriError, NotFound, Unavailable, shown
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
    Totals,
)
from router.ledger.rows import Account, Balance, Row
from router.ledger.sqlite import queries
from router.ledger.sqlite.committed_balances import CommittedBalances, Sums
from router.ledger.sqlite.file import (
    copy_snapshot,
    open_reader,
    open_writer,
    store_errors,
)
from router.ledger.sqlite.lock import FileLock
from router.ledger.sqlite.packed_payload import Payload
from router.ledger.sqlite.write_group import Cache, WriteGroup
from router.ledger.storage_format import from_micros, to_micros
from router.ledger.writer_task import WriterTask
from router.telemetry.observer import Observer

__all__ = ["SqliteLedger"]

T = TypeVar("T")
_Results = list[HoldResult | MitsumoriError]

_UNOBSERVED = Observer()
_MAX_WAITING = 10_000
_MAX_GROUP = 512
_ERASED_AT_ONCE = 1_000


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Operation(NamedTuple, Generic[T]):
    """What to run in the next transaction, and the ids of the decisions that it reads."""

    run: Callable[[WriteGroup], T]
    ids: Sequence[str] = ()


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
        clock: Callable[[], datetime] = _utc_now,
        *,
        timeout_s: float = 10.0,
        busy_timeout_s: float = 2.0,
        observer: Observer = _UNOBSERVED,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._timeout_s = timeout_s
        self._lock = FileLock(path)
        self._path = self._lock.path
        try:
            self._writer = open_writer(self._path, busy_timeout_s=busy_timeout_s)
            with store_errors(self._path):
                self._cache: Cache | None = Cache(self._writer)
                committed = self._writer.execute("SELECT value FROM meta WHERE name = 'time'").get
        except BaseException:
            self._lock.release()
            raise
        self._limits = self._cache.limits
        self._committed = CommittedBalances()
        self._last = rules.later(from_micros(int(committed)), clock())
        self._time_lock = threading.Lock()
        self._waiting: queue.SimpleQueue[WriterTask[_Operation[Any], Any] | None] = (
            queue.SimpleQueue()
        )
        self._queue_lock = threading.Lock()
        self._closed = False
        self._readers: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    # ── Ledger ────────────────────────────────────────────────────────────────────────────────────

    def now(self) -> datetime:
        """See :meth:`Ledger.now`."""
        with self._time_lock:
            self._last = rules.later(self._last, self._clock())
            return self._last

    def view(self, options: Sequence[Mapping[str, str]]) -> list[tuple[LimitState, ...]]:
        """See :meth:`Ledger.view`."""
        self._check_usable()
        moment = self.now()
        if self._committed.may_be_due(moment):
            moment = self._expire_due()
        return queries.states(
            self._limits, options, moment, lambda some: self._committed.of(some, self._read_sums)
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
        task = _hold_task(hold)
        self._submit(task)
        return task.wait(self._timeout_s)

    def hold_many(self, holds: Sequence[Hold]) -> list[HoldResult | MitsumoriError]:
        """Hold each of many, as :meth:`hold` does, in as few commits as possible.

        Each hold is independent: if :meth:`hold` would raise ``Conflict`` or ``NotFound``, the result is
        that error.

        Raises:
            InvalidInput: one of them is not valid; nothing was held.
            Unavailable: some may be committed; the same call may be repeated.
        """
        tasks = [
            _holds_task(holds[begin : begin + _MAX_GROUP])
            for begin in range(0, len(holds), _MAX_GROUP)
        ]
        for task in tasks:
            self._submit(task)
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
        self._check_open()
        return list(self._limits)

    def decision(self, decision_id: str) -> StoredDecision | None:
        """See :meth:`Ledger.decision`."""
        with self._reading() as reader:
            return queries.decision(reader, decision_id)

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

    def check(self) -> None:
        """See :meth:`Ledger.check`."""
        self._execute(WriteGroup.touch)

    def close(self) -> None:
        """See :meth:`Ledger.close`."""
        with self._queue_lock:
            if self._closed:
                return
            self._closed = True
            self._waiting.put(None)
        self._thread.join()
        while not self._readers.empty():
            self._readers.get().close()
        self._writer.close()
        self._lock.release()

    # ── beyond the protocol ───────────────────────────────────────────────────────────────────────

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Copy the current state of the store to another file, without stopping writes.

        Args:
            path: the copy; replaced only when the copy is complete.
            progress: called with the number of pages copied and the total.

        Raises:
            Unavailable: the store cannot be read, or the copy cannot be written.
        """
        with self._reading() as reader:
            copy_snapshot(reader, path, progress)

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
        task: WriterTask[_Operation[T], T] = WriterTask(_Operation(run, ids))
        self._submit(task)
        return task.wait(self._timeout_s)

    def _expire_due(self) -> datetime:
        """Free expired holds, and return the current time."""
        moment = self.now()
        with self._reading() as reader:
            due = queries.is_due(reader, moment)
        if due:
            self.expire()
        return moment

    def _read_sums(self, accounts: Sequence[Account]) -> Sums:
        with self._reading() as reader:
            return queries.sums(reader, accounts)

    def _submit(self, task: WriterTask[_Operation[Any], Any]) -> None:
        if self._waiting.qsize() >= _MAX_WAITING:
            raise Unavailable(f"{_MAX_WAITING} operations wait for the store; try again later")
        with self._queue_lock:
            self._check_open()
            self._waiting.put(task)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the ledger is closed")

    def _check_usable(self) -> None:
        self._check_open()
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

    # ── the writer ────────────────────────────────────────────────────────────────────────────────

    def _write(self) -> None:
        open_ = True
        while open_:
            group = [self._waiting.get()]
            while len(group) < _MAX_GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            tasks = [task for task in group if task is not None and not task.abandoned]
            open_ = None not in group
            self._answer(tasks)

    def _answer(self, tasks: list[WriterTask[_Operation[Any], Any]]) -> None:
        try:
            with store_errors(self._path, for_caller=True):
                self._lock.check()
                self._commit(tasks)
        except BaseException as error:  # noqa: BLE001 - callers get the error; the writer continues
            self._roll_back()
            if len(tasks) > 1 and not isinstance(error, Unavailable):
                # One operation caused the error: run each alone, so that the others succeed.
                for task in tasks:
                    self._answer([task])
                return
            for task in tasks:
                task.error = error if isinstance(error, Exception) else _interrupted(error)
        for task in tasks:
            task.finish()

    def _commit(self, tasks: list[WriterTask[_Operation[Any], Any]]) -> None:
        self._end_transaction()
        started = time.perf_counter()
        self._writer.execute("BEGIN IMMEDIATE")
        if self._cache is None:
            self._cache = Cache(self._writer)
        moment = self.now()
        self._cache.follow(self._writer, moment)
        work = WriteGroup(self._writer, self._cache, moment)
        if self._committed.may_be_due(moment) or self._cache.next_taken is not None:
            work.expire_due()
        work.load({decision_id for task in tasks for decision_id in task.operation.ids})
        for task in tasks:
            try:
                task.error = None
                task.result = task.operation.run(work)
            except MitsumoriError as error:
                task.error = error
        work.write()
        next_expiry = queries.next_expiry(self._writer)
        self._writer.execute("COMMIT")
        self._committed.commit(work.written.values(), next_expiry)
        self._observer.committed(time.perf_counter() - started, len(tasks))
        self._observer.expired(work.expired)
        self._limits = self._cache.limits
        with self._time_lock:
            self._last = max(self._last, from_micros(self._cache.last_created))
        self._cache.trim()

    def _roll_back(self) -> None:
        self._cache = None
        # If this fails, the next group tries again before it begins.
        with contextlib.suppress(apsw.Error):
            self._end_transaction()

    def _end_transaction(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")


def _span(since: datetime | None, until: datetime | None) -> tuple[int, int | None]:
    return 0 if since is None else to_micros(since), None if until is None else to_micros(until)


def _interrupted(error: BaseException) -> Unavailable:
    return Unavailable(f"the store was interrupted ({type(error).__name__}); repeat the call")


def _hold_task(hold: Hold) -> WriterTask[_Operation[HoldResult], HoldResult]:
    payload = Payload.of(hold)
    return WriterTask(_Operation(lambda work: _hold(work, hold, payload), _ids(hold)))


def _holds_task(
    holds: Sequence[Hold],
) -> WriterTask[_Operation[list[HoldResult | MitsumoriError]], list[HoldResult | MitsumoriError]]:
    checked = [(hold, Payload.of(hold)) for hold in holds]

    def run(work: WriteGroup) -> _Results:
        results: _Results = []
        for hold, payload in checked:
            try:
                results.append(_hold(work, hold, payload))
            except MitsumoriError as error:
                results.append(error)
        return results

    return WriterTask(
        _Operation(run, [decision_id for hold in holds for decision_id in _ids(hold)])
    )


def _hold(work: WriteGroup, hold: Hold, payload: Payload) -> HoldResult:
    result = rules.hold(work, hold, work.next_created())
    if isinstance(result, Granted):
        work.set_payload(hold.id, payload)
    return result


def _ids(hold: Hold) -> Sequence[str]:
    return (hold.id,) if hold.replaces is None else (hold.id, hold.replaces)
