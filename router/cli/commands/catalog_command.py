"""``mitsumori catalog``: prices and models of the installed genai-prices, for a catalog file."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from router.catalog.catalog import Catalog, load_catalog, parse_catalog
from router.catalog.catalog_changes import (
    CatalogChanges,
    ListedModel,
    NewModel,
    PriceChange,
    available_models,
    changes_of,
    new_models,
)
from router.catalog.catalog_edits import with_models, with_prices
from router.catalog.catalog_file import UNKNOWN_TIER
from router.catalog.price_history import check_past_prices
from router.catalog.prices import PRICE_SOURCE
from router.cli.commands.arguments import Json
from router.cli.render import console, print_json, table
from router.clock import utc_now
from router.core.errors import InvalidInput
from router.core.plurals import counted
from router.core.rates import Rates
from router.files import MAX_TEXT_BYTES, read_bounded, replace_text

__all__ = ["update_catalog"]

CatalogFile = Annotated[
    Path | None,
    typer.Option(
        "--catalog", envvar="MITSUMORI_CATALOG", help="Catalog file (default: the shipped one)."
    ),
]


@dataclass(frozen=True, slots=True)
class _Update:
    """What would become of a catalog.

    Attributes:
        catalog: as it is.
        changes: to its models.
        added: entries for new ones.
        available: models of its providers that it lacks.
    """

    catalog: Catalog
    changes: CatalogChanges
    added: list[NewModel]
    available: list[ListedModel]

    @property
    def prices(self) -> tuple[PriceChange, ...]:
        """That would be written."""
        return (*self.changes.changed, *self.changes.pinned)


def update_catalog(
    catalog: CatalogFile = None,
    add: Annotated[
        list[str] | None,
        typer.Option(
            help="Add models by id, such as 'gpt-6*' or 'mistral/ministral-*'; repeatable."
        ),
    ] = None,
    tier: Annotated[
        str | None, typer.Option(help="Tier of the models to add; else you fill it in later.")
    ] = None,
    pin: Annotated[
        bool,
        typer.Option(
            "--pin",
            help="Also write down the prices of models that have none of their own in the file, so that "
            "another release of genai-prices changes nothing by itself.",
        ),
    ] = False,
    available: Annotated[
        bool, typer.Option("--available", help="List the models that could be added.")
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the file. Without it, only show.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show, and with --write take over, what the installed genai-prices has and a catalog file has not.

    It never asks the network: install a newer release of genai-prices first. Lines are only added, so that
    comments, order, prices of past days and models with open decisions stay. A price with a `source` of yours
    stays, too.
    """
    now = utc_now()
    if tier is not None and not add:
        raise InvalidInput("--tier is for models to --add; name some", field="--tier")
    if write and catalog is None:
        raise InvalidInput(
            "--write needs --catalog: the shipped catalog belongs to the package; copy it to a file of yours",
            field="--write",
        )
    loaded = load_catalog(catalog)
    update = _Update(
        loaded,
        changes_of(loaded, now.date(), pin=pin),
        new_models(loaded, add or (), tier, now),
        available_models(loaded, now),
    )
    written = write and catalog is not None and _write(catalog, update, now)
    if json_output:
        print_json(_as_json(update, written=written, available=available))
    else:
        _show(update, catalog, written=written, available=available)


# --- Write -------------------------------------------------------------------------------------


def _write(path: Path, update: _Update, now: datetime) -> bool:
    """Write what is to be added; whether there was anything."""
    if not update.prices and not update.added:
        return False
    target = path.resolve()  # of a link, the file behind it
    try:
        before = read_bounded(target, MAX_TEXT_BYTES)
        if parse_catalog(before, name=str(path)).version != update.catalog.version:
            raise InvalidInput(f"{path} has changed meanwhile; try again", field=str(path))
        text = with_prices(_decoded(before, path), update.prices)
        final = with_models(text, update.added)
        # A model without a tier does not load; all else of it must.
        filled = final.replace(f'tier: "{UNKNOWN_TIER}"', f"tier: {update.catalog.tiers[0]}")
        check_past_prices(parse_catalog(filled.encode(), name=str(path)), update.catalog, now)
        replace_text(target, final, mode=stat.S_IMODE(target.stat().st_mode))
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written ({error.strerror}); it stays as it was", field=str(path)
        ) from None
    return True


def _decoded(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{path} is not UTF-8 text; write it as that, and try again", field=str(path)
        ) from None


# --- Show --------------------------------------------------------------------------------------


def _rates_text(rates: Rates | None) -> str:
    if rates is None:
        return "–"
    cached = "" if rates.cache_read is None else f", {rates.cache_read:f} cached"
    longer = ", more above " + ", ".join(
        f"{each.above_input_tokens:,}" for each in rates.surcharges
    )
    return f"{rates.input:f} in, {rates.output:f} out{cached}{longer if rates.surcharges else ''}"


def _show(update: _Update, path: Path | None, *, written: bool, available: bool) -> None:
    shown, changes = console(), update.changes
    rows = [
        [each.model, _rates_text(each.old), _rates_text(each.new), str(each.start)]
        for each in update.prices
    ]
    if rows:
        title = f"Prices, USD per million tokens, from {PRICE_SOURCE}"
        shown.print(table(title, ["model", "?old", "new", "from"], rows))
    if update.added:
        rows = [
            [each.id, each.listed.provider, each.tier, _rates_text(each.listed.rates)]
            for each in update.added
        ]
        shown.print(table("New models", ["model", "provider", "tier", "price"], rows))
    for title, notes in (("Gone or going", changes.removed), ("Left as they are", changes.kept)):
        if notes:
            rows = [[each.model, each.why] for each in notes]
            shown.print(table(title, ["model", "why"], rows))
    if available:
        rows = [
            [each.provider, each.record.id, _rates_text(each.rates)] for each in update.available
        ]
        shown.print(table("Models that could be added", ["provider", "model", "price"], rows))
    for line in _summary(update, path, written=written, available=available):
        shown.print(line, highlight=False, markup=False, soft_wrap=True)


def _summary(update: _Update, path: Path | None, *, written: bool, available: bool) -> list[str]:
    found = [
        f"{counted(len(update.prices), 'price')} and {counted(len(update.added), 'new model')} from "
        f"{PRICE_SOURCE}"
    ]
    if written:
        found[0] += f", written to {path}"
        unfinished = [each.id for each in update.added if each.tier == UNKNOWN_TIER]
        if unfinished:
            found.append(
                f"The file cannot be served until you have given a tier to {', '.join(unfinished)}: "
                f"{' or '.join(update.catalog.tiers)} instead of {UNKNOWN_TIER!r}"
            )
    elif update.prices or update.added:
        found[0] += "; nothing is written without --write"
    if update.available and not available:
        number = counted(len(update.available), "model")
        found.append(f"{number} of your providers could be added: --available lists, --add adds")
    return found


# --- JSON --------------------------------------------------------------------------------------


def _rates_json(rates: Rates | None) -> dict[str, Any] | None:
    if rates is None:
        return None
    named = {
        "input_usd_per_mtok": rates.input,
        "output_usd_per_mtok": rates.output,
        "cache_read_usd_per_mtok": rates.cache_read,
        "cache_write_usd_per_mtok": rates.cache_write,
    }
    told: dict[str, Any] = {
        name: None if rate is None else format(rate, "f") for name, rate in named.items()
    }
    if rates.surcharges:
        told["long_inputs"] = [
            {"above_input_tokens": each.above_input_tokens, **(_rates_json(each.rates) or {})}
            for each in rates.surcharges
        ]
    return told


def _changes_json(changes: tuple[PriceChange, ...]) -> list[dict[str, Any]]:
    return [
        {
            "model": each.model,
            "from": str(each.start),
            "old": _rates_json(each.old),
            "new": _rates_json(each.new),
        }
        for each in changes
    ]


def _as_json(update: _Update, *, written: bool, available: bool) -> dict[str, Any]:
    changes = update.changes
    told: dict[str, Any] = {
        "price_table": PRICE_SOURCE,
        "catalog_version": update.catalog.version,
        "changed": _changes_json(changes.changed),
        "pinned": _changes_json(changes.pinned),
        "added": [
            {
                "model": each.id,
                "provider": each.listed.provider,
                "tier": each.tier,
                "context_window": each.listed.record.context_window,
                "price": _rates_json(each.listed.rates),
            }
            for each in update.added
        ],
        "removed": [{"model": each.model, "why": each.why} for each in changes.removed],
        "kept": [{"model": each.model, "why": each.why} for each in changes.kept],
        "written": written,
    }
    if available:
        told["available"] = [
            {
                "provider": each.provider,
                "model": each.record.id,
                "context_window": each.record.context_window,
                "price": _rates_json(each.rates),
            }
            for each in update.available
        ]
    return told
