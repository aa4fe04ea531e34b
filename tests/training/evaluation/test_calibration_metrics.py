"""Calibration figures by hand where a hand can reach."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation.calibration_metrics import auc, brier, calibration_bins, ece, ece_floor


def test_ece_by_hand() -> None:
    probability = np.array([0.2, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8])
    outcome = np.array([0, 0, 0, 1, 1, 1, 1, 1], dtype=bool)
    # Bins at .2 (observed .25) and at .8 (observed 1): (.05 + .2) / 2.
    assert ece(outcome, probability) == pytest.approx(0.125)
    assert brier(outcome, probability) == pytest.approx((3 * 0.04 + 0.64 + 4 * 0.04) / 8)


def test_equal_probabilities_share_a_bin_whatever_the_order_of_rows() -> None:
    outcome = np.repeat([True, False], 500)
    assert ece(outcome, np.full(1000, 0.5)) == pytest.approx(0)
    assert len(calibration_bins(outcome, np.full(1000, 0.5)).counts) == 1


def test_bins_have_equal_mass() -> None:
    probability = np.random.default_rng(0).random(1500)
    curve = calibration_bins(probability > 0.5, probability)
    assert curve.counts.tolist() == [100.0] * 15
    assert (np.diff(curve.predicted) > 0).all()


def test_perfect_calibration_shows_its_floor_and_no_more() -> None:
    rng = np.random.default_rng(2)
    probability = rng.uniform(0.2, 0.9, 2400)
    floor = ece_floor(probability, seed=0)
    measured = np.mean([ece(rng.random(2400) < probability, probability) for _ in range(40)])
    assert floor == pytest.approx(0.03, abs=0.006)  # evaluation.md: about .03 at 2,400 prompts
    assert measured == pytest.approx(floor, abs=0.002)
    assert ece_floor(probability, seed=0) == floor


def test_one_class_has_no_auc() -> None:
    assert np.isnan(auc(np.ones(3, dtype=bool), np.arange(3.0)))
    assert auc(np.array([False, True]), np.array([0.1, 0.9])) == 1.0
