"""The log: whatever becomes of its reader, whoever logs goes on."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import grpc
import pytest

from router import logs
from router.logs import LineQueue
from tests.readiness import wait_until


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe, to read and to write."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with suppress(OSError):
                os.close(end)


def read_all(end: int) -> list[str]:
    text = b""
    while select.select([end], [], [], 0)[0]:
        text += os.read(end, 1 << 20)
    return text.decode().splitlines()


def test_lines_arrive_whole_and_in_order() -> None:
    with pipe() as (reader, writer):
        queue = LineQueue(writer)
        for number in range(100):
            queue.put(f"line {number} 東京")
        queue.close(60)
        assert read_all(reader) == [f"line {number} 東京" for number in range(100)]
        assert queue.dropped == 0


def test_a_pipe_that_nobody_reads_blocks_nobody_and_what_is_too_much_is_counted() -> None:
    with pipe() as (reader, writer):
        queue = LineQueue(writer, max_bytes=10_000)
        for number in range(10_000):
            queue.put(f"line {number:05}")
        queue.close(0)
        kept = read_all(reader)
        whole = [line for line in kept if line.startswith("line ") and len(line) == 10]
        assert whole == sorted(whole)
        assert queue.dropped > 0
        assert len(whole) + queue.dropped == 10_000


def test_what_was_dropped_is_said_once_there_is_room_again() -> None:
    with pipe() as (reader, writer):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        queue = LineQueue(writer, max_bytes=1_000)
        for _ in range(2_000):
            queue.put("x" * 99)
        said: list[str] = []

        def told() -> int:
            """How many dropped lines the log has told of."""
            said.extend(read_all(reader))
            return sum(int(line.split()[0]) for line in said if "were dropped" in line)

        wait_until(lambda: told() == queue.dropped)
        assert queue.dropped > 0
        assert said.count("x" * 99) + queue.dropped <= 2_000
        wait_until(lambda: (told(), queue._waiting_bytes == 0)[1])
        queue.put("after")
        queue.close(60)
        assert told() == queue.dropped
        assert said.count("x" * 99) + queue.dropped == 2_000
        assert said[-1] == "after"


@pytest.mark.parametrize("place", ["a closed pipe", "a full disk"])
def test_lines_that_cannot_be_written_are_counted_and_fail_nobody(place: str) -> None:
    with pipe() as (reader, writer), open("/dev/full", "w") as full:  # noqa: PTH123
        os.close(reader)
        queue = LineQueue(writer if place == "a closed pipe" else full.fileno())
        for number in range(50):
            queue.put(f"line {number}")
        queue.close(60)
        assert queue.dropped == 50


def test_a_line_is_written_whatever_characters_it_has() -> None:
    with pipe() as (reader, writer):
        queue = LineQueue(writer)
        queue.put("half a pair: \ud83d")
        queue.close(60)
        assert read_all(reader) == ["half a pair: \\ud83d"]


def test_after_the_end_lines_are_dropped_and_fail_nobody() -> None:
    with pipe() as (reader, writer):
        queue = LineQueue(writer)
        queue.close()
        queue.put("late")
        queue.close()
        assert (read_all(reader), queue.dropped) == ([], 1)


def test_a_thread_that_fails_is_a_line_of_ours_without_the_text(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise ValueError("canary-4711")

    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, threading.excepthook
    try:
        logs.configure("warning", "json")
        thread = threading.Thread(target=fail, name="work")
        thread.start()
        thread.join()
        logs.close()
    finally:
        root.handlers[:], threading.excepthook = handlers, hook
        root.setLevel(level)
        logs.configure("error", "json")
    (line,) = map(json.loads, capfd.readouterr().err.splitlines())
    assert (line["event"], line["thread"], line["error"]) == ("thread_failed", "work", "ValueError")
    assert "test_logs.py:" in line["place"]


@contextmanager
def library_lines(capfd: pytest.CaptureFixture[str]) -> Iterator[list[dict[str, str]]]:
    """The lines of the log, once the block has ended."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    lines: list[dict[str, str]] = []
    try:
        logs.configure("warning", "json")
        yield lines
        logs.close()
        lines += map(json.loads, capfd.readouterr().err.splitlines())
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logs.configure("error", "json")


CANARY = "canary-4711"


class Quotes:
    """An object of a library that shows what it has."""

    def __repr__(self) -> str:
        return CANARY


def test_what_libraries_log_is_a_line_of_ours(capfd: pytest.CaptureFixture[str]) -> None:
    with library_lines(capfd) as lines:
        logging.getLogger("grpc").error("the call failed")
        logging.getLogger("grpc").info("the call began")
    (line,) = lines
    assert (line["event"], line["logger"], line["level"]) == ("library", "grpc", "error")
    assert line["message"] == "the call failed"


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("error code %s, again in %.2fs", (grpc.StatusCode.UNAVAILABLE, 0.9375),
         "error code UNAVAILABLE, again in 0.94s"),
        ("%d of %i bytes, %s, %r", (3, 10, None, True), "3 of 10 bytes, None, True"),
        ("exporting %s to %r", (CANARY, CANARY), "exporting <str> to <str>"),
        ("error connecting in %r: %s", (Quotes(), OSError(CANARY)),
         "error connecting in <Quotes>: OSError"),
        ("%s raised %s", (Quotes, [CANARY]), "Quotes raised <list>"),
        ("%(who)s has %(number)d calls", ({"who": CANARY, "number": 7},), "<str> has 7 calls"),
        ("%d calls", (CANARY,), "%d calls"),
        ("%s and %s", (1,), "%s and %s"),
        ("100 % sure", (), "100 % sure"),
        (Quotes(), (), "<Quotes>"),
        (OSError(CANARY), (), "OSError"),
        (["Traceback", CANARY], (), "<list>"),
    ],
)  # fmt: skip
def test_a_message_of_a_library_has_its_numbers_and_names_and_of_texts_only_the_kind(
    capfd: pytest.CaptureFixture[str], template: object, values: tuple[object, ...], message: str
) -> None:
    with library_lines(capfd) as lines:
        logging.getLogger("library").warning(template, *values)
    assert [line["message"] for line in lines] == [message]
    assert CANARY not in json.dumps(lines)


def test_the_text_of_an_error_that_a_library_logs_gives_way_to_its_name(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with library_lines(capfd) as lines:
        try:
            raise KeyError(CANARY)
        except KeyError as error:
            logging.getLogger("grpc").exception(f"Exception calling application: {error}")
    assert [line["message"] for line in lines] == ["Exception calling application: KeyError"]
    assert CANARY not in json.dumps(lines)
