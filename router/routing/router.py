"""One Route call without the transport: gather the facts, then let the core decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from router.catalog.catalog import Catalog
from router.catalog.tokens import TokenCounter
from router.classifier.bundle import Bundle
from router.classifier.gadget_guard import GadgetGuard
from router.core.breaker import Outcome
from router.core.conversation import NO_CONVERSATION, Conversation, with_cache_worth
from router.core.corrections import Corrections
from router.core.errors import Exhausted, NotPossible
from router.core.exclusions import arm_prices
from router.core.explanation import Explanation, explain
from router.core.exploration import EXPLORE_REGRET, may_explore
from router.core.goals import at_stake
from router.core.health import ALL_HEALTHY, Health
from router.core.inputs import Inputs
from router.core.load import NO_LOAD, Load
from router.core.quote_table import QuoteTerms
from router.core.relaxation import advised
from router.core.ruling import NO_RULING, Ruling
from router.core.types import (
    TARGET_REGRET,
    Candidate,
    Constraints,
    Decision,
    DefaultGoals,
    Exploration,
    Goal,
    Importance,
    Prompt,
    QualityTarget,
    Reason,
    Score,
)
from router.routing.assessment_notes import TOKENS_ESTIMATED, notes_of
from router.routing.candidate_table import CandidateTable
from router.routing.classified_prompt import classified, second_opinion
from router.routing.prompt_memory import PromptMemory, key_of
from router.rules.facts import Facts
from router.rules.routing_table import RoutingTable, Rules
from router.telemetry.trace import stage

__all__ = ["Assessment", "FailedCall", "RouteQuery", "RoutedDecision", "Router"]

_NO_CORRECTIONS = Corrections()
_CLASSIFIED_BYTES = 6_000
"""A vector of 768 numbers, the features, and a score of a dozen arms, roughly."""
_COUNTS_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class FailedCall:
    """A call that failed, for which another model is to be chosen.

    Attributes:
        outcome: how it ended.
        retry_after_s: how long the provider asked to wait, seconds ≥ 0; 0: it did not say.
        providers: of the models that failed.
    """

    outcome: Outcome
    retry_after_s: float
    providers: frozenset[str]


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """A validated request.

    Attributes:
        request_id: chosen by the caller; empty: the server makes an id.
        scope: labels of the caller, such as team or user; limits and reports go by them.
        prompt: what is to be answered.
        constraints: what the choice must respect.
        goal: what the choice aims for; ``None``: the default goal of the importance.
        importance: what a wrong answer would cost the caller.
        conversation_id: ties the turns of a conversation together; empty: none.
        max_alternatives: most alternatives in the reply, ≥ 0.
        quote_only: hold nothing.
        batch: the work can wait.
        excluded_models: ids of models that are left out because they failed.
        failed: what is reported of the call before, which failed; ``None``: nothing.
        explain: say of each model what it lost to; it changes nothing.
        task_id: of the task whose turn it is; empty: none.
    """

    request_id: str
    scope: Mapping[str, str]
    prompt: Prompt
    constraints: Constraints
    goal: Goal | None
    importance: Importance
    conversation_id: str
    max_alternatives: int
    quote_only: bool = False
    batch: bool = False
    excluded_models: frozenset[str] = frozenset()
    failed: FailedCall | None = None
    explain: bool = False
    task_id: str = ""

    @property
    def tenant(self) -> str:
        """The tenant label, which owns the decision; empty where the scope has none."""
        return self.scope.get("tenant", "")


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is known about a request before limits come in.

    Attributes:
        bundle: scored the prompt; the rest of the call must use the same one.
        score: by the stage that decides.
        features: lexical, float32 ``(len(FEATURES),)``.
        embedding: by the first encoder, float32 ``(dimensions,)``; the decision log may keep it.
        candidates: every model of the catalog that is not excluded, in its order, without limits.
        notes: reasons to add to the decision, such as a second opinion.
        goal: of a rule, else of the request, else the default goal of its importance.
        moment: when it was made, aware; the rest of the call uses the same.
        ruling: what the routing table says.
        reading: which of the readings of the task in hand was scored.
        task: a hash of the request that the last message makes; ``None``: it goes on with an earlier one.
    """

    bundle: Bundle
    score: Score
    features: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    candidates: tuple[Candidate, ...]
    notes: tuple[Reason, ...]
    goal: Goal
    moment: datetime
    ruling: Ruling = NO_RULING
    reading: int = 0
    task: int | None = None


@dataclass(frozen=True, slots=True)
class RoutedDecision:
    """A decision with what it rests on.

    Attributes:
        score: of the prompt.
        decision: the ranked candidates with the reasons.
        goal: what the choice aimed for.
        bundle_version: ``name@hash`` of the bundle that scored the prompt.
        catalog_version: of the catalog that the candidates are from.
        settings_version: of the settings that the decision rests on; empty where they have none.
        ruling: what the routing table said.
        health: of the models, when the decision was made.
        conversation: up to this turn.
        inputs: that the decision was made from; ``None`` where it need not be explained.
    """

    score: Score
    decision: Decision
    goal: Goal
    bundle_version: str
    catalog_version: str = ""
    settings_version: str = ""
    ruling: Ruling = NO_RULING
    health: Health = ALL_HEALTHY
    conversation: Conversation = NO_CONVERSATION
    inputs: Inputs | None = None


def _nothing_in_flight() -> Mapping[str, int]:
    return {}


def _nothing_learned() -> Corrections:
    return _NO_CORRECTIONS


@dataclass(frozen=True)
class Router:
    """Scores, quotes and decides. Thread-safe.

    Attributes:
        bundles: returns the bundle that serves now. Called once per request, so that no request sees a swap.
        catalog: the models.
        tokens: counts input tokens.
        default_goals: the goal of requests without one, by importance.
        quote_ttl: how long a quote is valid, > 0.
        now: the clock; returns an aware datetime.
        corrections: returns what settled usage has taught so far.
        target_regret: of every quality target, 0..1.
        settings_version: names the settings that it was made from; empty: none.
        rules: of the routing table; ``None``: there is none.
        explore: share of the decisions that is left to chance, 0..1, where no rule says another.
        explore_regret: what chance may cost at most, as a share of the least expected cost, ≥ 0.
        guard: against texts that make a prompt look harder; ``None``: there is none.
        notes: reasons that every decision has besides its own.
        in_flight: returns, by id of the model, the calls that have not ended.

    Raises:
        BadArtifact: the rules do not fit the catalog.
    """

    bundles: Callable[[], Bundle]
    catalog: Catalog
    tokens: TokenCounter
    default_goals: DefaultGoals
    quote_ttl: timedelta
    now: Callable[[], datetime]
    corrections: Callable[[], Corrections] = _nothing_learned
    target_regret: float = TARGET_REGRET
    settings_version: str = ""
    rules: Rules | None = None
    explore: float = 0.0
    explore_regret: float = EXPLORE_REGRET
    guard: GadgetGuard | None = None
    notes: tuple[Reason, ...] = ()
    in_flight: Callable[[], Mapping[str, int]] = _nothing_in_flight
    _table_of_rules: RoutingTable | None = field(
        default=None, init=False, repr=False, compare=False
    )
    _memory: PromptMemory = field(
        default_factory=PromptMemory, init=False, repr=False, compare=False
    )
    _latest: list[CandidateTable | None] = field(
        default_factory=lambda: [None], init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.rules is not None:
            object.__setattr__(self, "_table_of_rules", self.rules.fitted(self.catalog))

    @property
    def bundle(self) -> Bundle:
        """The bundle that serves now; the next read may return another."""
        return self.bundles()

    def beside(
        self,
        bundle: Bundle | None,
        catalog: Catalog | None,
        rules: Rules | None,
        notes: tuple[Reason, ...] = (),
    ) -> Router:
        """The same router with other parts; both remember the same prompts.

        Args:
            bundle: that scores; ``None``: the same.
            catalog: the models; ``None``: the same.
            rules: of the routing table; ``None``: the same.
            notes: reasons that every decision of it has.

        Raises:
            BadArtifact: the rules do not fit the catalog.
        """
        made = replace(
            self,
            bundles=self.bundles if bundle is None else lambda: bundle,
            catalog=catalog or self.catalog,
            rules=rules or self.rules,
            notes=notes,
        )
        # What is remembered is kept by bundle and by prices.
        object.__setattr__(made, "_memory", self._memory)
        return made

    def warm_up(self) -> None:
        """Load what the first call would otherwise load: encodings, ONNX arenas, prices."""
        for rule in {entry.token_rule.encoding for entry in self.catalog.entries}:
            self.tokens.text_tokens("hello world", rule)
        self.bundle.score_all_stages("hello world")
        self._table(self.bundle, self.now())

    def assess(self, query: RouteQuery, moment: datetime | None = None) -> Assessment:
        """Score the prompt, count its tokens and quote every model.

        Args:
            query: the request.
            moment: when it is to be decided, aware; ``None``: now.

        Raises:
            InvalidInput: the prompt cannot be counted.
        """
        bundle, corrections = self.bundle, self.corrections()
        key, version = key_of(query.tenant, query.prompt), bundle.version
        recall = self._memory.get
        first = recall(
            key,
            f"first {version}",
            lambda: classified(bundle, query.prompt, self.guard),
            _CLASSIFIED_BYTES,
        )
        features, embedding, score = first.features, first.embedding, first.score
        moment = moment or self.now()
        table = self._table(bundle, moment)
        prices = self.catalog.price_table
        terms = QuoteTerms(query.constraints.max_output_tokens, moment + self.quote_ttl, prices)

        def candidates_of(score: Score) -> list[Candidate]:
            found = table.candidates(
                counts, score, corrections, query.scope, terms, moment, self.in_flight
            )
            excluded = query.excluded_models
            return [one for one in found if one.model.id not in excluded] if excluded else found

        with stage("quote"):
            counts = recall(
                key,
                f"tokens {prices}",
                lambda: table.counts(self.tokens, query.prompt),
                _COUNTS_BYTES,
            )
            candidates = candidates_of(score)
        tokens = max((count.tokens for count in counts), default=0)
        ruling = self._ruling(query, score, features, tokens, moment)
        goal = self._goal(query, ruling)
        encoder, second = bundle.encoder, False
        if bundle.second is not None and bundle.needs_second_stage(
            score,
            features,
            arm_prices(candidates, query.constraints, ruling),
            at_stake(goal, score.complexity),
        ):
            encoder, second = bundle.second.encoder, True
            score = recall(
                key,
                f"second {version}",
                lambda: second_opinion(bundle, query.prompt, first),
                _CLASSIFIED_BYTES,
            )
            candidates = candidates_of(score)
            ruling = self._ruling(query, score, features, tokens, moment)
            goal = self._goal(query, ruling)
        return Assessment(
            bundle,
            score,
            features,
            embedding,
            tuple(candidates),
            notes_of(first, encoder, second=second),
            goal,
            moment,
            ruling,
            first.reading,
            first.task,
        )

    def decide(
        self,
        query: RouteQuery,
        assessed: Assessment,
        candidates: Sequence[Candidate],
        health: Health = ALL_HEALTHY,
        draw: float | None = None,
        load: Load = NO_LOAD,
        conversation: Conversation = NO_CONVERSATION,
    ) -> RoutedDecision:
        """Choose among candidates with their limits.

        Args:
            query: the request.
            assessed: from :meth:`assess`.
            candidates: of ``assessed``, with the limits that apply and the amounts to hold.
            health: of all models.
            draw: uniform in 0 ≤ draw < 1, for what is left to chance; ``None``: nothing is.
            load: how far limits of providers are used.
            conversation: up to this turn.

        Raises:
            NotPossible: no model meets the constraints.
            Exhausted: a hard limit does not allow it, or no provider has room.
        """
        inputs = Inputs(
            with_cache_worth(candidates, conversation),
            query.constraints,
            assessed.goal,
            ruling=assessed.ruling,
            health=health,
            load=load,
            complexity=assessed.score.complexity,
            batch=query.batch,
            top_tier=self.catalog.tiers[-1],
            moment=assessed.moment,
            exploration=None if draw is None else self.exploration(query, assessed, draw),
            conversation=conversation,
        )
        try:
            decision = inputs.decide()
        except (Exhausted, NotPossible) as error:
            raise advised(error, self._with_next_goal(query, inputs)) from None
        notes = self.notes + assessed.notes
        chosen = decision.chosen.quote
        if chosen is not None and not chosen.input_tokens.exact:
            notes = (TOKENS_ESTIMATED, *notes)
        return RoutedDecision(
            assessed.score,
            replace(decision, reasons=decision.reasons + notes),
            assessed.goal,
            assessed.bundle.version,
            self.catalog.version,
            self.settings_version,
            assessed.ruling.after_giving_way() if decision.rules_gave_way else assessed.ruling,
            health,
            conversation,
            inputs,
        )

    def explanation(self, query: RouteQuery, inputs: Inputs, decision: Decision) -> Explanation:
        """Why a decision came out as it did.

        Args:
            query: the request.
            inputs: that it was made from.
            decision: what was decided.
        """
        with stage("explain"):
            return explain(self._with_next_goal(query, inputs), decision)

    def _with_next_goal(self, query: RouteQuery, inputs: Inputs) -> Inputs:
        """The inputs with the goal that there would be if the rule that gives one did not hold."""
        rules = inputs.ruling.rules
        giving = next((at for at, rule in enumerate(rules) if rule.effects.goal is not None), None)
        if giving is None:
            return inputs
        others = Ruling(rules[:giving] + rules[giving + 1 :])
        return inputs._replace(next_goal=self._goal(query, others))

    def route(self, query: RouteQuery) -> RoutedDecision:
        """Assess and decide without a ledger, so that no limit applies.

        Raises:
            NotPossible: no model meets the constraints.
            InvalidInput: the prompt cannot be counted.
        """
        assessed = self.assess(query)
        return self.decide(query, assessed, assessed.candidates)

    def exploration(
        self, query: RouteQuery, assessed: Assessment, draw: float
    ) -> Exploration | None:
        """How much of a decision is left to chance; ``None``: nothing is.

        Args:
            query: the request.
            assessed: from :meth:`assess`.
            draw: uniform in 0 ≤ draw < 1.
        """
        told = assessed.ruling.explore
        share = self.explore if told is None else told
        if not share or not may_explore(query.importance, query.goal):
            return None
        return Exploration(share, self.explore_regret, draw)

    def _ruling(
        self,
        query: RouteQuery,
        score: Score,
        features: npt.NDArray[np.float32],
        input_tokens: int,
        moment: datetime,
    ) -> Ruling:
        if self._table_of_rules is None:
            return NO_RULING
        with stage("rules"):
            return self._table_of_rules.ruling(
                Facts(
                    query.importance,
                    score.complexity,
                    features,
                    query.scope,
                    query.constraints,
                    query.goal,
                    input_tokens,
                    len(query.prompt.messages),
                    query.batch,
                    moment,
                )
            )

    def _goal(self, query: RouteQuery, ruling: Ruling) -> Goal:
        goal = ruling.goal or query.goal or self.default_goals.of(query.importance)
        return replace(goal, regret=self.target_regret) if isinstance(goal, QualityTarget) else goal

    def _table(self, bundle: Bundle, moment: datetime) -> CandidateTable:
        table = self._latest[0]
        if table is None or not table.holds(self.catalog, bundle.manifest, moment):
            # Two threads may make it at once; either table is right.
            table = self._latest[0] = CandidateTable(self.catalog, bundle.manifest, moment)
        return table
