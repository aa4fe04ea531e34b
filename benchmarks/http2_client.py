"""A client that sends calls at given moments, whatever becomes of the earlier ones, and costs little itself.

It speaks just enough HTTP/2 for unary calls of gRPC over plain text: a call costs it some 50 µs, where one of
grpcio costs several times that, so that on two cores the server is what is measured. Latency counts from the
moment at which a call was meant to start.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["CANCELLED_BY_US", "LOST", "Call", "Http2Client", "Outcome"]

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME = 9
_BIG_WINDOW = 1 << 30
_MOST_DATA = 16_384

CANCELLED_BY_US = -1
"""The outcome of a call whose deadline passed before its answer came."""
LOST = -2
"""The outcome of a call whose stream or connection was closed without a status."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be made.

    Attributes:
        at_s: when it starts, seconds after the beginning.
        path: of the method, such as ``/grpc.health.v1.Health/Check``.
        message: serialised; ``None``: only the headers are sent, and never a message.
        timeout_s: the deadline, seconds after ``at_s``; then the call is cancelled.
        name: the caller's, such as a request id.
    """

    at_s: float
    path: str
    message: bytes | None
    timeout_s: float
    name: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call.

    Attributes:
        call: that was made.
        status: the status of gRPC, 0 to 16; or :data:`CANCELLED_BY_US` or :data:`LOST`.
        headers: the trailers as they came, for a look at details.
        latency_s: from ``call.at_s`` to the end; 0 where the call was left open.
    """

    call: Call
    status: int
    headers: bytes
    latency_s: float = 0.0


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _text(value: str) -> bytes:
    data = value.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, bytearray((127,))
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    size.append(rest)
    return bytes(size) + data


@dataclass
class _Connection:
    """One HTTP/2 connection: the calls in flight on it, and what is still to be written."""

    sock: socket.socket
    unread: bytearray = field(default_factory=bytearray)
    unsent: deque[bytes] = field(default_factory=deque)
    next_stream: int = 1
    open: dict[int, Call] = field(default_factory=dict)
    received: int = 0
    alive: bool = True


class Http2Client:
    """Connections to one server over plain text.

    Args:
        address: ``host:port``.
        connections: how many, ≥ 1; calls take turns.
        headers: further headers of every call, such as ``authorization``.
    """

    def __init__(
        self, address: str, connections: int = 4, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._headers = headers
        self._blocks: dict[tuple[str, float], bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._connections = [self._connect(host, int(port)) for _ in range(connections)]
        self._turn = 0
        self._ended: list[Outcome] = []

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for connection in self._connections:
            connection.sock.close()

    def _connect(self, host: str, port: int) -> _Connection:
        sock = socket.create_connection((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Without a table of headers, the server writes each of them out, and a status is found by its name.
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, _BIG_WINDOW)
        sock.sendall(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW, 0, 0, struct.pack(">I", _BIG_WINDOW))
        )
        sock.setblocking(False)
        connection = _Connection(sock)
        self._selector.register(sock, selectors.EVENT_READ, connection)
        return connection

    # ── runs ──────────────────────────────────────────────────────────────────────────────────────

    def open_loop(self, calls: Iterable[Call], *, extra_s: float = 10.0) -> Iterator[Outcome]:
        """Make every call at its moment, and yield what becomes of each as it becomes known.

        Args:
            calls: by ``at_s``.
            extra_s: the longest wait for outcomes after the last start, seconds.
        """
        began = time.monotonic()
        waiting = deque(calls)
        end_s = (waiting[-1].at_s if waiting else 0.0) + extra_s
        deadlines: list[tuple[float, int, _Connection, int]] = []
        order = itertools.count()
        in_flight = 0
        while waiting or in_flight:
            now = time.monotonic() - began
            if now > end_s:
                break
            while waiting and waiting[0].at_s <= now:
                call = waiting.popleft()
                connection, stream = self._start(call)
                if connection is None:
                    yield Outcome(call, LOST, b"", now - call.at_s)
                    continue
                due = (call.at_s + call.timeout_s, next(order), connection, stream)
                heapq.heappush(deadlines, due)
                in_flight += 1
            self._write_all()
            next_s = waiting[0].at_s if waiting else end_s
            if deadlines:
                next_s = min(next_s, deadlines[0][0])
            for call, status, headers in self._read(max(next_s - (time.monotonic() - began), 0.0)):
                in_flight -= 1
                yield Outcome(call, status, headers, time.monotonic() - began - call.at_s)
            now = time.monotonic() - began
            while deadlines and deadlines[0][0] <= now:
                _, _, connection, stream = heapq.heappop(deadlines)
                late = connection.open.pop(stream, None)
                if late is not None:
                    in_flight -= 1
                    connection.unsent.append(_frame(_RESET, 0, stream, struct.pack(">I", 8)))
                    yield Outcome(late, CANCELLED_BY_US, b"", now - late.at_s)
        self._write_all()

    def closed_loop(self, calls: Iterable[Call], in_flight: int) -> Iterator[Outcome]:
        """Keep a number of calls in flight until all are made, and yield their outcomes.

        Args:
            calls: ``at_s`` does not matter; latency counts from the real start.
            in_flight: how many, ≥ 1.
        """
        left = iter(calls)
        started: dict[int, float] = {}
        running = 0
        while True:
            while running < in_flight:
                call = next(left, None)
                if call is None:
                    break
                connection, _ = self._start(call)
                if connection is None:
                    yield Outcome(call, LOST, b"")
                    continue
                started[id(call)] = time.monotonic()
                running += 1
            if not running:
                return
            self._write_all()
            for done, status, headers in self._read(1.0):
                running -= 1
                yield Outcome(done, status, headers, time.monotonic() - started.pop(id(done)))

    def begin(self, calls: Iterable[Call]) -> None:
        """Start calls and leave them open; returns once they are sent."""
        for call in calls:
            self._start(call)
        while any(each.unsent and each.alive for each in self._connections):
            self._write_all()
            self._ended.extend(Outcome(*ended) for ended in self._read(0.0))

    def ended(self, number: int, timeout_s: float) -> list[Outcome]:
        """Of the calls that were begun, those that have ended once so many have.

        Args:
            number: how many must have ended, ≥ 1.
            timeout_s: the longest wait, seconds; then there may be fewer.
        """
        until = time.monotonic() + timeout_s
        while len(self._ended) < number and (left_s := until - time.monotonic()) > 0:
            self._write_all()
            self._ended.extend(Outcome(*ended) for ended in self._read(left_s))
        return list(self._ended)

    # ── frames ────────────────────────────────────────────────────────────────────────────────────

    def _start(self, call: Call) -> tuple[_Connection | None, int]:
        for _ in self._connections:
            self._turn = (self._turn + 1) % len(self._connections)
            connection = self._connections[self._turn]
            if connection.alive:
                break
        else:
            return None, 0
        stream = connection.next_stream
        connection.next_stream += 2
        connection.open[stream] = call
        data = _frame(_HEADERS, _END_HEADERS, stream, self._block(call.path, call.timeout_s))
        if call.message is not None:
            body = b"\0" + struct.pack(">I", len(call.message)) + call.message
            parts = [body[at : at + _MOST_DATA] for at in range(0, len(body), _MOST_DATA)]
            for part in parts[:-1]:
                data += _frame(_DATA, 0, stream, part)
            data += _frame(_DATA, _END_STREAM, stream, parts[-1])
        connection.unsent.append(data)
        return connection, stream

    def _block(self, path: str, timeout_s: float) -> bytes:
        known = self._blocks.get((path, timeout_s))
        if known is None:
            pairs = [
                ("te", "trailers"),
                ("grpc-timeout", f"{int(timeout_s * 1000)}m"),
                *self._headers,
            ]
            known = b"\x83\x86" + b"\x04" + _text(path) + b"\x01" + _text(self._address)
            known += b"\x0f\x10" + _text("application/grpc")
            known += b"".join(b"\0" + _text(name) + _text(value) for name, value in pairs)
            self._blocks[path, timeout_s] = known
        return known

    def _write_all(self) -> None:
        for connection in self._connections:
            while connection.unsent and connection.alive:
                data = b"".join(connection.unsent)
                connection.unsent.clear()
                try:
                    sent = connection.sock.send(data)
                except BlockingIOError:
                    sent = 0
                except OSError:
                    connection.alive = False
                    return
                if sent < len(data):
                    connection.unsent.append(data[sent:])
                    break

    def _read(self, timeout_s: float) -> Iterator[tuple[Call, int, bytes]]:
        stuck = any(connection.unsent for connection in self._connections)
        for key, _ in self._selector.select(min(timeout_s, 0.001) if stuck else timeout_s):
            connection: _Connection = key.data
            try:
                data = connection.sock.recv(1 << 18)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._selector.unregister(connection.sock)
                connection.alive = False
                lost = list(connection.open.values())
                connection.open.clear()
                yield from ((call, LOST, b"") for call in lost)
                continue
            connection.unread += data
            yield from self._parse(connection)

    def _parse(self, connection: _Connection) -> Iterator[tuple[Call, int, bytes]]:
        unread, at = connection.unread, 0
        while len(unread) - at >= _FRAME:
            length = int.from_bytes(unread[at : at + 3], "big")
            if len(unread) - at - _FRAME < length:
                break
            kind, flags = unread[at + 3], unread[at + 4]
            stream = int.from_bytes(unread[at + 5 : at + 9], "big")
            payload = bytes(unread[at + _FRAME : at + _FRAME + length])
            at += _FRAME + length
            if kind == _DATA:
                connection.received += length
                if connection.received > _BIG_WINDOW // 2:
                    window = struct.pack(">I", connection.received)
                    connection.unsent.append(_frame(_WINDOW, 0, 0, window))
                    connection.received = 0
            elif kind == _HEADERS and flags & _END_STREAM:
                call = connection.open.pop(stream, None)
                if call is not None:
                    yield call, _status(payload), payload
            elif kind == _RESET:
                call = connection.open.pop(stream, None)
                if call is not None:
                    yield call, LOST, b"reset " + payload.hex().encode()
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                answer = payload if kind == _PING else b""
                connection.unsent.append(_frame(kind, _ACK, 0, answer))
            elif kind == _GOAWAY:
                connection.alive = False
        del unread[:at]


def _status(block: bytes) -> int:
    at = block.find(b"grpc-status")
    if at < 0:
        return LOST
    at += len(b"grpc-status")
    length = block[at] & 127
    return int(block[at + 1 : at + 1 + length])
