"""A typed Python client: deadlines, retries with the same request id, and clean errors.

with RouterClient("localhost:50051") as client:
    reply = client.route("Prove that there are infinitely many primes.", scope={"team": "search"})
    print(reply.chosen.model, reply.chosen.quote.price.expected)
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal

import grpc

from mitsumori.retrying_channel import DEFAULT_ADDRESS, RetryingChannel
from mitsumori.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    limit_pb2,
    prompt_pb2,
    router_pb2,
    router_pb2_grpc,
)
from router.core.types import Constraints, Goal, Importance, Message, QualityTarget
from router.rpc.messages.values import money

__all__ = ["OUTCOMES", "AdminClient", "Outcome", "RouterClient", "route_request"]

Outcome = Literal["success", "error", "timeout", "truncated"]
OUTCOMES: Mapping[str, router_pb2.Outcome] = {
    "success": router_pb2.OUTCOME_SUCCESS,
    "error": router_pb2.OUTCOME_ERROR,
    "timeout": router_pb2.OUTCOME_TIMEOUT,
    "truncated": router_pb2.OUTCOME_TRUNCATED,
}
"""How a call may have ended, by name."""

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


class RouterClient(RetryingChannel):
    """A connection to a server's RouterService. See :class:`mitsumori.retrying_channel.RetryingChannel` for the parameters."""

    def __init__(
        self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = 5.0, attempts: int = 4
    ) -> None:
        super().__init__(address, timeout_s=timeout_s, attempts=attempts)
        self._stub = router_pb2_grpc.RouterServiceStub(self.channel)  # type: ignore[no-untyped-call]

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
        quote_only: bool = False,
        batch: bool = False,
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
            quote_only: hold nothing.
            batch: the work can wait.

        Raises:
            CallFailed: refused, or no answer in time; carries code, reason, field and metadata.
        """
        return self.send(
            route_request(
                prompt,
                scope=scope,
                constraints=constraints,
                goal=goal,
                importance=importance,
                conversation_id=conversation_id,
                request_id=request_id,
                max_alternatives=max_alternatives,
                quote_only=quote_only,
                batch=batch,
            )
        )

    def send(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        """Send a request built by hand, with the same deadline, retries and errors.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        reply: router_pb2.RouteResponse = self.call(self._stub.Route, request)
        return reply

    def settle(
        self,
        decision_id: str,
        *,
        input_tokens: int,
        output_tokens: int,
        cached_input_tokens: int = 0,
        reasoning_tokens: int = 0,
        model: str = "",
        cost_nanos: int | None = None,
        latency_s: float | None = None,
        outcome: Outcome = "success",
        quality: float | None = None,
        tenant: str = "",
    ) -> router_pb2.SettleResponse:
        """Report what a decision really took; repeating the same report does no harm.

        Args:
            decision_id: of the reply.
            input_tokens: the cached ones included.
            output_tokens: hidden reasoning included.
            cached_input_tokens: of the input, read from the provider's cache.
            reasoning_tokens: of the output, hidden reasoning.
            model: the one that was called; empty: the chosen one.
            cost_nanos: what the provider charged, nano-dollars; ``None``: tokens at the listed prices.
            latency_s: of the whole answer, seconds.
            outcome: how the call ended.
            quality: of the answer, 0..1.
            tenant: the tenant label of the request.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = router_pb2.SettleRequest(
            decision_id=decision_id,
            tenant=tenant,
            model=model,
            input_tokens=input_tokens,
            cached_input_tokens=cached_input_tokens,
            output_tokens=output_tokens,
            reasoning_tokens=reasoning_tokens,
            outcome=OUTCOMES[outcome],
            quality=quality,
        )
        if cost_nanos is not None:
            request.cost.CopyFrom(money(cost_nanos))
        if latency_s is not None:
            request.latency.FromNanoseconds(round(latency_s * 1e9))
        reply: router_pb2.SettleResponse = self.call(self._stub.Settle, request)
        return reply

    def release(self, decision_id: str, *, tenant: str = "") -> bool:
        """Give a hold back; false where it had been given back before.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = router_pb2.ReleaseRequest(decision_id=decision_id, tenant=tenant)
        return bool(self.call(self._stub.Release, request).released_now)

    def reroute(
        self,
        decision_id: str,
        request: router_pb2.RouteRequest,
        *,
        failed_models: Sequence[str] = (),
    ) -> router_pb2.RouteResponse:
        """Choose again after a failed call, in one transaction.

        Args:
            decision_id: the decision whose call failed.
            request: of the new decision, from :func:`route_request`.
            failed_models: to be left out.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        message = router_pb2.RerouteRequest(
            decision_id=decision_id, request=request, failed_models=failed_models
        )
        reply: router_pb2.RouteResponse = self.call(self._stub.Reroute, message).response
        return reply

    def quote_batch(
        self, requests: Iterable[router_pb2.RouteRequest]
    ) -> Iterator[router_pb2.QuoteBatchResponse]:
        """Price many prompts before any is sent; the last reply is the summary. Not retried.

        Raises:
            CallFailed: the stream broke.
        """
        messages = (router_pb2.QuoteBatchRequest(request=request) for request in requests)
        try:
            yield from self._stub.QuoteBatch(messages)
        except grpc.RpcError as error:
            raise self.failure(error) from None


class AdminClient(RetryingChannel):
    """A connection to a server's AdminService."""

    def __init__(
        self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = 30.0, attempts: int = 4
    ) -> None:
        super().__init__(address, timeout_s=timeout_s, attempts=attempts)
        self._stub = admin_pb2_grpc.AdminServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def set_limit(self, limit: limit_pb2.Limit) -> limit_pb2.Limit:
        """Make or replace a limit.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = admin_pb2.SetLimitRequest(limit=limit)
        made: limit_pb2.Limit = self.call(self._stub.SetLimit, request).limit
        return made

    def limits(self, labels: Mapping[str, str] | None = None) -> list[limit_pb2.LimitStatus]:
        """Every limit, or those that apply to labels with their balances.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = admin_pb2.ListLimitsRequest(labels=labels or {})
        return list(self.call(self._stub.ListLimits, request).limits)

    def delete_limit(self, limit_id: str) -> None:
        """Remove a limit.

        Raises:
            CallFailed: there is none, or no answer in time.
        """
        self.call(self._stub.DeleteLimit, admin_pb2.DeleteLimitRequest(limit_id=limit_id))

    def usage(
        self, chosen: admin_pb2.DecisionFilter, group_by: Sequence[str], time_zone: str = ""
    ) -> list[admin_pb2.UsageRow]:
        """What was spent, by group.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = admin_pb2.ListUsageRequest(filter=chosen, group_by=group_by, time_zone=time_zone)
        return list(self.call(self._stub.ListUsage, request).rows)

    def corrections(self, model: str = "") -> list[admin_pb2.Correction]:
        """What settled usage taught about quotes, of one model or of all.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = admin_pb2.ListCorrectionsRequest(model=model)
        return list(self.call(self._stub.ListCorrections, request).corrections)

    def erase(self, labels: Mapping[str, str], before: datetime) -> int:
        """Delete finished decisions with these labels made before a moment; how many.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        request = admin_pb2.EraseDecisionsRequest(labels=labels)
        request.before_time.FromDatetime(before)
        return int(self.call(self._stub.EraseDecisions, request).erased)

    def decisions(
        self, chosen: admin_pb2.DecisionFilter, *, newest_first: bool = False
    ) -> Iterator[admin_pb2.DecisionRow]:
        """All decisions of a filter, oldest or newest first, fetched a page at a time.

        Raises:
            CallFailed: refused, or no answer in time.
        """
        token = ""
        while True:
            page = self.call(
                self._stub.ListDecisions,
                admin_pb2.ListDecisionsRequest(
                    filter=chosen, page_size=1000, page_token=token, newest_first=newest_first
                ),
            )
            yield from page.decisions
            token = page.next_page_token
            if not token:
                return


def route_request(
    prompt: str | Sequence[Message],
    *,
    scope: Mapping[str, str] | None = None,
    constraints: Constraints | None = None,
    goal: Goal | None = None,
    importance: Importance = Importance.MEDIUM,
    conversation_id: str = "",
    request_id: str | None = None,
    max_alternatives: int | None = None,
    quote_only: bool = False,
    batch: bool = False,
) -> router_pb2.RouteRequest:
    """A request as :meth:`RouterClient.route` sends it; the parameters are explained there."""
    request = router_pb2.RouteRequest(
        request_id=request_id or str(uuid.uuid4()),
        scope=scope or {},
        prompt=_prompt(prompt),
        constraints=_constraints(constraints or Constraints()),
        importance=_IMPORTANCES[importance],
        conversation_id=conversation_id,
        max_alternatives=max_alternatives,
        quote_only=quote_only,
        batch=batch,
    )
    if isinstance(goal, QualityTarget):
        request.quality_target = goal.p_adequate
    elif goal is not None:
        request.willingness_to_pay.CopyFrom(money(goal.nanos))
    return request


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
