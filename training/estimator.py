"""P(adequate) per arm from complete and from censored histories: pooled heads, stacked.

Each judged attempt is one observation: arm ``k`` was adequate on prompt ``x``, or was not. Two heads
(:mod:`training.heads`) learn from all of them: one reads the encoder's vector and the lexical features,
one the bag of token n-grams. They see different things and err differently. What an arm is given is

    P(adequate | x, k) = sigmoid(Σ_h a_hk · logit_hk(x) + c_k),  a_hk ≥ 0

where ``a`` and ``c`` are fitted on logits of prompts that their fit had not seen (stacking, Wolpert 1992;
with a single head, Platt's calibration, 1999). So the weights of the heads and the calibration are one
step, and all of it folds into weights on the inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.heads import Data, Head, Hyperparameters, fit_head
from training.ngrams import halved, inverse_frequency, said, weighted
from training.splitting import folds

__all__ = ["HEADS", "Hyperparameters", "PooledLogistic", "Stack", "Words", "fit_pooled"]

Floats = npt.NDArray[np.float64]

SHARED = (0.0001, 0.0003, 0.001, 0.003)
"""Values of C tried for the shared slope on standardised columns."""
RATIOS = (1.0, 4.0, 16.0)
"""How much more heavily the deviations are regularised than the shared slope."""
WORD_GRID = tuple(Hyperparameters(c, ratio) for ratio in (1.0, 4.0) for c in (0.5, 1.5))
"""Hyperparameters tried for the head on n-grams, whose rows have unit length."""
HEADS = ("vector", "words")
"""What the heads read, in order: the encoder's vector with the lexical features; the bag of n-grams."""
FOLDS = 5
PULL = 10.0
"""How many attempts the prior of the stack is worth: equal weights of the heads, no shift."""


@dataclass(frozen=True, slots=True)
class Stack:
    """How one arm puts the logits of the heads together: their weights ≥ 0 in order, and a shift."""

    weights: tuple[float, ...]
    shift: float


@dataclass(frozen=True)
class Words:
    """The head on n-grams as the graph needs it.

    Attributes:
        table: float64 ``(BUCKETS, k)``, weight per place and arm, stacking and inverse frequency in it.
        inverse: float32 ``(BUCKETS,)``, inverse document frequency, for the length of the row.
    """

    table: Floats
    inverse: npt.NDArray[np.float32]

    def logits(self, counts: sparse.csr_matrix) -> Floats:
        """What the words add to the logits: damped counts ``(n, BUCKETS)`` → float64 ``(n, k)``."""
        return said(counts, self.inverse, self.table)


@dataclass(frozen=True)
class PooledLogistic:
    """A fitted estimator in the units of its inputs: standardisation, stacking and calibration are in it.

    Attributes:
        weights: float64 ``(p, k)``, on embedding and lexical features side by side.
        bias: float64 ``(k,)``.
        words: the head on n-grams, ``None`` where there is none.
        chosen: the hyperparameters of each head.
        stack: per arm.
        log_loss: per head, cross-validated mean log-loss per attempt of every pair (c, ratio) tried.
        out_of_fold: float64 ``(n, k)``, the calibrated probability of each training prompt by fits that
            did not see it.
    """

    weights: Floats
    bias: Floats
    words: Words | None
    chosen: tuple[Hyperparameters, ...]
    stack: tuple[Stack, ...]
    log_loss: tuple[dict[tuple[float, float], float], ...]
    out_of_fold: Floats

    def p_adequate(
        self, x: npt.NDArray[np.float32], counts: sparse.csr_matrix | None = None
    ) -> Floats:
        """Calibrated P(adequate) per arm: float ``(n, p)``, counts ``(n, BUCKETS)`` → float64 ``(n, k)``."""
        logits = x.astype(np.float64) @ self.weights + self.bias
        if self.words is not None and counts is not None:
            logits = logits + self.words.logits(counts)
        return np.asarray(expit(logits))


def fit_pooled(
    x: npt.NDArray[np.float32],
    adequate: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    groups: Sequence[str],
    *,
    seed: int,
    counts: sparse.csr_matrix | None = None,
    weights: Floats | None = None,
    grid: Sequence[Hyperparameters] | None = None,
) -> PooledLogistic:
    """Choose hyperparameters, fit on all rows, stack. The same inputs give the same result.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        adequate: bool ``(n, k)``.
        judged: bool ``(n, k)``, which attempts exist; each arm has at least one.
        groups: ``n`` keys; folds keep a group together.
        seed: of the folds.
        counts: float32 ``(n, BUCKETS)`` of :func:`training.ngrams.counted`; ``None``: no head on n-grams.
        weights: float64 ``(n, k)`` ≥ 0, such as 1/propensity; all 1 where left out.
        grid: hyperparameters of the first head; ``None``: all pairs of ``SHARED`` and ``RATIOS``.
    """
    sign = np.where(adequate, 1.0, -1.0)
    weight = judged * (np.ones(judged.shape) if weights is None else weights)
    fold = folds(groups, count=min(FOLDS, len(set(groups))), seed=seed)
    mean = x.mean(axis=0, dtype=np.float64)
    spread = x.std(axis=0, dtype=np.float64)
    # A column that never changed in training says nothing, whatever it holds later.
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    candidates = grid or [Hyperparameters(c, ratio) for ratio in RATIOS for c in SHARED]
    # The products are tall and narrow: a second BLAS thread waits more than it works, and one thread
    # adds up in the same order every time.
    with threadpool_limits(limits=1):
        standard = Data(((x - mean) * scale).astype(np.float32), sign, weight)
        heads = [fit_head(standard, fold, candidates)]
        inverse = None
        if counts is not None:
            inverse = inverse_frequency(counts)
            heads.append(fit_head(Data(weighted(counts, inverse), sign, weight), fold, WORD_GRID))
    return _stacked(heads, sign, weight, mean, scale, inverse)


def _stacked(
    heads: Sequence[Head],
    sign: Floats,
    weight: Floats,
    mean: Floats,
    scale: Floats,
    inverse: npt.NDArray[np.float32] | None,
) -> PooledLogistic:
    """Put the heads together. ``mean`` and ``scale`` ``(p,)`` standardised the inputs of the first."""
    logits = np.stack([head.out_of_fold for head in heads], axis=2)
    stack = tuple(
        _stack(logits[:, arm], sign[:, arm], weight[:, arm]) for arm in range(sign.shape[1])
    )
    shares = np.array([one.weights for one in stack])  # (k, heads)
    shift = np.array([one.shift for one in stack])
    slopes = heads[0].slopes * scale[:, None] * shares[:, 0]
    bias = sum(head.bias * shares[:, place] for place, head in enumerate(heads)) + shift
    words = None
    if inverse is not None:
        words = Words(halved(heads[1].slopes * shares[:, 1] * inverse[:, None]), inverse)
    return PooledLogistic(
        slopes,
        np.asarray(bias - mean @ slopes),
        words,
        tuple(head.chosen for head in heads),
        stack,
        tuple(head.log_loss for head in heads),
        np.asarray(expit(np.einsum("nkh,kh->nk", logits, shares) + shift)),
    )


def _stack(logits: Floats, sign: Floats, weight: Floats) -> Stack:
    """Weights of the heads ``(n, h)`` and a shift by Newton's method; a weight below 0 becomes 0.

    A pull towards equal weights, as strong as :data:`PULL` attempts, keeps it finite on few or separable
    data. A head whose weight would be negative has no signal of its own: the others are fitted without it.
    """
    heads = logits.shape[1]
    used = np.ones(heads, dtype=bool)
    while used.any():
        found = _newton(logits[:, used], sign, weight)
        if (found[:-1] >= 0).all():
            every = np.zeros(heads)
            every[used] = found[:-1]
            return Stack(tuple(map(float, every)), float(found[-1]))
        used[np.flatnonzero(used)[found[:-1].argmin()]] = False
    good = weight[sign > 0].sum() + 0.5
    shift = float(np.log(good / (weight[sign < 0].sum() + 0.5)))
    return Stack((0.0,) * heads, shift)


def _newton(logits: Floats, sign: Floats, weight: Floats) -> Floats:
    """Weights and, last, the shift that minimise the log-loss with the pull, ``(h + 1,)``."""
    design = np.hstack([logits, np.ones((len(logits), 1))])
    prior = np.array([1 / logits.shape[1]] * logits.shape[1] + [0.0])
    at = prior.copy()
    for _ in range(50):
        probability = expit(design @ at)
        gradient = design.T @ (weight * (probability - (sign > 0))) + PULL * (at - prior)
        curve = weight * probability * (1 - probability)
        curvature = (design.T * curve) @ design + PULL * np.eye(len(prior))
        step = np.linalg.solve(curvature, gradient)
        at = at - step
        if np.abs(step).max() < 1e-9:
            break
    return np.asarray(at)
