"""Prices of the past stay: a catalog that replaces another may add prices, not change past ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta

from router.catalog.catalog import Catalog, CatalogEntry
from router.core.errors import BadArtifact
from router.core.rates import Rates

__all__ = ["check_past_prices", "with_retired"]

_MAX_RETIRED = 1_000
"""Entries of models that are kept although the catalog no longer lists them."""


def check_past_prices(new: Catalog, old: Catalog, now: datetime) -> None:
    """Refuse a catalog that would price past calls in another way than they were quoted.

    A settlement without a cost is priced at the rates of the day of its decision. What had no price was never
    chosen, and may get one.

    Args:
        new: the catalog that would serve.
        old: the one that serves, with the models that it has retired.
        now: aware; prices from its day (UTC) on may change.

    Raises:
        BadArtifact: names the model, the day and both prices.
    """
    known = {entry.spec.id: entry for entry in (*old.retired, *old.entries)}
    today = now.astimezone(UTC).date()
    for entry in new.entries:
        before = known.get(entry.spec.id)
        if before is None:
            continue
        for moment in _moments(before, entry, today):
            was, would = before.rates_at(moment), entry.rates_at(moment)
            if was is not None and was != would:
                raise BadArtifact(
                    f"{entry.spec.id}: on {moment:%Y-%m-%d} its price was {_text(was)}, and would be "
                    f"{_text(would)}; prices of the past stay as they were: add one from {today}, or restart "
                    "the server to use this catalog anyway",
                    reason="PAST_PRICE_CHANGED",
                    field="catalog",
                )


def with_retired(new: Catalog, old: Catalog) -> Catalog:
    """The new catalog with the models that only older ones list, so that calls of theirs can settle."""
    listed = set(new.ids)
    left = {e.spec.id: e for e in (*old.retired, *old.entries) if e.spec.id not in listed}
    return new.with_retired(tuple(left.values())[-_MAX_RETIRED:])


def _moments(before: CatalogEntry, after: CatalogEntry, today: date) -> Iterator[datetime]:
    """The moments before today at which a price may have changed, and the last one."""
    days = {price.from_ for one in (before, after) for price in one.spec.prices}
    for day in sorted({*days, today - timedelta(days=1)}):
        if day < today:
            yield datetime.combine(day, time(), UTC)


def _text(rates: Rates | None) -> str:
    if rates is None:
        return "unknown"
    return f"{rates.input} in, {rates.output} out (USD per million tokens)"
