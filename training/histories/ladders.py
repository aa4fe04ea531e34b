"""Which model stands for which arm in which history, and what its tokens cost (``ladders.yaml``)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.catalog.prices import find_record
from router.core.errors import BadArtifact, InvalidInput
from router.core.rates import Rates
from router.core.types import NONE_LABEL
from training.histories.history import History

__all__ = [
    "Ladder",
    "Standard",
    "check_prices",
    "choose_ladder",
    "has_ladder",
    "ordered_arms",
    "parse_arms",
    "parse_prices",
    "reference_rates",
    "standard_of",
]

LADDERS = Path(__file__).with_name("ladders.yaml")
LISTED = 15
"""Models named in an error."""

MAKERS = ("openai", "anthropic", "google", "mistral", "deepseek")
"""Asked first for a price: resellers list the same names with other prices, or with none."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _KnownHistory(_Strict):
    origin: str
    licence: str
    adequacy: bool = True
    adequate_at: float = Field(ge=0, le=1)
    relative: bool = False
    instructed: bool = False
    judge: str | None = None
    left_out: dict[str, str] = Field(default_factory=dict)
    arms: dict[str, str] = Field(default_factory=dict)
    recognised_by: list[str] = Field(default_factory=list)

    @property
    def marks(self) -> list[str]:
        """Models by which this history is recognised."""
        return [*self.arms.values(), *self.recognised_by]


class _Price(_Strict):
    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    source: str


class _Ladders(_Strict):
    tiers: list[str]
    adequate_at: float = Field(ge=0, le=1)
    histories: dict[str, _KnownHistory]
    prices: dict[str, _Price]


@dataclass(frozen=True)
class Standard:
    """How the answers of a history were graded.

    Attributes:
        adequate_at: the quality from which an attempt is adequate, 0..1.
        judge: whose quality counts; ``None``: as :func:`judges.choose_judge` chooses.
        grades: ``answers``: each answer for itself; ``comparisons`` with the answer of another model, which
            tell how able models are but not how hard a prompt is; ``nothing`` that tells adequate answers.
        left_out: categories whose grader does not see what is right, and why this is known.
        instructed: whether its models were told or shown the form of the answer, as in exams with worked
            examples, beside what the prompt says: lengths then tell little of other requests.
    """

    adequate_at: float
    judge: str | None = None
    grades: Literal["answers", "comparisons", "nothing"] = "answers"
    left_out: Mapping[str, str] = field(default_factory=dict)
    instructed: bool = False


@dataclass(frozen=True)
class Ladder:
    """How one history is read.

    Attributes:
        arms: arm → model, in ascending order of capability.
        adequate_at: the quality from which an attempt is adequate, 0..1.
        judge: whose quality counts; ``None``: as :func:`judges.choose_judge` chooses.
        licence: of the history, ``""`` where unknown.
    """

    arms: Mapping[str, str]
    adequate_at: float
    judge: str | None
    licence: str


@lru_cache(maxsize=1)
def _ladders() -> _Ladders:
    try:
        return _Ladders.model_validate(yaml.safe_load(LADDERS.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise BadArtifact(
            f"{LADDERS} cannot be used ({first}); restore it from the release", field=str(LADDERS)
        ) from None


def parse_arms(text: str) -> dict[str, str]:
    """Arms from ``low=MODEL,medium=MODEL,high=MODEL``, in ascending order of capability.

    Raises:
        InvalidInput: a part is not ``NAME=MODEL``, a name or model comes twice, or there are fewer
            than two.
    """
    arms: dict[str, str] = {}
    for part in text.split(","):
        name, separator, model = (piece.strip() for piece in part.partition("="))
        if not separator or not name or not model:
            raise InvalidInput(
                f"--arms: {part!r} is not NAME=MODEL; write low=MODEL,high=MODEL", field="arms"
            )
        if name in arms or model in arms.values() or name == NONE_LABEL:
            raise InvalidInput(
                f"--arms: {part!r}: every name and model may stand once, and no arm is called "
                f"{NONE_LABEL}",
                field="arms",
            )
        arms[name] = model
    if len(arms) < 2:
        raise InvalidInput(
            "--arms: at least two arms are needed, in ascending order of capability: "
            "low=MODEL,high=MODEL",
            field="arms",
        )
    return arms


def _usd(text: str, option: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < 0:
        raise InvalidInput(
            f"--price {option!r} is not NAME=IN,OUT in USD per million tokens, such as low=0.1,0.4",
            field="price",
        )
    return value


def parse_prices(options: Sequence[str]) -> dict[str, Rates]:
    """Rates by arm or model name from ``NAME=IN,OUT`` (USD per million tokens).

    Raises:
        InvalidInput: an option is something else.
    """
    prices = {}
    for option in options:
        name, _, amounts = option.partition("=")
        given, _, produced = amounts.partition(",")
        prices[name.strip()] = Rates(_usd(given, option), _usd(produced, option))
    return prices


def check_prices(prices: Mapping[str, Rates], models: Mapping[str, Sequence[str]]) -> None:
    """Refuse an unused price, such as one with a misspelt name.

    Raises:
        InvalidInput: ``--price`` names neither an arm nor a model of the histories.
    """
    names = {*models, *(model for several in models.values() for model in several)}
    unknown_names = sorted(set(prices) - names)
    if unknown_names:
        raise InvalidInput(
            f"--price: {', '.join(unknown_names)} is neither an arm nor a model here; "
            f"there: {', '.join(sorted(names))}",
            reason="PRICE_UNUSED",
            field="price",
        )


def reference_rates(
    arm: str, model: str, prices: Mapping[str, Rates], when: datetime
) -> Rates | None:
    """What a model's tokens cost: ``prices`` first, then ``ladders.yaml``, then genai-prices.

    Args:
        arm: the arm that the model stands for; ``prices`` may name either.
        model: its name in the history.
        prices: given by the user.
        when: an aware moment, for prices that change.

    Returns:
        ``None`` where no price is known: not free, but unknown.
    """
    if arm in prices or model in prices:
        return prices.get(arm) or prices[model]
    listed = _ladders().prices.get(model)
    if listed is not None:
        return Rates(listed.input, listed.output)
    for provider in (*MAKERS, None):
        record = find_record(model, provider)
        rates = record.rates_at(when) if record else None
        if rates is not None:
            return rates
    return None


def _recognised(models: frozenset[str]) -> _KnownHistory | None:
    matching = [known for known in _ladders().histories.values() if models.issuperset(known.marks)]
    return max(matching, key=lambda known: len(known.marks), default=None)


def has_ladder(history: History) -> bool:
    """Whether ``ladders.yaml`` says which of its models stand for which tier."""
    known = _recognised(frozenset(history.models))
    return known is not None and known.adequacy


def standard_of(
    history: History, *, adequate_at: float | None = None, judge: str | None = None
) -> Standard:
    """How a history was graded, as ``ladders.yaml`` knows it.

    Args:
        history: checked.
        adequate_at: overrides the threshold.
        judge: overrides the judge.
    """
    known = _recognised(frozenset(history.models))
    if known is None:
        at = _ladders().adequate_at if adequate_at is None else adequate_at
        return Standard(at, judge)
    return Standard(
        known.adequate_at if adequate_at is None else adequate_at,
        known.judge if judge is None else judge,
        "nothing" if not known.adequacy else "comparisons" if known.relative else "answers",
        known.left_out,
        known.instructed,
    )


def _some(models: Sequence[str]) -> str:
    more = f" and {len(models) - LISTED} more" if len(models) > LISTED else ""
    return ", ".join(models[:LISTED]) + more


def _unknown_model(history: History, arm: str, model: str) -> InvalidInput:
    close = difflib.get_close_matches(model, history.models, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there: {_some(history.models)}"
    return InvalidInput(
        f"--arms: {arm}={model}: the history {history.name} has no such model; {hint}",
        reason="MODEL_UNKNOWN",
        field="arms",
    )


def _own_arms(history: History, known: _KnownHistory | None) -> Mapping[str, str]:
    if known is not None and known.adequacy:
        return known.arms
    why = (
        "holds preferences, not adequacy; to use it all the same"
        if known is not None
        else "matches no ladder of training/histories/ladders.yaml;"
    )
    raise InvalidInput(
        f"the history {history.name} {why} say which models are the arms, in ascending order of "
        f"capability: --arms low=MODEL,high=MODEL. Models there: {_some(history.models)}",
        reason="ARMS_UNKNOWN",
        field="arms",
    )


def choose_ladder(
    history: History,
    arms: Mapping[str, str] | None = None,
    *,
    alone: bool = True,
    adequate_at: float | None = None,
    judge: str | None = None,
) -> Ladder:
    """Choose how to read a history, from the options and from the models in it.

    Args:
        history: checked.
        arms: arm → model as given by the user; ``None`` takes the ladder of the recognised history.
        alone: whether this is the only history: then it must have all arms, else at least one.
        adequate_at: overrides the adequacy threshold.
        judge: overrides the judge.

    Raises:
        InvalidInput: a model has no attempts here, or there is no ladder to take.
    """
    known = _recognised(frozenset(history.models))
    default = known or _KnownHistory(origin="", licence="", adequate_at=_ladders().adequate_at)
    ladder = Ladder({}, default.adequate_at, default.judge, default.licence)
    if adequate_at is not None:
        ladder = replace(ladder, adequate_at=adequate_at)
    if judge is not None:
        ladder = replace(ladder, judge=judge)
    if arms is None:
        return replace(ladder, arms=_own_arms(history, known))
    here = {arm: model for arm, model in arms.items() if model in set(history.models)}
    absent = [arm for arm in arms if arm not in here]
    if absent and (alone or not here):
        raise _unknown_model(history, absent[0], arms[absent[0]])
    return replace(ladder, arms=here)


def ordered_arms(ladders: Sequence[Ladder], arms: Mapping[str, str] | None) -> tuple[str, ...]:
    """The arms of several ladders in ascending order: as given, else as ``ladders.yaml`` lists tiers."""
    present = {arm for ladder in ladders for arm in ladder.arms}
    order = list(arms) if arms is not None else _ladders().tiers
    return tuple(arm for arm in order if arm in present)
