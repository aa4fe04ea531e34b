"""Frames on a socket: whole messages in, whole messages out, within a time."""

from __future__ import annotations

import socket
import time

from router.ledger.local_socket.messages import HEADER_BYTES, length_of

__all__ = ["FrameSocket"]

_AT_ONCE = 1 << 18
_MIN_S = 0.001


class FrameSocket:
    """One end of a connection. Not thread-safe.

    Args:
        connected: the socket, which is closed by :meth:`close`.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def send(self, frame: bytes) -> None:
        """Send a frame.

        Raises:
            TimeoutError: the other end does not take it in time.
            OSError: the connection has ended.
        """
        self._socket.sendall(frame)

    def receive(self, ends_at: float | None = None) -> bytes:
        """The next message.

        Args:
            ends_at: until when to wait for it, by the monotonic clock, seconds; ``None``: for ever.

        Raises:
            TimeoutError: it did not come in time.
            EOFError, OSError, ValueError: the connection has ended, or is not one of ours.
        """
        self.limit(ends_at)
        data = self._some(_AT_ONCE)
        while len(data) < HEADER_BYTES:
            data += self._some(_AT_ONCE)
        length = length_of(data[:HEADER_BYTES])
        # One call follows the other, so that nothing comes behind the message.
        parts, missing = [data[HEADER_BYTES:]], length + HEADER_BYTES - len(data)
        while missing > 0:
            self.limit(ends_at)
            parts.append(self._some(min(missing, _AT_ONCE)))
            missing -= len(parts[-1])
        return b"".join(parts)

    def limit(self, ends_at: float | None) -> None:
        """Let what follows take until ``ends_at`` at most, as of :meth:`receive`."""
        self._socket.settimeout(
            None if ends_at is None else max(ends_at - time.monotonic(), _MIN_S)
        )

    def end_requests(self) -> None:
        """Have the next :meth:`receive` end, also one that waits in another thread."""
        try:
            self._socket.shutdown(socket.SHUT_RD)
        except OSError:  # it has ended
            return

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _some(self, most: int) -> bytes:
        data = self._socket.recv(most)
        if not data:
            raise EOFError("the other end is gone")
        return data
