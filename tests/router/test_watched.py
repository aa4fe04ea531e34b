"""Inputs that change: taken whole and once, or refused in one line while the one before stays."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from router.core.errors import BadArtifact, MitsumoriError, Unavailable
from router.watched import FileSource, Watched

Log = list[structlog.typing.EventDict]


def parsed(contents: dict[Path, bytes]) -> str:
    text = b"+".join(contents.values()).decode()
    if "bad" in text:
        raise BadArtifact("the text is bad; write another", reason="BAD")
    return text


def unreadable(path: Path, why: str) -> MitsumoriError:
    return BadArtifact(f"{path} cannot be read ({why})", reason="UNREADABLE")


def watched(*paths: Path, wait: Callable[[float], object] = lambda _: None) -> Watched[str]:
    return Watched("text", FileSource(paths, parsed, unreadable, wait=wait))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "text"
    made.write_text("one")
    return made


def test_a_new_content_is_taken_and_its_version_told(path: Path, log: Log) -> None:
    text = watched(path)
    first = text.status
    assert text.current() == ("one", 0)
    path.write_text("two")
    assert text.refresh()
    assert text.current() == ("two", 1)
    assert text.status.version != first.version
    assert [(line["event"], line["before"]) for line in log] == [("text_swapped", first.version)]


def test_what_decides_is_the_content_not_the_time_of_the_file(path: Path, log: Log) -> None:
    text = watched(path)
    os.utime(path, ns=(1, 1))
    assert not text.refresh()
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert text.refresh()
    assert len(log) == 1


def test_a_content_that_cannot_be_used_is_said_once_and_the_one_before_stays(
    path: Path, log: Log
) -> None:
    text = watched(path)
    path.write_text("bad")
    for _ in range(3):
        assert not text.refresh()
    assert text.current() == ("one", 0)
    refusal = text.status.refusal
    assert refusal is not None
    assert (refusal.reason, refusal.text) == ("BAD", "the text is bad; write another")
    path.write_text("also bad")
    text.refresh()
    assert [line["event"] for line in log] == ["text_refused"] * 2
    assert {line["serving"] for line in log} == {text.status.version}


def test_where_the_content_before_returns_nothing_is_refused_any_more(path: Path, log: Log) -> None:
    text = watched(path)
    path.write_text("bad")
    text.refresh()
    path.write_text("one")
    assert not text.refresh()
    assert text.status.refusal is None
    assert text.current() == ("one", 0)
    path.write_text("bad")
    text.refresh()
    assert len(log) == 2  # it was offered twice


def test_a_signal_tries_a_refused_content_again_and_says_so(path: Path, log: Log) -> None:
    text = watched(path)
    path.write_text("bad")
    text.refresh()
    text.retry_refused()
    text.refresh()
    text.refresh()
    assert [line["event"] for line in log] == ["text_refused"] * 2


def test_what_others_do_not_fit_is_tried_again_silently_once_they_have_changed(
    path: Path, log: Log
) -> None:
    text = watched(path)
    path.write_text("two")

    def refuse(_value: str) -> None:
        raise BadArtifact("does not fit", reason="MISFIT")

    text.refresh(refuse)
    assert not text.refresh()
    text.reconsider()
    text.refresh(refuse)
    text.reconsider()
    assert text.refresh()
    assert [line["event"] for line in log] == ["text_refused", "text_swapped"]


def test_a_file_that_is_being_written_is_taken_only_when_it_rests(path: Path) -> None:
    rest = iter(["on", "one and", "one and two"])

    def write_on(_seconds: float) -> None:
        path.write_text(next(rest, "one and two"))

    text = watched(path, wait=write_on)
    path.write_text("o")
    assert text.refresh()
    assert text.current() == ("one and two", 1)


def test_a_file_that_never_rests_is_never_taken(path: Path) -> None:
    count = iter(range(1_000))
    text = watched(path, wait=lambda _: path.write_text(str(next(count))))
    path.write_text("two")
    with pytest.raises(Unavailable, match="keeps changing"):
        text.refresh()
    assert text.current() == ("one", 0)


def test_of_two_files_no_mixture_is_taken(tmp_path: Path) -> None:
    paths = tmp_path / "certificate", tmp_path / "key"
    for each in paths:
        each.write_text("old")
    pair = watched(*paths, wait=lambda _: paths[1].write_text("new"))
    paths[0].write_text("new")
    assert pair.refresh()
    assert pair.current() == ("new+new", 1)


def test_a_link_is_followed_as_kubernetes_moves_it(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text(name)
    data = tmp_path / "..data"
    data.symlink_to("first")
    (tmp_path / "text").symlink_to("..data/text")
    text = watched(tmp_path / "text")
    moved = tmp_path / "..data_tmp"
    moved.symlink_to("second")
    moved.replace(data)
    assert text.refresh()
    assert text.current() == ("second", 1)


def test_a_file_that_is_missing_for_a_moment_is_not_refused(path: Path, log: Log) -> None:
    text = watched(path, wait=lambda _: path.write_text("two"))
    path.unlink()
    assert text.refresh()
    assert [line["event"] for line in log] == ["text_swapped"]


def _missing(path: Path) -> None:
    path.unlink()


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _huge(path: Path) -> None:
    path.write_bytes(b"- x\n" * (6 << 20))


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_missing, "No such file"),
        (_directory, "directory"),
        (_pipe, "a pipe or a device, not a file"),
        (_huge, "more than 1 MiB"),
        (_loop, "symbolic links"),
    ],
)
def test_what_is_no_file_of_a_sane_size_is_refused_in_one_line(
    spoil: Callable[[Path], None], why: str, path: Path, log: Log
) -> None:
    text = watched(path)
    spoil(path)
    for _ in range(3):
        assert not text.refresh()
    assert text.current() == ("one", 0)
    (line,) = log
    assert why in line["detail"]
    assert "\n" not in line["detail"]
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    path.write_text("two")
    assert text.refresh()


@contextmanager
def _as_another_user() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)  # root may read everything
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_this_user_may_not_read_is_refused(path: Path, log: Log) -> None:
    text = watched(path)
    path.chmod(0)
    with _as_another_user():
        text.refresh()
        text.refresh()
    assert text.current() == ("one", 0)
    (line,) = log
    assert "Permission denied" in line["detail"]


def test_a_pipe_at_the_start_is_read_once(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"one")
    os.close(write)
    text = watched(Path(f"/dev/fd/{read}"))
    assert not text.refresh()
    assert text.current() == ("one", 0)
    os.close(read)


def test_a_source_without_anything_at_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadArtifact, match="cannot be read"):
        watched(tmp_path / "none")
