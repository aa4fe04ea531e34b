"""Certificates that change: what is taken, when, and what the log says of their end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from router import logs
from router.access.certificates import CertificateFiles, watch_certificates
from router.core.errors import BadArtifact
from tests.certificates import Authority, Issued

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Clock:
    moment: datetime

    def __call__(self) -> datetime:
        return self.moment


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC))


def put(issued: Issued, files: CertificateFiles) -> None:
    shutil.copy(issued.certificate, files.certificate)
    shutil.copy(issued.key, files.key)


def files_in(folder: Path, issued: Issued) -> CertificateFiles:
    files = CertificateFiles(folder / "in-use.crt", folder / "in-use.key")
    put(issued, files)
    return files


def test_a_certificate_of_tomorrow_is_taken_tomorrow_and_until_then_todays_stays(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    files = files_in(tmp_path, authority.issue("today", lifetime=3 * DAY))
    watch = watch_certificates(files, clock)
    put(authority.issue("tomorrow", begins=DAY, lifetime=3 * DAY), files)
    watch.look()
    assert watch.current()[1] == 0
    refusal = watch.status.refusal
    assert refusal is not None
    assert refusal.reason == "CERTIFICATE_NOT_YET_VALID"
    assert str(files.certificate) in refusal.text
    clock.moment += DAY - HOUR
    watch.look()
    assert watch.current()[1] == 0
    clock.moment += HOUR
    watch.look()
    assert watch.current()[1] == 1
    assert watch.status.refusal is None


def test_a_certificate_that_begins_within_a_minute_was_made_by_another_clock(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    just_made = authority.issue("new", begins=timedelta(seconds=30))
    watch_certificates(files_in(tmp_path, just_made), clock)
    later = authority.issue("later", begins=timedelta(minutes=3))
    with pytest.raises(BadArtifact) as caught:
        watch_certificates(files_in(tmp_path, later), clock)
    assert caught.value.reason == "CERTIFICATE_NOT_YET_VALID"


@pytest.fixture
def warnings_are_logged() -> Iterator[None]:
    logs.set_level("warning")
    yield
    logs.set_level("error")  # as tests/conftest.py has it


@pytest.mark.usefixtures("warnings_are_logged")
def test_the_log_says_once_each_that_a_certificate_expires_soon_and_that_it_has(
    authority: Authority, tmp_path: Path, clock: Clock
) -> None:
    files = files_in(tmp_path, authority.issue("short", lifetime=8 * DAY))
    watch = watch_certificates(files, clock)

    def said_after(passed: timedelta) -> list[tuple[str, str]]:
        clock.moment += passed
        with capture_logs() as lines:
            watch.look()
            watch.look()
        return [(line["event"], line["log_level"]) for line in lines if "expire" in line["event"]]

    assert said_after(timedelta()) == []
    assert said_after(DAY + HOUR) == [("certificate_expires_soon", "warning")]
    assert said_after(7 * DAY) == [("certificate_expired", "error")]
    put(authority.issue("renewed", lifetime=90 * DAY), files)
    assert said_after(timedelta()) == []
