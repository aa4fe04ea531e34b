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
from router.core.off_policy import Estimates, Evidence, Interval, cautions, estimate, overlap

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
    assert "too few to tell: 1 distinct prompts" in cautions(overlap(log))[0]
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
