"""RouterService: parse, route, remember, reply."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable

import grpc

from router.core.errors import Conflict
from router.files import sha256_of
from router.logs import logger
from router.routing import Router
from router.v1 import router_pb2, router_pb2_grpc
from router.wire import parse_route, render_route

__all__ = ["RecentReplies", "RouterServicer"]


class RecentReplies:
    """The latest replies by request id, so that a retry gets the same answer again. Thread-safe.

    In memory and bounded: it forgets on restart, and the oldest first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._replies: OrderedDict[str, tuple[str, router_pb2.RouteResponse]] = OrderedDict()

    def find(self, request_id: str, body: str) -> router_pb2.RouteResponse | None:
        """The earlier reply to the same request.

        Raises:
            Conflict: the id was used for another body.
        """
        with self._lock:
            known = self._replies.get(request_id)
        if known is None:
            return None
        if known[0] != body:
            raise Conflict(
                "request_id: was already used for another request; make a new id for each request "
                "and repeat it only on a retry",
                field="request_id",
            )
        return known[1]

    def keep(
        self, request_id: str, body: str, reply: router_pb2.RouteResponse
    ) -> router_pb2.RouteResponse:
        """Remember a reply; where a twin of the request was quicker, its reply stands.

        Raises:
            Conflict: the quicker request had another body.
        """
        earlier = self.find(request_id, body)
        if earlier is not None:
            return earlier
        with self._lock:
            _, kept = self._replies.setdefault(request_id, (body, reply))
            while len(self._replies) > self._capacity:
                self._replies.popitem(last=False)
        return kept


class RouterServicer(router_pb2_grpc.RouterServiceServicer):
    """The gRPC face of a :class:`Router`."""

    def __init__(
        self,
        router: Router,
        *,
        max_prompt_bytes: int,
        replies: RecentReplies,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._router = router
        self._max_prompt_bytes = max_prompt_bytes
        self._replies = replies
        self._new_id = new_id

    def Route(  # noqa: N802 — the name is the protocol's
        self, request: router_pb2.RouteRequest, context: grpc.ServicerContext
    ) -> router_pb2.RouteResponse:
        """Choose a model for one prompt and quote its price."""
        started = time.perf_counter()
        ask = parse_route(request, self._router.catalog, self._max_prompt_bytes)
        body = sha256_of(request.SerializeToString(deterministic=True))
        reply = self._replies.find(ask.request_id, body) if ask.request_id else None
        repeated = reply is not None
        if reply is None:
            decision_id = ask.request_id or self._new_id()
            routed = self._router.route(ask)
            reply = render_route(routed, decision_id, ask.max_alternatives)
            if ask.request_id:
                reply = self._replies.keep(decision_id, body, reply)
        elapsed_ms = (time.perf_counter() - started) * 1000
        # The client's own view of the time includes the network; this is ours.
        context.set_trailing_metadata((("server-timing", f"route;dur={elapsed_ms:.3f}"),))
        logger().info(
            "routed",
            decision_id=reply.decision_id,
            scope=dict(ask.scope),
            model=reply.chosen.model,
            tier=reply.chosen.tier,
            complexity=round(reply.assessment.complexity, 4),
            input_tokens=reply.chosen.quote.input_tokens.tokens,
            repeated=repeated,
            ms=round(elapsed_ms, 3),
        )
        return reply
