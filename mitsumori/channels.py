"""Several channels to the same servers, used by turns: each has connections of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import grpc

__all__ = ["OWN_CONNECTIONS", "Channels"]

OWN_CONNECTIONS = ("grpc.use_local_subchannel_pool", 1)
"""The option of a channel that shares no connection with another; by default, equal channels do."""


class Channels:
    """What a stub needs of a channel, over several of them. Thread-safe.

    A system that listens with several processes on one port gives each connection to one of them, so that
    the calls of several channels reach several processes.

    Args:
        channels: at least one; each with :data:`OWN_CONNECTIONS`, or they would share one connection.
    """

    def __init__(self, channels: Sequence[grpc.Channel]) -> None:
        self._channels = channels
        self._calls = count()  # its steps are atomic

    def unary_unary(self, method: str, *more: Any, **options: Any) -> Callable[..., Any]:
        """A method with one request and one reply; takes what gRPC's own takes."""
        return self._by_turns(
            [channel.unary_unary(method, *more, **options) for channel in self._channels]
        )

    def stream_stream(self, method: str, *more: Any, **options: Any) -> Callable[..., Any]:
        """A method with streams of requests and replies; takes what gRPC's own takes."""
        return self._by_turns(
            [channel.stream_stream(method, *more, **options) for channel in self._channels]
        )

    def close(self) -> None:
        """Close all of them."""
        for channel in self._channels:
            channel.close()

    def _by_turns(self, callables: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            return callables[next(self._calls) % len(callables)](*arguments, **options)

        return call
