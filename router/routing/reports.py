"""Reports of what became of decisions: the usage of a call, a hold that is not needed, a failed attempt."""

from __future__ import annotations

from dataclasses import dataclass

from router.catalog.catalog import Catalog
from router.core.breaker import Outcome
from router.core.canary import CountedCall
from router.core.errors import NotFound
from router.core.limits import Amounts
from router.core.load import RateLimits
from router.decision_log.record import ANSWERED
from router.ledger.base import Ledger, Settlement, SettleResult, StoredDecision, Usage
from router.routing.canary import Canary
from router.routing.conversations import Conversations, Judgement
from router.routing.model_health import Attempt, ModelHealth, OutcomeReport
from router.routing.provider_load import ProviderLoad
from router.routing.settlement import UsageReport, check_plausible, money_of
from router.telemetry.metric_names import provider_name
from router.telemetry.observer import OTHER, Observer, SettledCall
from router.telemetry.trace import annotate

__all__ = ["Reports"]


@dataclass(frozen=True, slots=True)
class Reports:
    """Books what callers report of their decisions. Thread-safe.

    Attributes:
        catalog: prices tokens where no cost is reported, and knows who serves a model.
        ledger: keeps the decisions.
        health: of the models; learns how calls ended.
        conversations: learn whose answer did not do, and what caches hold.
        max_settle: the largest cost that may be reported for one call, nano-dollars.
        observer: is told what was settled and released.
        load: of the accounts of providers; learns what has ended, and what they say of their limits.
        canary: counts what became of its decisions and the others; ``None``: there is none.
    """

    catalog: Catalog
    ledger: Ledger
    health: ModelHealth
    conversations: Conversations
    max_settle: int
    observer: Observer
    load: ProviderLoad
    canary: Canary | None = None

    def settle(
        self, decision_id: str, tenant: str, fingerprint: str, report: UsageReport
    ) -> tuple[SettleResult, int]:
        """Book the real usage of a call, and return the settlement with the nano-dollars booked.

        Args:
            decision_id: the decision to settle.
            tenant: its tenant label; empty where it has none.
            fingerprint: hash of the report's body, to tell a repeated report from another one.
            report: the real usage.

        Raises:
            NotFound: this tenant has no such decision.
            InvalidInput: no cost was given, and the model is not in the catalog or has no price; or the cost
                is above :attr:`max_settle`.
            Conflict: another report settled it.
            NotPossible: its hold was released.
            Unavailable: the ledger cannot be used.
        """
        decided = self._decided(decision_id, tenant, "settle")
        model = report.model or decided.labels["model"]
        money = money_of(report, model, decided.created, self.catalog)
        check_plausible(money, report, self.max_settle)
        usage = Usage(
            Amounts(money=money, tokens=report.input_tokens + report.output_tokens),
            {**report.details, "model": model},
        )
        settled = self.ledger.settle(Settlement(decision_id, fingerprint, tenant, usage))
        if not settled.repeated:
            self._tell_settled(model, report, money, decided)
            if model == decided.labels["model"] or self._provider(model) is not OTHER:
                # A conversation shall not remember any name that a caller makes up.
                self.conversations.reported(decision_id, _judgement(model, report))
            if self.canary is not None:
                self.canary.settled(decided, _counted(report, money))
        return settled, money

    def release(self, decision_id: str, tenant: str) -> bool:
        """Release a hold without spend; false if it was released before.

        Args:
            decision_id: of the decision.
            tenant: its tenant label; empty where it has none.

        Raises:
            NotFound: this tenant has no such decision.
            NotPossible: it was settled.
            Unavailable: the ledger cannot be used.
        """
        released = self.ledger.release(decision_id, tenant)
        if released:
            self.observer.released()
            self.health.drop_probe(decision_id)
            self.conversations.released(decision_id)
            self.load.cancelled(decision_id)
        return released

    def report_outcome(self, decision_id: str, tenant: str, report: OutcomeReport) -> bool:
        """Count how an attempt ended, for the health of its model; false if it was counted before.

        A failure of the chosen model is an error of the canary, or of the rest, too.

        Args:
            decision_id: the decision that led to the attempt, in any state.
            tenant: its tenant label; empty where it has none.
            report: how it ended.

        Raises:
            NotFound: this tenant has no such decision.
            InvalidInput: the model is not in the catalog.
            Unavailable: the ledger cannot be used.
        """
        decided = self._decided(decision_id, tenant, "report")
        model = report.model or decided.labels["model"]
        self.catalog.check_known("model", [model], self.catalog.ids)
        self.conversations.reported(decision_id, Judgement(model, report.outcome))
        provider = self._provider(model)
        self._note_limits(model, provider, report.rate_limits, tenant)
        chosen = model == decided.labels["model"]
        if self.canary is not None and chosen and not _answered(report.outcome):
            self.canary.settled(decided, CountedCall(failed=True))
        return self.health.report(
            Attempt(
                model,
                provider,
                report.outcome,
                decision_id,
                decided.created,
                report.retry_after_s,
                report.attempt,
                tenant,
            )
        )

    def _decided(self, decision_id: str, tenant: str, action: str) -> StoredDecision:
        """A decision of a tenant.

        Raises:
            NotFound: this tenant has no such decision.
        """
        decided = self.ledger.decision(decision_id)
        if decided is None or decided.labels.get("tenant", "") != tenant:
            raise NotFound(
                f"decision_id: there is no such decision; {action} with the decision_id of the reply",
                field="decision_id",
            )
        return decided

    def _tokens_of_a_call(self, reported: int, model: str, decided: StoredDecision) -> int:
        """What a call counts on the limits of its provider, which all tenants share.

        What is reported counts up to the context window of the model: no call takes more.

        Args:
            reported: input and output tokens, ≥ 0.
            model: that was called, as reported.
            decided: the decision.
        """
        windows = (
            each.at(decided.created).context_window
            for each in self.catalog.entries
            if each.spec.id in (model, decided.labels["model"])
        )
        return min(reported, max(windows, default=reported))

    def _note_limits(self, model: str, provider: str, told: RateLimits | None, tenant: str) -> None:
        if told is not None:
            self.load.reported(model, provider, told, tenant)

    def _provider(self, model: str) -> str:
        """Who serves a model of the catalog; :data:`OTHER` for any other name."""
        specs = (entry.spec for entry in self.catalog.entries)
        return next((spec.provider for spec in specs if spec.id == model), OTHER)

    def _tell_settled(
        self, model: str, report: UsageReport, booked: int, decided: StoredDecision
    ) -> None:
        # Any name that is not in the catalog is only the caller's word.
        provider = self._provider(model)
        name = model if provider is not OTHER else OTHER
        tokens = report.input_tokens, report.output_tokens
        self.observer.settled(SettledCall(name, provider, *tokens, booked, decided.quoted))
        answered = report.outcome.answered
        taken = self._tokens_of_a_call(sum(tokens), model, decided) if answered else None
        by = None if provider is OTHER else (model, provider)
        self.load.ended(decided.id, tokens=taken, by=by)
        if provider is not OTHER:
            tenant = decided.labels.get("tenant", "")
            self._note_limits(model, provider, report.rate_limits, tenant)
            self.health.report(
                Attempt(
                    model,
                    provider,
                    report.outcome,
                    decided.id,
                    decided.created,
                    report.retry_after_s,
                    tenant=tenant,
                )
            )
        annotate(
            {
                "gen_ai.request.model": name,
                "gen_ai.provider.name": provider_name(provider),
                "gen_ai.usage.input_tokens": report.input_tokens,
                "gen_ai.usage.output_tokens": report.output_tokens,
            }
        )


def _judgement(model: str, report: UsageReport) -> Judgement:
    """What a report of usage says of an answer.

    Args:
        model: that was called.
        report: of the caller. One that has a cost may leave out the tokens.
    """
    cached = report.cached_input_tokens
    known = cached > 0 or (report.input_tokens > 0 and report.cost is None)
    return Judgement(
        model, report.outcome, report.details.get("quality"), cached if known else None
    )


def _counted(report: UsageReport, booked: int) -> CountedCall:
    """What a canary counts of a report."""
    return CountedCall(
        failed=not _answered(report.outcome),
        cost=booked,
        quality=report.details.get("quality"),
    )


def _answered(outcome: Outcome) -> bool:
    """Whether a canary counts a call as answered: that a model refused is a failure to whoever asked."""
    return outcome.value in ANSWERED
