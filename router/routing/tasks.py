"""Tasks: one quote and one hold for a whole agent run, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from router.core.errors import InvalidInput
from router.core.limit_effects import limit_refusal
from router.core.limits import Amounts, LimitState
from router.core.money import NANOS_PER_USD
from router.core.task_quote import TaskPlan, TaskQuote, quote_task
from router.core.types import Candidate, Constraints
from router.ledger.base import Granted, Hold, HoldState, Repeated, StoredTask
from router.ledger.storage_format import MAX_AMOUNT
from router.ledger.task_rules import unknown_task
from router.ledger.time_budget import check_caller
from router.routing.reservations import HeldDecision, Reservations
from router.routing.router import RouteQuery
from router.routing.task_record import TaskRecord

__all__ = ["DEFAULT_TTL_S", "MAX_TTL_S", "BegunTask", "TaskOrder", "Tasks"]

DEFAULT_TTL_S = 3_600.0
"""How long a task takes turns where its request does not say it."""
MAX_TTL_S = 7 * 86_400.0
"""The longest: what is held for a task is kept from others for so long, should nobody end it."""


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A validated request for a task.

    Attributes:
        query: of the first turn, or of one that is as hard; its request id is that of the task.
        plan: how the task is expected to go.
        cap: nano-dollars > 0; ``None``: the high price of the quote.
        ttl_s: seconds for which it takes turns, 0 < ttl_s ≤ :data:`MAX_TTL_S`.
    """

    query: RouteQuery
    plan: TaskPlan
    cap: int | None
    ttl_s: float


@dataclass(frozen=True, slots=True)
class BegunTask:
    """A task as the reply shows it.

    Attributes:
        quote: of the whole task.
        first: the decision on its first turn, on which the quote rests.
        task: with its cap held; ``None`` where only a quote was asked for.
        states: the limits of money that apply to it, with their balances before the hold.
    """

    quote: TaskQuote
    first: HeldDecision
    task: StoredTask | None
    states: tuple[LimitState, ...]


@dataclass(frozen=True, slots=True)
class Tasks:
    """Begins and ends tasks. Thread-safe.

    Attributes:
        reservations: decides on first turns as on all others.
    """

    reservations: Reservations

    def begin(
        self,
        order: TaskOrder,
        task_id: str,
        fingerprint: str,
        render: Callable[[BegunTask], bytes],
    ) -> bytes:
        """Quote a task, hold its cap and return the serialised reply.

        Args:
            order: the validated request.
            task_id: of the new task.
            fingerprint: hash of the request's body, to tell a repeated request from another one.
            render: serialises the reply.

        Raises:
            NotPossible, InvalidInput: no model can take the first turn, or the cap is no amount to hold.
            Exhausted: a hard limit does not allow the cap, or the first turn.
            Conflict: the id was used for another request.
            Unavailable: the ledger cannot be used.
        """
        query, ledger = order.query, self.reservations.ledger
        earlier = ledger.earlier_reply(task_id, fingerprint, query.tenant)
        if earlier is not None:
            return earlier
        first = self.reservations.quote(query)
        quote = self._quote(first, order.plan)
        if query.quote_only:
            return render(BegunTask(quote, first, None, ()))
        labels = {**query.scope, **_shared(first.candidates, query.constraints)}
        cap = quote.price.high if order.cap is None else order.cap
        if not 1 <= cap <= MAX_AMOUNT:
            raise InvalidInput(
                f"cap: must be more than zero, and at most {MAX_AMOUNT // NANOS_PER_USD:,} USD",
                field="cap",
            )
        amounts, moment = Amounts(cap, 0, 0, 0), ledger.now()
        record = _record(quote, query.constraints)
        task = StoredTask(
            id=task_id,
            state=HoldState.HELD,
            created=moment,
            expires=moment + timedelta(seconds=order.ttl_s),
            labels=labels,
            cap=cap,
            left=cap,
            turns=0,
            held=0,
            spent=0,
            record=record,
        )
        states = tuple(state for state in ledger.view([labels])[0] if amounts.of(state.limit.unit))
        reply = render(BegunTask(quote, first, task, states))
        check_caller()
        result = ledger.hold(
            Hold(
                id=task_id,
                fingerprint=fingerprint,
                labels=labels,
                amounts=amounts,
                ttl_s=order.ttl_s,
                reply=reply,
                record=record,
                quoted=quote.price.expected,
                task=task_id,
            )
        )
        if isinstance(result, Granted):
            return reply
        if isinstance(result, Repeated):
            return result.reply
        raise limit_refusal(result.state, result.obstacle, result.amount)

    def end(self, task_id: str, tenant: str) -> tuple[StoredTask, bool]:
        """End a task; return it, and false if it was over before.

        Args:
            task_id: of the task.
            tenant: its tenant label; empty where it has none.

        Raises:
            NotFound: this tenant has no such task.
            Unavailable: the ledger cannot be used.
        """
        ended = self.reservations.ledger.end_task(task_id, tenant)
        return self.get(task_id, tenant), ended

    def get(self, task_id: str, tenant: str) -> StoredTask:
        """A task as it stands.

        Args:
            task_id: of the task.
            tenant: its tenant label; empty where it has none.

        Raises:
            NotFound: this tenant has no such task.
            Unavailable: the ledger cannot be used.
        """
        found = self.reservations.ledger.task(task_id)
        if found is None or found.labels.get("tenant", "") != tenant:
            raise unknown_task(task_id)
        return found

    def _quote(self, first: HeldDecision, plan: TaskPlan) -> TaskQuote:
        chosen = first.routed.decision.chosen
        model, quote = chosen.model, chosen.quote
        assert quote is not None  # noqa: S101 — a chosen candidate has a quote
        assert model.rates is not None  # noqa: S101 — and so it has rates
        return quote_task(model, model.rates, quote, plan)


def _shared(candidates: Iterable[Candidate], constraints: Constraints) -> dict[str, str]:
    """The labels that every model gives to which the constraints confine a task.

    A model that cannot take the first turn, as too dear or in ill health, may take a later one: it counts.
    """
    if not constraints.models and not constraints.tiers:
        return {}
    models = [
        model
        for model in (candidate.model for candidate in candidates)
        if model.retired is None
        and (not constraints.models or model.is_one_of(constraints.models))
        and (not constraints.tiers or model.tier in constraints.tiers)
    ]
    named = {
        "model": {model.id for model in models},
        "provider": {model.provider for model in models},
        "tier": {model.tier for model in models},
    }
    return {name: next(iter(values)) for name, values in named.items() if len(values) == 1}


def _record(quote: TaskQuote, constraints: Constraints) -> str:
    return msgspec.json.encode(
        TaskRecord(
            model=quote.model,
            price_nanos=quote.price,
            turns=quote.plan.turns,
            max_turns=quote.plan.max_turns,
            input_tokens=quote.input_tokens,
            max_input_tokens=quote.max_input_tokens,
            output_tokens=quote.output_tokens,
            max_output_tokens=quote.max_output_tokens,
            fitting_turns=quote.fitting_turns,
            price_table=quote.price_table,
            models=tuple(sorted(constraints.models)),
            tiers=tuple(sorted(constraints.tiers)),
        )
    ).decode()
