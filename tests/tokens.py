"""An identity provider for tests: signs real tokens, and publishes its keys as a JWKS document."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER, AUDIENCE = "https://id.example", "mitsumori"


class Issuer:
    """Signs with one RSA key.

    Args:
        key_id: of the key.
    """

    def __init__(self, key_id: str = "k1") -> None:
        self.key_id = key_id
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self) -> bytes:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return json.dumps(
            {"keys": [{**key, "kid": self.key_id, "use": "sig", "alg": "RS256"}]}
        ).encode()

    def token(
        self,
        *,
        lifetime: timedelta = timedelta(hours=1),
        now: datetime | None = None,
        **claims: Any,
    ) -> str:
        """A token of tenant acme that may route; ``claims`` replace or, as ``None``, remove claims."""
        issued = now or datetime.now(UTC)
        all_claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "gateway",
            "iat": issued,
            "exp": issued + lifetime,
            "tenant": "acme",
            "roles": ["route"],
            **claims,
        }
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(kept, self._key, algorithm="RS256", headers={"kid": self.key_id})
