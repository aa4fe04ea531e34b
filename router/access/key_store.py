"""The file of the API keys, and beside it the secret under which they are hashed; both are private."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

from router.access.api_keys import (
    ApiKey,
    KeyBook,
    id_of_key,
    new_key,
    read_keys,
    with_change,
    write_keys,
)
from router.clock import utc_now
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, NotFound
from router.files import create_private, read_bounded, replace_text
from router.watched import FileSource, Watched

__all__ = ["KeyStore", "watch_keys"]

_SECRET_BYTES = 32
_FULL_BYTES, _MAX_BYTES = 8 << 20, 16 << 20
"""Of the file: up to how many keys are added, some twenty thousand, and up to how many it is read, so that
keys of a full store can be revoked."""


class KeyStore:
    """The keys of a file, changed by one process at a time.

    Args:
        path: of the file.
        now: the clock, UTC.
    """

    def __init__(self, path: Path, now: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self.secret_path = path.with_name(path.name + ".secret")
        self._now = now

    def keys(self) -> list[ApiKey]:
        """Every key, oldest first.

        Raises:
            NotFound: there is no such file.
            BadArtifact: it cannot be read.
        """
        if not self.path.exists():
            raise _no_store(self.path)
        return read_keys(_content(self.path), str(self.path))

    def book(self) -> KeyBook:
        """The keys, ready to verify.

        Raises:
            NotFound, BadArtifact: as of :meth:`keys`; or the secret is missing.
            InvalidInput: what is kept of a key was altered.
        """
        return KeyBook(self.keys(), self._secret())

    def create(
        self,
        *,
        name: str,
        tenant: str,
        roles: Sequence[str],
        labels: Mapping[str, str],
        scopes: Mapping[str, Sequence[str]],
        expires: datetime | None,
    ) -> tuple[str, ApiKey]:
        """Add a key, and return its text beside what is kept of it; the first one makes the file.

        Args:
            name: as for :class:`ApiKey`, like the others.
            tenant: see ``name``.
            roles: see ``name``; at least one.
            labels: see ``name``.
            scopes: see ``name``.
            expires: see ``name``.

        Raises:
            InvalidInput: one of them has another form, or the file cannot be written.
        """
        with self._changed() as keys:
            text, key = new_key(
                self._secret(),
                self._now(),
                name=name,
                tenant=tenant,
                roles=roles,
                labels=labels,
                scopes=scopes,
                expires=expires,
            )
            keys.append(key)
        return text, key

    def rotate(self, key_id: str, overlap: timedelta) -> tuple[str, ApiKey]:
        """Add a key with the rights of another, which stays valid for some time.

        Args:
            key_id: of the key that is replaced, or its whole text.
            overlap: how long both are valid, ≥ 0.

        Raises:
            NotFound: there is no such key.
            InvalidInput: it is no longer valid.
        """
        with self._changed() as keys:
            now = self._now()
            ends = now + overlap
            named = _id_of(key_id)
            old = next((key for key in keys if key.id == named), None)
            if old is not None and old.state_at(now) != "active":
                raise InvalidInput(
                    f"key mk_{old.id} is {old.state_at(now)}; make a new one with `mitsumori keys create`",
                    field="key",
                )
            ends = min(ends, old.expires) if old is not None and old.expires is not None else ends
            keys[:] = with_change(keys, named, expires=ends)
            assert old is not None  # noqa: S101 — with_change has found it
            text, key = new_key(
                self._secret(),
                now,
                name=old.name,
                tenant=old.tenant,
                roles=old.roles,
                labels=old.labels,
                scopes=old.scopes,
                # As long from now as the old one had from its making.
                expires=None if old.expires is None else now + (old.expires - old.created),
            )
            keys.append(key)
        return text, key

    def revoke(self, key_id: str) -> ApiKey:
        """Make a key invalid for good, by its id or its whole text; one that is stays as it was.

        Raises:
            NotFound: there is no such key.
        """
        named = _id_of(key_id)
        with self._changed() as keys:
            if not any(key.id == named and key.revoked is not None for key in keys):
                keys[:] = with_change(keys, named, revoked=self._now())
        return next(key for key in keys if key.id == named)

    @contextmanager
    def _changed(self) -> Iterator[list[ApiKey]]:
        """The keys to change; written at the end, unless the block raises.

        Where the path is a link, the file that it leads to is changed: a server may follow that by another
        path.
        """
        try:
            path = self.path.resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        except (OSError, RuntimeError) as error:  # RuntimeError: of links in a circle
            raise self._unwritable(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = self.keys() if path.exists() else []
            if path.exists() and path.stat().st_nlink > 1:
                raise InvalidInput(
                    f"the key store {path} has other names (hard links), by which a server would go on with "
                    "the keys of before; leave it one",
                    field="key_store",
                )
            before = len(keys)
            yield keys
            text = write_keys(keys)
            if len(keys) > before and len(text.encode()) > _FULL_BYTES:
                raise InvalidInput(
                    f"the key store {path} would have more than {_FULL_BYTES >> 20} MiB; take out keys that "
                    "are revoked or expired, by hand, or begin another store",
                    field="key_store",
                )
            replace_text(path, text, mode=0o600)
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            os.close(lock)

    def _unwritable(self, error: OSError | RuntimeError) -> MitsumoriError:
        why = getattr(error, "strerror", None) or "its links lead in a circle"
        return InvalidInput(
            f"the key store {self.path} cannot be written ({why}); choose another with "
            "--key-store, or allow this user to write it",
            field="key_store",
        )

    def _secret(self) -> bytes:
        if not self.secret_path.exists():
            if self.path.exists():
                raise self._no_secret()
            create_private(self.secret_path, secrets.token_hex(_SECRET_BYTES).encode())
        return self._checked_secret(_content(self.secret_path))

    def _no_secret(self) -> MitsumoriError:
        return BadArtifact(
            f"{self.secret_path} is missing, and without it no key of {self.path} is valid; restore "
            "it from a backup, or remove the store and make new keys",
            field=str(self.secret_path),
        )

    def _checked_secret(self, content: bytes) -> bytes:
        secret = content.strip()
        if len(secret) < _SECRET_BYTES:
            raise BadArtifact(
                f"{self.secret_path} holds less than {_SECRET_BYTES} characters; restore it from a backup",
                field=str(self.secret_path),
            )
        return secret

    def unreadable(self, path: Path, why: str) -> MitsumoriError:
        """The error where one of its two files cannot be read."""
        if not self.path.exists():
            return _no_store(self.path)
        if not self.secret_path.exists():
            return self._no_secret()
        return _unreadable(path, why)

    def book_of(self, contents: Mapping[Path, bytes]) -> KeyBook:
        """The keys, ready to verify, from the contents of the two files.

        Raises:
            BadArtifact, InvalidInput: they cannot be used.
        """
        for path in contents:
            _check_mode(path)
        keys = read_keys(contents[self.path], str(self.path))
        return KeyBook(keys, self._checked_secret(contents[self.secret_path]))


def watch_keys(path: Path) -> Watched[KeyBook]:
    """The keys of a file that may change.

    Raises:
        NotFound, BadArtifact, InvalidInput: it cannot be used.
    """
    store = KeyStore(path)
    files = [store.path, store.secret_path]
    source = FileSource(files, store.book_of, store.unreadable, max_bytes=_MAX_BYTES)
    return Watched("api_keys", source)


def _no_store(path: Path) -> NotFound:
    return NotFound(
        f"there is no key store {path}; `mitsumori keys create` makes it",
        field="key_store",
    )


def _unreadable(path: Path, why: str) -> BadArtifact:
    return BadArtifact(
        f"{path} cannot be read ({why}); allow this user to read it", field=str(path)
    )


def _id_of(key: str) -> str:
    return id_of_key(key) or key.removeprefix("mk_")


def _check_mode(path: Path) -> None:
    """Refuse a file in which every user of the machine could put a key.

    Raises:
        BadArtifact: names it.
    """
    with suppress(OSError):  # it was replaced meanwhile, and will be looked at again
        if path.stat().st_mode & stat.S_IWOTH:
            raise BadArtifact(
                f"every user of this machine can write {path}, and so make keys; `chmod 600` it, and send a "
                "server that runs SIGHUP",
                reason="KEYS_UNPROTECTED",
                field=str(path),
            )


def _content(path: Path) -> bytes:
    _check_mode(path)
    try:
        return read_bounded(path, _MAX_BYTES)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from None
