"""Files that others wrote: reading them is bounded, hashes are checked before parsing, writes are atomic."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import select
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from router.core.errors import BadArtifact

__all__ = [
    "MAX_FILE_BYTES",
    "MAX_TEXT_BYTES",
    "check_sha256",
    "create_private",
    "parse_yaml",
    "read_bounded",
    "read_checked",
    "replace_directory",
    "replace_text",
    "sha256_of",
]

MAX_TEXT_BYTES = 1 << 20
"""Of a settings file, a catalog or a manifest: a hundred times what ships."""
MAX_FILE_BYTES = 2 << 30
"""Of a file of a bundle or an encoder."""
_MAX_VALUES = 1_000_000
"""In a YAML document, as often as its aliases repeat them: more than a file of a megabyte can write out."""
_PATIENCE_S = 5.0
"""Seconds that a pipe may take to send a whole file."""
_CHUNK = 1 << 20


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The content of a file, or of a pipe that another program fills now.

    Args:
        path: of the file.
        max_bytes: the most that it may hold, > 0.

    Raises:
        OSError: it cannot be read, has more (EFBIG), or is a pipe that is silent for five seconds
            (ETIMEDOUT); ``strerror`` says which.
    """
    # Otherwise opening a pipe waits until another program opens it, too.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    parts, size = list[bytes](), 0
    try:
        ready = select.poll()
        ready.register(handle, select.POLLIN)
        # A file on a slow disk takes its time.
        regular = stat.S_ISREG(os.fstat(handle).st_mode)
        until = math.inf if regular else time.monotonic() + _PATIENCE_S
        while True:
            left_s = until - time.monotonic()
            if left_s <= 0 or not ready.poll(min(left_s, _PATIENCE_S) * 1000):
                raise OSError(errno.ETIMEDOUT, "it is a pipe or a device that sends nothing")
            try:
                part = os.read(handle, _CHUNK)
            except BlockingIOError:
                continue
            if not part:
                return b"".join(parts)
            parts.append(part)
            size += len(part)
            if size > max_bytes:
                raise OSError(errno.EFBIG, f"it has more than {_size_text(max_bytes)}")
    finally:
        os.close(handle)


def _size_text(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size:,} bytes"


class _TooMuchError(Exception):
    """A document stands for more values than anyone means."""


class _BoundedLoader(yaml.SafeLoader):
    """Merges (``<<``) copy entries: their number is bounded, too."""

    _merged = 0

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        self._merged += len(node.value)
        if self._merged > _MAX_VALUES:
            raise _TooMuchError


def _check_values(value: Any) -> None:
    """Refuse a value with too many values in it, each counted as often as something refers to it."""
    waiting, count = [value], 0
    while waiting:
        each = waiting.pop()
        inside: Any = ()
        if isinstance(each, dict):
            inside = each.values()
        elif isinstance(each, list | set | tuple):
            inside = each
        count += len(inside)
        if count > _MAX_VALUES:
            raise _TooMuchError
        waiting.extend(inside)


def parse_yaml(content: bytes | str) -> Any:
    """The value of a YAML document.

    Aliases are followed within bounds: a kilobyte of them can stand for billions of values.

    Raises:
        ValueError: it is not valid, nested too deeply, or stands for more than a million values; the message
            says where, and quotes nothing.
    """
    try:
        value = yaml.load(content, _BoundedLoader)  # noqa: S506 — a SafeLoader
        _check_values(value)
        return value
    except _TooMuchError:
        raise ValueError(f"stands for more than {_MAX_VALUES:,} values by its aliases") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark else ""
        raise ValueError(f"is not valid YAML{place}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (ValueError, OverflowError, TypeError):
        # A date that does not exist, a number of thousands of digits.
        raise ValueError(
            "is not valid YAML: it has a date or a number that does not exist"
        ) from None


def sha256_of(data: bytes) -> str:
    """The SHA-256 of some bytes, in lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def check_sha256(path: Path, data: bytes, expected: str, *, remedy: str) -> None:
    """Refuse content with an unexpected SHA-256.

    Args:
        path: the file, for the message.
        data: its content.
        expected: its SHA-256, lower-case hexadecimal.
        remedy: what the message tells the user to do.

    Raises:
        BadArtifact: the content differs; the message names the file, both hashes and the remedy.
    """
    found = sha256_of(data)
    if found != expected:
        raise BadArtifact(
            f"{path} was altered or damaged: its sha256 is {found[:12]}…, expected "
            f"{expected[:12]}…; {remedy}",
            reason="HASH_MISMATCH",
            field=str(path),
        )


def read_checked(directory: Path, hashes: Mapping[str, str], *, remedy: str) -> dict[str, bytes]:
    """Read files of a directory and check the hash of each.

    Args:
        directory: that contains the files.
        hashes: file name → SHA-256, lower-case hexadecimal. A name outside the directory is refused.
        remedy: what the message tells the user to do.

    Returns:
        File name → content.

    Raises:
        BadArtifact: a file is missing, unreadable or altered.
    """
    contents = {}
    for name, expected in hashes.items():
        path = directory / name
        if Path(name).name != name:
            raise BadArtifact(f"{directory}: the file name {name!r} is outside of it; {remedy}")
        try:
            data = read_bounded(path, MAX_FILE_BYTES)
        except OSError as error:
            raise BadArtifact(
                f"{path} cannot be read ({error.strerror}); {remedy}",
                reason="FILE_MISSING",
                field=str(path),
            ) from None
        check_sha256(path, data, expected, remedy=remedy)
        contents[name] = data
    return contents


@contextmanager
def replace_directory(target: Path) -> Iterator[Path]:
    """Write a directory atomically: yields a scratch directory that replaces ``target`` in the end.

    If the block raises, the scratch directory is deleted and ``target`` stays as it was, so a reader never
    sees an incomplete bundle.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        old = scratch.with_name(scratch.name + "-old")
        if target.exists():
            target.replace(old)
        scratch.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def create_private(path: Path, content: bytes = b"") -> None:
    """Make a file that only its owner may read and write; one that is there stays as it is.

    Raises:
        OSError: it cannot be made; ``FileNotFoundError`` where its directory is missing.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def replace_text(target: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a text file atomically, in UTF-8; its directory must exist.

    A file that is replaced keeps its owner, where this user may give files away: what root changes for a
    service stays readable by the service.

    Args:
        target: the file.
        text: its content.
        mode: who may read and write it; by default all users may read.

    Raises:
        OSError: the file cannot be written; an existing one stays as it was.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.chmod(mode)
        with suppress(FileNotFoundError, PermissionError):
            before = target.stat()
            os.chown(scratch, before.st_uid, before.st_gid)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
