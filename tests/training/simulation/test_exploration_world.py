"""Where the truth is known, the log of a service that explores gives it back."""

from __future__ import annotations

import numpy as np
import pytest

from router.core.types import Exploration
from router.decision_log.savings import SavingsTally
from training.simulation.exploration_world import MODELS, World, calibration, make_world

SKEWED, MILD = 1.2, 0.5
LOGS = 200


@pytest.fixture(scope="module")
def skewed() -> World:
    return make_world(4_000, skew=SKEWED, seed=3)


def tally(world: World, share: float) -> SavingsTally:
    counted = SavingsTally()
    for row in world.log(share, 0.5):
        counted.add(row)
    return counted


@pytest.mark.parametrize("share", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("model", MODELS)
def test_intervals_of_95_percent_hold_the_truth_under_skewed_prices(
    skewed: World, share: float, model: str
) -> None:
    found = calibration(skewed, model, share=share, regret=0.5, logs=LOGS, skew=SKEWED)
    assert found.told > 0.8
    # Of 200 intervals at 95 %, fewer than 91 % hold the truth once in 400 times.
    assert found.cost_covered >= 0.91
    assert found.quality_covered >= 0.91
    assert abs(found.cost_error) < 0.03


@pytest.mark.parametrize("skew", [MILD, SKEWED])
def test_and_where_only_one_decision_in_fifty_is_left_to_chance(skew: float) -> None:
    world = make_world(10_000, skew=skew, seed=5)
    for model in ("small", "middle"):
        found = calibration(world, model, share=0.02, regret=0.5, logs=LOGS, skew=skew)
        assert found.told > 0.95
        assert found.cost_covered >= 0.91
        assert found.quality_covered >= 0.91


def test_the_intervals_get_narrower_the_more_is_left_to_chance(skewed: World) -> None:
    widths = [
        calibration(skewed, "middle", share=share, regret=0.5, logs=20, skew=SKEWED).half_width
        for share in (0.05, 0.2, 1.0)
    ]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.05


def test_the_log_of_the_real_decision_has_the_propensities_that_it_drew_by(skewed: World) -> None:
    chances, log = skewed.chances(0.3, 0.5), skewed.log(0.3, 0.5)
    chosen = [MODELS.index(row.record.chosen.model) for row in log]
    logged = np.array([[row.record.propensity_of(model) for model in MODELS] for row in log])
    assert np.allclose(logged, chances)
    drawn = np.array([row.record.propensity for row in log])
    assert np.allclose(drawn, chances[np.arange(len(log)), chosen])
    shares = np.bincount(chosen, minlength=3) / len(log)
    assert shares == pytest.approx(chances.mean(axis=0), abs=0.025)


def test_the_log_tells_what_a_single_model_would_have_cost_and_brought() -> None:
    world = make_world(2_000, skew=SKEWED, seed=4)
    covered = world.chances(0.2, 0.5)[:, 1] > 0
    held = {"cost": 0, "quality": 0}
    for seed in range(12):
        log, counted = world.log(0.2, 0.5, seed=seed), SavingsTally()
        for row in log:
            counted.add(row)
        found = counted.savings("middle")
        rows = [row for row, there in zip(log, covered, strict=True) if there]
        spent = sum(row.spent or 0 for row in rows)
        quality = np.mean([row.record.usage.quality for row in rows if row.record.usage])
        assert found.covered == covered.sum()
        assert found.spent_usd == pytest.approx(spent / 1e9)
        saved = (world.costs[covered, 1].sum() - spent) / 1e9
        gained = quality - world.quality[covered, 1].mean()
        assert found.saved_usd is not None
        assert found.quality_gained is not None
        held["cost"] += found.saved_usd.low <= saved <= found.saved_usd.high
        held["quality"] += found.quality_gained.low <= gained <= found.quality_gained.high
    assert min(held.values()) >= 10


def test_a_log_in_which_nothing_was_left_to_chance_says_that_it_cannot_tell(skewed: World) -> None:
    log = tally(skewed, 0.0)
    for model in MODELS:
        found = log.savings(model)
        assert (found.saved_usd, found.quality_gained) == (None, None)
        assert found.cautions == (
            f"cannot tell: every choice had propensity 1, so that nothing shows what {model} would have "
            "brought elsewhere; leave some choices to chance (setting explore, or explore in a rule)",
        )


def test_a_log_with_too_few_draws_says_how_many_are_needed() -> None:
    found = tally(make_world(300, skew=MILD, seed=3), 0.02).savings("large")
    assert found.saved_usd is None
    assert "and 10 are needed; wait, or raise explore or explore_regret" in found.cautions[0]


def test_what_it_costs_is_at_most_the_share_times_the_regret(skewed: World) -> None:
    """In expectation, of the least expected cost; here it is far less."""
    share, regret, stake = 0.1, 0.2, 50_000_000
    chances = skewed.chances(share, regret)
    expected = skewed.prices + (1 - skewed.p_adequate) * stake
    least = expected.min(axis=1).sum()
    more = (chances * expected).sum() - least
    assert 0 < more <= share * regret * least


def test_with_no_share_serving_decides_as_ever(skewed: World) -> None:
    for row in range(50):
        assert skewed.decision(row, Exploration(0.0, 0.5, 0.0)) == skewed.decision(row, None)
