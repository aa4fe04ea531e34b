"""The values that pass between the packages. All are immutable; all money is in nano-dollars.

Values made for every model of every call are named tuples, which take a fifth of the time to create.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

from router.core.ability import Ability
from router.core.limits import Amounts, LimitState
from router.core.money import usd_to_nanos
from router.core.rates import Rates

__all__ = [
    "NONE_LABEL",
    "NO_CACHE",
    "TARGET_REGRET",
    "CacheWorth",
    "Candidate",
    "Constraints",
    "Decision",
    "DefaultGoals",
    "Exploration",
    "Explored",
    "Goal",
    "Importance",
    "LatencyRange",
    "Lengths",
    "Message",
    "MissCost",
    "MissCosts",
    "Model",
    "PriceRange",
    "Prompt",
    "QualityTarget",
    "QualityTargets",
    "Quote",
    "Reason",
    "Score",
    "Speed",
    "TokenCount",
    "WillingnessToPay",
]

NONE_LABEL = "none"
"""The label of a prompt that no arm handled adequately."""

TARGET_REGRET = 0.05
"""How much P(adequate) a choice may give up against the best where no model reaches the quality target."""


class Importance(enum.Enum):
    """How much a wrong answer costs the caller; it selects the default goal."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat.

    Attributes:
        role: ``system``, ``user``, ``assistant`` or ``tool``.
        text: what was said.
    """

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The chat that the caller wants answered, in order; a plain text is one ``user`` message."""

    messages: tuple[Message, ...]

    @property
    def characters(self) -> int:
        """The number of Unicode code points in all messages."""
        return sum(len(message.text) for message in self.messages)


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model answers.

    Attributes:
        first_token_s: seconds to the first token, ≥ 0.
        output_tokens_per_s: output tokens per second from then on, > 0.
    """

    first_token_s: float
    output_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalog at one moment.

    Attributes:
        id: unique name in the catalog.
        provider: who serves it.
        tier: its level of capability.
        rates: its prices; ``None`` if unknown, and then the model cannot be chosen.
        context_window: input and output tokens that one call may have together, > 0.
        max_output_tokens: output tokens that one call may have, > 0.
        capabilities: what it can do, such as ``vision``.
        speed: how fast it answers.
        reasoning: how many tokens of hidden reasoning it adds to an answer, billed as output; ``None`` for
            a model that does not reason by default.
        ability: where it stands on the scale of ability, as published; ``None``: as its tier does.
        regions: labels of those in which a call can be kept, such as ``eu``; empty: not known.
        retired: the day (UTC) since which it can no longer be chosen; ``None``: it is in service.
        replaces: ids of retired models; who asks for one of them gets this one.
    """

    id: str
    provider: str
    tier: str
    rates: Rates | None
    context_window: int
    max_output_tokens: int
    capabilities: frozenset[str]
    speed: Speed
    reasoning: Lengths | None = None
    ability: Ability | None = None
    regions: frozenset[str] = frozenset()
    retired: date | None = None
    replaces: frozenset[str] = frozenset()

    def is_one_of(self, ids: frozenset[str]) -> bool:
        """Whether some ids name it, or a model that it replaces."""
        return self.id in ids or not self.replaces.isdisjoint(ids)


class TokenCount(NamedTuple):
    """Input tokens of one prompt for one model.

    Attributes:
        tokens: the count or its estimate, ≥ 0.
        exact: whether the model's own tokenizer counted them.
        worst: an upper bound, ≥ tokens: the same if exact; otherwise the UTF-8 bytes of the text plus the
            overhead of the chat format, because a token has at least one byte.
    """

    tokens: int
    exact: bool
    worst: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles of an output length in tokens: 0 < p50 ≤ p90 ≤ p99."""

    p50: float
    p90: float
    p99: float


class PriceRange(NamedTuple):
    """The price of one call in nano-dollars: 0 ≤ low ≤ expected and low ≤ high ≤ worst.

    Attributes:
        low: at the 10th percentile of the output length.
        expected: at the mean output length.
        high: at the 90th percentile of the output length; low and high bound an 80 % interval.
        worst: at the longest output that the call allows and the upper bound of the input tokens.
    """

    low: int
    expected: int
    high: int
    worst: int


class LatencyRange(NamedTuple):
    """Seconds until something has arrived, 0 ≤ p50 ≤ p90."""

    p50_s: float
    p90_s: float


class Quote(NamedTuple):
    """The quote of one prompt for one model.

    Attributes:
        model: id of the model.
        input_tokens: count of the prompt, corrected by settled usage.
        output_tokens_p50: median output length, hidden reasoning included, ≥ 0.
        output_tokens_p90: 90th percentile of the output length, ≥ p50.
        output_tokens_worst: the longest output that the call allows, ≥ p90.
        price: nano-dollars.
        latency: until the whole answer has arrived.
        expires: when the quote ends, time zone aware.
        price_table: version of the prices.
        counted_tokens: input tokens before the correction, ≥ 0.
        reasoning_tokens_p50: hidden reasoning within ``output_tokens_p50``; 0 for a model without it.
        reasoning_tokens_p90: hidden reasoning within ``output_tokens_p90``; 0 likewise.
        first_token: until the first token has arrived; ``None`` in logged quotes whose record lacks it.
    """

    model: str
    input_tokens: TokenCount
    output_tokens_p50: int
    output_tokens_p90: int
    output_tokens_worst: int
    price: PriceRange
    latency: LatencyRange
    expires: datetime
    price_table: str
    counted_tokens: int
    reasoning_tokens_p50: int = 0
    reasoning_tokens_p90: int = 0
    first_token: LatencyRange | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """The classifier's output for one prompt.

    Attributes:
        p_adequate: by arm, the probability in 0..1 that the arm handles the prompt adequately.
        label_distribution: by arm in order of capability, then :data:`NONE_LABEL`, the probability that
            this is the label; sums to 1.
        complexity: how much model the prompt needs, 0..1.
        lengths: by arm, the predicted length of the visible answer.
        demands: what the prompt asks besides ability, along directions in which models differ; with the
            strengths of a model it shifts that model's P(adequate). Empty where the bundle has none.
    """

    p_adequate: Mapping[str, float]
    label_distribution: Mapping[str, float]
    complexity: float
    lengths: Mapping[str, Lengths]
    demands: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class MissCost:
    """Choose the model with the least expected cost: expected price + (1 − P(adequate)) × the cost of a miss.

    The simpler a prompt, the less is at stake: a greeting that goes wrong costs next to nothing, a proof the
    hours of whoever relies on it. So a miss costs this amount times the prompt's complexity.

    Attributes:
        nanos: what an inadequate answer to a prompt of complexity 1 costs the caller, nano-dollars ≥ 0;
            0: only the price counts.
    """

    nanos: int


@dataclass(frozen=True, slots=True)
class WillingnessToPay:
    """Choose the model with the largest surplus, given what an adequate answer is worth.

    It ranks as a :class:`MissCost` of the same amount does at complexity 1.

    Attributes:
        nanos: the worth in nano-dollars, ≥ 0.
    """

    nanos: int


@dataclass(frozen=True, slots=True)
class QualityTarget:
    """Choose the cheapest model whose P(adequate) reaches a target.

    Attributes:
        p_adequate: the target, 0..1.
        regret: where no model reaches the target, the cheapest is chosen whose P(adequate) is at most this
            much below the best, 0..1.
    """

    p_adequate: float
    regret: float = TARGET_REGRET


Goal = MissCost | WillingnessToPay | QualityTarget


@dataclass(frozen=True)
class MissCosts:
    """What a miss costs by importance, in USD: the default goals of requests without one.

    A miss is an inadequate answer. The amounts are those of a prompt of complexity 1; the complexity scales
    them. They are what the caller loses: the time of whoever notices and asks again, the
    second call, the damage where nobody notices. A dearer model is chosen where its price is higher by less
    than its risk, (1 − P(adequate)) × the cost of a miss, is lower. The defaults stand for skilled work:

    - low: seconds. A draft or one item of bulk work, which is glanced over or thrown away.
    - medium: a minute. A person reads the answer, notices and asks again.
    - high: ten minutes. Somebody acts on the answer.

    Attributes:
        low: USD ≥ 0, with at most nine decimals.
        medium: likewise.
        high: likewise.
    """

    low: Decimal = Decimal("0.05")
    medium: Decimal = Decimal("0.25")
    high: Decimal = Decimal("2.50")

    def of(self, importance: Importance) -> MissCost:
        """The goal of one importance."""
        usd: Decimal = getattr(self, importance.value)
        return MissCost(usd_to_nanos(usd))


@dataclass(frozen=True)
class QualityTargets:
    """Quality targets by importance, each 0..1: for operators who prefer them as default goals."""

    low: float = 0.4
    medium: float = 0.6
    high: float = 0.8

    def of(self, importance: Importance) -> QualityTarget:
        """The goal of one importance."""
        target: float = getattr(self, importance.value)
        return QualityTarget(target)


DefaultGoals = MissCosts | QualityTargets
"""The goals of requests without one, by importance."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the caller allows. Empty sets and ``None`` do not constrain.

    Attributes:
        models: ids of the models that may be chosen.
        tiers: tiers that may be chosen.
        capabilities: what the model must be able to do.
        max_price_nanos: upper bound of the 90th percentile of the price, nano-dollars.
        max_latency_s: upper bound of the 90th percentile of the latency, seconds.
        max_output_tokens: output tokens that the call will be limited to.
        max_first_token_s: upper bound of the 90th percentile of the time to the first token, seconds.
        regions: labels, in one of which the model must be served; one whose regions are not known is in none.
    """

    models: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    max_price_nanos: int | None = None
    max_latency_s: float | None = None
    max_output_tokens: int | None = None
    max_first_token_s: float | None = None
    regions: frozenset[str] = frozenset()


class CacheWorth(NamedTuple):
    """What a prompt cache saves, nano-dollars ≥ 0.

    Attributes:
        now: on this turn, by what it holds.
        later: on a further turn, which finds all that this one sends.
    """

    now: int
    later: int


NO_CACHE = CacheWorth(0, 0)


class Candidate(NamedTuple):
    """A model that could answer the prompt.

    Attributes:
        model: the model.
        arm: the arm of the bundle that predicts for it; ``None`` if there is none for it or its tier.
        p_adequate: the arm's P(adequate), 0..1; ``None`` without an arm.
        quote: its quote; ``None`` if the model has no price.
        amounts: what choosing it would hold; ``None`` if nothing.
        limits: the balances that this would be held on.
        basis: what the ability of the model rests on, as a phrase such as ``tier low`` or ``180 attempts``.
        cache: what its prompt cache saves in this conversation.
        cache_saving: what of that the ranking counts for a turn, nano-dollars ≥ 0; the quote counts nothing.
    """

    model: Model
    arm: str | None
    p_adequate: float | None
    quote: Quote | None
    amounts: Amounts | None = None
    limits: tuple[LimitState, ...] = ()
    basis: str = ""
    cache: CacheWorth = NO_CACHE
    cache_saving: int = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason of a decision.

    Attributes:
        code: stable UPPER_SNAKE_CASE name for programs.
        text: a sentence for people.
        facts: the figures behind it, as text.
    """

    code: str
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Exploration:
    """How much is left to chance, and the number that decides.

    Attributes:
        share: of the decisions that are left to chance, 0..1.
        regret: by how much the expected cost of a candidate may exceed that of the best, as a share of
            the latter, ≥ 0.
        draw: uniform in 0 ≤ draw < 1; drawn for this decision.
    """

    share: float
    regret: float
    draw: float


@dataclass(frozen=True, slots=True)
class Explored:
    """What chance could choose from, and what it chose.

    Attributes:
        given: share, regret and draw.
        chances: id of each model that could have been chosen → its probability, above 0; they sum to 1. The
            best comes first.
        chosen: id of the model that was chosen.
    """

    given: Exploration
    chances: Mapping[str, float]
    chosen: str

    @property
    def propensity(self) -> float:
        """The probability of the chosen model, above 0, at most 1."""
        return self.chances[self.chosen]

    @property
    def best(self) -> str:
        """Id of the model that is chosen where nothing is left to chance."""
        return next(iter(self.chances))


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a decision.

    Attributes:
        ranked: the chosen candidate, then the other eligible ones, best first.
        reasons: why, the most important first.
        fallbacks: the candidates to try, in this order, should the chosen one fail.
        explored: what was left to chance; ``None``: nothing was.
        full: ids of the models that were left out because their providers have no room for the call.
        rules_gave_way: whether the rules of the routing table that give way did so.
    """

    ranked: tuple[Candidate, ...]
    reasons: tuple[Reason, ...]
    fallbacks: tuple[Candidate, ...] = ()
    explored: Explored | None = None
    full: tuple[str, ...] = ()
    rules_gave_way: bool = False

    @property
    def chosen(self) -> Candidate:
        """The model to call."""
        return self.ranked[0]

    @property
    def propensity(self) -> float:
        """The probability with which the model was chosen, above 0, at most 1."""
        return 1.0 if self.explored is None else self.explored.propensity
