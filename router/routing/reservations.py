"""The desk: decide and hold in one go, settle, release, choose again. Between routing and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from router.core.decision import limit_refusal
from router.core.errors import Exhausted, InvalidInput, NotFound
from router.core.limits import Amounts, LimitState, balance_key
from router.core.pricing import call_price
from router.core.types import Candidate, Quote
from router.decision_log.prompt_log import PromptLog
from router.decision_log.record import record_of
from router.ledger.base import (
    Granted,
    Hold,
    HoldState,
    Ledger,
    Refused,
    Replayed,
    Settlement,
    SettleResult,
    StoredDecision,
    Usage,
)
from router.routing.router import Assessment, RoutedDecision, RouteQuery, Router

__all__ = ["HeldDecision", "Reservations", "UsageReport"]

_NO_PROMPTS = PromptLog()
_TRIES = 3
"""How often a decision is made anew when a limit filled up between looking and holding."""


@dataclass(frozen=True, slots=True)
class HeldDecision:
    """A decision with its hold, as the reply shows it."""

    routed: RoutedDecision
    amounts: Amounts | None
    states: tuple[LimitState, ...]
    expires: datetime


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What a caller reports of a call: counts ≥ 0, money in nano-dollars.

    ``cost`` is ``None`` where the provider's charge is not known: tokens at the prices of the
    decision's moment then. ``details`` go into the log as they are.
    """

    model: str
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost: int | None
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Reservations:
    """Decides and holds. Thread-safe.

    Attributes:
        strict: hold the worst case, so that no settlement can go beyond it; otherwise the 90th
            percentile of the price.
        hold_ttl_s: seconds until a hold runs out, > 0.
        prompt_log: makes what the log keeps of a prompt.
    """

    router: Router
    ledger: Ledger
    strict: bool
    hold_ttl_s: float
    prompt_log: PromptLog = _NO_PROMPTS

    def decide(
        self,
        ask: RouteQuery,
        decision_id: str,
        fingerprint: str,
        render: Callable[[HeldDecision], bytes],
        *,
        replaces: str | None = None,
    ) -> bytes:
        """Decide and hold atomically; the serialised reply.

        The choice is made on a view of the balances; the ledger checks every limit again as it
        holds. Where one filled up in between, the choice is made anew.

        Args:
            ask: the validated request.
            decision_id: its id.
            fingerprint: hash of its body.
            render: makes the reply of a decision.
            replaces: a decision whose hold is given back in the same transaction.

        Raises:
            NotPossible, InvalidInput: no model can answer.
            Exhausted: a limit stands in the way.
            Conflict: the id was used for another request.
            NotFound: ``replaces`` is not held by this tenant.
            Unavailable: the ledger cannot be used.
        """
        # Looked up first: the same request gets the same answer even if limits have filled up since.
        earlier = self._earlier(ask, decision_id, fingerprint)
        if earlier is not None:
            return earlier
        assessed = self.router.assess(ask)
        encoder = assessed.bundle.manifest.encoder
        prompt_kept = self.prompt_log.kept(
            ask.prompt, assessed.embedding, (encoder.name, encoder.sha256)
        )
        freed = self._held(replaces, ask.tenant) if replaces is not None else None
        refused: Refused | None = None
        for _ in range(_TRIES):
            try:
                held = self._choose(ask, assessed, freed)
            except Exhausted:
                # It may be full of this very request, sent before and granted in the meantime.
                earlier = self._earlier(ask, decision_id, fingerprint)
                if earlier is None:
                    raise
                return earlier
            reply = render(held)
            result = self.ledger.hold(
                Hold(
                    id=decision_id,
                    fingerprint=fingerprint,
                    labels=_labels(ask, held.routed.decision.chosen),
                    amounts=held.amounts,
                    ttl_s=self.hold_ttl_s,
                    reply=reply,
                    record=self._record(ask, assessed, held) | prompt_kept,
                    replaces=replaces,
                    quoted=_expected(held.routed.decision.chosen),
                )
            )
            match result:
                case Granted():
                    return reply
                case Replayed(reply=earlier_reply):
                    return earlier_reply
                case Refused():
                    refused = result
        assert refused is not None  # noqa: S101 — the loop ran
        raise limit_refusal(refused.state, refused.obstacle, refused.amount)

    def _earlier(self, ask: RouteQuery, decision_id: str, fingerprint: str) -> bytes | None:
        """The reply to the same request, if it came before."""
        if not ask.request_id:
            return None
        return self.ledger.replay(decision_id, fingerprint, ask.tenant)

    def quote(self, ask: RouteQuery) -> HeldDecision:
        """Decide on today's balances without holding or logging anything.

        Raises: as :meth:`decide`.
        """
        return self._choose(replace(ask, quote_only=True), self.router.assess(ask))

    def _held(self, decision_id: str, tenant: str) -> StoredDecision | None:
        """A decision of this tenant that is held."""
        found = self.ledger.decision(decision_id)
        if found is None or found.state is not HoldState.HELD:
            return None
        return found if found.labels.get("tenant", "") == tenant else None

    def _choose(
        self, ask: RouteQuery, assessed: Assessment, freed: StoredDecision | None = None
    ) -> HeldDecision:
        options = [_labels(ask, candidate) for candidate in assessed.candidates]
        views = self.ledger.view(options)
        if freed is not None:
            views = [tuple(_without(state, freed) for state in states) for states in views]
        candidates = [
            candidate._replace(amounts=self._amounts(candidate.quote), limits=states)
            for candidate, states in zip(assessed.candidates, views, strict=True)
        ]
        routed = self.router.decide(ask, assessed, candidates)
        chosen = routed.decision.chosen
        return HeldDecision(
            routed,
            None if ask.quote_only else chosen.amounts,
            chosen.limits,
            assessed.moment + timedelta(seconds=self.hold_ttl_s),
        )

    def _amounts(self, quote: Quote | None) -> Amounts | None:
        if quote is None:
            return None
        if self.strict:
            tokens = quote.input_tokens.worst + quote.output_tokens_worst
            return Amounts(money=quote.price.worst, tokens=tokens)
        tokens = quote.input_tokens.tokens + quote.output_tokens_p90
        return Amounts(money=quote.price.high, tokens=tokens)

    def _record(self, ask: RouteQuery, assessed: Assessment, held: HeldDecision) -> dict[str, Any]:
        return record_of(
            ask,
            assessed,
            held.routed,
            price_table=self.router.catalog.price_table,
            strict=self.strict,
        )

    def settle(
        self, decision_id: str, tenant: str, fingerprint: str, report: UsageReport
    ) -> tuple[SettleResult, int]:
        """Book what a call really took; the settlement and the nano-dollars booked.

        Raises:
            NotFound: no such decision of this tenant.
            InvalidInput: no cost was given, and the model is not in the catalog or has no price.
            Conflict: settled by another report.
            NotPossible: released.
            Unavailable: the ledger cannot be used.
        """
        decided = self.ledger.decision(decision_id)
        if decided is None or decided.labels.get("tenant", "") != tenant:
            raise NotFound(
                "decision_id: there is no such decision; settle with the decision_id of the reply",
                field="decision_id",
            )
        model = report.model or decided.labels["model"]
        money = report.cost
        if money is None:
            # A model from elsewhere is fine as long as its cost is known: the money is gone.
            self.router.catalog.check_known("model", [model], self.router.catalog.ids)
            entry = next(e for e in self.router.catalog.entries if e.spec.id == model)
            rates = entry.rates_at(decided.created)
            if rates is None:
                raise InvalidInput(
                    f"cost: {model} has no price, so the cost must be reported", field="cost"
                )
            money = call_price(
                rates,
                report.input_tokens,
                report.output_tokens,
                cached_input_tokens=report.cached_input_tokens,
            )
        usage = Usage(
            Amounts(money=money, tokens=report.input_tokens + report.output_tokens),
            {**report.details, "model": model},
        )
        settled = self.ledger.settle(Settlement(decision_id, fingerprint, tenant, usage))
        return settled, money


def _without(state: LimitState, freed: StoredDecision) -> LimitState:
    """A balance as it will be once a held decision that counts on it is given back."""
    on_it = (
        freed.held is not None
        and balance_key(state.limit, freed.labels) == state.key
        and state.period.start <= freed.created < state.period.end
    )
    if not on_it or freed.held is None:
        return state
    return replace(state, held=max(state.held - freed.held.of(state.limit.unit), 0))


def _labels(ask: RouteQuery, candidate: Candidate) -> dict[str, str]:
    model = candidate.model
    return {**ask.scope, "model": model.id, "provider": model.provider, "tier": model.tier}


def _expected(candidate: Candidate) -> int:
    assert candidate.quote is not None  # noqa: S101 — a chosen candidate has a quote
    return candidate.quote.price.expected
