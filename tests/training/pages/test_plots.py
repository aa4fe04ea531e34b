"""The pictures: all there, and drawable whatever the arms are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from tests.training.worlds import world
from training.evaluation.baselines import baseline_scores
from training.evaluation.predictions import Predictions
from training.pages.plots import render, save


def distribution(truth: np.ndarray) -> np.ndarray:
    rising = np.maximum.accumulate(truth, axis=1)
    return np.concatenate([np.diff(rising, axis=1, prepend=0), 1 - rising[:, -1:]], axis=1)


def test_every_picture_is_drawn(tmp_path: Path) -> None:
    rows, truth = world(400)
    found = baseline_scores(None, rows, seed=0)
    figures = render(
        rows.outcomes, Predictions(truth), distribution(truth), baselines=found, seed=0
    )
    assert set(figures) == {"reliability", "label_distribution", "confusion", "cost_quality"}
    for path in save(figures, tmp_path / "plots"):
        image = imread(path)
        assert image.shape[0] > 400
        assert image.std() > 0.05
    for figure in figures.values():
        assert figure.get_suptitle().endswith("?")
        assert all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes[-2:])


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    rows, truth = world(100)
    languages = np.array([f"l{i % 12}" for i in range(100)], dtype=object)
    odd = replace(rows.outcomes, arms=("低", "中$x_1$", "高い_{"), languages=languages)
    save(render(odd, Predictions(truth), distribution(truth), baselines=None, seed=0), tmp_path)


def test_a_censored_history_has_reliability_only() -> None:
    rows, truth = world(200, censored=True)
    figures = render(rows.outcomes, Predictions(truth), distribution(truth), baselines=None, seed=0)
    assert set(figures) == {"reliability"}


def test_an_arm_without_attempts_and_a_history_without_costs() -> None:
    rows, truth = world(100, costs=False)
    figures = render(rows.outcomes, Predictions(truth), distribution(truth), baselines=None, seed=0)
    assert "cost_quality" not in figures
    quality = rows.outcomes.quality.copy()
    quality[:, 1] = np.nan
    empty = replace(rows.outcomes, quality=quality)
    assert set(render(empty, Predictions(truth), distribution(truth), baselines=None, seed=0)) == {
        "reliability"
    }
