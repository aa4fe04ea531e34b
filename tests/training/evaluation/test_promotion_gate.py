"""The promotion gate, on worlds whose truth is known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.training.worlds import world
from training.evaluation.baselines import BaselineScores, EncodedOutcomes, baseline_scores
from training.evaluation.predictions import Predictions
from training.evaluation.promotion_gate import GateFigure, GateVerdict, gate


@cache
def made(
    n: int = 1200, seed: int = 0, **how: bool
) -> tuple[EncodedOutcomes, np.ndarray, BaselineScores | None]:
    rows, truth = world(n, seed, **how)
    return rows, truth, baseline_scores(None, rows, seed=1)


def judged(
    bundle: np.ndarray,
    champion: np.ndarray | None = None,
    *,
    demonstration: bool = False,
    **how: bool,
) -> GateVerdict:
    rows, _, baselines = made(**how)
    return gate(
        rows.outcomes,
        Predictions(bundle),
        baselines=baselines,
        champion=None if champion is None else Predictions(champion),
        seed=1,
        demonstration=demonstration,
    )


def failed(verdict: GateVerdict) -> set[str]:
    return {one.name for one in verdict.criteria if not one.holds}


def noisy(truth: np.ndarray, amount: float, seed: int = 5) -> np.ndarray:
    """What a worse bundle would say: less of the truth, and calibrated no more than need be."""
    logits = np.log(truth / (1 - truth))
    noise = np.random.default_rng(seed).normal(size=truth.shape)
    return 1 / (1 + np.exp(-(logits + amount * noise)))


def test_a_good_bundle_passes_where_nothing_is_in_production() -> None:
    verdict = judged(made()[1])
    assert verdict.passes, verdict.reasons
    assert verdict.reasons == []
    assert {one.name for one in verdict.criteria} == {"single_arm", "length"}


def test_a_good_bundle_passes_against_a_worse_champion() -> None:
    truth = made()[1]
    verdict = judged(truth, noisy(truth, 1.5))
    assert verdict.passes, verdict.reasons
    assert any("beats the champion" in one.words for one in verdict.criteria)


def test_a_better_champion_stays() -> None:
    truth = made()[1]
    verdict = judged(noisy(truth, 1.0), truth)
    assert "champion" in failed(verdict)
    reason = next(words for words in verdict.reasons if "does not beat the champion" in words)
    assert "95 % interval -" in reason


def test_a_tie_is_no_win() -> None:
    truth = made()[1]
    assert failed(judged(truth, truth)) == {"champion"}


def test_a_bundle_that_knows_nothing_fails_on_every_count() -> None:
    truth = made()[1]
    dull = np.tile(truth.mean(axis=0), (len(truth), 1))
    assert failed(judged(dull)) >= {"single_arm", "length"}


def test_luck_does_not_beat_the_single_arms() -> None:
    """A sweep over blind predictions lies above the single arms; the gate is not taken in."""
    passed = 0
    for seed in range(8):
        rows, truth = world(200, seed)
        z = np.random.default_rng(1000 + seed).normal(size=(len(truth), 1))
        blind = 1 / (1 + np.exp(-(np.array([-0.4, 0.7, 1.9]) + np.array([1.2, 0.7, 0.2]) * z)))
        verdict = gate(rows.outcomes, Predictions(blind), baselines=None, champion=None, seed=seed)
        passed += "single_arm" not in failed(verdict)
    assert passed <= 1


def test_planted_overconfidence_in_one_arm_is_named() -> None:
    truth = made()[1]
    worse = noisy(truth, 1.5)
    logits = np.log(truth / (1 - truth))
    planted = truth.copy()
    planted[:, 1] = 1 / (1 + np.exp(-(logits[:, 1] + 0.9)))
    calibrated = judged(truth, truth)
    verdict = judged(planted, truth)
    assert "calibration:medium" in failed(verdict)
    assert not {"calibration:low", "calibration:high", "calibration:medium"} & failed(calibrated)
    reason = next(words for words in verdict.reasons if "calibration of medium got worse" in words)
    assert "excess ECE +0." in reason
    # Where the champion was as badly calibrated, that is no reason.
    assert "calibration:medium" not in failed(judged(planted, np.where([0, 1, 0], planted, worse)))


def test_noise_in_calibration_is_no_reason() -> None:
    refused = 0
    for seed in range(5):
        rows, truth = world(300, seed, costs=False)
        champion = noisy(truth, 0.1, seed)
        verdict = gate(
            rows.outcomes,
            Predictions(truth),
            baselines=None,
            champion=Predictions(champion),
            seed=seed,
        )
        refused += any(name.startswith("calibration") for name in failed(verdict))
    assert refused <= 1


def test_a_demonstration_never_serves() -> None:
    verdict = judged(made()[1], demonstration=True)
    assert failed(verdict) == {"demonstration"}
    assert "made-up" in verdict.reasons[0]


def test_without_costs_rankings_decide() -> None:
    verdict = judged(made(costs=False)[1], costs=False)
    assert verdict.passes, verdict.reasons
    assert any("not by money" in note for note in verdict.notes)
    truth = made(costs=False)[1]
    dull = np.tile(truth.mean(axis=0), (len(truth), 1))
    assert "single_arm" in failed(judged(dull, costs=False))


def test_what_cannot_be_told_is_refused() -> None:
    verdict = judged(made(censored=True)[1], censored=True)
    assert failed(verdict) == {"single_arm", "length"}
    assert all("cannot be compared" in reason for reason in verdict.reasons)
    assert any("no two arms" in note for note in verdict.notes)


def test_figures_hold_by_computation() -> None:
    truth = made()[1]
    for one in judged(truth, truth).figures():
        assert set(one) == {"figure", "value", "unit", "target", "holds"}
        assert (one["holds"] is None) == (one["target"] is None)


@pytest.mark.parametrize(
    ("value", "above", "holds"),
    [(0.1, True, True), (0.0, True, False), (0.0, False, True), (0.1, False, False), (np.nan, True, False)],
)  # fmt: skip
def test_a_target_is_met_or_not(value: float, above: bool, holds: bool) -> None:
    assert GateFigure("x", value, "y", 0.0, above).holds is holds
