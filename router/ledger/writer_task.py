"""How callers of a store wait for its one writer thread."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from router.core.errors import Unavailable

__all__ = ["WriterTask"]

Order = TypeVar("Order")
Answer = TypeVar("Answer")


class WriterTask(Generic[Order, Answer]):
    """One operation on its way to the writer and back.

    The writer sets ``result`` or ``error``, then calls :meth:`answer`. A task whose caller gave up
    waiting is ``abandoned``: a writer that has not begun it leaves it undone.
    """

    __slots__ = ("_answered", "abandoned", "error", "order", "result")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.result: Answer
        self.error: Exception | None = None
        self.abandoned = False
        # A bare lock wakes its waiter several times faster than a Future's condition does.
        self._answered = threading.Lock()
        self._answered.acquire()

    def answer(self) -> None:
        """Wake the caller; by the writer, once."""
        self._answered.release()

    def wait(self, timeout_s: float) -> Answer:
        """The result; by the caller, once.

        Raises:
            Unavailable: no answer in time.
            Exception: what the writer set as the error.
        """
        if not self._answered.acquire(timeout=timeout_s):
            self.abandoned = True
            raise Unavailable(f"the store did not answer within {timeout_s:g} s")
        if self.error is not None:
            raise self.error
        return self.result
