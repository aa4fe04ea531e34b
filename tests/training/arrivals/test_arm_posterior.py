"""A new arm's P(adequate), learnt attempt by attempt."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from training.arrivals.arm_posterior import (
    PRIOR_SPREAD,
    ArmPosterior,
    Attempts,
    blocks,
    fit_posterior,
    log_losses,
    logits,
    posterior_steps,
)

CENTRE = 0.5


def attempts(
    n: int, *, shift: float = -0.8, slope: float = 0.7, seed: int = 0, new: bool = True
) -> Attempts:
    """Attempts of an arm that is as the model says."""
    rng = np.random.default_rng(seed)
    z = rng.normal(CENTRE, 1.3, n)
    p = expit(CENTRE + shift + slope * (z - CENTRE))
    return Attempts(z, rng.random(n) < p, np.full(n, new), np.ones(n))


def spreads(posterior: ArmPosterior) -> np.ndarray:
    return np.sqrt(np.diag(posterior.covariance))


def test_without_attempts_an_arm_is_its_tiers_head_and_nobody_is_sure_of_it() -> None:
    posterior = fit_posterior(attempts(0), CENTRE)
    np.testing.assert_allclose(posterior.mean, 0)
    np.testing.assert_allclose(spreads(posterior), PRIOR_SPREAD)
    z = np.array([-4.0, 0.0, CENTRE, 3.0])
    found = posterior.p_adequate(z)
    # On the same side of 1/2 and nearer to it: what is not known is neither adequate nor inadequate.
    assert (np.sign(found - 0.5) == np.sign(expit(z) - 0.5)).all()
    assert (np.abs(found - 0.5) <= np.abs(expit(z) - 0.5)).all()


def test_the_posterior_is_that_of_numerical_integration() -> None:
    some = attempts(60)
    posterior = fit_posterior(some, CENTRE)
    shift, tilt = np.meshgrid(np.linspace(-3, 3, 301), np.linspace(-3, 3, 301), indexing="ij")
    eta = some.tier_logits + shift[..., None] + tilt[..., None] * (some.tier_logits - CENTRE)
    fit = np.where(some.adequate, -np.logaddexp(0, -eta), -np.logaddexp(0, eta)).sum(axis=-1)
    prior = -((shift / PRIOR_SPREAD[0]) ** 2 + (tilt / PRIOR_SPREAD[1]) ** 2) / 2
    weight = np.exp(fit + prior - (fit + prior).max())
    weight /= weight.sum()
    exact = np.array([(weight * shift).sum(), (weight * tilt).sum()])
    np.testing.assert_allclose(posterior.mean, exact, atol=0.03)
    spread = [
        np.sqrt((weight * (x - m) ** 2).sum()) for x, m in zip((shift, tilt), exact, strict=True)
    ]
    np.testing.assert_allclose(spreads(posterior), spread, rtol=0.1)
    z = np.array([-2.0, 0.0, 2.0])
    p = [(weight * expit(one + shift + tilt * (one - CENTRE))).sum() for one in z]
    np.testing.assert_allclose(posterior.p_adequate(z), p, atol=0.01)


def test_many_attempts_find_the_truth() -> None:
    posterior = fit_posterior(attempts(20_000), CENTRE)
    np.testing.assert_allclose(posterior.mean, [-0.8, -0.3], atol=3 * spreads(posterior).max())
    assert spreads(posterior).max() < 0.03


def test_attempts_at_prompts_that_taught_the_bundle_teach_the_shift_alone() -> None:
    posterior = fit_posterior(attempts(500, slope=1.4, new=False), CENTRE)
    assert posterior.mean[0] < -0.5
    assert posterior.mean[1] == pytest.approx(0)
    np.testing.assert_allclose(spreads(posterior)[1], PRIOR_SPREAD[1])


def test_the_order_of_attempts_changes_nothing_that_was_learnt() -> None:
    some = attempts(80)
    turned = Attempts(*(getattr(some, field.name)[::-1] for field in dataclasses.fields(some)))
    np.testing.assert_allclose(
        fit_posterior(some, CENTRE).mean, fit_posterior(turned, CENTRE).mean, atol=1e-6
    )


def test_weights_count_by_their_relations_and_one_heavy_attempt_is_not_many() -> None:
    some = attempts(100)
    heavy = dataclasses.replace(some, weights=np.full(100, 7.0))
    np.testing.assert_allclose(
        fit_posterior(some, CENTRE).mean, fit_posterior(heavy, CENTRE).mean, atol=1e-6
    )
    lopsided = dataclasses.replace(some, weights=np.r_[1e6, np.ones(99)])
    assert lopsided.counts.sum() == pytest.approx(1, abs=1e-3)
    assert spreads(fit_posterior(lopsided, CENTRE))[0] > 2 * spreads(fit_posterior(some, CENTRE))[0]


@given(n=st.integers(1, 60), good=st.booleans(), z=st.floats(-13.8, 13.8))
def test_one_class_and_extreme_logits_give_a_probability(n: int, good: bool, z: float) -> None:
    same = Attempts(np.full(n, z), np.full(n, good), np.ones(n, bool), np.ones(n))
    posterior = fit_posterior(same, CENTRE)
    assert np.isfinite(posterior.covariance).all()
    found = posterior.p_adequate(logits(np.array([0.0, 1e-9, 0.5, 1.0])))
    assert ((found > 0) & (found < 1)).all()
    assert posterior.mean[0] * (1 if good else -1) >= 0


# --- How it tightens ---------------------------------------------------------------------------


@given(n=st.integers(0, 5_000))
def test_blocks_hold_every_attempt_once_in_order(n: int) -> None:
    places = [place for block in blocks(n) for place in range(block.start, block.stop)]
    assert places == list(range(n))


def test_an_attempt_is_predicted_before_it_is_learnt() -> None:
    some = attempts(150)
    other = some.adequate.copy()
    other[-1] = not other[-1]
    losses = log_losses(some, CENTRE)
    changed = log_losses(dataclasses.replace(some, adequate=other), CENTRE)
    for name in ("arm", "tier", "base_rate"):
        before, after = getattr(losses, name), getattr(changed, name)
        np.testing.assert_array_equal(before[:-1], after[:-1])
        # The same prediction of the last one: p for one outcome, 1 − p for the other.
        assert np.exp(-before[-1]) + np.exp(-after[-1]) == pytest.approx(1)


def test_a_hundred_attempts_beat_the_tiers_head_and_the_base_rate() -> None:
    gains = []
    for seed in range(8):
        losses = log_losses(attempts(100, shift=-1.2, slope=1, seed=seed), CENTRE)
        gains.append(
            [losses.tier.mean() - losses.arm.mean(), losses.base_rate.mean() - losses.arm.mean()]
        )
    assert (np.mean(gains, axis=0) > 0.02).all()


def test_the_estimate_tightens_and_its_intervals_hold_what_is_true() -> None:
    reference = np.random.default_rng(9).normal(CENTRE, 1.3, 40)
    held = []
    for seed in range(30):
        # Arms as the prior expects them: then nine in ten intervals hold, however few the attempts.
        shift, tilt = np.random.default_rng(seed).normal(0, PRIOR_SPREAD)
        truth = expit(reference + shift + tilt * (reference - CENTRE)).mean()
        some = attempts(120, shift=shift, slope=1 + tilt, seed=100 + seed)
        steps = posterior_steps(some, CENTRE, reference, seed=1)
        assert [step.attempts for step in steps] == [0, 10, 20, 50, 100, 120]
        assert steps[0].log_loss is None
        width = [step.p_adequate.high - step.p_adequate.low for step in steps]
        assert width[-1] < width[3] < width[0]
        for name in ("shift", "slope"):
            ranges = [getattr(step, name) for step in steps]
            assert ranges[-1].high - ranges[-1].low < ranges[0].high - ranges[0].low
        held += [step.p_adequate.low <= truth <= step.p_adequate.high for step in steps]
    assert np.mean(held) == pytest.approx(0.9, abs=0.06)


def test_the_same_seed_gives_the_same_report() -> None:
    some = attempts(30)
    assert posterior_steps(some, CENTRE, some.tier_logits, seed=3) == posterior_steps(
        some, CENTRE, some.tier_logits, seed=3
    )
