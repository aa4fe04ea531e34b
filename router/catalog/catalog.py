"""The catalog: the models that can be chosen, each with dated prices and a token rule."""

from __future__ import annotations

import datetime as dates
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from router.catalog.prices import PRICE_SOURCE, find_record
from router.catalog.tokens import ENCODINGS, TokenRule, is_exact
from router.clock import utc_now
from router.core.ability import LARGEST, SMALLEST, Ability
from router.core.errors import BadArtifact, InvalidInput, shown
from router.core.types import Lengths, Model, Rates, Speed
from router.files import MAX_TEXT_BYTES, parse_yaml, read_bounded, sha256_of
from router.watched import FileSource, Watched

__all__ = [
    "Catalog",
    "CatalogEntry",
    "PricedModels",
    "closest",
    "load_catalog",
    "parse_catalog",
    "watch_catalog",
]

_UNKNOWN_CONTEXT_WINDOW = 8192
"""Assumed where neither the catalog nor the price table has one; small, so that no model is overrun."""

_LONGEST_NAME = 200
"""Characters of the longest id of a model."""
_EARLIEST_ZONE = timedelta(hours=14)
"""Where a day begins first, ahead of UTC."""
_MIN_UNCERTAINTY, _MAX_UNCERTAINTY = 0.01, 100.0
"""Points. An ability that is known better makes the placing on the scale singular."""
_ABILITY_REMEDY = (
    f"an ability has points ({SMALLEST:g} to {LARGEST:g}), uncertainty "
    f"(points, {_MIN_UNCERTAINTY:g} to {_MAX_UNCERTAINTY:g}), the source of the scores and "
    "their date; leave it out where they are not known"
)


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


class _Price(_Strict):
    from_: dates.date = Field(alias="from")
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
        return Rates(
            self.input_usd_per_mtok,
            self.output_usd_per_mtok,
            self.cache_read_usd_per_mtok,
            self.cache_write_usd_per_mtok,
        )


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
        if isinstance(value, int | float | Decimal):
            raise ValueError("must be a date, such as 2026-04-09")
        return value

    @field_validator("date")
    @classmethod
    def _date_is_past(cls, value: dates.date, info: ValidationInfo) -> dates.date:
        now: datetime = (info.context or {})["now"]
        if value > (now.astimezone(UTC) + _EARLIEST_ZONE).date():
            raise ValueError(f"{value} lies in the future")
        return value


class _Model(_Strict):
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
    prices: tuple[_Price, ...] = ()


class _File(_Strict):
    tiers: list[str] = Field(min_length=2)
    default_lengths: dict[str, _Lengths]
    models: list[_Model] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> _File:
        ids = [model.id for model in self.models]
        for index, model in enumerate(self.models):
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


class CatalogEntry:
    """One model of the catalog with its prices over time. Thread-safe.

    Attributes:
        spec: the model as in the file.
        token_rule: how its tokens are counted.
        exact_tokens: whether the rule is the model's own tokenizer.
    """

    def __init__(self, spec: _Model) -> None:
        self.spec = spec
        self.token_rule = TokenRule(spec.tokenizer.encoding, spec.tokenizer.factor)
        self.exact_tokens = is_exact(spec.id, self.token_rule)
        told = spec.ability
        self._ability = (
            Ability(told.points, told.uncertainty, f"{told.source}, {told.date}") if told else None
        )
        self._record = find_record(spec.price_id or spec.id, spec.provider)
        self._overrides = sorted(
            ((price.from_, price.rates) for price in spec.prices), key=lambda dated: dated[0]
        )
        self._latest: Model | None = None

    def rates_at(self, when: datetime) -> Rates | None:
        """The rates in force at an aware moment: the latest override that has begun, else the table's rates.

        ``None`` where no price is known.
        """
        if self._overrides:
            today = when.astimezone(UTC).date()
            in_force = [rates for start, rates in self._overrides if start <= today]
            if in_force:
                return in_force[-1]
        return self._record.rates_at(when) if self._record else None

    @property
    def change_times(self) -> frozenset[dates.time] | None:
        """Times of day in UTC at which the price may change, besides midnight; ``None``: at any time."""
        return self._record.change_times if self._record else frozenset()

    def at(self, when: datetime) -> Model:
        """The model with its rates at an aware moment."""
        rates = self.rates_at(when)
        latest = self._latest
        if latest is None or latest.rates is not rates:  # prices change a few times a day at most
            latest = self._latest = self._model(rates)
        return latest

    def _model(self, rates: Rates | None) -> Model:
        spec = self.spec
        known = self._record.context_window if self._record else None
        return Model(
            id=spec.id,
            provider=spec.provider,
            tier=spec.tier,
            rates=rates,
            context_window=spec.context_window or known or _UNKNOWN_CONTEXT_WINDOW,
            max_output_tokens=spec.max_output_tokens,
            capabilities=spec.capabilities,
            speed=spec.speed.value,
            reasoning=spec.reasoning_tokens.lengths if spec.reasoning_tokens else None,
            ability=self._ability,
        )


def closest(name: str, known: Iterable[str]) -> str:
    """``did you mean …`` with the known names that resemble a misspelt one, else all known names."""
    names = sorted(known)
    # A long name resembles none, and comparing it would take long.
    near = difflib.get_close_matches(name[:_LONGEST_NAME], names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class PricedModels:
    """The models with the rates that are in force for some time.

    Attributes:
        models: in the order of the catalog.
        start: first moment at which these rates hold, aware.
        end: first moment at which others may, aware; ``start`` where they may change at any time.
    """

    models: tuple[Model, ...]
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Catalog:
    """All models.

    Attributes:
        entries: the models, in the order of the file.
        tiers: names of the tiers, in ascending order of capability.
        default_lengths: tier → output length where the bundle has not learned one, tokens.
        price_table: source and version of the prices, as quotes state it.
        version: the first digits of the SHA-256 of the file.
        retired: models of earlier catalogs of this process. They cannot be chosen; their calls can settle.
    """

    entries: tuple[CatalogEntry, ...]
    tiers: tuple[str, ...]
    default_lengths: dict[str, Lengths]
    price_table: str
    version: str = ""
    retired: tuple[CatalogEntry, ...] = ()

    def with_retired(self, entries: tuple[CatalogEntry, ...]) -> Catalog:
        """The same catalog with other retired models."""
        return replace(self, retired=entries)

    def priced(self, model: str) -> CatalogEntry | None:
        """The entry by which calls of a model are priced, retired ones included; ``None``: there is none."""
        return next((e for e in (*self.entries, *self.retired) if e.spec.id == model), None)

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """Every capability that some model has."""
        return frozenset().union(*(entry.spec.capabilities for entry in self.entries))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Every model id."""
        return tuple(entry.spec.id for entry in self.entries)

    @property
    def reasoning_allowances(self) -> dict[str, Lengths]:
        """Model id → allowance for hidden reasoning in tokens, for the models that have one."""
        return {
            entry.spec.id: entry.spec.reasoning_tokens.lengths
            for entry in self.entries
            if entry.spec.reasoning_tokens
        }

    @property
    def speeds(self) -> dict[str, Speed]:
        """Model id → how fast it answers."""
        return {entry.spec.id: entry.spec.speed.value for entry in self.entries}

    def at(self, when: datetime) -> PricedModels:
        """The models with their rates at an aware moment, and how long these hold."""
        models = tuple(entry.at(when) for entry in self.entries)
        now, times = when.astimezone(UTC), {dates.time()}
        for entry in self.entries:
            if entry.change_times is None:
                return PricedModels(models, now, now)
            times |= entry.change_times
        today, tomorrow = now.date(), now.date() + timedelta(days=1)
        changes = [datetime.combine(today, each, UTC) for each in times]
        changes.append(datetime.combine(tomorrow, dates.time(), UTC))
        return PricedModels(
            models,
            max(each for each in changes if each <= now),
            min(each for each in changes if each > now),
        )

    def check_known(self, field: str, names: Iterable[str], known: Iterable[str]) -> None:
        """Refuse an unknown name.

        Args:
            field: name of the request's field, for the error.
            names: the names in the field.
            known: the names that it may have.

        Raises:
            InvalidInput: names ``field`` with the index of the first unknown name, and suggests known ones.
        """
        allowed = set(known)
        for index, name in enumerate(names):
            if name not in allowed:
                raise InvalidInput(
                    f"{field}[{index}]: {shown(name)} is not in the catalog; {closest(name, allowed)}",
                    reason="UNKNOWN_NAME",
                    field=f"{field}[{index}]",
                )


def load_catalog(path: Path | None = None, now: Callable[[], datetime] = utc_now) -> Catalog:
    """Read a catalog file.

    Args:
        path: of the file; ``None``: the one that ships.
        now: the clock; returns an aware datetime. Scores cannot have been published later.

    Raises:
        BadArtifact: the file is missing or wrong; names the file, the place and the problem.
    """
    name = str(path or "catalog.yaml (shipped)")
    shipped = resources.files(__package__) / "catalog.yaml"
    try:
        content = read_bounded(path, MAX_TEXT_BYTES) if path else shipped.read_bytes()
    except OSError as error:
        raise _unreadable(Path(name), str(error.strerror)) from None
    return parse_catalog(content, name=name, now=now)


def watch_catalog(path: Path, now: Callable[[], datetime] = utc_now) -> Watched[Catalog]:
    """A catalog file that may change.

    Args:
        path: of the file.
        now: as for :func:`load_catalog`.

    Raises:
        BadArtifact: the file is missing or wrong.
    """
    source = FileSource(
        [path],
        lambda contents: parse_catalog(contents[path], name=str(path), now=now),
        _unreadable,
    )
    return Watched("catalog", source, version=lambda catalog: catalog.version)


def _unreadable(path: Path, why: str) -> BadArtifact:
    return BadArtifact(
        f"{path} cannot be read ({why}); name a catalog file with --catalog",
        reason="CATALOG_MISSING",
        field=str(path),
    )


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


def parse_catalog(content: bytes, *, name: str, now: Callable[[], datetime] = utc_now) -> Catalog:
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
        parsed = _File.model_validate(raw, context={"now": now()})
    except ValidationError as error:
        raise BadArtifact(
            f"{name}: {_problem(error, raw)}", reason="CATALOG_WRONG", field=name
        ) from None
    version = sha256_of(content)[:12]
    return Catalog(
        entries=tuple(map(CatalogEntry, parsed.models)),
        tiers=tuple(parsed.tiers),
        default_lengths={tier: lengths.lengths for tier, lengths in parsed.default_lengths.items()},
        price_table=f"{PRICE_SOURCE}, catalog {version}",
        version=version,
    )
