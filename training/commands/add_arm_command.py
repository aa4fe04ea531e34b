"""``python -m training add-arm``: a new model gets its own arm from a few attempts, without training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as Printed

from router.paths import ENCODERS
from training.arrivals.add_arm import add_arm
from training.arrivals.arm_plan import ArmPlan, parse_arm
from training.commands.options import AdequateAt, Cache, Encoders, Judge, Price, SkipBadRows
from training.commands.outputs import write_json, write_whole
from training.encoders.embedding import CACHE
from training.histories.ladders import parse_prices
from training.histories.outcome_table import ReadOptions
from training.histories.split import SEED
from training.pages.arrival_page import arrival_page

__all__ = ["add_arm_command"]


def _sided(found: Mapping[str, float]) -> str:
    """A mean and half the width of its interval: both ends do not fit into eighty columns."""
    return f"{found['mean']:z.2f} ±{(found['high'] - found['low']) / 2:.2f}"


def _steps(arm: str, report: Mapping[str, Any]) -> Printed:
    made = Printed(
        title=f"{arm}, tier {report['tier']}: the estimate by number of attempts (± 90 %)",
        title_justify="left",
        header_style="bold",
        box=SIMPLE_HEAD,
    )
    for name in ("attempts", "P(adequate)", "shift", "slope", "loss arm / tier / base"):
        made.add_column(name, justify="right", no_wrap=True)
    for step in report["steps"]:
        loss = step["log_loss"]
        made.add_row(
            f"{step['attempts']:,}",
            *(_sided(step[name]) for name in ("p_adequate", "shift", "slope")),
            "–"
            if loss is None
            else " / ".join(f"{loss[name]:.3f}" for name in ("arm", "tier", "base_rate")),
        )
    return made


def _length(found: Mapping[str, Any]) -> str:
    if "coverage_p90" not in found:
        return "output length: the tier's"
    wider = ", ".join(f"{width:.2f}" for width in found["widths"][1:])
    return (
        f"output length: {math.exp(found['shift']):.2f} times the tier's, distances to p90 and p99 "
        f"{wider} times; the p90 covered {found['coverage_p90']:.0%} of later answers, the tier's "
        f"{found['tier_coverage_p90']:.0%}"
    )


def _print(arm: str, report: Mapping[str, Any], out: Path, console: Console) -> None:
    console.print(_steps(arm, report))
    lines = [
        "P(adequate): mean over typical prompts; loss: mean log-loss of the attempts so far, in nats, each "
        "predicted before the arm learnt from it",
        _length(report["length"]),
        *(f"note: {note}" for note in report["notes"]),
        f"bundle: {out}",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def add_arm_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle that gets the arm.")],
    history: Annotated[
        list[Path],
        typer.Option(help="History with attempts of the model: Parquet, JSONL, CSV; repeatable."),
    ],
    arm: Annotated[
        str,
        typer.Option(help="NAME=MODEL: its id in the catalog, and its name in the history."),
    ],
    tier: Annotated[
        str, typer.Option(help="Arm of the bundle to start from, such as the arm of its tier.")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the new bundle.")],
    after: Annotated[
        str | None,
        typer.Option(help="Arm that it follows in capability (default: that of --tier)."),
    ] = None,
    price: Price = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**31 - 1, help="Seed of the order of attempts and of the samples."
        ),
    ] = SEED,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file as JSON.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the report to this file as a self-contained HTML page."),
    ] = None,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
) -> None:
    """Give a new model its own arm from ten or more attempts, by a Bayesian update of its tier's head.

    Nothing is trained, and the predictions for other arms do not change. The report shows how the uncertainty
    falls with the number of attempts. A model without attempts does not need this command: the catalog gives
    it a tier, and it is routed by that tier's arm.
    """
    name, model = parse_arm(arm)
    arrival = ArmPlan(
        bundle=bundle,
        histories=history,
        arm=name,
        model=model,
        tier=tier,
        out=out,
        after=after,
        reading=ReadOptions(
            judge=judge,
            adequate_at=adequate_at,
            prices=parse_prices(price or []),
            skip_bad_rows=skip_bad_rows,
        ),
        seed=seed,
        encoders=encoders,
        cache=cache,
    )
    added = add_arm(arrival, Console(stderr=True))
    if json_out is not None:
        write_json({"arm": name, **added.report}, json_out)
    if html is not None:
        write_whole(arrival_page(name, added.report), html, "html")
    _print(name, added.report, out, Console())
