"""What prompts demand besides ability, and how strong models are at it.

The scale of ability gives a prompt one difficulty. Models of one ability differ all the same: one is better
at code, another at law. Their attempts tell so:

    logit P(adequate | x, m) = logit P(adequate | x, ability of m) + c_h + u(x) · v_m

``u(x)``, the demands of a prompt, is linear in the classifier's inputs; ``v_m`` are the strengths of a model,
with a prior at 0; ``c_h`` is what a history's judge adds, and is not kept. This is the factor model that
recommenders use (Koren, Bell & Volinsky 2009) on what ability leaves unexplained, fitted by maximum a
posteriori. A model with few attempts has no strengths: it is as its ability says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.evaluation.predictions import p_of_models
from training.fitting.heads import standardised
from training.histories.split import folds
from training.scale.examples import Examples
from training.scale.placement import PlacedTiers

__all__ = [
    "MIN_MODEL_ATTEMPTS",
    "STRENGTH_PRIOR",
    "Demands",
    "ModelAttempts",
    "attempts_at",
    "fit_demands",
]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

DEMANDS = 8
MIN_MODEL_ATTEMPTS = 300
"""Fewest attempts with which a model gets strengths."""
MOST_ATTEMPTS = 8.0
"""What all attempts at one prompt weigh together at most: a prompt that 300 models tried is one prompt."""
MIN_LOG_LOSS_GAIN = 0.001
"""Least reduction of the log-loss on prompts left out for which demands are kept."""
STRENGTH_PRIOR = 30.0
"""Precision of the prior of a strength, whose mean is 0."""
_WEIGHT_PRIOR = 100.0
_JUDGE_PRIOR = 4.0
_FOLDS = 5
_STEPS = 200


@dataclass(frozen=True)
class ModelAttempts:
    """Judged attempts of all models, ``a`` of them, at ``n`` prompts.

    Attributes:
        models: names.
        prompt: intp ``(a,)``, rows of the prompts.
        model: intp ``(a,)``, places in ``models``.
        history: intp ``(a,)``, numbers from 0.
        adequate: float64 ``(a,)``, 0 or 1.
        expected: float64 ``(a,)``, the logit of P(adequate) by ability alone, from fits without the prompt.
    """

    models: tuple[str, ...]
    prompt: Places
    model: Places
    history: Places
    adequate: Floats
    expected: Floats

    def take(self, kept: npt.NDArray[np.bool_]) -> ModelAttempts:
        """Some of the attempts."""
        return ModelAttempts(
            self.models,
            self.prompt[kept],
            self.model[kept],
            self.history[kept],
            self.adequate[kept],
            self.expected[kept],
        )

    def of_well_known_models(self) -> ModelAttempts:
        """Those of models with at least :data:`MIN_MODEL_ATTEMPTS`."""
        counts = np.bincount(self.model, minlength=len(self.models))
        return self.take(counts[self.model] >= MIN_MODEL_ATTEMPTS)


@dataclass(frozen=True)
class Demands:
    """Fitted demands and strengths, ``d`` directions.

    Attributes:
        weights: float64 ``(p, d)``, on embedding and lexical features side by side.
        bias: float64 ``(d,)``.
        strengths: by model, float64 ``(d,)``.
        log_loss: on prompts left out, mean per weighted attempt: by ability alone, and with strengths.
    """

    weights: Floats
    bias: Floats
    strengths: Mapping[str, Floats]
    log_loss: tuple[float, float]

    def of(self, x: npt.NDArray[np.float32]) -> Floats:
        """The demands of prompts: float ``(n, p)`` → float64 ``(n, d)``."""
        return np.asarray(x.astype(np.float64) @ self.weights + self.bias)


@dataclass(frozen=True)
class _Fit:
    """On standardised inputs: weights ``(p, d)``, strengths ``(models, d)``."""

    weights: Floats
    strengths: Floats

    def shift(self, inputs: Floats, attempts: ModelAttempts) -> Floats:
        """What strengths add to the logit of each attempt, ``(a,)``."""
        demands = inputs @ self.weights
        return np.asarray(
            np.einsum("ad,ad->a", demands[attempts.prompt], self.strengths[attempts.model])
        )


def attempts_at(placed: PlacedTiers, examples: Examples, p_adequate: Floats) -> ModelAttempts:
    """The attempts of all models at examples that rest on attempts.

    Args:
        placed: has the attempts and the abilities.
        examples: ``n`` of them.
        p_adequate: float64 ``(n, k)``, of the arms, by fits that did not see the example.
    """
    table, prompts = placed.attempts, placed.prompts
    row_of = {group: row for row, group in enumerate(examples.groups)}
    rows = np.array([row_of.get(group, -1) for group in prompts.groups], dtype=np.intp)
    rows[~prompts.graded] = -1
    known = [placed.abilities.get(name) for name in table.models]
    points = np.array([np.nan if one is None else one.points for one in known])
    kept = (rows[table.prompt] >= 0) & ~np.isnan(points[table.model])
    row, model = rows[table.prompt[kept]], table.model[kept]
    p = p_of_models(p_adequate[row], placed.points, points[model, None])[:, 0]
    return ModelAttempts(
        table.models, row, model, table.history[kept], table.adequate[kept], logit(p)
    )


def fit_demands(
    x: npt.NDArray[np.float32],
    attempts: ModelAttempts,
    untried: npt.NDArray[np.bool_],
    *,
    seed: int,
) -> Demands | None:
    """Fit demands and strengths; ``None`` where they do not lower the log-loss on prompts left out.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        attempts: at these prompts.
        untried: bool ``(n,)``, prompts without attempts, where demands are drawn to 0: what a model does at
            exams tells little of them.
        seed: of the start and of the folds.
    """
    known = attempts.of_well_known_models()
    if len(np.unique(known.model)) < 2:
        return None
    columns, mean, scale = standardised(x)
    inputs: Floats = columns.astype(np.float64)
    fold = folds([str(place) for place in range(len(x))], count=_FOLDS, seed=seed)
    outside = fold[known.prompt] == 0
    with threadpool_limits(limits=1):
        tried = _fitted(inputs, known.take(~outside), untried, seed)
        test = known.take(outside)
        plain = _log_loss(test, np.zeros(len(test.prompt)))
        better = _log_loss(test, tried.shift(inputs, test))
        if plain - better < MIN_LOG_LOSS_GAIN:
            return None
        fit = _fitted(inputs, known, untried, seed)
    weights = fit.weights * scale[:, None]
    return Demands(
        weights,
        -mean @ weights,
        {known.models[place]: fit.strengths[place] for place in np.unique(known.model)},
        (plain, better),
    )


def _weights(attempts: ModelAttempts) -> Floats:
    counts = np.bincount(attempts.prompt)[attempts.prompt]
    return np.asarray(np.minimum(1.0, MOST_ATTEMPTS / counts))


def _log_loss(attempts: ModelAttempts, shift: Floats) -> float:
    weight, z = _weights(attempts), attempts.expected + shift
    return float(np.average(np.logaddexp(0.0, z) - attempts.adequate * z, weights=weight))


def _fitted(
    inputs: Floats, attempts: ModelAttempts, untried: npt.NDArray[np.bool_], seed: int
) -> _Fit:
    """Fit on standardised inputs ``(n, p)``."""
    n, p = inputs.shape
    models, histories = len(attempts.models), int(attempts.history.max()) + 1
    prompt, model, weight = attempts.prompt, attempts.model, _weights(attempts)
    quiet = inputs[untried]
    ends = np.cumsum([p * DEMANDS, models * DEMANDS])
    rng = np.random.default_rng(seed)

    def parts(theta: Floats) -> tuple[Floats, Floats, Floats]:
        weights, strengths, judges = np.split(theta, ends)
        return weights.reshape(p, DEMANDS), strengths.reshape(models, DEMANDS), judges

    def objective(theta: Floats) -> tuple[float, Floats]:
        weights, strengths, judges = parts(theta)
        demands, untold = inputs @ weights, quiet @ weights
        u, v = demands[prompt], strengths[model]
        z = attempts.expected + judges[attempts.history] + np.einsum("ad,ad->a", u, v)
        loss = float(weight @ (np.logaddexp(0.0, z) - attempts.adequate * z))
        loss += 0.5 * (
            _WEIGHT_PRIOR * float(np.sum(weights**2))
            + STRENGTH_PRIOR * float(np.sum(strengths**2))
            + _JUDGE_PRIOR * float(judges @ judges)
            + float(np.sum(untold**2))
        )
        residual = weight * (expit(z) - attempts.adequate)
        of_demands = _sums(prompt, residual[:, None] * v, n)
        gradient = (
            inputs.T @ of_demands + quiet.T @ untold + _WEIGHT_PRIOR * weights,
            _sums(model, residual[:, None] * u, models) + STRENGTH_PRIOR * strengths,
            np.bincount(attempts.history, residual, histories) + _JUDGE_PRIOR * judges,
        )
        return loss, np.concatenate([part.ravel() for part in gradient])

    start = np.concatenate(
        [
            rng.normal(0.0, 0.02, p * DEMANDS),
            rng.normal(0.0, 0.3, models * DEMANDS),
            np.zeros(histories),
        ]
    )
    optimum = minimize(
        objective, start, jac=True, method="L-BFGS-B",
        options={"maxiter": _STEPS, "maxcor": 10, "ftol": 1e-7},
    )  # fmt: skip
    weights, strengths, _ = parts(np.asarray(optimum.x))
    return _Fit(weights, strengths)


def _sums(places: Places, rows: Floats, count: int) -> Floats:
    """Sums of rows ``(a, d)`` by place, ``(count, d)``."""
    return np.stack([np.bincount(places, column, count) for column in rows.T], axis=1)
