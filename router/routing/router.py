"""One Route call without the transport: gather the facts, then let the core decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from router.catalog.catalog import Catalog, CatalogEntry
from router.catalog.tokens import TokenCounter, scaled
from router.classifier.bundle import Bundle
from router.classifier.encoder import classifier_text
from router.classifier.features.asked_length import asked_by
from router.classifier.features.lexical import foreign_share, lexical_features
from router.classifier.model_ability import arm_names, p_of_model
from router.core.corrections import Corrections
from router.core.decision import arm_prices, decide
from router.core.goals import at_stake
from router.core.quotes import quote
from router.core.types import (
    TARGET_REGRET,
    Candidate,
    Constraints,
    Decision,
    DefaultGoals,
    Goal,
    Importance,
    Prompt,
    QualityTarget,
    Reason,
    Score,
)
from router.telemetry.trace import stage

__all__ = ["Assessment", "RouteQuery", "RoutedDecision", "Router"]

_NO_CORRECTIONS = Corrections()
_ESTIMATED = Reason(
    "TOKENS_ESTIMATED",
    "input tokens are an estimate: the model's own tokenizer is not available",
)
_SECOND_OPINION = Reason(
    "SECOND_OPINION",
    "the choice was close, or the first encoder does not read this script: the second stage was used",
)


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
        goal: of the request, or the default goal of its importance.
        moment: when it was made, aware; the rest of the call uses the same.
    """

    bundle: Bundle
    score: Score
    features: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]
    candidates: tuple[Candidate, ...]
    notes: tuple[Reason, ...]
    goal: Goal
    moment: datetime


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
    """

    score: Score
    decision: Decision
    goal: Goal
    bundle_version: str
    catalog_version: str = ""
    settings_version: str = ""


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

    @property
    def bundle(self) -> Bundle:
        """The bundle that serves now; the next read may return another."""
        return self.bundles()

    def warm_up(self) -> None:
        """Load what the first call would otherwise load: encodings, ONNX arenas, prices."""
        for rule in {entry.token_rule.encoding for entry in self.catalog.entries}:
            self.tokens.text_tokens("hello world", rule)
        self.bundle.score_all_stages("hello world")
        for entry in self.catalog.entries:
            entry.rates_at(self.now())

    def assess(self, query: RouteQuery) -> Assessment:
        """Score the prompt, count its tokens and quote every model.

        Raises:
            InvalidInput: the prompt cannot be counted.
        """
        bundle = self.bundle
        text = classifier_text(query.prompt)
        with stage("features"):
            features = lexical_features(text)
            asked = asked_by(query.prompt)
        with stage("encode"):
            ids = bundle.encoder.word_ids(text)
            embedding = bundle.encoder.embed_ids(bundle.encoder.window(ids))
        with stage("classify"):
            score = bundle.classify(embedding, features, ids, asked)
        moment = self.now()
        goal = self._goal(query)
        with stage("quote"):
            candidates = self._candidates(query, bundle, score, moment)
        encoder, notes = bundle.encoder, []
        if bundle.second is not None and bundle.needs_second_stage(
            score,
            features,
            arm_prices(candidates, query.constraints),
            at_stake(goal, score.complexity),
        ):
            encoder, score = bundle.second.encoder, bundle.score_second_stage(text, features, asked)
            candidates = self._candidates(query, bundle, score, moment)
            notes.append(_SECOND_OPINION)
        if not encoder.reads_script(features):
            notes.append(_not_read(features))
        return Assessment(
            bundle,
            score,
            features,
            embedding,
            tuple(candidates),
            tuple(notes),
            goal,
            moment,
        )

    def decide(
        self, query: RouteQuery, assessed: Assessment, candidates: Sequence[Candidate]
    ) -> RoutedDecision:
        """Choose among candidates with their limits.

        Args:
            query: the request.
            assessed: from :meth:`assess`.
            candidates: of ``assessed``, with the limits that apply and the amounts to hold.

        Raises:
            NotPossible: no model meets the constraints.
            Exhausted: a hard limit does not allow it.
        """
        decision = decide(
            candidates,
            query.constraints,
            assessed.goal,
            complexity=assessed.score.complexity,
            batch=query.batch,
            top_tier=self.catalog.tiers[-1],
            moment=assessed.moment,
        )
        notes = assessed.notes
        chosen = decision.chosen.quote
        if chosen is not None and not chosen.input_tokens.exact:
            notes = (_ESTIMATED, *notes)
        return RoutedDecision(
            assessed.score,
            Decision(decision.ranked, decision.reasons + notes),
            assessed.goal,
            assessed.bundle.version,
            self.catalog.version,
            self.settings_version,
        )

    def route(self, query: RouteQuery) -> RoutedDecision:
        """Assess and decide without a ledger, so that no limit applies.

        Raises:
            NotPossible: no model meets the constraints.
            InvalidInput: the prompt cannot be counted.
        """
        assessed = self.assess(query)
        return self.decide(query, assessed, assessed.candidates)

    def _goal(self, query: RouteQuery) -> Goal:
        goal = query.goal or self.default_goals.of(query.importance)
        return replace(goal, regret=self.target_regret) if isinstance(goal, QualityTarget) else goal

    def _candidates(
        self, query: RouteQuery, bundle: Bundle, score: Score, now: datetime
    ) -> list[Candidate]:
        counts = {
            encoding: self.tokens.count(query.prompt, encoding)
            for encoding in {entry.token_rule.encoding for entry in self.catalog.entries}
        }
        arms = arm_names(bundle.manifest)
        corrections = self.corrections()

        def candidate(entry: CatalogEntry) -> Candidate:
            model = entry.at(now)
            arm = arms.get(model.id) or arms.get(model.tier)
            offer = None
            if model.rates is not None:
                offer = quote(
                    model,
                    model.rates,
                    scaled(
                        counts[entry.token_rule.encoding],
                        entry.token_rule,
                        exact=entry.exact_tokens,
                    ),
                    score.lengths.get(arm or "", self.catalog.default_lengths[model.tier]),
                    correction=corrections.of(model.id, query.scope),
                    max_output_tokens=query.constraints.max_output_tokens,
                    expires=now + self.quote_ttl,
                    price_table=self.catalog.price_table,
                )
            p, basis = p_of_model(model, arm, bundle.manifest, score)
            return Candidate(model, arm, p, offer, basis=basis)

        return [
            candidate(entry)
            for entry in self.catalog.entries
            if entry.spec.id not in query.excluded_models
        ]


def _not_read(features: npt.NDArray[np.float32]) -> Reason:
    return Reason(
        "LANGUAGE_NOT_COVERED",
        "the encoder does not read this script: the probabilities rest on length and form",
        {"letters_outside_latin_share": f"{foreign_share(features):.2f}"},
    )
