"""Where the public keys of an issuer come from: a file that is watched, or an address that is asked beside
the calls, so that no call waits for it.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from router.access.tokens import KeySet, read_key_set
from router.core.addresses import is_loopback
from router.core.errors import BadArtifact, InvalidInput, Unavailable
from router.files import sha256_of
from router.logs import logger
from router.watched import FileSource, InputStatus, Revision, Watched

__all__ = ["RemoteKeySet", "is_address", "watch_key_set"]

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 5.0
_WHOLE_S = 10.0
"""Seconds for a whole answer: the time above begins anew with every byte."""
_PART_BYTES = 1 << 16
_REFRESH_S = 300.0
_SOONEST_S = 30.0


def is_address(place: str) -> bool:
    """Whether a place is an address and not a file."""
    return "://" in place


def watch_key_set(place: str) -> Watched[KeySet]:
    """The keys of a file that may change.

    Raises:
        BadArtifact: it is missing, or no JWKS.
    """
    path = Path(place)

    def unreadable(_path: Path, why: str) -> BadArtifact:
        return BadArtifact(
            f"the key set {path} cannot be read ({why}); name another with jwt_keys",
            field="jwt_keys",
        )

    source = FileSource([path], lambda contents: read_key_set(contents[path], place), unreadable)
    return Watched("token_keys", source)


class _AddressSource:
    """The document behind an address, as an input. One thread at a time fetches, and is waited for in vain
    where the answer comes byte by byte.
    """

    def __init__(self, address: str, fetch: Callable[[str], bytes]) -> None:
        self._address, self._fetch, self._data = address, fetch, b""
        self._thread: threading.Thread | None = None

    def find(self) -> Revision:
        """Fetch the document."""
        if self._thread is not None and self._thread.is_alive():
            raise _away(self._address, "the answer of before has not ended")
        answers = SimpleQueue[bytes | Exception]()

        def ask() -> None:
            try:
                answers.put(self._fetch(self._address))
            except Exception as error:  # noqa: BLE001 — it is raised where it is waited for
                answers.put(error)

        self._thread = threading.Thread(target=ask, name="jwks-fetch", daemon=True)
        self._thread.start()
        try:
            answer = answers.get(timeout=_WHOLE_S)
        except Empty:
            raise _away(self._address, f"no whole answer within {_WHOLE_S:g} s") from None
        if isinstance(answer, Exception):
            raise answer
        self._data = answer
        return self.settled()

    def settled(self) -> Revision:
        """As fetched: an answer is whole."""
        return Revision(sha256_of(self._data), _shown(self._address))

    def load(self) -> KeySet:
        """The keys in the document."""
        return read_key_set(self._data, _shown(self._address))


class RemoteKeySet:
    """The keys behind an address. They stay while it does not answer, and an unknown key asks for them again.

    Args:
        address: https, or http on this machine.
        fetch: gets the document.
        clock: monotonic, seconds.

    Raises:
        InvalidInput: the address is not one that can be trusted.
        Unavailable: it does not answer.
        BadArtifact: what it answers is no JWKS.
    """

    def __init__(
        self,
        address: str,
        *,
        fetch: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme != "https" and not (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        ):
            raise InvalidInput(
                "jwt_keys: must be a file or an https address; plain http is taken on this machine only",
                field="jwt_keys",
            )
        if parts.username or parts.password:
            raise InvalidInput(
                "jwt_keys: must name no user and password; name the address alone, or a file with the keys",
                field="jwt_keys",
            )
        self._clock = clock
        self._watched = Watched("token_keys", _AddressSource(address, fetch or _fetched))
        self._is_away = self._is_wanted = False
        self._asked = clock()
        self._lock = threading.Lock()

    def current(self) -> tuple[KeySet, int]:
        """The keys, and how often they have changed. Old ones are asked for again in a thread."""
        if self._clock() - self._asked >= _REFRESH_S:
            self.refresh_soon()
        return self._watched.current()

    @property
    def status(self) -> InputStatus:
        """Which keys are in use, and what was refused."""
        return self._watched.status

    def retry_refused(self) -> None:
        """Let the next :meth:`refresh` try again what was refused. Safe in a signal handler."""
        self._watched.retry_refused()
        self._is_wanted = True

    def look(self) -> None:
        """Ask for the keys in a thread of its own where they are old, or were asked for by a signal."""
        if self._is_wanted or self._clock() - self._asked >= _REFRESH_S:
            self._is_wanted = False
            self.refresh_soon()

    def refresh_soon(self) -> None:
        """Ask for the keys in a thread of its own, unless that was done within the last 30 seconds."""
        with self._lock:
            if self._clock() - self._asked < _SOONEST_S:
                return
            self._asked = self._clock()
        threading.Thread(target=self.refresh, name="jwks", daemon=True).start()

    def refresh(self) -> None:
        """Ask for the keys now; what cannot be used is logged, and the keys stay."""
        try:
            self._watched.refresh()
        except Unavailable as error:
            if not self._is_away:
                logger().warning("token_keys_away", reason=error.reason, detail=error.message)
            self._is_away = True
        else:
            self._is_away = False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead from https to an address of someone else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fetched(address: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    until = time.monotonic() + _WHOLE_S
    data = b""
    try:
        with opener.open(address, timeout=_TIMEOUT_S) as reply:
            while len(data) < _MOST_BYTES and time.monotonic() < until:
                part = reply.read1(_PART_BYTES)
                if not part:
                    break
                data += part
    except urllib.error.HTTPError as error:
        error.close()
        # Not its text, which the other side writes.
        raise _away(address, f"HTTP status {error.code}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        cause = getattr(error, "reason", None)
        raise _away(address, str(cause) if cause else type(error).__name__) from None
    return data


def _shown(address: str) -> str:
    """An address without its query, which may hold a secret."""
    return urlsplit(address)._replace(query="", fragment="").geturl()


def _away(address: str, why: str) -> Unavailable:
    return Unavailable(
        f"jwt_keys: {_shown(address)} does not answer ({why}); check the address, or name a file with the "
        "keys",
        reason="KEY_SET_UNAVAILABLE",
    )
