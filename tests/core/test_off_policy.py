"""Estimators on simulated logs whose truth is known."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from router.core.errors import InvalidInput
from router.core.off_policy import (
    Estimates,
    Evidence,
    Interval,
    Overlap,
    cautions,
    estimate,
    overlap,
)

ACTIONS = 3


@dataclass
class World:
    """Contexts in 0..1, the chance of a good outcome per action, and a logging policy that explores."""

    rng: np.random.Generator

    def log(self, n: int, *, explore: float = 0.5) -> tuple[Evidence, float]:
        """A log and the true value of the new policy on these very contexts' distribution."""
        x = self.rng.random(n)
        mean = self.means(x)
        greedy = np.where(x < 0.4, 0, 1)
        p = np.full((n, ACTIONS), explore / ACTIONS)
        p[np.arange(n), greedy] += 1 - explore
        done = (p.cumsum(axis=1) > self.rng.random(n)[:, None]).argmax(axis=1)
        new = self.new_policy(x)
        rows = np.arange(n)
        outcome = (self.rng.random(n) < mean[rows, done]).astype(float)
        return Evidence(
            outcomes=outcome[:, None],
            expected_logged=mean[rows, done][:, None],
            expected_new=mean[rows, new][:, None],
            chance=(done == new).astype(float),
            propensity=p[rows, done],
            groups=rows,
        ), self.truth()

    @staticmethod
    def means(x: np.ndarray) -> np.ndarray:
        return np.stack([0.8 - 0.5 * x, 0.4 + 0.3 * x, 0.2 + 0.7 * x], axis=1)

    @staticmethod
    def new_policy(x: np.ndarray) -> np.ndarray:
        return np.where(x < 0.6, 1, 2)

    def truth(self) -> float:
        x = (np.arange(100_000) + 0.5) / 100_000
        return float(self.means(x)[np.arange(len(x)), self.new_policy(x)].mean())


def wrong_model(log: Evidence) -> Evidence:
    """A model that knows nothing and is far off."""
    far = np.full_like(log.outcomes, 0.9)
    return replace(log, expected_logged=far, expected_new=far)


def wrong_propensities(log: Evidence) -> Evidence:
    return replace(log, propensity=np.clip(log.propensity * 0.6, 0.01, 1))


def values(found: Estimates) -> list[float]:
    intervals: list[Interval | None] = [getattr(found, field.name) for field in fields(found)]
    return [x for each in intervals if each is not None for x in (each.value, each.low, each.high)]


def means_over(logs: int, n: int, change: object = None) -> dict[str, float]:
    world = World(np.random.default_rng(1))
    found: dict[str, list[float]] = {"ips": [], "snips": [], "dr": []}
    for _ in range(logs):
        log, _ = world.log(n)
        (one,) = estimate(change(log) if callable(change) else log, resamples=2)
        for name, told in found.items():
            told.append(getattr(one, name).value)
    return {name: float(np.mean(told)) for name, told in found.items()}


def test_each_estimator_is_right_in_the_mean_where_model_and_propensities_are() -> None:
    truth = World(np.random.default_rng()).truth()
    for value in means_over(200, 500).values():
        assert value == pytest.approx(truth, abs=0.01)


def test_doubly_robust_is_right_where_the_model_is_wrong() -> None:
    truth = World(np.random.default_rng()).truth()
    assert means_over(400, 500, wrong_model)["dr"] == pytest.approx(truth, abs=0.02)


def test_doubly_robust_is_right_where_the_propensities_are_wrong_and_ips_is_not() -> None:
    truth = World(np.random.default_rng()).truth()
    found = means_over(200, 500, wrong_propensities)
    assert found["dr"] == pytest.approx(truth, abs=0.01)
    assert abs(found["ips"] - truth) > 0.2


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    world = World(np.random.default_rng(2))
    covered = {"ips": 0, "snips": 0, "dr": 0}
    logs = 400
    for seed in range(logs):
        log, truth = world.log(400)
        (found,) = estimate(log, resamples=200, seed=seed)
        for name in covered:
            interval = getattr(found, name)
            covered[name] += interval.low <= truth <= interval.high
    for count in covered.values():
        assert 0.915 <= count / logs <= 0.98


def test_decisions_on_one_prompt_are_drawn_together() -> None:
    log, _ = World(np.random.default_rng(3)).log(400)
    thrice = Evidence(*(np.repeat(getattr(log, field.name), 3, axis=0) for field in fields(log)))
    apart = replace(thrice, groups=np.arange(1200))
    width = [one.dr.high - one.dr.low for (one,) in map(estimate, (log, thrice, apart))]
    assert width[1] == pytest.approx(width[0], rel=0.15)
    assert width[2] < 0.75 * width[0]


def test_a_policy_that_changes_nothing_is_the_logged_one() -> None:
    log, _ = World(np.random.default_rng(4)).log(300)
    same = replace(
        log, chance=np.ones(300), propensity=np.ones(300), expected_new=log.expected_logged
    )
    (found,) = estimate(same)
    for name in ("ips", "snips", "dr"):
        assert getattr(found, name).value == pytest.approx(found.logged.value)
    assert found.difference.value == pytest.approx(0)
    known = overlap(same)
    assert (known.agreement, known.effective, known.uncovered) == (1.0, pytest.approx(300), 0.0)
    assert not known.thin
    assert cautions(known) == []


def test_a_log_of_a_deterministic_policy_gets_a_caution() -> None:
    log, _ = World(np.random.default_rng(5)).log(400)
    sure = replace(log, propensity=np.ones(400))
    known = overlap(sure)
    assert known.deterministic == 1.0
    assert known.uncovered == pytest.approx(1 - known.agreement)
    assert known.thin
    (said,) = cautions(known)
    assert "too thin to tell" in said
    assert "propensity 1" in said
    assert "leave some choices to chance" in said


def test_without_any_agreement_snips_is_none_and_a_caution_says_so() -> None:
    log, _ = World(np.random.default_rng(6)).log(50)
    none = replace(log, chance=np.zeros(50))
    (found,) = estimate(none)
    assert found.snips is None
    assert found.ips.value == 0.0
    assert found.dr.value == pytest.approx(float(log.expected_new.mean()))
    assert any("no logged decision stays" in line for line in cautions(overlap(none)))


def test_a_tiny_log_gets_a_caution() -> None:
    log, _ = World(np.random.default_rng(7)).log(1)
    assert "too few to tell: 1 distinct prompt;" in cautions(overlap(log))[0]
    assert all(map(math.isfinite, values(estimate(log)[0])))


def test_wrong_propensities_show_in_the_mean_weight() -> None:
    log, _ = World(np.random.default_rng(8)).log(4000)
    assert cautions(overlap(log)) == []
    (said,) = cautions(overlap(wrong_propensities(log)))
    assert re.match(r"weights average 1\.[67]\d instead of 1", said)


def test_the_same_seed_gives_the_same_intervals() -> None:
    log, _ = World(np.random.default_rng(9)).log(100)
    assert estimate(log, seed=3) == estimate(log, seed=3)
    assert estimate(log, seed=3) != estimate(log, seed=4)


# --- By hand -----------------------------------------------------------------------------------


def table(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


BY_HAND = Evidence(
    outcomes=table(1, 0, 1, 0.5),
    expected_logged=table(0.5, 0.5, 0.75, 0.5),
    expected_new=table(0.5, 0.75, 0.75, 0.25),
    chance=np.array([1.0, 0.0, 1.0, 0.5]),
    propensity=np.array([0.5, 1.0, 1.0, 0.25]),
    groups=np.array([0, 0, 1, 2]),
)
"""Weights 2, 0, 1 and 2."""


def test_four_decisions_by_hand() -> None:
    (found,) = estimate(BY_HAND)
    assert found.logged.value == pytest.approx(2.5 / 4)
    assert found.ips.value == pytest.approx((2 * 1 + 1 * 1 + 2 * 0.5) / 4)
    assert found.snips is not None
    assert found.snips.value == pytest.approx(4 / 5)
    # .5 + 2 · .5; .75; .75 + .25; .25 + 0
    assert found.dr.value == pytest.approx((1.5 + 0.75 + 1.0 + 0.25) / 4)
    assert found.difference.value == pytest.approx(found.dr.value - found.logged.value)


def test_the_overlap_of_four_decisions_by_hand() -> None:
    known = overlap(BY_HAND)
    assert (known.decisions, known.groups) == (4, 3)
    assert known.agreement == pytest.approx(2.5 / 4)
    assert known.effective == pytest.approx(5**2 / (4 + 0 + 1 + 4))
    assert known.mean_weight == pytest.approx(5 / 4)
    assert known.largest_share == pytest.approx(2 / 5)
    assert known.deterministic == pytest.approx(2 / 4)
    assert known.uncovered == pytest.approx(1 / 4)


def test_kinds_of_outcome_are_estimated_each_by_itself() -> None:
    def halved(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values / 2 + 0.1, values**2], axis=1)

    tables = ("outcomes", "expected_logged", "expected_new")
    log = replace(BY_HAND, **{name: halved(getattr(BY_HAND, name)) for name in tables})
    alone = [
        estimate(replace(log, **{name: getattr(log, name)[:, [kind]] for name in tables}))[0]
        for kind in range(3)
    ]
    for found, expected in zip(estimate(log), alone, strict=True):
        assert values(found) == pytest.approx(values(expected))


def test_how_large_weights_are_makes_no_difference_to_the_ratio() -> None:
    (small,) = estimate(replace(BY_HAND, chance=BY_HAND.chance * 0.01))
    (found,) = estimate(BY_HAND)
    assert found.snips is not None
    assert small.snips is not None
    assert (small.snips.value, small.snips.low, small.snips.high) == pytest.approx(
        (found.snips.value, found.snips.low, found.snips.high)
    )


def test_intervals_rest_on_a_thousand_resamples_unless_told_otherwise() -> None:
    log, _ = World(np.random.default_rng(1)).log(50)
    smooth = replace(log, expected_new=log.expected_new + np.random.default_rng(2).random((50, 1)))
    assert estimate(smooth) == estimate(smooth, resamples=1_000, seed=0)
    assert estimate(smooth) != estimate(smooth, resamples=999)
    assert estimate(smooth) != estimate(smooth, resamples=1_001)


def test_where_nothing_agrees_the_overlap_is_nothing() -> None:
    known = overlap(replace(BY_HAND, chance=np.zeros(4)))
    assert (known.effective, known.largest_share, known.mean_weight) == (0, 0, 0)


def test_tiny_weights_count_as_large_ones_do() -> None:
    tiny = overlap(replace(BY_HAND, chance=BY_HAND.chance * 1e-200))
    assert tiny.effective == pytest.approx(25 / 9)
    assert tiny.largest_share == pytest.approx(2 / 5)


def test_the_smallest_propensity_is_a_billionth_and_certain_is_a_billionth_below_one() -> None:
    small = replace(BY_HAND, propensity=np.array([1e-12, 1e-9, 2e-9, 1]), chance=np.ones(4))
    np.testing.assert_allclose(small.weights, [1e9, 1e9, 0.5e9, 1])
    sure = replace(BY_HAND, propensity=np.array([1 - 0.9e-9, 1 - 1e-9, 1 - 1.1e-9, 0.9]))
    assert overlap(sure).deterministic == 0.5


def test_an_interval_is_the_middle_95_percent_of_the_resampled_means() -> None:
    outcomes = np.random.default_rng(1).random(40)
    column = outcomes[:, None]
    log = Evidence(column, column, column, np.ones(40), np.ones(40), np.arange(40))
    (found,) = estimate(log, resamples=2_000, seed=3)
    means = outcomes[np.random.default_rng(3).integers(40, size=(2_000, 40))].mean(axis=1)
    assert (found.logged.low, found.logged.high) == pytest.approx(
        np.quantile(means, (0.025, 0.975))
    )


def test_large_logs_are_resampled_in_parts() -> None:
    """No more than four million draws are held at once: two resamples of this log, then two, then one."""
    rng = np.random.default_rng(5)
    outcomes = table(*rng.random(1_500_000))
    ones = np.ones(len(outcomes))
    log = Evidence(outcomes, outcomes, outcomes, ones, ones, np.arange(len(outcomes)))
    (found,) = estimate(log, resamples=5, seed=3)
    assert found.logged.low < found.logged.value < found.logged.high
    assert found.logged.high - found.logged.low < 0.002


def test_resamples_in_which_nothing_agrees_say_nothing_of_the_ratio() -> None:
    log = replace(BY_HAND, chance=np.array([1.0, 0, 0, 0]), groups=np.arange(4))
    (found,) = estimate(log)
    assert found.snips is not None
    assert (found.snips.value, found.snips.low, found.snips.high) == (1, 1, 1)


ENOUGH = Overlap(
    decisions=1_000, groups=30, agreement=0.5, effective=100.0, mean_weight=1.0, largest_share=0.1,
    deterministic=0.5, uncovered=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("known", "thin", "said"),
    [
        (ENOUGH, False, []),
        (replace(ENOUGH, groups=29), True, ["too few to tell: 29 distinct prompts"]),
        (replace(ENOUGH, effective=99.9), True, ["too thin to tell: the weights leave 100 effective"]),
        (replace(ENOUGH, effective=0.0), True, []),
        (replace(ENOUGH, effective=0.5), True, ["too thin to tell: the weights leave 0 effective"]),
        (replace(ENOUGH, uncovered=0.05), False, ["the logged policy was certain"]),
        (
            replace(ENOUGH, uncovered=0.0501),
            True,
            ["too thin to tell: the logged policy was certain (propensity 1) on 50% of the decisions"],
        ),
        (replace(ENOUGH, mean_weight=1.11), False, ["weights average 1.11 instead of 1"]),
        (replace(ENOUGH, mean_weight=1.09), False, []),
        (replace(ENOUGH, mean_weight=0.91), False, []),
        (replace(ENOUGH, mean_weight=0.89), False, ["weights average 0.89 instead of 1"]),
        (replace(ENOUGH, mean_weight=0.0, agreement=0.0), False, ["too thin to tell: no logged decision"]),
        (replace(ENOUGH, mean_weight=0.5, agreement=0.01), False, ["weights average 0.50 instead of 1"]),
        (replace(ENOUGH, mean_weight=2, uncovered=0.01), False, ["the logged policy was certain"]),
    ],
)  # fmt: skip
def test_from_where_a_log_is_too_thin_and_what_is_said(
    known: Overlap, thin: bool, said: list[str]
) -> None:
    assert known.thin is thin
    for line, begin in zip(cautions(known), said, strict=True):
        assert line.startswith(begin)


@pytest.mark.parametrize("name", ["chance", "propensity"])
def test_the_ends_of_a_probability_are_probabilities(name: str) -> None:
    replace(BY_HAND, **{name: np.ones(4)})
    assert replace(BY_HAND, chance=np.zeros(4)).weights.sum() == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"chance": np.full(4, -0.1)},
        {"chance": np.full(4, 1.01)},
        {"chance": np.full(3, 0.5)},
        {"chance": np.array([0.5, 0.5, 0.5, -0.5])},
        {"propensity": np.full(4, -0.1)},
        {"propensity": np.array([0.5, 0.5, 0.5, 0.0])},
        {"propensity": np.full(4, 1.01)},
        {"propensity": np.full(3, 0.5)},
        {"expected_new": table(1, 2, 3)},
        {"expected_logged": table(1, 2, 3, np.nan)},
    ],
)
def test_evidence_that_does_not_fit_together_is_refused(changes: dict[str, np.ndarray]) -> None:
    with pytest.raises(InvalidInput):
        replace(BY_HAND, **changes)


@st.composite
def logs(draw: st.DrawFn) -> Evidence:
    n = draw(st.integers(1, 12))
    amount = st.floats(-1e6, 1e6, allow_subnormal=False)
    share = st.floats(0, 1)

    def table() -> np.ndarray:
        return draw(arrays(np.float64, (n, 2), elements=amount))

    return Evidence(
        table(),
        table(),
        table(),
        draw(arrays(np.float64, n, elements=share)),
        draw(arrays(np.float64, n, elements=st.floats(0, 1, exclude_min=True))),
        draw(arrays(np.int64, n, elements=st.integers(0, 3))),
    )


@given(logs())
def test_every_number_is_finite_and_every_interval_holds_something(log: Evidence) -> None:
    for found in estimate(log, resamples=20):
        numbers = values(found)
        assert all(map(math.isfinite, numbers))
        for low, high in zip(numbers[1::3], numbers[2::3], strict=True):
            assert low <= high
    known = overlap(log)
    assert all(map(math.isfinite, (known.effective, known.mean_weight, known.largest_share)))
    assert 0 <= known.effective <= known.decisions * (1 + 1e-9)
    assert all(isinstance(line, str) for line in cautions(known))


@pytest.mark.parametrize(
    ("name", "value"),
    [("chance", 1.5), ("chance", math.nan), ("propensity", 0.0), ("propensity", math.nan)],
)
def test_what_is_no_probability_is_refused(name: str, value: float) -> None:
    log, _ = World(np.random.default_rng(1)).log(5)
    with pytest.raises(InvalidInput, match=name):
        replace(log, **{name: np.full(5, value)})


def test_what_is_not_finite_or_empty_is_refused() -> None:
    log, _ = World(np.random.default_rng(1)).log(5)
    with pytest.raises(InvalidInput, match="finite"):
        replace(log, outcomes=np.full((5, 1), np.inf))
    with pytest.raises(InvalidInput, match="no decisions"):
        Evidence(*(getattr(log, field.name)[:0] for field in fields(log)))
