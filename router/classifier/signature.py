"""The signature of a bundle: who says that its files are as they should be.

``model.sig`` lies in the bundle, in sigstore's format as model-signing (OpenSSF) writes it: an envelope
(DSSE) around a statement (in-toto) that lists the SHA-256 of every file. Serving reads it with
``cryptography`` alone. The manifest names its encoders by hash, so that they are signed with it.

Source: DSSE 1.0, the sigstore bundle 0.3, and the predicate model_signing/signature/v1.0.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from router.core.errors import BadArtifact, shown
from router.files import MAX_TEXT_BYTES, read_bounded

__all__ = ["CURVES", "SIGNATURE", "PublicKeys", "check_signed", "fingerprint", "signed_files"]

SIGNATURE = "model.sig"
"""The file of the signature, which signs every other file of its bundle."""

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
# The curves of model-signing, and the hash that it signs with each.
_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
CURVES = frozenset(_HASHES)
"""Names of the curves whose keys may sign."""
_SHOWN_DIGITS = 12
_SIGN = "sign it with `python -m training sign`"


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """The SHA-256 of a public key's PEM text, by which a signature names its key."""
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The keys of which one must have signed a bundle.

    Attributes:
        path: of their file.
        by_fingerprint: key by :func:`fingerprint`, one or more.
    """

    path: Path
    by_fingerprint: Mapping[str, ec.EllipticCurvePublicKey]

    @classmethod
    def read(cls, path: Path) -> PublicKeys:
        """The keys of a PEM file, one block each; text between the blocks is ignored.

        Raises:
            BadArtifact: the file cannot be read, or holds no key or another kind of key.
        """
        try:
            content = read_bounded(path, MAX_TEXT_BYTES)
        except OSError as error:
            raise _unusable(path, f"cannot be read ({error.strerror})") from None
        keys = dict[str, ec.EllipticCurvePublicKey]()
        for block in _PEM.finditer(content):
            if block[1] != b"PUBLIC KEY":
                what = block[1].decode().lower()
                raise _unusable(path, f"holds a {what}, and only public keys belong there")
            try:
                key = load_pem_public_key(block[0])
            except (ValueError, UnsupportedAlgorithm):
                raise _unusable(path, f"is damaged at key {len(keys) + 1}") from None
            if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
                raise _unusable(path, f"has another kind of key at {len(keys) + 1}")
            keys[fingerprint(key)] = key
        if not keys:
            raise _unusable(path, "holds no public key")
        return cls(path, keys)


def _unusable(path: Path, why: str) -> BadArtifact:
    return BadArtifact(
        f"bundle_public_keys: {path} {why}; put public keys of the curves P-256, P-384 or P-521 there, as "
        "`openssl ec -pubout` writes them",
        reason="PUBLIC_KEYS_UNUSABLE",
        field="bundle_public_keys",
    )


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What is signed, by whom as it says itself, and the signature."""

    payload: bytes
    signature: bytes
    key_hint: str


def signed_files(directory: Path, keys: PublicKeys) -> dict[str, str]:
    """What a bundle should be by its signature: file name → SHA-256, lower-case hexadecimal.

    The directory holds exactly these files, as far as their names go; :func:`check_signed` compares hashes.

    Args:
        directory: the bundle.
        keys: of which one must have signed it.

    Raises:
        BadArtifact: the signature is missing, damaged or by another key, or a file is missing or not signed.
    """
    path = directory / SIGNATURE
    try:
        content = read_bounded(path, MAX_TEXT_BYTES)
    except FileNotFoundError:
        raise _refused(
            "SIGNATURE_MISSING",
            path,
            f"{directory} is not signed ({SIGNATURE} is missing), and bundle_public_keys asks for a "
            f"signature; {_SIGN}",
        ) from None
    except OSError as error:
        raise _damaged(path, f"cannot be read ({error.strerror})") from None
    envelope = _envelope(path, content)
    _check_key(path, envelope, keys)
    signed = _statement(path, envelope.payload)
    try:
        there = {entry.name for entry in directory.iterdir()} - {SIGNATURE}
    except OSError as error:
        raise _damaged(directory, f"cannot be listed ({error.strerror})") from None
    for name in sorted(signed.keys() - there):
        raise _refused(
            "SIGNED_FILE_MISSING",
            directory / name,
            f"{directory}: {shown(name)} is signed and not there; restore it, or {_SIGN} again",
        )
    for name in sorted(there - signed.keys()):
        raise _refused(
            "FILE_NOT_SIGNED",
            directory / name,
            f"{directory}: {shown(name)} is not signed; remove it, or {_SIGN} again",
        )
    return signed


def check_signed(directory: Path, found: Mapping[str, str], signed: Mapping[str, str]) -> None:
    """Refuse files that are not those that were signed.

    Args:
        directory: the bundle, for the message.
        found: file name → SHA-256 as it is.
        signed: from :func:`signed_files`.

    Raises:
        BadArtifact: a hash differs, or a file was not signed.
    """
    for name, sha256 in found.items():
        wanted = signed.get(name, "none")
        if wanted != sha256:
            raise _refused(
                "SIGNATURE_MISMATCH",
                directory / name,
                f"{directory / SIGNATURE} is not of this bundle: {name} has the sha256 "
                f"{sha256[:_SHOWN_DIGITS]}…, signed was {wanted[:_SHOWN_DIGITS]}…; restore the bundle, or "
                f"{_SIGN} again",
            )


def _envelope(path: Path, content: bytes) -> _Envelope:
    try:
        parsed = json.loads(content)
        if parsed["mediaType"] != _MEDIA_TYPE:
            raise ValueError("media type")
        envelope = parsed["dsseEnvelope"]
        (signature,) = envelope["signatures"]
        if envelope["payloadType"] != _PAYLOAD_TYPE:
            raise ValueError("payload type")
        hint = parsed["verificationMaterial"]["publicKey"].get("hint") or ""
        if hint and not _FINGERPRINT.fullmatch(hint):
            raise ValueError("hint")
        return _Envelope(
            base64.b64decode(envelope["payload"], validate=True),
            base64.b64decode(signature["sig"], validate=True),
            hint,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(path, "is no signature by a key in sigstore's format") from None


def _check_key(path: Path, envelope: _Envelope, keys: PublicKeys) -> None:
    hint = envelope.key_hint
    if hint and hint not in keys.by_fingerprint:
        raise _refused(
            "SIGNER_UNKNOWN",
            path,
            f"{path} is by the key {hint[:_SHOWN_DIGITS]}…, which is not in {keys.path}; add its public key "
            "there if you trust it, or sign the bundle again with `python -m training sign`",
        )
    named = [keys.by_fingerprint[hint]] if hint else keys.by_fingerprint.values()
    if not any(_fits(key, envelope) for key in named):
        raise _damaged(path, "does not fit what it signs")


def _fits(key: ec.EllipticCurvePublicKey, envelope: _Envelope) -> bool:
    signed = b"DSSEv1 %d %b %d %b" % (
        len(_PAYLOAD_TYPE),
        _PAYLOAD_TYPE.encode(),
        len(envelope.payload),
        envelope.payload,
    )
    try:
        key.verify(envelope.signature, signed, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def _statement(path: Path, payload: bytes) -> dict[str, str]:
    """The files of a statement whose signature is verified: name → SHA-256."""
    try:
        parsed = json.loads(payload)
        types = parsed["_type"], parsed["predicateType"]
        predicate = parsed["predicate"]
        whole_files = predicate["serialization"]["method"] == "files"
        resources: list[dict[str, Any]] = predicate["resources"]
        by_sha256 = all(one["algorithm"] == "sha256" for one in resources)
        if types != (_STATEMENT_TYPE, _PREDICATE_TYPE) or not (whole_files and by_sha256):
            raise ValueError("another statement")
        files = {str(one["name"]): str(one["digest"]) for one in resources}
        if len(files) != len(resources):
            raise ValueError("a file twice")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _damaged(path, "signs something else than the SHA-256 of whole files") from None
    return files


def _damaged(path: Path, why: str) -> BadArtifact:
    return _refused(
        "SIGNATURE_DAMAGED",
        path,
        f"{path} {why}; restore it, or sign the bundle again with `python -m training sign`",
    )


def _refused(reason: str, path: Path, message: str) -> BadArtifact:
    return BadArtifact(message, reason=reason, field=str(path))
