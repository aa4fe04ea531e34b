"""Structured logs: one JSON object per line on standard error, without prompt text or secrets.

Whoever logs only puts a line in a bounded queue, and a thread writes the lines. So a closed pipe, a full disk
or a pipe that nobody reads delays and fails no call and no shutdown. What cannot be kept or written is
dropped and counted, and the count is logged once lines can be written again.
"""

from __future__ import annotations

import io
import json
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from typing import Literal, NamedTuple

import structlog

from router.telemetry import trace

__all__ = [
    "LineQueue",
    "announce",
    "close",
    "configure",
    "dropped_lines",
    "level",
    "log_failure",
    "logger",
    "set_level",
]

MAX_WAITING_BYTES = 4 << 20
"""Bytes of the lines that wait to be written. What comes then is dropped."""
_POLL_S = 0.05
_CLOSE_S = 1.0
"""Seconds that the end of the process waits for lines that cannot be written."""

Form = Literal["json", "console"]


class LineQueue:
    """Lines on their way to a file descriptor, written by a thread that starts with the first one.

    Args:
        descriptor: where to write; ``None`` drops every line.
        max_bytes: the most bytes that wait, > 0.
        notice: makes the line that says how many lines were dropped.
    """

    def __init__(
        self,
        descriptor: int | None,
        *,
        max_bytes: int = MAX_WAITING_BYTES,
        notice: Callable[[int], str] = "{} lines of the log were dropped".format,
    ) -> None:
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._notice = notice
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._give_up_at: float | None = None
        self._unreported = 0
        self.dropped = 0
        """Lines that were dropped so far."""

    def put(self, line: str) -> None:
        """Add a line, or drop and count it. Never waits for the descriptor, and never fails."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        with self._changed:
            full = self._waiting_bytes + len(data) > self._max_bytes
            if full or self._descriptor is None or self._give_up_at is not None:
                self._drop()
                return
            self._lines.append(data)
            self._waiting_bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                self._thread.start()
            self._changed.notify()

    # What structlog calls by level.
    msg = debug = info = warning = error = critical = exception = fatal = put

    def close(self, patience_s: float = _CLOSE_S) -> None:
        """Write what waits, within ``patience_s`` seconds; drop the rest, and every later line."""
        with self._changed:
            self._give_up_at = time.monotonic() + patience_s
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(patience_s + 4 * _POLL_S)

    def _drop(self) -> None:
        self.dropped += 1
        self._unreported += 1

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._give_up_at is not None)
                if not self._lines:
                    return
                data = self._lines[0]
            written = self._write(data)
            with self._changed:
                self._lines.popleft()
                self._waiting_bytes -= len(data)
                if not written:
                    self._drop()
                    continue
                count, self._unreported = self._unreported, 0
            if count and not self._write(self._notice(count).encode() + b"\n"):
                with self._changed:
                    self._unreported += count

    def _write(self, data: bytes) -> bool:
        """Write a line; false if that is not possible, or if the queue is closed meanwhile."""
        assert self._descriptor is not None  # noqa: S101 — without one, no line was kept
        ready = select.poll()
        ready.register(self._descriptor, select.POLLOUT)
        left = memoryview(data)
        while left:
            if self._give_up_at is not None and time.monotonic() > self._give_up_at:
                return False
            if not ready.poll(_POLL_S * 1000):
                continue
            try:
                # A pipe that is ready takes this much without blocking; it may have no room for the line.
                left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]
            except BlockingIOError:
                time.sleep(_POLL_S)
            except OSError:
                return False
        return True


class _Word(str):
    """A value that is shown without quotes, also where a message asks for its ``repr``."""

    __slots__ = ()
    __repr__ = str.__str__


def _harmless(value: object) -> object:
    """What is shown of a value that a library logs: numbers and names of code, and of all else the kind.

    A text, and an object that turns into one, may quote a request, a header or the address of a store.
    """
    if isinstance(value, Enum):
        return _Word(value.name)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, type):
        return _Word(value.__name__)
    kind = type(value).__name__
    return _Word(kind if isinstance(value, BaseException) else f"<{kind}>")


def _message_of(record: logging.LogRecord) -> str:
    """The message of a library with its harmless values, and with the name of an error for its text."""
    template = record.msg if isinstance(record.msg, str) else str(_harmless(record.msg))
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and str(error):
        template = template.replace(str(error), type(error).__name__)
    if not record.args:
        return template
    try:
        if isinstance(record.args, Mapping):
            return template % {name: _harmless(value) for name, value in record.args.items()}
        return template % tuple(map(_harmless, record.args))
    except (TypeError, ValueError, KeyError):  # a number is asked for where there is none
        return template


class _LibraryRecords(logging.Handler):
    """Takes what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        say = logger().error if record.levelno >= logging.ERROR else logger().warning
        say("library", logger=record.name, message=_message_of(record)[:500])


def _place_of(error: BaseException) -> str:
    """The file and line where an error was raised; empty where that is not known."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""


def _thread_failed(end: threading.ExceptHookArgs) -> None:
    """Log the kind and place of what ended a thread, not its text as Python does: it may quote a request."""
    error = end.exc_value
    name = end.thread.name if end.thread is not None else ""
    place = "" if error is None else _place_of(error)
    logger().error("thread_failed", thread=name, error=end.exc_type.__name__, place=place)


_lines = LineQueue(None)
_level = "info"


def _descriptor_of_stderr() -> int | None:
    # Python has no standard error where the descriptor was closed at the start; another file may have it now.
    with suppress(OSError, AttributeError, io.UnsupportedOperation):
        return sys.stderr.fileno()
    return None


def configure(level: str, form: Form, process: str = "") -> None:
    """Set up logging for the process. The server calls this once, when it starts.

    Args:
        level: the lowest that is logged: ``debug``, ``info``, ``warning`` or ``error``.
        form: JSON objects, or lines for people.
        process: its name among those that serve together, which each line then carries beside its number;
            empty: it serves alone.
    """
    global _lines, _level
    _level = level
    _lines.close()
    _lines = LineQueue(_descriptor_of_stderr(), notice=_notice_of(form))
    terminal = sys.stderr is not None and sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        _json_line if form == "json" else structlog.dev.ConsoleRenderer(colors=terminal)
    )
    lines = _lines
    named = {"process": process, "pid": os.getpid()} if process else {}
    structlog.configure(
        processors=[
            lambda _, __, line: {**line, **named},
            structlog.contextvars.merge_contextvars,  # who calls (router/rpc/access_interceptor.py)
            trace.add_ids,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_LibraryRecords()], level=logging.WARNING, force=True)
    threading.excepthook = _thread_failed


def set_level(level: str) -> None:
    """Change the lowest level that is logged: ``debug``, ``info``, ``warning`` or ``error``."""
    global _level
    _level = level
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        **{**structlog.get_config(), "wrapper_class": structlog.make_filtering_bound_logger(number)}
    )


def level() -> str:
    """The lowest level that is logged."""
    return _level


_encode = json.JSONEncoder(ensure_ascii=False, default=repr).encode


def _json_line(_logger: object, _method: str, event: structlog.typing.EventDict) -> str:
    """A processor of structlog: the line as one JSON object."""
    return _encode(event)


def _notice_of(form: Form) -> Callable[[int], str]:
    def notice(count: int) -> str:
        if form == "console":
            return f"[warning] log_lines_dropped lines={count}"
        line = {"lines": count, "event": "log_lines_dropped", "level": "warning"}
        return json.dumps({**line, "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"})

    return notice


def dropped_lines() -> int:
    """Lines of the log that were dropped since the process started to log."""
    return _lines.dropped


def close() -> None:
    """Write what waits, for a second at most. The server calls this last."""
    _lines.close()


def announce(line: str) -> None:
    """Write a line to standard output; nothing happens where that is closed."""
    # Not by print, whose buffer would fail again when the process ends.
    with suppress(OSError, AttributeError, ValueError):
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), f"{line}\n".encode())


class _Bound(NamedTuple):
    """A logger that is ready for use, and the parts of the configuration by which it was made."""

    processors: object
    wrapper: object
    logger: structlog.typing.FilteringBoundLogger


_latest: _Bound | None = None


def logger() -> structlog.typing.FilteringBoundLogger:
    """The logger. Pass facts as keyword arguments; never pass prompt text or request headers."""
    global _latest
    config, found = structlog.get_config(), _latest
    processors, wrapper = config["processors"], config["wrapper_class"]
    if found is None or found.processors is not processors or found.wrapper is not wrapper:
        found = _latest = _Bound(processors, wrapper, structlog.get_logger().bind())
    return found.logger


def log_failure(method: str, error: Exception) -> None:
    """Log an error that nobody expects: its kind and place, not its text, which could quote a prompt.

    Args:
        method: that failed.
        error: with its traceback.
    """
    logger().error("failed", method=method, error=type(error).__name__, place=_place_of(error))
