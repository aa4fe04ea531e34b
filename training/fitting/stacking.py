"""How the heads of the estimator speak with one voice: their logits stacked, then calibrated.

    z_k(x) = Σ_h a_kh · logit_kh(x) + s_k,  a_kh ≥ 0
    P(adequate | x, k) = sigmoid(p_k · log q − n_k · log(1 − q) + c_k + d_kl),  q = sigmoid(z_k)

The weights ``a`` are fitted on logits of prompts that the heads had not seen (stacking, Wolpert 1992). How
far a head is to be trusted is mostly the same for all arms: their weights are pulled towards shared ones,
which matters where an arm has few attempts. The second line is beta calibration (Kull, Silva Filho & Flach
2017) with p, n ≥ 0, so that order is kept. It is used for the arms whose log-loss out of fold it lowers;
for the others p = n = 1 and c = 0, and the stack alone is Platt's calibration (1999). Last comes what the
script ``l`` of the prompt adds, where that lowers the log-loss out of fold: an arm may be better or worse in
a language than what it has in common with the other arms and languages says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from router.classifier.features.lexical import SCRIPTS
from training.fitting.heads import out_of_fold

__all__ = ["Calibration", "Stack", "calibrate", "stack"]

Floats = npt.NDArray[np.float64]
Scripts = npt.NDArray[np.intp]

PULL = 10.0
"""How many attempts the prior of the shared weights is worth, under which each head counts the same."""
LIKENESS = 30.0
"""How many times more than that the likeness of an arm's weights to the shared ones is worth."""
NOTICED = 100
"""Prompts in a script, fewer of which do not tell it from the others."""
_SHIFT_PULL = 1.0
"""How many attempts it is worth that nothing is shifted: enough to keep a shift finite."""
_STRAIGHT = np.array([1.0, 1.0, 0.0])
"""Beta calibration that changes nothing."""


@dataclass(frozen=True)
class Stack:
    """How the logits of ``h`` heads are put together for each of ``k`` arms.

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
    def bent(self) -> npt.NDArray[np.bool_]:
        """The arms that it changes, ``(k,)``."""
        every = np.stack([self.positive, self.negative, self.shift], axis=1)
        return np.asarray((every != _STRAIGHT).any(axis=1))

    def of(self, logits: Floats, scripts: Scripts) -> Floats:
        """Calibrated logits ``(n, k)`` from those of the stack and the script of each prompt ``(n,)``."""
        yes, no = np.logaddexp(0.0, -logits), np.logaddexp(0.0, logits)
        changed = self.negative * no - self.positive * yes + self.shift
        found = np.where(self.bent, changed, logits)
        return np.asarray(found if self.by_script is None else found + self.by_script[scripts])


def _log_loss(margin: Floats, weight: Floats) -> float:
    return float((weight * np.logaddexp(0.0, -margin)).sum())


def stack(logits: Floats, sign: Floats, weight: Floats) -> Stack:
    """Weights that minimise the log-loss, by L-BFGS; the pulls keep them finite on few or separable data.

    Args:
        logits: float64 ``(n, k, h)``, of fits that did not see the prompt.
        sign: float64 ``(n, k)``, outcomes ±1.
        weight: float64 ``(n, k)`` ≥ 0, 0 where there is no outcome.
    """
    k, h = logits.shape[1:]
    fair = np.full(h, 1 / h)

    def objective(theta: Floats) -> tuple[float, Floats]:
        shared, own, shift = theta[:h], theta[h : h + k * h].reshape(k, h), theta[h + k * h :]
        margin = sign * Stack(own, shift).of(logits)
        slope = -weight * sign * expit(-margin)
        unlike = LIKENESS * (own - shared)
        penalty = np.sum((shared - fair) ** 2) + np.sum((own - shared) * unlike)
        gradient = np.concatenate(
            [
                PULL * (shared - fair - unlike.sum(axis=0)),
                (np.einsum("nk,nkh->kh", slope, logits) + PULL * unlike).ravel(),
                slope.sum(axis=0) + _SHIFT_PULL * shift,
            ]
        )
        loss = _log_loss(margin, weight) + 0.5 * _SHIFT_PULL * float(shift @ shift)
        return loss + 0.5 * PULL * float(penalty), gradient

    start = np.concatenate([np.tile(fair, k + 1), np.zeros(k)])
    found = _minimised(objective, start, at_least_zero=h + k * h)
    return Stack(found[h : h + k * h].reshape(k, h), found[h + k * h :])


def calibrate(
    logits: Floats,
    sign: Floats,
    weight: Floats,
    fold: npt.NDArray[np.intp],
    scripts: Scripts,
) -> Calibration:
    """Beta calibration for the arms, and shifts for the scripts, where they lower the log-loss out of fold.

    Args:
        logits: float64 ``(n, k)``, of the stack.
        sign: float64 ``(n, k)``, outcomes ±1.
        weight: float64 ``(n, k)`` ≥ 0.
        fold: intp ``(n,)``, 0 … f − 1.
        scripts: intp ``(n,)``, places in :data:`lexical.SCRIPTS`.
    """
    every = zip(logits.T, sign.T, weight.T, strict=True)
    made = Calibration(*np.stack([_of_arm(*arm, fold) for arm in every], axis=1))
    bent = made.of(logits, scripts)
    many = [one for one in range(len(SCRIPTS)) if (scripts == one).sum() >= NOTICED]
    if len(many) < 2:
        return made
    by_script = np.zeros((len(SCRIPTS), logits.shape[1]))
    for one in many:
        rows = scripts == one
        by_script[one] = _of_script(bent[rows], sign[rows], weight[rows], fold[rows])
    return replace(made, by_script=by_script) if by_script.any() else made


def _of_script(logits: Floats, sign: Floats, weight: Floats, fold: npt.NDArray[np.intp]) -> Floats:
    """The shift of each arm in one script, ``(k,)``; 0 for all where they do not pay."""

    def elsewhere(rows: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]) -> Floats:
        return logits[out] + _shifted(logits[rows], sign[rows], weight[rows])

    seen = out_of_fold(fold, logits.shape[1], elsewhere)
    if _log_loss(sign * seen, weight) >= _log_loss(sign * logits, weight):
        return np.zeros(logits.shape[1])
    return _shifted(logits, sign, weight)


def _shifted(logits: Floats, sign: Floats, weight: Floats) -> Floats:
    """The shifts ``(k,)`` that minimise the log-loss with a pull towards none."""

    def objective(theta: Floats) -> tuple[float, Floats]:
        margin = sign * (logits + theta)
        slope = -weight * sign * expit(-margin)
        loss = _log_loss(margin, weight) + 0.5 * PULL * float(theta @ theta)
        return loss, slope.sum(axis=0) + PULL * theta

    return _minimised(objective, np.zeros(logits.shape[1]), at_least_zero=0)


def _of_arm(logits: Floats, sign: Floats, weight: Floats, fold: npt.NDArray[np.intp]) -> Floats:
    """The three numbers of one arm."""
    design = np.stack(
        [-np.logaddexp(0.0, -logits), np.logaddexp(0.0, logits), np.ones(len(logits))], axis=1
    )

    def elsewhere(rows: npt.NDArray[np.bool_], out: npt.NDArray[np.bool_]) -> Floats:
        return (design[out] @ _bent(design[rows], sign[rows], weight[rows]))[:, None]

    seen = out_of_fold(fold, 1, elsewhere)[:, 0]
    if _log_loss(sign * seen, weight) >= _log_loss(sign * logits, weight):
        return _STRAIGHT
    return _bent(design, sign, weight)


def _bent(design: Floats, sign: Floats, weight: Floats) -> Floats:
    """p, n and c that minimise the log-loss with a pull towards no change."""
    pull = np.array([PULL, PULL, _SHIFT_PULL])

    def objective(theta: Floats) -> tuple[float, Floats]:
        margin, away = sign * (design @ theta), theta - _STRAIGHT
        slope = -weight * sign * expit(-margin)
        loss = _log_loss(margin, weight) + 0.5 * float(pull @ away**2)
        return loss, slope @ design + pull * away

    return _minimised(objective, _STRAIGHT, at_least_zero=2)


def _minimised(
    objective: Callable[[Floats], tuple[float, Floats]], start: Floats, *, at_least_zero: int
) -> Floats:
    """Where a convex function with its gradient is least; its first so many arguments stay ≥ 0."""
    free = len(start) - at_least_zero
    bounds = [(0.0, None)] * at_least_zero + [(None, None)] * free
    found = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x)
