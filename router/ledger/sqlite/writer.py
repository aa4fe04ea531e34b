"""The thread that alone writes the SQLite ledger, and commits operations in groups.

Callers put operations on a bounded queue and wait. The writer takes all queued operations, runs them in one
transaction and answers only after the commit; meanwhile the next group collects in the queue.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import apsw

from router.core.errors import MitsumoriError, Unavailable
from router.ledger import rules
from router.ledger.limit_book import LimitBook
from router.ledger.sqlite import queries
from router.ledger.sqlite.cache import Cache
from router.ledger.sqlite.committed_balances import CommittedBalances
from router.ledger.sqlite.file import empty_log, open_writer, store_errors
from router.ledger.sqlite.lock import FileLock
from router.ledger.sqlite.write_group import WriteGroup
from router.ledger.storage_format import from_micros
from router.ledger.writer_task import WriterTask
from router.telemetry.observer import Observer

__all__ = ["MAX_GROUP", "Operation", "Writer"]

T = TypeVar("T")

MAX_GROUP = 512
"""Operations in one transaction, at most."""
_MAX_WAITING = 10_000


class Operation(NamedTuple, Generic[T]):
    """What to run in the next transaction, and the ids of the decisions that it reads."""

    run: Callable[[WriteGroup], T]
    ids: Sequence[str] = ()


_Task = WriterTask[Operation[Any], Any]


class Writer:
    """Writes a store from a thread of its own. Its methods may be called from any thread.

    Args:
        lock: of the store; it stays the caller's.
        clock: gives the current time; may go backwards.
        busy_timeout_s: seconds to wait while another program has locked the file.
        observer: is told of every commit.

    Attributes:
        connection: with which it writes; for its thread alone, as are the next two.
        cache: what it keeps between groups; ``None``: it was dropped, and will be read again.
        waiting: operations that wait, and ``None`` where the writer shall end.
        committed: balances as of the latest commit, for any thread.
        limits: of the latest commit; replaced as a whole, so that any thread may read them.

    Raises:
        Unavailable, BadArtifact: as :func:`open_writer`.
    """

    def __init__(
        self,
        lock: FileLock,
        clock: Callable[[], datetime],
        *,
        busy_timeout_s: float,
        observer: Observer,
    ) -> None:
        self._lock, self._clock, self._observer = lock, clock, observer
        self.connection = open_writer(lock.path, busy_timeout_s=busy_timeout_s)
        with store_errors(lock.path):
            self.cache: Cache | None = Cache(self.connection)
            committed = self.connection.execute("SELECT value FROM meta WHERE name = 'time'").get
        lock.watch_log()
        self.committed = CommittedBalances()
        self.limits: LimitBook = self.cache.limits
        self._last = rules.later(from_micros(int(committed)), clock())
        self._time_lock = threading.Lock()
        self.waiting: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._queue_lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    def now(self) -> datetime:
        """The store's time: see :meth:`Ledger.now`."""
        with self._time_lock:
            self._last = rules.later(self._last, self._clock())
            return self._last

    def submit(self, operation: Operation[T]) -> WriterTask[Operation[T], T]:
        """Have an operation run in the next transaction; the caller waits for the task.

        Raises:
            Unavailable: too many operations wait, or the writer was stopped.
        """
        if self.waiting.qsize() >= _MAX_WAITING:
            raise Unavailable(f"{_MAX_WAITING} operations wait for the store; try again later")
        task: WriterTask[Operation[T], T] = WriterTask(operation)
        with self._queue_lock:
            self.check_open()
            self.waiting.put(task)
        return task

    def check_open(self) -> None:
        """Refuse to go on once the writer was stopped.

        Raises:
            Unavailable: it was.
        """
        if self._closed:
            raise Unavailable("the ledger is closed")

    def stop(self) -> bool:
        """Finish what was submitted and take no more; false if that was done before."""
        with self._queue_lock:
            if self._closed:
                return False
            self._closed = True
            self.waiting.put(None)
        self._thread.join()
        return True

    def _write(self) -> None:
        open_ = True
        while open_:
            group = [self.waiting.get()]
            while len(group) < MAX_GROUP and not self.waiting.empty():
                group.append(self.waiting.get())
            tasks = [task for task in group if task is not None and not task.abandoned]
            open_ = None not in group
            self._answer(tasks)

    def _answer(self, tasks: list[_Task]) -> None:
        try:
            with store_errors(self._lock.path, for_caller=True):
                self._lock.check()
                self._commit(tasks)
                self._lock.check()  # nobody is told of what went into a file without a name
        except BaseException as error:  # noqa: BLE001 - callers get the error; the writer continues
            self._roll_back()
            if isinstance(error, Unavailable) and error.reason == "STORE_LOST":
                empty_log(self.connection)
            if len(tasks) > 1 and not isinstance(error, Unavailable):
                # One operation caused the error: run each alone, so that the others succeed.
                for task in tasks:
                    self._answer([task])
                return
            for task in tasks:
                task.error = error if isinstance(error, Exception) else _interrupted(error)
        for task in tasks:
            task.finish()

    def _commit(self, tasks: list[_Task]) -> None:
        self._end_transaction()
        started = time.perf_counter()
        self.connection.execute("BEGIN IMMEDIATE")
        if self.cache is None:
            self.cache = Cache(self.connection)
        moment = self.now()
        self.cache.follow(self.connection, moment)
        work = WriteGroup(self.connection, self.cache, moment)
        if self.committed.may_be_due(moment) or self.cache.next_taken is not None:
            work.expire_due()
        work.load({decision_id for task in tasks for decision_id in task.operation.ids})
        for task in tasks:
            try:
                task.error = None
                task.result = task.operation.run(work)
            except MitsumoriError as error:
                task.error = error
        work.write()
        next_expiry = queries.next_expiry(self.connection)
        self.connection.execute("COMMIT")
        self.committed.commit(work.written.values(), next_expiry)
        self._observer.committed(time.perf_counter() - started, len(tasks))
        self._observer.expired(work.expired)
        self.limits = self.cache.limits
        with self._time_lock:
            self._last = max(self._last, from_micros(self.cache.last_created))
        self.cache.trim()

    def _roll_back(self) -> None:
        self.cache = None
        # If this fails, the next group tries again before it begins.
        with contextlib.suppress(apsw.Error):
            self._end_transaction()

    def _end_transaction(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def _interrupted(error: BaseException) -> Unavailable:
    return Unavailable(f"the store was interrupted ({type(error).__name__}); repeat the call")
