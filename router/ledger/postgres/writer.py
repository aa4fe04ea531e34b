"""The thread that writes to PostgreSQL, and commits operations in groups.

Callers put operations on a queue and wait. The writer takes all queued operations, runs them in one
transaction (:mod:`postgres.write_group`) and answers only after the commit; meanwhile the next group
collects in the queue. So a busy balance is locked once per group, not once per call.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from router.core.errors import InvalidInput, MitsumoriError, Unavailable
from router.ledger.postgres import write_group
from router.ledger.postgres.database import (
    RETRYABLE_ERRORS,
    Connection,
    Database,
    DriverError,
    is_disconnected,
    store_errors,
)
from router.ledger.postgres.store_state import StoreState
from router.ledger.postgres.write_group import GroupResult, Operation
from router.ledger.writer_task import WriterTask
from router.telemetry.observer import Observer

__all__ = ["Writer"]

_MAX_WAITING = 10_000
_ATTEMPTS = 5
_LINGER_S = 0.001

_Task = WriterTask[Operation, Any]


class Writer:
    """Writes a store from a thread of its own. Its methods may be called from any thread.

    Args:
        database: with the schema of this version.
        state: gives the time and the limits, and is told of those of each commit.
        max_batch: the largest number of operations in one transaction.
        observer: is told of every commit.

    Attributes:
        connection: with which it writes; for its thread alone. ``None`` before the first commit.
    """

    def __init__(
        self, database: Database, state: StoreState, *, max_batch: int, observer: Observer
    ) -> None:
        self._database, self._state, self._observer = database, state, observer
        self._max_batch = max_batch
        self._limits_lock = database.lock_key("limits")
        self.connection: Connection | None = None
        self._waiting: deque[_Task] = deque()
        self._target_size = 1
        self._queue_changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation) -> _Task:
        """Have an operation run in the next transaction; the caller waits for the task.

        Raises:
            Unavailable: too many operations wait, or the writer was stopped.
        """
        task: _Task = WriterTask(operation)
        with self._queue_changed:
            self.check_open()
            if len(self._waiting) >= _MAX_WAITING:
                raise Unavailable(f"{_MAX_WAITING} operations wait for the store; try again later")
            self._waiting.append(task)
            if len(self._waiting) >= self._target_size:
                self._queue_changed.notify()
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
        with self._queue_changed:
            if self._closed:
                return False
            self._closed = True
            self._queue_changed.notify()
        self._thread.join()
        return True

    def _write(self) -> None:
        last_size, last_s = 0, 0.0
        while group := self._next_group(last_size, last_s):
            started = time.monotonic()
            self._answer([task for task in group if not task.abandoned])
            last_size, last_s = len(group), time.monotonic() - started
        if self.connection is not None:
            self.connection.close()

    def _next_group(self, last_size: int, last_s: float) -> list[_Task]:
        """The next group of tasks; empty once the ledger is closed and no task is left.

        Callers often return as soon as they have their result. Waiting for them for a fraction of the last
        transaction (``last_size`` tasks in ``last_s`` seconds) keeps them in one group; otherwise they
        split into two groups that wait for each other. A single caller never waits.
        """
        with self._queue_changed:
            self._target_size = min(last_size + len(self._waiting), self._max_batch)
            self._queue_changed.wait_for(self._group_ready, timeout=min(last_s / 4, _LINGER_S))
            self._target_size = 1
            self._queue_changed.wait_for(self._group_ready)
            size = min(len(self._waiting), self._max_batch)
            return [self._waiting.popleft() for _ in range(size)]

    def _group_ready(self) -> bool:
        return self._closed or len(self._waiting) >= self._target_size

    def _answer(self, tasks: list[_Task]) -> None:
        try:
            with store_errors():
                results = self._commit([task.operation for task in tasks]) if tasks else []
        except InvalidInput as error:
            if len(tasks) > 1:
                # One operation caused the error: run each alone, so that the others succeed.
                for task in tasks:
                    self._answer([task])
                return
            results = [error]
        except Exception as error:  # noqa: BLE001 - callers get the error; the writer continues
            # One error object per caller: threads that raise the same object share its traceback.
            why = error.message if isinstance(error, MitsumoriError) else type(error).__name__
            results = [Unavailable(f"the store cannot be written: {why}") for _ in tasks]
        for task, result in zip(tasks, results, strict=True):
            if isinstance(result, MitsumoriError):
                task.error = result
            else:
                task.result = result
            task.finish()

    def _commit(self, operations: list[Operation]) -> list[object]:
        done = GroupResult(None, 0, self._state.time, self._state.limits)
        attempts = 0
        started = time.monotonic()
        while done.results is None:
            try:
                connection = self._session()
                done = write_group.run(
                    connection, operations, done, self._state.test_time(), self._limits_lock
                )
            except BaseException as error:
                self._roll_back()
                attempts += 1
                again = isinstance(error, RETRYABLE_ERRORS)
                if not again or attempts == _ATTEMPTS:
                    raise
            self._state.advance(done.moment)
            self._state.update(done.limits)
        self._observer.committed(time.monotonic() - started, len(operations))
        self._observer.expired(done.expired)
        return done.results

    def _session(self) -> Connection:
        if self.connection is not None and is_disconnected(self.connection):
            self.connection.close()
        if self.connection is None or self.connection.closed:
            self.connection = self._database.connect_writer()
        return self.connection

    def _roll_back(self) -> None:
        if self.connection is None or self.connection.closed:
            return
        try:
            self.connection.execute("ROLLBACK")
        except DriverError:
            self.connection.close()
