"""Keeps requests of HTTP/1.1 in flight over connections that stay open, at little cost of its own."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Answer", "closed_loop"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request.

    Attributes:
        status: of HTTP, 100 to 599.
        latency_s: from the start to the last byte.
    """

    status: int
    latency_s: float


@dataclass
class _Connection:
    sock: socket.socket
    unread: bytes = b""
    began: float = 0.0


def _request(address: str, path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def closed_loop(
    address: str, path: str, bodies: Iterable[bytes], in_flight: int
) -> Iterator[Answer]:
    """Post every body, so many at once, and yield the answers as they come.

    Args:
        address: ``host:port``.
        path: to post to.
        bodies: of JSON.
        in_flight: requests at once, each on a connection of its own, ≥ 1.

    Raises:
        ConnectionError: the server closed a connection.
    """
    host, _, port = address.rpartition(":")
    left, running = iter(bodies), 0
    with selectors.DefaultSelector() as selector:

        def start(connection: _Connection) -> bool:
            body = next(left, None)
            if body is None:
                return False
            connection.began = time.monotonic()
            connection.sock.sendall(_request(address, path, body))
            return True

        for _ in range(in_flight):
            sock = socket.create_connection((host, int(port)))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(sock)
            selector.register(sock, selectors.EVENT_READ, connection)
            running += start(connection)
        try:
            while running:
                for key, _ in selector.select():
                    connection = key.data
                    data = connection.sock.recv(1 << 16)
                    if not data:
                        raise ConnectionError(f"{address} closed a connection")
                    connection.unread += data
                    head, end, body = connection.unread.partition(b"\r\n\r\n")
                    length = _LENGTH.search(head)
                    if not end or length is None or len(body) < int(length[1]):
                        continue
                    connection.unread = b""
                    running -= 1
                    yield Answer(int(head.split(b" ", 2)[1]), time.monotonic() - connection.began)
                    running += start(connection)
        finally:
            for key in list(selector.get_map().values()):
                key.data.sock.close()
