"""``python -m training abilities``: every model of some histories on one scale of ability."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from training.commands.options import AdequateAt, AsJson, Judge, SkipBadRows
from training.commands.outputs import print_json, write_whole
from training.histories.history import check_files, read_history
from training.histories.ladders import standard_of
from training.histories.outcome_table import named_apart
from training.scale.ability import Scale
from training.scale.known_abilities import abilities_csv
from training.scale.placement import fit_histories

__all__ = ["abilities_command"]


def abilities_command(
    history: Annotated[
        list[Path], typer.Option(help="History: Parquet, JSONL or CSV; repeatable.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the abilities to this file as CSV.")
    ] = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Place the models of histories on the scale of ability: 0 is Llama-3.1-8B, 100 Gemini 2.5 Pro."""
    progress = Console(stderr=True)
    check_files(history)
    histories = named_apart([read_history(path, skip_bad_rows=skip_bad_rows) for path in history])
    standards = [standard_of(one, adequate_at=adequate_at, judge=judge) for one in histories]
    with progress.status("placing models and prompts"):
        scale, found, _ = fit_histories(histories, standards)
    if out is not None:
        write_whole(abilities_csv(scale), out, "out")
    if as_json:
        print_json(
            {
                "abilities": {
                    model: {
                        "points": one.points,
                        "uncertainty": one.uncertainty,
                        "attempts": one.attempts,
                        "histories": list(one.histories),
                    }
                    for model, one in scale.abilities.items()
                },
                "discrimination": scale.discrimination,
                "strictness": scale.strictness,
                "log_loss": scale.log_loss,
            }
        )
        return
    table = Table(title="Abilities")
    table.add_column("model", overflow="fold")
    for name in ("points", "sd", "attempts"):
        table.add_column(name, justify="right")
    table.add_column("histories", overflow="fold")
    for model, one in sorted(scale.abilities.items(), key=lambda item: -item[1].points):
        cells = (f"{one.points:.0f}", f"{one.uncertainty:.0f}", f"{one.attempts:,}")
        table.add_row(model, *cells, ", ".join(one.histories))
    console = Console()
    console.print(table)
    console.print(
        f"{len(scale.abilities)} models, {len(found.adequate):,} attempts at {found.prompts:,} prompts; "
        f"log-loss of an attempt {scale.log_loss:.3f}",
        highlight=False,
    )
    console.print(_what_sd_means(scale), highlight=False, soft_wrap=True)


def _what_sd_means(scale: Scale) -> str:
    shared = any(len(one.histories) > 1 for one in scale.abilities.values())
    how = "as measured here" if shared else "as measured over the histories of the shipped bundles"
    why = "" if shared else ", for no model is in two of these: one history tells little of others"
    return (
        "sd: standard deviation of the points, on any work: what the attempts leave open, and how much "
        f"better or worse models do in one history than in others, {how}{why}"
    )
