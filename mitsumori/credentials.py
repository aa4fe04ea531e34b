"""How a client shows who it is, and knows who answers: TLS, client certificates, API keys, tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import grpc

from mitsumori.addresses import Address, are_local, target_of
from mitsumori.arguments import text_of
from mitsumori.errors import InvalidArgument

__all__ = ["Credentials", "Tls", "Token"]

File: TypeAlias = str | PathLike[str]
Token: TypeAlias = str | Callable[[], str]
"""A JSON Web Token, or what gives a current one; called for every call."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to connect with TLS.

    Attributes:
        ca: PEM file of the roots to trust; ``None``: the roots that gRPC ships.
        certificate: PEM file of the client's own certificate, for mutual TLS; with ``key``.
        key: PEM file of its private key.
        server_name: the name in the server's certificate, where it is not that of the address.
    """

    ca: File | None = None
    certificate: File | None = None
    key: File | None = None
    server_name: str = ""


class Credentials:
    """What a client sends along.

    Args:
        tls: ``True``, or a :class:`Tls`; ``None`` and ``False``: no TLS. ``None`` refuses to send a key or
            token to another machine in clear text; ``False`` says that it is meant.
        api_key: as ``mitsumori keys create`` shows it.
        token: a JSON Web Token, or what gives one.

    Raises:
        InvalidArgument: one of them cannot be used; names it, and quotes no secret.
    """

    def __init__(self, tls: Tls | bool | None = None, api_key: str = "", token: Token = "") -> None:
        if tls is not None and not isinstance(tls, bool | Tls):
            raise InvalidArgument("tls", "must be True, False or mitsumori.Tls(…)")
        if not callable(token):
            _sendable(token, "token")
        if _sendable(api_key, "api_key") and token:
            raise InvalidArgument("token", "give an api_key or a token, not both")
        self._tls = Tls() if tls is True else tls
        self._api_key, self._token = api_key, token
        self._fixed = _bearer(token if isinstance(token, str) and token else api_key)

    @property
    def encrypted(self) -> bool:
        """Whether calls use TLS."""
        return isinstance(self._tls, Tls)

    @property
    def shows_certificate(self) -> bool:
        """Whether connections show a certificate of the client."""
        return isinstance(self._tls, Tls) and self._tls.certificate is not None

    def channel(
        self, address: Address, options: Sequence[tuple[str, int | str]] = ()
    ) -> grpc.Channel:
        """A channel to one server or to several.

        Args:
            address: ``host:port``, or several.
            options: of gRPC.

        Raises:
            InvalidArgument: a file cannot be read, a secret would be sent in clear text, or no name is given
                for the certificates of several servers.
        """
        tls, target = self._tls, target_of(address)
        if isinstance(tls, Tls):
            named = list(options)
            if tls.server_name:
                named.append(("grpc.ssl_target_name_override", tls.server_name))
            elif "," in target:
                raise InvalidArgument(
                    "tls",
                    "with several addresses, name the server_name that their certificates have",
                )
            return grpc.secure_channel(target, _channel_credentials(tls), named)
        if tls is None and (self._api_key or self._token) and not are_local(target):
            raise InvalidArgument(
                "tls",
                "without TLS anyone on the way could read the credential; pass tls=True, or tls=False where "
                "something else encrypts",
            )
        return grpc.insecure_channel(target, list(options))

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What every call carries.

        Raises:
            InvalidArgument: the function gave no token.
        """
        if callable(self._token):
            return _bearer(_sendable(self._token(), "token"))
        return self._fixed


def _bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),) if secret else ()


def _sendable(secret: object, name: str) -> str:
    text = text_of(secret, name)
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise InvalidArgument(
            name, "holds a space, a line break or another character that no key has"
        )
    return text


def _channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    if (tls.certificate is None) != (tls.key is None):
        raise InvalidArgument("tls", "certificate and key are given both or neither")
    return grpc.ssl_channel_credentials(
        _content(tls.ca, "tls.ca"),
        _content(tls.key, "tls.key"),
        _content(tls.certificate, "tls.certificate"),
    )


def _content(path: File | None, name: str) -> bytes | None:
    if path is None:
        return None
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgument(name, f"{path} cannot be read ({error.strerror})") from None
    if b"-----BEGIN " not in data:
        raise InvalidArgument(name, f"{path} is no PEM file")
    return data
