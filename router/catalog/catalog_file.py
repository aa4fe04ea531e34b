"""The catalog file: its form, and every way in which it can be wrong, with the place."""

from __future__ import annotations

import datetime as dates
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from router.catalog.tokens import ENCODINGS
from router.core.ability import LARGEST, SMALLEST
from router.core.errors import BadArtifact, shown
from router.core.rates import Rates, Surcharge
from router.core.types import Lengths, Speed
from router.files import parse_yaml

__all__ = [
    "UNKNOWN_TIER",
    "CatalogFile",
    "ModelEntry",
    "PriceEntry",
    "closest",
    "parse_catalog_file",
]

UNKNOWN_TIER: Final = "?"
"""Stands where a person has to say how able a new model is; such a catalog does not serve."""

_LONGEST_NAME = 200
"""Characters of the longest id of a model."""
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TABLE = "genai-prices"
"""Begins the source of a price that was taken from there."""
_EARLIEST_ZONE = timedelta(hours=14)
"""Where a day begins first, ahead of UTC."""
_MIN_UNCERTAINTY, _MAX_UNCERTAINTY = 0.01, 100.0
"""Points. An ability that is known better makes the placing on the scale singular."""
_ABILITY_REMEDY = (
    f"an ability has points ({SMALLEST:g} to {LARGEST:g}), uncertainty "
    f"(points, {_MIN_UNCERTAINTY:g} to {_MAX_UNCERTAINTY:g}), the source of the scores and "
    "their date; leave it out where they are not known"
)


def closest(name: str, known: Iterable[str]) -> str:
    """``did you mean …`` with the known names that resemble a misspelt one, else all known names."""
    names = sorted(known)
    if not names:
        return "its models have none; write it down for those that have it"
    # A long name resembles none, and comparing it would take long.
    near = difflib.get_close_matches(name[:_LONGEST_NAME], names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"


def parse_catalog_file(content: bytes, *, name: str, now: Callable[[], datetime]) -> CatalogFile:
    """Read the content of a catalog file.

    Args:
        content: YAML, or JSON, which is a part of it.
        name: what messages call it.
        now: the clock; returns an aware datetime.

    Raises:
        BadArtifact: the content is wrong; names the catalog, the place and the problem.
    """
    try:
        raw = parse_yaml(content)
    except ValueError as error:
        raise BadArtifact(f"{name} {error}", field=name) from None
    try:
        return CatalogFile.model_validate(raw, context={"now": now()})
    except ValidationError as error:
        raise BadArtifact(
            f"{name}: {_problem(error, raw)}", reason="CATALOG_WRONG", field=name
        ) from None


def _problem(error: ValidationError, raw: Any) -> str:
    """The first error: the place, with the id of the model if it is one of a model's, and what is wrong."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    match first["loc"]:
        case ("models", int(index), *rest):
            entry = raw["models"][index]
            known = entry.get("id") if isinstance(entry, dict) else None
            of_model = f" ({known})" if isinstance(known, str) else ""
            if rest[:1] == ["ability"]:
                message = f"{message}; {_ABILITY_REMEDY}"
            places = [f"models[{index}]{of_model}", ".".join(map(str, rest))]
        case loc:
            places = [".".join(map(str, loc))]
    return ": ".join([*filter(None, places), message])


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            for key, value in raw.items():
                if isinstance(value, bool):
                    raise ValueError(f"{key} must not be true or false; nothing in a catalog is")
        return raw


class _Tokenizer(_Strict):
    encoding: str = "o200k_base"
    factor: Decimal = Field(default=Decimal(1), gt=0, le=10, allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_known(self) -> _Tokenizer:
        if self.encoding not in ENCODINGS:
            raise ValueError(f"encoding must be one of {', '.join(ENCODINGS)}")
        return self


class _Speed(_Strict):
    first_token_s: float = Field(ge=0, allow_inf_nan=False)
    output_tokens_per_s: float = Field(gt=0, allow_inf_nan=False)

    @property
    def value(self) -> Speed:
        return Speed(self.first_token_s, self.output_tokens_per_s)


class _Usd(_Strict):
    """What tokens cost, USD per million."""

    input_usd_per_mtok: Decimal = Field(ge=0, allow_inf_nan=False)
    output_usd_per_mtok: Decimal = Field(ge=0, allow_inf_nan=False)
    cache_read_usd_per_mtok: Decimal | None = Field(default=None, ge=0, allow_inf_nan=False)
    cache_write_usd_per_mtok: Decimal | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_floats(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            for key, value in raw.items():
                if isinstance(value, float):
                    raise ValueError(f'{key} must be quoted, as in "{value}", to stay exact')
        return raw

    @property
    def rates(self) -> Rates:
        """The price as the core has it."""
        return Rates(
            self.input_usd_per_mtok,
            self.output_usd_per_mtok,
            self.cache_read_usd_per_mtok,
            self.cache_write_usd_per_mtok,
        )


class _LongInput(_Usd):
    """What all tokens of a call cost whose input is longer."""

    above_input_tokens: int = Field(gt=0)


class PriceEntry(_Usd):
    """A price as in the file: what tokens cost from a day (UTC) on."""

    from_: dates.date = Field(alias="from")
    source: str = Field(default="", max_length=200)
    long_inputs: tuple[_LongInput, ...] = ()

    @model_validator(mode="after")
    def _long_inputs_ascend(self) -> PriceEntry:
        thresholds = [each.above_input_tokens for each in self.long_inputs]
        if thresholds != sorted(set(thresholds)):
            raise ValueError("long_inputs must ascend by above_input_tokens")
        return self

    @property
    def rates(self) -> Rates:
        """The price as the core has it."""
        surcharges = [Surcharge(each.above_input_tokens, each.rates) for each in self.long_inputs]
        return replace(super().rates, surcharges=tuple(surcharges))

    @property
    def is_own(self) -> bool:
        """Whether it is said to come from elsewhere than genai-prices, such as a contract."""
        return bool(self.source) and not self.source.startswith(_TABLE)


class _Lengths(_Strict):
    p50: float = Field(gt=0, allow_inf_nan=False)
    p90: float = Field(gt=0, allow_inf_nan=False)
    p99: float = Field(gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _ascending(self) -> _Lengths:
        if not self.p50 <= self.p90 <= self.p99:
            raise ValueError("p50, p90 and p99 must ascend")
        return self

    @property
    def lengths(self) -> Lengths:
        return Lengths(self.p50, self.p90, self.p99)


class _Ability(_Strict):
    points: float = Field(ge=SMALLEST, le=LARGEST, allow_inf_nan=False, strict=True)
    uncertainty: float = Field(
        ge=_MIN_UNCERTAINTY, le=_MAX_UNCERTAINTY, allow_inf_nan=False, strict=True
    )
    source: str = Field(min_length=1)
    date: dates.date

    @field_validator("source")
    @classmethod
    def _source_is_told(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        if not value.isprintable():
            raise ValueError("must be one line of printable characters")
        return value

    @field_validator("date", mode="before")
    @classmethod
    def _date_is_written_as_one(cls, value: Any) -> Any:
        return _written_as_a_date(value)

    @field_validator("date")
    @classmethod
    def _date_is_past(cls, value: dates.date, info: ValidationInfo) -> dates.date:
        now: datetime = (info.context or {})["now"]
        if value > (now.astimezone(UTC) + _EARLIEST_ZONE).date():
            raise ValueError(f"{value} lies in the future")
        return value


class ModelEntry(_Strict):
    """A model as in the file; the head of ``catalog.yaml`` says what its fields mean."""

    id: str = Field(min_length=1, max_length=_LONGEST_NAME)
    provider: str = Field(min_length=1)
    price_id: str | None = None
    tier: str
    tokenizer: _Tokenizer = _Tokenizer()
    context_window: int | None = Field(default=None, gt=0)
    max_output_tokens: int = Field(gt=0)
    capabilities: frozenset[str] = frozenset()
    speed: _Speed
    reasoning_tokens: _Lengths | None = None
    ability: _Ability | None = None
    regions: frozenset[str] = frozenset()
    retires: dates.date | None = None
    replaced_by: str | None = None
    prices: tuple[PriceEntry, ...] = ()

    @field_validator("regions", mode="before")
    @classmethod
    def _regions_are_labels(cls, value: Any) -> Any:
        wrong = not isinstance(value, list) or not all(
            isinstance(each, str) and _REGION.fullmatch(each) for each in value
        )
        if wrong:
            raise ValueError(
                "must be a list of labels such as [eu, us]: a-z, 0-9 and hyphens, at most 63 characters; "
                'quote "no", which YAML takes for false'
            )
        return value

    @field_validator("retires", mode="before")
    @classmethod
    def _retirement_is_a_day(cls, value: Any) -> Any:
        return _written_as_a_date(value)

    @model_validator(mode="after")
    def _only_the_retiring_are_replaced(self) -> ModelEntry:
        if self.replaced_by is not None and self.retires is None:
            raise ValueError(
                "has replaced_by, but no retires; say from which day on it is replaced"
            )
        return self


class CatalogFile(_Strict):
    """The whole file."""

    tiers: list[str] = Field(min_length=2)
    default_lengths: dict[str, _Lengths]
    models: list[ModelEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> CatalogFile:
        ids = [model.id for model in self.models]
        for index, model in enumerate(self.models):
            if model.tier == UNKNOWN_TIER:
                raise ValueError(
                    f"models[{index}] ({model.id}): its tier is still {UNKNOWN_TIER!r}: how able a model is "
                    f"no price list says; write {' or '.join(self.tiers)}, whichever it is as good as, and "
                    "check the lines around it"
                )
            if model.tier not in self.tiers:
                raise ValueError(
                    f"models[{index}] ({model.id}): tier {model.tier!r} is not one of {self.tiers}"
                )
            if ids.index(model.id) != index:
                raise ValueError(f"models[{index}]: the id {model.id!r} appears twice")
        missing = [tier for tier in self.tiers if tier not in self.default_lengths]
        if missing:
            raise ValueError(f"default_lengths has no entry for tier {missing[0]!r}")
        return self

    @model_validator(mode="after")
    def _replacements_stay(self) -> CatalogFile:
        known = {model.id: model for model in self.models}
        for index, model in enumerate(self.models):
            if model.replaced_by is None or model.retires is None:
                continue
            problem = _problem_of_replacement(model, model.retires, known)
            if problem:
                raise ValueError(f"models[{index}] ({model.id}): replaced_by: {problem}")
        return self


def _problem_of_replacement(
    model: ModelEntry, day: dates.date, known: Mapping[str, ModelEntry]
) -> str | None:
    """What is wrong with the replacement of a model that retires on a day; ``None``: nothing."""
    name = model.replaced_by or ""
    other = known.get(name)
    if other is None:
        return f"{shown(name)} is not in the catalog; {closest(name, known)}"
    if other is model:
        return "a model cannot replace itself"
    if other.replaced_by == model.id:
        return f"{name} is replaced by {model.id} in turn; one of them must stay"
    if other.replaced_by is not None:
        return f"{name} is itself replaced by {other.replaced_by}; name the model that stays"
    if other.retires is not None and other.retires <= day:
        return (
            f"{name} retires on {other.retires}, no later than {model.id}; name a model that stays"
        )
    return None


def _written_as_a_date(value: Any) -> Any:
    if isinstance(value, int | float | Decimal | dates.datetime):
        raise ValueError("must be a date, such as 2026-04-09")
    return value
