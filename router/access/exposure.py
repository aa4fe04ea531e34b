"""What may be reached from outside of this machine, and what that takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from router.core.addresses import is_loopback
from router.core.errors import InvalidInput

__all__ = ["check_exposure"]


def check_exposure(
    hosts: Mapping[str, str], *, tls: bool, credentials: bool, insecure: bool
) -> None:
    """Refuse to serve beyond this machine without TLS and credentials.

    Args:
        hosts: setting → the host that it names.
        tls: whether calls are encrypted.
        credentials: whether callers must show who they are.
        insecure: the operator has said that it is meant.

    Raises:
        InvalidInput: names the setting, what is missing, and the ways out.
    """
    outside = [name for name, host in hosts.items() if not is_loopback(host)]
    if not outside or insecure or (tls and credentials):
        return
    missing = []
    if not tls:
        missing.append("TLS (--tls-certificate and --tls-key)")
    if not credentials:
        missing.append("credentials (--key-store or --jwt-issuer)")
    raise InvalidInput(
        f"{outside[0]}: {hosts[outside[0]]} can be reached from other machines, and there "
        f"{'are no' if missing[0].startswith('cred') else 'is no'} {' and no '.join(missing)}; set them, "
        "listen on 127.0.0.1, or serve all the same with --insecure",
        reason="INSECURE",
        field=outside[0],
    )
