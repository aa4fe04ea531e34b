"""Files of bundles and encoders: hashes are checked before parsing, and writes are atomic."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from router.core.errors import BadArtifact

__all__ = [
    "check_sha256",
    "create_private",
    "read_checked",
    "replace_directory",
    "replace_text",
    "sha256_of",
]


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
            data = path.read_bytes()
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
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
