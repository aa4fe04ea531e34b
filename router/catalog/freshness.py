"""What in a catalog grows old: prices, the table that they are from, and models that retire. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime

from router.catalog.catalog import Catalog
from router.catalog.catalog_changes import Note, PriceChange, changes_of
from router.catalog.prices import PRICE_SOURCE
from router.core.plurals import counted

__all__ = ["NOTICE_DAYS", "STALE_DAYS", "concerns", "retirements", "stale_prices"]

NOTICE_DAYS = 30
"""How long before a model retires it is told."""
STALE_DAYS = 90
"""How old prices may be, unless told otherwise."""
_FEW = 5
"""Models that a message names."""


def retirements(catalog: Catalog, now: datetime) -> list[Note]:
    """The models that have retired, or will within :data:`NOTICE_DAYS`, in the order of the catalog.

    Args:
        catalog: the models.
        now: aware.
    """
    today, found = now.astimezone(UTC).date(), []
    for entry in catalog.entries:
        day, other = entry.spec.retires, entry.spec.replaced_by
        if day is None or (day - today).days > NOTICE_DAYS:
            continue
        then = f"; {other} replaces it" if other else "; nothing replaces it"
        if day > today:
            why = f"retires on {day}, in {counted((day - today).days, 'day')}{then}"
        else:
            why = f"retired on {day}{then}; take it out when no decision on it is open"
        found.append(Note(entry.spec.id, why))
    return found


def stale_prices(catalog: Catalog, today: date, days: int) -> list[PriceChange]:
    """The prices of a file that are older than some days, and that the table has otherwise today.

    Args:
        catalog: as its file has it.
        today: in UTC.
        days: how old a price may be, ≥ 0.
    """
    prices = {entry.spec.id: entry.spec.prices for entry in catalog.entries}
    found = []
    for change in changes_of(catalog, today).changed:
        begun = [price.from_ for price in prices[change.model] if price.from_ <= today]
        if change.start == today and begun and (today - max(begun)).days > days:
            found.append(change)
    return found


def concerns(
    catalog: Catalog, now: datetime, installed: datetime | None, *, days: int = STALE_DAYS
) -> list[str]:
    """What is stale or retires, as phrases that say what to do; empty where nothing is.

    Args:
        catalog: as its file has it.
        now: aware.
        installed: when the table was installed, aware; ``None``: not known.
        days: how old prices and the table may be, ≥ 0.
    """
    found = [f"{each.model} {each.why}" for each in retirements(catalog, now)]
    stale = [each.model for each in stale_prices(catalog, now.astimezone(UTC).date(), days)]
    if stale:
        named = ", ".join(stale[:_FEW]) + (" and others" if len(stale) > _FEW else "")
        found.append(
            f"prices of {named} are older than {counted(days, 'day')}, and {PRICE_SOURCE} has others; "
            "look with `mitsumori catalog update`"
        )
    if installed is not None and (now - installed).days > days:
        found.append(
            f"{PRICE_SOURCE} was installed {(now - installed).days} days ago; install a newer release, then "
            "look with `mitsumori catalog update`"
        )
    return found
