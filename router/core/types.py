"""The values that pass between the rooms. All frozen; all money in nano-dollars.

What is made once per model and call is a named tuple, which takes a fifth of the time to make.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from router.core.limits import Amounts, LimitState

__all__ = [
    "NONE_LABEL",
    "Candidate",
    "Constraints",
    "Decision",
    "Goal",
    "Importance",
    "LatencyRange",
    "Lengths",
    "Message",
    "Model",
    "PriceRange",
    "Prompt",
    "QualityTarget",
    "QualityTargets",
    "Quote",
    "Rates",
    "Reason",
    "Score",
    "Speed",
    "Surcharge",
    "TokenCount",
    "WillingnessToPay",
]

NONE_LABEL = "none"
"""The label of a prompt that no arm handled adequately."""


class Importance(enum.Enum):
    """What a wrong answer costs the caller; it selects the default quality target."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat. ``role`` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the caller wants answered: a chat, in order. A plain text is one ``user`` message."""

    messages: tuple[Message, ...]

    @property
    def characters(self) -> int:
        """Unicode code points over all messages."""
        return sum(len(message.text) for message in self.messages)


@dataclass(frozen=True, slots=True)
class Surcharge:
    """Rates that apply to *all* tokens of a call whose input exceeds a threshold."""

    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class Rates:
    """Exact prices in USD per million tokens, all ≥ 0, with at most nine decimals.

    ``cache_read`` and ``cache_write`` are ``None`` where the provider has no such rate; cached
    tokens then cost what other input costs. ``surcharges`` are in ascending order of threshold.
    ``femtos`` are input, output and cached input as integers of 1e-15 USD per token, which is what
    the arithmetic runs on.
    """

    input: Decimal
    output: Decimal
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    surcharges: tuple[Surcharge, ...] = ()
    femtos: tuple[int, int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cached = self.input if self.cache_read is None else self.cache_read
        exact = [rate * 1_000_000_000 for rate in (self.input, self.output, cached)]
        if any(not rate.is_finite() or rate < 0 or rate != int(rate) for rate in exact):
            raise ValueError("a rate must be 0 or more, with at most nine decimals")
        object.__setattr__(self, "femtos", tuple(map(int, exact)))


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a model answers: seconds to the first token (≥ 0), then output tokens per second (> 0)."""

    first_token_s: float
    output_tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalog at one moment.

    ``rates`` is ``None`` where no price is known. ``reasoning`` is the allowance for hidden reasoning that
    is billed as output; ``None`` where the model does not reason unless it is told to.
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


class TokenCount(NamedTuple):
    """Input tokens of one prompt for one model; ``exact`` only with the model's own tokenizer.

    ``worst`` is what no tokenizer exceeds, ≥ tokens: the same where exact; otherwise the bytes of the
    text in UTF-8 and the overhead of the chat, for a token stands for at least one byte.
    """

    tokens: int
    exact: bool
    worst: int


@dataclass(frozen=True, slots=True)
class Lengths:
    """Quantiles of a number of output tokens: 0 < p50 ≤ p90 ≤ p99."""

    p50: float
    p90: float
    p99: float


class PriceRange(NamedTuple):
    """Nano-dollars, 0 ≤ low ≤ expected and low ≤ high ≤ worst.

    low and high bound an 80 % interval (10th and 90th percentile of the output length), expected
    is at the mean length, worst at the largest output that the call allows and the most input tokens.
    """

    low: int
    expected: int
    high: int
    worst: int


class LatencyRange(NamedTuple):
    """Seconds until the whole answer has arrived, 0 ≤ p50 ≤ p90."""

    p50_s: float
    p90_s: float


class Quote(NamedTuple):
    """For one prompt and one model: tokens, price, latency, until when, and from which prices.

    ``counted_tokens`` is the count of input tokens before settled usage corrected it. Of the output
    tokens, ``reasoning_tokens_p50`` and ``reasoning_tokens_p90`` are hidden reasoning; 0 where the model
    has no allowance for it.
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


@dataclass(frozen=True, slots=True)
class Score:
    """What the classifier says of one prompt.

    ``p_adequate`` holds, per arm, the probability in 0..1 that this arm handles the prompt
    adequately. ``label_distribution`` runs over the arms in order of capability and then
    :data:`NONE_LABEL`; it sums to 1. ``lengths`` holds what is known of the output length per arm.
    """

    p_adequate: Mapping[str, float]
    label_distribution: Mapping[str, float]
    complexity: float
    lengths: Mapping[str, Lengths]


@dataclass(frozen=True, slots=True)
class QualityTarget:
    """Take the cheapest model whose P(adequate) reaches this probability (0..1)."""

    p_adequate: float


@dataclass(frozen=True, slots=True)
class WillingnessToPay:
    """What one adequate answer is worth, in nano-dollars; take the model with the best surplus."""

    nanos: int


Goal = QualityTarget | WillingnessToPay


@dataclass(frozen=True)
class QualityTargets:
    """The P(adequate) to aim for when a request names no goal, by importance; each 0..1."""

    low: float = 0.4
    medium: float = 0.6
    high: float = 0.8

    def of(self, importance: Importance) -> float:
        """The target of one importance."""
        return {
            Importance.LOW: self.low,
            Importance.MEDIUM: self.medium,
            Importance.HIGH: self.high,
        }[importance]


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the caller allows. Empty sets and ``None`` constrain nothing."""

    models: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    max_price_nanos: int | None = None
    max_latency_s: float | None = None
    max_output_tokens: int | None = None


class Candidate(NamedTuple):
    """A model that might answer: its P(adequate) from its arm, and its quote.

    ``arm`` and ``p_adequate`` are ``None`` where the bundle knows nothing of the model or its tier;
    ``quote`` is ``None`` where the model has no price. ``amounts`` is what would be held, and
    ``limits`` are the balances that it would count on.
    """

    model: Model
    arm: str | None
    p_adequate: float | None
    quote: Quote | None
    amounts: Amounts | None = None
    limits: tuple[LimitState, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: a stable code for programs, a sentence for people, and the facts behind it."""

    code: str
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: the chosen candidate first, then every other eligible one, best first."""

    ranked: tuple[Candidate, ...]
    reasons: tuple[Reason, ...]

    @property
    def chosen(self) -> Candidate:
        """The model to call."""
        return self.ranked[0]
