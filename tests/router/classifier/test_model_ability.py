"""What P(adequate) of a model rests on: attempts of its own, then published scores, then its tier."""

from __future__ import annotations

import dataclasses
import math

import pytest

from router.classifier.manifest import BundleManifest, ModelAbility, read_manifest
from router.classifier.model_ability import ability_of, p_of_model
from router.core.ability import Ability, p_at
from router.core.types import Score
from router.paths import DEFAULT_BUNDLE
from tests.builders import model

P = {"low": 0.5, "medium": 0.7310585786300049, "high": 0.8807970779778823}
SCORE = Score(P, {**dict.fromkeys(P, 0.25), "none": 0.25}, 0.4, {})


def manifest(*points: float | None, **abilities: ModelAbility) -> BundleManifest:
    """The shipped manifest with these abilities of its arms and of these models."""
    shipped = read_manifest(DEFAULT_BUNDLE)[0]
    arms = [
        arm.model_copy(update={"ability": at}) for arm, at in zip(shipped.arms, points, strict=True)
    ]
    return shipped.model_copy(update={"arms": arms, "abilities": abilities})


PLACED = manifest(50.0, 70.0, 110.0)


def test_a_model_of_which_nothing_is_known_is_as_its_tier() -> None:
    assert p_of_model(model("new"), "low", PLACED, SCORE) == (0.5, "its tier, low")


def test_a_model_without_an_arm_has_no_probability() -> None:
    assert p_of_model(model("new"), None, PLACED, SCORE) == (None, "")


def test_published_scores_place_a_model_within_and_beyond_its_tier() -> None:
    published = Ability(70.0, 0.0, "exam X, 2026-04-09")
    p, basis = p_of_model(model("new", ability=published), "low", PLACED, SCORE)
    assert p == pytest.approx(P["medium"])
    assert basis == "exam X, 2026-04-09"


@pytest.mark.parametrize("name", ["own", "self-hosted/own"])
def test_attempts_of_its_own_outweigh_published_scores(name: str) -> None:
    measured = manifest(
        50.0, 70.0, 110.0, own=ModelAbility(points=110.0, uncertainty=0.0, attempts=180)
    )
    published = Ability(50.0, 0.0, "exam X")
    p, basis = p_of_model(model(name, ability=published), "low", measured, SCORE)
    assert p == pytest.approx(P["high"])
    assert basis == "180 attempts of its own"


def _own_arm(points: float, *models: str) -> BundleManifest:
    """The middle arm is this model, or these; ``own`` stands at these points, give or take 20."""
    known = ModelAbility(points=points, uncertainty=20.0, attempts=180)
    made = manifest(50.0, 70.0, 110.0, own=known)
    low, medium, high = made.arms
    medium = medium.model_copy(update={"models": list(models)})
    return made.model_copy(update={"arms": [low, medium, high]})


def test_the_model_of_an_arm_takes_its_p_however_uncertain_its_ability_is() -> None:
    made = _own_arm(70.0, "acme/own")
    told = p_of_model(model("self-hosted/own"), "low", made, SCORE)
    assert told == (P["medium"], "180 attempts of its own")
    known = ability_of(model("own"), "low", made)
    assert (known.points, known.uncertainty, known.arm) == (70.0, 20.0, "medium")


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(_own_arm(71.0, "own"), id="add-arm placed it anew"),
        pytest.param(_own_arm(70.0, "own", "other"), id="one of several"),
        pytest.param(_own_arm(70.0, "other"), id="as able by chance"),
    ],
)
def test_a_model_that_is_not_the_arm_itself_is_placed_by_its_ability(made: BundleManifest) -> None:
    known = made.abilities["own"]
    p, _ = p_of_model(model("own"), "low", made, SCORE)
    assert p == pytest.approx(p_at(list(P.values()), [50.0, 70.0, 110.0], known.points, 20.0))
    assert p != pytest.approx(P["medium"], abs=1e-3)


def test_attempts_elsewhere_are_told_apart() -> None:
    known = ModelAbility(
        points=110.0, uncertainty=0.0, attempts=680, elsewhere=("shaberi_ja", "ko_arena_hard")
    )
    p, basis = p_of_model(model("own"), "low", manifest(50.0, 70.0, 110.0, own=known), SCORE)
    assert p == pytest.approx(P["high"])
    assert basis == "680 attempts of its own in shaberi_ja and ko_arena_hard"


def test_an_arm_of_its_own_comes_first() -> None:
    published = Ability(110.0, 0.0, "exam X")
    assert p_of_model(model("low", ability=published), "low", PLACED, SCORE) == (
        0.5,
        "an arm of its own",
    )


@pytest.mark.parametrize("points", [(None, None, None), (None, 70.0, None)])
def test_a_bundle_that_places_fewer_than_two_arms_places_no_model(
    points: tuple[float | None, ...],
) -> None:
    published = Ability(110.0, 0.0, "exam X")
    found = p_of_model(model("new", ability=published), "low", manifest(*points), SCORE)
    assert found == (0.5, "its tier, low")


def test_a_changed_copy_of_a_manifest_places_models_by_its_own_arms() -> None:
    published = Ability(70.0, 0.0, "exam X")
    asked = model("new", ability=published)
    assert p_of_model(asked, "low", PLACED, SCORE)[0] == pytest.approx(P["medium"])
    moved = [
        arm.model_copy(update={"ability": at})
        for arm, at in zip(PLACED.arms, (10.0, 40.0, 70.0), strict=True)
    ]
    copy = PLACED.model_copy(update={"arms": moved})
    assert [arm.ability for arm in copy.placed_arms] == [10.0, 40.0, 70.0]
    assert p_of_model(asked, "low", copy, SCORE)[0] == pytest.approx(P["high"])
    assert PLACED.model_copy(update={"arms": PLACED.arms[:1]}).placed_arms == PLACED.arms[:1]


# --- Strengths ---------------------------------------------------------------------------------

CODE = (1.0, 0.0)
"""A prompt that demands the first thing and not the second."""


def measured(*strengths: float) -> BundleManifest:
    """A model at the ability of the middle arm, with these strengths."""
    own = ModelAbility(points=70.0, uncertainty=0.0, attempts=900, strengths=strengths)
    return manifest(50.0, 70.0, 110.0, own=own)


@pytest.mark.parametrize(
    ("strengths", "logit"), [((0.5, 9.0), 1.5), ((-2.0, 9.0), -1.0), ((), 1.0)]
)
def test_strengths_shift_what_ability_says(strengths: tuple[float, ...], logit: float) -> None:
    """The middle arm has a logit of 1 at this prompt."""
    score = dataclasses.replace(SCORE, demands=CODE)
    p, _ = p_of_model(model("own"), "low", measured(*strengths), score)
    assert p == pytest.approx(1 / (1 + math.exp(-logit)))


def test_strengths_leave_other_models_as_they_are() -> None:
    score = dataclasses.replace(SCORE, demands=CODE)
    assert p_of_model(model("new"), "low", measured(0.5, 9.0), score) == (0.5, "its tier, low")


def test_where_the_demands_of_a_prompt_are_not_known_ability_alone_counts() -> None:
    """Records of older releases have none."""
    p, _ = p_of_model(model("own"), "low", measured(0.5, 9.0), SCORE)
    assert p == pytest.approx(P["medium"])
