"""Files of golden decisions: their format, and how a mistake in one is told.

``tests/golden/decisions/README.md`` describes the format for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from router.core.errors import InvalidInput
from router.core.limits import (
    Limit,
    LimitState,
    SoftAction,
    Unit,
    Window,
    balance_key,
    period_of,
)
from router.core.money import usd_to_nanos
from router.core.types import (
    Constraints,
    Goal,
    Importance,
    LatencyRange,
    PriceRange,
    QualityTarget,
    WillingnessToPay,
)
from router.files import parse_yaml

__all__ = [
    "CASES",
    "INPUT_TOKENS",
    "Case",
    "Given",
    "GivenHealth",
    "GivenModel",
    "paths_of_cases",
    "read_case",
]

CASES = Path(__file__).with_name("decisions")
HIGH, WORST = 2, 4
"""The 90th percentile of a price or latency, and the worst case of a price, as multiples of what is expected,
where a file states only the latter."""
MOMENT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
INPUT_TOKENS = 100
"""Of a request that does not say."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _exact(value: Any) -> Any:
    """Money in quotes: an amount that YAML takes for a float is no longer exact."""
    if not isinstance(value, str):
        raise ValueError(f'write the amount in quotes, as in "{value}", to stay exact')
    return value


Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, allow_inf_nan=False)]
Names = frozenset[str]
Share = Annotated[float, Field(ge=0, le=1)]


def _stated(key: str) -> BeforeValidator:
    """Takes a bare value for that of one key."""
    return BeforeValidator(lambda value: value if isinstance(value, dict) else {key: value})


class Price(_Strict):
    """The price of the call, USD."""

    expected: Usd
    high: Usd | None = None
    worst: Usd | None = None

    @property
    def nanos(self) -> PriceRange:
        """In nano-dollars."""
        high = HIGH * self.expected if self.high is None else self.high
        worst = WORST * self.expected if self.worst is None else self.worst
        return PriceRange(0, *map(usd_to_nanos, (self.expected, high, worst)))


class Seconds(_Strict):
    """How long something takes."""

    p50: float = Field(ge=0)
    p90: float | None = Field(default=None, ge=0)

    @property
    def latency(self) -> LatencyRange:
        """The quantiles."""
        return LatencyRange(self.p50, HIGH * self.p50 if self.p90 is None else self.p90)


class GivenModel(_Strict):
    """A model, and what is predicted for this prompt."""

    tier: Literal["low", "medium", "high"]
    provider: str = "acme"
    p: Share | None = None
    price: Annotated[Price, _stated("expected")] | None = None
    seconds: Annotated[Seconds, _stated("p50")] = Seconds(p50=2)
    first_token: Annotated[Seconds, _stated("p50")] | None = None
    capabilities: Names = frozenset()
    regions: Names = frozenset()
    context_window: int = Field(default=128_000, gt=0)
    retires: date | None = None
    replaced_by: str | None = None
    unknown: bool = False


class GivenRequest(_Strict):
    """What the caller asks."""

    importance: Importance = Importance.MEDIUM
    quality_target: Share | None = None
    willingness_to_pay: Usd | None = None
    models: Names = frozenset()
    tiers: Names = frozenset()
    capabilities: Names = frozenset()
    regions: Names = frozenset()
    max_price: Usd | None = None
    max_latency_s: float | None = None
    max_first_token_s: float | None = None
    max_output_tokens: int | None = None
    input_tokens: int = INPUT_TOKENS
    scope: dict[str, str] = {}
    batch: bool = False

    @property
    def goal(self) -> Goal | None:
        """Of the request; ``None``: it names none."""
        if self.quality_target is not None:
            return QualityTarget(self.quality_target)
        if self.willingness_to_pay is not None:
            return WillingnessToPay(usd_to_nanos(self.willingness_to_pay))
        return None

    @property
    def constraints(self) -> Constraints:
        """What the caller allows."""
        return Constraints(
            self.models,
            self.tiers,
            self.capabilities,
            None if self.max_price is None else usd_to_nanos(self.max_price),
            self.max_latency_s,
            self.max_output_tokens,
            self.max_first_token_s,
            self.regions,
        )


class GivenLimit(_Strict):
    """A limit and its balance; amounts of money are in USD."""

    unit: Unit = Unit.MONEY
    window: Window = Window.MONTH
    scope: dict[str, str] = {}
    soft: Usd | None = None
    hard: Usd | None = None
    on_soft: SoftAction = SoftAction.WARN
    paced: bool = False
    spent: Usd = Decimal()
    held: Usd = Decimal()

    def state(self, name: str, labels: Mapping[str, str], moment: datetime) -> LimitState | None:
        """The balance that a decision with these labels uses; ``None``: the limit does not apply.

        Args:
            name: of the limit.
            labels: of the decision.
            moment: in whose window the balance stands.
        """
        amounts = (self.soft, self.hard, self.spent, self.held)
        soft, hard, spent, held = (None if one is None else self._amount(one) for one in amounts)
        limit = Limit(
            name, self.scope, self.unit, self.window, "UTC", soft, hard, self.on_soft, self.paced
        )
        key = balance_key(limit, labels)
        period = period_of(self.window, "UTC", moment)
        return None if key is None else LimitState(limit, key, period, spent or 0, held or 0)

    def _amount(self, value: Decimal) -> int:
        return usd_to_nanos(value) if self.unit is Unit.MONEY else int(value)


class GivenHealth(_Strict):
    """The health of the models, with the reasons as phrases."""

    unhealthy: dict[str, str] = {}
    providers: dict[str, str] = {}
    due: dict[str, str] = {}
    max_ejected_share: Share = 1.0
    failed_providers: Names = frozenset()


class GivenExploration(_Strict):
    """The share that is left to chance, and the number that decides."""

    share: Share = 0.0
    regret: float = 0.2
    draw: float = Field(ge=0, lt=1)


class Given(_Strict):
    """All that a decision depends on."""

    models: dict[str, GivenModel] = Field(min_length=1)
    request: GivenRequest = GivenRequest()
    complexity: Share | None = None
    messages: tuple[dict[Literal["system", "user", "assistant", "tool"], str], ...] = ()
    rules: Literal["shipped"] | tuple[dict[str, Any], ...] = ()
    health: GivenHealth = GivenHealth()
    limits: dict[str, GivenLimit] = {}
    exploration: GivenExploration | None = None
    moment: datetime = MOMENT

    @model_validator(mode="after")
    def _is_whole(self) -> Given:
        if (self.complexity is None) is (not self.messages):
            raise ValueError(
                "give either complexity, or messages, of which the classifier makes one"
            )
        for name, model in self.models.items():
            if (model.p is None) is (not self.messages and not model.unknown):
                raise ValueError(
                    f"models.{name}.p: state it where complexity is stated, and nowhere else"
                )
        if self.moment.tzinfo is None:
            raise ValueError("moment: add a time zone, such as Z")
        return self


class Expected(_Strict):
    """The choice, or why there is none.

    Attributes:
        model: that is chosen.
        reasons: their codes, in order.
        alternatives: the other eligible models, best first.
        fallbacks: what to try next; empty: it is not looked at.
        propensity: of the choice.
        refused: the reason of the error.
        says: phrases of the reasons, or of the error.
    """

    model: str | None = None
    reasons: tuple[str, ...] | None = None
    alternatives: tuple[str, ...] | None = None
    fallbacks: tuple[str, ...] | None = None
    propensity: float | None = None
    refused: str | None = None
    says: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Expected:
        if (self.model is None) is (self.refused is None):
            raise ValueError("give either model or refused")
        if self.model is not None and (self.reasons is None or self.alternatives is None):
            raise ValueError("model needs reasons and alternatives beside it")
        if self.refused is not None and not self.says:
            raise ValueError("refused needs says beside it: phrases of the message")
        return self


class Case(_Strict):
    """A file.

    Attributes:
        title: what it shows, as a sentence.
        given: what the decision depends on.
        expected: what it must be.
    """

    title: str = Field(min_length=10, max_length=160)
    given: Given
    expected: Expected


def paths_of_cases() -> Sequence[Path]:
    """Of every file, in the order of their names."""
    return sorted(CASES.rglob("*.yaml"))


def read_case(path: Path) -> Case:
    """Read a file.

    Raises:
        InvalidInput: it is wrong; names the file and the field.
    """
    try:
        return Case.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        told = first["msg"].removeprefix("Value error, ")
        raise InvalidInput(f"{path.name}: {where}: {told}", field=where) from None
    except ValueError as error:
        raise InvalidInput(f"{path.name}: {error}") from None
