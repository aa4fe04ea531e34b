"""The lock of the only writer of a SQLite file. It follows the file, whatever name the file is opened by."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import sys
import threading
from contextlib import suppress
from pathlib import Path

from router.core.errors import Unavailable

__all__ = ["FileLock"]

_Inode = tuple[int, int]

_held: set[_Inode] = set()
_held_lock = threading.Lock()

_LOCKED_BYTE = 2**62
"""Far behind the bytes that SQLite locks, and behind every database."""


class FileLock:
    """The lock of the only writer of a store; the operating system releases it when the process dies.

    Two locks: one on a file beside the store (``.lock``), as releases before this one take it, and one on the
    store itself, which holds by whatever name another process opens it: a symbolic link, another path, or its
    own once somebody has removed the ``.lock``. The second is a lock of the open file description, on a
    byte that SQLite does not use. Only Linux has it; elsewhere the first stands alone.

    Creates the store as an empty file if there is none, readable by its user only.

    Args:
        path: of the store.

    Attributes:
        path: the same without symbolic links, as SQLite must open it.

    Raises:
        Unavailable: another writer has the lock, in this or another process; or the file cannot be written,
            is no regular file, or has several names, beside each of which SQLite would keep a log.
    """

    def __init__(self, path: Path) -> None:
        self._named = path
        self._handles: list[int] = []
        self._inode: _Inode | None = None
        self._log_inode: _Inode | None = None
        try:
            self.path = path.resolve()
            self._log = self.path.with_name(self.path.name + "-wal")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take()
        except (OSError, RuntimeError) as error:
            self.release()
            why = getattr(error, "strerror", None) or type(error).__name__
            raise Unavailable(f"the store {path} cannot be written: {why}") from None
        except BaseException:
            self.release()
            raise

    def _take(self) -> None:
        with _held_lock:
            # Before the store is opened: closing it again would release the locks that SQLite has on it here.
            with suppress(FileNotFoundError):
                self._check(self.path.stat())
            beside = self.path.with_name(self.path.name + ".lock")
            handle = self._open(beside)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise self._in_use() from None
            handle = self._open(self.path)
            self._check(status := os.fstat(handle))
            _lock_open_file(handle, self._in_use())
            self._inode = (status.st_dev, status.st_ino)
            _held.add(self._inode)

    def _open(self, path: Path) -> int:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except PermissionError:
            raise Unavailable(
                f"the store {self._named} is read-only; allow this user to write it"
            ) from None
        self._handles.append(handle)
        return handle

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise Unavailable(f"the store {self._named} is no regular file; name another")
        if status.st_nlink > 1:
            raise Unavailable(
                f"the store {self._named} has {status.st_nlink} names (hard links), and SQLite would keep a"
                " log beside each; remove all but one, and copy a store by `mitsumori backup`",
                reason="STORE_HAS_LINKS",
            )
        if (status.st_dev, status.st_ino) in _held:
            raise self._in_use()

    def _in_use(self) -> Unavailable:
        return Unavailable(
            f"the store {self._named} is being written by another process; stop that process, or use"
            " PostgreSQL to share a store",
            reason="STORE_IN_USE",
        )

    def watch_log(self) -> None:
        """Have :meth:`check` look at the log beside the store, too. Call it once SQLite has opened it."""
        self._log_inode = _inode_of(self._log)

    def check(self) -> None:
        """Refuse to go on where the store, or its log, has been deleted or replaced since it was opened.

        The log holds the latest commits, and SQLite would go on writing one that has no name any more.

        Raises:
            Unavailable: what is written now would be lost. The message names no path.
        """
        if _inode_of(self.path) != self._inode:
            lost, remedy = "store", "put it back, or restart the server"
        elif self._log_inode is not None and _inode_of(self._log) != self._log_inode:
            lost, remedy = "log beside the store", "restart the server, by SIGTERM"
        else:
            return
        raise Unavailable(
            f"the {lost} was deleted or replaced while it is in use; {remedy}", reason="STORE_LOST"
        )

    def release(self) -> None:
        """Let another process write the store. Call it once no connection of this process is open."""
        for handle in self._handles:
            os.close(handle)
        self._handles.clear()
        with _held_lock:
            if self._inode is not None:
                _held.discard(self._inode)


def _inode_of(path: Path) -> _Inode | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _lock_open_file(handle: int, in_use: Unavailable) -> None:
    if sys.platform != "linux":
        return
    request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, _LOCKED_BYTE, 1, 0)
    try:
        fcntl.fcntl(handle, fcntl.F_OFD_SETLK, request)
    except (BlockingIOError, PermissionError):
        raise in_use from None
    # A file system without such locks (ENOLCK, EINVAL) still has the lock beside the store.
    except OSError:
        return
