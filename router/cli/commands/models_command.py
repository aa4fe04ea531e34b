"""``mitsumori models``: the models of the catalog, their prices today, and their abilities."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from router.catalog.catalog import load_catalog
from router.classifier.manifest import read_manifest
from router.classifier.model_ability import ability_of, arm_names
from router.cli.commands.arguments import Json
from router.cli.render import console, print_json, table
from router.paths import DEFAULT_BUNDLE

__all__ = ["models"]

CatalogFile = Annotated[Path | None, typer.Option(help="Catalog file (default: the shipped one).")]


def _range_text(quantiles: dict[str, float] | None) -> str:
    """Median and 90th percentile of the reasoning that a model's quotes allow for."""
    return "–" if quantiles is None else f"{quantiles['p50']:,.0f}–{quantiles['p90']:,.0f}"


BundleDirectory = Annotated[
    Path,
    typer.Option(help="Directory of the bundle that knows abilities (default: the shipped one)."),
]


def _ability_text(ability: dict[str, Any]) -> str:
    """Points with their standard deviation, as in 75 ± 10."""
    if ability["points"] is None:
        return "–"
    spread = "" if ability["uncertainty"] is None else f" ± {ability['uncertainty']:.0f}"
    return f"{ability['points']:.0f}{spread}"


def models(
    catalog: CatalogFile = None, bundle: BundleDirectory = DEFAULT_BUNDLE, json_output: Json = False
) -> None:
    """List the models that can be chosen, with today's prices and what is known of their ability.

    An ability is in points on the scale of the bundle. It rests on a model's own attempts, on published
    scores of the catalog, or on its tier.
    """
    loaded = load_catalog(catalog)
    manifest, _ = read_manifest(bundle)
    arms = arm_names(manifest)
    now = datetime.now(UTC)
    listed: list[dict[str, Any]] = []
    for entry in loaded.entries:
        model, rates = entry.at(now), entry.rates_at(now)
        ability = ability_of(model, arms.get(model.id) or arms.get(model.tier), manifest)
        listed.append(
            {
                "model": model.id,
                "provider": model.provider,
                "tier": model.tier,
                "ability": {
                    "points": ability.points,
                    "uncertainty": ability.uncertainty,
                    "source": ability.source,
                    "basis": ability.basis,
                },
                "input_usd_per_mtok": str(rates.input) if rates else None,
                "output_usd_per_mtok": str(rates.output) if rates else None,
                "cache_read_usd_per_mtok": str(rates.cache_read)
                if rates and rates.cache_read is not None
                else None,
                "context_window": model.context_window,
                "max_output_tokens": model.max_output_tokens,
                "reasoning_tokens": None if model.reasoning is None else asdict(model.reasoning),
                "exact_tokens": entry.exact_tokens,
                "capabilities": sorted(model.capabilities),
            }
        )
    if json_output:
        print_json({"price_table": loaded.price_table, "bundle": manifest.name, "models": listed})
        return
    rows = [
        [
            str(item["model"]),
            str(item["tier"]),
            _ability_text(item["ability"]),
            item["ability"]["source"],
            *(
                "unknown"
                if item[key] is None and key != "cache_read_usd_per_mtok"
                else item[key] or "–"
                for key in ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok")
            ),
            f"{item['context_window']:,}",
            _range_text(item["reasoning_tokens"]),
            "exact" if item["exact_tokens"] else "estimate",
            " ".join(item["capabilities"]),
        ]
        for item in listed
    ]
    columns = (
        "model", "tier", ">ability", "from", ">in", ">out", "?>cached", ">context", "?>reasoning", "?tokens",
        "?capabilities",
    )  # fmt: skip
    shown = console()
    shown.print(table("Models, USD per million tokens", columns, rows))
    shown.print(
        f"Ability: points on the scale of the bundle {manifest.name} ± one standard deviation; from attempts "
        "of the model's own, published scores, or its tier.",
        style="dim",
        highlight=False,
    )
    shown.print(f"Prices: {loaded.price_table}", style="dim", highlight=False)
