"""Strengths: what models of equal ability do differently, read off the prompt."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from training.fitting.demands import MIN_MODEL_ATTEMPTS, ModelAttempts, fit_demands

PROMPTS = 400
Floats = npt.NDArray[np.float64]


def prompts(seed: int = 0) -> npt.NDArray[np.float32]:
    """The first column is 1 for code and −1 for law, the second is the length, the others are noise."""
    rng = np.random.default_rng(seed)
    kind = np.where(np.arange(PROMPTS) % 2, 1.0, -1.0)
    return np.column_stack([kind, rng.normal(size=(PROMPTS, 4))]).astype(np.float32)


def attempts(shift: Floats, *, seed: int = 0) -> ModelAttempts:
    """Attempts of two models of equal ability at every prompt.

    ``shift`` ``(PROMPTS, 2)`` says by how many logits a model is better than its ability says.
    """
    rng = np.random.default_rng(seed)
    good = rng.random(shift.shape) < 1 / (1 + np.exp(-shift))
    prompt, model = (axis.ravel() for axis in np.indices(shift.shape))
    return ModelAttempts(
        models=("coder", "lawyer"),
        prompt=prompt,
        model=model,
        history=np.zeros(shift.size, dtype=np.intp),
        adequate=good.ravel().astype(np.float64),
        expected=np.zeros(shift.size),
    )


def by_kind(strength: float = 2.0) -> Floats:
    """The coder is better at code, the lawyer at law."""
    kind = prompts()[:, :1].astype(np.float64)
    return np.hstack([strength * kind, -strength * kind])


NOBODY = np.zeros(PROMPTS, dtype=bool)


def test_a_model_is_better_at_what_its_attempts_show() -> None:
    x = prompts()
    found = fit_demands(x, attempts(by_kind()), NOBODY, seed=1)
    assert found is not None
    code, law = np.array([[1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]], dtype=np.float32)
    demands = found.of(np.stack([code, law]))
    coder, lawyer = demands @ found.strengths["coder"], demands @ found.strengths["lawyer"]
    assert coder[0] > 1 > -1 > coder[1]
    assert lawyer[1] > 1 > -1 > lawyer[0]
    plain, better = found.log_loss
    assert plain == pytest.approx(np.log(2))
    assert better < plain - 0.1


def test_where_models_differ_by_ability_alone_there_are_no_demands() -> None:
    assert fit_demands(prompts(), attempts(by_kind(0.0)), NOBODY, seed=1) is None


def test_the_same_attempts_give_the_same_demands() -> None:
    one, other = (fit_demands(prompts(), attempts(by_kind()), NOBODY, seed=3) for _ in range(2))
    assert one is not None
    assert other is not None
    assert (one.weights == other.weights).all()
    assert (one.strengths["coder"] == other.strengths["coder"]).all()


def test_what_a_judge_adds_is_no_strength() -> None:
    """All answers of one history are graded more strictly: that is the same for both models."""
    strict = np.where(np.arange(PROMPTS)[:, None] < PROMPTS // 2, -1.5, 1.5)
    made = attempts(by_kind() + strict)
    judged = dataclasses.replace(made, history=(made.prompt >= PROMPTS // 2).astype(np.intp))
    found = fit_demands(prompts(), judged, NOBODY, seed=1)
    assert found is not None
    average = found.of(np.zeros((1, 5), dtype=np.float32)) @ (
        found.strengths["coder"] + found.strengths["lawyer"]
    )
    assert abs(float(average[0])) < 0.3


@pytest.mark.parametrize("known", [MIN_MODEL_ATTEMPTS - 1, MIN_MODEL_ATTEMPTS])
def test_a_model_with_few_attempts_has_no_strengths(known: int) -> None:
    made = attempts(by_kind())
    some = made.take((made.model == 0) | (made.prompt < known))
    found = fit_demands(prompts(), some, NOBODY, seed=1)
    # One model alone shows no difference.
    assert (found is None) == (known < MIN_MODEL_ATTEMPTS)


def test_prompts_that_nobody_tried_demand_little() -> None:
    """Work of another kind than the histories: the fifth column is large there, and 0 where models tried."""
    x = prompts()
    x[:, 4] = 0.01 * x[:, 0]
    others = prompts(seed=9)
    others[:, 0], others[:, 4] = 0.0, 3.0
    both = np.vstack([x, others])
    untried = np.arange(len(both)) >= PROMPTS
    drawn = fit_demands(both, attempts(by_kind()), untried, seed=1)
    free = fit_demands(both, attempts(by_kind()), np.zeros(len(both), dtype=bool), seed=1)
    assert drawn is not None
    assert free is not None

    def size(found: npt.NDArray[np.float64]) -> float:
        return float(np.sqrt((found**2).mean()))

    assert size(drawn.of(others)) < 0.5 * size(free.of(others))
    assert size(drawn.of(x)) > 2 * size(drawn.of(others))
