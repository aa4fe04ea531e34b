"""What guards the server, made from the settings: who may call, TLS, and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

import grpc

from router.access.audit_log import AuditLog
from router.access.exposure import check_exposure
from router.access.failed_logins import FailedLogins
from router.access.gate import Gate
from router.access.key_store import watch_keys
from router.clock import utc_now
from router.settings import Settings
from router.watched import InputStatus, Watched

if TYPE_CHECKING:
    from router.access.certificates import Watch
    from router.access.key_sets import RemoteKeySet
    from router.access.tokens import KeySet, TokenVerifier

__all__ = ["AccessInput", "Protection", "check_settings", "protection_of"]


class AccessInput(Protocol):
    """Keys or certificates that may change."""

    @property
    def status(self) -> InputStatus:
        """What is in use, and what was refused."""
        ...

    def retry_refused(self) -> None:
        """Let the next look try again what was refused. Safe in a signal handler."""
        ...

    def look(self) -> None:
        """Take over what has changed, or refuse it."""
        ...


@dataclass(frozen=True, slots=True)
class Protection:
    """What guards a server.

    Attributes:
        gate: says who calls.
        audit: records administration.
        tls: makes the credentials of a port; ``None``: calls are not encrypted. Each port needs its own: gRPC
            asks an object once what serves, and later what has changed.
        inputs: keys and certificates, which may change.
    """

    gate: Gate
    audit: AuditLog
    tls: Callable[[], grpc.ServerCredentials] | None
    inputs: tuple[AccessInput, ...] = ()


def check_settings(settings: Settings) -> None:
    """Refuse settings that would let others in.

    Raises:
        InvalidInput: names the setting and the ways out.
    """
    hosts = {"host": settings.host}
    if settings.admin_address is not None:
        hosts["admin_host"] = settings.admin_address[0]
    check_exposure(
        hosts,
        tls=settings.tls_certificate is not None,
        credentials=settings.key_store is not None or bool(settings.jwt_issuer),
        insecure=settings.insecure,
    )


def protection_of(settings: Settings, now: Callable[[], datetime] = utc_now) -> Protection:
    """Load keys and certificates.

    Args:
        settings: of the service.
        now: the clock, UTC.

    Raises:
        InvalidInput: the settings would let others in.
        MitsumoriError: a file cannot be used, or the issuer's keys cannot be fetched; names it.
    """
    check_settings(settings)
    keys = watch_keys(settings.key_store) if settings.key_store is not None else None
    token_keys, verifier = _tokens(settings, now)
    certificates = _certificates(settings, now)
    tls = None
    if certificates is not None:
        from router.access.certificates import server_credentials  # as below

        asks_clients = settings.tls_client_ca is not None
        tls = partial(server_credentials, certificates, asks_clients=asks_clients)
    gate = Gate(
        keys,
        verifier,
        token_keys=token_keys,
        logins=FailedLogins(settings.failed_logins_per_minute),
        now=now,
    )
    found = (keys, token_keys, certificates)
    return Protection(
        gate,
        AuditLog(settings.audit_path, now),
        tls,
        tuple(each for each in found if each is not None),
    )


def _tokens(
    settings: Settings, now: Callable[[], datetime]
) -> tuple[RemoteKeySet | Watched[KeySet] | None, TokenVerifier | None]:
    """The keys of the issuer of tokens, and what verifies with them."""
    if not settings.jwt_issuer:
        return None, None
    # Only here: they load cryptography, which takes tens of milliseconds.
    from router.access.key_sets import RemoteKeySet, is_address, watch_key_set
    from router.access.tokens import TokenRules, TokenVerifier

    rules = TokenRules(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_tenant_claim,
        settings.jwt_roles_claim,
    )
    if is_address(settings.jwt_keys):
        remote = RemoteKeySet(settings.jwt_keys)
        return remote, TokenVerifier(
            rules, lambda: remote.current()[0], unknown_key=remote.refresh_soon, now=now
        )
    watched = watch_key_set(settings.jwt_keys)
    return watched, TokenVerifier(rules, lambda: watched.current()[0], now=now)


def _certificates(settings: Settings, now: Callable[[], datetime]) -> Watch | None:
    certificate = settings.tls_certificate
    if certificate is None:
        return None
    from router.access.certificates import CertificateFiles, watch_certificates  # as above

    files = CertificateFiles(certificate, settings.tls_key or certificate, settings.tls_client_ca)
    return watch_certificates(files, now)
