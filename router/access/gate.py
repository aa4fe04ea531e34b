"""From what a call carries to who calls: the one place where credentials are checked."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from router.access.api_keys import KeyBook, id_of_key
from router.access.caller import ANONYMOUS, Caller
from router.access.failed_logins import FailedLogins
from router.clock import utc_now
from router.core.errors import Throttled, Unauthenticated
from router.logs import logger

if TYPE_CHECKING:  # it loads cryptography, which a server without tokens does not need
    from router.access.tokens import TokenVerifier

__all__ = ["Current", "Gate", "Metadata"]

_MOST_VERIFIED = 4096
_MOST_CHARACTERS = 8192
_SCHEME = "bearer "

_MISSING = (
    "the call carries no credential; send an API key or a token as the metadata "
    "`authorization: Bearer …` (the client's api_key or token)"
)
_INVALID = "the credential is not valid here; use an API key or a token that is in force"
_TOO_OFTEN = (
    "too many calls with credentials that are not valid came from this address; use a valid one, or "
    "wait"
)

T = TypeVar("T", covariant=True)
Metadata = Iterable[tuple[str, str | bytes]]


class Current(Protocol[T]):
    """A value that may change, with a number that tells how often it has."""

    def current(self) -> tuple[T, int]:
        """The value and the number."""
        ...


class Gate:
    """Says who calls. Thread-safe; a credential that was verified before costs a few microseconds.

    Args:
        keys: the API keys; ``None``: none are taken.
        tokens: verifies JWTs; ``None``: none are taken. Without both, every caller may do everything.
        token_keys: what ``tokens`` relies on; its changes make verified tokens be verified again.
        logins: bounds failures.
        now: the clock, UTC.
    """

    def __init__(
        self,
        keys: Current[KeyBook] | None = None,
        tokens: TokenVerifier | None = None,
        *,
        token_keys: Current[object] | None = None,
        logins: FailedLogins | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._keys, self._tokens, self._token_keys = keys, tokens, token_keys
        self._logins = logins or FailedLogins(10)
        self._now = now
        self._cache_key = secrets.token_bytes(32)
        self._verified: dict[bytes, tuple[Caller, datetime | None, int]] = {}
        self._lock = threading.Lock()

    @property
    def asks_for_credentials(self) -> bool:
        """Whether a call needs one."""
        return self._keys is not None or self._tokens is not None

    def missing(self, metadata: Metadata) -> Unauthenticated | None:
        """The error of a call that needs a credential and carries none; ``None``: it carries one.

        Args:
            metadata: of the call, keys in lower case.
        """
        return None if _credential(metadata) else _missing()

    def caller(self, metadata: Metadata, peer: str) -> Caller:
        """Who makes a call.

        Args:
            metadata: of the call, keys in lower case.
            peer: the machine that it came from.

        Raises:
            Unauthenticated: it carries no credential, or none that is valid.
            Throttled: it carries none that is valid, and too many of those came from this peer. A valid one
                passes all the same: behind a proxy, all callers have one address, of which any one could
                otherwise shut out those whose key or token is new to this process.
        """
        if not self.asks_for_credentials:
            return ANONYMOUS
        text = _credential(metadata)
        if not text:
            raise _missing()
        mark = hashlib.blake2b(text.encode("utf-8", "replace"), key=self._cache_key, digest_size=32)
        known, now = self._verified.get(mark.digest()), self._now()
        version = self._version()
        if known is not None and known[2] == version and (known[1] is None or now < known[1]):
            return known[0]
        found = self._check(text, now) if len(text) <= _MOST_CHARACTERS else None
        if found is None:
            wait_s = self._logins.wait_s(peer)
            if wait_s:
                raise Throttled(_TOO_OFTEN, retry_after_s=wait_s, reason="TOO_MANY_FAILED_LOGINS")
            self._logins.record(peer)
            key_id = id_of_key(text)
            # Only what is known to be an id: the rest of a credential may be somebody's secret.
            logger().warning(
                "login_failed",
                peer=peer,
                credential=f"key mk_{key_id}" if key_id else "token",
                why=self._why_not(text, now),
            )
            raise Unauthenticated(_INVALID, reason="INVALID_CREDENTIAL")
        with self._lock:
            while len(self._verified) >= _MOST_VERIFIED:
                del self._verified[next(iter(self._verified))]
            self._verified[mark.digest()] = (*found, version)
        return found[0]

    def _version(self) -> int:
        """Grows with every change of what credentials are checked against."""
        keys = self._keys.current()[1] if self._keys is not None else 0
        return keys + (self._token_keys.current()[1] if self._token_keys is not None else 0)

    def _check(self, text: str, now: datetime) -> tuple[Caller, datetime | None] | None:
        if text.startswith("mk_"):
            return None if self._keys is None else self._keys.current()[0].caller(text, now)
        return None if self._tokens is None else self._tokens.caller(text)

    def _why_not(self, text: str, now: datetime) -> str:
        """Why a credential is not valid, for the log; the caller may be guessing and is not told."""
        if len(text) > _MOST_CHARACTERS:
            return f"longer than {_MOST_CHARACTERS} characters"
        if text.startswith("mk_"):
            if self._keys is None:
                return "an API key, and no key_store is set"
            return self._keys.current()[0].why_not(text, now)
        if self._tokens is None:
            return "a token, and no jwt_issuer is set"
        return self._tokens.why_not(text)


def _missing() -> Unauthenticated:
    return Unauthenticated(_MISSING, reason="NO_CREDENTIAL")


def _credential(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str):
            if value[: len(_SCHEME)].lower() == _SCHEME:
                return value[len(_SCHEME) :].strip()
            return ""
    return ""
