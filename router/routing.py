"""One Route call without the transport: gather what is known, let the core decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from router.bundle import Bundle
from router.catalog import Catalog, Entry
from router.core.deciding import decide
from router.core.quoting import quote
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
from router.encoding import classifier_text
from router.lexical import FEATURES, lexical_features
from router.settings import QualityTargets
from router.tokens import TokenCounter, scaled

__all__ = ["Ask", "Routed", "Router"]

_FOREIGN_SHARE = 0.3
"""From this share of letters outside the Latin script on, an English encoder sees little."""
_FOREIGN = [FEATURES.index(name) for name in ("kana_share", "han_share", "other_letter_share")]
_LATIN_SCRIPT = frozenset({"en"})


@dataclass(frozen=True, slots=True)
class Ask:
    """A validated request. ``goal`` is ``None`` where the importance decides."""

    request_id: str
    scope: Mapping[str, str]
    prompt: Prompt
    constraints: Constraints
    goal: Goal | None
    importance: Importance
    conversation_id: str
    max_alternatives: int


@dataclass(frozen=True, slots=True)
class Routed:
    """What came of it: the decision, with everything it rests on."""

    score: Score
    decision: Decision
    bundle_version: str


@dataclass(frozen=True)
class Router:
    """Answers asks from a bundle, a catalog and a token counter. Thread-safe.

    Attributes:
        now: the clock; returns an aware datetime.
    """

    bundle: Bundle
    catalog: Catalog
    tokens: TokenCounter
    quality_targets: QualityTargets
    quote_ttl: timedelta
    now: Callable[[], datetime]

    def warm_up(self) -> None:
        """Touch everything that a first call would load: encodings, ONNX arenas, prices."""
        for rule in {entry.token_rule.encoding for entry in self.catalog.entries}:
            self.tokens.text_tokens("hello world", rule)
        self.bundle.score("hello world")
        for entry in self.catalog.entries:
            entry.rates_at(self.now())

    def route(self, ask: Ask) -> Routed:
        """Gather, then decide.

        Raises:
            NotPossible: no model meets the constraints.
            InvalidInput: the prompt cannot be counted.
        """
        text = classifier_text(ask.prompt)
        features = lexical_features(text)
        score = self.bundle.classify(self.bundle.encoder.embed(text), features)
        goal = ask.goal or QualityTarget(self.quality_targets.of(ask.importance))
        decision = decide(self._candidates(ask, score), ask.constraints, goal)
        notes = self._notes(float(features[_FOREIGN].sum()), decision)
        return Routed(
            score,
            Decision(decision.ranked, decision.reasons + notes),
            self.bundle.version,
        )

    def _candidates(self, ask: Ask, score: Score) -> list[Candidate]:
        now = self.now()
        counts = {
            encoding: self.tokens.count(ask.prompt, encoding)
            for encoding in {entry.token_rule.encoding for entry in self.catalog.entries}
        }
        arms = {arm.tier: arm.name for arm in self.bundle.manifest.arms}
        arms |= {arm.name: arm.name for arm in self.bundle.manifest.arms}

        def candidate(entry: Entry) -> Candidate:
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
                    max_output_tokens=ask.constraints.max_output_tokens,
                    expires=now + self.quote_ttl,
                    price_table=self.catalog.price_table,
                )
            return Candidate(model, arm, score.p_adequate[arm] if arm else None, offer)

        return [candidate(entry) for entry in self.catalog.entries]

    def _notes(self, foreign_share: float, decision: Decision) -> tuple[Reason, ...]:
        notes = []
        chosen = decision.chosen.quote
        if chosen is not None and not chosen.input_tokens.exact:
            notes.append(
                Reason(
                    "TOKENS_ESTIMATED",
                    "input tokens are an estimate: the model's own tokenizer is not at hand",
                )
            )
        languages = set(self.bundle.encoder.manifest.languages)
        if languages <= _LATIN_SCRIPT and foreign_share > _FOREIGN_SHARE:
            notes.append(
                Reason(
                    "LANGUAGE_NOT_COVERED",
                    "the encoder does not read this script: the probabilities rest on length and "
                    "form",
                    {"letters_outside_latin_share": f"{foreign_share:.2f}"},
                )
            )
        return tuple(notes)
