from __future__ import annotations

import errno
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from router import logs
from router.access.audit_log import AuditLog
from router.core.errors import NotFound, Unavailable

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_before_and_a_line_after(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.jsonl"
    log = AuditLog(path, lambda: NOON)
    with log.recorded("key mk_1", "SetLimit", {"limit": "月"}, "10.0.0.1") as facts:
        assert [line["outcome"] for line in lines(path)] == ["asked"]
        facts["made"] = "x"
    said = {
        "time": "2026-11-23T12:00:00.000+00:00",
        "who": "key mk_1",
        "peer": "10.0.0.1",
        "action": "SetLimit",
    }
    assert lines(path) == [
        {**said, "outcome": "asked", "limit": "月"},
        {**said, "outcome": "done", "limit": "月", "made": "x"},
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_refused_says_why(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "a", lambda: NOON)
    with pytest.raises(NotFound), log.recorded("a", "DeleteLimit", {"limit": "m"}):
        raise NotFound("there is none")
    assert [(line["outcome"], line.get("reason")) for line in lines(tmp_path / "a")] == [
        ("asked", None), ("refused", "NOT_FOUND"),
    ]  # fmt: skip


def test_lines_are_only_added(tmp_path: Path) -> None:
    for who in "ab":
        with AuditLog(tmp_path / "a", lambda: NOON).recorded(who, "x", {}):
            pass
    assert [line["who"] for line in lines(tmp_path / "a")] == ["a", "a", "b", "b"]


def test_where_it_cannot_be_written_nothing_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = []
    with (
        pytest.raises(Unavailable, match="nothing was changed"),
        AuditLog(tmp_path / "file" / "audit").recorded("a", "x", {}),
    ):
        done.append(1)
    assert done == []


def test_long_facts_are_cut_and_a_line_break_makes_no_line(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "a", lambda: NOON)
    with log.recorded("a\nb", "x", {"limit": "\n" * 1_000_000}):
        pass
    assert len(lines(tmp_path / "a")) == 2
    assert (tmp_path / "a").stat().st_size < 20_000


def test_a_pipe_that_nobody_reads_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/null")):
        with (
            pytest.raises(Unavailable, match="nothing was changed"),
            AuditLog(place).recorded("a", "x", {}),
        ):
            pytest.fail("it was done without a record")


def test_a_line_of_which_only_a_part_fits_on_the_disk_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, text: write(handle, text[:5]))
    with (
        pytest.raises(Unavailable, match=os.strerror(errno.ENOSPC)),
        AuditLog(tmp_path / "a").recorded("a", "x", {}),
    ):
        pytest.fail("it was done without a record")


def test_without_a_file_the_log_has_it_also_where_only_warnings_are_logged(tmp_path: Path) -> None:
    logs.set_level("warning")
    try:
        with structlog.testing.capture_logs() as said:
            for path in (None, tmp_path / "a"):
                with AuditLog(path).recorded("key mk_1", "SetLimit", {"limit": "m"}):
                    pass
    finally:
        logs.set_level("error")  # as tests/conftest.py has it
    (line,) = said
    assert (line["event"], line["who"], line["outcome"]) == ("audit", "key mk_1", "done")


def test_what_is_refused_before_it_begins_is_one_line(tmp_path: Path) -> None:
    AuditLog(tmp_path / "a").refused(
        "key mk_1", "DeleteLimit", {"limit": "m"}, "NOT_YOURS", "10.0.0.1"
    )
    (line,) = lines(tmp_path / "a")
    assert (line["who"], line["outcome"], line["reason"]) == ("key mk_1", "refused", "NOT_YOURS")
    AuditLog(tmp_path).refused("key mk_1", "DeleteLimit", {}, "NOT_YOURS")  # cannot be written
