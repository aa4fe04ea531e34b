"""Reservations: decide and hold at once, choose again after a failed call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from router.core.canary import CountedCall
from router.core.errors import (
    CallerGone,
    Conflict,
    Deferred,
    Exhausted,
    InvalidInput,
    MitsumoriError,
    NotPossible,
    Unavailable,
)
from router.core.health import Health
from router.core.limit_effects import limit_refusal
from router.core.limits import Amounts, LimitState, balance_key
from router.core.load import NO_LOAD, Load, LoadShares, quoted_tokens
from router.core.quotes import amounts_to_hold
from router.core.types import (
    Candidate,
    Constraints,
    Importance,
    Message,
    Prompt,
)
from router.decision_log.prompt_log import PromptLog
from router.decision_log.record import DecisionRecord, KeptPrompt, LoggedCanary
from router.decision_log.record_json import serialize
from router.ledger.base import (
    Granted,
    Hold,
    HoldState,
    Ledger,
    Refused,
    Repeated,
    StoredDecision,
    StoredTask,
)
from router.ledger.storage_format import MAX_AMOUNT
from router.ledger.time_budget import check_caller
from router.routing.canary import Canary
from router.routing.chance import Chance
from router.routing.conversations import Conversations, Judgement, PromptState, Turn
from router.routing.decision_recorder import record_of
from router.routing.deferrals import Deferrals
from router.routing.label_names import LabelNames
from router.routing.model_health import Attempt, ModelHealth
from router.routing.provider_load import ProviderLoad
from router.routing.reports import Reports
from router.routing.router import Assessment, RoutedDecision, RouteQuery, Router
from router.routing.shadow import DecidedCopy, Shadow
from router.routing.turns import after_turn, for_turn, task_of, within
from router.telemetry.metric_names import provider_name
from router.telemetry.observer import UNOBSERVED, Observer
from router.telemetry.trace import annotate, stage

__all__ = ["HeldDecision", "Reservations"]

_NO_PROMPTS = PromptLog()
_EXAMPLE = RouteQuery(
    request_id="",
    scope={},
    prompt=Prompt((Message("user", "What is the capital of France?"),)),
    constraints=Constraints(),
    goal=None,
    importance=Importance.MEDIUM,
    conversation_id="",
    max_alternatives=0,
    quote_only=True,
)
_MAX_TRIES = 3
"""How often a decision is made where limits keep filling up between the view and the hold."""


@dataclass(frozen=True, slots=True)
class HeldDecision:
    """A decision with its hold, as the reply shows it.

    Attributes:
        routed: the decision.
        amounts: what is held; ``None`` where only a quote was asked for.
        states: the limits that apply to the chosen model, with their balances before the hold.
        expires: when the hold runs out, aware.
        candidates: of the decision, with the limits that apply to each.
        task: whose turn it is, as it is after the hold; ``None``: none.
    """

    routed: RoutedDecision
    amounts: Amounts | None
    states: tuple[LimitState, ...]
    expires: datetime
    candidates: Sequence[Candidate] = ()
    task: StoredTask | None = None


@dataclass(frozen=True)
class Reservations:
    """Decides on requests and holds their money in a ledger. Thread-safe.

    Attributes:
        router: decides.
        ledger: keeps limits, holds and the decision log.
        strict: whether to hold the worst case, which no settlement exceeds; otherwise the 90th percentile of
            the price is held.
        hold_ttl_s: seconds until a hold expires, > 0.
        prompt_log: decides what the log keeps of a prompt.
        label_names: notes labels that look misspelt; the choice does not depend on it.
        max_settle: the largest cost that may be reported for one call, nano-dollars.
        render_example: serialises a reply with every alternative, by which a store may compress replies;
            ``None``: it shall not.
        observer: is told what was decided and settled.
        chance: draws the numbers of what is left to chance.
        health: of the models; learns from what is settled, rerouted and reported.
        conversations: up to now; learn from what is decided and reported.
        load: of the accounts of providers; learns from what is held, settled, released and reported.
        load_shares: how far work of an importance may use the limits of providers.
        deferrals: the batch work that waits, and until when.
        shadow: gets copies of what is decided; ``None``: nobody does.
        canary: decides some requests instead of ``router``; ``None``: there is none.
    """

    router: Router
    ledger: Ledger
    strict: bool
    hold_ttl_s: float
    prompt_log: PromptLog = _NO_PROMPTS
    label_names: LabelNames = field(default_factory=LabelNames)
    max_settle: int = MAX_AMOUNT
    observer: Observer = UNOBSERVED
    chance: Chance = field(default_factory=Chance)
    render_example: Callable[[HeldDecision], bytes] | None = None
    health: ModelHealth = field(default_factory=ModelHealth)
    conversations: Conversations = field(default_factory=Conversations)
    load: ProviderLoad = field(default_factory=ProviderLoad)
    load_shares: LoadShares = field(default_factory=LoadShares)
    deferrals: Deferrals = field(default_factory=Deferrals)
    shadow: Shadow | None = None
    canary: Canary | None = None
    _examples: dict[tuple[str, str], bytes] = field(default_factory=dict, init=False, repr=False)
    _canaries: list[Reservations] = field(default_factory=list, init=False, repr=False)

    def warm_up(self) -> None:
        """Load and make what the first call would otherwise wait for."""
        self.router.warm_up()
        self._example(self.router.bundle.version)

    def decide(
        self,
        query: RouteQuery,
        decision_id: str,
        fingerprint: str,
        render: Callable[[HeldDecision], bytes],
        *,
        replaces: str | None = None,
    ) -> bytes:
        """Decide, hold atomically, and return the serialised reply.

        The choice rests on a view of the balances. The ledger checks every limit again when it holds; where
        one has filled up in between, the choice is made again.

        Args:
            query: the validated request.
            decision_id: the id of the decision and its hold.
            fingerprint: hash of the request's body, to tell a repeated request from another one.
            render: serialises the reply to a decision.
            replaces: id of a held decision whose hold is released in the same transaction; ``None``: none.

        Raises:
            NotPossible, InvalidInput: no model can answer.
            Exhausted: a hard limit does not allow it, or no provider has room.
            Deferred: likewise, for batch work; says until when it waits.
            Conflict: the id was used for another request.
            NotFound: ``replaces`` is not held by this tenant, or it has no such task.
            Unavailable: the ledger cannot be used.
            CallerGone: the caller does not wait any more; nothing is held.
        """
        try:
            if self.canary is None or replaces is not None:
                # A choice after a failed call is for the parts that are known to work.
                return self._decide(query, decision_id, fingerprint, render, replaces)
            return self._split(self.canary, query, decision_id, fingerprint, render)
        except (Exhausted, InvalidInput, NotPossible, Unavailable) as error:
            # The ledger knows a repeated request when it holds. One that gets no further gets the same reply,
            # even if limits have filled up since, perhaps by this very request.
            try:
                earlier = self._earlier(query, decision_id, fingerprint)
            except Unavailable:
                if isinstance(error, Unavailable):
                    raise error from None  # it says what the caller has waited for
                raise
            if earlier is not None:
                return earlier
            if isinstance(error, Deferred):
                raise self.deferrals.planned(error, decision_id, query.scope) from None
            raise

    def _split(
        self,
        canary: Canary,
        query: RouteQuery,
        decision_id: str,
        fingerprint: str,
        render: Callable[[HeldDecision], bytes],
    ) -> bytes:
        """Decide by the canary where a request is on its side; where it cannot, the live parts do."""
        split = canary.split(self.router, query, decision_id)
        logged = None if split is None else split.logged
        if split is None or split.router is None:
            return self._decide(query, decision_id, fingerprint, render, None, logged)
        try:
            beside = self._beside(split.router)
            return beside._decide(query, decision_id, fingerprint, render, None, logged)
        except (CallerGone, Conflict, Unavailable):
            raise  # it is not the canary's fault
        except Exception as error:  # noqa: BLE001 — whatever is wrong with a canary, no call fails for it
            reply = self._decide(query, decision_id, fingerprint, render, None)
            canary.failed(error, query, decision_id)
            return reply

    def _beside(self, router: Router) -> Reservations:
        """The same on the router of the canary."""
        found = self._canaries[0] if self._canaries else None
        if found is None or found.router is not router:
            found = replace(self, router=router, shadow=None, canary=None)
            self._canaries[:] = [found]
        return found

    def _decide(
        self,
        query: RouteQuery,
        decision_id: str,
        fingerprint: str,
        render: Callable[[HeldDecision], bytes],
        replaces: str | None,
        canary: LoggedCanary | None = None,
    ) -> bytes:
        task = None
        if query.task_id:
            task = task_of(self.ledger, query)
            query = within(query, task)
        assessed = self.router.assess(query)
        encoder = assessed.bundle.manifest.encoder
        kept = self.prompt_log.kept(
            query.prompt, assessed.embedding, (encoder.name, encoder.sha256), assessed.reading
        )
        freed = self._held(replaces, query.tenant) if replaces is not None else None
        if freed is not None:
            self._report_failed(query, freed)
        refused: Refused | None = None
        # A quote teaches nothing, and a choice after a failed call shall not fail again.
        draw = None
        if not query.quote_only and replaces is None:
            draw = self.chance.draw(decision_id)
        explores = False
        for attempt in range(_MAX_TRIES):
            with stage("decide"):
                # After a refusal nobody knows with what probability another model would have been refused,
                # too: nothing is left to chance any more, and the record says that its propensity is unknown.
                number = draw if attempt == 0 else None
                if task is not None and attempt > 0:
                    task = task_of(self.ledger, query)
                held, tries = self._choose_or_try(query, assessed, freed, decision_id, number, task)
            explores = explores or held.routed.decision.explored is not None
            try:
                reply = render(held)
                check_caller()  # after everything that takes time: no money is held for one that has gone
                hold = Hold(
                    id=decision_id,
                    fingerprint=fingerprint,
                    labels=_labels(query, held.routed.decision.chosen),
                    amounts=held.amounts,
                    ttl_s=self.hold_ttl_s,
                    reply=reply,
                    record=serialize(
                        self._record(
                            query,
                            assessed,
                            held,
                            kept,
                            redrawn=explores and attempt > 0,
                            canary=canary,
                        )
                    ),
                    replaces=replaces,
                    quoted=_expected(held.routed.decision.chosen),
                    task=query.task_id or None,
                    example=self._example(assessed.bundle.version),
                )
                with stage("hold"):
                    result = self.ledger.hold(hold)
                if isinstance(result, Granted):
                    tries = False  # its report ends it
                    self._tell_decided(held, hold)
                    self._remember(query, assessed, held, decision_id)
                    if self.shadow is not None and replaces is None:
                        self._offer(self.shadow, query, decision_id, assessed, held)
                    return reply
            finally:
                if tries:
                    self.health.drop_probe(decision_id)
            if isinstance(result, Repeated):
                return result.reply
            refused = result
        assert refused is not None  # noqa: S101 — the loop ran
        raise limit_refusal(refused.state, refused.obstacle, refused.amount)

    def _choose_or_try(
        self,
        query: RouteQuery,
        assessed: Assessment,
        freed: StoredDecision | None,
        decision_id: str,
        draw: float | None,
        task: StoredTask | None,
    ) -> tuple[HeldDecision, bool]:
        """A choice, and whether it tries a model that failed before: then no other call does so meanwhile."""
        while True:
            # Chance chooses no model that is to be tried: a choice made again is the first that chance has.
            held = self._choose(query, assessed, freed, draw, task)
            model = held.routed.decision.chosen.model
            if model.id not in held.routed.health.due:
                return held, False
            if self.health.take_probe(model.id, model.provider, decision_id, query.tenant):
                return held, True
            # Another call was faster; by now the model is unhealthy again.

    def _report_failed(self, query: RouteQuery, decided: StoredDecision) -> None:
        """Count the failure for which another model is to be chosen."""
        failed, model = query.failed, decided.labels["model"]
        if failed is None or model not in query.excluded_models:
            return
        self.conversations.reported(decided.id, Judgement(model, failed.outcome))
        if self.canary is not None and failed.outcome.failed:
            self.canary.settled(decided, CountedCall(failed=True))
        self.health.report(
            Attempt(
                model,
                decided.labels["provider"],
                failed.outcome,
                decided.id,
                decided.created,
                failed.retry_after_s,
                tenant=query.tenant,
            )
        )

    def _remember(
        self, query: RouteQuery, assessed: Assessment, held: HeldDecision, decision_id: str
    ) -> None:
        """Remember a turn of a conversation for the next one."""
        if not query.conversation_id or query.quote_only:
            return
        chosen, threshold = held.routed.decision.chosen, assessed.bundle.manifest.adequacy_threshold
        assert chosen.quote is not None and chosen.p_adequate is not None  # noqa: S101, PT018 — it was chosen
        model = chosen.model
        self.conversations.decided(
            (query.tenant, query.conversation_id),
            decision_id,
            PromptState(query.prompt, assessed.task),
            Turn(
                model.id,
                model.provider,
                chosen.p_adequate,
                chosen.quote.input_tokens.tokens,
                threshold,
                model.id in held.routed.conversation.cached,
            ),
        )

    def _offer(
        self,
        shadow: Shadow,
        query: RouteQuery,
        decision_id: str,
        assessed: Assessment,
        held: HeldDecision,
    ) -> None:
        moment, candidates = assessed.moment, held.candidates
        shadow.offer(
            DecidedCopy(
                decision_id, self.router, query, moment, candidates, held.routed, self.strict
            )
        )

    def _tell_decided(self, held: HeldDecision, hold: Hold) -> None:
        chosen = held.routed.decision.chosen
        model = chosen.model
        self.deferrals.done(hold.id)
        if hold.replaces is not None:
            self.load.ended(hold.replaces)
        if hold.amounts is not None and chosen.quote is not None:
            self.load.began(
                hold.id,
                model.id,
                model.provider,
                tokens=quoted_tokens(chosen.quote),
                ttl_s=hold.ttl_s,
            )
        self.observer.decided(model.id, model.provider, held=hold.amounts is not None)
        self.observer.saw_limits(held.states, hold.labels)
        if hold.replaces is not None:
            self.observer.released()
        annotate(
            {
                "gen_ai.request.model": model.id,
                "gen_ai.provider.name": provider_name(model.provider),
                "mitsumori.bundle.version": held.routed.bundle_version,
            }
        )

    def _earlier(self, query: RouteQuery, decision_id: str, fingerprint: str) -> bytes | None:
        """The reply to the same request if it was decided before, else ``None``."""
        if not query.request_id:
            return None
        return self.ledger.earlier_reply(decision_id, fingerprint, query.tenant)

    def quote(self, query: RouteQuery) -> HeldDecision:
        """Decide on the current balances without holding or logging anything.

        Raises: as :meth:`decide`.
        """
        task = None
        if query.task_id:
            task = task_of(self.ledger, query)
            query = within(query, task)
        query = replace(query, quote_only=True)
        try:
            return self._choose(query, self.router.assess(query), task=task)
        except Deferred as error:
            raise self.deferrals.told(error, query.tenant) from None

    def _held(self, decision_id: str, tenant: str) -> StoredDecision | None:
        """A decision if it is this tenant's and still held, else ``None``."""
        found = self.ledger.decision(decision_id)
        if found is None or found.state is not HoldState.HELD:
            return None
        return found if found.labels.get("tenant", "") == tenant else None

    def _choose(
        self,
        query: RouteQuery,
        assessed: Assessment,
        freed: StoredDecision | None = None,
        draw: float | None = None,
        task: StoredTask | None = None,
    ) -> HeldDecision:
        options = [_labels(query, candidate) for candidate in assessed.candidates]
        views = balances = self.ledger.view(options)
        if freed is not None:
            views = [tuple(_without(state, freed) for state in states) for states in views]
        if task is not None:
            views = for_turn(task, views, freed)
        candidates = [
            Candidate(
                model, arm, p, offer, amounts_to_hold(offer, strict=self.strict), states, basis
            )
            for (model, arm, p, offer, _, _, basis, *_), states in zip(
                assessed.candidates, views, strict=True
            )
        ]
        conversation = self.conversations.view(
            query.tenant, query.conversation_id, PromptState(query.prompt, assessed.task)
        )
        routed = self.router.decide(
            query,
            assessed,
            candidates,
            self._health(query),
            draw,
            self._load(query),
            conversation,
        )
        chosen, reasons = routed.decision.chosen, routed.decision.reasons
        notes = self.label_names.notes(query.scope)
        if notes:
            routed = replace(routed, decision=replace(routed.decision, reasons=reasons + notes))
        amounts, states = None if query.quote_only else chosen.amounts, chosen.limits
        if task is not None:
            # The reply shows the balances of its limits as everybody sees them, and its cap apart from them.
            place = [each.model.id for each in candidates].index(chosen.model.id)
            states, task = balances[place], after_turn(task, amounts, freed)
        return HeldDecision(
            routed,
            amounts,
            states,
            assessed.moment + timedelta(seconds=self.hold_ttl_s),
            candidates,
            task,
        )

    def _health(self, query: RouteQuery) -> Health:
        """The health of the models as far as it concerns a request."""
        health = self.health.view(query.tenant)
        if query.quote_only:
            health = health.without_probes
        if query.failed is not None and query.failed.outcome.failed:
            health = replace(health, failed_providers=query.failed.providers)
        return health

    def _load(self, query: RouteQuery) -> Load:
        """The load of providers as far as it concerns a request: no call follows a quote."""
        if query.quote_only:
            return NO_LOAD
        load = self.load.view(
            self.load_shares.of(query.importance, batch=query.batch), query.tenant
        )
        if query.batch and load is not NO_LOAD:
            load = replace(load, queues=self.deferrals.turns(query.tenant))
        return load

    def _record(
        self,
        query: RouteQuery,
        assessed: Assessment,
        held: HeldDecision,
        kept: KeptPrompt,
        *,
        redrawn: bool = False,
        canary: LoggedCanary | None = None,
    ) -> DecisionRecord:
        return record_of(
            query,
            assessed,
            held.routed,
            kept=kept,
            price_table=self.router.catalog.price_table,
            strict=self.strict,
            redrawn=redrawn,
            in_flight=0
            if query.quote_only
            else self.load.in_flight(held.routed.decision.chosen.model.id),
            canary=canary,
        )

    def _example(self, bundle_version: str) -> bytes:
        """Reply and record of a decision on no caller's prompt, once per bundle and catalog."""
        if self.render_example is None:
            return b""
        key = bundle_version, self.router.catalog.price_table
        found = self._examples.get(key)
        if found is None:
            try:
                assessed = self.router.assess(_EXAMPLE)
                routed = self.router.decide(_EXAMPLE, assessed, assessed.candidates)
            except MitsumoriError:  # such as a catalog without prices
                return b""
            held = HeldDecision(routed, None, (), assessed.moment)
            record = serialize(self._record(_EXAMPLE, assessed, held, KeptPrompt()))
            found = self.render_example(held) + record.encode()
            self._examples.clear()
            self._examples[key] = found
        return found

    def batch_load(self, tenant: str | None = None) -> Load:
        """The load of providers for batch work of a tenant; ``None``: for operators."""
        return self.load.view(self.load_shares.batch, tenant)

    @property
    def reports(self) -> Reports:
        """Takes the reports of what became of decisions."""
        return Reports(
            self.router.catalog,
            self.ledger,
            self.health,
            self.conversations,
            self.max_settle,
            self.observer,
            self.load,
            self.canary,
        )


def _without(state: LimitState, freed: StoredDecision) -> LimitState:
    """A balance as it will be once the hold of a decision is released.

    The labels of the caller are those of the decision; only the model differs.
    """
    limit = state.limit
    if freed.held is None or not state.period.start <= freed.created < state.period.end:
        return state
    amount, held, whole = freed.held.of(limit.unit), state.held, state.whole
    if balance_key(limit, freed.labels) == state.key:
        held = max(held - amount, 0)
    if limit.share is not None:
        whole = max(whole - amount, 0)
    return (
        state
        if (held, whole) == (state.held, state.whole)
        else replace(state, held=held, whole=whole)
    )


def _labels(query: RouteQuery, candidate: Candidate) -> dict[str, str]:
    model = candidate.model
    return {**query.scope, "model": model.id, "provider": model.provider, "tier": model.tier}


def _expected(candidate: Candidate) -> int:
    assert candidate.quote is not None  # noqa: S101 — a chosen candidate has a quote
    return candidate.quote.price.expected
