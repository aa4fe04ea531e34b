"""The baselines: they learn what is there to learn, and only from the training rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.worlds import objects, world
from training.evaluation.baselines import (
    EncodedOutcomes,
    arm_pairs,
    baseline_scores,
    pair_differences,
)
from training.evaluation.metrics import apgr


def widest_apgr(rows: EncodedOutcomes, score: np.ndarray) -> float:
    quality = rows.outcomes.quality
    return apgr(quality[:, 0], quality[:, 2], score[:, arm_pairs(3).index((0, 2))])


def test_pairs_go_up_the_ladder() -> None:
    assert arm_pairs(3) == [(0, 1), (0, 2), (1, 2)]
    differences = pair_differences(np.array([[0.1, 0.4, 0.9]]))
    assert differences[0].tolist() == pytest.approx([0.3, 0.8, 0.5])


def test_every_baseline_scores_every_pair() -> None:
    rows, _ = world(400)
    found = baseline_scores(rows.take(np.arange(300)), rows.take(np.arange(300, 400)), seed=0)
    assert found is not None
    assert list(found.pairs) == ["length", "knn", "multinomial", "independent", "random"]
    assert all(score.shape == (100, 3) for score in found.pairs.values())
    for probability in found.adequate.values():
        assert probability.shape == (100, 3)
        assert ((probability >= 0) & (probability <= 1)).all()


def test_learners_beat_chance_where_there_is_something_to_learn() -> None:
    rows, _ = world(2000)
    found = baseline_scores(rows.take(np.arange(1500)), rows.take(np.arange(1500, 2000)), seed=0)
    assert found is not None
    test = rows.take(np.arange(1500, 2000))
    chance = widest_apgr(test, found.pairs["random"])
    assert chance == pytest.approx(0.5, abs=0.07)
    assert widest_apgr(test, found.pairs["knn"]) > 0.5
    assert widest_apgr(test, found.pairs["multinomial"]) > 0.5
    assert widest_apgr(test, found.pairs["independent"]) > 0.5


def test_length_learns_its_direction() -> None:
    rows, _ = world(1500)
    long_is_easy = replace(
        rows,
        outcomes=replace(
            rows.outcomes, texts=objects("y" * (5000 - len(t)) for t in rows.outcomes.texts)
        ),
    )
    before = baseline_scores(rows, rows, seed=0)
    after = baseline_scores(long_is_easy, long_is_easy, seed=0)
    assert before is not None
    assert after is not None
    assert widest_apgr(rows, before.pairs["length"]) >= 0.5
    assert widest_apgr(rows, before.pairs["length"]) == pytest.approx(
        widest_apgr(long_is_easy, after.pairs["length"]), abs=1e-6
    )


def test_cross_fitting_never_shows_a_prompt_its_own_group() -> None:
    # Noise, every prompt twice: a neighbour search that saw the copy would know the answer.
    rng = np.random.default_rng(0)
    rows, _ = world(400)
    embeddings = rng.normal(size=(200, 8)).astype(np.float32).repeat(2, axis=0)
    quality = rng.integers(0, 2, (200, 3)).repeat(2, axis=0).astype(float)
    quality[:, 2] = 1.0
    rows = replace(rows, embeddings=embeddings, outcomes=replace(rows.outcomes, quality=quality))
    found = baseline_scores(None, rows, seed=0)
    assert found is not None
    assert widest_apgr(rows, found.pairs["knn"]) == pytest.approx(0.5, abs=0.08)


def test_cross_fitting_keeps_the_order_of_rows() -> None:
    rows, _ = world(600)
    found = baseline_scores(None, rows, seed=0)
    assert found is not None
    assert widest_apgr(rows, found.pairs["multinomial"]) > 0.55
    assert np.isfinite(found.pairs["length"]).all()


def test_censored_histories_still_have_baselines() -> None:
    rows, _ = world(400, censored=True)
    found = baseline_scores(rows, rows, seed=0)
    assert found is not None
    assert np.isfinite(found.adequate["knn"]).all()
    # Without labels the multinomial knows base rates only.
    assert np.ptp(found.adequate["multinomial"], axis=0).tolist() == [0.0, 0.0, 0.0]


def test_one_group_cannot_be_cross_fitted() -> None:
    rows, _ = world(2)
    assert baseline_scores(None, rows, seed=0) is None
