"""``mitsumori replay``: what another bundle or policy would have made of logged decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from router.catalog.catalog import load_catalog
from router.classifier.bundle import load_bundle
from router.cli.commands.arguments import Against, Json, goal_of
from router.cli.render import console, print_json, savings_lines, table
from router.clock import utc_now
from router.core.off_policy import RESAMPLES, Interval
from router.core.plurals import counted
from router.core.types import TARGET_REGRET
from router.decision_log.reader import LogRow, read_log
from router.decision_log.replay import OUTCOMES, ReplayPolicy, ReplayReport, replay
from router.paths import DEFAULT_BUNDLE, ENCODERS

__all__ = ["replay_command"]


def _watched(log: str) -> Iterator[LogRow]:
    columns = (SpinnerColumn(), TextColumn("replaying {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replaying", total=None)
        for row in read_log(log):
            yield row
            progress.advance(task)


def _as_dict(report: ReplayReport, version: str, seed: int) -> dict[str, Any]:
    moves = sorted(report.moves.items(), key=lambda one: (-one[1], one[0]))
    return {
        "bundle": version,
        "read": report.read,
        "replayed": report.replayed,
        "left_out": dict(report.left_out),
        "estimates": {name: asdict(found) for name, found in report.estimates.items()},
        "overlap": {**asdict(report.overlap), "thin": report.overlap.thin},
        "moves": [{"logged": old, "new": new, "decisions": n} for (old, new), n in moves],
        "cautions": list(report.cautions),
        "notes": list(report.notes),
        "savings": asdict(report.savings),
        "resamples": RESAMPLES,
        "seed": seed,
    }


def _cell(name: str, found: Interval | None, *, signed: bool = False) -> str:
    if found is None:
        return "unknown"
    form = ".3g" if name == "cost_usd" else ".3f"
    # Below a thousandth of a nano-dollar there is only the noise of floats. `or 0.0`: no minus before a zero.
    value, low, high = (round(x, 12) or 0.0 for x in (found.value, found.low, found.high))
    return f"{value:{'+' if signed and value else ''}{form}} ({low:{form}} … {high:{form}})"


def _print(report: ReplayReport, version: str, log: str) -> None:
    shown = console()
    names = {"quality": "mean quality", "adequate": "adequate share", "cost_usd": "mean cost, USD"}
    rows = []
    for name in OUTCOMES:
        found = report.estimates[name]
        cells = (found.logged, found.ips, found.snips, found.dr)
        rows.append(
            [
                names[name],
                *(_cell(name, each) for each in cells),
                _cell(name, found.difference, signed=True),
            ]
        )

    def write(lines: list[str]) -> None:
        for line in lines:
            shown.print(line, highlight=False, markup=False, soft_wrap=True)

    write([f"caution: {line}" for line in report.cautions])
    columns = ("", ">logged policy", ">new: ips", ">new: snips", ">new: dr", ">dr − logged")
    shown.print(table(f"Replay of {log} with {version} (95 % intervals)", columns, rows))
    known = report.overlap
    lines = [
        f"{report.replayed:,} of {counted(report.read, 'decision')} replayed, "
        f"{counted(known.groups, 'distinct prompt')}",
        f"agreement {known.agreement:.1%}, effective decisions {known.effective:,.0f}, mean weight "
        f"{known.mean_weight:.2f}, largest weight {known.largest_share:.1%} of all",
    ]
    moves = sorted(report.moves.items(), key=lambda one: (-one[1], one[0]))
    lines += [f"moved: {old} → {new}: {count:,}" for (old, new), count in moves[:5]]
    lines += [f"note: {line}" for line in report.notes]
    write([*lines, *savings_lines(report.savings)])


def replay_command(
    log: Annotated[
        str,
        typer.Argument(
            help="The decision log: sqlite:PATH, postgresql://…, or a file of `decisions --out`."
        ),
    ],
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle to try.")] = DEFAULT_BUNDLE,
    catalog: Annotated[
        Path | None,
        typer.Option(
            help="Compute new quotes at this catalog's prices (default: the logged quotes)."
        ),
    ] = None,
    miss_cost: Annotated[
        str | None,
        typer.Option(
            help="Goal: the least expected cost, where an inadequate answer costs this, USD (default: each "
            "decision's own goal)."
        ),
    ] = None,
    quality_target: Annotated[
        float | None, typer.Option(min=0, max=1, help="Goal: P(adequate) to reach.")
    ] = None,
    target_regret: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Where no model reaches it: take the cheapest at most this much below the best.",
        ),
    ] = TARGET_REGRET,
    willingness_to_pay: Annotated[
        str | None, typer.Option(help="Goal: what an adequate answer is worth, USD.")
    ] = None,
    always: Against = "",
    encoders: Annotated[Path, typer.Option(help="Directory of the encoders.")] = ENCODERS,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the bootstrap.")] = 0,
    json_output: Json = False,
) -> None:
    """Estimate what another bundle or policy would have achieved on logged decisions.

    Every logged decision is made again. Mean quality, share of adequate answers and mean cost of the
    new policy are estimated by ips, snips and dr, and shown beside the actual figures of the logged
    policy. A warning says when the log has too little data for an estimate. Where a share of the
    decisions was left to chance, it also says what the choices saved against a single model.
    """
    goal = goal_of(quality_target, willingness_to_pay, miss_cost, target_regret=target_regret)
    loaded = load_bundle(bundle, encoders)
    known = load_catalog(catalog)
    policy = ReplayPolicy(
        bundle=loaded,
        tiers={entry.spec.id: entry.spec.tier for entry in known.entries},
        goal=goal,
        catalog=known if catalog is not None else None,
        moment=utc_now(),
        single=always,
    )
    if always:
        known.check_known("--always", [always], known.ids)
    report = replay(_watched(log), policy, seed=seed)
    if json_output:
        print_json(_as_dict(report, loaded.version, seed))
        return
    _print(report, loaded.version, log if "://" not in log else "the ledger")
