"""Options that several commands share: each has one name and one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.histories.ladders import parse_arms, parse_prices
from training.histories.outcome_table import ReadOptions

__all__ = [
    "AdequateAt",
    "Arms",
    "AsJson",
    "Cache",
    "Encoders",
    "HtmlOut",
    "JsonOut",
    "Judge",
    "Price",
    "SkipBadRows",
    "TrackingUri",
    "asked_reading",
]

Arms = Annotated[
    str | None,
    typer.Option(
        help="NAME=MODEL,NAME=MODEL…, in ascending order of capability "
        "(default: as in training/histories/ladders.yaml, for the histories listed there)."
    ),
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--judge", help="Judge whose quality values count (default: the judge of most models)."
    ),
]
AdequateAt = Annotated[
    float | None, typer.Option(min=0, max=1, help="Quality from which an attempt is adequate.")
]
Price = Annotated[
    list[str] | None,
    typer.Option(help="NAME=IN,OUT: USD per million tokens of an arm or model; repeatable."),
]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="Skip bad rows instead of refusing the file.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
JsonOut = Annotated[
    Path | None, typer.Option("--json", help="Write the report to this file as JSON.")
]
HtmlOut = Annotated[
    Path | None, typer.Option(help="Write the report to this file as a self-contained HTML page.")
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        help="MLflow's address (default: $MLFLOW_TRACKING_URI, else SQLite under build/).",
    ),
]
Encoders = Annotated[Path, typer.Option(help="Folder of encoders.")]
Cache = Annotated[Path, typer.Option(help="Folder of cached embeddings.")]


def asked_reading(
    arms: str | None,
    judge: str | None,
    adequate_at: float | None,
    price: list[str] | None,
    skip_bad_rows: bool,
) -> ReadOptions:
    """How to read a history, from the options of a command.

    Args:
        arms: ``--arms``, unparsed; ``None`` takes the known ladder.
        judge: name of the judge whose quality values count.
        adequate_at: the adequacy threshold, 0..1.
        price: every ``--price``, unparsed.
        skip_bad_rows: whether bad rows are skipped.

    Raises:
        InvalidInput: ``--arms`` or ``--price`` cannot be read.
    """
    return ReadOptions(
        arms=parse_arms(arms) if arms is not None else None,
        judge=judge,
        adequate_at=adequate_at,
        prices=parse_prices(price or []),
        skip_bad_rows=skip_bad_rows,
    )
