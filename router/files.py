"""Reading and writing artifacts: hashes checked before anything is parsed, writes all or nothing."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from router.core.errors import BadArtifact

__all__ = ["check_sha256", "read_checked", "replace_text", "sha256_of", "written_whole"]


def sha256_of(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def check_sha256(path: Path, data: bytes, expected: str, *, remedy: str) -> None:
    """Refuse ``data`` unless its SHA-256 is the expected one.

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
    """Read the named files of a directory and check each hash before anyone parses it.

    Args:
        directory: where the files lie.
        hashes: file name → SHA-256. A name that leaves the directory is refused.
        remedy: what the reader of an error should do.

    Raises:
        BadArtifact: a file is missing, unreadable or altered.
    """
    contents = {}
    for name, expected in hashes.items():
        path = directory / name
        if Path(name).name != name:
            raise BadArtifact(f"{directory}: the file name {name!r} leaves its directory; {remedy}")
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
def written_whole(target: Path) -> Iterator[Path]:
    """A scratch directory that becomes ``target`` when the block ends well, and vanishes when not.

    An existing ``target`` is replaced only at that moment, so a reader never sees half a bundle.
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


def replace_text(target: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 and readable by all; its folder must be there.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    scratch = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.chmod(0o644)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
