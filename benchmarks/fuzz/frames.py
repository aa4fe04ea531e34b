"""Damaged HTTP/2 over TLS. A connection sends a proper call and breaks it in one of many ways."""

from __future__ import annotations

import random
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Frame", "connection_of", "frames_of", "send"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4
PATIENCE_S = 5.0
"""Seconds in which a server must take what is sent; it may close instead."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``length`` is what its header says, ``None``: the truth."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    length: int | None = None

    def bytes(self) -> bytes:
        """As it travels."""
        length = len(self.payload) if self.length is None else self.length
        head = struct.pack(">I", length)[1:] + bytes([self.kind, self.flags])
        return head + struct.pack(">I", self.stream) + self.payload


def _field(name: bytes, value: bytes) -> bytes:
    """A header as HPACK's literal without indexing; names and values below 127 bytes need no more."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)])
    left, out = len(text) - 127, bytearray([127])
    while left >= 128:
        out.append(left % 128 + 128)
        left //= 128
    return bytes([*out, left])


def frames_of(
    method: str, body: bytes, key: str, stream: int, extra: Sequence[tuple[bytes, bytes]] = ()
) -> list[Frame]:
    """A proper call: its headers and its message.

    Args:
        method: path of it.
        body: its message.
        key: the API key.
        stream: odd.
        extra: further headers.
    """
    fields = [
        (b":method", b"POST"), (b":scheme", b"https"), (b":path", method.encode()),
        (b":authority", b"localhost"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"2S"), (b"authorization", f"Bearer {key}".encode()), *extra,
    ]  # fmt: skip
    block = b"".join(_field(*one) for one in fields)
    message = b"\x00" + struct.pack(">I", len(body)) + body
    return [
        Frame(HEADERS, END_HEADERS, stream, block),
        Frame(DATA, END_STREAM, stream, message),
    ]


# ── ways to break it ──────────────────────────────────────────────────────────────────────────────


def _flipped(frames: list[Frame], dice: random.Random) -> list[Frame]:
    place = dice.randrange(len(frames))
    one, data = frames[place], bytearray(frames[place].payload)
    for _ in range(dice.randint(1, 8)):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    return [*frames[:place], _like(one, payload=bytes(data)), *frames[place + 1 :]]


def _like(one: Frame, **changes: object) -> Frame:
    values = {name: getattr(one, name) for name in ("kind", "flags", "stream", "payload", "length")}
    return Frame(**(values | changes))  # type: ignore[arg-type]


def _lying_length(frames: list[Frame], dice: random.Random) -> list[Frame]:
    place = dice.randrange(len(frames))
    lie = dice.choice((0, 1, 5, len(frames[place].payload) + 3, 16_384, 16_385, 2**24 - 1))
    return [*frames[:place], _like(frames[place], length=lie), *frames[place + 1 :]]


def _other_head(frames: list[Frame], dice: random.Random) -> list[Frame]:
    place = dice.randrange(len(frames))
    change = dice.choice(
        (
            {"kind": dice.randrange(256)},
            {"flags": dice.randrange(256)},
            {"stream": dice.choice((0, 2, 7, 2**31 - 1, 2**32 - 1))},
        )
    )
    return [*frames[:place], _like(frames[place], **change), *frames[place + 1 :]]


def _shuffled(frames: list[Frame], dice: random.Random) -> list[Frame]:
    made = frames * dice.randint(1, 3)
    dice.shuffle(made)
    return made


def _cut(frames: list[Frame], dice: random.Random) -> list[Frame]:
    return frames[: dice.randrange(len(frames))]


def _made_up(frames: list[Frame], dice: random.Random) -> list[Frame]:
    new = [
        Frame(
            dice.choice((*range(10), dice.randrange(256))),
            dice.randrange(256),
            dice.choice((0, 1, 3, 5, dice.getrandbits(31))),
            dice.randbytes(dice.choice((0, 1, 4, 5, 8, 9, 40, 300))),
        )
        for _ in range(dice.randint(1, 6))
    ]
    for one in new:
        frames = [*frames[: (place := dice.randint(0, len(frames)))], one, *frames[place:]]
    return frames


def _odd_settings(frames: list[Frame], dice: random.Random) -> list[Frame]:
    pairs = b"".join(
        struct.pack(">HI", dice.randrange(10), dice.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
        for _ in range(dice.randint(1, 20))
    )
    return [Frame(SETTINGS, 0, 0, pairs), *frames]


def _flood(frames: list[Frame], dice: random.Random) -> list[Frame]:
    """Many of what costs the peer an answer: pings, resets, empty frames, endless headers."""
    stream = frames[0].stream if frames else 1
    one = dice.choice(
        (
            Frame(PING, 0, 0, bytes(8)),
            Frame(SETTINGS, 0, 0, b""),
            Frame(RST_STREAM, 0, stream, struct.pack(">I", dice.randrange(16))),
            Frame(WINDOW_UPDATE, 0, dice.choice((0, stream)), struct.pack(">I", 2**31 - 1)),
            Frame(DATA, 0, stream, b""),
            Frame(CONTINUATION, 0, stream, _field(b"x", bytes(100))),
        )
    )
    return [*frames[:1], *[one] * dice.randint(10, 60), *frames[1:]]


def _odd_body(frames: list[Frame], dice: random.Random) -> list[Frame]:
    """A gRPC message whose length or compression flag is not true."""
    data = frames[-1].payload
    flag, length = dice.choice((0, 1, 2, 255)), dice.choice((0, 1, len(data), 2**31, 2**32 - 1))
    return [
        *frames[:-1],
        _like(frames[-1], payload=bytes([flag]) + struct.pack(">I", length) + data[5:]),
    ]


WAYS: tuple[Callable[[list[Frame], random.Random], list[Frame]], ...] = (
    _flipped, _lying_length, _other_head, _shuffled, _cut, _made_up, _odd_settings, _flood, _odd_body,
)  # fmt: skip

_ODD_HEADERS = (
    (b"grpc-timeout", b"99999999999S"), (b"grpc-timeout", b"-1S"), (b"grpc-timeout", b"x"),
    (b"grpc-encoding", b"gzip"), (b"grpc-encoding", b"none-such"), (b"content-type", b"text/html"),
    (b"te", b""), (b":path", b"/nowhere"), (b":status", b"200"), (b"grpc-status", b"0"),
    (b"authorization", b"Bearer " + b"\xff" * 50), (b"authorization", b""), (b"x-bin-bin", b"\x00\xff"),
    (b"big", b"a" * 20_000), (b"Upper", b"case"), (b"", b"nameless"), (b"cookie", b"a\r\nb: c"),
)  # fmt: skip


def connection_of(calls: Sequence[tuple[str, bytes]], key: str, dice: random.Random) -> list[Frame]:
    """The frames of one connection: a few calls, nearly all of them broken.

    Args:
        calls: methods and messages to choose from.
        key: the API key.
        dice: decides.
    """
    frames = [Frame(SETTINGS, 0, 0, b"")]
    for number in range(dice.randint(1, 6)):
        method, body = dice.choice(calls)
        extra = dice.sample(_ODD_HEADERS, dice.choice((0, 0, 1, 2)))
        proper = frames_of(method, body, key, 2 * number + 1, extra)
        frames += dice.choice(WAYS)(proper, dice) if dice.random() < 0.9 else proper
    return frames


def send(port: int, ca: Path, frames: Sequence[Frame], dice: random.Random) -> int:
    """Send frames over a connection of their own, read what comes, and hang up; return how many were sent.

    Args:
        port: of the server on this machine.
        ca: its root.
        frames: to send, in pieces.
        dice: decides where the pieces are cut, and whether the beginning is damaged as well.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    data = b"".join(frame.bytes() for frame in frames)
    start = dice.randbytes(24) if dice.random() < 0.03 else PREFACE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as stream,
        suppress(OSError),  # it may hang up in the middle
    ):
        stream.sendall(start)
        at = 0
        while at < len(data):
            step = dice.choice((1, 9, 100, 16_384, 1 << 20))
            stream.sendall(data[at : at + step])
            at += step
        if dice.random() < 0.5:
            stream.settimeout(0.02)
            while stream.recv(65_536):
                pass
    return len(frames)
