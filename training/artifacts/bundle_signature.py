"""Signs a bundle by model-signing (OpenSSF), in sigstore's format, with a key on an elliptic curve."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from router.classifier.manifest import MANIFEST, REMEDY, read_manifest
from router.classifier.signature import (
    CURVES,
    SIGNATURE,
    PublicKeys,
    fingerprint,
    signed_files,
)
from router.core.errors import BadArtifact, InvalidInput, shown
from router.files import MAX_TEXT_BYTES, read_bounded, read_checked, replace_text, sha256_of

__all__ = ["SignedBundle", "sign_bundle", "signature_sha256"]


@dataclass(frozen=True)
class SignedBundle:
    """The result of :func:`sign_bundle`.

    Attributes:
        version: of the bundle, ``name@hash``.
        files: how many files are signed.
        key: fingerprint of the public key, as serving names it.
    """

    version: str
    files: int
    key: str


def sign_bundle(directory: Path, key: Path, password: str | None = None) -> SignedBundle:
    """Sign an intact bundle: write ``model.sig``, in place of an older one.

    Args:
        directory: the bundle.
        key: PEM file with a private key of the curve P-256, P-384 or P-521.
        password: of the key; ``None``: the file is not encrypted.

    Raises:
        BadArtifact: the bundle is damaged, has files that are not its own, or cannot be written.
        InvalidInput: the key or its password is not usable.
    """
    manifest, version = read_manifest(directory)
    read_checked(directory, manifest.files, remedy=REMEDY)
    files = {MANIFEST, *manifest.files}
    for other in sorted({entry.name for entry in directory.iterdir()} - files - {SIGNATURE}):
        raise BadArtifact(
            f"{directory}: {shown(other)} is no part of the bundle: {MANIFEST} does not list it; remove it "
            "before you sign",
            reason="FILE_NOT_LISTED",
            field=str(directory / other),
        )
    public = _public_key(key, password)
    try:
        replace_text(directory / SIGNATURE, _signature(directory, key, password))
    except OSError as error:
        raise BadArtifact(
            f"{directory / SIGNATURE} cannot be written ({error.strerror}); sign a copy of the bundle that "
            "may be written to",
            reason="OUT_UNWRITABLE",
            field="bundle",
        ) from None
    mark = fingerprint(public)
    # What serving will find.
    read_manifest(directory, signed_files(directory, PublicKeys(key, {mark: public})))
    return SignedBundle(version, len(files), mark)


def signature_sha256(directory: Path) -> str | None:
    """The hash of a bundle's signature; ``None`` where it is not signed.

    Raises:
        BadArtifact: the signature cannot be read.
    """
    path = directory / SIGNATURE
    try:
        return sha256_of(read_bounded(path, MAX_TEXT_BYTES))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadArtifact(
            f"{path} cannot be read ({error.strerror}); sign the bundle again",
            reason="SIGNATURE_DAMAGED",
            field=str(path),
        ) from None


def _public_key(path: Path, password: str | None) -> ec.EllipticCurvePublicKey:
    try:
        content = read_bounded(path, MAX_TEXT_BYTES)
    except OSError as error:
        raise _unusable(path, f"cannot be read ({error.strerror})") from None
    try:
        private = load_pem_private_key(content, None if password is None else password.encode())
    except TypeError:
        why = "is encrypted" if password is None else "is not encrypted, and a password is set"
        raise _unusable(path, why) from None
    except (ValueError, UnsupportedAlgorithm):
        why = "is no private key in PEM" if password is None else "does not open with the password"
        raise _unusable(path, why) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.curve.name not in CURVES:
        raise _unusable(path, "is another kind of key")
    return private.public_key()


def _unusable(path: Path, why: str) -> InvalidInput:
    return InvalidInput(
        f"--key: {path} {why}; it must hold a private key of the curve P-256, P-384 or P-521, and "
        "MITSUMORI_SIGNING_PASSWORD its password if it is encrypted",
        field="key",
    )


def _signature(directory: Path, key: Path, password: str | None) -> str:
    """The text of the signature of all files of a directory but ``model.sig``."""
    # It brings the clients of sigstore's servers, which are not asked here.
    from model_signing import hashing, signing

    # The library passes the password on as it is, to what takes bytes.
    secret = None if password is None else password.encode()
    hashed = hashing.Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)
    with tempfile.TemporaryDirectory(prefix="mitsumori-") as scratch:
        target = Path(scratch) / SIGNATURE
        signer = signing.Config().use_elliptic_key_signer(private_key=key, password=secret)
        try:
            signer.set_hashing_config(hashed).sign(directory, target)
        except ValueError as error:
            raise BadArtifact(
                f"{directory} cannot be signed: {str(error).splitlines()[0][:200]}",
                reason="NOT_SIGNABLE",
                field="bundle",
            ) from None
        return target.read_text(encoding="utf-8")
