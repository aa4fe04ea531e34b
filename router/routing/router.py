"""One Route call without the transport: gather what is known, let the core decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from router.catalog.catalog import Catalog, CatalogEntry
from router.catalog.tokens import TokenCounter, scaled
from router.classifier.bundle import Bundle
from router.classifier.encoder import classifier_text
from router.classifier.features.lexical import foreign_share, lexical_features
from router.core.corrections import Corrections
from router.core.decision import decide, exclusion
from router.core.quotes import quote
from router.core.types import (
    Candidate,
    Constraints,
    Decision,
    Goal,
    Importance,
    Prompt,
    QualityTarget,
    Reason,
    Score,
)
from router.settings import QualityTargets

__all__ = ["Assessment", "RouteQuery", "RoutedDecision", "Router", "arm_prices"]

_NO_CORRECTIONS = Corrections()
_ESTIMATED = Reason(
    "TOKENS_ESTIMATED",
    "input tokens are an estimate: the model's own tokenizer is not at hand",
)
_SECOND_OPINION = Reason(
    "SECOND_OPINION",
    "the choice hung on little, or the first encoder does not read this script: the second stage was asked",
)


@dataclass(frozen=True, slots=True)
class RouteQuery:
    """A validated request. ``goal`` is ``None`` where the importance decides."""

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
        """The owner of the decision; the empty one where the scope names none."""
        return self.scope.get("tenant", "")


@dataclass(frozen=True, slots=True)
class Assessment:
    """All that is known of an ask before the limits are looked at.

    ``embedding`` is the encoder's vector of the prompt, float32 ``(dimensions,)``: the decision log
    may keep it. ``features`` are the lexical ones, float32 ``(len(FEATURES),)``. ``bundle`` is the one
    that it was assessed with, and the only one that the rest of the call may speak of.
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
    """What came of it: the decision, with everything it rests on."""

    score: Score
    decision: Decision
    goal: Goal
    bundle_version: str


def _nothing_learned() -> Corrections:
    return _NO_CORRECTIONS


@dataclass(frozen=True)
class Router:
    """Answers asks from a bundle, a catalog and a token counter. Thread-safe.

    Attributes:
        bundles: the bundle to use now. Read once per ask, so that a swap meanwhile is not seen.
        now: the clock; returns an aware datetime.
        corrections: what settled usage has taught by now.
    """

    bundles: Callable[[], Bundle]
    catalog: Catalog
    tokens: TokenCounter
    quality_targets: QualityTargets
    quote_ttl: timedelta
    now: Callable[[], datetime]
    corrections: Callable[[], Corrections] = _nothing_learned

    @property
    def bundle(self) -> Bundle:
        """The bundle of this moment; another one the next time it is read, where it was swapped."""
        return self.bundles()

    def warm_up(self) -> None:
        """Touch everything that a first call would load: encodings, ONNX arenas, prices."""
        for rule in {entry.token_rule.encoding for entry in self.catalog.entries}:
            self.tokens.text_tokens("hello world", rule)
        self.bundle.every_score("hello world")
        for entry in self.catalog.entries:
            entry.rates_at(self.now())

    def assess(self, ask: RouteQuery) -> Assessment:
        """Gather: score the prompt, count its tokens, quote every model.

        Raises:
            InvalidInput: the prompt cannot be counted.
        """
        bundle = self.bundle
        text = classifier_text(ask.prompt)
        features = lexical_features(text)
        ids = bundle.encoder.word_ids(text)
        embedding = bundle.encoder.embed_ids(bundle.encoder.window(ids))
        score = bundle.classify(embedding, features, ids)
        moment = self.now()
        goal = ask.goal or QualityTarget(self.quality_targets.of(ask.importance))
        candidates = self._candidates(ask, bundle, score, moment)
        encoder, notes = bundle.encoder, []
        if bundle.second is not None and bundle.asks_second(
            score, features, arm_prices(candidates, ask.constraints), goal
        ):
            encoder, score = bundle.second.encoder, bundle.second_score(text, features)
            candidates = self._candidates(ask, bundle, score, moment)
            notes.append(_SECOND_OPINION)
        if not encoder.reads(features):
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
        self, ask: RouteQuery, assessed: Assessment, candidates: Sequence[Candidate]
    ) -> RoutedDecision:
        """Choose among candidates that know their limits.

        Args:
            ask: the request.
            assessed: from :meth:`assess`.
            candidates: those of ``assessed``, with limits and amounts where limits apply.

        Raises:
            NotPossible: no model meets the constraints.
            Exhausted: a limit stands in the way.
        """
        decision = decide(
            candidates,
            ask.constraints,
            assessed.goal,
            batch=ask.batch,
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
        )

    def route(self, ask: RouteQuery) -> RoutedDecision:
        """Gather and decide, without a ledger: a plain quote.

        Raises:
            NotPossible: no model meets the constraints.
            InvalidInput: the prompt cannot be counted.
        """
        assessed = self.assess(ask)
        return self.decide(ask, assessed, assessed.candidates)

    def _candidates(
        self, ask: RouteQuery, bundle: Bundle, score: Score, now: datetime
    ) -> list[Candidate]:
        counts = {
            encoding: self.tokens.count(ask.prompt, encoding)
            for encoding in {entry.token_rule.encoding for entry in self.catalog.entries}
        }
        # The first arm of a tier is the tier's: one that was added for a single model does not take it.
        arms = {arm.tier: arm.name for arm in reversed(bundle.manifest.arms)}
        arms |= {arm.name: arm.name for arm in bundle.manifest.arms}

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
                    correction=corrections.of(model.id, ask.scope),
                    max_output_tokens=ask.constraints.max_output_tokens,
                    expires=now + self.quote_ttl,
                    price_table=self.catalog.price_table,
                )
            return Candidate(model, arm, score.p_adequate[arm] if arm else None, offer)

        return [
            candidate(entry)
            for entry in self.catalog.entries
            if entry.spec.id not in ask.excluded_models
        ]


def arm_prices(candidates: Sequence[Candidate], constraints: Constraints) -> dict[str, int]:
    """Arm → expected nano-dollars of its cheapest candidate, of those that meet the constraints."""
    found: dict[str, int] = {}
    for one in candidates:
        if one.arm is None or one.quote is None or exclusion(one, constraints) is not None:
            continue
        price = one.quote.price.expected
        found[one.arm] = min(price, found.get(one.arm, price))
    return found


def _not_read(features: npt.NDArray[np.float32]) -> Reason:
    return Reason(
        "LANGUAGE_NOT_COVERED",
        "the encoder does not read this script: the probabilities rest on length and form",
        {"letters_outside_latin_share": f"{foreign_share(features):.2f}"},
    )
