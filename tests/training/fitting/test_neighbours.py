"""The head on neighbours: who is near, how sure few of them make it, and what is kept of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from training.fitting import neighbours
from training.fitting.estimator import fit_pooled
from training.fitting.heads import out_of_fold
from training.fitting.neighbours import Neighbours, fit_neighbours

PLACES, EACH, D = 20, 60, 16
N = PLACES * EACH


def world(seed: int = 0) -> tuple[Any, Any]:
    """Twenty subjects, hard or easy at random: nothing but nearness tells."""
    centres = np.random.default_rng(7).normal(size=(PLACES, D))
    easy = np.random.default_rng(8).choice([0.15, 0.85], PLACES)
    rng = np.random.default_rng(seed)
    subject = np.arange(N) % PLACES
    vectors = centres[subject] + 0.3 * rng.normal(size=(N, D))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.stack([easy[subject], easy[subject] ** 0.5], axis=1)


def fitted(vectors: Any, truth: Any, weight: Any = None) -> Neighbours:
    weight = np.ones(truth.shape) if weight is None else weight
    return fit_neighbours(vectors, outcomes(truth), weight, 1)


def outcomes(truth: Any) -> Any:
    return (np.random.default_rng(5).random(truth.shape) < truth).astype(float)


def test_prompts_of_a_subject_are_judged_by_that_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "COUNT", 40)
    vectors, truth = world()
    fresh, fresh_truth = world(seed=1)
    made = fitted(vectors, truth)
    assert np.abs(expit(made.logits(fresh)) - fresh_truth).mean() < 0.08


def test_a_prompt_does_not_vouch_for_itself_out_of_fold() -> None:
    vectors, _ = world()
    outcome = (np.random.default_rng(2).random((N, 2)) < 0.5).astype(float)

    def elsewhere(rows: Any, out: Any) -> Any:
        known = fit_neighbours(vectors[rows], outcome[rows], np.ones((rows.sum(), 2)), 1)
        return known.logits(vectors[out])

    said = out_of_fold(np.arange(N) // PLACES % 5, 2, elsewhere)
    assert abs(((said > 0) == (outcome > 0.5)).mean() - 0.5) < 0.06


def test_an_arm_that_none_of_them_asked_keeps_its_share() -> None:
    vectors, truth = world()
    weight = np.ones(truth.shape)
    weight[:, 1] = 0
    weight[:4, 1] = 1
    made = fitted(vectors, truth, weight)
    assert np.allclose(made.base[1], expit(made.logits(vectors[500:501])[0, 1]), atol=0.3)
    assert np.isfinite(made.logits(vectors)).all()


def test_of_equally_near_prompts_the_first_are_asked() -> None:
    vectors = np.repeat(np.eye(2, 4, dtype=np.float32), 300, axis=0)
    outcome = (np.arange(600)[:, None] % 300 < 100).astype(float)
    made = fit_neighbours(vectors, outcome, np.ones((600, 1)), 1)
    assert expit(made.logits(vectors[:1]))[0, 0] > 0.95


def test_more_prompts_than_are_kept_leave_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_PROMPTS", 300)
    vectors, truth = world()
    one, two = fitted(vectors, truth), fitted(vectors, truth)
    assert one.vectors.shape == (300, D)
    assert one.vectors.dtype == np.int8
    np.testing.assert_array_equal(one.vectors, two.vectors)


def test_they_are_kept_only_where_they_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "COUNT", 40)
    vectors, truth = world()
    rng = np.random.default_rng(4)
    form = rng.normal(size=(N, 3)).astype(np.float32)
    groups = [str(i) for i in range(N)]
    adequate = rng.random(truth.shape) < truth
    judged = np.ones(adequate.shape, dtype=bool)

    def heads(vectors: Any, adequate: Any, **options: Any) -> tuple[str, ...]:
        x = np.hstack([vectors, form])
        return fit_pooled(x, adequate, judged, groups, seed=1, dimensions=D, **options).heads

    assert "neighbours" in heads(vectors, adequate)
    assert "neighbours" not in heads(vectors, adequate, neighbours=False)
    linear = rng.random(truth.shape) < expit(2 * form[:, :1] * np.ones(2))
    assert "neighbours" not in heads(vectors, linear)
