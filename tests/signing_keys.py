"""Real keys that sign bundles, as files."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

__all__ = ["SigningKey"]


class SigningKey:
    """A private key and its public key.

    Args:
        folder: where the files go.
        name: of the files, NAME.key and NAME.pub.
        curve: of the key.
        password: of the private key's file; empty: it is not encrypted.
    """

    def __init__(
        self, folder: Path, name: str, curve: ec.EllipticCurve | None = None, password: str = ""
    ) -> None:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        self.private, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        kept = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        self.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, kept))
        self.public.write_bytes(
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
