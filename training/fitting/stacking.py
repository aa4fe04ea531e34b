"""Stacking of the heads' logits into one logit per arm, and its calibration.

    z_k(x) = Σ_h a_kh · logit_kh(x) + s_k,  a_kh ≥ 0
    P(adequate | x, k) = sigmoid(p_k · log q − n_k · log(1 − q) + c_k + d_kl),  q = sigmoid(z_k)

The weights ``a`` are fitted on logits of prompts that the heads had not seen (stacking, Wolpert 1992). The
reliability of a head is mostly the same for all arms, so a prior ties their weights to shared ones, which
matters where an arm has few attempts. The second line is beta calibration (Kull, Silva Filho & Flach
2017) with p, n ≥ 0, so that order is kept. It is used for the arms whose log-loss out of fold it lowers;
for the others p = n = 1 and c = 0, and the stack alone is Platt's calibration (1999). A
shift for the script ``l`` of the prompt is added last, where it lowers the log-loss out of fold: an arm may
be better or worse in one language than the other terms predict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from router.classifier.features.lexical import SCRIPTS
from training.fitting.heads import log_loss, out_of_fold

__all__ = ["Calibration", "Stack", "fit_calibration", "fit_stack"]

Floats = npt.NDArray[np.float64]
Scripts = npt.NDArray[np.intp]

PRIOR_STRENGTH = 10.0
"""Weight of the prior on the shared weights, in attempts. Its mean gives every head the same weight."""
ARM_TYING_STRENGTH = 30.0
"""How many times stronger than :data:`PRIOR_STRENGTH` an arm's weights are tied to the shared ones."""
MIN_SCRIPT_PROMPTS = 100
"""Fewest prompts of a script for which a shift of its own is fitted."""
_SHIFT_PRIOR_STRENGTH = 1.0
"""Weight of the prior on a shift of 0, in attempts: enough to keep the shift finite."""
_IDENTITY = np.array([1.0, 1.0, 0.0])
"""The parameters p, n and c of the beta calibration that is the identity."""


@dataclass(frozen=True)
class Stack:
    """Weights that combine the logits of ``h`` heads for each of ``k`` arms.

    Attributes:
        weights: float64 ``(k, h)``, ≥ 0.
        shift: float64 ``(k,)``.
    """

    weights: Floats
    shift: Floats

    def of(self, logits: Floats) -> Floats:
        """One logit per arm ``(n, k)`` from those of the heads ``(n, k, h)``."""
        return np.asarray(np.einsum("nkh,kh->nk", logits, self.weights) + self.shift)


@dataclass(frozen=True)
class Calibration:
    """Beta calibration of each arm.

    Attributes:
        positive: float64 ``(k,)``, p ≥ 0.
        negative: float64 ``(k,)``, n ≥ 0.
        shift: float64 ``(k,)``, c.
        by_script: float64 ``(len(SCRIPTS), k)``, d; ``None``: 0 for all.
    """

    positive: Floats
    negative: Floats
    shift: Floats
    by_script: Floats | None = None

    @property
    def changed_arms(self) -> npt.NDArray[np.bool_]:
        """The arms that it changes, ``(k,)``."""
        parameters = np.stack([self.positive, self.negative, self.shift], axis=1)
        return np.asarray((parameters != _IDENTITY).any(axis=1))

    def of(self, logits: Floats, scripts: Scripts) -> Floats:
        """Calibrated logits ``(n, k)`` from those of the stack and the script of each prompt ``(n,)``."""
        yes, no = np.logaddexp(0.0, -logits), np.logaddexp(0.0, logits)
        beta = self.negative * no - self.positive * yes + self.shift
        calibrated = np.where(self.changed_arms, beta, logits)
        if self.by_script is not None:
            calibrated = calibrated + self.by_script[scripts]
        return np.asarray(calibrated)


def fit_stack(logits: Floats, outcome: Floats, weight: Floats) -> Stack:
    """Fit the weights by L-BFGS on the log-loss; the priors keep them finite on few or separable data.

    Args:
        logits: float64 ``(n, k, h)``, of fits that did not see the prompt.
        outcome: float64 ``(n, k)``, 0..1.
        weight: float64 ``(n, k)`` ≥ 0, 0 where there is no outcome.
    """
    k, h = logits.shape[1:]
    fair = np.full(h, 1 / h)

    def objective(theta: Floats) -> tuple[float, Floats]:
        shared, own, shift = theta[:h], theta[h : h + k * h].reshape(k, h), theta[h + k * h :]
        stacked = Stack(own, shift).of(logits)
        slope = weight * (expit(stacked) - outcome)
        unlike = ARM_TYING_STRENGTH * (own - shared)
        penalty = np.sum((shared - fair) ** 2) + np.sum((own - shared) * unlike)
        gradient = np.concatenate(
            [
                PRIOR_STRENGTH * (shared - fair - unlike.sum(axis=0)),
                (np.einsum("nk,nkh->kh", slope, logits) + PRIOR_STRENGTH * unlike).ravel(),
                slope.sum(axis=0) + _SHIFT_PRIOR_STRENGTH * shift,
            ]
        )
        loss = log_loss(stacked, outcome, weight) + 0.5 * _SHIFT_PRIOR_STRENGTH * float(
            shift @ shift
        )
        return loss + 0.5 * PRIOR_STRENGTH * float(penalty), gradient

    start = np.concatenate([np.tile(fair, k + 1), np.zeros(k)])
    theta = _minimise(objective, start, at_least_zero=h + k * h)
    return Stack(theta[h : h + k * h].reshape(k, h), theta[h + k * h :])


def fit_calibration(
    logits: Floats,
    outcome: Floats,
    weight: Floats,
    fold: npt.NDArray[np.intp],
    scripts: Scripts,
) -> Calibration:
    """Fit beta calibration per arm and shifts per script where they lower the log-loss out of fold.

    Args:
        logits: float64 ``(n, k)``, of the stack.
        outcome: float64 ``(n, k)``, 0..1.
        weight: float64 ``(n, k)`` ≥ 0.
        fold: intp ``(n,)``, 0 … f − 1.
        scripts: intp ``(n,)``, places in :data:`lexical.SCRIPTS`.
    """
    arms = zip(logits.T, outcome.T, weight.T, strict=True)
    calibration = Calibration(*np.stack([_arm_calibration(*arm, fold) for arm in arms], axis=1))
    calibrated = calibration.of(logits, scripts)
    counts = np.bincount(scripts, minlength=len(SCRIPTS))
    frequent_scripts = np.flatnonzero(counts >= MIN_SCRIPT_PROMPTS)
    if len(frequent_scripts) < 2:
        return calibration
    by_script = np.zeros((len(SCRIPTS), logits.shape[1]))
    for script in frequent_scripts:
        rows = scripts == script
        by_script[script] = _script_shifts(
            calibrated[rows], outcome[rows], weight[rows], fold[rows]
        )
    return replace(calibration, by_script=by_script) if by_script.any() else calibration


def _script_shifts(
    logits: Floats, outcome: Floats, weight: Floats, fold: npt.NDArray[np.intp]
) -> Floats:
    """The shift of each arm in one script, ``(k,)``; 0 for all where the log-loss does not fall."""

    def fit_and_predict(rows: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]) -> Floats:
        return logits[out] + _fit_shifts(logits[rows], outcome[rows], weight[rows])

    unseen = out_of_fold(fold, logits.shape[1], fit_and_predict)
    if log_loss(unseen, outcome, weight) >= log_loss(logits, outcome, weight):
        return np.zeros(logits.shape[1])
    return _fit_shifts(logits, outcome, weight)


def _fit_shifts(logits: Floats, outcome: Floats, weight: Floats) -> Floats:
    """The shifts ``(k,)`` that minimise the log-loss with a prior at 0."""

    def objective(theta: Floats) -> tuple[float, Floats]:
        slope = weight * (expit(logits + theta) - outcome)
        loss = log_loss(logits + theta, outcome, weight) + 0.5 * PRIOR_STRENGTH * float(
            theta @ theta
        )
        return loss, slope.sum(axis=0) + PRIOR_STRENGTH * theta

    return _minimise(objective, np.zeros(logits.shape[1]), at_least_zero=0)


def _arm_calibration(
    logits: Floats, outcome: Floats, weight: Floats, fold: npt.NDArray[np.intp]
) -> Floats:
    """p, n and c of one arm, ``(3,)``; the identity where the log-loss does not fall."""
    design = np.stack(
        [-np.logaddexp(0.0, -logits), np.logaddexp(0.0, logits), np.ones(len(logits))], axis=1
    )

    def fit_and_predict(rows: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]) -> Floats:
        return (design[out] @ _fit_beta(design[rows], outcome[rows], weight[rows]))[:, None]

    unseen = out_of_fold(fold, 1, fit_and_predict)[:, 0]
    if log_loss(unseen, outcome, weight) >= log_loss(logits, outcome, weight):
        return _IDENTITY
    return _fit_beta(design, outcome, weight)


def _fit_beta(design: Floats, outcome: Floats, weight: Floats) -> Floats:
    """p, n and c that minimise the log-loss with a prior at the identity."""
    strength = np.array([PRIOR_STRENGTH, PRIOR_STRENGTH, _SHIFT_PRIOR_STRENGTH])

    def objective(theta: Floats) -> tuple[float, Floats]:
        calibrated, away = design @ theta, theta - _IDENTITY
        slope = weight * (expit(calibrated) - outcome)
        loss = log_loss(calibrated, outcome, weight) + 0.5 * float(strength @ away**2)
        return loss, slope @ design + strength * away

    return _minimise(objective, _IDENTITY, at_least_zero=2)


def _minimise(
    objective: Callable[[Floats], tuple[float, Floats]], start: Floats, *, at_least_zero: int
) -> Floats:
    """The minimum of a convex function given with its gradient; the first arguments stay ≥ 0."""
    free = len(start) - at_least_zero
    bounds = [(0.0, None)] * at_least_zero + [(None, None)] * free
    optimum = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(optimum.x)
