"""The scale finds abilities and difficulties that are known here, and tells judges from prompts."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from training.scale.ability import PublishedScore, Scale, fit_scale
from training.scale.attempt_table import AttemptTable

MODELS = ("weak", "middling", "able", "strong")
TRUTH = np.array([0.0, 0.4, 0.7, 1.0])
ORIGIN = ("weak", "strong")


def world(
    prompts: int = 400,
    *,
    strict: float = 0.0,
    models: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3),) * 2,
    slopes: tuple[float, ...] = (3.0, 3.0),
    shared: bool = True,
    seed: int = 0,
) -> tuple[AttemptTable, Any]:
    """Two histories, the second with a stricter judge; of the same prompts or of others that are as hard."""
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(1.5, 1.5, prompts if shared else 2 * prompts)
    model, history, prompt, adequate = [], [], [], []
    for h, who in enumerate(models):
        first = 0 if shared else h * prompts
        for m in who:
            z = slopes[h] * TRUTH[m] - difficulty[first : first + prompts] - strict * h
            model.append(np.full(prompts, m))
            history.append(np.full(prompts, h))
            prompt.append(np.arange(first, first + prompts))
            adequate.append(rng.random(prompts) < expit(z))
    total = len(difficulty)
    return AttemptTable(
        models=MODELS,
        histories=("first", "second")[: len(models)],
        tasks=("a",) if shared else ("a", "b"),
        prompts=total,
        model=np.concatenate(model),
        history=np.concatenate(history),
        prompt=np.concatenate(prompt),
        task=np.zeros(total, dtype=np.intp) if shared else np.repeat([0, 1], prompts),
        adequate=np.concatenate(adequate).astype(np.float64),
    ), difficulty  # fmt: skip


def points(scale: Scale) -> list[float]:
    return [scale.abilities[name].points for name in MODELS]


def test_abilities_are_found_between_the_two_models_that_fix_the_scale() -> None:
    table, _ = world()
    found = fit_scale(table, {}, (), ORIGIN)
    assert points(found)[0] == 0
    assert points(found)[3] == 100
    assert points(found)[1:3] == pytest.approx([40, 70], abs=10)
    assert found.abilities["able"].attempts == 800
    assert found.abilities["able"].histories == ("first", "second")


def test_hard_prompts_are_told_from_easy_ones() -> None:
    table, difficulty = world()
    found = fit_scale(table, {}, (), ORIGIN)
    assert np.corrcoef(found.difficulty, difficulty)[0, 1] > 0.75
    assert ((found.information > 0) & (found.information < 1)).all()


def test_a_stricter_judge_is_not_taken_for_harder_prompts() -> None:
    table, difficulty = world(strict=1.5, models=((0, 1, 2, 3),) * 2)
    found = fit_scale(table, {}, (), ORIGIN)
    assert found.strictness["first"] == 0
    assert found.strictness["second"] == pytest.approx(1.5, abs=0.5)
    assert found.difficulty.mean() == pytest.approx(difficulty.mean(), abs=0.4)
    assert points(found)[1:3] == pytest.approx([40, 70], abs=12)


def test_models_that_never_met_are_linked_by_those_that_they_share() -> None:
    table, _ = world(1500, models=((0, 1, 3), (0, 2, 3)), shared=False)
    found = fit_scale(table, {}, (), ORIGIN)
    assert points(found)[1:3] == pytest.approx([40, 70], abs=14)
    assert found.abilities["middling"].histories == ("first",)


def test_a_published_score_links_models_whom_no_history_brings_together() -> None:
    table, difficulty = world(1500, models=((0, 1), (2, 3)), shared=False, seed=3)
    real = expit(3.0 * TRUTH[3] - difficulty[:1500]).mean()
    lost = fit_scale(table, {}, (), ORIGIN)
    published = [PublishedScore("strong", "first", float(real), 1000.0)]
    linked = fit_scale(table, {}, published, ORIGIN)
    wrong = [abs(np.array(points(one))[1:3] - [40, 70]).max() for one in (lost, linked)]
    assert wrong[1] < wrong[0]
    assert wrong[1] < 25
    unknown = [
        PublishedScore("nobody", "first", 0.5, 9.0),
        PublishedScore("weak", "none", 0.5, 9.0),
    ]
    assert points(fit_scale(table, {}, unknown, ORIGIN)) == points(lost)


def test_how_much_ability_counts_is_a_matter_of_the_history() -> None:
    table, _ = world(1500, slopes=(5.0, 1.5), shared=False)
    found = fit_scale(table, {}, (), ORIGIN)
    assert found.discrimination["first"] > 1.5 * found.discrimination["second"]


def test_known_abilities_fix_the_scale_where_its_models_are_absent() -> None:
    table, _ = world(1500)
    found = fit_scale(table, {"middling": (40.0, 2.0), "able": (70.0, 2.0)})
    assert points(found) == pytest.approx([0, 40, 70, 100], abs=16)


def test_where_a_model_stands_in_one_history_is_told_apart_from_its_ability() -> None:
    table, _ = world(models=((0, 1, 2, 3), (0, 1, 2, 3)), shared=False)
    better = np.where((table.model == 1) & (table.history == 1), 1.0, table.adequate)
    found = fit_scale(dataclasses.replace(table, adequate=better), {}, (), ORIGIN)
    first, second = (found.there[name]["middling"] for name in ("first", "second"))
    assert first.points == pytest.approx(40, abs=20)
    assert second.points > found.abilities["middling"].points + 15 > first.points
    assert second.attempts == 400
    assert second.histories == ("second",)


def test_few_attempts_leave_a_model_uncertain() -> None:
    table, _ = world(400)
    few = np.flatnonzero((table.model != 2) | (table.prompt < 10))
    names = ("model", "history", "prompt", "adequate")
    less = AttemptTable(
        table.models, table.histories, table.tasks, table.prompts, task=table.task,
        **{name: getattr(table, name)[few] for name in names},
    )  # fmt: skip
    found = fit_scale(less, {}, (), ORIGIN)
    assert found.abilities["able"].uncertainty > 1.5 * found.abilities["middling"].uncertainty


def test_one_history_says_of_others_what_the_shipped_ones_do() -> None:
    """8 points from history to history, and what 1,500 attempts leave open."""
    found = fit_scale(world(1500, models=((0, 1, 2, 3),))[0], {}, (), ORIGIN)
    assert all(8 < one.uncertainty < 12 for one in found.abilities.values())


def test_the_same_attempts_give_the_same_scale() -> None:
    table, _ = world(100)
    assert points(fit_scale(table, {}, (), ORIGIN)) == points(fit_scale(table, {}, (), ORIGIN))


def _of_two(prompts: int, strong: float) -> AttemptTable:
    """Two models at a few prompts: the first answers all of them well, the second this share."""
    good = np.concatenate([np.ones(prompts), np.arange(prompts) < strong * prompts])
    return AttemptTable(
        ("weak", "strong"), ("one",), ("one",), prompts,
        np.repeat([0, 1], prompts), np.zeros(2 * prompts, dtype=np.intp),
        np.tile(np.arange(prompts), 2), np.zeros(prompts, dtype=np.intp), good.astype(np.float64),
    )  # fmt: skip


def test_how_well_the_two_reference_models_fix_the_scale_is_told() -> None:
    assert fit_scale(world()[0], {}, origin=ORIGIN).origin_error < 0.1
    assert fit_scale(_of_two(5, 1.0), {}, origin=ORIGIN).origin_error > 1


def test_reference_models_in_the_wrong_order_fix_nothing() -> None:
    found = fit_scale(_of_two(40, 0.2), {}, origin=ORIGIN)
    assert found.origin_error == np.inf
    assert all(one.uncertainty > 0 for one in found.abilities.values())
