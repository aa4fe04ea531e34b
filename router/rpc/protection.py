"""What guards the server, made from the settings: who may call, TLS, and the audit log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc

from router.access.audit_log import AuditLog
from router.access.exposure import check_exposure
from router.access.failed_logins import FailedLogins
from router.access.gate import Gate
from router.access.key_store import watch_keys
from router.settings import Settings

__all__ = ["Protection", "check_settings", "protection_of"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Protection:
    """What guards a server.

    Attributes:
        gate: says who calls.
        audit: records administration.
        tls: credentials of the ports; ``None``: calls are not encrypted.
    """

    gate: Gate
    audit: AuditLog
    tls: grpc.ServerCredentials | None


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


def protection_of(settings: Settings, now: Callable[[], datetime] = _utc_now) -> Protection:
    """Load keys and certificates.

    Args:
        settings: of the service.
        now: the clock, UTC.

    Raises:
        InvalidInput: the settings would let others in.
        MitsumoriError: a file cannot be used, or the issuer's keys cannot be fetched; names it.
    """
    check_settings(settings)
    return Protection(_gate(settings, now), AuditLog(settings.audit_path, now), _tls(settings, now))


def _gate(settings: Settings, now: Callable[[], datetime]) -> Gate:
    keys = watch_keys(settings.key_store) if settings.key_store is not None else None
    logins = FailedLogins(settings.failed_logins_per_minute)
    if not settings.jwt_issuer:
        return Gate(keys, logins=logins, now=now)
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
        verifier = TokenVerifier(
            rules, lambda: remote.current()[0], unknown_key=remote.refresh_soon, now=now
        )
        return Gate(keys, verifier, token_keys=remote, logins=logins, now=now)
    watched = watch_key_set(settings.jwt_keys)
    verifier = TokenVerifier(rules, lambda: watched.current()[0], now=now)
    return Gate(keys, verifier, token_keys=watched, logins=logins, now=now)


def _tls(settings: Settings, now: Callable[[], datetime]) -> grpc.ServerCredentials | None:
    certificate = settings.tls_certificate
    if certificate is None:
        return None
    from router.access.certificates import CertificateFiles, server_credentials  # as above

    files = CertificateFiles(certificate, settings.tls_key or certificate, settings.tls_client_ca)
    return server_credentials(files, now)
