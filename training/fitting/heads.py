"""One head of the estimator: a logistic regression pooled over the attempts of all arms.

    P(adequate | x, k) = sigmoid((w + d_k)·x + b_k)

The slope ``w`` is shared, the deviations ``d_k`` are regularised more heavily, so an arm with few
attempts leans on the others (partial pooling). Inputs are dense or sparse; hyperparameters come from
grouped cross-validation on the rows given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

__all__ = [
    "Data",
    "Head",
    "Hyperparameters",
    "Matrix",
    "fit_head",
    "fit_once",
    "log_loss",
    "out_of_fold",
    "standardised",
]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]
Matrix: TypeAlias = Any
"""float32 ``(n, p)``: a numpy array or a scipy CSR matrix (scipy has no types)."""

SEARCH_FOLDS = 3
"""Folds that choose the hyperparameters; all of them give the logits out of fold."""

_MAX_STEPS = 300
_MEMORY = 10
"""Steps that L-BFGS remembers: with tens of thousands of columns, more costs more than it saves."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """C of the shared slope > 0, and how many times heavier the deviations are regularised, > 0."""

    c: float
    ratio: float


@dataclass(frozen=True)
class Head:
    """A fitted head, in the units of its inputs.

    Attributes:
        slopes: float64 ``(p, k)``.
        bias: float64 ``(k,)``.
        chosen: the hyperparameters.
        log_loss: cross-validated mean log-loss per attempt of every pair (c, ratio) that was tried.
        out_of_fold: float64 ``(n, k)``, the logits of each row by the fit that did not see it.
    """

    slopes: Floats
    bias: Floats
    chosen: Hyperparameters
    log_loss: dict[tuple[float, float], float]
    out_of_fold: Floats


@dataclass(frozen=True)
class Data:
    """Inputs float32 ``(n, p)``, dense or sparse; outcomes 0..1 and weights ≥ 0, float64 ``(n, k)``.

    An outcome between 0 and 1 is a probability of being adequate: where an arm did not attempt a prompt
    itself, what others did tells how likely it is.
    """

    x: Matrix
    outcome: Floats
    weight: Floats

    def take(self, rows: Rows) -> Data:
        """Some of the rows."""
        return Data(self.x[rows], self.outcome[rows], self.weight[rows])


@dataclass(frozen=True)
class _Coefficients:
    """Shared slope ``(p,)``, deviations ``(p, k)`` in units of 1/sqrt(ratio), intercepts ``(k,)``."""

    shared: Floats
    deviations: Floats
    bias: Floats

    def logits(self, x: Matrix, ratio: float) -> Floats:
        return np.asarray(x @ self.slopes(ratio).astype(np.float32), dtype=np.float64) + self.bias

    def slopes(self, ratio: float) -> Floats:
        return np.asarray(self.shared[:, None] + self.deviations / np.sqrt(ratio))


def standardised(x: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], Floats, Floats]:
    """Columns of mean 0 and spread 1, float32 ``(n, p)``, with the mean and the scale ``(p,)`` used."""
    mean, spread = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    # A column that never changed in training carries no information, whatever it holds later.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    return ((x - mean) * scale).astype(np.float32), mean, scale


def _start(data: Data) -> _Coefficients:
    """No slope, and the intercept of each arm at its share of adequate attempts."""
    p, k = data.x.shape[1], data.outcome.shape[1]
    good = (data.weight * data.outcome).sum(axis=0) + 0.5
    bad = (data.weight * (1 - data.outcome)).sum(axis=0) + 0.5
    return _Coefficients(np.zeros(p), np.zeros((p, k)), np.log(good / bad))


def _descend(data: Data, chosen: Hyperparameters, start: _Coefficients) -> _Coefficients:
    """Minimise C·log-loss + ½‖w‖² + ½·ratio·‖d‖² by L-BFGS.

    The deviations are scaled by sqrt(ratio), which makes the penalty the same in every direction: with
    that the search needs a few dozen steps.
    """
    p, k = data.x.shape[1], data.outcome.shape[1]
    root = np.sqrt(chosen.ratio)
    strength = data.weight * chosen.c
    transposed = data.x.T.tocsr() if sparse.issparse(data.x) else np.ascontiguousarray(data.x.T)

    def unpack(theta: Floats) -> _Coefficients:
        return _Coefficients(theta[:p], theta[p : p + p * k].reshape(p, k), theta[p + p * k :])

    def objective(theta: Floats) -> tuple[float, Floats]:
        coefficients = unpack(theta)
        logits = coefficients.logits(data.x, chosen.ratio)
        loss = log_loss(logits, data.outcome, strength)
        slope = strength * (expit(logits) - data.outcome)
        step = np.asarray(transposed @ slope.astype(np.float32), dtype=np.float64)
        gradient = np.concatenate(
            [
                coefficients.shared + step.sum(axis=1),
                (coefficients.deviations + step / root).ravel(),
                slope.sum(axis=0),
            ]
        )
        penalty = 0.5 * (
            coefficients.shared @ coefficients.shared + np.sum(coefficients.deviations**2)
        )
        return loss + float(penalty), gradient

    first = np.concatenate([start.shared, start.deviations.ravel(), start.bias])
    # float32 products leave noise of about 1e-7 of the loss; a smaller tolerance would not be reached.
    optimum = minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MAX_STEPS, "ftol": 1e-7, "gtol": 1e-6, "maxcor": _MEMORY},
    )
    return unpack(np.asarray(optimum.x))


def log_loss(logits: Floats, outcome: Floats, weight: Floats) -> float:
    """The sum of the weighted log-losses of logits, all float64 of one shape; outcomes 0..1, weights ≥ 0."""
    return float((weight * (np.logaddexp(0.0, logits) - outcome * logits)).sum())


def _search(
    data: Data, fold: npt.NDArray[np.intp], grid: Sequence[Hyperparameters]
) -> dict[tuple[float, float], float]:
    """Mean held-out log-loss per attempt of every candidate."""
    totals = {(candidate.c, candidate.ratio): 0.0 for candidate in grid}
    mass = 0.0
    for number in range(min(SEARCH_FOLDS, int(fold.max()) + 1)):
        train, test = data.take(fold != number), data.take(fold == number)
        mass += float(test.weight.sum())
        fitted = _start(train)
        for candidate in grid:
            fitted = _descend(train, candidate, fitted)
            logits = fitted.logits(test.x, candidate.ratio)
            totals[candidate.c, candidate.ratio] += log_loss(logits, test.outcome, test.weight)
    return {key: total / max(mass, 1e-12) for key, total in totals.items()}


def fit_head(data: Data, fold: npt.NDArray[np.intp], grid: Sequence[Hyperparameters]) -> Head:
    """Choose hyperparameters, fit on all rows and, for the logits out of fold, on all but each fold.

    Args:
        data: ``n`` rows, ``k`` arms.
        fold: intp ``(n,)``, 0 … f − 1.
        grid: hyperparameters to choose from, C ascending within a ratio for warm starts.
    """
    losses = _search(data, fold, grid) if len(grid) > 1 else {}
    chosen = min(grid, key=lambda candidate: losses.get((candidate.c, candidate.ratio), 0.0))
    whole = _descend(data, chosen, _start(data))

    def fit_and_predict(rows: Rows, out: Rows) -> Floats:
        return _descend(data.take(rows), chosen, whole).logits(data.x[out], chosen.ratio)

    logits = out_of_fold(fold, data.outcome.shape[1], fit_and_predict)
    return Head(whole.slopes(chosen.ratio), whole.bias, chosen, losses, logits)


def fit_once(data: Data, chosen: Hyperparameters) -> Callable[[Matrix], Floats]:
    """Fit on all rows with given hyperparameters; a function from inputs ``(m, p)`` to logits ``(m, k)``."""
    fitted = _descend(data, chosen, _start(data))
    return lambda x: fitted.logits(x, chosen.ratio)


def out_of_fold(
    fold: npt.NDArray[np.intp], arms: int, fit_and_predict: Callable[[Rows, Rows], Floats]
) -> Floats:
    """Predictions for each row by a fit that did not see it, float64 ``(n, arms)``.

    Args:
        fold: intp ``(n,)``, 0 … f − 1.
        arms: columns of the result.
        fit_and_predict: fits on the rows of the first mask, bool ``(n,)``, and predicts for those of the
            second.
    """
    predictions = np.empty((len(fold), arms))
    for number in range(int(fold.max()) + 1):
        predictions[fold == number] = fit_and_predict(fold != number, fold == number)
    return predictions
