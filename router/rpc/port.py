"""The port that a gRPC server listens on: its own, or none."""

from __future__ import annotations

import socket

import grpc

from router.core.errors import InvalidInput

__all__ = ["listen"]


def _check_port_is_free(host: str, port: int, setting: str) -> None:
    # gRPC binds with SO_REUSEPORT and would silently share the port with another process.
    if port == 0:
        return
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on {host}:{port} ({error.strerror}); stop what uses "
            f"it or choose another with --{setting.replace('_', '-')}",
            reason="PORT_TAKEN",
            field=setting,
        ) from None


def listen(
    server: grpc.Server, host: str, port: int, tls: grpc.ServerCredentials | None, setting: str
) -> tuple[str, int]:
    """Bind a server; return its address, and its port also where 0 was asked for.

    Args:
        server: does not run yet.
        host: name or address of the interface.
        port: 0 takes a free one.
        tls: keys and certificates; ``None``: without.
        setting: that names the port, for the message.

    Raises:
        InvalidInput: something else listens there, or the address is not of this machine.
    """
    _check_port_is_free(host, port, setting)
    shown = f"[{host}]" if ":" in host else host
    try:
        if tls is None:
            bound = server.add_insecure_port(f"{shown}:{port}")
        else:
            bound = server.add_secure_port(f"{shown}:{port}", tls)
    except RuntimeError:
        option = setting.replace("_", "-")
        raise InvalidInput(
            f"cannot listen on {shown}:{port}; choose another with --{option.replace('port', 'host')} or "
            f"--{option}",
            reason="PORT_TAKEN",
            field=setting,
        ) from None
    return f"{shown}:{bound}", bound
