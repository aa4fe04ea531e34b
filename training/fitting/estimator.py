"""P(adequate) per arm from complete and from censored histories: pooled heads, stacked.

Each judged attempt is one observation: arm ``k`` was adequate on prompt ``x``, or was not. Up to four heads
learn from all of them. Two are logistic regressions (:mod:`training.fitting.heads`), on the encoder's
vector with the lexical features and on the bag of token n-grams; one is a forest on the lexical features
(:mod:`training.fitting.trees`); one looks at the nearest training prompts
(:mod:`training.fitting.neighbours`). They see different things and err differently.
:mod:`training.fitting.stacking` makes one calibrated probability of them; the weights that it gives the
logistic heads fold into their weights on the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import expit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from router.classifier.features.lexical import scripts_of
from training.fitting.heads import (
    Data,
    Hyperparameters,
    fit_head,
    fit_once,
    out_of_fold,
    standardised,
)
from training.fitting.neighbours import Neighbours, remember
from training.fitting.ngrams import halved, inverse_frequency, said, weighted
from training.fitting.stacking import Calibration, Stack, calibrate, stack
from training.fitting.trees import Trees, grow
from training.histories.splitting import folds

__all__ = ["Hyperparameters", "PooledLogistic", "Words", "cross_fitted", "fit_pooled"]

Floats = npt.NDArray[np.float64]

SHARED = (0.0001, 0.0003, 0.001, 0.003)
"""Values of C tried for the shared slope on standardised columns."""
RATIOS = (1.0, 4.0, 16.0)
"""How much more heavily the deviations are regularised than the shared slope."""
WORD_GRID = tuple(Hyperparameters(c, ratio) for ratio in (1.0, 4.0) for c in (0.5, 1.5))
"""Hyperparameters tried for the head on n-grams, whose rows have unit length."""
MIN_PROMPTS = 500
"""From so many prompts on there are trees and neighbours: with fewer, they say what few prompts did."""
WORTH = 0.0005
"""What neighbours must take off the log-loss per attempt to be kept: they cost room and time."""
FOLDS = 5


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
    """A fitted estimator in the units of its inputs: standardisation and stacking are folded in.

    Attributes:
        heads: their names in the order of the stack: ``vector`` (with the lexical features), and where they
            were fitted ``words``, ``trees``, ``neighbours``.
        weights: float64 ``(p, k)``, on embedding and lexical features side by side.
        bias: float64 ``(k,)``.
        words: the head on n-grams, ``None`` where there is none.
        trees: the head on form, ``None`` where there is none.
        neighbours: the head on the nearest training prompts, ``None`` where there is none.
        dimensions: of the encoder's vector, the first columns of the inputs.
        chosen: the hyperparameters of ``vector`` and ``words``.
        stack: how the heads are put together.
        calibration: what follows the stack.
        log_loss: of ``vector`` and ``words``, cross-validated mean log-loss per attempt of every pair
            (c, ratio) tried.
        out_of_fold: float64 ``(n, k)``, the calibrated probability of each training prompt by fits that
            did not see it.
    """

    heads: tuple[str, ...]
    weights: Floats
    bias: Floats
    words: Words | None
    trees: Trees | None
    neighbours: Neighbours | None
    dimensions: int
    chosen: tuple[Hyperparameters, ...]
    stack: Stack
    calibration: Calibration
    log_loss: tuple[dict[tuple[float, float], float], ...]
    out_of_fold: Floats

    def share(self, head: str) -> Floats:
        """The weight of a head in the logits of each arm, ``(k,)``."""
        return np.asarray(self.stack.weights[:, self.heads.index(head)])

    def p_adequate(
        self, x: npt.NDArray[np.float32], counts: sparse.csr_matrix | None = None
    ) -> Floats:
        """Calibrated P(adequate) per arm: float ``(n, p)``, counts ``(n, BUCKETS)`` → float64 ``(n, k)``."""
        logits = x.astype(np.float64) @ self.weights + self.bias
        if self.words is not None and counts is not None:
            logits = logits + self.words.logits(counts)
        if self.trees is not None:
            logits = logits + self.share("trees") * self.trees.logits(x[:, self.dimensions :])
        if self.neighbours is not None:
            near = self.neighbours.logits(x[:, : self.dimensions])
            logits = logits + self.share("neighbours") * near
        return np.asarray(expit(self.calibration.of(logits, self.scripts(x))))

    def scripts(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
        """The script of each prompt, ``(n,)``; all the same where calibration does not tell them apart."""
        if self.calibration.by_script is None:
            return np.zeros(len(x), dtype=np.intp)
        return scripts_of(x[:, self.dimensions :])


@dataclass(frozen=True)
class _Known:
    """What there is to learn from: inputs, ``n`` prompts, and outcomes of ``k`` arms.

    ``sign`` holds outcomes ±1, float64 ``(n, k)``; ``weight`` is 0 where there is no outcome.
    """

    x: npt.NDArray[np.float32]
    dimensions: int
    counts: sparse.csr_matrix | None
    sign: Floats
    weight: Floats

    def take(self, rows: npt.NDArray[np.bool_]) -> _Known:
        counts = None if self.counts is None else self.counts[rows]
        return _Known(self.x[rows], self.dimensions, counts, self.sign[rows], self.weight[rows])

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        return self.x[:, : self.dimensions]

    @property
    def form(self) -> npt.NDArray[np.float32]:
        return self.x[:, self.dimensions :]

    def standard(self) -> tuple[Data, Floats, Floats]:
        """Standardised inputs, with the mean ``(p,)`` and the scale ``(p,)`` that made them so."""
        inputs, mean, scale = standardised(self.x)
        return Data(inputs, self.sign, self.weight), mean, scale

    def bag(self, inverse: npt.NDArray[np.float32]) -> Data:
        """The n-grams as inputs: the columns that say something."""
        rows = weighted(self.counts, inverse)[:, inverse > 0]
        return Data(rows, self.sign, self.weight)

    def two_sided(self) -> bool:
        """Whether there are adequate attempts and inadequate ones."""
        there = self.sign[self.weight > 0]
        return bool((there > 0).any() and (there < 0).any())


_Head: TypeAlias = Callable[[_Known], Floats]


def _known(
    x: npt.NDArray[np.float32],
    dimensions: int,
    counts: sparse.csr_matrix | None,
    adequate: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    weights: Floats | None,
) -> _Known:
    weight = judged * (np.ones(judged.shape) if weights is None else weights)
    return _Known(x, dimensions, counts, np.where(adequate, 1.0, -1.0), weight)


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
    dimensions: int | None = None,
    neighbours: bool = True,
    scripts: npt.NDArray[np.intp] | None = None,
) -> PooledLogistic:
    """Choose hyperparameters, fit on all rows, stack. The same inputs give the same result.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        adequate: bool ``(n, k)``.
        judged: bool ``(n, k)``, which attempts exist; each arm has at least one.
        groups: ``n`` keys; folds keep a group together.
        seed: of the folds.
        counts: float32 ``(n, BUCKETS)`` of :func:`training.fitting.ngrams.counted`; ``None``: no head on
            n-grams.
        weights: float64 ``(n, k)`` ≥ 0, such as 1/propensity; all 1 where left out.
        grid: hyperparameters of the first head; ``None``: all pairs of ``SHARED`` and ``RATIOS``.
        dimensions: of the embedding, the first columns of ``x``; ``None``: neither trees, which read the
            other columns, nor neighbours, which read these.
        neighbours: whether vectors of training prompts may be kept, where that pays.
        scripts: of the prompts, intp ``(n,)`` of :func:`lexical.scripts_of`, which reads the other
            columns; ``None``: they are not told apart.
    """
    scripts = np.zeros(len(x), dtype=np.intp) if scripts is None else scripts
    fold = folds(groups, count=min(FOLDS, len(set(groups))), seed=seed)
    known = _known(x, dimensions or x.shape[1], counts, adequate, judged, weights)
    standard, mean, scale = known.standard()
    candidates = grid or [Hyperparameters(c, ratio) for ratio in RATIOS for c in SHARED]
    inverse, trees, near = None, None, None
    # The products are tall and narrow: a second BLAS thread waits more than it works, and one thread
    # adds up in the same order every time.
    with threadpool_limits(limits=1):
        heads = [fit_head(standard, fold, candidates)]
        if counts is not None:
            inverse = inverse_frequency(counts)
            heads.append(fit_head(known.bag(inverse), fold, WORD_GRID))
        names = ("vector", "words")[: len(heads)]
        logits = {name: head.out_of_fold for name, head in zip(names, heads, strict=True)}
        if dimensions is not None and len(x) >= MIN_PROMPTS:
            if all(known.take(fold != number).two_sided() for number in set(fold.tolist())):
                trees = grow(known.form, known.sign, known.weight, seed)
                logits["trees"] = _elsewhere("trees", known, fold, {}, seed)
            theirs = _elsewhere("neighbours", known, fold, {}, seed) if neighbours else None
            if theirs is not None and _worth(logits, theirs, known):
                near = remember(known.vectors, known.sign, known.weight, seed)
                logits["neighbours"] = theirs
    every = _side_by_side(logits)
    stacked = stack(every, known.sign, known.weight)
    calibrated = calibrate(stacked.of(every), known.sign, known.weight, fold, scripts)
    shares = dict(zip(logits, stacked.weights.T, strict=True))
    slopes = heads[0].slopes * scale[:, None] * shares["vector"]
    bias = sum(head.bias * shares[name] for name, head in zip(names, heads, strict=True))
    words = None
    if inverse is not None:
        table = np.zeros((len(inverse), judged.shape[1]))
        table[inverse > 0] = heads[1].slopes * shares["words"] * inverse[inverse > 0, None]
        words = Words(halved(table), inverse)
    return PooledLogistic(
        tuple(logits),
        slopes,
        np.asarray(bias + stacked.shift - mean @ slopes),
        words,
        trees,
        near,
        known.dimensions,
        tuple(head.chosen for head in heads),
        stacked,
        calibrated,
        tuple(head.log_loss for head in heads),
        _said(logits, stacked, calibrated, scripts),
    )


def _asked(name: str, known: _Known, chosen: Mapping[str, Hyperparameters], seed: int) -> _Head:
    """Fit one head on all rows with given hyperparameters; a function from prompts to logits."""
    if name == "vector":
        data, mean, scale = known.standard()
        line = fit_once(data, chosen[name])
        return lambda new: line(((new.x - mean) * scale).astype(np.float32))
    if name == "words":
        inverse = inverse_frequency(known.counts)
        bag = fit_once(known.bag(inverse), chosen[name])
        return lambda new: bag(new.bag(inverse).x)
    if name == "trees":
        forest = grow(known.form, known.sign, known.weight, seed)
        return lambda new: forest.logits(new.form)
    near = remember(known.vectors, known.sign, known.weight, seed)
    return lambda new: near.logits(new.vectors)


def _elsewhere(
    name: str,
    known: _Known,
    fold: npt.NDArray[np.intp],
    chosen: Mapping[str, Hyperparameters],
    seed: int,
) -> Floats:
    """The logits of one head for each prompt by the fit on other folds, ``(n, k)``."""
    return out_of_fold(
        fold,
        known.sign.shape[1],
        lambda rows, out: _asked(name, known.take(rows), chosen, seed)(known.take(out)),
    )


def cross_fitted(
    model: PooledLogistic,
    x: npt.NDArray[np.float32],
    adequate: npt.NDArray[np.bool_],
    judged: npt.NDArray[np.bool_],
    fold: npt.NDArray[np.intp],
    *,
    seed: int,
    counts: sparse.csr_matrix | None = None,
    weights: Floats | None = None,
) -> Floats:
    """P(adequate) of each prompt by heads fitted on other folds, ``(n, k)``: for other folds than the fit's.

    The hyperparameters and the stack stay those of ``model``. Where a fold is a category, this tells what
    a router makes of prompts of a kind that it has not seen.

    Args:
        model: of :func:`fit_pooled` on the same prompts.
        x: as there, and so are the others.
        adequate: bool ``(n, k)``.
        judged: bool ``(n, k)``.
        fold: intp ``(n,)``, 0 … f − 1, f ≥ 2; outside each fold, attempts are adequate and inadequate.
        seed: of the trees and of the sample of neighbours.
        counts: ``(n, BUCKETS)``, where ``model`` reads words.
        weights: float64 ``(n, k)`` ≥ 0.
    """
    known = _known(x, model.dimensions, counts, adequate, judged, weights)
    chosen = dict(zip(("vector", "words"), model.chosen, strict=False))
    with threadpool_limits(limits=1):
        logits = {name: _elsewhere(name, known, fold, chosen, seed) for name in model.heads}
    return _said(logits, model.stack, model.calibration, model.scripts(x))


def _side_by_side(logits: Mapping[str, Floats]) -> Floats:
    """The logits of the heads, ``(n, k)`` by name, as ``(n, k, h)``."""
    return np.stack(list(logits.values()), axis=2)


def _said(
    logits: Mapping[str, Floats],
    stacked: Stack,
    calibrated: Calibration,
    scripts: npt.NDArray[np.intp],
) -> Floats:
    """P(adequate), ``(n, k)``, from the logits of the heads."""
    return np.asarray(expit(calibrated.of(stacked.of(_side_by_side(logits)), scripts)))


def _worth(logits: Mapping[str, Floats], more: Floats, known: _Known) -> bool:
    """Whether one more head takes :data:`WORTH` off the log-loss per attempt."""

    def loss(heads: Mapping[str, Floats]) -> float:
        every = _side_by_side(heads)
        margin = known.sign * stack(every, known.sign, known.weight).of(every)
        return float((known.weight * np.logaddexp(0.0, -margin)).sum() / known.weight.sum())

    return loss(logits) - loss({**logits, "more": more}) >= WORTH
