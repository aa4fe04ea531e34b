"""Stacking of the heads' logits into one calibrated logit per arm.

    z_k(x) = Σ_h a_kh · logit_kh(x) + s_k,  a_kh ≥ 0
    P(adequate | x, k) = sigmoid(z_k)

The weights ``a`` and shifts ``s`` are fitted on logits of prompts that the heads had not seen (stacking,
Wolpert 1992), which is Platt's calibration (1999) of each arm at the same time. The reliability of a head is
mostly the same for all arms, so a prior ties their weights to shared ones, which matters where an arm has few
attempts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from training.fitting.heads import log_loss

__all__ = ["Stack", "fit_stack"]

Floats = npt.NDArray[np.float64]

PRIOR_STRENGTH = 10.0
"""Weight of the prior on the shared weights, in attempts. Its mean gives every head the same weight."""
ARM_TYING_STRENGTH = 30.0
"""How many times stronger than :data:`PRIOR_STRENGTH` an arm's weights are tied to the shared ones."""
_SHIFT_PRIOR_STRENGTH = 1.0
"""Weight of the prior on a shift of 0, in attempts: enough to keep the shift finite."""


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
    bounds = [(0.0, None)] * (h + k * h) + [(None, None)] * k
    theta = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Stack(theta[h : h + k * h].reshape(k, h), theta[h + k * h :])
