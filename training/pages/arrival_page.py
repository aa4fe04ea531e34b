"""The estimate of a new arm by number of attempts, as a picture and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from training.pages.page import Grid, Line, Page, Part, number, picture_of, ranged, rendered
from training.pages.plots import MUTED, OURS, PALETTE, drawable, style

__all__ = ["arrival_figure", "arrival_page"]

Report = Mapping[str, Any]

_LOSSES = (("arm", OURS), ("tier", PALETTE[1]), ("base_rate", PALETTE[7]))
_LOSS_NAMES = {
    "arm": "this arm",
    "tier": "the tier's head, unchanged",
    "base_rate": "its base rate",
}
_WORDS = (
    "The arm learns attempt by attempt. Bands: 90 % credible intervals. Log-loss: mean over the attempts "
    "so far, each predicted before the arm learnt from it."
)


def _axis(axes: Axes, attempts: np.ndarray) -> None:
    axes.set_xscale("symlog", linthresh=10, linscale=0.5)
    axes.set_xlim(0, attempts[-1])
    ticks = [tick for tick in (0, 10, 100, 1_000, 10_000, 100_000) if tick <= attempts[-1]]
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.minorticks_off()
    axes.set_xlabel("attempts")


def _band(axes: Axes, report: Report, key: str) -> None:
    attempts = np.array([step["attempts"] for step in report["steps"]])
    mean, low, high = (
        np.array([step[key][part] for step in report["steps"]]) for part in ("mean", "low", "high")
    )
    axes.fill_between(attempts, low, high, color=OURS, alpha=0.2, linewidth=0)
    axes.plot(attempts, mean, "o-", color=OURS, markersize=4, linewidth=1.4)
    _axis(axes, attempts)


def arrival_figure(arm: str, report: Report) -> Figure:
    """The posterior by number of attempts: P(adequate), shift and slope, log-loss.

    Args:
        arm: its name.
        report: of :func:`arm_report.arm_report`.
    """
    with mpl.rc_context(style()):
        figure = Figure(figsize=(10, 6.4), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(
            f"{drawable(arm)}: the estimate by number of attempts",
            x=0.01, ha="left", fontsize=13, fontweight="bold",
        )  # fmt: skip
        grid = figure.subplots(2, 2)
        top = (
            ("p_adequate", "Mean P(adequate) over reference prompts", None),
            ("shift", f"Shift from {drawable(report['tier'])} at a typical prompt, logits", 0.0),
            ("slope", "Slope: 1 follows the tier's head", 1.0),
        )
        for axes, (key, title, neutral) in zip(grid.flat, top, strict=False):
            _band(axes, report, key)
            axes.set_title(title)
            if neutral is not None:
                axes.axhline(neutral, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        grid[0, 0].axhline(
            report["adequate_share"], color=MUTED, linewidth=1, linestyle=(0, (1, 1.5)),
            label="share adequate in its attempts",
        )  # fmt: skip
        grid[0, 0].legend(loc="best")
        losses = grid[1, 1]
        steps = [step for step in report["steps"] if step["log_loss"]]
        attempts = np.array([step["attempts"] for step in steps])
        for name, colour in _LOSSES:
            losses.plot(
                attempts, [step["log_loss"][name] for step in steps], "o-", color=colour,
                markersize=4, linewidth=1.4, label=_LOSS_NAMES[name],
            )  # fmt: skip
        _axis(losses, attempts)
        losses.set_title("Log-loss, each attempt predicted in advance")
        losses.legend(loc="best")
        # Fonts are looked up when a figure is laid out: do it while the style holds.
        figure.draw_without_rendering()
    return figure


def _table(report: Report) -> Grid:
    lines = []
    for step in report["steps"]:
        loss = step["log_loss"] or dict.fromkeys(_LOSS_NAMES)
        lines.append(
            Line(
                [
                    f"{step['attempts']:,}",
                    *(
                        ranged(step[key]["mean"], (step[key]["low"], step[key]["high"]))
                        for key in ("p_adequate", "shift", "slope")
                    ),
                    *(number(loss[name], 4) for name in _LOSS_NAMES),
                ],
                strong=step is report["steps"][-1],
            )
        )
    header = (
        "attempts", "mean P(adequate) [90 %]", "shift [90 %]", "slope [90 %]",
        *(f"log-loss, {name}" for name in _LOSS_NAMES.values()),
    )  # fmt: skip
    return Grid(header, lines, note=_WORDS)


def _lengths(found: Report) -> Part:
    if "coverage_p90" not in found:
        words = (
            f"{found['attempts']} attempts have output tokens: the lengths are those of the tier."
        )
        return Part("Output length", (words,))
    lines = [
        Line(
            [
                name,
                *(number(found[f"{prefix}coverage_{level}"]) for level in ("p50", "p90")),
                *pinball,
            ],
            strong=not prefix,
        )
        for name, prefix, pinball in (
            (
                "this arm", "",
                [number(found[f"pinball_to_tier_{level}"]) for level in ("p50", "p90")],
            ),
            ("the tier's, unchanged", "tier_", ["1.000", "1.000"]),
        )
    ]  # fmt: skip
    return Part(
        "Output length",
        (
            f"{found['attempts']:,} attempts with output tokens: {np.exp(found['shift']):.2f} times the "
            f"tier's median; the distances from it to .9 and .99 are {found['widths'][1]:.2f} and "
            f"{found['widths'][2]:.2f} times the tier's. In the table each length is predicted in advance.",
        ),
        (
            Grid(
                ("quantiles", "coverage of p50", "of p90", "pinball ratio to the tier, .5", ".9"),
                lines,
            ),
        ),
    )


def arrival_page(arm: str, report: Report) -> str:
    """The report as one self-contained HTML page.

    Args:
        arm: its name.
        report: of :func:`arm_report.arm_report`.
    """
    facts = [
        ("Model", report["model"]),
        ("Tier", report["tier"]),
        ("Added to", report["parent"]),
        (
            "Attempts",
            f"{report['attempts']:,}, {report['adequate_share']:.1%} adequate; {report['seen_prompts']:,} at "
            "training prompts of the bundle",
        ),
    ]
    return rendered(
        Page(
            title=f"The arm {arm}",
            subtitle="Added without training, by a Bayesian update of its tier's head.",
            facts=facts,
            parts=(
                Part(
                    "The estimate by number of attempts",
                    (
                        "Before any attempt the arm is its tier's head, with an uncertainty as large as the "
                        "differences between models of one tier.",
                    ),
                    (_table(report),),
                    (picture_of(arrival_figure(arm, report), _WORDS),),
                ),
                _lengths(report["length"]),
                Part("Notes", [f"{note}." for note in report["notes"]]),
            ),
        )
    )
