"""Two bundles side by side: differences have the right sign, and chance is not taken for a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.training.worlds import world
from training.evaluation.baselines import pair_differences
from training.evaluation.calibration_metrics import ece
from training.evaluation.comparison import (
    TimedPredictions,
    compare,
    ece_statistic,
    pooled_apgr,
    spread_interval,
)
from training.evaluation.metrics import apgr, unit_counts
from training.evaluation.predictions import Predictions


def judged(p: np.ndarray, scale: float = 1.0, ms: float = 1.0) -> TimedPredictions:
    """A bundle that says ``p``; lengths are the true median and p90 times ``scale``."""
    lengths = np.tile(np.exp(5) * scale * np.array([1.0, 1.9, 3.2]), (*p.shape, 1))
    times = ms * (1 + 0.1 * np.random.default_rng(1).random(50))
    return TimedPredictions(Predictions(p), lengths, times)


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    """A bundle that knows nothing but how often each arm is adequate, and one that knows the truth."""
    rows, truth = world()
    dull = np.tile(truth.mean(axis=0), (len(truth), 1))
    return compare(rows.outcomes, judged(dull, 2.0), judged(truth, ms=3.0), seed=1)


def test_each_figure_says_who_is_better(report: dict[str, Any]) -> None:
    assert report["pooled_apgr"]["better"] == "b"
    assert {one["apgr"]["better"] for one in report["pairs"].values()} == {"b"}
    assert report["aiq"]["better"] == "b"
    assert {report["arms"][arm]["brier"]["better"] for arm in ("low", "medium")} == {"b"}
    assert report["length"]["pinball_ratio_p50"]["better"] == "b"
    assert report["encode_ms"]["p50"]["better"] == "a"
    assert report["encode_ms"]["p50"]["difference"] == pytest.approx(2.0, rel=0.2)


def test_a_difference_is_b_less_a_within_its_interval(report: dict[str, Any]) -> None:
    for found in (report["pooled_apgr"], report["aiq"], report["arms"]["low"]["brier"]):
        assert found["difference"] == pytest.approx(found["b"] - found["a"])
        low, high = found["interval"]
        assert low < found["difference"] < high


def test_knowing_nothing_is_calibrated_too(report: dict[str, Any]) -> None:
    for arm in report["arms"].values():
        assert arm["excess_ece"]["better"] is None


def test_a_bundle_does_not_differ_from_itself() -> None:
    rows, truth = world(300)
    found = compare(rows.outcomes, judged(truth), judged(truth), seed=1)
    assert found["pooled_apgr"]["difference"] == 0
    assert found["pooled_apgr"]["better"] is None
    assert found["aiq"]["interval"] == [0, 0]


def test_overconfidence_is_a_worse_calibration_and_no_worse_ranking() -> None:
    rows, truth = world(1500)
    logits = np.log(truth / (1 - truth))
    sure = 1 / (1 + np.exp(-2.5 * logits))
    found = compare(rows.outcomes, judged(truth), judged(sure), seed=1)
    assert all(arm["excess_ece"]["better"] == "a" for arm in found["arms"].values())


def test_censored_histories_still_compare_probabilities() -> None:
    rows, truth = world(900, censored=True)
    found = compare(rows.outcomes, judged(np.full_like(truth, 0.5)), judged(truth), seed=1)
    assert found["pooled_apgr"] is None
    assert found["aiq"] is None
    assert found["pairs"] == {}
    assert found["arms"]["low"]["brier"]["better"] == "b"
    assert any("rankings" in note for note in found["notes"])


def test_languages_are_compared_apart(report: dict[str, Any]) -> None:
    assert report["by_language"]["ja"]["n"] == 200
    assert report["by_language"]["ja"]["pooled_apgr"]["better"] == "b"


def test_pooled_apgr_of_two_arms_is_apgr() -> None:
    rows, truth = world(200)
    two = np.arange(2)
    outcomes = rows.outcomes
    pair = type(outcomes)(
        **{
            **outcomes.__dict__,
            "arms": ("low", "high"),
            "quality": outcomes.quality[:, two],
            "cost_nanos": outcomes.cost_nanos[:, two],
            "output_tokens": outcomes.output_tokens[:, two],
        }
    )
    scores = pair_differences(truth[:, two])
    value = float(pooled_apgr(pair, scores)(unit_counts(200))[0])
    assert value == pytest.approx(apgr(pair.quality[:, 0], pair.quality[:, 1], scores[:, 0]))


def test_the_error_of_calibration_on_every_prompt_once_is_the_plain_one() -> None:
    rows, truth = world(400)
    outcome, p = rows.outcomes.adequate[:, 0], truth[:, 0]
    assert float(ece_statistic(outcome, p)(unit_counts(400))[0]) == pytest.approx(ece(outcome, p))


def test_too_few_draws_give_no_interval() -> None:
    assert np.isnan(spread_interval(0.1, np.full(5, np.nan))).all()
