"""Ports: whether one is free, listening on it, and keeping one for several processes."""

from __future__ import annotations

import socket
from collections.abc import Callable

import grpc

from router.core.addresses import host_port
from router.core.errors import InvalidInput

__all__ = ["listen", "port_taken", "reserved_port"]


def port_taken(host: str, port: int, setting: str, error: OSError) -> InvalidInput:
    """The error of a port that cannot be bound.

    Args:
        host: to listen on.
        port: that was asked for.
        setting: that names the port.
        error: of the operating system.
    """
    return InvalidInput(
        f"cannot listen on {host_port(host, port)} ({error.strerror}); stop what uses it or choose another "
        f"with --{setting.replace('_', '-')}",
        reason="PORT_TAKEN",
        field=setting,
    )


def _check_port_is_free(host: str, port: int, setting: str) -> None:
    """Refuse a port that another program uses; 0 is always free.

    gRPC would share the port of a program that allows it, and say nothing.

    Args:
        host: to listen on.
        port: 0 to 65535.
        setting: that names the port.

    Raises:
        InvalidInput: it cannot be bound.
    """
    if port == 0:
        return
    try:
        family = socket.getaddrinfo(host, port)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise port_taken(host, port, setting, error) from None


def reserved_port(host: str, port: int, setting: str) -> socket.socket:
    """A socket that keeps a port, without listening, for processes that share it until it is closed.

    Args:
        host: to listen on.
        port: 0 to 65535; 0: any free one, which the name of the socket tells.
        setting: that names the port.

    Raises:
        InvalidInput: another program uses it.
    """
    _check_port_is_free(host, port, setting)
    keeper: socket.socket | None = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        keeper = socket.socket(family, kind)
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        keeper.bind(address)
    except OSError as error:
        if keeper is not None:
            keeper.close()
        raise port_taken(host, port, setting, error) from None
    return keeper


def listen(
    server: grpc.Server,
    host: str,
    port: int,
    tls: Callable[[], grpc.ServerCredentials] | None,
    setting: str,
    *,
    shared: bool,
) -> tuple[str, int]:
    """Bind a server; return its address, and its port also where 0 was asked for.

    Args:
        server: does not run yet.
        host: to listen on.
        port: 0 to 65535; 0: any free one.
        tls: makes its keys and certificates; ``None``: without.
        setting: that names the port.
        shared: whether other processes listen on it too.

    Raises:
        InvalidInput: another program uses it, or the host is not of this machine.
    """
    if not shared:
        _check_port_is_free(host, port, setting)
    wanted = host_port(host, port)
    try:
        bound = (
            server.add_insecure_port(wanted)
            if tls is None
            else server.add_secure_port(wanted, tls())
        )
    except RuntimeError:
        option = setting.replace("_", "-")
        raise InvalidInput(
            f"cannot listen on {wanted}; choose another with --{option.replace('port', 'host')} or "
            f"--{option}",
            reason="PORT_TAKEN",
            field=setting,
        ) from None
    return host_port(host, bound), bound
