"""How the choices of two sides differ, in sums."""

from __future__ import annotations

import statistics

import pytest

from router.core.disagreement import Choice, Disagreement, Judgement, Moments


def test_moments_are_mean_and_standard_error() -> None:
    found, values = Moments(), [1.0, 4.0, 2.5, 10.0]
    assert (found.count, found.mean, found.standard_error) == (0, 0.0, None)
    for value in values:
        found.add(value)
    assert found.count == 4
    assert found.mean == pytest.approx(statistics.mean(values))
    assert found.standard_error == pytest.approx(statistics.stdev(values) / 2)
    one = Moments()
    one.add(3.0)
    assert one.standard_error is None


def test_both_choices_are_judged_by_both_sides() -> None:
    found = Disagreement()
    # By the live parts the other choice costs 60 more and is .2 better; by the shadow's, 30 more and .4.
    live = Choice("nano", "low", Judgement(40, 0.7), Judgement(50, 0.5))
    shadow = Choice("pro", "high", Judgement(80, 0.9), Judgement(100, 0.9))
    found.add(live, shadow)
    assert (found.calls, found.same_model, found.same_tier) == (1, 0, 0)
    assert found.tiers == {("low", "high"): 1}
    assert (found.live.nanos.mean, found.live.p_adequate.mean) == (40, 0.7)
    assert (found.shadow.nanos.mean, found.shadow.p_adequate.mean) == (80, 0.9)
    assert (found.by_live.nanos.mean, found.by_live.p_adequate.mean) == (60, pytest.approx(0.2))
    assert (found.by_shadow.nanos.mean, found.by_shadow.p_adequate.mean) == (30, pytest.approx(0.4))


def test_a_model_that_the_other_side_does_not_know_is_compared_by_one_side_alone() -> None:
    found = Disagreement()
    same = Judgement(10, 0.5)
    found.add(Choice("a", "low", same, same), Choice("new", "low", same, None))
    assert (found.same_model, found.same_tier) == (0, 1)
    assert (found.by_live.nanos.count, found.by_shadow.nanos.count) == (0, 1)
    found.add(Choice("old", "low", same, None), Choice("a", "low", same, same))
    assert (found.by_live.nanos.count, found.by_shadow.nanos.count) == (1, 1)
    found.add(Choice("a", "low", same, same), Choice("a", "low", same, same))
    assert (found.same_model, found.same_tier, found.calls) == (1, 3, 3)
