"""The pictures of a report: labels, reliability, cost against quality, confusion.

matplotlib without pyplot: no global state, no window, nothing to close. Colours are those of Okabe and
Ito (2008), which people with any colour vision can tell apart.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import StrMethodFormatter

from router.core.types import NONE_LABEL
from training.evaluation.baselines import BaselineScores, arm_pairs
from training.evaluation.calibration_metrics import calibration_bins, ece, ece_floor
from training.evaluation.cost_quality import Sweep, hull
from training.evaluation.money_figures import PricedPrompts, priced_prompts
from training.evaluation.predictions import Predictions
from training.histories.outcomes import Outcomes

__all__ = ["GRID", "INK", "MUTED", "OURS", "PALETTE", "drawable", "render", "save", "style"]

Floats = npt.NDArray[np.float64]

INK, MUTED, GRID = "#222222", "#767676", "#e4e4e4"
OURS = "#0072b2"
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
SHARES = np.linspace(0.0, 1.0, 101)
"""Shares of prompts sent to the strongest arm at which a ranking is drawn."""

PER_THOUSAND = 1000.0
_FONTS = (
    "Noto Sans CJK JP", "Noto Sans JP", "Source Han Sans JP", "IPAexGothic", "IPAGothic",
    "Hiragino Sans", "Yu Gothic", "Meiryo", "TakaoGothic", "VL Gothic",
)  # fmt: skip


@lru_cache(maxsize=1)
def _families() -> tuple[str, ...]:
    """DejaVu Sans, which matplotlib brings, then the Japanese fonts that this machine has."""
    installed = {font.name for font in fontManager.ttflist}
    return ("DejaVu Sans", *(name for name in _FONTS if name in installed))


def drawable(text: str) -> str:
    """The text with each character that no font here can draw as its code, such as ``\\u4f4e``."""
    fonts = [get_font(findfont(FontProperties(family=name))) for name in _families()]
    return "".join(
        character
        if any(font.get_char_index(ord(character)) for font in fonts)
        else character.encode("ascii", "backslashreplace").decode()
        for character in text
    ).replace("$", r"\$")


def style() -> Any:
    """matplotlib's settings behind every picture, for ``rc_context`` or ``rcParams.update``."""
    return {
        "font.family": list(_families()),
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "figure.dpi": 110,
        "savefig.dpi": 150,
    }


def _figure(width: float, height: float, title: str, note: str) -> Figure:
    """An empty figure with a title above and a note below, both left-aligned. Inches."""
    lines = textwrap.wrap(note, int(width * 13))
    below = 0.05 / height + 0.16 * len(lines) / height
    layout = ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below))
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.text(0.01, 0.01, "\n".join(lines), ha="left", va="bottom", fontsize=8.5, color=MUTED)
    return figure


def _labels(test: Outcomes) -> npt.NDArray[np.intp]:
    """``(m,)`` for the complete prompts: position of the label, ``k`` for none."""
    adequate = test.adequate[test.complete]
    label = np.where(adequate.any(axis=1), adequate.argmax(axis=1), adequate.shape[1])
    return np.asarray(label, dtype=np.intp)


def _ticks(test: Outcomes) -> list[str]:
    return [drawable(name) for name in (*test.arms, NONE_LABEL)]


# --- Label distribution ------------------------------------------------------------------------


def _label_distribution(test: Outcomes) -> Figure:
    labels, languages = _labels(test), test.languages[test.complete]
    names, sizes = np.unique(languages.astype(str), return_counts=True)
    names = names[np.argsort(-sizes, kind="stable")]
    if len(names) > len(PALETTE):  # the rest share the last colour
        languages = np.where(
            np.isin(languages.astype(str), names[: len(PALETTE) - 1]), languages, "other"
        )
        names = np.append(names[: len(PALETTE) - 1], "other")
    figure = _figure(
        6.4,
        4.2,
        "Which arm did prompts need?",
        f"Label: the cheapest adequate arm. {len(labels):,} prompts that every arm answered, "
        f"of {len(test):,}.",
    )
    axes = figure.subplots()
    slots = len(test.arms) + 1
    bottom = np.zeros(slots)
    for name, colour in zip(names, PALETTE, strict=False):
        counts = np.bincount(labels[languages.astype(str) == name], minlength=slots)
        axes.bar(
            range(slots), counts, bottom=bottom, color=colour, width=0.68, label=drawable(name or "unknown"),
            edgecolor="white", linewidth=0.6,
        )  # fmt: skip
        bottom += counts
    for place, total in enumerate(bottom):
        share = total / max(len(labels), 1)
        axes.annotate(
            f"{share:.0%}",
            (place, total),
            ha="center",
            va="bottom",
            xytext=(0, 2),
            textcoords="offset points",
        )
    axes.set_xticks(range(slots), _ticks(test))
    axes.set_xlabel("label")
    axes.set_ylabel("prompts")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(y=0.1)
    axes.grid(axis="x", visible=False)
    axes.legend(title="language", loc="upper left", bbox_to_anchor=(1.0, 1.0), alignment="left")
    return figure


# --- Reliability -------------------------------------------------------------------------------


def _reliability_of(top: Axes, bottom: Axes, outcome: npt.NDArray[np.bool_], p: Floats) -> None:
    curve = calibration_bins(outcome, p)
    spread = 1.96 * np.sqrt(curve.predicted * (1 - curve.predicted) / curve.counts)
    top.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    top.fill_between(
        curve.predicted, curve.predicted - spread, curve.predicted + spread, color=MUTED, alpha=0.18,
        linewidth=0,
    )  # fmt: skip
    top.plot(curve.predicted, curve.observed, "o-", color=OURS, markersize=4, linewidth=1.4)
    bottom.hist(p, bins=np.linspace(0, 1, 31).tolist(), color=OURS, alpha=0.85)


def _reliability(test: Outcomes, p_adequate: Floats, seed: int) -> Figure:
    columns = len(test.arms)
    figure = _figure(
        max(3.1 * columns, 6.2),
        4.9,
        "Does P(adequate) mean what it says?",
        "15 bins of equal mass. Grey: the 95 % range of bins that are calibrated perfectly. "
        "Floor: the ECE that perfect calibration would show. Below: attempts per predicted value.",
    )
    grid = figure.subplots(
        2, columns, squeeze=False, sharex=True, gridspec_kw={"height_ratios": (4, 1)}
    )
    for arm, name in enumerate(test.arms):
        top, bottom = grid[0, arm], grid[1, arm]
        rows = test.judged[:, arm]
        outcome, p = test.adequate[rows, arm], p_adequate[rows, arm]
        if len(p):
            _reliability_of(top, bottom, outcome, p)
        top.set_title(
            f"{drawable(name)}\nECE {ece(outcome, p):.3f}, floor {ece_floor(p, seed=seed):.3f}"
        )
        top.set(xlim=(0, 1), ylim=(0, 1))
        bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        bottom.set_xlabel("predicted P(adequate)")
        bottom.grid(axis="x", visible=False)
        if arm:
            top.tick_params(labelleft=False)
    grid[0, 0].set_ylabel("observed adequate share")
    grid[1, 0].set_ylabel("attempts")
    return figure


# --- Cost against quality ----------------------------------------------------------------------


def _ranked(found: PricedPrompts, score: Floats) -> tuple[Floats, Floats]:
    """Cost and quality of sending the top of a ranking to the strongest arm, the rest to the weakest."""
    order = np.argsort(-score, kind="stable")
    sent = np.round(SHARES * len(order)).astype(np.intp)
    curves = []
    for values in (found.cost_nanos / 1e9, found.quality):
        gain = np.r_[0.0, np.cumsum((values[:, -1] - values[:, 0])[order])]
        curves.append((values[:, 0].sum() + gain[sent]) / len(order))
    return curves[0], curves[1]


def _hull_of(made: Sweep, most: float) -> tuple[Floats, Floats]:
    points = made.points()
    xs, ys = hull(points.cost[0], points.quality[0])
    return (np.r_[xs, most], np.r_[ys, ys[-1]]) if xs[-1] < most else (xs, ys)


def _cost_quality(
    test: Outcomes, found: PricedPrompts, predictions: Predictions, baselines: BaselineScores | None
) -> Figure:
    figure = _figure(
        7.4,
        4.9,
        "What does quality cost?",
        f"{len(found):,} prompts with every arm's quality and cost. Routers at every willingness to pay, as "
        "non-decreasing convex hulls; length and random choose between the first and the last arm.",
    )
    axes = figure.subplots()
    singles = found.singles().points()
    most = float(singles.cost.max())
    lines: list[tuple[str, tuple[Floats, Floats], dict[str, Any]]] = [
        ("oracle", _hull_of(found.oracle(), most), {"color": MUTED, "linestyle": (0, (1, 1.5))}),
    ]
    if baselines is not None:
        widest = arm_pairs(len(test.arms)).index((0, len(test.arms) - 1))
        lines += [
            (
                "kNN",
                _hull_of(found.routed(Predictions(baselines.adequate["knn"])), most),
                {"color": PALETTE[1]},
            ),
            (
                "multinomial on labels",
                _hull_of(found.routed(Predictions(baselines.adequate["multinomial"])), most),
                {"color": PALETTE[2]},
            ),
            (
                "prompt length",
                _ranked(found, baselines.pairs["length"][found.rows, widest]),
                {"color": PALETTE[3]},
            ),
        ]
    ends = singles.cost[0, [0, -1]], singles.quality[0, [0, -1]]
    lines += [
        ("random", ends, {"color": MUTED, "linestyle": (0, (4, 3))}),
        (
            "this bundle",
            _hull_of(found.routed(predictions), most),
            {"color": OURS, "linewidth": 2.6},
        ),
    ]
    for name, (xs, ys), look in lines:
        axes.plot(xs * PER_THOUSAND, ys, label=name, **{"linewidth": 1.4, **look})
    axes.plot(
        singles.cost[0] * PER_THOUSAND, singles.quality[0], "o", color=INK, markersize=6,
        label="one arm for all", zorder=5,
    )  # fmt: skip
    for name, x, y in zip(test.arms, singles.cost[0], singles.quality[0], strict=True):
        left = x < most / 2
        axes.annotate(
            drawable(name), (x * PER_THOUSAND, y), xytext=(7 if left else -4, -12),
            textcoords="offset points", ha="left" if left else "right", fontsize=9,
        )  # fmt: skip
    axes.set_xlabel("mean cost (USD per 1,000 prompts)")
    axes.set_ylabel("mean quality (0 to 1)")
    axes.margins(x=0.08)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


# --- Confusion ---------------------------------------------------------------------------------


def _confusion(test: Outcomes, label_distribution: Floats) -> Figure:
    labels = _labels(test)
    predicted = label_distribution[test.complete].argmax(axis=1)
    slots = len(test.arms) + 1
    counts = np.zeros((slots, slots))
    np.add.at(counts, (labels, predicted), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    hit = float(np.mean(labels == predicted)) if len(labels) else float("nan")
    figure = _figure(
        5.8,
        4.9,
        "Is the likeliest label the right one?",
        f"Share of each row; counts below. {hit:.0%} of {len(labels):,} prompts on the diagonal. The "
        "decision weighs P(adequate) against price and does not use this choice.",
    )
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(slots):
        for column in range(slots):
            dark = share[row, column] > 0.55
            axes.text(
                column, row, f"{share[row, column]:.0%}\n{counts[row, column]:,.0f}", ha="center",
                va="center", fontsize=9, color="white" if dark else INK,
            )  # fmt: skip
    axes.set_xticks(range(slots), _ticks(test))
    axes.set_yticks(range(slots), _ticks(test))
    axes.set_xlabel("likeliest label")
    axes.set_ylabel("label")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.75, label="share of the row (0 to 1)")
    bar.outline.set_visible(False)
    return figure


# --- All ---------------------------------------------------------------------------------------


def render(
    test: Outcomes,
    predictions: Predictions,
    label_distribution: Floats,
    *,
    baselines: BaselineScores | None,
    seed: int,
) -> dict[str, Figure]:
    """All pictures for which the rows have the data.

    Args:
        test: ``n`` held-out prompts, ``k`` arms.
        predictions: of the router for them.
        label_distribution: float64 ``(n, k + 1)``, ``none`` last.
        baselines: shown beside the bundle; ``None`` leaves them out.
        seed: of the samples behind the floor of the ECE.

    Returns:
        Name → figure: ``reliability``; ``label_distribution`` and ``confusion`` where prompts are
        complete; ``cost_quality`` where they also have a cost.
    """
    with mpl.rc_context(style()):
        figures = {"reliability": _reliability(test, predictions.standard, seed)}
        if test.complete.any():
            figures["label_distribution"] = _label_distribution(test)
            figures["confusion"] = _confusion(test, label_distribution)
        found = priced_prompts(test)
        if found is not None:
            figures["cost_quality"] = _cost_quality(test, found, predictions, baselines)
        for figure in figures.values():
            # Fonts are looked up when a figure is laid out: do it while the style holds.
            figure.draw_without_rendering()
    return figures


def save(figures: Mapping[str, Figure], directory: Path) -> Sequence[Path]:
    """Write each figure as ``NAME.png`` into a directory, which is created where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(directory / f"{name}.png")
        figure.savefig(paths[-1], dpi=150)
    return paths
