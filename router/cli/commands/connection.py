"""The options by which a command reaches a server: its address, TLS, and the credential that it shows."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from mitsumori import Admin, Router, Tls
from mitsumori.retrying_channel import RetryingChannel
from router.core.addresses import host_port, is_loopback
from router.core.errors import InvalidInput

__all__ = ["Connection", "admin_address", "server_address", "takes_connection"]

_ATTEMPTS = 4
"""A person who waits is told within a second that there is no server; programs use the client and wait."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach a server.

    Attributes:
        address: ``host:port``; empty: none was named.
        tls: as the client takes it.
        api_key: to show; empty: none.
        token: to show; empty: none.
    """

    address: str
    tls: Tls | bool | None
    api_key: str
    token: str

    def router(self, *, timeout_s: float = 5.0) -> Router:
        """A client of RouterService."""
        return Router(
            self.address,
            timeout_s=timeout_s,
            attempts=_ATTEMPTS,
            tls=self.tls,
            api_key=self.api_key,
            token=self.token,
        )

    def admin(self) -> Admin:
        """A client of AdminService."""
        return Admin(
            self.address,
            attempts=_ATTEMPTS,
            tls=self.tls,
            api_key=self.api_key,
            token=self.token,
        )

    def anonymous(self, *, timeout_s: float) -> RetryingChannel:
        """A connection for calls that need no credential, such as those of the health service.

        Each is tried once.
        """
        return RetryingChannel(self.address, timeout_s=timeout_s, attempts=1, tls=self.tls)


def server_address(given: str) -> str:
    """The address of the server: as given, else where ``serve`` listens in the same environment.

    Args:
        given: the text of ``--server`` or ``MITSUMORI_SERVER``; empty: neither is set.

    Raises:
        InvalidInput: ``MITSUMORI_PORT`` names no port that can be called.
    """
    return given or _address_of("MITSUMORI_HOST", "MITSUMORI_PORT", "50051")


def admin_address(given: str) -> str:
    """The address of AdminService: as given, else where ``serve`` offers it in the same environment.

    Args:
        given: the text of ``--server`` or of a variable; empty: none is set.

    Raises:
        InvalidInput: ``MITSUMORI_PORT`` or ``MITSUMORI_ADMIN_PORT`` names no port that can be called.
    """
    own_port = (
        os.environ.get("MITSUMORI_ADMIN_PORT")
        or not is_loopback(os.environ.get("MITSUMORI_HOST") or "127.0.0.1")
        or os.environ.get("MITSUMORI_PROCESSES") not in (None, "", "1")
    )
    if given or not own_port:
        return server_address(given)
    return _address_of("MITSUMORI_ADMIN_HOST", "MITSUMORI_ADMIN_PORT", "50052")


def _address_of(host_name: str, port_name: str, default_port: str) -> str:
    host = os.environ.get(host_name) or "127.0.0.1"
    port = os.environ.get(port_name) or default_port
    # The length first: Python reads no number of thousands of digits.
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise InvalidInput(
            f"{port_name}={port[:20]} names no port to call; name the server with --server HOST:PORT",
            field="server",
        )
    # A server that listens on every interface is called at the loopback address.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return host_port(host, port)


def _secret(file: Path | None, option: str, variable: str) -> str:
    """A secret from a file or the environment; options can be read by every user of the machine."""
    if file is None:
        return os.environ.get(variable, "")
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        raise InvalidInput(f"{option}: {file} cannot be read", field=option) from None


_Server = Annotated[
    str,
    typer.Option(
        envvar="MITSUMORI_SERVER",
        metavar="HOST:PORT",
        help="Address of the server (default: $MITSUMORI_HOST and $MITSUMORI_PORT as for serve, else "
        "127.0.0.1:50051).",
        show_default=False,
        callback=server_address,
    ),
]
_AdminServer = Annotated[
    str,
    typer.Option(
        envvar=["MITSUMORI_ADMIN_SERVER", "MITSUMORI_SERVER"],
        metavar="HOST:PORT",
        help="Address of the server's AdminService (default: as serve has it, else 127.0.0.1:50051).",
        show_default=False,
        callback=admin_address,
    ),
]
_NamedServer = Annotated[
    str,
    typer.Option(metavar="HOST:PORT", help="Ask this running server instead.", show_default=False),
]
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "tls": (
        Annotated[
            bool | None,
            typer.Option(envvar="MITSUMORI_TLS", help="Connect with TLS.", show_default=False),
        ],
        None,
    ),
    "ca": (
        Annotated[
            Path | None,
            typer.Option(envvar="MITSUMORI_CA", help="PEM file of the roots to trust, with TLS."),
        ],
        None,
    ),
    "client_certificate": (
        Annotated[
            Path | None,
            typer.Option(
                envvar="MITSUMORI_CLIENT_CERTIFICATE", help="PEM file to show, for mutual TLS."
            ),
        ],
        None,
    ),
    "client_key": (
        Annotated[
            Path | None,
            typer.Option(envvar="MITSUMORI_CLIENT_KEY", help="PEM file of its private key."),
        ],
        None,
    ),
    "server_name": (
        Annotated[
            str,
            typer.Option(
                envvar="MITSUMORI_SERVER_NAME",
                help="Name in the server's certificate, where it is not that of the address.",
            ),
        ],
        "",
    ),
    "api_key_file": (
        Annotated[
            Path | None,
            typer.Option(
                envvar="MITSUMORI_API_KEY_FILE",
                help="File with the API key to show (default: $MITSUMORI_API_KEY).",
            ),
        ],
        None,
    ),
    "token_file": (
        Annotated[
            Path | None,
            typer.Option(
                envvar="MITSUMORI_TOKEN_FILE",
                help="File with the JSON Web Token to show (default: $MITSUMORI_TOKEN).",
            ),
        ],
        None,
    ),
}


def _connection(given: dict[str, Any]) -> Connection:
    tls: Tls | bool | None = given.pop("tls")
    files = given.pop("ca"), given.pop("client_certificate"), given.pop("client_key")
    name = given.pop("server_name")
    if tls is not False and (tls or name or any(file is not None for file in files)):
        tls = Tls(*files, server_name=name)
    return Connection(
        given.pop("server"),
        tls,
        _secret(given.pop("api_key_file"), "--api-key-file", "MITSUMORI_API_KEY"),
        _secret(given.pop("token_file"), "--token-file", "MITSUMORI_TOKEN"),
    )


def takes_connection(
    *, admin: bool = False, only_named: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace the parameter ``connection`` of a command by the options of a connection.

    Args:
        admin: the command calls AdminService.
        only_named: it calls a server only where ``--server`` names one.

    Returns:
        A decorator; the result is the command as typer reads it.
    """
    server = _NamedServer if only_named else _AdminServer if admin else _Server
    options = {"server": (server, ""), **_OPTIONS}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [
            *(one.replace(kind=one.KEYWORD_ONLY) for one in own if one.name != "connection"),
            *(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default
                )
                for name, (kind, default) in options.items()
            ),
        ]

        @wraps(command)
        def run(**given: Any) -> None:
            command(connection=_connection(given), **given)

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate
