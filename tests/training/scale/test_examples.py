"""What an annotation is worth to the classifier, beside attempts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.requests.request_set import Annotation, Request
from training.scale.examples import (
    MOST_ATTEMPTS,
    Examples,
    annotated_examples,
    calibration_weights,
)
from training.scale.reference import Reference

REFERENCE = Reference({}, {}, discrimination=2.0, difficulty=(-8.0, 0.0, 1.0, 2.0), published=())
POINTS = np.array([0.0, 50.0])


def request(level: int, text: str = "") -> Request:
    return Request(text or f"level {level}", "en", "kind", (Annotation(level, 0, 0, 0, 2),))


def examples(*levels: int, spread: float = 1.0) -> Examples:
    return annotated_examples([request(level) for level in levels], REFERENCE, POINTS, spread)


def test_a_level_says_how_likely_an_arm_is_adequate() -> None:
    found = examples(1, 2)
    assert found.outcome[0] == pytest.approx([0.5, 1 / (1 + np.exp(-1))])
    assert found.outcome[1] == pytest.approx([1 / (1 + np.exp(1)), 0.5])


@pytest.mark.parametrize(("spread", "attempts"), [(1.0, 4.0), (0.5, 16.0)])
def test_at_even_odds_an_annotation_counts_as_attempts_of_its_precision(
    spread: float, attempts: float
) -> None:
    """w attempts at probability p tell a logit with the variance 1 / (w p (1 − p))."""
    assert examples(1, spread=spread).weight[0, 0] == pytest.approx(attempts)


def test_the_surer_an_outcome_the_more_attempts_an_annotation_counts_as_up_to_a_bound() -> None:
    found = examples(0, 2)
    p = 1 / (1 + np.exp(1))
    assert found.weight[1, 0] == pytest.approx(1 / (p * (1 - p)))
    assert found.weight[0].tolist() == [MOST_ATTEMPTS, MOST_ATTEMPTS]


def test_a_measured_prompt_is_not_taken_from_its_annotation() -> None:
    measured = examples(1)
    other = annotated_examples(
        [request(3, "LEVEL  1"), request(3, "another")], REFERENCE, POINTS, 1.0
    )
    assert measured.and_those_of([other]).texts.tolist() == ["level 1", "another"]


def test_in_the_calibration_an_annotation_counts_as_fewer_attempts_than_in_the_heads() -> None:
    found = examples(0, 1, 2)
    weight = np.array([[60.0, 60.0], [12.5, 12.0], [0.5, 60.0]])
    sources = np.array(["a history", *found.sources[1:]], dtype=object)
    weighed = calibration_weights(replace(found, weight=weight, sources=sources))
    assert weighed.tolist() == [[60.0, 60.0], [12.0, 12.0], [0.5, 12.0]]
