"""``mitsumori models``: the models of the catalog, their prices today, and their abilities."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mitsumori.v1 import admin_pb2
from router.catalog.catalog import load_catalog
from router.classifier.manifest import read_manifest
from router.cli.commands.arguments import Json
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import console, print_json, table
from router.clock import utc_now
from router.core.errors import InvalidInput
from router.paths import DEFAULT_BUNDLE
from router.rpc.messages.models import models_response

__all__ = ["models"]


CatalogFile = Annotated[Path | None, typer.Option(help="Catalog file (default: the shipped one).")]


def _range_text(quantiles: dict[str, float] | None) -> str:
    """Median and 90th percentile of the reasoning that a model's quotes allow for."""
    return "–" if quantiles is None else f"{quantiles['p50']:,.0f}–{quantiles['p90']:,.0f}"


BundleDirectory = Annotated[
    Path | None,
    typer.Option(help="Directory of the bundle that knows abilities (default: the shipped one)."),
]


def _ability_text(ability: dict[str, Any]) -> str:
    """Points with their standard deviation, as in 75 ± 10."""
    if ability["points"] is None:
        return "–"
    # Older bundles write 0 for the models of their arms.
    spread = f" ± {ability['uncertainty']:.0f}" if ability["uncertainty"] else ""
    return f"{ability['points']:.0f}{spread}"


def _speed_text(speed: dict[str, Any], kind: str) -> str:
    """Seconds to the first token, then tokens per second, as in 0.5 s + 100/s."""
    found = speed[kind]
    if found is None:
        return "–"
    return f"{found['first_token_s']:.2g} s + {found['output_tokens_per_s']:.0f}/s"


def _speed(model: admin_pb2.CatalogModel, hour: int) -> dict[str, Any]:
    catalog, learned = model.speed, model.learned_speed
    now = learned.hours[hour] if learned.hours else None
    return {
        "catalog": {
            "first_token_s": catalog.first_token_s,
            "output_tokens_per_s": catalog.output_tokens_per_s,
        },
        "learned": None
        if now is None
        else {
            "first_token_s": now.first_token_p50_s,
            "first_token_p90_s": now.first_token_p90_s,
            "output_tokens_per_s": now.output_tokens_per_s,
            "calls": learned.calls,
            "hour_utc": hour,
        },
    }


def _retirement_text(item: dict[str, Any]) -> str:
    """When a model retires, and what replaces it."""
    replaced = f" → {item['replaced_by']}" if item["replaced_by"] else ""
    return f"{item['retires'] or ''}{replaced}"


def _row(model: admin_pb2.CatalogModel, hour: int) -> dict[str, Any]:
    reasoning, ability = model.reasoning_tokens, model.ability
    return {
        "model": model.model,
        "provider": model.provider,
        "tier": model.tier,
        "ability": {
            "points": ability.points if ability.HasField("points") else None,
            "uncertainty": ability.uncertainty if ability.HasField("uncertainty") else None,
            "source": ability.source,
            "basis": ability.basis,
        },
        "input_usd_per_mtok": model.input_usd_per_mtok or None,
        "output_usd_per_mtok": model.output_usd_per_mtok or None,
        "cache_read_usd_per_mtok": model.cache_read_usd_per_mtok or None,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "reasoning_tokens": {"p50": reasoning.p50, "p90": reasoning.p90, "p99": reasoning.p99}
        if model.HasField("reasoning_tokens")
        else None,
        "speed": _speed(model, hour),
        "exact_tokens": model.exact_tokens,
        "capabilities": list(model.capabilities),
        "regions": list(model.regions),
        "retires": model.retires or None,
        "replaced_by": model.replaced_by or None,
        "health": _health(model.health) if model.HasField("health") else None,
    }


def _health(health: admin_pb2.ModelHealth) -> dict[str, Any]:
    unhealthy = health.HasField("retry_time")
    return {
        "state": admin_pb2.HealthState.Name(health.state).removeprefix("HEALTH_STATE_").lower(),
        "failures": health.failures,
        "cause": health.cause,
        "since": health.since_time.ToJsonString() if unhealthy else None,
        "retry": health.retry_time.ToJsonString() if unhealthy else None,
    }


def _tell_health(listed: list[dict[str, Any]], shown: Console) -> None:
    """Say which models decisions leave out, or that there are none."""
    failing = [each for each in listed if each["health"] and each["health"]["state"] != "healthy"]
    if not failing and listed and listed[0]["health"]:
        shown.print("Health: calls to every model succeed, as far as was reported.", style="dim")
    for each in failing:
        health = each["health"]
        retry = (health["retry"] or "")[: len("2026-11-27T09:35:26")]
        again = f", tried again from {retry}Z" if retry else ""
        shown.print(
            f"{health['state']}: {each['model']}, {health['cause']}{again}",
            style="bold",
            highlight=False,
        )


@takes_connection(admin=True, only_named=True)
def models(
    connection: Connection,
    catalog: CatalogFile = None,
    bundle: BundleDirectory = None,
    json_output: Json = False,
) -> None:
    """List the models that can be chosen, with today's prices, their ability and speed.

    An ability is in points on the scale of the bundle. It rests on a model's own attempts, on published
    scores of the catalog, or on its tier. A speed is the time to the first token, then tokens per second:
    by the catalog, and by the settled calls of a server at this hour of the day. With --server, models that
    fail are named, with the reason.
    """
    if connection.address:
        if catalog is not None or bundle is not None:
            raise InvalidInput(
                "--server has a catalog and a bundle of its own; leave the others out"
            )
        with connection.admin() as client:
            reply = client.models()
    else:
        manifest, version = read_manifest(bundle or DEFAULT_BUNDLE)
        reply = models_response(load_catalog(catalog), manifest, version, utc_now(), {})
    hour = utc_now().hour
    listed = [_row(model, hour) for model in reply.models]
    if json_output:
        print_json(
            {
                "price_table": reply.price_table_version,
                "bundle": reply.bundle_version,
                "models": listed,
            }
        )
        return
    learned = any(item["speed"]["learned"] for item in listed)
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
            _speed_text(item["speed"], "catalog"),
            *([_speed_text(item["speed"], "learned")] if learned else []),
            "exact" if item["exact_tokens"] else "estimate",
            " ".join(item["capabilities"]),
            " ".join(item["regions"]),
            _retirement_text(item),
        ]
        for item in listed
    ]
    columns = (
        "model", "tier", ">ability", "from", ">in", ">out", "?>cached", ">context", "?>reasoning",
        "?>speed", *([">learned speed"] if learned else []), "?tokens", "?capabilities", "?regions",
        "?retires",
    )  # fmt: skip
    shown = console()
    shown.print(table("Models, USD per million tokens", columns, rows))
    shown.print(
        f"Ability: points on the scale of the bundle {reply.bundle_version} ± one standard deviation; from "
        "attempts of the model's own, published scores, or its tier.",
        style="dim",
        highlight=False,
    )
    if learned:
        shown.print(
            "Learned speed: by settled calls, at this hour of the day.",
            style="dim",
            highlight=False,
        )
    _tell_health(listed, shown)
    shown.print(f"Prices: {reply.price_table_version}", style="dim", highlight=False)
