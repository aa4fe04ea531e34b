"""How far repeated judgements agree."""

from __future__ import annotations

import numpy as np
import pytest

from training.judgement.agreement import agreement_of


def test_judgements_that_are_all_the_same_agree() -> None:
    found = agreement_of([[7, 7], [3, 3], [9, 9, 9]], step=1, seed=0)
    assert found is not None
    assert (found.attempts, found.pairs) == (3, 5)
    assert (found.exact, found.within, found.kappa) == (1.0, 1.0, 1.0)


def test_kappa_by_hand() -> None:
    # Squared differences 0, 1, 4, 0: mean 1.25. Both columns pooled: 1 1 2 3 3 5 8 8 → variance 7.109375.
    found = agreement_of([[1, 1], [2, 3], [3, 5], [8, 8]], step=1, seed=0)
    assert found is not None
    assert (found.exact, found.within) == (0.5, 0.75)
    assert found.kappa == pytest.approx(1 - 1.25 / (2 * 7.109375))
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.kappa <= found.high


def test_random_judgements_agree_by_chance_only() -> None:
    rng = np.random.default_rng(1)
    found = agreement_of(rng.integers(1, 11, (400, 2)).tolist(), step=1, seed=0)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high


@pytest.mark.parametrize("judged", [[[5, 5], [5, 5]], [[5, 6]]])
def test_without_variety_there_is_no_kappa(judged: list[list[float]]) -> None:
    found = agreement_of(judged, step=1, seed=0)
    assert found is not None
    assert (found.kappa, found.low, found.high) == (None, None, None)


def test_attempts_judged_once_say_nothing() -> None:
    assert agreement_of([[5], [6], []], step=1, seed=0) is None


def test_the_interval_is_the_same_every_time_and_does_not_depend_on_the_order() -> None:
    pairs = [[1, 2], [4, 4], [9, 7], [3, 3]]
    assert agreement_of(pairs, step=1, seed=5) == agreement_of(pairs, step=1, seed=5)
    swapped = agreement_of([one[::-1] for one in pairs], step=1, seed=5)
    assert swapped == agreement_of(pairs, step=1, seed=5)
