"""JSON Web Tokens: who calls, by the signature and the claims of an identity provider."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt

from router.access.caller import EVERY_TENANT, Caller, caller_of
from router.core.errors import BadArtifact, InvalidInput

__all__ = ["KeySet", "TokenRules", "TokenVerifier", "read_key_set"]

_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures with a public key. A shared secret is never taken from a key set that anyone can read."""
_LEEWAY_S = 30.0


class _UnknownKey(jwt.PyJWTError):
    """The token names a key that is not among those of the issuer."""


_FAULTS = (jwt.PyJWTError, InvalidInput, ValueError, OverflowError, TypeError, RecursionError)
_NO_TOKEN = "not a JSON Web Token that can be read"  # noqa: S105 — no secret
_REASONS: Mapping[type[Exception], str] = {
    _UnknownKey: "signed with a key that jwt_keys does not have",
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not valid yet (nbf)",
    jwt.InvalidAudienceError: "for another audience than jwt_audience",
    jwt.InvalidIssuerError: "of another issuer than jwt_issuer",
    jwt.MissingRequiredClaimError: "without exp, iss or aud",
    jwt.InvalidSignatureError: "the signature is wrong",
    jwt.InvalidAlgorithmError: "signed by another algorithm than that of the key",
}
"""What the log says of a token that is not valid, by what is wrong with it; the first that fits."""

_SHOWN_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say.

    Attributes:
        issuer: exact value of ``iss``.
        audience: value that ``aud`` is or contains.
        tenant_claim: name of the claim with the tenant; empty: tokens are of every tenant.
        roles_claim: name of the claim with the roles.
    """

    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"


class KeySet:
    """Public keys of an issuer by id. A token without an id is checked with the only key, if there is one."""

    def __init__(self, keys: Mapping[str, jwt.PyJWK]) -> None:
        self._keys = keys

    def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of a token; ``None`` where it is unknown."""
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)


class TokenVerifier:
    """Verifies tokens.

    Args:
        rules: what they must say.
        keys: the current keys of the issuer.
        unknown_key: called where a token names a key that is not among them.
        now: the clock, UTC.
    """

    def __init__(
        self,
        rules: TokenRules,
        keys: Callable[[], KeySet],
        *,
        unknown_key: Callable[[], None] = lambda: None,
        now: Callable[[], datetime],
    ) -> None:
        self._rules, self._keys, self._unknown_key, self._now = rules, keys, unknown_key, now

    def caller(self, token: str) -> tuple[Caller, datetime] | None:
        """Who calls with a token, and when it expires; ``None`` where it is not valid."""
        try:
            return self._checked(token)
        except _UnknownKey:
            self._unknown_key()
            return None
        except _FAULTS:
            return None

    def why_not(self, token: str) -> str:
        """Why a token is not valid, for the log; empty: it is. Quotes nothing of it."""
        try:
            self._checked(token)
        except InvalidInput as error:
            return f"{error.field.partition('.')[0]}: the claim is missing or has another form"
        except _FAULTS as error:
            return next(
                (why for kind, why in _REASONS.items() if isinstance(error, kind)), _NO_TOKEN
            )
        return ""

    def _checked(self, token: str) -> tuple[Caller, datetime]:
        """As :meth:`caller`; raises one of ``_FAULTS`` where the token is not valid."""
        header = jwt.get_unverified_header(token)
        key = self._keys().find(header.get("kid"))
        if key is None:
            raise _UnknownKey
        return self._caller_of(
            jwt.decode(
                token,
                key.key,
                # The key says how it signs, not the token.
                algorithms=[key.algorithm_name],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                options={
                    "require": ["exp", "iss", "aud"],
                    # By the injected clock, below.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        )

    def _caller_of(self, claims: Mapping[str, Any]) -> tuple[Caller, datetime]:
        now = self._now().timestamp()
        expires = float(claims["exp"])
        # In this form of the comparisons, what is no number is not valid.
        if not now < expires + _LEEWAY_S:
            raise jwt.ExpiredSignatureError
        if not float(claims.get("nbf", 0)) - _LEEWAY_S <= now:
            raise jwt.ImmatureSignatureError
        rules = self._rules
        tenant = claims.get(rules.tenant_claim) if rules.tenant_claim else EVERY_TENANT
        subject = "".join(
            c if c.isprintable() else "?" for c in str(claims.get("sub", ""))[:_SHOWN_CHARACTERS]
        )
        caller = caller_of(
            f"token of {subject or 'nobody named'}",
            tenant=tenant,
            roles=claims.get(rules.roles_claim, []),
            labels=claims.get("labels"),
            scopes=claims.get("scopes"),
        )
        return caller, datetime.fromtimestamp(expires + _LEEWAY_S, UTC)


def read_key_set(data: bytes, place: str) -> KeySet:
    """The public keys in a JWKS document.

    Keys for encryption, shared secrets and private keys are left out: whoever reads these could sign.

    Args:
        data: of the document.
        place: its file or address, for the error.

    Raises:
        BadArtifact: it is no JWKS, or holds no key that can verify a signature.
    """
    found: dict[str, jwt.PyJWK] = {}
    try:
        listed = json.loads(data)["keys"]
        for index, entry in enumerate(listed):
            if entry.get("use", "sig") != "sig" or entry.get("kty") == "oct" or "d" in entry:
                continue
            try:
                key = jwt.PyJWK.from_dict(entry)
            except jwt.PyJWTError:  # of a kind that we do not know; others may do
                continue
            if key.algorithm_name in _ALGORITHMS:
                found[key.key_id or f"key {index}"] = key
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadArtifact(
            f'{place} is not a JWKS document: it must be JSON such as {{"keys": [...]}}',
            field=place,
        ) from None
    if not found:
        raise BadArtifact(
            f"{place} holds no public key that can verify a signature; ask the issuer for its JWKS",
            field=place,
        )
    return KeySet(found)
