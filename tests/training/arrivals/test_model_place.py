"""The place of a new model on the scale of ability, from attempts whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import expit

from router.core.ability import LARGEST, SMALLEST, p_at
from training.arrivals.model_place import PRIOR_SPREAD, JudgedPrompts, Peers, Place, fit_place
from training.fitting.demands import MIN_MODEL_ATTEMPTS

Floats = npt.NDArray[np.float64]

TIERS = np.array([55.0, 75.0, 100.0])
STEEP = 3.3
"""Logits per hundred points."""


def nobody(histories: int = 1) -> Peers:
    """No model that the bundle places was judged at these prompts."""
    none = np.zeros(0, dtype=np.intp)
    return Peers(np.zeros(0), np.zeros(0, bool), none, np.zeros(histories, np.intp))


def judged(
    points: float,
    count: int = 400,
    *,
    leniency: float = 0.0,
    strength: float = 0.0,
    seed: int = 1,
) -> JudgedPrompts:
    """Attempts of a model of this ability, and what a bundle that knows each prompt says of it.

    Odd prompts are about code, even ones about law; ``strength`` is how much better at code the model is.
    ``leniency`` is by how many logits its judge finds more answers adequate.
    """
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(2.5, 1.0, count)
    kind = np.where(np.arange(count) % 2, 1.0, -1.0)
    z = STEEP * points / 100 - difficulty + leniency + strength * kind
    return JudgedPrompts(
        expit(STEEP * TIERS / 100 - difficulty[:, None]),
        TIERS,
        kind[:, None],
        np.zeros(count, dtype=np.intp),
        rng.random(count) < expit(z),
    )


def peers_at(prompts: JudgedPrompts, *points: float, leniency: float = 0.0) -> Peers:
    """Models of known ability at the same prompts, under the same judge."""
    rng = np.random.default_rng(9)
    expected = np.concatenate(
        [
            np.log(p / (1 - p))
            for p in (
                Place(one, 0.0, np.zeros(0), np.zeros(1)).p_adequate(prompts) for one in points
            )
        ]
    )
    return Peers(
        expected,
        rng.random(len(expected)) < expit(expected + leniency),
        np.zeros(len(expected), dtype=np.intp),
        np.array([len(points)]),
    )


@pytest.mark.parametrize("truth", [10.0, 60.0, 90.0, 120.0])
def test_the_ability_is_found_within_its_uncertainty(truth: float) -> None:
    prompts = judged(truth)
    found = fit_place(prompts, 75.0, peers_at(prompts, 40.0, 70.0, 95.0))
    assert abs(found.points - truth) < 1.645 * found.uncertainty
    assert 8 < found.uncertainty < 20


def test_intervals_hold_what_they_promise() -> None:
    """Of forty models, nine in ten and more: the interval also allows for what one history cannot tell."""
    inside = 0
    for seed in range(40):
        truth = float(np.random.default_rng(seed).normal(75, PRIOR_SPREAD))
        prompts = judged(truth, 100, seed=seed)
        found = fit_place(prompts, 75.0, peers_at(prompts, 40.0, 70.0))
        inside += abs(found.points - truth) < 1.645 * found.uncertainty
    assert inside >= 36


def test_an_abler_model_stands_higher() -> None:
    points = [
        fit_place(judged(one), 75.0, nobody()).points for one in (0.0, 30.0, 60.0, 90.0, 120.0)
    ]
    assert points == sorted(points)


def test_a_model_without_attempts_stands_where_its_tier_does() -> None:
    found = fit_place(judged(50.0, 0), 75.0, nobody())
    assert found.points == 75.0
    assert found.uncertainty == PRIOR_SPREAD


def test_a_few_right_answers_do_not_outweigh_what_is_known_of_its_tier() -> None:
    """By themselves ten right answers of ten speak for the top of the scale, at 250 points."""
    right = judged(200.0, 10)
    assert right.adequate.all()
    one = fit_place(right.rows(np.array([0])), 75.0, nobody())
    ten = fit_place(right, 75.0, nobody())
    assert 75 < one.points < 75 + PRIOR_SPREAD < ten.points < 75 + 2 * PRIOR_SPREAD


def test_with_many_attempts_it_does_not_matter_what_its_tier_was_thought_to_be() -> None:
    prompts = judged(30.0, 2_000)
    peers = peers_at(prompts, 50.0)
    low, high = (fit_place(prompts, tier, peers).points for tier in (55.0, 100.0))
    assert low == pytest.approx(high, abs=3)


def test_the_uncertainty_falls_with_attempts_to_what_one_history_cannot_tell() -> None:
    prompts = judged(60.0, 5_000)
    found = [
        fit_place(some, 75.0, peers_at(some, *range(40, 100, 2))).uncertainty
        for some in (prompts.rows(np.arange(count)) for count in (20, 200, 5_000))
    ]
    assert found[0] > found[1] > found[2]
    # 8 points, and what the peers' own deviations leave open.
    assert 8 < found[2] < 8.5


def test_models_that_the_bundle_knows_tell_how_strict_a_judge_is() -> None:
    prompts = judged(60.0, leniency=-1.5)
    peers = peers_at(prompts, 40.0, 70.0, 95.0, leniency=-1.5)
    found = fit_place(prompts, 55.0, peers)
    assert found.leniency[0] == pytest.approx(-1.5, abs=0.25)
    assert abs(found.points - 60) < 1.645 * found.uncertainty


def test_without_them_a_strict_judge_looks_like_a_less_able_model_and_the_interval_says_so() -> (
    None
):
    found = fit_place(judged(60.0, leniency=-1.5), 55.0, nobody())
    assert found.points < 30
    assert found.leniency[0] == 0
    assert found.uncertainty > 30
    assert abs(found.points - 60) < 1.645 * found.uncertainty


def test_each_history_has_a_judge_of_its_own() -> None:
    strict, lenient = judged(60.0, leniency=-1.5), judged(60.0, leniency=1.5, seed=2)
    names = ("p_adequate", "demands", "adequate")
    both = JudgedPrompts(
        arm_points=TIERS,
        history=np.repeat([0, 1], 400),
        **{name: np.concatenate([getattr(strict, name), getattr(lenient, name)]) for name in names},
    )
    sides = (
        peers_at(strict, 50.0, 80.0, leniency=-1.5),
        peers_at(lenient, 50.0, 80.0, leniency=1.5),
    )
    peers = Peers(
        np.concatenate([side.expected for side in sides]),
        np.concatenate([side.adequate for side in sides]),
        np.repeat([0, 1], 800),
        np.array([2, 2]),
    )
    found = fit_place(both, 55.0, peers)
    assert found.leniency[0] < -1 < 1 < found.leniency[1]
    assert abs(found.points - 60) < 1.645 * found.uncertainty


def test_strengths_are_fitted_from_300_attempts_on_and_only_where_the_bundle_tells_demands() -> (
    None
):
    assert MIN_MODEL_ATTEMPTS == 300
    assert not judged(60.0, 299).tells_strengths
    prompts = judged(60.0, 300)
    assert prompts.tells_strengths
    blind = JudgedPrompts(
        prompts.p_adequate, TIERS, np.zeros((300, 0)), prompts.history, prompts.adequate
    )
    assert not blind.tells_strengths


def test_a_model_that_is_good_at_code_is_so_beside_its_ability() -> None:
    prompts = judged(60.0, 1_000, strength=1.0)
    found = fit_place(prompts, 55.0, peers_at(prompts, 70.0), strengths=True)
    assert found.strengths[0] == pytest.approx(1.0, abs=0.35)
    assert abs(found.points - 60) < 1.645 * found.uncertainty
    p = found.p_adequate(prompts)
    assert p[1::2].mean() > p[::2].mean() + 0.2
    assert not len(fit_place(prompts, 55.0, nobody()).strengths)


def test_a_place_says_what_serving_does() -> None:
    prompts = judged(60.0, 5)
    place = Place(62.5, 12.0, np.array([0.4]), np.zeros(1))
    served = [
        p_at(row.tolist(), TIERS.tolist(), 62.5, 12.0, 0.4 * asked)
        for row, asked in zip(prompts.p_adequate, prompts.demands[:, 0].tolist(), strict=True)
    ]
    assert place.p_adequate(prompts) == pytest.approx(served, abs=1e-12)


def test_a_place_stays_on_the_scale_whatever_the_attempts_say() -> None:
    hopeless, perfect = judged(-900.0, 3_000), judged(900.0, 3_000)
    assert SMALLEST <= fit_place(hopeless, 55.0, nobody()).points < 0
    assert 150 < fit_place(perfect, 100.0, nobody()).points <= LARGEST
