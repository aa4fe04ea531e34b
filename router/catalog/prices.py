"""Dated prices from genai-prices, as exact decimals.

Source: the package ``genai-prices`` (MIT), which ships its table and needs no network. A look-up there takes
hundreds of microseconds, so rates are cached per price.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

import genai_prices
from genai_prices import __version__ as _genai_version
from genai_prices.data import providers as all_providers
from genai_prices.types import (
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
    TimeOfDateConstraint,
)

from router.core.rates import Rates, Surcharge

__all__ = [
    "PRICE_SOURCE",
    "PROVIDERS",
    "PriceRecord",
    "find_record",
    "records_of",
    "table_installed_at",
]

PRICE_SOURCE = f"genai-prices {_genai_version}"
PROVIDERS = frozenset(listed.id for listed in all_providers)
"""Whose prices the table has."""

_FIRST_RELEASE = datetime(2025, 1, 1, tzinfo=UTC)
"""Files that claim to be older come from an archive without times."""


def _price_for(price: Decimal | TieredPrices | None, input_tokens: int) -> Decimal | None:
    if isinstance(price, TieredPrices):
        reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
        return Decimal(reached[-1] if reached else price.base)
    return None if price is None else Decimal(price)


def _rates_for(price: ModelPrice, input_tokens: int) -> Rates | None:
    input_, output = (
        _price_for(price.input_mtok, input_tokens),
        _price_for(price.output_mtok, input_tokens),
    )
    if input_ is None or output is None:
        return None
    return Rates(
        input=input_,
        output=output,
        cache_read=_price_for(price.cache_read_mtok, input_tokens),
        cache_write=_price_for(price.cache_write_mtok, input_tokens),
    )


def _rates(price: ModelPrice) -> Rates | None:
    base = _rates_for(price, 0)
    if base is None:
        return None
    parts = (price.input_mtok, price.output_mtok, price.cache_read_mtok, price.cache_write_mtok)
    starts = {tier.start for part in parts if isinstance(part, TieredPrices) for tier in part.tiers}
    surcharges = []
    for start in sorted(starts):
        rates = _rates_for(price, start + 1)
        if rates is not None:
            surcharges.append(Surcharge(start, rates))
    return Rates(base.input, base.output, base.cache_read, base.cache_write, tuple(surcharges))


class PriceRecord:
    """All dated prices of one model of one provider.

    Attributes:
        id: of the model in the table.
        context_window: tokens; ``None`` where the table does not say it.
        change_times: times of day in UTC at which the price may change, besides midnight; ``None``: at any
            time.
        starts: days (UTC) on which another price begins, ascending.
        deprecated: whether the provider says that the model will go.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.id = info.id
        self.context_window: int | None = info.context_window
        self.change_times = _change_times(info)
        self.starts = _starts(info)
        self.deprecated = bool(info.deprecated)
        self._info = info
        self._cache: dict[int, Rates | None] = {}

    def rates_at(self, when: datetime) -> Rates | None:
        """The rates in force at an aware moment; prices may change by date and by time of day.

        ``None`` where the table has no price for input or output tokens: the price is unknown, not zero.
        """
        price = self._info.get_prices(when)
        key = id(price)
        if key not in self._cache:
            self._cache[key] = _rates(price)
        return self._cache[key]


def _change_times(info: ModelInfo) -> frozenset[time] | None:
    times: set[time] = set()
    for price in [] if isinstance(info.prices, ModelPrice) else info.prices:
        match price.constraint:
            case None | StartDateConstraint():
                pass
            case TimeOfDateConstraint(start_time=begin, end_time=end):
                times |= {_in_utc(begin), _in_utc(end)}
            case _:
                return None
    return frozenset(times)


def _starts(info: ModelInfo) -> tuple[date, ...]:
    prices = [] if isinstance(info.prices, ModelPrice) else info.prices
    constraints = [price.constraint for price in prices]
    return tuple(sorted({c.start_date for c in constraints if isinstance(c, StartDateConstraint)}))


def _in_utc(of_day: time) -> time:
    if of_day.tzinfo is None:
        return of_day
    return datetime.combine(date(1970, 1, 1), of_day).astimezone(UTC).time()


@lru_cache(maxsize=4096)
def find_record(model: str, provider: str | None = None) -> PriceRecord | None:
    """The prices of a model by exact id; ``None`` where the table does not list it.

    The whole id must match, or what follows its last ``/``: a fuzzy match could quote the price of another
    model. Without a provider, the first one that lists the model counts.
    """
    wanted = model.lower()
    for candidate in (wanted, wanted.rsplit("/", 1)[-1]):
        for listed in all_providers:
            if provider is not None and listed.id != provider:
                continue
            for info in listed.models:
                if info.id.lower() == candidate:
                    return PriceRecord(info)
    return None


def records_of(provider: str) -> list[PriceRecord]:
    """The prices of every model of a provider, in the order of the table; none where it is not in it."""
    return [
        PriceRecord(info) for each in all_providers if each.id == provider for info in each.models
    ]


def table_installed_at() -> datetime | None:
    """When the table was installed: its release is at least as old. ``None`` where its file does not say.

    The package does not say when it was released.
    """
    changed = datetime.fromtimestamp(Path(genai_prices.__file__).stat().st_mtime, UTC)
    return changed if changed >= _FIRST_RELEASE else None
