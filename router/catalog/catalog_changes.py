"""What the installed genai-prices would change of a catalog: prices, new and vanished models. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fnmatch import fnmatchcase

from router.catalog.catalog import Catalog, CatalogEntry
from router.catalog.catalog_file import UNKNOWN_TIER, closest
from router.catalog.prices import PROVIDERS, PriceRecord, records_of
from router.catalog.tokens import ENCODINGS, TokenRule, is_exact
from router.core.errors import InvalidInput, shown
from router.core.rates import Rates
from router.core.types import Speed

__all__ = [
    "CatalogChanges",
    "ListedModel",
    "NewModel",
    "Note",
    "PriceChange",
    "available_models",
    "changes_of",
    "new_models",
]

_MOST_NEW = 100
"""Models that are added at once."""
_CAUTIOUS_RULE = TokenRule("o200k_base", Decimal("1.2"))
_CAUTIOUS_SPEED = Speed(1.5, 50.0)
"""Of a model whose provider the catalog does not know."""


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price of the table that a file does not have yet.

    Attributes:
        model: id in the catalog.
        start: the first day (UTC) on which it holds.
        old: what the catalog says for that day; ``None``: nothing.
        new: what the table says.
    """

    model: str
    start: date
    old: Rates | None
    new: Rates


@dataclass(frozen=True, slots=True)
class Note:
    """A model that stays as it is, and why."""

    model: str
    why: str


@dataclass(frozen=True, slots=True)
class CatalogChanges:
    """How a catalog differs from the table.

    Attributes:
        changed: other prices, by model, then by day.
        pinned: prices of models that follow the table so far, as it has them.
        removed: models that the table does not list any more, or whose end it announces.
        kept: models whose prices differ, and are left as they are.
    """

    changed: tuple[PriceChange, ...]
    pinned: tuple[PriceChange, ...]
    removed: tuple[Note, ...]
    kept: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model of the table that a catalog lacks.

    Attributes:
        provider: in the table.
        record: its prices.
        rates: those in force.
    """

    provider: str
    record: PriceRecord
    rates: Rates


@dataclass(frozen=True, slots=True)
class NewModel:
    """An entry for a model that a catalog lacks: what is known of it, and cautious values for the rest.

    Attributes:
        id: in the catalog; other than ``price_id`` where the catalog has that id already.
        listed: the model in the table.
        tier: of the catalog, or ``?``.
        token_rule: its own where tiktoken has it, else that of a model of the same provider.
        speed: of a model of the same provider, of the same tier by preference.
        alike: that model; ``None``: the catalog has none.
    """

    id: str
    listed: ListedModel
    tier: str
    token_rule: TokenRule
    speed: Speed
    alike: str | None


def changes_of(catalog: Catalog, today: date, *, pin: bool = False) -> CatalogChanges:
    """How a catalog differs from the table, from today on. The past is not looked at, and stays.

    Args:
        catalog: as its file has it.
        today: in UTC.
        pin: write down the price of models that follow the table, so that another release of it changes no
            price by itself.
    """
    changed, pinned = list[PriceChange](), list[PriceChange]()
    removed, kept = list[Note](), list[Note]()
    for entry in catalog.entries:
        name, record = entry.spec.id, entry.record
        if entry.retired_at(datetime.combine(today, time(), UTC)) is not None:
            continue
        if record is None:
            removed += _gone(entry, today)
            continue
        if record.deprecated and entry.spec.retires is None:
            removed.append(Note(name, "its provider says that it will go; say when with `retires`"))
        if not entry.spec.prices and not pin:
            continue
        differing = list(_differing(entry, record, today))
        why = _why_kept(entry, record)
        if why and (differing or pin):
            kept.append(Note(name, why))
        elif not why:
            (changed if entry.spec.prices else pinned).extend(differing)
    return CatalogChanges(tuple(changed), tuple(pinned), tuple(removed), tuple(kept))


def _gone(entry: CatalogEntry, today: date) -> Iterator[Note]:
    spec = entry.spec
    own = any(price.is_own for price in spec.prices)
    if spec.provider not in PROVIDERS or own or spec.retires is not None:
        return
    price = (
        "the price of its last entry stays in force"
        if any(price.from_ <= today for price in spec.prices)
        else "it has no price and is never chosen"
    )
    yield Note(spec.id, f"it is not listed, or not under this name; {price}")


def _why_kept(entry: CatalogEntry, record: PriceRecord) -> str | None:
    """Why the price of a model is not taken from the table; ``None``: it is."""
    sources = [price.source for price in entry.spec.prices if price.is_own]
    if sources:
        return f"its price has another source ({shown(sources[-1])})"
    if record.change_times is None or record.change_times:
        return "its price depends on the hour, which `prices` cannot say: without them it follows the table"
    return None


def _differing(entry: CatalogEntry, record: PriceRecord, today: date) -> Iterator[PriceChange]:
    """Where the table differs from the file, today and on the days on which its price changes."""
    written = sorted(((p.from_, p.rates) for p in entry.spec.prices), key=lambda dated: dated[0])
    for day in (today, *(day for day in record.starts if day > today)):
        listed = record.rates_at(datetime.combine(day, time(), UTC))
        in_force = [rates for start, rates in written if start <= day]
        file = in_force[-1] if in_force else None
        if listed is not None and file != listed:
            yield PriceChange(entry.spec.id, day, file, listed)
            written = sorted([*written, (day, listed)], key=lambda dated: dated[0])


# --- New models --------------------------------------------------------------------------------


def available_models(
    catalog: Catalog, when: datetime, providers: frozenset[str] | None = None
) -> list[ListedModel]:
    """The models of the table that a catalog lacks, have a price, and are not about to go.

    Args:
        catalog: whose models are left out.
        when: aware; of the prices.
        providers: whose models; ``None``: those of the catalog's models.
    """
    specs = [entry.spec for entry in catalog.entries]
    known = {(spec.provider, (spec.price_id or spec.id).lower()) for spec in specs}
    wanted = {spec.provider for spec in specs} if providers is None else providers
    found = []
    for provider in sorted(wanted):
        for record in records_of(provider):
            rates = record.rates_at(when)
            listed = (provider, record.id.lower()) in known
            if rates is not None and not record.deprecated and not listed:
                found.append(ListedModel(provider, record, rates))
    return found


def new_models(
    catalog: Catalog, patterns: Sequence[str], tier: str | None, when: datetime
) -> list[NewModel]:
    """Entries for models of the table.

    Args:
        catalog: that lacks them.
        patterns: of ids, such as ``gpt-6*``; with a provider before a slash, of this provider.
        tier: of all of them; ``None``: a person has to say.
        when: aware; they must have a price then.

    Raises:
        InvalidInput: a pattern fits no model, they fit too many, or the tier is unknown.
    """
    if tier is not None and tier not in catalog.tiers:
        raise InvalidInput(
            f"--tier: {shown(tier)} is not in the catalog; {closest(tier, catalog.tiers)}",
            field="--tier",
        )
    found = dict[tuple[str, str], ListedModel]()
    for pattern in patterns:
        fitting = _fitting(catalog, pattern, when)
        found |= {(each.provider, each.record.id): each for each in fitting}
    if len(found) > _MOST_NEW:
        raise InvalidInput(
            f"--add: {len(found)} models are more than {_MOST_NEW}; name fewer", field="--add"
        )
    taken = set(catalog.ids)
    made = []
    for each in found.values():
        new = _entry_for(catalog, each, tier, taken)
        taken.add(new.id)
        made.append(new)
    return made


def _fitting(catalog: Catalog, pattern: str, when: datetime) -> list[ListedModel]:
    provider, _, rest = pattern.partition("/")
    named = bool(rest) and provider in PROVIDERS
    listed = available_models(catalog, when, frozenset({provider}) if named else None)
    wanted = (rest if named else pattern).lower()
    found = [each for each in listed if fnmatchcase(each.record.id.lower(), wanted)]
    if not found:
        names = [each.record.id for each in listed]
        specs = [e.spec for e in catalog.entries if not named or e.spec.provider == provider]
        if any(fnmatchcase(spec.id.lower(), wanted) for spec in specs):
            hint = "the catalog has it already"
        else:
            near = closest(wanted, names)
            hint = near if near.startswith("did") else "--available lists them"
        raise InvalidInput(
            f"--add: {shown(pattern)} fits no model of genai-prices that the catalog lacks; {hint}",
            field="--add",
        )
    return found


def _entry_for(
    catalog: Catalog, listed: ListedModel, tier: str | None, taken: set[str]
) -> NewModel:
    name = listed.record.id
    same = [e for e in catalog.entries if e.spec.provider == listed.provider]
    alike = next((e for e in same if e.spec.tier == tier), same[0] if same else None)
    own = next((r for r in map(TokenRule, ENCODINGS) if is_exact(name, r)), None)
    return NewModel(
        f"{listed.provider}/{name}" if name in taken else name,
        listed,
        tier or UNKNOWN_TIER,
        own or (alike.token_rule if alike else _CAUTIOUS_RULE),
        Speed(alike.spec.speed.first_token_s, alike.spec.speed.output_tokens_per_s)
        if alike
        else _CAUTIOUS_SPEED,
        alike.spec.id if alike else None,
    )
