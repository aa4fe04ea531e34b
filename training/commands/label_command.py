"""``python -m training label``: the cheapest arm that handled each prompt adequately."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Printed

from training.commands.options import AdequateAt, Arms, AsJson, Judge, SkipBadRows
from training.commands.outputs import print_json, print_notes
from training.histories.history import write_rejected
from training.histories.labels import label_counts, write_labels
from training.histories.ladders import parse_arms
from training.histories.outcome_table import ReadOptions, read_table

__all__ = ["label_command"]


def label_command(
    history: Annotated[list[Path], typer.Option(help="Parquet, JSONL or CSV; repeatable.")],
    out: Annotated[Path, typer.Option(help="File for the labels: .parquet, .jsonl or .csv.")],
    arms: Arms = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    as_json: AsJson = False,
) -> None:
    """Label each prompt with the cheapest arm that handled it adequately."""
    asked = ReadOptions(
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
        print_json({"labels": counts, "out": out, "notes": table.notes})
        return
    printed = Printed("label", "prompts", "share")
    for name, count in counts.items():
        printed.add_row(name, f"{count:,}", f"{count / len(table.outcomes):.1%}")
    console = Console()
    console.print(printed)
    print_notes(console, table.notes)
    console.print(f"labels: {out}", highlight=False, markup=False, soft_wrap=True)
