"""What the lengths of tiers are learnt from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.requests.request_set import Annotation, Request, prompt_key
from training.scale.length_examples import (
    RUBRIC_TOKENS,
    LengthExamples,
    answer_lengths,
    length_examples,
)
from training.scale.length_table import LengthTable
from training.scale.model_names import NamedModels

PAGE = 3


def table(n: int = 200, models: int = 6, level: float = 6.0) -> LengthTable:
    """``n`` prompts of one family, all answered by all models."""
    prompt, model = np.divmod(np.arange(n * models), models)
    return LengthTable(
        texts=np.array([f"prompt {at}" for at in range(n)], dtype=object),
        families=("chat",),
        instructed=(False,),
        family=np.zeros(n, dtype=np.intp),
        models=tuple(f"m{at}" for at in range(models)),
        prompt=prompt,
        model=model,
        logs=np.full(n * models, level),
    )


def request(prompt: str, *answers: int, kind: str = "email") -> Request:
    return Request(prompt, "en", kind, tuple(Annotation(1, 0, 0, 0, one) for one in answers))


def pages(known: LengthTable) -> dict[str, Annotation]:
    return {prompt_key(text): Annotation(1, 0, 0, 0, PAGE) for text in known.texts}


def examples(known: LengthTable, *requests: Request) -> LengthExamples:
    return length_examples(known, requests, pages(known), {"low": ["m0"], "high": ["m1"]})


def test_a_kind_of_answer_means_what_is_measured_as_far_as_that_reaches() -> None:
    known = table()
    mean, _ = answer_lengths(known, np.full(200, 6.5), pages(known))
    # At most 100 prompts of a family count, the rubric counts as 20.
    assert mean[PAGE] == pytest.approx((100 * 6.5 + 20 * np.log(350)) / 120)
    assert mean[0] == pytest.approx(np.log(RUBRIC_TOKENS[0]))


def test_few_annotated_prompts_of_a_history_tell_nothing() -> None:
    known = table(n=99)
    mean, _ = answer_lengths(known, np.full(99, 6.5), pages(known))
    np.testing.assert_allclose(mean, np.log(RUBRIC_TOKENS))


def test_a_longer_kind_of_answer_is_never_shorter() -> None:
    known = table()
    mean, _ = answer_lengths(known, np.full(200, 8.0), pages(known))
    assert (np.diff(mean) >= 0).all()


def test_four_attempts_of_a_prompt_and_two_draws_of_a_request() -> None:
    found = examples(table(), request("Write to Ann.", PAGE, 2), request("Write to Bob.", PAGE))
    assert len(found.texts) == 202
    assert (np.bincount(found.prompt) == [*[4] * 200, 2, 2]).all()
    assert found.family.tolist() == [0] * 200 + [1, 1]
    assert found.kinds.tolist() == [-1] * 200 + [0, 0]


def test_a_request_that_a_history_holds_is_not_taken_again() -> None:
    found = examples(table(), request("Prompt  7", PAGE), request("Write to Ann.", PAGE))
    assert len(found.texts) == 201


def test_some_of_the_examples() -> None:
    found = examples(table(), request("Write to Ann.", PAGE))
    kept = found.rows(np.arange(201) >= 199)
    assert kept.texts.tolist() == ["prompt 199", "Write to Ann."]
    assert kept.prompt.tolist() == [0, 0, 0, 0, 1, 1]
    np.testing.assert_array_equal(kept.logs, found.logs[-6:])


def test_draws_repeat() -> None:
    once, twice = (examples(table(), request("Write to Ann.", PAGE)).logs for _ in range(2))
    np.testing.assert_array_equal(once, twice)


def test_a_length_of_a_tier_is_said_anew_by_a_model_of_its_own_talkativeness() -> None:
    """m2 writes twice as much as m0 and m1, who stand for the tiers."""
    known = table()
    logs = known.logs + np.where(known.model == 2, np.log(2), 0.0)
    found = examples(replace(known, logs=logs))
    models = NamedModels.of(np.array([["m0", "m2"], ["m2", "nobody"]], dtype=object))
    said = found.spoken_by(models, ("low", "high"), np.full((2, 2), 300.0))
    assert said == pytest.approx(np.array([[300.0, 600.0], [600.0, 300.0]]), rel=0.02)
