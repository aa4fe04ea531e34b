"""A picture of the hours over simulated time: who answers, what fails, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.simulation.conditions import FROM_S, UNTIL_S
from benchmarks.simulation.hour import Hour
from benchmarks.simulation.results import Result
from benchmarks.simulation.traffic import HOUR_S
from benchmarks.simulation.variants import BASELINES, EVERYTHING
from router.core.types import Model

__all__ = ["draw"]

_STEP_S = 120.0
_SHADE = "0.92"
_FAILING = (
    "everything",
    "without health",
    "without failover",
    "without health and failover",
    "without load limits",
)


def draw(path: Path, results: Sequence[Result], models: dict[str, Model]) -> None:
    """Write a picture: a column per condition.

    Args:
        path: of the PNG.
        results: of the hours.
        models: id → model.
    """
    conditions = list(dict.fromkeys(each.hour.condition for each in results))
    figure, axes = plt.subplots(
        3, len(conditions), figsize=(4.2 * len(conditions), 9), squeeze=False, sharex=True
    )
    providers = sorted({each.provider for each in models.values()})
    for column, condition in enumerate(conditions):
        those = [each for each in results if each.hour.condition == condition]
        whole = next(each for each in those if each.hour.variant == EVERYTHING)
        _answers(axes[0][column], whole.hour, providers, models)
        _failures(axes[1][column], those)
        _losses(axes[2][column], those)
        axes[0][column].set_title(condition.name)
        axes[2][column].set_xlabel("simulated minutes")
        for axis in axes[:, column]:
            if condition.outage or condition.slowdown > 1:
                axis.axvspan(FROM_S / 60, UNTIL_S / 60, color=_SHADE, zorder=0)
    for row, label in enumerate(
        ("answers per two minutes,\nby provider, everything on", "failed calls\nper two minutes",
         "price + risk of a miss, USD")
    ):  # fmt: skip
        axes[row][0].set_ylabel(label)
    for row in range(3):
        most = max(axis.get_ylim()[1] for axis in axes[row])
        for axis in axes[row]:
            axis.set_ylim(0, most)
            axis.set_xlim(0, HOUR_S / 60)
        handles, labels = axes[row][-1].get_legend_handles_labels()
        axes[row][-1].legend(
            handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=8
        )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


_EDGES = np.arange(0, HOUR_S + _STEP_S, _STEP_S)
_MIDDLES = (_EDGES[:-1] + _EDGES[1:]) / 120


def _answers(axis: Any, hour: Hour, providers: Sequence[str], models: dict[str, Model]) -> None:
    counts = [
        np.histogram(
            [
                each.done_s
                for each in hour.answers
                if each.answered and models[each.model].provider == provider
            ],
            _EDGES,
        )[0]
        for provider in providers
    ]
    axis.stackplot(_MIDDLES, counts, labels=providers, step="mid")


def _failures(axis: Any, results: Sequence[Result]) -> None:
    for each in results:
        variant = each.hour.variant
        if variant.name in _FAILING:
            times = [at for answer in each.hour.answers for at in answer.failed_at_s]
            counts = np.histogram(times, _EDGES)[0]
            top = 3 if variant == EVERYTHING else 2  # where others coincide with it
            axis.step(_MIDDLES, counts, where="mid", label=variant.name, zorder=top)


def _losses(axis: Any, results: Sequence[Result]) -> None:
    for each in results:
        if each.hour.variant in (EVERYTHING, *BASELINES):
            times = [asked.arrival.at_s / 60 for asked in each.hour.traffic]
            axis.plot(times, np.cumsum(each.losses), label=each.hour.variant.name)
