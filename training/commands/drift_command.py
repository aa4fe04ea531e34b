"""``python -m training drift``: compare recent traffic with training data, and predictions with outcomes.

Exits with code 0 where nothing drifted, with :data:`DRIFTED` where something did, with 2 on an error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.features.lexical import FEATURES, SCRIPTS
from router.core.errors import InvalidInput, MitsumoriError
from router.paths import DEFAULT_BUNDLE, ENCODERS
from training.commands.options import AsJson, Cache, Encoders
from training.drift.decision_log import read_recent
from training.drift.drift_report import ALPHA, DriftReport, drift
from training.drift.traffic import Traffic, of_bundle, of_training
from training.encoders.embedding import CACHE
from training.evaluation.evaluation_report import json_ready
from training.histories.split import SEED
from training.pages.plots import GRID, INK, MUTED, PALETTE

__all__ = ["DRIFTED", "drift_command", "drift_figure"]

DRIFTED = 3
"""Exit code where something drifted, so that a scheduled job can tell it from an error."""
SAMPLE = 2000


def _promised(bundle: Bundle) -> dict[str, float]:
    """By arm, the excess of the ECE over its floor on held-out prompts, at least 0."""
    arms = bundle.manifest.metrics.get("arms", {})
    found = {}
    for name, figures in arms.items():
        error, floor = figures.get("ece"), figures.get("ece_floor")
        if error is not None and floor is not None:
            found[name] = max(float(error) - float(floor), 0.0)
    return found


# --- Output -------------------------------------------------------------------------------------


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}"


def _findings(report: DriftReport) -> Table:
    made = Table(
        title=f"Drift (probability of a false alarm: {report.alpha:.0%})",
        title_justify="left",
        header_style="bold",
    )
    for name in ("what", "measure"):
        made.add_column(name, no_wrap=True)
    for name in ("value", "threshold", "corrected p"):
        made.add_column(name, justify="right")
    made.add_column("drifted")
    for one in report.findings:
        made.add_row(
            one.what,
            one.measure,
            f"{one.value:.3f}",
            f"{one.bound:.3f}",
            _p(one.p_value),
            "[bold red]yes[/]" if one.drifted else "no",
        )
    return made


def _calibration(report: DriftReport) -> Table:
    made = Table(
        title="Predictions and outcomes", title_justify="left", header_style="bold"
    )  # fmt: skip
    made.add_column("arm, week", no_wrap=True)
    for name in ("outcomes", "predicted", "adequate", "ECE", "floor", "excess in training"):
        made.add_column(name, justify="right")
    for arm, whole in report.calibration.items():
        for name, one in ((arm, whole), *((f"  {w}", o) for w, o in report.weeks[arm].items())):
            made.add_row(
                name,
                f"{one.n:,}",
                f"{one.promised:.3f}",
                f"{one.observed:.3f}",
                f"{one.ece:.3f}",
                f"{one.floor:.3f}",
                f"{report.promised_excess.get(arm, 0.0):.3f}" if name == arm else "",
                style="bold" if name == arm else None,
            )
    return made


def _print(report: DriftReport, notes: list[str], console: Console) -> None:
    console.print(_findings(report))
    if report.calibration:
        console.print(_calibration(report))
    lines = []
    for one in report.findings:
        if one.drifted:
            lines += [f"drifted: {one.what}: {one.words}", f"  do: {one.remedy}"]
    if not lines and not report.undecided:
        lines = ["no drift found"]
    lines += [f"not tested: {line}" for line in report.untold]
    lines += [f"note: {line}" for line in notes]
    if report.undecided:
        lines.append(
            "undecided: nothing could be compared, so drift is neither found nor ruled out"
        )
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


# --- Picture -----------------------------------------------------------------------------------

_OLD, _NEW = PALETTE[0], PALETTE[1]
_STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 10,
    "legend.frameon": False,
}


def _sizes(axes: Axes, report: DriftReport) -> None:
    names = [one.what for one in report.findings]
    share = [
        max(one.value - 0.5, 0) / (one.bound - 0.5)
        if one.measure == "AUC"
        else max(one.value, 0) / one.bound
        for one in report.findings
    ]
    colours = [PALETTE[5] if one.drifted else PALETTE[7] for one in report.findings]
    axes.barh(names, share, color=colours)
    axes.axvline(1.0, color=INK, linewidth=1, linestyle=":")
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.set_title("Size of each difference, 1 = threshold")


def _lengths(axes: Axes, reference: Traffic, recent: Traffic) -> None:
    column = FEATURES.index("log_characters")
    sides = [np.expm1(side.features[:, column]) + 1 for side in (reference, recent)]
    bins = np.logspace(0, np.log10(max(max(map(np.max, sides)), 10)), 30)
    for values, colour, name in zip(sides, (_OLD, _NEW), ("training", "recent"), strict=True):
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, bins.tolist(), weights=weights, histtype="step", color=colour, label=name)
    axes.set_xscale("log")
    axes.set_title("Length, characters")
    axes.legend()


def _scripts(axes: Axes, reference: Traffic, recent: Traffic) -> None:
    for offset, side, colour in ((-0.2, reference, _OLD), (0.2, recent, _NEW)):
        if len(side.scripts):
            share = np.bincount(side.scripts, minlength=len(SCRIPTS)) / len(side.scripts)
            axes.barh(np.arange(len(SCRIPTS)) + offset, share, 0.4, color=colour)
    axes.set_yticks(range(len(SCRIPTS)), SCRIPTS)
    axes.invert_yaxis()
    axes.set_title("Script, share of prompts")


def _promises(axes: Axes, report: DriftReport) -> None:
    weeks = sorted({week for found in report.weeks.values() for week in found})
    for place, (arm, found) in enumerate(report.weeks.items()):
        colour = PALETTE[place % len(PALETTE)]
        at = [weeks.index(week) for week in found]
        axes.plot(at, [one.promised for one in found.values()], "--", color=colour, linewidth=1)
        axes.plot(at, [one.observed for one in found.values()], "o-", color=colour, label=arm)
    axes.set_xticks(range(len(weeks)), weeks, rotation=45)
    axes.set_ylim(0, 1)
    axes.set_title("Adequate by week (dashed: predicted)")
    if weeks:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "too few dated outcomes", ha="center", transform=axes.transAxes)


def drift_figure(report: DriftReport, reference: Traffic, recent: Traffic) -> Figure:
    """Sizes of the differences, lengths, scripts, and predictions and outcomes by week."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(11, 7), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(2, 2)
        for each in axes.flat:
            each.grid(visible=True, color=GRID, linewidth=0.8)
            each.set_axisbelow(True)
        _sizes(axes[0, 0], report)
        if len(reference.features) and len(recent.features):
            _lengths(axes[0, 1], reference, recent)
        _scripts(axes[1, 0], reference, recent)
        _promises(axes[1, 1], report)
    return figure


def _save(figure: Figure, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=150, format="png")
    except OSError as error:
        raise MitsumoriError(
            f"{target} cannot be written ({error.strerror}); name another file with --plot",
            reason="NOT_WRITABLE",
            field="plot",
        ) from None


# --- The command -------------------------------------------------------------------------------


def drift_command(
    recent: Annotated[
        str,
        typer.Option(
            help="Recent traffic: a file of `mitsumori decisions --out`, a ledger (sqlite:PATH or "
            "postgresql://…), or a history."
        ),
    ],
    bundle: Annotated[
        Path, typer.Option(help="Directory of the bundle that serves.")
    ] = DEFAULT_BUNDLE,
    history: Annotated[
        list[Path] | None,
        typer.Option(
            help="History that the bundle was trained on; repeatable (default: what the bundle itself "
            "records of it)."
        ),
    ] = None,
    alpha: Annotated[
        float,
        typer.Option(
            min=0.005, max=0.5, help="Probability of a false alarm, over all comparisons together."
        ),
    ] = ALPHA,
    sample: Annotated[
        int, typer.Option(min=100, max=100_000, help="Training prompts to sample.")
    ] = SAMPLE,
    last: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Newest decisions or prompts to read.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of all samples.")] = SEED,
    plot: Annotated[Path | None, typer.Option(help="Write a picture here, as PNG.")] = None,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
    as_json: AsJson = False,
) -> None:
    """Test whether recent traffic differs from the training data, and predictions from outcomes.

    Exit code 0: nothing drifted, or nothing could be compared (`undecided` in --json). 3: something
    drifted; the output says what, and what to do.
    """
    progress = Console(stderr=True)
    loaded = load_bundle(bundle, encoders)
    now = read_recent(loaded, recent, most=last, cache=cache, console=progress)
    if not len(now.features):
        raise InvalidInput(
            f"--recent: {recent} has no decisions or prompts; wait for traffic, or name another source",
            reason="NOTHING_RECENT",
            field="recent",
        )
    then = (
        of_training(loaded, bundle, history, most=sample, seed=seed, cache=cache, console=progress)
        if history
        else of_bundle(loaded, bundle)
    )
    with progress.status("comparing"):
        report = drift(then, now, _promised(loaded), alpha=alpha, seed=seed)
    notes = [*then.notes, *now.notes]
    if plot is not None:
        _save(drift_figure(report, then, now), plot)
    if as_json:
        summary = {"bundle": loaded.version, **report.as_dict(), "notes": notes}
        typer.echo(json.dumps(json_ready(summary), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(report, notes, Console())
    if report.drifted:
        raise typer.Exit(DRIFTED)
