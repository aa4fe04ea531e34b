"""``python -m training``: the commands of a data scientist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Printed

from router.render import errors_in_one_line
from training.add_arm_command import add_arm_command
from training.compare_command import compare_command
from training.drift_command import drift_command
from training.embed_command import embed_command
from training.embedding import CACHE
from training.encoders import encoder_command
from training.evaluate_command import evaluate_command, print_report
from training.history import write_rejected
from training.import_command import import_command
from training.labels import label_counts, write_labels
from training.ladders import parse_arms
from training.options import (
    AdequateAt,
    Arms,
    AsJson,
    Cache,
    Judge,
    Price,
    SkipBadRows,
    asked_reading,
)
from training.pipeline import Fitted, Plan, fit
from training.promote_command import promote_command
from training.splitting import SEED
from training.tabulating import Reading, read_table
from training.tracking import tracking_uri

__all__ = ["app", "main"]

app = typer.Typer(
    name="training",
    help="From histories of attempts to a bundle that routes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("evaluate")(evaluate_command)
app.command("compare")(compare_command)
app.command("promote")(promote_command)
app.command("add-arm")(add_arm_command)
app.command("embed")(embed_command)
app.command("encoder")(encoder_command)
app.command("drift")(drift_command)
app.command("import")(import_command)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


@app.command("label")
def label_command(
    history: Annotated[list[Path], typer.Option(help="Parquet, JSONL or CSV; repeatable.")],
    out: Annotated[Path, typer.Option(help="Where the labels go: .parquet, .jsonl or .csv.")],
    arms: Arms = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Label each prompt with the cheapest arm that handled it adequately."""
    asked = Reading(
        arms=parse_arms(arms) if arms is not None else None,
        judge=judge,
        adequate_at=adequate_at,
        skip_bad_rows=skip_bad_rows,
        need_prices=False,
    )
    table = read_table(history, asked)
    write_labels(table.outcomes, out)
    for name, rejected in table.rejected.items():
        write_rejected(rejected, out.with_name(f"{out.stem}-rejected-{name}.jsonl"))
    counts = label_counts(table.outcomes)
    if as_json:
        _print_json({"labels": counts, "out": out, "notes": table.notes})
        return
    printed = Printed("label", "prompts", "share")
    for name, count in counts.items():
        printed.add_row(name, f"{count:,}", f"{count / len(table.outcomes):.1%}")
    console = Console()
    console.print(printed)
    _print_notes(console, table.notes)
    console.print(f"labels: {out}", highlight=False, markup=False, soft_wrap=True)


def _print_notes(console: Console, notes: tuple[str, ...]) -> None:
    for note in notes:
        console.print(f"note: {note}", highlight=False, markup=False)


def _summary(made: Fitted, tracking: str | None) -> Mapping[str, object]:
    return {
        "bundle": str(made.out),
        "name": made.manifest.name,
        "demonstration": made.manifest.demonstration,
        "mlflow_run_id": made.manifest.mlflow_run_id,
        "mlflow": tracking,
        "registered_version": made.registered,
        "notes": made.notes,
        "seconds": made.seconds,
        "report": made.report,
    }


@app.command("fit")
def fit_command(
    out: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    history: Annotated[
        list[Path] | None,
        typer.Option(
            help="Parquet, JSONL or CSV; repeat to pool several by tier "
            "(default: a made-up demonstration history)."
        ),
    ] = None,
    arms: Arms = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="Name of the encoder: static, multilingual, minilm …; or cascade: static first, and "
            "multilingual for the third of the prompts where it would change most."
        ),
    ] = "static",
    price: Price = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of the split, folds and intervals.")
    ] = SEED,
    holdout: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the prompts held out.")
    ] = 0.2,
    name: Annotated[str | None, typer.Option(help="Name of the bundle.")] = None,
    skip_bad_rows: SkipBadRows = False,
    cache: Cache = CACHE,
    no_neighbours: Annotated[
        bool,
        typer.Option("--no-neighbours", help="Keep no vectors of training prompts in the bundle."),
    ] = False,
    no_mlflow: Annotated[bool, typer.Option("--no-mlflow", help="Track nothing.")] = False,
    mlflow_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            help="MLflow's address (default: $MLFLOW_TRACKING_URI, else SQLite under build/).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a bundle: label, split, encode, fit, calibrate, evaluate, export, track."""
    progress, console = Console(stderr=True), Console()
    if not history:
        progress.print(
            "[bold yellow]DEMONSTRATION[/]: no --history was given, so the bundle is trained on made-up "
            "attempts of made-up models. Do not route real prompts with it."
        )
    tracking = None if no_mlflow else tracking_uri(mlflow_uri)
    plan = Plan(
        histories=tuple(history or ()),
        out=out,
        encoder=encoder,
        reading=asked_reading(arms, judge, adequate_at, price, skip_bad_rows),
        name=name,
        seed=seed,
        holdout=holdout,
        cache=cache,
        tracking=tracking,
        neighbours=not no_neighbours,
    )
    made = fit(plan, progress)
    if as_json:
        _print_json(_summary(made, tracking))
        return
    print_report(made.report, console)
    _print_notes(console, made.notes)
    lines = [
        f"trained on {sum(made.manifest.languages.values()):,} prompts, judged on "
        f"{made.report['n_prompts']:,} held-out ones, in {sum(made.seconds.values()):.1f} s",
        f"bundle: {out}" + (" (DEMONSTRATION)" if made.manifest.demonstration else ""),
    ]
    if tracking is not None:
        lines.append(
            f"MLflow: run {made.manifest.mlflow_run_id}, mitsumori version {made.registered}, "
            f"{tracking} (`make mlflow`)"
        )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def main() -> None:
    """Run a command; an error of ours is one line on stderr and exit code 2, with no traceback."""
    with errors_in_one_line():
        app()
