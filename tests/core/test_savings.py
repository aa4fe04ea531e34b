"""What one model alone would have brought: by hand, at the boundaries, and where nothing can be told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from router.core.errors import InvalidInput
from router.core.off_policy import Interval
from router.core.savings import MIN_TRIALS, Sample, Total, total


def sample(trials: int, n: int = 200, p: float = 0.1) -> Sample:
    """Decisions of which the model was chosen in the first few, always at twice its quote."""
    taken = np.arange(n) < trials
    return Sample(np.where(taken, 2.0, 1.0), taken, np.full(n, p), np.zeros(n), np.ones(n))


def test_the_ratio_of_cost_to_quote_holds_for_all() -> None:
    found = total(sample(20))
    assert found is not None
    assert found.made == 20 * 2 + 180
    assert found.single.value == pytest.approx(400)
    # Every call cost exactly twice its quote, so there is no doubt.
    assert found.single.high - found.single.low == pytest.approx(0, abs=1e-6)
    assert found.saved.value == pytest.approx(180)


def test_by_hand() -> None:
    """Two of four decisions; their costs are 1 and 5 at quotes of 1 and 2, drawn with 1/2 and 1/4."""
    some = Sample(
        np.array([1.0, 5.0, 9.0, 9.0]), np.array([True, True, False, False]),
        np.array([0.5, 0.25, 0.6, 1.0]), np.zeros(4), np.array([1.0, 2.0, 3.0, 4.0]),
    )  # fmt: skip
    assert (some.trials, some.tells) == (1, False)
    many = Sample(
        np.tile(some.outcomes, 10), np.tile(some.taken, 10), np.tile(some.propensity, 10),
        np.tile(some.baseline, 10), np.tile(some.size, 10),
    )  # fmt: skip
    found = total(many)
    assert found is not None
    # (2 · 1 + 4 · 5) / (2 · 1 + 4 · 2) = 2.2, and the quotes of all are 100.
    assert found.single.value == pytest.approx(220)


def test_a_baseline_is_known_beforehand() -> None:
    n = 100
    taken = np.arange(n) < 25
    quality = np.where(taken, 0.7, 0.0)
    found = total(Sample(quality, taken, np.full(n, 0.25), np.full(n, 0.8), np.ones(n)))
    assert found is not None
    assert found.single.value == pytest.approx(70)


@pytest.mark.parametrize(("trials", "tells"), [(MIN_TRIALS - 1, False), (MIN_TRIALS, True)])
def test_how_many_trials_are_needed(trials: int, tells: bool) -> None:
    assert sample(trials).trials == trials
    assert (total(sample(trials)) is not None) is tells


def test_a_model_that_was_the_best_nearly_everywhere_needs_no_trials() -> None:
    assert sample(190, p=0.5).trials == 0
    assert total(sample(190, p=0.5)) is not None


def test_where_nothing_was_left_to_chance_nothing_is_told() -> None:
    assert total(sample(200, p=1.0)) is None
    assert total(sample(0)) is None


def test_what_is_saved_is_the_single_model_less_what_was_made() -> None:
    assert Total(10.0, Interval(15.0, 9.0, 21.0)).saved == Interval(5.0, -1.0, 11.0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"propensity": np.zeros(200)}, "propensity must be above 0"),
        ({"propensity": np.full(200, 1.01)}, "propensity must be above 0"),
        ({"size": np.zeros(200)}, "size must be above 0"),
        ({"outcomes": np.full(200, np.nan)}, "finite"),
        ({"baseline": np.zeros(199)}, "one length"),
        ({"taken": np.zeros(199, dtype=bool)}, "one length"),
    ],
)
def test_what_is_out_of_range_is_refused(changes: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        replace(sample(20), **changes)
