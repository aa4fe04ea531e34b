"""API keys: how they look, how they are kept, and which of them is valid. Pure but for the random secret.

A key is ``mk_ID_SECRET``. The id is shown in lists and logs; of the whole key only its HMAC-SHA256 under the
secret of the key store is kept, so that a copy of the file is of no use to anyone. The secret part has 256
random bits, which is why no slow hash is needed.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from router.access.caller import Caller, caller_of
from router.core.errors import BadArtifact, NotFound

__all__ = [
    "ApiKey",
    "KeyBook",
    "id_of_key",
    "new_key",
    "read_keys",
    "with_change",
    "write_keys",
]

_FORMAT = 1
_TEXT = re.compile(r"mk_([a-z2-7]{10})_[A-Za-z0-9_\-]{43}")
_ID_BYTES, _ID_CHARACTERS, _SECRET_BYTES = 7, 10, 32


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key as it is kept.

    Attributes:
        id: ten characters, unique in the store.
        digest: HMAC-SHA256 of the key's text, hexadecimal.
        name: for people, such as the service that uses it.
        tenant: whose key it is; ``*``: of every tenant.
        roles: names of roles.
        created: UTC.
        labels: labels that each request carries.
        scopes: for a label, the values of which each request must carry one.
        expires: from when on it is no longer valid, UTC; ``None``: never.
        revoked: when it was revoked, UTC; ``None``: it was not.
    """

    id: str
    digest: str
    name: str
    tenant: str
    roles: list[str]
    created: datetime
    labels: dict[str, str] = {}
    scopes: dict[str, list[str]] = {}
    expires: datetime | None = None
    revoked: datetime | None = None

    def state_at(self, moment: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        return "active" if self.expires is None or moment < self.expires else "expired"

    def caller(self) -> Caller:
        """Who calls with this key.

        Raises:
            InvalidInput: what is kept of it was altered.
        """
        return caller_of(
            f"key mk_{self.id}",
            tenant=self.tenant,
            roles=self.roles,
            labels=self.labels,
            scopes=self.scopes,
        )


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    keys: list[ApiKey]


class KeyBook:
    """The keys of a store, ready to verify.

    Args:
        keys: as they are kept.
        secret: of the store, under which they were hashed.

    Raises:
        InvalidInput: what is kept of a key was altered.
    """

    def __init__(self, keys: Sequence[ApiKey], secret: bytes) -> None:
        self._secret = secret
        self._keys: Mapping[str, tuple[ApiKey, Caller, bytes]] = {
            key.id: (key, key.caller(), key.digest.encode("ascii", "replace")) for key in keys
        }

    def caller(self, text: str, moment: datetime) -> tuple[Caller, datetime | None] | None:
        """Who calls with a key, and when it expires; ``None`` where it is not valid.

        The comparison takes as long for a wrong secret as for a right one, and for an unknown id.

        Args:
            text: as it was sent.
            moment: now, UTC.
        """
        found, state = self._found(text, moment)
        return (found[1], found[0].expires) if found is not None and state == "active" else None

    def why_not(self, text: str, moment: datetime) -> str:
        """Why a key is not valid, for the log: of another store, expired or revoked. Quotes nothing of it.

        Args:
            text: as it was sent.
            moment: now, UTC.
        """
        return self._found(text, moment)[1]

    def _found(
        self, text: str, moment: datetime
    ) -> tuple[tuple[ApiKey, Caller, bytes] | None, str]:
        """A key that is kept here, and its state."""
        found = self._keys.get(id_of_key(text))
        digest = _digest(text, self._secret).encode()
        same = hmac.compare_digest(digest, found[2] if found is not None else bytes(len(digest)))
        if found is None or not same:
            return None, "not a key of this store"
        return found, found[0].state_at(moment)


def id_of_key(text: str) -> str:
    """The id in the text of a key; empty where the text is no key of ours."""
    match = _TEXT.fullmatch(text)
    return match[1] if match else ""


def new_key(
    secret: bytes,
    created: datetime,
    *,
    name: str,
    tenant: str,
    roles: Sequence[str],
    labels: Mapping[str, str],
    scopes: Mapping[str, Sequence[str]],
    expires: datetime | None,
) -> tuple[str, ApiKey]:
    """A new key: its text, which is shown once and kept nowhere, and what is kept of it.

    Args:
        secret: of the store.
        created: now, UTC.
        name: as for :class:`ApiKey`, like the next five.
        tenant: see ``name``.
        roles: see ``name``.
        labels: see ``name``.
        scopes: see ``name``.
        expires: see ``name``.

    Raises:
        InvalidInput: one of the rights has another form; names it.
    """
    identity = base64.b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()[:_ID_CHARACTERS]
    text = f"mk_{identity}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    key = ApiKey(
        id=identity,
        digest=_digest(text, secret),
        name=name,
        tenant=tenant,
        roles=list(roles),
        created=created,
        labels=dict(labels),
        scopes={label: list(values) for label, values in scopes.items()},
        expires=expires,
    )
    key.caller()
    return text, key


def with_change(keys: Sequence[ApiKey], key_id: str, **changes: datetime) -> list[ApiKey]:
    """The keys with changes of one of them.

    Args:
        keys: of the store.
        key_id: without ``mk_``.
        changes: fields of :class:`ApiKey`.

    Raises:
        NotFound: there is no such key.
    """
    if key_id not in {key.id for key in keys}:
        raise NotFound(
            "there is no key with this id; `mitsumori keys list` shows them", field="key"
        )
    return [msgspec.structs.replace(key, **changes) if key.id == key_id else key for key in keys]


def read_keys(data: bytes, place: str) -> list[ApiKey]:
    """The keys in the content of a file.

    Raises:
        BadArtifact: it is no key store, or of a newer format; names the place.
    """
    try:
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadArtifact(
            f"{place} is not a key store, or is damaged; restore a backup, or make new keys",
            field=place,
        ) from None
    if file.format != _FORMAT:
        raise BadArtifact(
            f"{place} has format {file.format}, and this version reads {_FORMAT}; upgrade mitsumori",
            field=place,
        )
    return file.keys


def write_keys(keys: Sequence[ApiKey]) -> str:
    """The content of the file with these keys."""
    text = msgspec.json.encode(_File(_FORMAT, list(keys)))
    return msgspec.json.format(text, indent=1).decode() + "\n"


def _digest(text: str, secret: bytes) -> str:
    return hmac.digest(secret, text.encode("utf-8", "replace"), "sha256").hex()
