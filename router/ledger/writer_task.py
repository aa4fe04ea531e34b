"""Tasks of the writer thread: how callers of a store wait for their result."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from router.core.errors import Unavailable
from router.ledger.time_budget import begin_wait, seconds_left

__all__ = ["WriterTask"]

Operation = TypeVar("Operation")
Result = TypeVar("Result")


class WriterTask(Generic[Operation, Result]):
    """One operation for the writer thread, and its result.

    The writer sets ``result`` or ``error``, then calls :meth:`finish`. A task whose caller stopped waiting
    is ``abandoned``; a writer that has not started it skips it.
    """

    __slots__ = ("_finished", "abandoned", "error", "operation", "result")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.result: Result
        self.error: Exception | None = None
        self.abandoned = False
        # A bare lock wakes its waiter several times faster than a Future's condition does.
        self._finished = threading.Lock()
        self._finished.acquire()

    def finish(self) -> None:
        """Wake the caller. The writer calls this once."""
        self._finished.release()

    def wait(self, timeout_s: float) -> Result:
        """Wait for the result, no longer than the caller's time allows. The caller calls this once.

        Raises:
            Unavailable: the task did not finish in time.
            Exception: the error that the writer set.
        """
        timeout_s = seconds_left(timeout_s)
        begin_wait()
        if not self._finished.acquire(timeout=timeout_s):
            self.abandoned = True
            raise Unavailable(f"the store did not answer within {timeout_s:.3g} s")
        if self.error is not None:
            raise self.error
        return self.result
