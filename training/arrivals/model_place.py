"""The place of a new model on the scale of ability, from its attempts and what a bundle says of them.

The bundle gives P(adequate) of its arms at each prompt, and a line through their logits that of any ability
(:mod:`router.core.ability`). So a new model needs a number, and no training: the ability under which its
attempts are most probable, given where models of its tier are. With many attempts it gets strengths along
the demands of prompts too, with the prior that training gives them.

How strict the judge of a history is cannot be told from the attempts of one model. Where models that the
bundle places were judged at the same prompts, they tell it: all of them then do better or worse than the
bundle says. Where there are none, a strict judge looks like a less able model, and the uncertainty says so.

The fit is maximum a posteriori, its uncertainty the curvature there (Laplace). Between two arms the line is
one, so the fit is a logistic regression with a bounded ability, one for every pair of neighbouring arms; the
most probable of these is the place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, logit

from router.core.ability import LARGEST, NEVER_SURE, SMALLEST
from training.evaluation.predictions import p_of_models
from training.fitting.demands import MIN_MODEL_ATTEMPTS, STRENGTH_PRIOR
from training.scale.ability import DEVIATION_SPREAD, MEASURED_DEVIATION, STRICTNESS_SPREAD

__all__ = ["PRIOR_SPREAD", "JudgedPrompts", "Peers", "Place", "fit_place"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

PRIOR_SPREAD = 30.0
"""Standard deviation of the ability of a tier's models around that of the tier's arm, in points.

The four models of the shipped catalog whose ability is known are 31 from it (root mean square): a catalog
has an 8B model and gpt-5-nano in one tier. The ten models of ``training/scale/scale.yaml`` have 13, but they
were chosen as typical of their tiers, and a new model is not.
"""


@dataclass(frozen=True)
class JudgedPrompts:
    """Prompts at which a model was judged, ``n`` of them, and what a bundle says of each.

    Attributes:
        p_adequate: float64 ``(n, k)``, of the arms that stand on the scale, 0..1; k ≥ 2.
        arm_points: float64 ``(k,)``, their abilities, strictly ascending.
        demands: float64 ``(n, d)``; d = 0 where the bundle tells none.
        history: intp ``(n,)``, numbers from 0.
        adequate: bool ``(n,)``, whether the model's answer was.
    """

    p_adequate: Floats
    arm_points: Floats
    demands: Floats
    history: Places
    adequate: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.adequate)

    def rows(self, kept: npt.NDArray[np.bool_] | Places) -> JudgedPrompts:
        """Some of the prompts."""
        return JudgedPrompts(
            self.p_adequate[kept],
            self.arm_points,
            self.demands[kept],
            self.history[kept],
            self.adequate[kept],
        )

    @property
    def tells_strengths(self) -> bool:
        """Whether there are demands, and enough attempts for strengths along them."""
        return len(self) >= MIN_MODEL_ATTEMPTS and self.demands.shape[1] > 0


@dataclass(frozen=True)
class Peers:
    """Attempts of models that the bundle places, ``a`` of them, at the same prompts of the same histories.

    Attributes:
        expected: float64 ``(a,)``, the logit of P(adequate) as the bundle has it.
        adequate: bool ``(a,)``.
        history: intp ``(a,)``.
        models: intp ``(h,)``, how many models these are in each history.
    """

    expected: Floats
    adequate: npt.NDArray[np.bool_]
    history: Places
    models: Places


@dataclass(frozen=True)
class Place:
    """A model on the scale.

    Attributes:
        points: its ability.
        uncertainty: standard deviation of it, in points, ≥ 0.
        strengths: float64 ``(d,)``, logits per unit of each demand; d = 0 where none are known.
        leniency: float64 ``(h,)``, logits by which the judge of each history finds more answers adequate
            than the bundle says, whoever gives them; 0 where no peers tell it. It is not the model's.
    """

    points: float
    uncertainty: float
    strengths: Floats
    leniency: Floats

    def p_adequate(self, prompts: JudgedPrompts) -> Floats:
        """P(adequate) at prompts, float64 ``(n,)``: as serving tells it, with the judges' leniency added."""
        shift = prompts.demands[:, : len(self.strengths)] @ self.strengths
        shift = shift + self.leniency[prompts.history]
        points = np.full((len(prompts), 1), self.points)
        return p_of_models(
            prompts.p_adequate, prompts.arm_points, points, shift[:, None], self.uncertainty
        )[:, 0]


def fit_place(
    attempts: JudgedPrompts, tier_points: float, peers: Peers, *, strengths: bool = False
) -> Place:
    """Place a model by its attempts.

    Args:
        attempts: ``n`` of them, n ≥ 0.
        tier_points: the ability of the arm of its tier, where the prior is.
        peers: what others did at these prompts.
        strengths: whether to fit strengths along the demands.
    """
    told = np.flatnonzero(peers.models)
    demands = attempts.demands if strengths else attempts.demands[:, :0]
    logits = logit(np.clip(attempts.p_adequate, NEVER_SURE, 1 - NEVER_SURE))
    arms = attempts.arm_points / 100
    bounds = [SMALLEST / 100, *arms[1:-1], LARGEST / 100]
    others = np.zeros((len(peers.expected), 1 + demands.shape[1]))
    judges = (np.r_[attempts.history, peers.history][:, None] == told).astype(np.float64)
    y = np.r_[attempts.adequate, peers.adequate].astype(np.float64)
    prior = _Prior(
        np.r_[tier_points / 100, np.zeros(demands.shape[1] + len(told))],
        np.r_[
            (100 / PRIOR_SPREAD) ** 2,
            np.full(demands.shape[1], STRENGTH_PRIOR),
            np.full(len(told), STRICTNESS_SPREAD**-2),
        ],
    )
    fits = []
    for at in range(len(arms) - 1):
        slope = (logits[:, at + 1] - logits[:, at]) / (arms[at + 1] - arms[at])
        own = np.column_stack([slope, demands])
        inputs = np.hstack([np.vstack([own, others]), judges])
        offset = np.r_[logits[:, at] - slope * arms[at], peers.expected]
        fits.append(_fitted(inputs, offset, y, prior, (bounds[at], bounds[at + 1])))
    best = min(fits, key=lambda fit: fit.loss)
    leniency = np.zeros(len(peers.models))
    leniency[told] = best.theta[1 + demands.shape[1] :]
    return Place(
        round(100 * float(best.theta[0]), 1),
        round(100 * math.hypot(best.uncertainty, _deviation(attempts.history, peers.models)), 1),
        np.round(best.theta[1 : 1 + demands.shape[1]], 4),
        leniency,
    )


def _deviation(history: Places, peers: Places) -> float:
    """What the attempts cannot tell of the ability, a standard deviation in hundreds of points.

    In each history a model does better or worse than its ability says, and so do its peers. Without peers
    the strictness of the judge is unknown as well.

    Args:
        history: intp ``(n,)``, of the attempts.
        peers: intp ``(h,)``, how many peers each history has.
    """
    models = peers[np.unique(history)]
    if not len(models):
        return 0.0
    told = MEASURED_DEVIATION**2 * (1 + 1 / np.maximum(models, 1))
    return math.sqrt(np.where(models > 0, told, DEVIATION_SPREAD**2).sum()) / len(models)


@dataclass(frozen=True)
class _Prior:
    """Means and precisions ``(p,)`` of the parameters: ability in hundreds of points, then the rest."""

    mean: Floats
    precision: Floats


@dataclass(frozen=True)
class _Fit:
    """Parameters ``(p,)``, the standard deviation of the first, and their loss with the prior in it."""

    theta: Floats
    uncertainty: float
    loss: float


def _fitted(
    inputs: Floats, offset: Floats, y: Floats, prior: _Prior, bounds: tuple[float, float]
) -> _Fit:
    """A logistic regression with a prior, its first parameter bounded.

    Args:
        inputs: float64 ``(n, p)``.
        offset: float64 ``(n,)``, logits.
        y: float64 ``(n,)``, 0 or 1.
        prior: of the parameters.
        bounds: of the first.
    """

    def objective(theta: Floats) -> tuple[float, Floats]:
        z = offset + inputs @ theta
        away = theta - prior.mean
        loss = float((np.logaddexp(0.0, z) - y * z).sum() + 0.5 * prior.precision @ away**2)
        return loss, inputs.T @ (expit(z) - y) + prior.precision * away

    start = prior.mean.copy()
    start[0] = np.clip(start[0], *bounds)
    free = [(None, None)] * (len(start) - 1)
    optimum = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[bounds, *free])
    theta = np.asarray(optimum.x)
    z = offset + inputs @ theta
    spread = expit(z) * expit(-z)
    curvature = inputs.T @ (inputs * spread[:, None]) + np.diag(prior.precision)
    return _Fit(theta, math.sqrt(np.linalg.inv(curvature)[0, 0]), float(optimum.fun))
