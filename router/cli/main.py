"""The command ``mitsumori``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from mitsumori import Router, Usd
from mitsumori.request import Importance
from router import __version__
from router.catalog.catalog import load_catalog
from router.cli.commands import accounts_command, limits_command, quote_command, settle_command
from router.cli.commands.arguments import goal_of, labels_of
from router.cli.commands.replay_command import replay_command
from router.cli.doctor import examine
from router.cli.render import as_dict, errors_in_one_line, print_json, print_reply, table
from router.core.money import parse_usd
from router.core.types import QualityTarget, WillingnessToPay
from router.logs import configure
from router.rpc.server import serve as run_server
from router.settings import load_settings

__all__ = ["app", "main"]

app = typer.Typer(
    name="mitsumori",
    help="Which model should answer this prompt, what will it cost, and may this caller spend that?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings.")]
BundleDir = Annotated[
    str | None,
    typer.Option(
        help="Directory of the bundle, or models:/NAME@ALIAS in a registry (default: the shipped one)."
    ),
]
RegistryUrl = Annotated[
    str | None,
    typer.Option(help="MLflow server with the bundle (default: $MLFLOW_TRACKING_URI)."),
]
EncodersDir = Annotated[
    Path | None, typer.Option(help="Folder of encoders (default: the shipped ones).")
]
CatalogFile = Annotated[Path | None, typer.Option(help="Catalog file (default: the shipped one).")]
Port = Annotated[int | None, typer.Option(help="Port (default: 50051); 0 takes a free one.")]
LedgerAddress = Annotated[
    str | None,
    typer.Option(
        help="memory:, sqlite:PATH or postgresql://… (default: sqlite in your data folder)."
    ),
]
Host = Annotated[str | None, typer.Option(help="Address (default: 127.0.0.1).")]


@app.command()
def serve(
    bundle: BundleDir = None,
    registry: RegistryUrl = None,
    reload_every_s: Annotated[
        float | None,
        typer.Option(help="Look for a changed bundle so often (default: 30); 0: only at SIGHUP."),
    ] = None,
    encoders: EncodersDir = None,
    catalog: CatalogFile = None,
    host: Host = None,
    port: Port = None,
    workers: Annotated[
        int | None, typer.Option(help="Threads that answer calls (default: 4).")
    ] = None,
    reflection: Annotated[bool | None, typer.Option(help="gRPC reflection (default: on).")] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error (default: info).")
    ] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console (default: json).")] = None,
    ledger: LedgerAddress = None,
    strict: Annotated[
        bool | None, typer.Option(help="Hold the worst case (default: the 90th percentile).")
    ] = None,
    config: Config = None,
) -> None:
    """Serve Route over gRPC until SIGTERM, then finish the calls in flight.

    Every setting can also stand in the file or in the environment, as MITSUMORI_PORT and so on.
    """
    settings = load_settings(
        config=config,
        bundle=bundle,
        registry=registry,
        reload_every_s=reload_every_s,
        encoders=encoders,
        catalog=catalog,
        host=host,
        port=port,
        workers=workers,
        reflection=reflection,
        log_level=log_level,
        log_format=log_format,
        ledger=ledger,
        strict=strict,
    )
    configure(settings.log_level, settings.log_format)
    run_server(settings, on_ready=lambda address: print(f"serving on {address}", flush=True))  # noqa: T201


@app.command()
def route(
    prompt: Annotated[str, typer.Argument(help="The prompt; - reads it from standard input.")],
    server: Annotated[
        str, typer.Option(envvar="MITSUMORI_SERVER", help="host:port of the server.")
    ] = "127.0.0.1:50051",
    quality_target: Annotated[
        float | None, typer.Option(help="P(adequate) to reach, 0 to 1.")
    ] = None,
    willingness_to_pay: Annotated[
        str | None, typer.Option(help="What an adequate answer is worth, USD.")
    ] = None,
    importance: Annotated[
        Importance, typer.Option(help="What a wrong answer would cost.")
    ] = "medium",
    model: Annotated[
        list[str] | None, typer.Option(help="Allow only this model; repeatable.")
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option(help="Allow only this tier; repeatable.")
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option(help="Require this capability; repeatable.")
    ] = None,
    max_price: Annotated[str | None, typer.Option(help="Most USD at the 90th percentile.")] = None,
    max_latency: Annotated[
        float | None, typer.Option(help="Most seconds at the 90th percentile.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Most output tokens that will be asked for.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Who asks, as team=search; repeatable.")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Repeat it to get the same answer again.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for the whole call.", min=0.001)] = 5.0,
    json_output: Json = False,
) -> None:
    """Ask a running server which model should answer a prompt, and at what price."""
    text = sys.stdin.read() if prompt == "-" else prompt
    goal = goal_of(quality_target, willingness_to_pay)
    with Router(server, timeout_s=timeout) as client:
        reply = client.route(
            text,
            scope=labels_of(scope, "--scope"),
            models=model or (),
            tiers=tier or (),
            capabilities=capability or (),
            max_price_usd=None
            if max_price is None
            else Usd(parse_usd(max_price, field="--max-price")),
            max_latency_s=max_latency,
            max_output_tokens=max_output_tokens,
            quality_target=goal.p_adequate if isinstance(goal, QualityTarget) else None,
            willingness_to_pay_usd=Usd(goal.nanos) if isinstance(goal, WillingnessToPay) else None,
            importance=importance,
            request_id=request_id,
        ).message
    if json_output:
        print_json(as_dict(reply))
    else:
        print_reply(reply)


def _range_text(quantiles: dict[str, float] | None) -> str:
    """Median and 90th percentile of the reasoning that a model's quotes allow for."""
    return "–" if quantiles is None else f"{quantiles['p50']:,.0f}–{quantiles['p90']:,.0f}"


@app.command()
def models(catalog: CatalogFile = None, json_output: Json = False) -> None:
    """List the models that can be chosen, with today's prices."""
    loaded = load_catalog(catalog)
    now = datetime.now(UTC)
    listed: list[dict[str, Any]] = []
    for entry in loaded.entries:
        model, rates = entry.at(now), entry.rates_at(now)
        listed.append(
            {
                "model": model.id,
                "provider": model.provider,
                "tier": model.tier,
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
        print_json({"price_table": loaded.price_table, "models": listed})
        return
    rows = [
        [
            str(item["model"]),
            str(item["tier"]),
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
        "model", "tier", ">in", ">out", "?>cached", ">context", "?>reasoning", "?tokens", "?capabilities",
    )  # fmt: skip
    console = Console()
    console.print(table("Models, USD per million tokens", columns, rows, width=console.width))
    console.print(f"Prices: {loaded.price_table}", style="dim", highlight=False)


@app.command()
def doctor(
    bundle: BundleDir = None,
    registry: RegistryUrl = None,
    encoders: EncodersDir = None,
    catalog: CatalogFile = None,
    host: Host = None,
    port: Port = None,
    config: Config = None,
    json_output: Json = False,
) -> None:
    """Check bundle, hashes, tokenizer files, prices and port, and say what to do.

    Leaves with code 1 if any check fails.
    """
    settings = load_settings(
        config=config,
        bundle=bundle,
        registry=registry,
        encoders=encoders,
        catalog=catalog,
        host=host,
        port=port,
    )
    checks = list(examine(settings))
    if json_output:
        print_json([{"check": c.name, "ok": c.ok, "detail": c.detail} for c in checks])
    else:
        console = Console()
        for check in checks:
            mark = "[green]ok  [/green]" if check.ok else "[red]FAIL[/red]"
            console.print(f"{mark} {check.name:<10}", end=" ")
            console.print(check.detail, highlight=False, markup=False, soft_wrap=True)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)  # noqa: T201


for _command in (
    quote_command.quote,
    settle_command.settle,
    settle_command.release,
    accounts_command.usage,
    accounts_command.decisions,
    accounts_command.corrections,
    accounts_command.erase,
    accounts_command.backup,
):
    app.command()(_command)
app.command("replay")(replay_command)
app.add_typer(limits_command.limits_app, name="limits")


def main() -> None:
    """Run the command; our own errors are one line on standard error and exit code 2."""
    with errors_in_one_line():
        app()
