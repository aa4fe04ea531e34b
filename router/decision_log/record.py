"""The record of a decision: everything that replay, drift and training need, without the prompt.

The models are the format on disk; :mod:`decision_log.record_json` writes and reads it, and says what a
changed field needs. Money is in nano-dollars, counts are in tokens.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from router.core.limits import Unit
from router.core.types import Importance

__all__ = [
    "ANSWERED",
    "VERSION",
    "CacheNanos",
    "DecisionRecord",
    "KeptPrompt",
    "LatencySeconds",
    "LengthQuantiles",
    "LimitBalance",
    "LoggedAbility",
    "LoggedCanary",
    "LoggedCandidate",
    "LoggedConstraints",
    "LoggedConversation",
    "LoggedExploration",
    "LoggedGoal",
    "LoggedMissCost",
    "LoggedQualityTarget",
    "LoggedUsage",
    "LoggedWillingnessToPay",
    "OutputTokens",
    "PriceNanos",
    "PromptEmbedding",
    "PromptLogKind",
    "ReasoningTokens",
]

VERSION: Final = 1
"""The version that is written."""
ANSWERED = frozenset({"success", "truncated"})
"""Outcomes whose quality, lengths and cost describe the model; a failed call describes none of them."""

PromptLogKind = Literal["off", "hash", "embedding", "redacted", "text"]
"""What the log keeps of a prompt, from nothing to everything:

- ``off``: nothing.
- ``hash``: a keyed hash; it identifies repeated prompts, and reveals nothing without the key.
- ``embedding``: the encoder's vector, which is what the classifier is trained on. **Not anonymous**: the
  topic of a text, and many of its words, can be reconstructed from its vector.
- ``redacted``: the text without personal data and secrets that have a form of their own
  (:mod:`decision_log.redaction`). Names of people stay.
- ``text``: the text.
"""

Count: TypeAlias = Annotated[int, Meta(ge=0)]
Finite: TypeAlias = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Probability: TypeAlias = Annotated[float, Meta(ge=0, le=1)]


class LoggedMissCost(Struct, frozen=True, tag_field="kind", tag="miss_cost"):
    """The goal was the least expected cost, where an inadequate answer costs ``nanos`` nano-dollars."""

    nanos: Count


class LoggedQualityTarget(
    Struct, frozen=True, tag_field="kind", tag="quality_target", omit_defaults=True
):
    """The goal was the cheapest model whose P(adequate) reaches ``p_adequate``.

    Attributes:
        p_adequate: the target.
        regret: how far below the best P(adequate) the choice could lie where no model reaches the target;
            0.01 in older records, which do not say it.
    """

    p_adequate: Probability
    regret: Probability = 0.01


class LoggedWillingnessToPay(Struct, frozen=True, tag_field="kind", tag="willingness_to_pay"):
    """The goal was the best surplus, where an adequate answer is worth ``nanos`` nano-dollars."""

    nanos: Count


LoggedGoal = LoggedMissCost | LoggedQualityTarget | LoggedWillingnessToPay
"""The goal of the decision; ``kind`` names it."""


class LoggedConstraints(Struct, frozen=True, omit_defaults=True):
    """The constraints of the request; empty ones are not written. Names are sorted."""

    models: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    max_price_nanos: int | None = None
    max_latency_s: Finite | None = None
    max_output_tokens: int | None = None
    max_first_token_s: Finite | None = None
    regions: tuple[str, ...] = ()


class LengthQuantiles(Struct, frozen=True, array_like=True):
    """Predicted output length of an arm, tokens: written as ``[p50, p90, p99]``."""

    p50: Finite
    p90: Finite
    p99: Finite


class OutputTokens(Struct, frozen=True, array_like=True):
    """Quoted output tokens: written as ``[p50, p90, worst]``."""

    p50: Count
    p90: Count
    worst: Count


class ReasoningTokens(Struct, frozen=True, array_like=True):
    """Hidden reasoning among the quoted output tokens: written as ``[p50, p90]``."""

    p50: Count
    p90: Count


class PriceNanos(Struct, frozen=True, array_like=True):
    """Quoted price, nano-dollars: written as ``[low, expected, high, worst]``."""

    low: Count
    expected: Count
    high: Count
    worst: Count


class LatencySeconds(Struct, frozen=True, array_like=True):
    """Quoted latency, seconds to three decimals: written as ``[p50, p90]``."""

    p50: Finite
    p90: Finite


class LoggedAbility(Struct, frozen=True):
    """Where the catalog placed a model on the scale of ability, in points, and how uncertain that is."""

    points: Finite
    uncertainty: Finite


class CacheNanos(Struct, frozen=True, array_like=True):
    """What a prompt cache saves, nano-dollars: written as ``[now, later]``."""

    now: Count
    later: Count


class LoggedCandidate(Struct, frozen=True, omit_defaults=True):
    """A model that met the constraints, with its quote.

    Attributes:
        model: id.
        tier: of the model; empty in older records, which lack it.
        arm: of the bundle, which gives P(adequate) for the model; ``None`` if the bundle has none.
        p_adequate: 0..1; ``None`` without an arm.
        counted_tokens: input tokens before corrections; ``None`` in older records.
        exact: whether ``counted_tokens`` comes from the model's own tokenizer.
        input_tokens: as quoted.
        output_tokens: as quoted, hidden reasoning included.
        reasoning_tokens: the part of ``output_tokens`` that is hidden reasoning.
        price_nanos: as quoted.
        latency_s: until the whole answer, as quoted; ``None`` in older records.
        ability: as the catalog had it; ``None``: as the tier.
        first_token_s: until the first token, as quoted; ``None`` where the request did not bound it, to keep
            records short.
        cache_nanos: what a prompt cache saves on this turn and on a further one; ``None`` where none counts.
    """

    model: str
    tier: str
    arm: str | None
    p_adequate: Probability | None
    counted_tokens: Count | None
    exact: bool
    input_tokens: Count
    output_tokens: OutputTokens
    reasoning_tokens: ReasoningTokens
    price_nanos: PriceNanos
    latency_s: LatencySeconds | None
    ability: LoggedAbility | None = None
    first_token_s: LatencySeconds | None = None
    cache_nanos: CacheNanos | None = None


class LoggedConversation(Struct, frozen=True, omit_defaults=True):
    """The turns before, as far as they bound the choice. Models that were left out are no candidates.

    Attributes:
        model: id of the model that had answered last.
        further_turns: turns that were taken to follow.
        in_tool_loop: whether the prompt ended with what a tool returned.
        inadequate: ids of the models whose answer to the task was reported inadequate, sorted.
    """

    model: str
    further_turns: Annotated[float, Meta(ge=0, le=sys.float_info.max)]
    in_tool_loop: bool = False
    inadequate: tuple[str, ...] = ()


class LoggedExploration(Struct, frozen=True):
    """What was left to chance.

    Attributes:
        share: of the decisions that was left to chance.
        regret: by how much the expected cost of a candidate could exceed that of the best, as a share.
        draw: the number that decided, uniform in 0 ≤ draw < 1.
        propensities: each model that could have been chosen → its probability, the best first; they sum to 1.
    """

    share: Probability
    regret: Annotated[float, Meta(ge=0)]
    draw: Probability
    propensities: dict[str, Probability]


class LoggedCanary(Struct, frozen=True):
    """On which side of a canary a decision was.

    Attributes:
        id: of the canary, twelve hexadecimal digits.
        share: of the requests of its scope that it decides: the probability of ``took``.
        took: whether the canary decided.
    """

    id: str
    share: Probability
    took: bool


class LimitBalance(Struct, frozen=True):
    """A limit that applied to the choice, with its balance before the hold.

    Attributes:
        limit: id.
        balance: which of the limit's balances.
        unit: of the amounts: nano-dollars, tokens or requests.
        soft: amount from which the limit acts; ``None`` without one.
        hard: amount that is never passed; ``None`` without one.
        spent: settled before the decision.
        held: on hold before the decision.
    """

    limit: str
    balance: str
    unit: Unit
    soft: int | None
    hard: int | None
    spent: int
    held: int


class PromptEmbedding(Struct, frozen=True):
    """The encoder's vector of a prompt.

    Attributes:
        encoder: name.
        encoder_sha256: of its file.
        dimensions: > 0.
        float16: ``dimensions`` little-endian half floats; base64 on disk.
    """

    encoder: str
    encoder_sha256: str
    dimensions: Annotated[int, Meta(gt=0)]
    float16: bytes

    def __post_init__(self) -> None:
        if len(self.float16) != 2 * self.dimensions:
            raise ValueError("a vector has two bytes per dimension")

    @classmethod
    def of(
        cls, vector: npt.NDArray[np.float32], encoder: str, encoder_sha256: str
    ) -> PromptEmbedding:
        """The vector as it is kept.

        Args:
            vector: float32 ``(dimensions,)``.
            encoder: name of the encoder that made it.
            encoder_sha256: of the encoder's file.
        """
        return cls(encoder, encoder_sha256, len(vector), vector.astype("<f2").tobytes())

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        """float32 ``(dimensions,)``, rounded to half floats."""
        return np.frombuffer(self.float16, dtype="<f2").astype(np.float32)


class KeptPrompt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of a prompt. Fields that are not kept are not written.

    Attributes:
        prompt_log: what the operator allows to be kept.
        prompt: the whole text, redacted or not.
        prompt_judged: the text that the classifier read, if it differs from ``prompt``.
        prompt_hash: keyed, hexadecimal.
        prompt_embedding: the encoder's vector of what the classifier read.
    """

    prompt_log: PromptLogKind = "off"
    prompt: str | None = None
    prompt_judged: str | None = None
    prompt_hash: str | None = None
    prompt_embedding: PromptEmbedding | None = None

    @property
    def classifier_text(self) -> str | None:
        """The text that the classifier read; ``None`` if it was not kept."""
        return self.prompt if self.prompt_judged is None else self.prompt_judged


class LoggedUsage(Struct, frozen=True, omit_defaults=True):
    """What the caller reported about the call.

    Attributes:
        model: the model that was called; ``None``: the chosen one.
        outcome: the value of an :class:`~router.core.breaker.Outcome`; ``None`` where it was not reported.
        input_tokens: ≥ 0; ``None`` where they were not reported.
        cached_input_tokens: the part of ``input_tokens`` that came from a cache.
        output_tokens: ≥ 0, hidden reasoning included; ``None`` where they were not reported.
        reasoning_tokens: the part of ``output_tokens`` that was hidden reasoning.
        latency_s: seconds until the whole answer, or until the call failed, ≥ 0; ``None`` if it was not
            measured.
        quality: 0..1; ``None`` if the answer was not judged.
        first_token_s: seconds until the first token, ≥ 0; ``None`` if it was not measured.
    """

    model: str | None = None
    outcome: str | None = None
    input_tokens: Count | None = None
    cached_input_tokens: Count = 0
    output_tokens: Count | None = None
    reasoning_tokens: Count = 0
    latency_s: Finite | None = None
    quality: Probability | None = None
    first_token_s: Annotated[float, Meta(ge=0, le=sys.float_info.max)] | None = None

    @property
    def answered(self) -> bool:
        """Whether the model answered, so that quality, lengths and cost describe it."""
        return self.outcome in ANSWERED


class DecisionRecord(KeptPrompt, frozen=True, kw_only=True, omit_defaults=True):
    """One decision.

    Attributes:
        version: of the format.
        bundle: version of the bundle that decided.
        price_table: name and version of the prices.
        strict: whether the worst case was held.
        importance: of the request.
        goal: what was asked for, by the caller or by the importance.
        constraints: of the request.
        conversation_id: of the caller; may be empty.
        batch: whether the decision was for a batch call.
        complexity: 0..1.
        features: lexical, to five decimals, in the order of the bundle's encoder; empty in older records.
        p_adequate: arm → 0..1.
        label_distribution: cheapest adequate arm, or ``none`` → 0..1.
        lengths: arm → predicted output length; empty in older records.
        propensity: probability with which the first candidate was chosen, 0 < p ≤ 1.
        reasons: codes.
        limits: those that applied to the choice.
        candidates: the chosen one first, then the others, best first.
        usage: as settled; ``None`` if nothing was settled. A ledger keeps it beside the record; the reader
            joins them.
        demands: of the prompt, see :class:`Score`; empty in older records.
        settings: version of the settings that it rests on; empty in older records.
        rules: names of the rules of the routing table that applied, in its order.
        rules_version: of that table; empty in older records.
        unhealthy: ids of the models that were left out because calls to them failed, sorted; empty in older
            records. They are not among the candidates.
        exploration: what was left to chance; ``None``: nothing was.
        redrawn: whether the choice was made again because a limit had filled up since the first, which had
            left something to chance: then the true propensity is not known, and ``propensity`` is 1.
        conversation: the turns before; ``None`` where they did not bind the choice.
        canary: of which the request was in the scope; ``None``: of none. ``propensity`` is that on its side.
        task: id of the task whose turn it was; empty: none. Its cap is among the limits, and those on which
            it holds are as if they were for its turns alone.
        full: ids of the models that were left out because their providers had no room for the call, sorted.
            They are not among the candidates.
        in_flight: calls to the chosen model that had not ended, as far as the server knew; 0 in older
            records.
        rules_gave_way: names of the rules that would have applied, too, but gave way, since no model was left
            with them.
    """

    version: Literal[1]
    bundle: str
    price_table: str
    strict: bool
    importance: Importance
    goal: LoggedGoal
    constraints: LoggedConstraints
    conversation_id: str
    batch: bool
    complexity: Finite
    features: tuple[Finite, ...]
    p_adequate: dict[str, Probability]
    label_distribution: dict[str, Finite]
    lengths: dict[str, LengthQuantiles]
    propensity: Annotated[float, Meta(gt=0, le=1)]
    reasons: tuple[str, ...]
    limits: tuple[LimitBalance, ...]
    candidates: Annotated[tuple[LoggedCandidate, ...], Meta(min_length=1)]
    usage: LoggedUsage | None = None
    demands: tuple[Finite, ...] = ()
    settings: str = ""
    rules: tuple[str, ...] = ()
    rules_version: str = ""
    unhealthy: tuple[str, ...] = ()
    exploration: LoggedExploration | None = None
    redrawn: bool = False
    conversation: LoggedConversation | None = None
    canary: LoggedCanary | None = None
    task: str = ""
    full: tuple[str, ...] = ()
    in_flight: Count = 0
    rules_gave_way: tuple[str, ...] = ()

    def propensity_of(self, model: str) -> float | None:
        """The probability with which a candidate would have been chosen, 0..1; ``None``: not logged."""
        if self.redrawn:
            return None
        if self.exploration is not None:
            return self.exploration.propensities.get(model, 0.0)
        if model == self.chosen.model:
            return self.propensity
        return 0.0 if self.propensity >= 1 else None

    @property
    def chosen(self) -> LoggedCandidate:
        """The model that the reply named."""
        return self.candidates[0]

    def candidate(self, model: str | None) -> LoggedCandidate | None:
        """The candidate with this model; ``None`` if there is none."""
        return next((one for one in self.candidates if one.model == model), None)
