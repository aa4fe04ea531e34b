"""Replies of the server as values: exact money, seconds, and aware times in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from google.protobuf.timestamp_pb2 import Timestamp
from google.type.money_pb2 import Money

from mitsumori.explanation import Explanation
from mitsumori.money import Usd, nanos_of
from mitsumori.v1 import quote_pb2, router_pb2, task_pb2

__all__ = [
    "Decision",
    "Fallback",
    "Hold",
    "LatencyRange",
    "Option",
    "PriceRange",
    "Quote",
    "Reason",
    "Settlement",
    "TaskStatus",
    "TokenRange",
    "price_of",
]

_WARNINGS = frozenset(
    {
        "ALL_UNHEALTHY",
        "DOWNGRADED",
        "FALLBACK",
        "LANGUAGE_NOT_COVERED",
        "PACED",
        "SOFT_LIMIT",
        "TARGET_NOT_REACHED",
    }
)
"""Codes of the reasons that a caller should look at: it gets less than it asked for, or soon will."""


@dataclass(frozen=True, slots=True)
class PriceRange:
    """The price of an answer.

    Attributes:
        low: lower end of an 80 % interval.
        expected: mean.
        high: upper end of the interval.
        worst: no call within its limits costs more.
    """

    low: Usd
    expected: Usd
    high: Usd
    worst: Usd


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Output tokens: median, 90th percentile, and the most that the call allows; 0 ≤ p50 ≤ p90 ≤ worst."""

    p50: int
    p90: int
    worst: int


@dataclass(frozen=True, slots=True)
class LatencyRange:
    """Seconds until something has arrived: median and 90th percentile, 0 ≤ p50_s ≤ p90_s."""

    p50_s: float
    p90_s: float


@dataclass(frozen=True, slots=True)
class Quote:
    """Tokens, price and latency of one model for the prompt.

    Attributes:
        input_tokens: ≥ 1.
        input_tokens_exact: counted by the model's own tokenizer; otherwise an estimate.
        output_tokens: hidden reasoning included.
        reasoning_tokens: the part of ``output_tokens`` that is hidden reasoning; ``None`` if the model is
            expected to answer without.
        price: USD.
        latency: until the whole answer has arrived.
        expires: UTC; ask again after it.
        price_table: names the prices that were used.
        first_token: until the first token has arrived; ``None`` from a server that does not say it.
    """

    input_tokens: int
    input_tokens_exact: bool
    output_tokens: TokenRange
    reasoning_tokens: TokenRange | None
    price: PriceRange
    latency: LatencyRange
    expires: datetime
    price_table: str
    first_token: LatencyRange | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A model that could answer.

    Attributes:
        model: catalog id.
        provider: such as ``openai``.
        tier: such as ``low``.
        p_adequate: probability of an adequate answer, 0..1.
        quote: of this model.
        p_adequate_basis: what the ability of this model rests on, such as its tier, for people.
    """

    model: str
    provider: str
    tier: str
    p_adequate: float
    quote: Quote
    p_adequate_basis: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """A model to try should the models before it fail.

    Attributes:
        model: catalog id.
        provider: such as ``openai``.
        tier: such as ``low``.
        p_adequate: probability of an adequate answer, 0..1.
        price: what it will cost.
    """

    model: str
    provider: str
    tier: str
    p_adequate: float
    price: PriceRange


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason behind a decision.

    Attributes:
        code: stable, such as ``CHEAPEST_ADEQUATE``.
        text: one sentence for people.
        facts: the numbers behind it, as text.
    """

    code: str
    text: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held until the decision is settled or released.

    Attributes:
        amount: money.
        tokens: input and output together, ≥ 0.
        expires: UTC; the hold ends by itself.
    """

    amount: Usd
    tokens: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task, and what its turns have used of its cap.

    Attributes:
        id: what turns name as their ``task_id``.
        state: ``open``, ``ended`` or ``expired``.
        cap: the most that its turns may cost together.
        left: what turns can still draw; of a task that is over, what was freed at its end.
        turns: number of its turns that were not released.
        held: what its open turns hold.
        spent: what its settled turns cost.
        expires: UTC; it ends by itself.
        message: the whole status, with its labels and its quote where it was asked for.
    """

    id: str
    state: str
    cap: Usd
    left: Usd
    turns: int
    held: Usd
    spent: Usd
    expires: datetime
    message: task_pb2.TaskStatus = field(repr=False)

    @classmethod
    def of(cls, message: task_pb2.TaskStatus) -> Self:
        """The values of a message."""
        return cls(
            id=message.task_id,
            state=task_pb2.TaskState.Name(message.state).removeprefix("TASK_STATE_").lower(),
            cap=_usd(message.cap),
            left=_usd(message.left),
            turns=message.turns,
            held=_usd(message.held),
            spent=_usd(message.spent),
            expires=_moment(message.expire_time),
            message=message,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """Which model to call, at what price, and why.

    Attributes:
        id: of the decision; a settlement names it.
        chosen: the model to call.
        alternatives: the other models that meet the constraints, best first.
        complexity: 0 (the cheapest arm suffices) to 1.
        reasons: the decisive one first.
        hold: ``None`` if only a quote was asked for.
        bundle: the classifier, as name@hash.
        miss_cost: what an inadequate answer was taken to cost, less for simpler prompts; models are ordered
            by their expected price plus (1 − ``p_adequate``) × this. ``None`` under another goal.
        fallbacks: the models to try, in this order, should the chosen one fail; :meth:`Router.reroute` takes
            the next and moves the hold.
        message: the whole reply, with the classifier's scores of each arm and the balance of each limit.
        explanation: what each model lost to, and what would have to change; ``None`` if it was not asked for.
        fallback: the service gave no answer, and this is the caller's ``fallback_model``: nothing was quoted,
            checked or held, every amount is zero, and the first reason has the code ``FALLBACK``.
        task: the task whose turn it is, after its hold; ``None``: none.
    """

    id: str
    chosen: Option
    alternatives: tuple[Option, ...]
    complexity: float
    reasons: tuple[Reason, ...]
    hold: Hold | None
    bundle: str
    miss_cost: Usd | None
    fallbacks: tuple[Fallback, ...]
    message: router_pb2.RouteResponse = field(repr=False)
    explanation: Explanation | None = None
    fallback: bool = False
    task: TaskStatus | None = None

    @classmethod
    def of(cls, message: router_pb2.RouteResponse) -> Self:
        """The values of a reply."""
        hold = message.hold
        return cls(
            id=message.decision_id,
            chosen=_option(message.chosen),
            alternatives=tuple(map(_option, message.alternatives)),
            complexity=message.assessment.complexity,
            reasons=tuple(map(_reason, message.reasons)),
            hold=Hold(_usd(hold.amount), hold.tokens, _moment(hold.expire_time))
            if message.HasField("hold")
            else None,
            bundle=message.bundle_version,
            miss_cost=_usd(message.miss_cost) if message.HasField("miss_cost") else None,
            fallbacks=tuple(map(_fallback, message.fallbacks)),
            message=message,
            explanation=Explanation(message.explanation)
            if message.HasField("explanation")
            else None,
            task=TaskStatus.of(message.task) if message.HasField("task") else None,
        )

    @property
    def model(self) -> str:
        """The model to call."""
        return self.chosen.model

    @property
    def quote(self) -> Quote:
        """The quote of that model."""
        return self.chosen.quote

    @property
    def warnings(self) -> tuple[str, ...]:
        """Texts of reasons to look at, such as a target that no model reaches or a budget that runs out."""
        return tuple(reason.text for reason in self.reasons if reason.code in _WARNINGS)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What was booked for a decision.

    Attributes:
        spent: booked.
        overage: the part of ``spent`` that exceeded the hold.
        late: the hold had expired before the report.
        repeated: the same report was booked before, and nothing was booked now.
        message: the whole reply.
        fallback: the decision was a fallback, which no server knows, and nothing was booked.
    """

    spent: Usd
    overage: Usd
    late: bool
    repeated: bool
    message: router_pb2.SettleResponse = field(repr=False)
    fallback: bool = False

    @classmethod
    def of(cls, message: router_pb2.SettleResponse) -> Self:
        """The values of a reply."""
        return cls(
            spent=_usd(message.spent),
            overage=_usd(message.overage),
            late=message.late,
            repeated=message.repeated_report,
            message=message,
        )


def _usd(message: Money) -> Usd:
    return Usd(nanos_of(message))


def _moment(message: Timestamp) -> datetime:
    return message.ToDatetime(tzinfo=UTC)


def _tokens(message: quote_pb2.TokenRange) -> TokenRange:
    return TokenRange(message.p50, message.p90, message.worst)


def _option(message: router_pb2.Option) -> Option:
    return Option(
        model=message.model,
        provider=message.provider,
        tier=message.tier,
        p_adequate=message.p_adequate,
        quote=_quote(message.quote),
        p_adequate_basis=message.p_adequate_basis,
    )


def _fallback(message: router_pb2.Fallback) -> Fallback:
    return Fallback(
        model=message.model,
        provider=message.provider,
        tier=message.tier,
        p_adequate=message.p_adequate,
        price=price_of(message.price),
    )


def price_of(message: quote_pb2.PriceRange) -> PriceRange:
    """The values of a price."""
    return PriceRange(
        low=_usd(message.low),
        expected=_usd(message.expected),
        high=_usd(message.high),
        worst=_usd(message.worst),
    )


def _quote(message: quote_pb2.Quote) -> Quote:
    latency = message.latency
    return Quote(
        input_tokens=message.input_tokens.tokens,
        input_tokens_exact=message.input_tokens.exact,
        output_tokens=_tokens(message.output_tokens),
        reasoning_tokens=_tokens(message.reasoning_tokens)
        if message.HasField("reasoning_tokens")
        else None,
        price=price_of(message.price),
        latency=_range(latency),
        expires=_moment(message.expire_time),
        price_table=message.price_table_version,
        first_token=_range(message.first_token) if message.HasField("first_token") else None,
    )


def _range(message: quote_pb2.LatencyRange) -> LatencyRange:
    return LatencyRange(message.p50.ToNanoseconds() / 1e9, message.p90.ToNanoseconds() / 1e9)


def _reason(message: router_pb2.Reason) -> Reason:
    try:
        code = router_pb2.ReasonCode.Name(message.code).removeprefix("REASON_CODE_")
    except ValueError:  # a newer server has codes that this client does not know
        code = str(int(message.code))
    return Reason(code, message.text, dict(message.facts))
