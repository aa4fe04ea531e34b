"""The file of the routing table: its form, and every way in which it can be wrong, with line and column."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from router.core.errors import BadArtifact, shown
from router.files import parse_yaml
from router.rules.places import Places

__all__ = ["MAX_RULES", "RuleEntry", "RuleFile", "ThenEntry", "bad_rules", "parse_rule_file"]

MAX_RULES = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ThenEntry(_Strict):
    """The effects of a rule, as in the file: see :class:`~router.core.ruling.Effects`."""

    models: frozenset[str] = Field(
        default=frozenset(), description="the models that may be chosen; one forces it"
    )
    forbidden_models: frozenset[str] = Field(
        default=frozenset(), description="models that may not be chosen"
    )
    providers: frozenset[str] = Field(
        default=frozenset(), description="the providers that may be called"
    )
    forbidden_providers: frozenset[str] = Field(
        default=frozenset(), description="providers that may not be called"
    )
    tier_floor: str | None = Field(default=None, description="the lowest tier that may be chosen")
    tier_ceiling: str | None = Field(
        default=None, description="the highest tier that may be chosen"
    )
    capabilities: frozenset[str] = Field(
        default=frozenset(), description="what the model must be able to do"
    )
    regions: frozenset[str] = Field(
        default=frozenset(), description="regions, in one of which the model must be served"
    )
    max_price_usd: Decimal | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="most of the 90th percentile of the price, in quotes",
    )
    max_latency_s: float | None = Field(
        default=None,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="most of the 90th percentile of the time to the whole answer",
    )
    quality_target: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="choose the cheapest model whose P(adequate) reaches this",
    )
    miss_cost_usd: Decimal | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="what an inadequate answer to a prompt of complexity 1 costs, in quotes",
    )
    defer: bool = Field(
        default=False, description="refuse batch work, with the advice to send it later"
    )
    explore: float | None = Field(
        default=None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="share of the decisions that is left to chance among models that cost nearly the same",
    )

    @model_validator(mode="before")
    @classmethod
    def _is_exact(cls, raw: Any) -> Any:
        if isinstance(raw, dict):
            for key, value in raw.items():
                if isinstance(value, float) and str(key).endswith("_usd"):
                    raise ValueError(f'{key} must be quoted, as in "{value}", to stay exact')
                if isinstance(value, bool) and key != "defer":
                    raise ValueError(f"{key} must not be true or false")
        return raw

    @model_validator(mode="after")
    def _does_one_thing(self) -> ThenEntry:
        if not self.model_fields_set:
            raise ValueError("a rule must do something")
        for name in sorted(self.model_fields_set):
            if getattr(self, name) == frozenset():
                raise ValueError(f"{name} names nothing, which would leave everything allowed")
        if self.quality_target is not None and self.miss_cost_usd is not None:
            raise ValueError("quality_target and miss_cost_usd are two goals; give one of them")
        return self


_NEVER_REFUSES = ("quality_target", "miss_cost_usd", "explore")


class RuleEntry(_Strict):
    """A rule as in the file.

    Attributes:
        name: unique in the file.
        when: condition in CEL.
        then: what it does.
        final: whether the rules below are not asked where it holds.
        gives_way: whether it does not apply where the decision would be refused otherwise.
        note: for people.
    """

    name: str
    when: str = Field(min_length=1)
    then: ThenEntry
    final: bool = False
    gives_way: bool = False
    note: str = Field(default="", max_length=1_000)

    @field_validator("name")
    @classmethod
    def _name_is_short(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("must be a-z, 0-9 and hyphens, at most 63 characters")
        return value

    @model_validator(mode="after")
    def _gives_way_as_a_whole(self) -> RuleEntry:
        kept = [name for name in _NEVER_REFUSES if getattr(self.then, name) is not None]
        if self.then.defer:
            kept.append("defer")
        if self.gives_way and kept:
            raise ValueError(
                f"a rule that gives way only leaves models out; give {kept[0]} in a rule of its own"
            )
        return self


class RuleFile(_Strict):
    """The whole file."""

    format: Literal[1] = 1
    time_zone: str = "UTC"
    rules: tuple[RuleEntry, ...] = Field(max_length=MAX_RULES)

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{shown(value)} is no time zone, such as Asia/Tokyo or UTC") from None
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> RuleFile:
        names = [rule.name for rule in self.rules]
        for index, name in enumerate(names):
            if names.index(name) != index:
                raise ValueError(f"rules[{index}]: the name {name} is used above")
        return self


def parse_rule_file(content: bytes, *, name: str) -> tuple[RuleFile, Places]:
    """Read the content of a file, and where its values stand.

    Args:
        content: YAML, UTF-8.
        name: what messages call it.

    Raises:
        BadArtifact: the content is wrong; names the file, the line and the column.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise bad_rules(name, "is not UTF-8 text") from None
    try:
        raw = parse_yaml(text)
        places = Places(text)
    except ValueError as error:
        raise bad_rules(name, str(error)) from None
    try:
        return RuleFile.model_validate(raw), places
    except ValidationError as error:
        raise bad_rules(name, _problem(error, raw, places)) from None


def bad_rules(name: str, problem: str) -> BadArtifact:
    """The error of a file that cannot be used.

    Args:
        name: of the file.
        problem: what is wrong, and where.
    """
    return BadArtifact(f"{name}: {problem}", reason="RULES_WRONG", field=name)


def named(raw: Any, index: int) -> str:
    """How messages call a rule: by its name, where it has one."""
    entry = raw["rules"][index]
    known = entry.get("name") if isinstance(entry, dict) else None
    return f"rules[{index}]" + (f" ({known[:63]})" if isinstance(known, str) else "")


def _problem(error: ValidationError, raw: Any, places: Places) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not isinstance(raw, dict):
        return f"must have the key rules, with a list of rules ({places.of(())})"
    path: Sequence[Hashable] = first["loc"]
    match path:
        case ("rules", int(index), *rest) if isinstance(raw.get("rules"), list):
            where = [named(raw, index), ".".join(map(str, rest))]
        case _:
            where = [".".join(map(str, path))]
    return ": ".join([*filter(None, where), message]) + f" ({places.of(path)})"
