"""The client of RouterService, with deadlines, retries and clear errors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

from mitsumori.addresses import DEFAULT_ADDRESS, Address
from mitsumori.arguments import choices_of, message_of, part_of, text_of
from mitsumori.credentials import Tls, Token
from mitsumori.decision import Decision, Settlement, TaskStatus
from mitsumori.errors import CallFailed, InvalidArgument
from mitsumori.fallback import fallback_decision, is_fallback
from mitsumori.money import Amount
from mitsumori.request import Importance, Prompt, route_request
from mitsumori.retrying_channel import RetryingChannel
from mitsumori.task import Task
from mitsumori.v1 import (
    router_pb2,
    router_pb2_grpc,
)

__all__ = ["OUTCOMES", "Outcome", "Router"]

Outcome: TypeAlias = Literal[
    "success",
    "error",
    "timeout",
    "truncated",
    "rate_limited",
    "overloaded",
    "server_error",
    "refused",
    "context_overflow",
    "content_filtered",
]
OUTCOMES: Mapping[str, router_pb2.Outcome] = choices_of(router_pb2.Outcome.DESCRIPTOR)
"""How a call may end, by name."""


class Router(RetryingChannel):
    """A connection to a server's RouterService. Thread-safe; make one and keep it, or use it in a ``with``.

    Args:
        address: ``host:port``; several, by IP addresses, share the calls, and so do those of one name.
        timeout_s: the whole time a call may take, retries included, seconds > 0. The default covers a
            restart.
        attempts: ``None``: a call waits for a server and is repeated until ``timeout_s`` is over. A number:
            it is tried so often, at most five times, and fails at once where there is no server. All tries
            carry the same body, and the server acts once.
        fallback_model: the model of a decision where the service gives no answer, by catalog id; empty: the
            call fails then. It is not priced, checked against limits, or held, and its settlement books
            nothing.
        channels: connections that calls use by turns, 1 to 127: a few for each process of a server that has
            several (``processes``), because a connection reaches one of them.
        tls: ``True``, or a :class:`mitsumori.Tls` with files; ``None``: no TLS.
        api_key: as ``mitsumori keys create`` shows it.
        token: a JSON Web Token, or a function that gives a current one.
    """

    def __init__(
        self,
        address: Address = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 30.0,
        attempts: int | None = None,
        fallback_model: str = "",
        channels: int = 1,
        tls: Tls | bool | None = None,
        api_key: str = "",
        token: Token = "",
    ) -> None:
        super().__init__(
            address,
            timeout_s=timeout_s,
            attempts=attempts,
            channels=channels,
            tls=tls,
            api_key=api_key,
            token=token,
        )
        self._fallback_model = text_of(fallback_model, "fallback_model")
        self._stub = router_pb2_grpc.RouterServiceStub(self.channel)  # type: ignore[no-untyped-call]

    def route(
        self,
        prompt: Prompt,
        *,
        scope: Mapping[str, str] | None = None,
        capabilities: Collection[str] = (),
        models: Collection[str] = (),
        tiers: Collection[str] = (),
        max_output_tokens: int | None = None,
        max_price_usd: Amount | None = None,
        max_latency_s: float | None = None,
        max_first_token_s: float | None = None,
        quality_target: float | None = None,
        willingness_to_pay_usd: Amount | None = None,
        importance: Importance = "medium",
        conversation_id: str = "",
        request_id: str | None = None,
        max_alternatives: int | None = None,
        quote_only: bool = False,
        batch: bool = False,
        regions: Collection[str] = (),
        explain: bool = False,
        task_id: str = "",
    ) -> Decision:
        """Ask which model should answer, and at what price; the quoted money is held.

        Args:
            prompt: a text, or the messages of a chat: dicts as OpenAI's API takes them, pairs of role and
                text, or :class:`mitsumori.Message`.
            scope: who asks, such as ``{"team": "search"}``.
            capabilities: what the model must be able to do, such as ``["tools"]``.
            models: only these models, by catalog id; empty: any.
            tiers: only models of these tiers; empty: any.
            max_output_tokens: the most that the call will allow, ≥ 1.
            max_price_usd: the most that the answer may cost at the 90th percentile of its length.
            max_latency_s: the most that the answer may take at the 90th percentile, seconds > 0.
            max_first_token_s: the same until its first token, for callers that stream.
            quality_target: P(adequate) to reach, 0 to 1; ``None`` leaves the goal to the importance.
            willingness_to_pay_usd: what an adequate answer is worth, > 0; weighed like the cost of a miss.
            importance: what a wrong answer would cost, ``low``, ``medium`` or ``high``: selects the
                default goal.
            conversation_id: ties the turns of a conversation together.
            request_id: for retries of your own; ``None`` makes a new one.
            max_alternatives: the most alternatives in the reply; ``None``: 5.
            quote_only: hold no money.
            batch: the work can wait.
            regions: only models that are served in one of these, such as ``["eu"]``; empty: anywhere.
            explain: have the decision explained; it takes a while, so not with every call.
            task_id: of the task whose turn it is: the hold is drawn from its cap; empty: none.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused; or no answer in time, and no ``fallback_model``. Carries code, reason, field
                and metadata.
        """
        request = route_request(
            prompt,
            scope=scope,
            capabilities=capabilities,
            models=models,
            tiers=tiers,
            max_output_tokens=max_output_tokens,
            max_price_usd=max_price_usd,
            max_latency_s=max_latency_s,
            max_first_token_s=max_first_token_s,
            quality_target=quality_target,
            willingness_to_pay_usd=willingness_to_pay_usd,
            importance=importance,
            conversation_id=conversation_id,
            request_id=request_id,
            max_alternatives=max_alternatives,
            quote_only=quote_only,
            batch=batch,
            regions=regions,
            explain=explain,
            task_id=task_id,
        )
        try:
            return Decision.of(self.send(request))
        except CallFailed as failure:
            return self._fallback(request.request_id, failure)

    def _fallback(self, request_id: str, failure: CallFailed) -> Decision:
        """The decision of a caller who chose to go on without the service.

        Raises:
            CallFailed: the failure itself, where it is a refusal or no model was chosen for it.
        """
        if not (self._fallback_model and failure.unanswered):
            raise failure
        return fallback_decision(self._fallback_model, request_id, failure)

    def send(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        """Send a request from :func:`route_request` or built by hand: the protocol's own messages, with the
        same deadline, retries and errors, and without a fallback.

        Raises:
            InvalidArgument: it is no such message.
            CallFailed: refused, or no answer in time.
        """
        message = part_of(request, "request", router_pb2.RouteRequest)
        reply: router_pb2.RouteResponse = self.call(self._stub.Route, message)
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
        cost_usd: Amount | None = None,
        latency_s: float | None = None,
        first_token_s: float | None = None,
        outcome: Outcome = "success",
        quality: float | None = None,
        retry_after_s: float | None = None,
        rate_limits: router_pb2.RateLimits | None = None,
        tenant: str = "",
    ) -> Settlement:
        """Report the usage of a decision's call. The same report may be sent again.

        The report of a fallback is sent to nobody: no server knows the decision, and nothing is booked.

        Args:
            decision_id: of the reply.
            input_tokens: ≥ 0, cached ones included.
            output_tokens: ≥ 0, hidden reasoning included.
            cached_input_tokens: the part of ``input_tokens`` that came from the provider's cache.
            reasoning_tokens: the part of ``output_tokens`` that was hidden reasoning.
            model: the model that was called; empty: the chosen one.
            cost_usd: what the provider charged; ``None``: the tokens at the listed prices.
            latency_s: seconds until the whole answer had arrived, or the call had failed; ``None``: not
                measured.
            first_token_s: seconds until its first token had arrived; likewise.
            outcome: how the call ended, one of :data:`OUTCOMES`. Where calls to a model fail, decisions leave
                it out for a while.
            quality: of the answer, 0..1; ``None``: not judged.
            retry_after_s: how long the provider asked to wait, seconds ≥ 0, where it limits the rate or is
                overloaded: decisions leave the model out at once, for that long.
            rate_limits: what the provider said of its limits, as :func:`mitsumori.rate_limits_from_headers`
                reads it: decisions go elsewhere before they are used up. ``None``: nothing.
            tenant: the tenant label of the request; empty if it had none.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(
            router_pb2.SettleRequest,
            decision_id=decision_id,
            tenant=tenant,
            model=model,
            input_tokens=input_tokens,
            cached_input_tokens=cached_input_tokens,
            output_tokens=output_tokens,
            reasoning_tokens=reasoning_tokens,
            cost_usd=cost_usd,
            latency_s=latency_s,
            first_token_s=first_token_s,
            outcome=outcome,
            quality=quality,
            retry_after_s=retry_after_s,
            rate_limits=rate_limits,
        )
        if is_fallback(decision_id):
            return replace(Settlement.of(router_pb2.SettleResponse()), fallback=True)
        return Settlement.of(self.call(self._stub.Settle, request))

    def report_outcome(
        self,
        decision_id: str,
        outcome: Outcome,
        *,
        model: str = "",
        retry_after_s: float | None = None,
        attempt: int = 0,
        rate_limits: router_pb2.RateLimits | None = None,
        tenant: str = "",
    ) -> bool:
        """Report how an attempt ended that is not settled, for the health of the model: nothing is booked.

        False if it was reported before, or if the decision is a fallback, which no server knows.

        Args:
            decision_id: of the decision that led to the attempt.
            outcome: how it ended, one of :data:`OUTCOMES`.
            model: the model that was called; empty: the chosen one.
            retry_after_s: how long the provider asked to wait, as for :meth:`settle`.
            attempt: its number among those of the decision, 0 to 99: the same failure of it counts once.
            rate_limits: what the provider said of its limits, as for :meth:`settle`.
            tenant: the tenant label of the request; empty if it had none.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(
            router_pb2.ReportOutcomeRequest,
            decision_id=decision_id,
            tenant=tenant,
            model=model,
            outcome=outcome,
            retry_after_s=retry_after_s,
            attempt=attempt,
            rate_limits=rate_limits,
        )
        if is_fallback(decision_id):
            return False
        return not self.call(self._stub.ReportOutcome, request).repeated_report

    def release(self, decision_id: str, *, tenant: str = "") -> bool:
        """Release a hold; false if it was already released, or if the decision is a fallback, without a hold.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(router_pb2.ReleaseRequest, decision_id=decision_id, tenant=tenant)
        if is_fallback(decision_id):
            return False
        return bool(self.call(self._stub.Release, request).released_now)

    def reroute(
        self,
        decision_id: str,
        request: router_pb2.RouteRequest,
        *,
        failed_models: Collection[str] = (),
        outcome: Outcome | None = None,
        retry_after_s: float | None = None,
    ) -> Decision:
        """Choose again after a failed call, in one transaction. After a fallback, call :meth:`route` instead.

        The failure counts against the health of the decision's model, where that is among the failed ones.

        Args:
            decision_id: the decision whose call failed.
            request: the request of the new decision, from :func:`route_request`.
            failed_models: models that must not be chosen, by catalog id.
            outcome: how the call to the last of them ended; ``None``: ``error``. Where the provider is to
                blame, models of others go first.
            retry_after_s: how long the provider asked to wait, as for :meth:`settle`.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        message = message_of(
            router_pb2.RerouteRequest,
            required=["request"],
            decision_id=decision_id,
            request=request,
            failed_models=failed_models,
            retry_after_s=retry_after_s,
        )
        if outcome is not None:
            message.MergeFrom(message_of(router_pb2.RerouteRequest, outcome=outcome))
        message.failed_models.sort()
        if is_fallback(decision_id):
            raise InvalidArgument(
                "decision_id", "is that of a fallback, unknown to servers; call route"
            )
        try:
            return Decision.of(self.call(self._stub.Reroute, message).response)
        except CallFailed as failure:
            if self._fallback_model in message.failed_models:
                raise
            return self._fallback(request.request_id, failure)

    def begin_task(
        self,
        request: router_pb2.RouteRequest,
        *,
        turns: int,
        max_turns: int | None = None,
        input_growth: int | None = None,
        cap_usd: Amount | None = None,
        ttl_s: float | None = None,
    ) -> Task:
        """Quote a whole task, such as an agent run, and hold its cap. Use it in a ``with``, which ends it.

        Args:
            request: of its first turn, or of one that is as hard, from :func:`route_request`; with
                ``quote_only`` nothing is held.
            turns: calls of a model that are expected, 1 to 1,000.
            max_turns: the most; ``None``: twice as many.
            input_growth: input tokens by which the context grows from turn to turn; ``None``: by the answers.
            cap_usd: the most that its turns may cost together; ``None``: the high price of the quote.
            ttl_s: seconds for which it takes turns, at most seven days; ``None``: an hour.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        message = message_of(
            router_pb2.BeginTaskRequest,
            required=["request"],
            request=request,
            turns=turns,
            max_turns=max_turns,
            input_growth=input_growth,
            cap_usd=cap_usd,
            ttl_s=ttl_s,
        )
        tenant = request.scope.get("tenant", "")
        return Task.of(
            self.call(self._stub.BeginTask, message),
            lambda task_id: self.end_task(task_id, tenant=tenant),
        )

    def end_task(self, task_id: str, *, tenant: str = "") -> TaskStatus:
        """End a task: what is left of its cap is free again. May be repeated.

        Args:
            task_id: of the task.
            tenant: its tenant label; empty if it has none.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(router_pb2.EndTaskRequest, task_id=task_id, tenant=tenant)
        return TaskStatus.of(self.call(self._stub.EndTask, request).task)

    def task(self, task_id: str, *, tenant: str = "") -> TaskStatus:
        """A task as it stands.

        Args:
            task_id: of the task.
            tenant: its tenant label; empty if it has none.

        Raises:
            InvalidArgument: an argument cannot be sent; names it.
            CallFailed: refused, or no answer in time.
        """
        request = message_of(router_pb2.GetTaskRequest, task_id=task_id, tenant=tenant)
        return TaskStatus.of(self.call(self._stub.GetTask, request).task)

    def quote_batch(
        self, requests: Iterable[router_pb2.RouteRequest]
    ) -> Iterator[router_pb2.QuoteBatchResponse]:
        """Price many prompts before any is sent; the last reply is the summary. Not retried.

        Raises:
            InvalidArgument: one of them is no such message. An error raised by ``requests`` passes unchanged.
            CallFailed: the stream broke.
        """
        if not isinstance(requests, Iterable):
            raise InvalidArgument("requests", "must be requests from route_request")
        broken: list[Exception] = []

        def messages() -> Iterator[router_pb2.QuoteBatchRequest]:
            try:
                for place, request in enumerate(requests):
                    part_of(request, f"requests[{place}]", router_pb2.RouteRequest)
                    yield router_pb2.QuoteBatchRequest(request=request)
            except Exception as error:  # noqa: BLE001 — gRPC's thread would only log it; raised below
                broken.append(error)

        try:
            with self.failures():
                replies = self._stub.QuoteBatch(messages(), metadata=self.credentials.metadata())
                for reply in replies:
                    if broken:
                        replies.cancel()
                        break
                    yield reply
        except CallFailed:
            if not broken:
                raise
        if broken:
            raise broken[0]
