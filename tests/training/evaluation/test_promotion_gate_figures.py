"""The numbers that the promotion gate decides by, each reckoned once more from what they are made of."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from tests.training.evaluation.test_promotion_gate import noisy
from tests.training.worlds import world
from training.evaluation.baselines import BaselineScores, baseline_scores
from training.evaluation.calibration_metrics import ece_draws
from training.evaluation.comparison import aiq_draws, ece_statistic, pooled_apgr
from training.evaluation.cost_quality import aiq_over_singles
from training.evaluation.metrics import bootstrap, unit_counts
from training.evaluation.money_figures import priced_prompts
from training.evaluation.predictions import Predictions
from training.evaluation.promotion_gate import Criterion, GateFigure, GateVerdict, gate
from training.histories.outcomes import Outcomes

SEED = 4
N = 120


@cache
def made(n: int = N) -> tuple[Outcomes, Predictions, Predictions, BaselineScores | None]:
    """Prompts, a bundle that knows the truth, a champion that is too sure of itself, and baselines."""
    rows, truth = world(n, 2)
    logits = np.log(truth / (1 - truth))
    sure = 1 / (1 + np.exp(-(1.3 * logits + 0.6)))
    return rows.outcomes, Predictions(truth), Predictions(sure), baseline_scores(None, rows, seed=1)


@cache
def verdict() -> GateVerdict:
    outcomes, bundle, champion, baselines = made()
    return gate(outcomes, bundle, baselines=baselines, champion=champion, seed=SEED)


def context(found: GateVerdict, name: str) -> float:
    return next(one.value for one in found.context if one.name == name)


def criterion(found: GateVerdict, name: str) -> Criterion:
    return next(one for one in found.criteria if one.name == name)


# --- Money -------------------------------------------------------------------------------------


def chance_gain(permutations: int) -> float:
    """Mean gain over the single arms of the bundle's own predictions, randomly permuted."""
    outcomes, bundle, _, _ = made()
    found = priced_prompts(outcomes)
    assert found is not None
    singles = found.singles().points()
    zero = float(aiq_over_singles(singles, singles)[0])
    rng = np.random.default_rng(SEED)
    index = np.flatnonzero(found.rows)
    gained = []
    for _ in range(permutations):
        order = np.arange(len(outcomes))
        order[index] = rng.permutation(index)
        gained.append(
            aiq_over_singles(found.routed(bundle.take(order)).points(), singles)[0] - zero
        )
    return float(np.mean(gained))


def test_the_gain_by_chance_is_the_mean_of_twenty_permutations() -> None:
    assert context(verdict(), "AIQ, gain by chance (subtracted)") == pytest.approx(chance_gain(20))
    assert chance_gain(20) > 0
    assert chance_gain(20) != pytest.approx(chance_gain(19), rel=1e-4)


def test_the_gain_by_chance_is_subtracted_from_the_gain_over_the_single_arms() -> None:
    outcomes, bundle, _, _ = made()
    found = priced_prompts(outcomes)
    assert found is not None
    drawn = aiq_draws(found, {"bundle": bundle}, seed=SEED)
    (value, draws), (zero, zeros) = drawn["bundle"], drawn["zero"]
    gain = value - zero - chance_gain(20)
    assert context(verdict(), "AIQ, bundle") == pytest.approx(value)
    assert context(verdict(), "AIQ, single arms (baseline)") == pytest.approx(zero)
    decides = criterion(verdict(), "single_arm")
    low = gain - NormalDist().inv_cdf(0.975) * (draws - zeros).std()
    assert decides.figure.value == pytest.approx(low, abs=1e-4)
    assert decides.figure.target == 0
    assert f"AIQ {gain:+.3f} (95 % interval {low:+.3f} to {2 * gain - low:+.3f}" in decides.words


def test_a_loss_by_chance_is_no_allowance() -> None:
    """Where the dearest arm is the best for everything, permuted predictions lose."""
    outcomes, bundle, _, _ = made()
    flat = replace(outcomes, quality=np.tile([0.0, 0.0, 1.0], (N, 1)))
    found = gate(flat, bundle, baselines=None, champion=None, seed=SEED)
    assert context(found, "AIQ, gain by chance (subtracted)") == 0


def test_against_the_champion_the_upper_bound_decides_about_money() -> None:
    outcomes, bundle, champion, _ = made()
    found = priced_prompts(outcomes)
    assert found is not None
    drawn = aiq_draws(found, {"bundle": bundle, "champion": champion}, seed=SEED)
    low, high = np.quantile(drawn["bundle"][1] - drawn["champion"][1], [0.025, 0.975])
    decides = criterion(verdict(), "champion_money")
    assert decides.figure.value == pytest.approx(-high)
    assert decides.holds is bool(high >= 0)
    difference = drawn["bundle"][0] - drawn["champion"][0]
    assert decides.words.startswith(
        f"AIQ against the champion {difference:+z.3f} (95 % interval {low:+z.3f} to {high:+z.3f})"
    )
    assert context(verdict(), "AIQ, champion") == pytest.approx(drawn["champion"][0])


def test_a_champion_that_earns_more_for_the_same_money_stays_for_that() -> None:
    outcomes, bundle, _, _ = made()
    wrong = Predictions(1 - bundle.first)
    found = criterion(
        gate(outcomes, wrong, baselines=None, champion=bundle, seed=SEED), "champion_money"
    )
    assert not found.holds
    assert found.words.endswith(": worse for the same money")
    assert not criterion(verdict(), "champion_money").words.endswith("money")


def test_money_is_judged_from_thirty_priced_prompts_on() -> None:
    for n, money in ((30, True), (29, False)):
        outcomes, bundle, _, _ = made(60)
        few = outcomes.rows(np.arange(n))
        found = gate(few, bundle.take(np.arange(n)), baselines=None, champion=None, seed=SEED)
        assert any(one.name == "AIQ, bundle" for one in found.context) is money
        assert any("fewer than 30 prompts" in note for note in found.notes) is not money
        assert ("mixed at random" in criterion(found, "single_arm").words) is not money


# --- Rankings ----------------------------------------------------------------------------------


def test_rankings_are_compared_on_the_same_resamples() -> None:
    outcomes, bundle, champion, baselines = made()
    assert baselines is not None
    scores = {"bundle": bundle.pairs(), "champion": champion.pairs(), **baselines.pairs}
    statistics = {name: pooled_apgr(outcomes, each) for name, each in scores.items()}
    draws = bootstrap(N, statistics, seed=SEED)
    values = {name: float(each(unit_counts(N))[0]) for name, each in statistics.items()}
    for rival in ("length", "champion"):
        decides = criterion(verdict(), rival)
        low, high = np.quantile(draws["bundle"] - draws[rival], [0.025, 0.975])
        assert decides.figure.value == pytest.approx(low)
        gain = values["bundle"] - values[rival]
        assert f"APGR {gain:+z.3f} (95 % interval {low:+z.3f} to {high:+z.3f}" in decides.words
    for name, value in values.items():
        mark = " (baseline)" if name in baselines.pairs else ""
        assert context(verdict(), f"APGR of all pairs, {name}{mark}") == pytest.approx(value)
    plain = gate(
        replace(outcomes, cost_nanos=np.zeros_like(outcomes.cost_nanos)),
        bundle, baselines=None, champion=None, seed=SEED,
    )  # fmt: skip
    assert criterion(plain, "single_arm").figure.value == pytest.approx(
        np.quantile(draws["bundle"] - 0.5, 0.025)
    )
    assert f"APGR {values['bundle'] - 0.5:+z.3f} (" in criterion(plain, "single_arm").words


def test_without_baselines_prompt_length_cannot_be_beaten() -> None:
    outcomes, bundle, _, _ = made()
    found = criterion(gate(outcomes, bundle, baselines=None, champion=None, seed=SEED), "length")
    assert not found.holds
    assert found.words == "cannot be compared with prompt length: these prompts do not tell"


@pytest.mark.parametrize("n", [1, 19])
def test_too_few_held_out_prompts_are_counted_with_what_is_needed(n: int) -> None:
    outcomes, bundle, _, _ = made()
    quality = outcomes.quality.copy()
    quality[n:] = np.nan  # of these no answer was judged
    found = gate(
        replace(outcomes, quality=quality).rows(np.arange(n + 5)),
        bundle.take(np.arange(n + 5)), baselines=None, champion=None, seed=SEED,
    )  # fmt: skip
    assert criterion(found, "length").words == (
        f"cannot be compared with prompt length: {n} of the {n + 5} held-out prompts have judged answers of "
        "the same two arms, and 20 are needed; add judged prompts that training has not seen to the history"
    )
    assert any(f"({n} of {n + 5})" in note for note in found.notes)
    assert any(f"({n} is the most)" in note for note in found.notes)


def test_a_gain_that_so_few_prompts_cannot_show_says_how_many_would() -> None:
    outcomes, bundle, _, _ = made()
    thirty = np.arange(30)
    few = gate(
        replace(outcomes, cost_nanos=np.zeros_like(outcomes.cost_nanos)).rows(thirty),
        Predictions(noisy(bundle.first[:30], 1.0)),
        baselines=None, champion=None, seed=SEED,
    )  # fmt: skip
    found = criterion(few, "single_arm")
    stated = re.search(r"APGR ([+-][.\d]+) \(95 % interval ([+-][.\d]+) ", found.words)
    assert stated is not None
    gain, low = map(float, stated.groups())
    assert gain > 0 > low  # of so few prompts: three decimals of them are rough
    told = re.search(
        r"such a gain shows on about ([\d,]+) held-out prompts, here are 30$", found.words
    )
    assert told is not None
    # The half interval narrows with the root of the number of prompts.
    needed = 30 * ((gain - low) / gain) ** 2
    assert int(told[1].replace(",", "")) == pytest.approx(needed, rel=0.2)


# --- Calibration -------------------------------------------------------------------------------


def excess(arm: int, said: Predictions) -> tuple[float, float, Any]:
    """Excess ECE, the ECE itself and its statistic."""
    outcomes = made()[0]
    statistic = ece_statistic(outcomes.adequate[:, arm], said.standard[:, arm])
    error = float(statistic(unit_counts(N))[0])
    return error - float(ece_draws(said.standard[:, arm], seed=SEED).mean()), error, statistic


def bound(arm: int, arms_judged: int) -> float:
    """The lower bound of what the bundle's excess is over the champion's."""
    _, bundle, champion, _ = made()
    (ours, _, mine), (theirs, _, other) = excess(arm, bundle), excess(arm, champion)
    draws = bootstrap(N, {"ours": mine, "theirs": other}, seed=SEED)
    sigmas = NormalDist().inv_cdf(1 - 0.05 / 2 / arms_judged)
    return float(ours - theirs - sigmas * (draws["ours"] - draws["theirs"]).std())


def test_the_level_is_shared_over_the_arms_that_are_judged() -> None:
    for arm, name in enumerate(("low", "medium", "high")):
        found = criterion(verdict(), f"calibration:{name}").figure
        assert found.value == pytest.approx(bound(arm, 3))
        assert (found.target, found.above) == (0, False)
    outcomes, bundle, champion, _ = made()
    quality = outcomes.quality.copy()
    quality[:21, 1:] = np.nan  # 99 attempts of these two: too few
    found = gate(
        replace(outcomes, quality=quality), bundle, baselines=None, champion=champion, seed=SEED
    )
    assert criterion(found, "calibration:low").figure.value == pytest.approx(bound(0, 1))
    assert found.notes[-2:] == (
        "medium: fewer than 100 attempts (99), calibration not judged",
        "high: fewer than 100 attempts (99), calibration not judged",
    )


def test_calibration_is_judged_from_a_hundred_attempts_on() -> None:
    for n, judged in ((100, 3), (99, 0)):
        outcomes, bundle, champion, _ = made()
        rows = np.arange(n)
        found = gate(
            outcomes.rows(rows), bundle.take(rows), baselines=None, champion=champion.take(rows), seed=SEED
        )  # fmt: skip
        assert sum(one.name.startswith("calibration") for one in found.criteria) == judged


def test_the_excess_is_what_perfect_calibration_would_not_show() -> None:
    _, bundle, champion, _ = made()
    for arm, name in enumerate(("low", "medium", "high")):
        assert context(verdict(), f"excess ECE, {name}, bundle") == pytest.approx(
            excess(arm, bundle)[0]
        )
        assert context(verdict(), f"excess ECE, {name}, champion") == pytest.approx(
            excess(arm, champion)[0]
        )


def test_an_error_that_perfect_calibration_shows_one_time_in_twenty_is_excused() -> None:
    outcomes, bundle, champion, _ = made()
    swapped = gate(outcomes, champion, baselines=None, champion=bundle, seed=SEED)
    seen = set()
    for found, said in ((verdict(), bundle), (swapped, champion)):
        for arm, name in enumerate(("low", "medium", "high")):
            usual = float(np.quantile(ece_draws(said.standard[:, arm], seed=SEED), 0.95))
            excused = excess(arm, said)[1] <= usual
            assert criterion(found, f"calibration:{name}").figure.excused is bool(excused)
            seen.add(bool(excused))
    assert seen == {True, False}


def test_without_a_champion_calibration_is_told_and_not_judged() -> None:
    outcomes, bundle, _, _ = made()
    found = gate(outcomes, bundle, baselines=None, champion=None, seed=SEED)
    assert context(found, "excess ECE, low, bundle") == pytest.approx(excess(0, bundle)[0])
    assert {one.name for one in found.criteria} == {"single_arm", "length"}


# --- The verdict -------------------------------------------------------------------------------

MET, MISSED = GateFigure("a", 0.1, "x", 0.0), GateFigure("b", 0.0, "x", 0.0)


def test_a_verdict_passes_where_every_criterion_holds() -> None:
    good, bad = Criterion("good", MET, "fine"), Criterion("bad", MISSED, "too low")
    assert GateVerdict((good,), ()).passes
    found = GateVerdict((good, bad), (GateFigure("c", float("nan"), "y"),), ("a note",))
    assert not found.passes
    assert found.as_dict() == {
        "passes": False,
        "reasons": ["too low"],
        "criteria": {
            "good": {"holds": True, "found": "fine"},
            "bad": {"holds": False, "found": "too low"},
        },
        "figures": [
            {"figure": "c", "value": None, "unit": "y", "target": None, "holds": None},
            {"figure": "a", "value": 0.1, "unit": "x", "target": 0.0, "holds": True},
            {"figure": "b", "value": 0.0, "unit": "x", "target": 0.0, "holds": False},
        ],
        "notes": ["a note"],
    }


def test_a_difference_that_does_not_matter_is_excused_whatever_its_value() -> None:
    for value in (0.5, float("nan")):
        assert GateFigure("x", value, "y", 0.0, above=False, excused=True).holds is True
    assert GateFigure("x", 0.5, "y", excused=True).holds is None


def test_a_demonstration_fails_by_a_figure_of_its_own() -> None:
    outcomes, bundle, _, _ = made()
    found = gate(
        outcomes, bundle, baselines=None, champion=None, seed=SEED, demonstration=True
    ).criteria[-1]
    assert found.figure.as_dict() == {
        "figure": "trained on made-up attempts", "value": 1.0, "unit": "0 or 1", "target": 0.0,
        "holds": False,
    }  # fmt: skip


def test_rankings_that_can_be_judged_need_no_note() -> None:
    assert verdict().notes == ()
