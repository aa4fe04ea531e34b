"""A new arm from its tier's head and a few attempts: a Bayesian update instead of training.

The tier's head gives each prompt a logit z. The new arm is taken to differ from its tier by a shift, and
by how closely it follows the head:

    logit P(adequate) = z + shift + tilt · (z − centre)

With ``centre`` the logit of a typical prompt, ``shift`` is how much better or worse the arm is there, and
``slope`` = 1 + tilt. In other words P = sigmoid(a + b·z) with b = slope and a = shift − tilt · centre.
Without attempts shift and tilt are 0, which is the tier's head.

The prior is normal, the posterior its Laplace approximation. The prediction is the mean of P under
the posterior, by MacKay's formula (1992, "The Evidence Framework Applied to Classification Networks"): the
more uncertain the logit, the nearer its P is to 1/2.

On training prompts of the bundle the head is sharper than on new ones, so an arm seems to follow it more
closely than it does (on MMLU-Pro with slopes of 1.2 to 1.6, on new prompts of .8 to 1.1). Attempts at such
prompts therefore inform the shift alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit, log_expit

__all__ = [
    "LEAST_P",
    "PRIOR_SPREAD",
    "ArmPosterior",
    "Attempts",
    "CredibleInterval",
    "LogLosses",
    "UpdateStep",
    "blocks",
    "fit_posterior",
    "log_losses",
    "logits",
    "posterior_steps",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PRIOR_SPREAD = (0.5, 0.2)
"""Prior standard deviations of shift and tilt: how much models of one tier differ.

Measured by empirical Bayes on prompts that the shipped static bundle was not trained on, over the models
whose adequate share is within one logit of their tier's arm, in llmrouter_dc (5 models), shaberi_ja (148)
and mmlu_pro (25): the shift is .38, .33 and .59 around the head; the slope .12, .17 and .07 around the mean
of its tier, which on mmlu_pro is .13 to .19 away from 1. `make bench BENCH=arrivals` measures such a spread.
"""
LEAST_P = 1e-6
"""P(adequate) of the head is kept this far from 0 and 1, so that its logit is finite."""
FIRST_POINTS = (0, 10, 20, 50)
"""Attempts after which the estimate is reported; then 100, 200, 500, 1,000 and so on, and all."""
EVERY_ATTEMPT = 100
"""Up to this many attempts the posterior is updated after each, later after every 5 % more."""
DRAWS = 4000
_NINETY = 1.6449
"""Standard deviations to each side of a mean that hold 90 % of a normal distribution."""


def logits(p_adequate: Floats) -> Floats:
    """Logits of probabilities, of any shape, kept within ±13.8 by :data:`LEAST_P`."""
    kept = np.clip(p_adequate, LEAST_P, 1 - LEAST_P)
    return np.asarray(np.log(kept) - np.log(1 - kept))


@dataclass(frozen=True)
class Attempts:
    """``n`` judged attempts of one arm.

    Attributes:
        tier_logits: float64 ``(n,)``, of :func:`logits`, the tier's head for the prompt.
        adequate: bool ``(n,)``.
        new: bool ``(n,)``, whether the bundle was not trained on the prompt.
        weights: float64 ``(n,)``, how much each counts for, on any scale.
    """

    tier_logits: Floats
    adequate: Bools
    new: Bools
    weights: Floats

    def __len__(self) -> int:
        return len(self.adequate)

    def first(self, count: int) -> Attempts:
        """The first ``count`` of them."""
        some = slice(count)
        return Attempts(
            self.tier_logits[some], self.adequate[some], self.new[some], self.weights[some]
        )

    @property
    def counts(self) -> Floats:
        """The weights, scaled to sum to the effective sample size (Kish 1965)."""
        total = self.weights.sum()
        return np.asarray(self.weights * total / (self.weights**2).sum() if total else self.weights)


@dataclass(frozen=True)
class ArmPosterior:
    """The posterior of an arm: a normal distribution of shift and tilt.

    Attributes:
        centre: logit of a typical prompt.
        mean: float64 ``(2,)``, of shift and tilt.
        covariance: float64 ``(2, 2)``.
    """

    centre: float
    mean: Floats
    covariance: Floats

    def _inputs(self, tier_logits: Floats) -> Floats:
        return np.stack([np.ones_like(tier_logits), tier_logits - self.centre], axis=-1)

    def p_adequate(self, tier_logits: Floats) -> Floats:
        """The mean of P(adequate), ``(n,)``, for prompts with these logits of the tier's head ``(n,)``."""
        inputs = self._inputs(tier_logits)
        variance = np.einsum("ni,ij,nj->n", inputs, self.covariance, inputs)
        middle = tier_logits + inputs @ self.mean
        return np.asarray(expit(middle / np.sqrt(1 + np.pi / 8 * variance)))

    def drawn(self, tier_logits: Floats, draws: Floats) -> Floats:
        """The mean P(adequate) over prompts ``(n,)``, ``(d,)``, for standard normal ``draws`` ``(d, 2)``."""
        terms = self.mean + draws @ np.linalg.cholesky(self.covariance).T
        drawn = expit(tier_logits + terms @ self._inputs(tier_logits).T)
        return np.asarray(drawn.mean(axis=1))


def fit_posterior(
    attempts: Attempts, centre: float, spread: tuple[float, float] = PRIOR_SPREAD
) -> ArmPosterior:
    """The posterior by Laplace's approximation; the prior where there are no attempts.

    Args:
        attempts: ``n`` ≥ 0.
        centre: logit of a typical prompt.
        spread: standard deviations of shift and tilt before any attempt.
    """
    prior = ArmPosterior(centre, np.zeros(2), np.diag(np.square(spread)))
    if not len(attempts):
        return prior
    z, counts = attempts.tier_logits, attempts.counts
    inputs = np.stack([np.ones_like(z), np.where(attempts.new, z - centre, 0.0)], axis=1)
    precision = np.linalg.inv(prior.covariance)
    signs = np.where(attempts.adequate, 1.0, -1.0)

    def loss(terms: Floats) -> float:
        fit = counts @ log_expit(signs * (z + inputs @ terms))
        return float(terms @ precision @ terms / 2 - fit)

    def slope(terms: Floats) -> Floats:
        rest = expit(z + inputs @ terms) - attempts.adequate
        return np.asarray(precision @ terms + inputs.T @ (counts * rest))

    def curvature(terms: Floats) -> Floats:
        p = expit(z + inputs @ terms)
        return np.asarray(precision + (inputs.T * (counts * p * (1 - p))) @ inputs)

    found = minimize(loss, prior.mean, jac=slope, hess=curvature, method="trust-exact")
    covariance = np.linalg.inv(curvature(found.x))
    return ArmPosterior(centre, np.asarray(found.x), np.asarray(covariance, dtype=np.float64))


# --- How it comes about ------------------------------------------------------------------------


def blocks(count: int) -> Iterator[slice]:
    """Blocks of attempts that are predicted before they are learnt: single ones first, then larger blocks."""
    start = 0
    while start < count:
        end = min(start + max(1, (start - EVERY_ATTEMPT) // 20), count)
        yield slice(start, end)
        start = end


@dataclass(frozen=True)
class LogLosses:
    """Log-loss of each attempt, nats, float64 ``(n,)``, predicted before it was learnt.

    Attributes:
        arm: by the posterior of the attempts before it.
        tier: by the tier's head.
        base_rate: by the adequate share of the attempts before it (Krichevsky and Trofimov 1981).
    """

    arm: Floats
    tier: Floats
    base_rate: Floats


def log_losses(attempts: Attempts, centre: float) -> LogLosses:
    """Predict each attempt before it is learnt (Dawid 1984, "prequential").

    Args:
        attempts: ``n`` in the order in which they are learnt.
        centre: logit of a typical prompt.
    """
    n = len(attempts)
    arm = np.empty(n)
    for block in blocks(n):
        known = fit_posterior(attempts.first(block.start), centre)
        arm[block] = known.p_adequate(attempts.tier_logits[block])
    before: Floats = np.cumsum(attempts.adequate, dtype=np.float64) - attempts.adequate
    rate = (before + 0.5) / (np.arange(n) + 1)

    def losses(p: Floats) -> Floats:
        return -np.log(np.where(attempts.adequate, p, 1 - p))

    return LogLosses(losses(arm), losses(expit(attempts.tier_logits)), losses(rate))


@dataclass(frozen=True)
class CredibleInterval:
    """A mean and the 90 % credible interval around it."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class UpdateStep:
    """The estimate after some attempts.

    Attributes:
        attempts: learnt by then.
        p_adequate: mean P(adequate) over the reference prompts.
        shift: in logits, at a typical prompt.
        slope: 1 where the arm follows its tier's head.
        log_loss: of the attempts up to here, nats, by predictor: ``arm``, ``tier``, ``base_rate``; ``None``
            before the first.
    """

    attempts: int
    p_adequate: CredibleInterval
    shift: CredibleInterval
    slope: CredibleInterval
    log_loss: dict[str, float] | None


def _points(count: int) -> list[int]:
    found = [*FIRST_POINTS]
    scale = 100
    while scale <= count:
        found += [scale, 2 * scale, 5 * scale]
        scale *= 10
    return sorted({*(point for point in found if point < count), count})


def _of_draws(values: Floats) -> CredibleInterval:
    low, high = np.quantile(values, (0.05, 0.95))
    return CredibleInterval(float(values.mean()), float(low), float(high))


def _of_normal(mean: float, variance: float) -> CredibleInterval:
    reach = _NINETY * float(np.sqrt(variance))
    return CredibleInterval(float(mean), float(mean) - reach, float(mean) + reach)


def posterior_steps(
    attempts: Attempts, centre: float, reference: Floats, *, seed: int
) -> tuple[UpdateStep, ...]:
    """The posterior after 0, 10, 20, 50, 100 … and all attempts.

    Args:
        attempts: ``n`` in the order in which they are learnt.
        centre: logit of a typical prompt.
        reference: float64 ``(m,)``, logits of the tier's head for the reference prompts.
        seed: of the draws behind the intervals of P(adequate), which are the same for every step.
    """
    draws = np.random.default_rng(seed).standard_normal((DRAWS, 2))
    losses = log_losses(attempts, centre)
    steps = []
    for count in _points(len(attempts)):
        known = fit_posterior(attempts.first(count), centre)
        variances = np.diag(known.covariance)
        steps.append(
            UpdateStep(
                attempts=count,
                p_adequate=_of_draws(known.drawn(reference, draws)),
                shift=_of_normal(known.mean[0], variances[0]),
                slope=_of_normal(1 + known.mean[1], variances[1]),
                log_loss={name: float(x[:count].mean()) for name, x in vars(losses).items()}
                if count
                else None,
            )
        )
    return tuple(steps)
