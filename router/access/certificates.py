"""TLS: the certificates of the server, checked when they are loaded, and loaded anew when they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from router.clock import utc_now
from router.core.errors import BadArtifact
from router.logs import logger
from router.watched import FileSource, Watched

__all__ = ["CertificateFiles", "Watch", "server_credentials", "watch_certificates"]

_CLOCKS_DIFFER = timedelta(minutes=1)
"""A certificate that was just made may begin a little later, by a clock of somebody else."""
_EXPIRES_SOON = timedelta(days=7)


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

    @property
    def paths(self) -> list[Path]:
        """Every file."""
        return [path for path in (self.certificate, self.key, self.client_ca) if path is not None]

    def first_of(self, contents: Mapping[Path, bytes]) -> x509.Certificate:
        """The certificate of the server itself.

        Raises:
            BadArtifact: the content is none.
        """
        return _certificates(self.certificate, contents[self.certificate])[0]

    def configuration(
        self, contents: Mapping[Path, bytes], now: datetime
    ) -> grpc.ServerCertificateConfiguration:
        """What a handshake needs, from the contents of the files.

        Raises:
            BadArtifact: a file does not fit the others, or the certificate has expired or is not yet valid.
        """
        chain, key = contents[self.certificate], contents[self.key]
        certificate = self.first_of(contents)
        if certificate.not_valid_before_utc > now + _CLOCKS_DIFFER:
            raise BadArtifact(
                f"the certificate {self.certificate} is valid from "
                f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; a server that runs takes it then",
                reason="CERTIFICATE_NOT_YET_VALID",
                field=str(self.certificate),
            )
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
            roots = contents[self.client_ca]
            _certificates(self.client_ca, roots)
        return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=roots)


class Watch(Watched[grpc.ServerCertificateConfiguration]):
    """Certificates whose files may change.

    One that is not yet valid is taken as soon as it is. The log says of the one in use that it expires within
    a week, and that it has.

    Args:
        files: of the server.
        now: the clock, UTC.

    Raises:
        BadArtifact: they cannot be used.
    """

    def __init__(self, files: CertificateFiles, now: Callable[[], datetime]) -> None:
        self._file = files.certificate
        self._begins: datetime | None = None
        self._expires = datetime.max.replace(tzinfo=UTC)
        self._told = ""

        def loaded(contents: Mapping[Path, bytes]) -> grpc.ServerCertificateConfiguration:
            certificate = files.first_of(contents)
            self._begins = certificate.not_valid_before_utc
            made = files.configuration(contents, now())
            self._begins, self._expires, self._told = None, certificate.not_valid_after_utc, ""
            return made

        super().__init__("certificates", FileSource(files.paths, loaded, _unreadable), now=now)

    def look(self) -> None:
        """Take over what has changed or is valid by now, or refuse it."""
        if self._begins is not None and self._begins <= self._now() + _CLOCKS_DIFFER:
            self._begins = None
            self.reconsider()
        self.refresh()
        self._tell_of_the_end()

    def _tell_of_the_end(self) -> None:
        left = self._expires - self._now()
        ends = "certificate_expires_soon" if left <= _EXPIRES_SOON else ""
        ends = "certificate_expired" if left <= timedelta() else ends
        if ends and ends != self._told:
            say = logger().error if left <= timedelta() else logger().warning
            say(ends, source=str(self._file), expires=f"{self._expires:%Y-%m-%d %H:%M} UTC")
        self._told = ends


def watch_certificates(files: CertificateFiles, now: Callable[[], datetime] = utc_now) -> Watch:
    """Certificates whose files may change.

    Args:
        files: of the server.
        now: the clock, UTC.

    Raises:
        BadArtifact: they cannot be used.
    """
    return Watch(files, now)


def server_credentials(watched: Watch, *, asks_clients: bool) -> grpc.ServerCredentials:
    """Credentials that use new certificates from the next connection on.

    Args:
        watched: the certificates.
        asks_clients: whether every connection must have a certificate of its own.
    """
    first, in_use = watched.current()

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal in_use
        found, version = watched.current()
        if version == in_use:
            return None
        in_use = version
        return found

    return grpc.dynamic_ssl_server_credentials(
        first, changed, require_client_authentication=asks_clients
    )


def _certificates(path: Path, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise BadArtifact(f"{path} holds no certificate in PEM form", field=str(path)) from None


def _unreadable(path: Path, why: str) -> BadArtifact:
    return BadArtifact(
        f"{path} cannot be read ({why}); name the file, or allow this user to read it",
        reason="FILE_MISSING",
        field=str(path),
    )
