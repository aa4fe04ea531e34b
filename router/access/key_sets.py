"""Where the public keys of an issuer come from: a file that is watched, or an address that is asked beside
the calls, so that no call waits for it.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from router.access.exposure import is_loopback
from router.access.tokens import KeySet, read_key_set
from router.access.watched_file import WatchedFile
from router.core.errors import BadArtifact, InvalidInput, MitsumoriError, Unavailable
from router.files import MAX_TEXT_BYTES, read_bounded
from router.logs import logger

__all__ = ["RemoteKeySet", "is_address", "watch_key_set"]

_MOST_BYTES = 1 << 20
_TIMEOUT_S = 5.0
_REFRESH_S = 300.0
_SOONEST_S = 30.0


def is_address(place: str) -> bool:
    """Whether a place is an address and not a file."""
    return "://" in place


def watch_key_set(place: str) -> WatchedFile[KeySet]:
    """The keys of a file, read again within a second of a change.

    Raises:
        BadArtifact: it is missing, or no JWKS.
    """
    path = Path(place)

    def load() -> KeySet:
        try:
            data = read_bounded(path, MAX_TEXT_BYTES)
        except OSError as error:
            raise BadArtifact(
                f"the key set {path} cannot be read ({error.strerror}); name another with jwt_keys",
                field="jwt_keys",
            ) from None
        return read_key_set(data, place)

    return WatchedFile("JWKS", [path], load)


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
        self._address, self._fetch, self._clock = address, fetch or _fetched, clock
        self._state = (read_key_set(self._fetch(address), address), 0)
        self._asked = clock()
        self._lock = threading.Lock()

    def current(self) -> tuple[KeySet, int]:
        """The keys, and how often they have changed. Old ones are asked for again in a thread."""
        if self._clock() - self._asked >= _REFRESH_S:
            self.refresh_soon()
        return self._state

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
            found = read_key_set(self._fetch(self._address), self._address)
        except MitsumoriError as error:
            logger().error("reload refused", what="JWKS", reason=error.reason, error=error.message)
            return
        self._state = (found, self._state[1] + 1)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead from https to an address of someone else."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fetched(address: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(address, timeout=_TIMEOUT_S) as reply:
            data: bytes = reply.read(_MOST_BYTES)
    except (OSError, ValueError, urllib.error.URLError) as error:
        cause = getattr(error, "reason", None) or type(error).__name__
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise Unavailable(
            f"jwt_keys: {address} does not answer ({cause}); check the address, or name a file with the keys",
            reason="KEY_SET_UNAVAILABLE",
        ) from None
    return data
