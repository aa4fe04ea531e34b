"""Files that others wrote: what is too long, too deep or no file is refused in one line, and soon."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from router import files
from router.catalog.catalog import load_catalog
from router.classifier.manifest import read_manifest
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError
from router.files import parse_yaml, read_bounded
from router.settings_sources import load_settings

DEEP = "[" * 100_000


def _nested(first: str, level: str, count: int) -> str:
    """A document of which each line is made of the one before, several times."""
    return first + "".join(level.format(at=n, below=f"*a{n - 1}") for n in range(1, count))


ALIASES = _nested("a0: &a0 [x, x, x]\n", "a{at}: &a{at} [{below}, {below}, {below}, {below}]\n", 40)
MERGES = _nested(
    "a0: &a0 {k0: 1}\n",
    "a{at}: &a{at} {{<<: [{below}, {below}, {below}, {below}], k{at}: 1}}\n",
    40,
)
LARGE = "# twenty-four megabytes\n" * 1_000_000


def test_a_file_is_read_whole_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    assert read_bounded(path, 3_000_000) == path.read_bytes()
    with pytest.raises(OSError, match="more than 2 MiB"):
        read_bounded(path, 2 << 20)


def test_a_pipe_that_is_filled_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"x" * 200_000,))
    writer.start()
    assert read_bounded(path, 1 << 20) == b"x" * 200_000
    writer.join()


def test_a_pipe_that_nobody_fills_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE_S", 0.05)
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="sends nothing"):
        read_bounded(path, 1 << 20)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", "line"),
        (DEEP, "nested too deeply"),
        ("day: 2026-13-41", "does not exist"),
        ("number: " + "9" * 5_000, "does not exist"),
        (ALIASES, "1,000,000 values"),
        (MERGES, "1,000,000 values"),
        ("itself: &a [*a]", "1,000,000 values"),
    ],
)
def test_yaml_that_cannot_be_read_is_one_kind_of_error(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_yaml(text)


def test_aliases_that_repeat_little_are_followed() -> None:
    found = parse_yaml("prices: &p {input: 1}\na: {<<: *p, output: 2}\nb: *p\nc: *p\n")
    assert (found["a"], found["b"], found["c"]) == (
        {"input": 1, "output": 2},
        {"input": 1},
        {"input": 1},
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [(LARGE, "more than 1 MiB"), (DEEP, "nested too deeply"), (ALIASES, "1,000,000 values")],
)
def test_a_catalog_or_settings_file_is_refused_in_one_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    for read in (lambda: load_catalog(path), lambda: load_settings(config=path)):
        with pytest.raises(MitsumoriError, match=problem) as caught:
            read()
        assert isinstance(caught.value, BadArtifact | InvalidInput)
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", [DEEP, "x" * (5 << 20)])
def test_a_manifest_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BadArtifact) as caught:
        read_manifest(tmp_path)
    assert len(caught.value.message) < 500
