"""``python -m training fit``: train a bundle on histories, and evaluate it on held-out prompts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.commands.options import (
    AdequateAt,
    Arms,
    AsJson,
    Cache,
    Judge,
    Price,
    SkipBadRows,
    TrackingUri,
    asked_reading,
)
from training.commands.outputs import print_json, print_notes
from training.commands.report_tables import print_report
from training.encoders.embedding import CACHE
from training.histories.split import SEED
from training.pipeline.training_run import TrainingResult, fit
from training.plan import TrainingPlan
from training.tracking.store import tracking_uri

__all__ = ["fit_command"]


def _summary(made: TrainingResult, tracking: str | None) -> Mapping[str, object]:
    return {
        "bundle": str(made.out),
        "name": made.manifest.name,
        "demonstration": made.manifest.demonstration,
        "mlflow_run_id": made.manifest.mlflow_run_id,
        "mlflow": tracking,
        "registered_model": made.model if made.registered is not None else None,
        "registered_version": made.registered,
        "notes": made.notes,
        "catalog": made.catalog.counts,
        "seconds": made.seconds,
        "report": made.report,
    }


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
            "multilingual for the third of the prompts whose choice is closest."
        ),
    ] = "static",
    price: Price = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=2**31 - 1, help="Seed of the split, the folds and the intervals."),
    ] = SEED,
    holdout: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of the prompts held out.")
    ] = 0.2,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the bundle (default: mitsumori-ENCODER-HISTORY, or mitsumori-demonstration)."
        ),
    ] = None,
    registered_model: Annotated[
        str | None,
        typer.Option(
            help="Name in MLflow's registry (default: mitsumori, the name that promote and serving use; "
            "mitsumori-demonstration without --history)."
        ),
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    cache: Cache = CACHE,
    no_neighbours: Annotated[
        bool,
        typer.Option("--no-neighbours", hidden=True),
    ] = False,
    no_unseen_sources: Annotated[
        bool,
        typer.Option(
            "--no-unseen-sources",
            help="Do not leave each history out in turn, which tells what to expect on other prompts and "
            "takes as long again as the fit.",
        ),
    ] = False,
    no_mlflow: Annotated[
        bool, typer.Option("--no-mlflow", help="Do not track the run in MLflow.")
    ] = False,
    mlflow_uri: TrackingUri = None,
    catalog: Annotated[
        Path | None,
        typer.Option(
            help="Catalog of the models that are going to be served (default: the one that ships)."
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
    if no_neighbours:
        progress.print(
            "--no-neighbours has no effect any more: no bundle keeps vectors of prompts."
        )
    tracking = None if no_mlflow else tracking_uri(mlflow_uri)
    plan = TrainingPlan(
        histories=tuple(history or ()),
        out=out,
        encoder=encoder,
        reading=asked_reading(arms, judge, adequate_at, price, skip_bad_rows),
        name=name,
        model=registered_model,
        seed=seed,
        holdout=holdout,
        cache=cache,
        tracking=tracking,
        unseen_sources=not no_unseen_sources,
        catalog=catalog,
    )
    made = fit(plan, progress)
    if as_json:
        print_json(_summary(made, tracking))
        return
    print_report(made.report, console)
    print_notes(console, made.notes)
    lines = [
        f"trained on {sum(made.manifest.languages.values()):,} prompts, evaluated on "
        f"{made.report['n_prompts']:,} held-out ones, in {sum(made.seconds.values()):.1f} s",
        str(made.catalog),
        f"bundle: {out}" + (" (DEMONSTRATION)" if made.manifest.demonstration else ""),
    ]
    if tracking is not None:
        lines.append(
            f"MLflow: run {made.manifest.mlflow_run_id}, {made.model} version {made.registered}, "
            f"{tracking} (see it with `make mlflow`)"
        )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
