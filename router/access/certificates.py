"""TLS: the certificates of the server, checked when they are loaded, and loaded anew when they change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from router.access.watched_file import WatchedFile
from router.core.errors import BadArtifact
from router.files import MAX_TEXT_BYTES, read_bounded

__all__ = ["CertificateFiles", "server_credentials"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files.

    Attributes:
        certificate: of the server, followed by those between it and the root.
        key: its private key, without a password.
        client_ca: roots of the certificates that callers must have; ``None``: callers need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def load(self, now: datetime) -> grpc.ServerCertificateConfiguration:
        """What a handshake needs.

        Raises:
            BadArtifact: a file is missing, does not fit the others, or a certificate has expired.
        """
        chain, key = _content(self.certificate), _content(self.key)
        certificate = _certificates(self.certificate, chain)[0]
        if certificate.not_valid_after_utc <= now:
            raise BadArtifact(
                f"the certificate {self.certificate} expired at "
                f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; renew it",
                reason="CERTIFICATE_EXPIRED",
                field=str(self.certificate),
            )
        try:
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise BadArtifact(
                f"{self.key} is not a private key in PEM form without a password",
                field=str(self.key),
            ) from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if private.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
            raise BadArtifact(
                f"the key {self.key} is not that of the certificate {self.certificate}; name two that belong "
                "together",
                field=str(self.key),
            )
        roots = None
        if self.client_ca is not None:
            roots = _content(self.client_ca)
            _certificates(self.client_ca, roots)
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)


def server_credentials(
    files: CertificateFiles, now: Callable[[], datetime] = _utc_now
) -> grpc.ServerCredentials:
    """Credentials that use new files from the next connection on; what cannot be used is refused and logged.

    Args:
        files: of the server.
        now: the clock, UTC.

    Raises:
        BadArtifact: they cannot be used.
    """
    paths = [path for path in (files.certificate, files.key, files.client_ca) if path is not None]
    watched = WatchedFile("certificates", paths, lambda: files.load(now()), every_s=0)
    first, in_use = watched.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal in_use
        found, version = watched.current()
        if version == in_use:
            return None
        in_use = version
        return found

    return grpc.dynamic_ssl_server_credentials(
        first,
        changed,
        require_client_authentication=files.client_ca is not None,
    )


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise BadArtifact(f"{path} holds no certificate in PEM form", field=str(path)) from None


def _content(path: Path) -> bytes:
    try:
        return read_bounded(path, MAX_TEXT_BYTES)
    except OSError as error:
        raise BadArtifact(
            f"{path} cannot be read ({error.strerror}); name the file, or allow this user to read it",
            reason="FILE_MISSING",
            field=str(path),
        ) from None
