"""The catalog: the models that can be chosen, each with dated prices and a token rule."""

from __future__ import annotations

import datetime as dates
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib import resources
from pathlib import Path

from router.catalog.catalog_file import ModelEntry, closest, parse_catalog_file
from router.catalog.prices import PRICE_SOURCE, find_record
from router.catalog.tokens import TokenRule, is_exact
from router.clock import utc_now
from router.core.ability import Ability
from router.core.errors import BadArtifact, InvalidInput, shown
from router.core.rates import Rates
from router.core.types import Lengths, Model, Speed
from router.files import MAX_TEXT_BYTES, read_bounded, sha256_of
from router.watched import FileSource, Watched

__all__ = [
    "Catalog",
    "CatalogEntry",
    "PricedModels",
    "catalog_source",
    "load_catalog",
    "parse_catalog",
    "watch_catalog",
]

_UNKNOWN_CONTEXT_WINDOW = 8192
"""Assumed where neither the catalog nor the price table has one; small, so that no model is overrun."""


class CatalogEntry:
    """One model of the catalog with its prices over time. Thread-safe.

    Attributes:
        spec: the model as in the file.
        token_rule: how its tokens are counted.
        exact_tokens: whether the rule is the model's own tokenizer.
        record: its prices in the table; ``None``: it is not there.
    """

    def __init__(self, spec: ModelEntry) -> None:
        self.spec = spec
        self.token_rule = TokenRule(spec.tokenizer.encoding, spec.tokenizer.factor)
        self.exact_tokens = is_exact(spec.id, self.token_rule)
        told = spec.ability
        self._ability = (
            Ability(told.points, told.uncertainty, f"{told.source}, {told.date}") if told else None
        )
        self.record = find_record(spec.price_id or spec.id, spec.provider)
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
        return self.record.rates_at(when) if self.record else None

    @property
    def change_times(self) -> frozenset[dates.time] | None:
        """Times of day in UTC at which the price may change, besides midnight; ``None``: at any time."""
        return self.record.change_times if self.record else frozenset()

    def at(self, when: datetime) -> Model:
        """The model with its rates at an aware moment."""
        rates, retired = self.rates_at(when), self.retired_at(when)
        latest = self._latest
        # Prices change a few times a day at most.
        if latest is None or latest.rates is not rates or latest.retired != retired:
            latest = self._latest = self._model(rates, retired)
        return latest

    def retired_at(self, when: datetime) -> dates.date | None:
        """The day (UTC) from which on it can no longer be chosen, if that has begun at an aware moment."""
        day = self.spec.retires
        return day if day is not None and day <= when.astimezone(UTC).date() else None

    def _model(self, rates: Rates | None, retired: dates.date | None) -> Model:
        spec = self.spec
        known = self.record.context_window if self.record else None
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
            regions=spec.regions,
            retired=retired,
        )


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
        retired: models of earlier catalogs of this process. They are not listed; their calls can settle.
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
    def regions(self) -> frozenset[str]:
        """Every region in which some model is served."""
        return frozenset().union(*(entry.spec.regions for entry in self.entries))

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
        models = self._models_at(when)
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

    def _models_at(self, when: datetime) -> tuple[Model, ...]:
        replaces: dict[str, set[str]] = {}
        for entry in self.entries:
            if entry.spec.replaced_by is not None and entry.retired_at(when) is not None:
                replaces.setdefault(entry.spec.replaced_by, set()).add(entry.spec.id)
        models = (entry.at(when) for entry in self.entries)
        return tuple(
            replace(one, replaces=frozenset(replaces[one.id])) if one.id in replaces else one
            for one in models
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
    return Watched("catalog", catalog_source(path, now), version=lambda catalog: catalog.version)


def catalog_source(path: Path, now: Callable[[], datetime] = utc_now) -> FileSource[Catalog]:
    """A catalog file as a source of an input.

    Args:
        path: of the file.
        now: as for :func:`load_catalog`.
    """
    return FileSource(
        [path],
        lambda contents: parse_catalog(contents[path], name=str(path), now=now),
        _unreadable,
    )


def _unreadable(path: Path, why: str) -> BadArtifact:
    return BadArtifact(
        f"{path} cannot be read ({why}); name a catalog file with --catalog",
        reason="CATALOG_MISSING",
        field=str(path),
    )


def parse_catalog(content: bytes, *, name: str, now: Callable[[], datetime] = utc_now) -> Catalog:
    """Read the content of a catalog file.

    Args:
        content: YAML, or JSON, which is a part of it.
        name: what messages call it.
        now: the clock; returns an aware datetime.

    Raises:
        BadArtifact: the content is wrong; names the catalog, the place and the problem.
    """
    parsed = parse_catalog_file(content, name=name, now=now)
    version = sha256_of(content)[:12]
    return Catalog(
        entries=tuple(map(CatalogEntry, parsed.models)),
        tiers=tuple(parsed.tiers),
        default_lengths={tier: lengths.lengths for tier, lengths in parsed.default_lengths.items()},
        price_table=f"{PRICE_SOURCE}, catalog {version}",
        version=version,
    )
