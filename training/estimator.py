"""P(adequate) per arm from complete and from censored histories: one pooled logistic regression.

Each judged attempt is one observation: arm ``k`` was adequate on prompt ``x``, or was not.

    P(adequate | x, k) = sigmoid((w + d_k)·x + b_k)

The slope ``w`` is shared, the deviations ``d_k`` are regularised more heavily, so an arm with few
attempts leans on the others (partial pooling). Hyperparameters come from grouped cross-validation on the
training rows; the calibration of each arm is Platt's, fitted on the logits of prompts that their fit
had not seen (Platt 1999), and folded into the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.splitting import folds

__all__ = ["Calibration", "Hyperparameters", "PooledLogistic", "fit_pooled"]

Floats = npt.NDArray[np.float64]

SHARED = (0.0001, 0.0003, 0.001, 0.003)
"""Values of C tried for the shared slope, on standardised columns, ascending for warm starts."""
RATIOS = (1.0, 4.0, 16.0)
"""How much more heavily the deviations are regularised than the shared slope."""
FOLDS = 5
SEARCH_FOLDS = 3
"""Folds that choose the hyperparameters; all of them calibrate."""

_MAX_STEPS = 300


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """C of the shared slope > 0, and how many times heavier the deviations are regularised, > 0."""

    c: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt's correction of one arm: logit → ``scale``·logit + ``shift``, scale ≥ 0."""

    scale: float
    shift: float


@dataclass(frozen=True)
class PooledLogistic:
    """A fitted estimator in the units of its inputs: standardisation and calibration are folded in.

    Attributes:
        weights: float64 ``(p, k)``.
        bias: float64 ``(k,)``.
        chosen: the hyperparameters.
        calibration: per arm, as folded in.
        log_loss: cross-validated mean log-loss per attempt of every pair (c, ratio) that was tried.
        out_of_fold: float64 ``(n, k)``, the calibrated probability of each training prompt by the fit
            that did not see it.
    """

    weights: Floats
    bias: Floats
    chosen: Hyperparameters
    calibration: tuple[Calibration, ...]
    log_loss: dict[tuple[float, float], float]
    out_of_fold: Floats

    def p_adequate(self, x: npt.NDArray[np.float32]) -> Floats:
        """Calibrated P(adequate) per arm: float ``(n, p)`` → float64 ``(n, k)``."""
        return np.asarray(expit(x.astype(np.float64) @ self.weights + self.bias))


@dataclass(frozen=True)
class _Data:
    """Standardised columns float32 ``(n, p)``, outcomes ±1 and weights ≥ 0 float64 ``(n, k)``."""

    x: npt.NDArray[np.float32]
    sign: Floats
    weight: Floats

    def take(self, rows: npt.NDArray[np.bool_]) -> _Data:
        return _Data(self.x[rows], self.sign[rows], self.weight[rows])


@dataclass(frozen=True)
class _Coefficients:
    """Shared slope ``(p,)``, deviations ``(p, k)`` in units of 1/sqrt(ratio), intercepts ``(k,)``."""

    shared: Floats
    deviations: Floats
    bias: Floats

    def logits(self, x: npt.NDArray[np.float32], ratio: float) -> Floats:
        return np.asarray(x @ self.slopes(ratio).astype(np.float32), dtype=np.float64) + self.bias

    def slopes(self, ratio: float) -> Floats:
        return np.asarray(self.shared[:, None] + self.deviations / np.sqrt(ratio))


def _start(data: _Data) -> _Coefficients:
    """No slope, and the intercept of each arm at its share of adequate attempts."""
    p, k = data.x.shape[1], data.sign.shape[1]
    good = (data.weight * (data.sign > 0)).sum(axis=0) + 0.5
    bad = (data.weight * (data.sign < 0)).sum(axis=0) + 0.5
    return _Coefficients(np.zeros(p), np.zeros((p, k)), np.log(good / bad))


def _fit(data: _Data, chosen: Hyperparameters, start: _Coefficients) -> _Coefficients:
    """Minimise C·log-loss + ½‖w‖² + ½·ratio·‖d‖² by L-BFGS.

    The deviations are scaled by sqrt(ratio), which makes the penalty the same in every direction: with
    that the search needs a few dozen steps.
    """
    p, k = data.x.shape[1], data.sign.shape[1]
    root = np.sqrt(chosen.ratio)
    strength = data.weight * chosen.c
    across = np.ascontiguousarray(data.x.T)

    def unpack(theta: Floats) -> _Coefficients:
        return _Coefficients(theta[:p], theta[p : p + p * k].reshape(p, k), theta[p + p * k :])

    def objective(theta: Floats) -> tuple[float, Floats]:
        now = unpack(theta)
        margin = data.sign * now.logits(data.x, chosen.ratio)
        loss = float((strength * np.logaddexp(0.0, -margin)).sum())
        slope = -strength * data.sign * expit(-margin)
        step = np.asarray(across @ slope.astype(np.float32), dtype=np.float64)
        gradient = np.concatenate(
            [
                now.shared + step.sum(axis=1),
                (now.deviations + step / root).ravel(),
                slope.sum(axis=0),
            ]
        )
        penalty = 0.5 * (now.shared @ now.shared + np.sum(now.deviations**2))
        return loss + float(penalty), gradient

    first = np.concatenate([start.shared, start.deviations.ravel(), start.bias])
    # float32 products leave noise of about 1e-7 of the loss: looking for less would be in vain.
    found = minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MAX_STEPS, "ftol": 1e-7, "gtol": 1e-6, "maxcor": 20},
    )
    return unpack(np.asarray(found.x))


def _mean_loss(data: _Data, logits: Floats) -> tuple[float, float]:
    loss = data.weight * np.logaddexp(0.0, -data.sign * logits)
    return float(loss.sum()), float(data.weight.sum())


def _search(
    data: _Data, fold: npt.NDArray[np.intp], grid: Sequence[Hyperparameters]
) -> dict[tuple[float, float], float]:
    """Mean held-out log-loss per attempt of every candidate."""
    totals = {(one.c, one.ratio): 0.0 for one in grid}
    mass = 0.0
    for number in range(min(SEARCH_FOLDS, int(fold.max()) + 1)):
        train, test = data.take(fold != number), data.take(fold == number)
        mass += float(test.weight.sum())
        at = _start(train)
        for one in grid:
            at = _fit(train, one, at)
            totals[one.c, one.ratio] += _mean_loss(test, at.logits(test.x, one.ratio))[0]
    return {key: total / max(mass, 1e-12) for key, total in totals.items()}


def _platt(logits: Floats, sign: Floats, weight: Floats) -> Calibration:
    """Scale and shift by Newton's method; a scale below 0 means no signal, and becomes 0.

    A weak pull towards (1, 0), as strong as one attempt, keeps it finite on few or separable data.
    """
    design = np.stack([logits, np.ones_like(logits)], axis=1)
    at = np.array([1.0, 0.0])
    for _ in range(50):
        probability = expit(design @ at)
        gradient = design.T @ (weight * (probability - (sign > 0))) + (at - [1.0, 0.0])
        curvature = (design.T * (weight * probability * (1 - probability))) @ design + np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        at = at - step
        if np.abs(step).max() < 1e-9:
            break
    if at[0] >= 0:
        return Calibration(float(at[0]), float(at[1]))
    good = weight[sign > 0].sum() + 0.5
    return Calibration(0.0, float(np.log(good / (weight[sign < 0].sum() + 0.5))))


def fit_pooled(
    x: npt.NDArray[np.float32],
    adequate: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    groups: Sequence[str],
    *,
    seed: int,
    weights: Floats | None = None,
    grid: Sequence[Hyperparameters] | None = None,
) -> PooledLogistic:
    """Choose hyperparameters, fit on all rows, calibrate. The same inputs give the same result.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        adequate: bool ``(n, k)``.
        judged: bool ``(n, k)``, which attempts exist; each arm has at least one.
        groups: ``n`` keys; folds keep a group together.
        seed: of the folds.
        weights: float64 ``(n, k)`` ≥ 0, such as 1/propensity; all 1 where left out.
        grid: hyperparameters to choose from; ``None``: all pairs of ``SHARED`` and ``RATIOS``.
    """
    mean = x.mean(axis=0, dtype=np.float64)
    spread = x.std(axis=0, dtype=np.float64)
    # A column that never changed in training says nothing, whatever it holds later.
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    weight = judged * (np.ones(judged.shape) if weights is None else weights)
    data = _Data(((x - mean) * inverse).astype(np.float32), np.where(adequate, 1.0, -1.0), weight)
    # The products are tall and narrow: a second BLAS thread waits more than it works, and one thread
    # adds up in the same order every time.
    with threadpool_limits(limits=1):
        return _fit_standardised(data, groups, seed, grid, mean, inverse)


def _fit_standardised(
    data: _Data,
    groups: Sequence[str],
    seed: int,
    grid: Sequence[Hyperparameters] | None,
    mean: Floats,
    inverse: Floats,
) -> PooledLogistic:
    """:func:`fit_pooled` on columns ``(raw - mean) * inverse``, ``(p,)`` each."""
    candidates = grid or [Hyperparameters(c, ratio) for ratio in RATIOS for c in SHARED]
    count = min(FOLDS, len(set(groups)))
    fold = folds(groups, count=count, seed=seed)
    losses = _search(data, fold, candidates) if len(candidates) > 1 else {}
    chosen = min(candidates, key=lambda one: losses.get((one.c, one.ratio), 0.0))
    whole = _fit(data, chosen, _start(data))
    logits = np.empty(data.sign.shape)
    for number in range(count):
        part = _fit(data.take(fold != number), chosen, whole)
        logits[fold == number] = part.logits(data.x[fold == number], chosen.ratio)
    calibration = tuple(
        _platt(logits[:, arm], data.sign[:, arm], data.weight[:, arm])
        for arm in range(data.sign.shape[1])
    )
    scale = np.array([one.scale for one in calibration])
    shift = np.array([one.shift for one in calibration])
    slopes = whole.slopes(chosen.ratio) * inverse[:, None] * scale
    bias = whole.bias * scale + shift - mean @ slopes
    return PooledLogistic(
        slopes, bias, chosen, calibration, losses, np.asarray(expit(logits * scale + shift))
    )
