"""``python -m training add-arm``: a new model gets a place on the scale of a bundle, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Printed

from router.paths import ENCODERS
from training.arrivals.arrival import place_model
from training.arrivals.arrival_plan import ArrivalPlan, parse_arm
from training.commands.options import (
    AdequateAt,
    Cache,
    Encoders,
    HtmlOut,
    JsonOut,
    Judge,
    SkipBadRows,
)
from training.commands.outputs import print_notes, write_json, write_whole
from training.encoders.embedding import CACHE
from training.histories.split import SEED
from training.pages.arrival_page import WAYS, arrival_page, place_words

__all__ = ["add_arm_command"]


def _table(report: Mapping[str, Any]) -> Printed:
    checked = report["cross_validation"]
    made = Printed(
        title=f"its attempts, each predicted without a fifth of them ({checked['real']:.1%} adequate)",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
    )
    made.add_column("served", no_wrap=True)
    for name in ("log-loss", "ECE", "mean P"):
        made.add_column(name, justify="right", no_wrap=True)
    for way, words in WAYS.items():
        if checked[way] is not None:
            found = checked[way]
            made.add_row(
                words, *(f"{found[key]:.{digits}f}" for key, digits in
                         (("log_loss", 4), ("ece", 3), ("said", 3))),
            )  # fmt: skip
    return made


def add_arm_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle that gets the model.")],
    history: Annotated[
        list[Path],
        typer.Option(help="History with attempts of the model: Parquet, JSONL, CSV; repeatable."),
    ],
    arm: Annotated[
        str,
        typer.Option(help="NAME=MODEL: its id in the catalog, and its name in the history."),
    ],
    tier: Annotated[str, typer.Option(help="The tier that it is expected to be of.")],
    out: Annotated[Path, typer.Option(help="Directory of the new bundle.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Place a model anew that the bundle places already.")
    ] = False,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the folds.")] = SEED,
    json_out: JsonOut = None,
    html: HtmlOut = None,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
) -> None:
    """Place a new model on a bundle's scale of ability, from ten or more judged attempts.

    Nothing is trained: the classifier stays as it is, and so does what it says of other models. Attempts of
    models that the bundle knows, at the same prompts, tell how strict the judge is. A model without
    attempts does not need this command: the catalog gives it a tier, and it is routed as its tier.
    """
    name, model = parse_arm(arm)
    plan = ArrivalPlan(
        bundle=bundle,
        histories=history,
        name=name,
        model=model,
        tier=tier,
        out=out,
        judge=judge,
        adequate_at=adequate_at,
        skip_bad_rows=skip_bad_rows,
        replace=replace,
        seed=seed,
        encoders=encoders,
        cache=cache,
    )
    made = place_model(plan, Console(stderr=True))
    if json_out is not None:
        write_json({"arm": name, **made.report}, json_out)
    if html is not None:
        write_whole(arrival_page(name, made.report), html, "html")
    console = Console()
    console.print(
        f"{name}: {place_words(made.report)}", highlight=False, markup=False, soft_wrap=True
    )
    console.print(_table(made.report))
    print_notes(console, made.report["notes"])
    console.print(f"bundle: {out}", highlight=False, markup=False, soft_wrap=True)
