"""A caller: asks the server, calls the provider, reports what became of it, tries again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from benchmarks.simulation.agenda import START, Agenda, Process
from benchmarks.simulation.provider import Provider, Reply
from benchmarks.simulation.traffic import Asked
from benchmarks.simulation.truth import Truth
from benchmarks.simulation.variants import Variant
from mitsumori import (
    CallFailed,
    Decision,
    Outcome,
    Router,
    rate_limits_from_headers,
    route_request,
)
from mitsumori.v1 import router_pb2
from router.core.pricing import call_price
from router.core.types import Model

__all__ = ["Answer", "Caller"]

ATTEMPTS: Final = 4
_ROUNDED_S: Final = 0.001
"""Moments are told in milliseconds: who comes so much later is not too early."""
TIMEOUT_S: Final = 120.0
"""When a caller gives a call up, simulated seconds."""
_LATER: Final = frozenset({"LIMIT_DEFERRED", "RULE_DEFERRED", "LOAD_DEFERRED", "PROVIDERS_FULL"})
"""Refusals after which a request is sent again, at the moment that the server names."""
_OUTCOMES: Final[Mapping[int, Outcome]] = {429: "rate_limited", 503: "overloaded"}


@dataclass
class Answer:
    """What became of a request.

    Attributes:
        number: of the request.
        at_s: when it came, simulated seconds.
        model: that answered, or the last that was tried; empty: none was.
        done_s: when the answer was there, or the caller gave up.
        cost_nanos: that the provider charged.
        p_adequate: the true one of the answer; 0 without one.
        adequate: whether the answer was.
        answered: whether there was one.
        refused: the reason of the server's refusal; empty: none.
        deferred: how often it was put off.
        attempts: calls to providers.
        reroutes: how often the server was asked for another model.
        failed_at_s: when calls to providers failed, simulated seconds.
        mispriced: whether the server booked another amount than the provider charged.
    """

    number: int
    at_s: float
    model: str = ""
    done_s: float = 0.0
    cost_nanos: int = 0
    p_adequate: float = 0.0
    adequate: bool = False
    answered: bool = False
    refused: str = ""
    deferred: int = 0
    attempts: int = 0
    reroutes: int = 0
    failed_at_s: list[float] = field(default_factory=list)
    mispriced: bool = False


@dataclass
class Caller:
    """Makes the requests of one variant.

    Attributes:
        variant: what is on.
        agenda: tells the time.
        truth: of the answers.
        models: id → model.
        providers: by name.
        client: of the server; ``None`` where it is not asked.
        choose: the model of a request where the server is not asked.
        answers: of the requests that have ended.
    """

    variant: Variant
    agenda: Agenda
    truth: Truth
    models: Mapping[str, Model]
    providers: Mapping[str, Provider]
    client: Router | None
    choose: Callable[[Asked], str]
    answers: list[Answer] = field(default_factory=list)

    def ask(self, asked: Asked) -> Process:
        """One request from its arrival to its end."""
        answer = Answer(asked.number, self.agenda.now_s)
        if self.client is None:
            yield from self._on_its_own(asked, answer)
        else:
            yield from self.with_the_server(asked, answer, self.client)
        answer.done_s = self.agenda.now_s
        self.answers.append(answer)

    # --- Without the server ----------------------------------------------------------------------

    def _on_its_own(self, asked: Asked, answer: Answer) -> Process:
        model = self.choose(asked)
        for attempt in range(ATTEMPTS):
            reply = self._call(model, asked, answer)
            yield min(reply.took_s, TIMEOUT_S)
            if self._outcome(reply) == "success":
                self._take(reply, model, asked, answer)
                return
            if attempt < ATTEMPTS - 1:
                yield _wait_s(attempt, reply)

    # --- With the server -------------------------------------------------------------------------

    def with_the_server(
        self, asked: Asked, answer: Answer, client: Router, task_id: str = ""
    ) -> Process:
        """One request by the server's choice.

        Args:
            asked: the request.
            answer: is filled in.
            client: of the server.
            task_id: of the task whose turn it is; empty: none.
        """
        decision: Decision | None = None
        while decision is None:
            try:
                decision = Decision.of(client.send(self.request(asked, answer, task_id)))
            except CallFailed as refusal:
                patient = asked.batch or answer.deferred < ATTEMPTS - 1
                if refusal.reason not in _LATER or not patient:
                    answer.refused = refusal.reason
                    return
                answer.deferred += 1
                yield self._until_turn_s(refusal)
        failed: list[str] = []
        for attempt in range(ATTEMPTS):
            model = decision.model
            reply = self._call(model, asked, answer)
            yield min(reply.took_s, TIMEOUT_S)
            outcome = self._outcome(reply)
            if outcome == "success":
                self._settle(client, decision, reply, asked, answer)
                return
            if attempt == ATTEMPTS - 1:
                break
            if self.variant.failover:
                failed.append(model)
                answer.reroutes += 1
                try:
                    decision = client.reroute(
                        decision.id,
                        self.request(asked, answer, task_id),
                        failed_models=failed,
                        outcome=outcome,
                        retry_after_s=reply.retry_after_s,
                    )
                except CallFailed as refusal:
                    answer.refused = refusal.reason
                    break
            else:
                self._report(client, decision, outcome, reply, attempt)
                yield _wait_s(attempt, reply)
        self._report(client, decision, outcome, reply, ATTEMPTS)
        client.release(decision.id)

    def request(self, asked: Asked, answer: Answer, task_id: str = "") -> router_pb2.RouteRequest:
        """What the server is asked.

        Args:
            asked: the request.
            answer: of it, as far as it is known.
            task_id: of the task whose turn it is; empty: none.
        """
        return route_request(
            list(asked.messages),
            scope={"team": asked.team},
            importance=asked.importance,
            max_latency_s=asked.max_latency_s,
            batch=asked.batch,
            request_id=f"request-{asked.number}-{answer.reroutes}",
            max_alternatives=0,
            task_id=task_id,
        )

    def _until_turn_s(self, refusal: CallFailed) -> float:
        """Until the moment that the server names; a minute where it names none."""
        told = refusal.metadata.get("not_before")
        if told is None:
            return 60.0
        turn_s = (datetime.fromisoformat(told) - START).total_seconds()
        return max(turn_s - self.agenda.now_s, 0.0) + _ROUNDED_S

    def _report(
        self, client: Router, decision: Decision, outcome: Outcome, reply: Reply, attempt: int
    ) -> None:
        if self.variant.health:
            client.report_outcome(
                decision.id,
                outcome,
                retry_after_s=reply.retry_after_s,
                attempt=attempt,
                rate_limits=self._limits(reply),
            )

    def _limits(self, reply: Reply) -> router_pb2.RateLimits | None:
        return rate_limits_from_headers(reply.headers) if self.variant.headers else None

    def _settle(
        self, client: Router, decision: Decision, reply: Reply, asked: Asked, answer: Answer
    ) -> None:
        self._take(reply, decision.model, asked, answer)
        usage = reply.usage
        settlement = client.settle(
            decision.id,
            input_tokens=usage["prompt_tokens"],
            output_tokens=usage["completion_tokens"],
            reasoning_tokens=usage["completion_tokens_details"]["reasoning_tokens"],
            latency_s=reply.took_s,
            first_token_s=reply.first_token_s,
            quality=float(answer.adequate),
            rate_limits=self._limits(reply),
        )
        booked = settlement.message.spent
        answer.mispriced = booked.units * 10**9 + booked.nanos != answer.cost_nanos

    # --- Both ------------------------------------------------------------------------------------

    def _call(self, model: str, asked: Asked, answer: Answer) -> Reply:
        answer.attempts += 1
        answer.model = model
        reply = self.providers[self.models[model].provider].call(model, asked)
        if self._outcome(reply) != "success":
            answer.failed_at_s.append(self.agenda.now_s + min(reply.took_s, TIMEOUT_S))
        return reply

    def _outcome(self, reply: Reply) -> Outcome:
        if reply.took_s > TIMEOUT_S:
            return "timeout"
        return "success" if reply.status == 200 else _OUTCOMES.get(reply.status, "server_error")

    def _take(self, reply: Reply, model: str, asked: Asked, answer: Answer) -> None:
        rates = self.models[model].rates
        assert rates is not None
        answer.answered = True
        answer.p_adequate = self.truth.p_adequate(asked, model)
        answer.adequate = self.truth.is_adequate(asked, model)
        answer.cost_nanos = call_price(
            rates, reply.usage["prompt_tokens"], reply.usage["completion_tokens"]
        )


def _wait_s(attempt: int, reply: Reply) -> float:
    """Before a call is repeated: as long as the provider asked, else 1, 2, 4 … seconds."""
    return max(float(2**attempt), reply.retry_after_s or 0.0)
