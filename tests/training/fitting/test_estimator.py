"""The estimator: it finds what is there, uses censored rows, calibrates, and repeats itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from training.fitting import heads
from training.fitting.estimator import Hyperparameters, PooledLogistic, cross_fitted, fit_pooled
from training.fitting.ngrams import ngram_counts

N, P = 1500, 6


def world(seed: int = 0, n: int = N) -> tuple[Any, Any, Any]:
    """Inputs on very different scales, the true P(adequate) of three arms, and one draw from it."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, P))
    slopes = np.array(
        [[1.2, 1.0, 0.4], [0.0, 0.6, 0.8], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    )
    truth = expit(z @ slopes + np.array([-0.8, 0.3, 1.2]))
    scale = np.array([0.02, 5.0, 1, 1, 1, 1])
    return (z * scale + 3).astype(np.float32), truth, rng.random((n, 3)) < truth


def fitted(x: Any, adequate: Any, judged: Any = None, **options: Any) -> PooledLogistic:
    judged = np.ones(adequate.shape, dtype=bool) if judged is None else judged
    groups = [str(i) for i in range(len(x))]
    return fit_pooled(x, adequate & judged, judged, groups, **({"seed": 1} | options))


def test_it_finds_the_true_probabilities() -> None:
    x, _, adequate = world()
    fresh, fresh_truth, _ = world(seed=1)
    model = fitted(x, adequate)
    assert np.abs(model.p_adequate(fresh) - fresh_truth).mean() < 0.04
    assert np.abs(model.p_adequate(x).mean(axis=0) - adequate.mean(axis=0)).max() < 0.02


def test_one_attempt_per_prompt_is_enough_to_learn_from() -> None:
    x, _, adequate = world()
    fresh, truth, _ = world(seed=1)
    kept = np.random.default_rng(5).integers(3, size=len(x))
    judged = np.arange(3) == kept[:, None]
    model = fitted(x, adequate, judged)
    assert np.abs(model.p_adequate(fresh) - truth).mean() < 0.07


def test_what_an_unjudged_attempt_says_is_not_read() -> None:
    x, _, adequate = world(n=200)
    judged = np.random.default_rng(3).random(adequate.shape) < 0.6
    other = adequate ^ ~judged
    groups = [str(i) for i in range(200)]
    one = fit_pooled(x, adequate, judged, groups, seed=1)
    two = fit_pooled(x, other, judged, groups, seed=1)
    np.testing.assert_array_equal(one.weights, two.weights)


def test_weights_count_like_repeated_attempts() -> None:
    x, _, adequate = world(n=300)
    grid = [Hyperparameters(0.01, 4)]
    heavy = np.ones(adequate.shape)
    heavy[:100] = 2.0
    weighted = fitted(x, adequate, weights=heavy, grid=grid)
    groups = [str(i) for i in range(300)] + [str(i) for i in range(100)]
    both = np.concatenate([adequate, adequate[:100]])
    # Repeating rows also moves the mean of the columns; the fit itself must agree all the same.
    repeated = fit_pooled(
        np.concatenate([x, x[:100]]), both, np.ones_like(both), groups, seed=1, grid=grid
    )
    assert np.abs(weighted.p_adequate(x) - repeated.p_adequate(x)).max() < 0.02


def test_the_same_inputs_give_the_same_fit() -> None:
    x, _, adequate = world(n=300)
    one, two = fitted(x, adequate), fitted(x, adequate)
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.bias, two.bias)


def test_out_of_fold_probabilities_are_calibrated() -> None:
    x, _, adequate = world()
    model = fitted(x, adequate)
    for arm in range(3):
        predicted = model.out_of_fold[:, arm]
        for part in np.array_split(np.argsort(predicted), 5):
            assert predicted[part].mean() == pytest.approx(adequate[part, arm].mean(), abs=0.06)


def test_weights_of_the_stack_decide_the_level_and_not_the_order() -> None:
    """Half of the prompts are graded leniently: all of their attempts are adequate."""
    x, _, adequate = world()
    lenient = np.arange(len(x)) < len(x) // 2
    graded = adequate | lenient[:, None]
    strict_alone = np.where(lenient, 0.0, 1.0)[:, None] * np.ones((1, 3))
    both, strict = fitted(x, graded), fitted(x, graded, stack_weights=strict_alone)
    kept = ~lenient
    assert both.p_adequate(x[kept]).mean() > adequate[kept].mean() + 0.1
    assert strict.p_adequate(x[kept]).mean() == pytest.approx(adequate[kept].mean(), abs=0.02)
    np.testing.assert_array_equal(
        both.p_adequate(x).argsort(axis=0), strict.p_adequate(x).argsort(axis=0)
    )


def test_noise_gets_the_base_rate_and_never_a_reversed_slope() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 30)).astype(np.float32)
    adequate = rng.random((400, 2)) < [0.3, 0.7]
    model = fitted(x, adequate)
    assert (model.stack.weights >= 0).all()
    assert np.abs(model.p_adequate(x) - [0.3, 0.7]).mean() < 0.12


def test_a_constant_column_and_a_constant_arm_do_no_harm() -> None:
    x, _, adequate = world(n=300)
    x[:, 3] = 7.0
    adequate[:, 2] = True
    model = fitted(x, adequate)
    assert np.isfinite(model.weights).all()
    assert (model.weights[3] == 0).all()
    assert model.p_adequate(x)[:, 2].min() > 0.9


def test_the_gradient_is_that_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective handed to L-BFGS, caught and differentiated numerically."""
    x, _, adequate = world(n=60)
    caught: list[Any] = []
    real = heads.minimize

    def catching(objective: Any, first: Any, **options: Any) -> Any:
        caught.append((objective, first))
        return real(objective, first, **options)

    monkeypatch.setattr(heads, "minimize", catching)
    fitted(x, adequate, grid=[Hyperparameters(0.5, 4)])
    objective, first = caught[0]
    at = first + np.random.default_rng(0).normal(scale=0.3, size=len(first))
    numeric = approx_fprime(at, lambda theta: objective(theta)[0], 1e-3)
    np.testing.assert_allclose(objective(at)[1], numeric, atol=0.05, rtol=0.02)


# --- Words -------------------------------------------------------------------------------------


def prompts(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Inputs that say one thing and token ids that say another; both move P(adequate) of two arms."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4)).astype(np.float32)
    ids = [[*rng.integers(100, 200, size=8), 7 if hard else 8] for hard in rng.random(n) < 0.5]
    word = np.array([1.0 if one[-1] == 7 else -1.0 for one in ids])
    truth = expit(1.0 * x[:, :1] + word[:, None] * [-1.5, -0.2] + [0.0, 1.0])
    return x, ids, truth


def test_a_word_that_matters_is_found_beside_the_vector() -> None:
    x, ids, truth = prompts(1_500, seed=0)
    adequate = np.random.default_rng(1).random(truth.shape) < truth
    fresh_x, fresh_ids, fresh = prompts(1_500, seed=2)
    blind = fitted(x, adequate)
    seeing = fitted(x, adequate, counts=ngram_counts(ids))
    error = np.abs(blind.p_adequate(fresh_x) - fresh).mean()
    assert np.abs(seeing.p_adequate(fresh_x, ngram_counts(fresh_ids)) - fresh).mean() < 0.6 * error


def test_words_that_say_nothing_do_no_harm() -> None:
    x, _, adequate = world()
    rng = np.random.default_rng(3)
    noise = ngram_counts([rng.integers(0, 3_000, size=12).tolist() for _ in range(len(x))])
    fresh, truth, _ = world(seed=1)
    blind = fitted(x, adequate)
    seeing = fitted(x, adequate, counts=noise)
    error = np.abs(blind.p_adequate(fresh) - truth).mean()
    assert np.abs(seeing.p_adequate(fresh, noise) - truth).mean() < error + 0.01


def test_without_the_text_the_vector_still_speaks() -> None:
    x, ids, truth = prompts(600, seed=0)
    adequate = np.random.default_rng(1).random(truth.shape) < truth
    model = fitted(x, adequate, counts=ngram_counts(ids))
    nothing = ngram_counts([[] for _ in ids])
    np.testing.assert_allclose(model.p_adequate(x), model.p_adequate(x, nothing), atol=0.05)


def test_outcomes_of_one_kind_grow_no_trees() -> None:
    x, _, adequate = world()
    adequate = np.ones_like(adequate)
    adequate[0, 0] = False  # one fold holds the only inadequate attempt
    model = fitted(x, adequate, dimensions=3)
    assert model.heads == ("vector",)


def test_a_kind_of_prompt_that_was_not_seen_is_judged_less_well() -> None:
    """Each kind has its own difficulty, which only its own prompts tell."""
    rng = np.random.default_rng(3)
    kind = np.arange(1200) % 6
    x = np.hstack([np.eye(6)[kind] + 0.1 * rng.normal(size=(1200, 6)), rng.normal(size=(1200, 2))])
    x = x.astype(np.float32)
    truth = expit(np.array([-2, 2, -1, 1, -2, 2])[kind][:, None] + x[:, 6:7] + np.zeros((1, 2)))
    adequate = rng.random(truth.shape) < truth
    judged = np.ones(adequate.shape, dtype=bool)
    model = fitted(x, adequate, dimensions=6)
    assert model.heads == ("vector", "trees")
    by_chance = cross_fitted(model, x, adequate, judged, np.arange(1200) // 6 % 5, seed=1)
    by_kind = cross_fitted(model, x, adequate, judged, kind, seed=1)
    assert np.abs(by_chance - truth).mean() < 0.08
    assert np.abs(by_kind - truth).mean() > 0.2
