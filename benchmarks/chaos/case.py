"""A decision from its caller's side."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import Message

from mitsumori.v1 import router_pb2

__all__ = ["Case"]


@dataclass(slots=True)
class Case:
    """A decision from its caller's side: what it asked, what it was told, what it did then."""

    call: str
    message: Message
    request: router_pb2.RouteRequest
    reply: router_pb2.RouteResponse
    report: router_pb2.SettleRequest | None = None
    released: bool = False
    """It was told that the hold is given back, and that this call did it."""

    @property
    def id(self) -> str:
        """Of the decision."""
        return self.reply.decision_id

    @property
    def tenant(self) -> str:
        """Whose it is."""
        return self.request.scope["tenant"]
