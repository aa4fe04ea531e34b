"""A typed Python client: deadlines, retries with the same request id, and clean errors.

with RouterClient("localhost:50051") as client:
    reply = client.route("Prove that there are infinitely many primes.", scope={"team": "search"})
    print(reply.chosen.model, reply.chosen.quote.price.expected)
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import grpc
import tenacity
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from router.core.errors import CallFailed
from router.core.types import Constraints, Goal, Importance, Message, QualityTarget
from router.v1 import prompt_pb2, router_pb2, router_pb2_grpc
from router.wire import money

__all__ = ["RouterClient"]

_RETRYABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""A server that restarts or drains answers these. Nothing else is worth repeating."""

_ROLES = {
    "system": prompt_pb2.ROLE_SYSTEM,
    "user": prompt_pb2.ROLE_USER,
    "assistant": prompt_pb2.ROLE_ASSISTANT,
    "tool": prompt_pb2.ROLE_TOOL,
}
_IMPORTANCES = {
    Importance.LOW: router_pb2.IMPORTANCE_LOW,
    Importance.MEDIUM: router_pb2.IMPORTANCE_MEDIUM,
    Importance.HIGH: router_pb2.IMPORTANCE_HIGH,
}


def _should_repeat(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() in _RETRYABLE


class RouterClient:
    """A connection to a server. Thread-safe; make one and keep it.

    Args:
        address: ``host:port``.
        timeout_s: the whole time a call may take, retries included, seconds > 0.
        attempts: the most tries of one call, ≥ 1. Every try carries the same request id, so that
            the server decides once.
    """

    def __init__(
        self, address: str = "127.0.0.1:50051", *, timeout_s: float = 5.0, attempts: int = 4
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._channel = grpc.insecure_channel(address)
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    def route(
        self,
        prompt: str | Sequence[Message],
        *,
        scope: Mapping[str, str] | None = None,
        constraints: Constraints | None = None,
        goal: Goal | None = None,
        importance: Importance = Importance.MEDIUM,
        conversation_id: str = "",
        request_id: str | None = None,
        max_alternatives: int | None = None,
    ) -> router_pb2.RouteResponse:
        """Ask which model should answer, and at what price.

        Args:
            prompt: a text, or the messages of a chat.
            scope: who asks, such as ``{"team": "search"}``.
            constraints: what the choice must respect.
            goal: a quality target or a willingness to pay; ``None`` leaves it to the importance.
            importance: what a wrong answer would cost.
            conversation_id: ties the turns of a conversation together.
            request_id: for retries of your own; ``None`` makes a new one.
            max_alternatives: the most alternatives in the reply; ``None``: 5.

        Raises:
            CallFailed: refused, or no answer in time; carries code, reason, field and metadata.
        """
        request = router_pb2.RouteRequest(
            request_id=request_id or str(uuid.uuid4()),
            scope=scope or {},
            prompt=_prompt(prompt),
            constraints=_constraints(constraints or Constraints()),
            importance=_IMPORTANCES[importance],
            conversation_id=conversation_id,
            max_alternatives=max_alternatives,
        )
        if isinstance(goal, QualityTarget):
            request.quality_target = goal.p_adequate
        elif goal is not None:
            request.willingness_to_pay.CopyFrom(money(goal.nanos))
        return self.send(request)

    def send(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        """Send a request built by hand, with the same deadline, retries and errors.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        deadline = time.monotonic() + self._timeout_s
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_should_repeat),
            stop=tenacity.stop_after_attempt(self._attempts)
            | tenacity.stop_before_delay(self._timeout_s),
            wait=tenacity.wait_exponential_jitter(multiplier=0.05, max=1.0, jitter=0.05),
            reraise=True,
        )
        try:
            for attempt in retrying:
                with attempt:
                    left = max(deadline - time.monotonic(), 0.001)
                    reply: router_pb2.RouteResponse = self._stub.Route(request, timeout=left)
                    return reply
        except grpc.RpcError as error:
            raise self._failure(error) from None
        raise AssertionError("tenacity reraises")

    def _failure(self, error: grpc.RpcError) -> CallFailed:
        code: grpc.StatusCode = error.code()
        status = rpc_status.from_call(error)
        for detail in status.details if status else ():
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                metadata = dict(info.metadata)
                field = metadata.pop("field", "")
                return CallFailed(
                    error.details(),
                    code=code.name,
                    reason=info.reason,
                    field=field,
                    metadata=metadata,
                )
        messages = {
            grpc.StatusCode.UNAVAILABLE: f"no server answers at {self._address}; is it running "
            "(`mitsumori serve`) and reachable?",
            grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer from {self._address} within "
            f"{self._timeout_s:g} s; raise the timeout or look at the server's load",
            grpc.StatusCode.CANCELLED: f"the server at {self._address} ended the call; try again",
        }
        return CallFailed(messages.get(code, error.details() or code.name), code=code.name)


def _prompt(prompt: str | Sequence[Message]) -> prompt_pb2.Prompt:
    if isinstance(prompt, str):
        return prompt_pb2.Prompt(text=prompt)
    messages = [
        prompt_pb2.Message(role=_ROLES.get(m.role, prompt_pb2.ROLE_UNSPECIFIED), text=m.text)
        for m in prompt
    ]
    return prompt_pb2.Prompt(chat=prompt_pb2.Chat(messages=messages))


def _constraints(given: Constraints) -> router_pb2.Constraints:
    message = router_pb2.Constraints(
        allowed_models=sorted(given.models),
        allowed_tiers=sorted(given.tiers),
        required_capabilities=sorted(given.capabilities),
        max_output_tokens=given.max_output_tokens,
    )
    if given.max_price_nanos is not None:
        message.max_price.CopyFrom(money(given.max_price_nanos))
    if given.max_latency_s is not None:
        message.max_latency.FromNanoseconds(round(given.max_latency_s * 1e9))
    return message
