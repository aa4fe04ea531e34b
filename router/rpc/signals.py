"""The signals of the server process: stop, during the start too, and look at what may have changed."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

__all__ = ["StopRequest", "reload_signal", "stop_signals"]


class _Stopped(BaseException):
    """Ends the start of the server. No handler of errors takes it for one."""


class StopRequest:
    """Whether the process was asked to stop.

    It is a queue, because a handler may call ``put`` even when it interrupts ``put``; ``set`` of an event is
    not as safe. The wait wakes every second, because a signal that another thread receives does not end it.
    """

    def __init__(self) -> None:
        self._requests: SimpleQueue[None] = SimpleQueue()
        self._is_waiting = False

    def on_signal(self, _number: int, _frame: types.FrameType | None) -> None:
        """Handle a signal: end the wait or, before it, whatever the main thread does."""
        self._requests.put(None)
        if not self._is_waiting:
            self._is_waiting = True  # another signal must not end what cleans up
            raise _Stopped

    def wait(self) -> None:
        """Return once a signal has come."""
        self._is_waiting = True
        while True:
            with contextlib.suppress(Empty):
                return self._requests.get(timeout=1.0)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Within the block, SIGTERM and SIGINT end it before :meth:`StopRequest.wait`, and later end that wait.

    The handlers from before return at the end.
    """
    stop = StopRequest()
    before = {
        number: signal.signal(number, stop.on_signal) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    except _Stopped:
        return
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def reload_signal(look: Callable[[], None]) -> Iterator[None]:
    """Within the block, SIGHUP calls a function, which must be safe in a signal handler."""

    def on_signal(_number: int, _frame: types.FrameType | None) -> None:
        look()

    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
