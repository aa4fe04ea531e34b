"""Lengths of tiers: from all models, for sources that training never saw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from router.classifier.features.lexical import FEATURES
from training.evaluation.metrics import coverage
from training.fitting.lengths import LengthModel
from training.fitting.tier_lengths import fit_tier_lengths
from training.scale.length_examples import LengthExamples
from training.scale.talkativeness import Voice

D, F = 3, len(FEATURES)
ARMS = ("low", "high")
ASKED, GIVEN = FEATURES.index("asked_text"), FEATURES.index("text_tokens")


def examples(
    shifts: tuple[float, ...] = (0.0, 0.3, -0.3),
    *,
    told: tuple[bool, ...] | None = None,
    n: int = 300,
    seed: int = 0,
) -> tuple[Any, LengthExamples]:
    """Families whose lengths double with the first dimension, each longer by its shift; then requests."""
    rng = np.random.default_rng(seed)
    families = len(shifts)
    family = np.repeat(np.arange(families + 1), n)
    x = np.zeros((len(family), D + F), dtype=np.float32)
    x[:, :D] = rng.normal(size=(len(family), D))
    length = 6 + np.log(2) * x[:, 0] + np.append(shifts, 0.0)[family]
    prompt = np.repeat(np.arange(len(family)), 2)
    logs = length[prompt] + 0.4 * rng.normal(size=len(prompt))
    requests = family == families
    return x, LengthExamples(
        texts=np.array([f"p{at}" for at in range(len(family))], dtype=object),
        families=tuple(f"f{at}" for at in range(families)),
        instructed=told or (False,) * families,
        family=family,
        kinds=np.where(requests, np.arange(len(family)) % 12, -1),
        length=length.astype(np.float64),
        prompt=prompt,
        logs=logs,
        voices={"low": Voice(-0.4, 1.0), "high": Voice(0.2, 1.3)},
    )


def fitted(x: Any, known: LengthExamples) -> LengthModel:
    return fit_tier_lengths(x, known, ARMS, seed=1, dimensions=D)


@pytest.fixture(scope="module")
def made() -> LengthModel:
    return fitted(*examples())


def ask(made: LengthModel, first: float, **features: float) -> Any:
    x = np.zeros((1, D + F), dtype=np.float32)
    x[0, 0] = first
    for name, value in features.items():
        x[0, D + FEATURES.index(name)] = value
    return made.of(x)[0]


def test_each_tier_speaks_with_its_own_voice(made: LengthModel) -> None:
    short, long = np.log(ask(made, -1.0)[:, 0]), np.log(ask(made, 1.0)[:, 0])
    shared = short[0] + 0.4, long[0] + 0.4
    for found, length in zip((short, long), shared, strict=True):
        assert found[1] == pytest.approx(6.2 + 1.3 * (length - 6), abs=0.01)
    assert long[0] - short[0] == pytest.approx(2 * np.log(2), abs=0.35)


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
def test_an_unseen_source_whose_answers_are_longer_or_shorter_is_covered(
    made: LengthModel, shift: float
) -> None:
    x, unseen = examples((shift,), seed=7)
    rows = unseen.prompt[unseen.kinds[unseen.prompt] < 0]
    tokens = np.exp(unseen.logs[: len(rows)] - 0.4)
    assert coverage(tokens, made.of(x[rows])[:, 0, 1]) > 0.85


def test_the_more_sources_differ_the_wider_the_quantiles() -> None:
    like, unlike = fitted(*examples((0.0, 0.1, -0.1))), fitted(*examples((0.0, 1.5, -1.5)))
    width = [np.log(ask(one, 0.0)[0, 1] / ask(one, 0.0)[0, 0]) for one in (like, unlike)]
    assert width[1] > width[0] + 0.3


def test_an_instructed_source_does_not_make_requests_short() -> None:
    x, known = examples((0.0, 0.0, -2.5), told=(False, False, True))
    without = fitted(*examples((0.0, 0.0)))
    assert np.log(ask(fitted(x, known), 0.0)[0, 0]) == pytest.approx(
        np.log(ask(without, 0.0)[0, 0]), abs=0.25
    )


def test_a_text_of_two_thousand_words_and_a_translation_are_as_long_as_asked(
    made: LengthModel,
) -> None:
    essay = ask(made, -2.0, asked_text=np.log1p(2_600))
    assert (essay[:, 0] >= 0.7 * 2_600).all()
    assert (np.diff(essay, axis=1) > 0).all()
    translation = ask(made, -2.0, changed_tokens=np.log1p(5_500))
    assert (translation[:, 0] > 4_900).all()
    assert (translation[:, 1] < 2 * 5_500).all()


def test_no_quantile_is_absurd(made: LengthModel) -> None:
    strange = np.random.default_rng(3).normal(size=(300, D + F)).astype(np.float32) * 50
    found = made.of(strange)
    assert (np.diff(found, axis=2) >= 0).all()
    assert found.min() >= 1
    assert found.max() <= 16_001


def test_a_tier_without_a_voice_speaks_as_the_mean_of_today() -> None:
    x, known = examples()
    silent = fitted(x, replace(known, voices={"high": known.voices["high"]}))
    assert ask(silent, 0.0)[0, 0] == pytest.approx(
        ask(fitted(x, known), 0.0)[0, 0] * np.exp(0.4), rel=0.001
    )


def test_the_same_seed_gives_the_same_lengths(made: LengthModel) -> None:
    x, known = examples()
    np.testing.assert_array_equal(fitted(x, known).of(x), made.of(x))
