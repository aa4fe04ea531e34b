"""P(adequate) per arm from complete and from censored histories: pooled heads, stacked.

Each judged attempt is one observation: arm ``k`` was adequate on prompt ``x``, or was not. Up to three heads
learn from all of them. Two are logistic regressions (:mod:`training.fitting.heads`), on the encoder's
vector with the lexical features and on the bag of token n-grams; one is a forest on the lexical features
(:mod:`training.fitting.trees`). Their inputs and errors differ. :mod:`training.fitting.stacking` combines
them into one calibrated probability; its weights for the logistic heads are folded into their weights on the
inputs.
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

from training.fitting.heads import (
    Data,
    Hyperparameters,
    fit_head,
    fit_once,
    out_of_fold,
    standardised,
)
from training.fitting.ngrams import half_precision, inverse_frequency, ngram_logits, tf_idf
from training.fitting.stacking import Stack, fit_stack
from training.fitting.trees import Trees, fit_trees
from training.histories.split import folds

__all__ = [
    "Hyperparameters",
    "PooledLogistic",
    "Predictor",
    "Words",
    "cross_fitted",
    "fit_pooled",
    "refitted",
]

Floats = npt.NDArray[np.float64]

SHARED = (0.0001, 0.0003, 0.001, 0.003)
"""Values of C tried for the shared slope on standardised columns."""
RATIOS = (1.0, 4.0, 16.0)
"""How much more heavily the deviations are regularised than the shared slope."""
WORD_GRID = tuple(Hyperparameters(c, ratio) for ratio in (1.0, 4.0) for c in (0.5, 1.5))
"""Hyperparameters tried for the head on n-grams, whose rows have unit length."""
MIN_PROMPTS = 500
"""Fewest prompts for which trees are fitted; with fewer they overfit."""
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
        return ngram_logits(counts, self.inverse, self.table)


@dataclass(frozen=True)
class PooledLogistic:
    """A fitted estimator in the units of its inputs: standardisation and stacking are folded in.

    Attributes:
        heads: their names in the order of the stack: ``vector`` (with the lexical features), and where they
            were fitted ``words`` and ``trees``.
        weights: float64 ``(p, k)``, on embedding and lexical features side by side.
        bias: float64 ``(k,)``.
        words: the head on n-grams, ``None`` where there is none.
        trees: the head on form, ``None`` where there is none.
        dimensions: of the encoder's vector, the first columns of the inputs.
        chosen: the hyperparameters of ``vector`` and ``words``.
        stack: the weights that combine and calibrate the heads.
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
    dimensions: int
    chosen: tuple[Hyperparameters, ...]
    stack: Stack
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
        return np.asarray(expit(logits))


@dataclass(frozen=True)
class _TrainingData:
    """The training data: inputs, ``n`` prompts, and outcomes of ``k`` arms.

    ``outcome`` is 0..1, float64 ``(n, k)``; ``weight`` is 0 where there is no outcome.
    """

    x: npt.NDArray[np.float32]
    dimensions: int
    counts: sparse.csr_matrix | None
    outcome: Floats
    weight: Floats

    def take(self, rows: npt.NDArray[np.bool_]) -> _TrainingData:
        counts = None if self.counts is None else self.counts[rows]
        return _TrainingData(
            self.x[rows], self.dimensions, counts, self.outcome[rows], self.weight[rows]
        )

    @property
    def form(self) -> npt.NDArray[np.float32]:
        return self.x[:, self.dimensions :]

    def standard(self) -> tuple[Data, Floats, Floats]:
        """Standardised inputs, with the mean ``(p,)`` and the scale ``(p,)`` that made them so."""
        inputs, mean, scale = standardised(self.x)
        return Data(inputs, self.outcome, self.weight), mean, scale

    def bag(self, inverse: npt.NDArray[np.float32]) -> Data:
        """The n-grams as inputs: the informative columns."""
        rows = tf_idf(self.counts, inverse)[:, inverse > 0]
        return Data(rows, self.outcome, self.weight)

    def two_sided(self) -> bool:
        """Whether there are adequate attempts and inadequate ones."""
        outcomes = self.outcome[self.weight > 0]
        return bool((outcomes > 0).any() and (outcomes < 1).any())


_Head: TypeAlias = Callable[[_TrainingData], Floats]
Predictor: TypeAlias = Callable[[npt.NDArray[np.float32], sparse.csr_matrix | None], Floats]


def _training_data(
    x: npt.NDArray[np.float32],
    dimensions: int,
    counts: sparse.csr_matrix | None,
    adequate: npt.NDArray[np.bool_] | Floats,
    judged: npt.NDArray[np.bool_],
    weights: Floats | None,
) -> _TrainingData:
    weight = judged * (np.ones(judged.shape) if weights is None else weights)
    return _TrainingData(x, dimensions, counts, np.asarray(adequate, dtype=np.float64), weight)


def fit_pooled(
    x: npt.NDArray[np.float32],
    adequate: npt.NDArray[np.bool_] | Floats,
    judged: npt.NDArray[np.bool_],
    groups: Sequence[str],
    *,
    seed: int,
    counts: sparse.csr_matrix | None = None,
    weights: Floats | None = None,
    stack_weights: Floats | None = None,
    grid: Sequence[Hyperparameters] | None = None,
    dimensions: int | None = None,
) -> PooledLogistic:
    """Choose hyperparameters, fit on all rows, stack. The same inputs give the same result.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        adequate: ``(n, k)``: whether each attempt was adequate, or its probability 0..1.
        judged: bool ``(n, k)``, which attempts exist; each arm has at least one.
        groups: ``n`` keys; folds keep a group together.
        seed: of the folds.
        counts: float32 ``(n, BUCKETS)`` of :func:`ngrams.ngram_counts`; ``None``: no head on
            n-grams.
        weights: float64 ``(n, k)`` ≥ 0, such as 1/propensity; all 1 where left out.
        stack_weights: float64 ``(n, k)`` ≥ 0, of the same where heads are combined and calibrated; ``None``:
            ``weights``.
        grid: hyperparameters of the first head; ``None``: all pairs of ``SHARED`` and ``RATIOS``.
        dimensions: of the embedding, the first columns of ``x``; ``None``: no trees, which read the other
            columns.
    """
    fold = folds(groups, count=min(FOLDS, len(set(groups))), seed=seed)
    train = _training_data(x, dimensions or x.shape[1], counts, adequate, judged, weights)
    standard, mean, scale = train.standard()
    candidates = grid or [Hyperparameters(c, ratio) for ratio in RATIOS for c in SHARED]
    inverse, trees = None, None
    # The products are tall and narrow: a second BLAS thread waits more than it works, and one thread
    # adds up in the same order every time.
    with threadpool_limits(limits=1):
        heads = [fit_head(standard, fold, candidates)]
        if counts is not None:
            inverse = inverse_frequency(counts)
            heads.append(fit_head(train.bag(inverse), fold, WORD_GRID))
        names = ("vector", "words")[: len(heads)]
        logits = {name: head.out_of_fold for name, head in zip(names, heads, strict=True)}
        if dimensions is not None and _grows_trees(train, fold):
            trees = fit_trees(train.form, train.outcome, train.weight, seed)
            logits["trees"] = out_of_fold(
                fold,
                judged.shape[1],
                lambda rows, out: _fit_trees_head(train.take(rows), seed)(train.take(out)),
            )
    stack_inputs = _side_by_side(logits)
    stack = fit_stack(
        stack_inputs, train.outcome, train.weight if stack_weights is None else stack_weights
    )
    shares = dict(zip(logits, stack.weights.T, strict=True))
    slopes = heads[0].slopes * scale[:, None] * shares["vector"]
    bias = sum(head.bias * shares[name] for name, head in zip(names, heads, strict=True))
    words = None
    if inverse is not None:
        table = np.zeros((len(inverse), judged.shape[1]))
        table[inverse > 0] = heads[1].slopes * shares["words"] * inverse[inverse > 0, None]
        words = Words(half_precision(table), inverse)
    return PooledLogistic(
        tuple(logits),
        slopes,
        np.asarray(bias + stack.shift - mean @ slopes),
        words,
        trees,
        train.dimensions,
        tuple(head.chosen for head in heads),
        stack,
        tuple(head.log_loss for head in heads),
        np.asarray(expit(stack.of(stack_inputs))),
    )


def _fit_named_head(
    name: str, train: _TrainingData, chosen: Mapping[str, Hyperparameters], seed: int
) -> _Head:
    """Fit one head on all rows with given hyperparameters; a function from prompts to logits."""
    if name == "vector":
        data, mean, scale = train.standard()
        line = fit_once(data, chosen[name])
        return lambda new: line(((new.x - mean) * scale).astype(np.float32))
    if name == "words":
        inverse = inverse_frequency(train.counts)
        words = fit_once(train.bag(inverse), chosen[name])
        return lambda new: words(new.bag(inverse).x)
    return _fit_trees_head(train, seed)


def _fit_trees_head(train: _TrainingData, seed: int) -> _Head:
    forest = fit_trees(train.form, train.outcome, train.weight, seed)
    return lambda new: forest.logits(new.form)


def _grows_trees(train: _TrainingData, fold: npt.NDArray[np.intp]) -> bool:
    """Whether there are prompts enough for trees, and outcomes of both kinds outside every fold."""
    return len(train.x) >= MIN_PROMPTS and all(
        train.take(fold != number).two_sided() for number in set(fold.tolist())
    )


def refitted(
    model: PooledLogistic,
    x: npt.NDArray[np.float32],
    outcome: npt.NDArray[np.bool_] | Floats,
    judged: npt.NDArray[np.bool_],
    *,
    seed: int,
    counts: sparse.csr_matrix | None = None,
    weights: Floats | None = None,
) -> Predictor:
    """The heads fitted on other prompts, such as all but those of a source, as a function.

    The hyperparameters and the stack stay those of ``model``.

    Args:
        model: of :func:`fit_pooled`.
        x: float32 ``(n, p)``, the inputs.
        outcome: ``(n, k)``: whether each attempt was adequate, or its probability.
        judged: bool ``(n, k)``, which attempts exist.
        seed: of the trees.
        counts: ``(n, BUCKETS)``, where ``model`` reads words.
        weights: float64 ``(n, k)`` ≥ 0.

    Returns:
        From inputs ``(m, p)`` and counts ``(m, BUCKETS)`` to P(adequate), float64 ``(m, k)``.
    """
    train = _training_data(x, model.dimensions, counts, outcome, judged, weights)
    chosen = dict(zip(("vector", "words"), model.chosen, strict=False))
    with threadpool_limits(limits=1):
        heads = {name: _fit_named_head(name, train, chosen, seed) for name in model.heads}

    def predict(new_x: npt.NDArray[np.float32], new_counts: sparse.csr_matrix | None) -> Floats:
        nothing = np.zeros((len(new_x), judged.shape[1]))
        new = _TrainingData(new_x, model.dimensions, new_counts, nothing, nothing)
        logits = {name: head(new) for name, head in heads.items()}
        return np.asarray(expit(model.stack.of(_side_by_side(logits))))

    return predict


def cross_fitted(
    model: PooledLogistic,
    x: npt.NDArray[np.float32],
    adequate: npt.NDArray[np.bool_] | Floats,
    judged: npt.NDArray[np.bool_],
    fold: npt.NDArray[np.intp],
    *,
    seed: int,
    counts: sparse.csr_matrix | None = None,
    weights: Floats | None = None,
) -> Floats:
    """P(adequate) of each prompt by heads fitted on other folds, ``(n, k)``: for other folds than the fit's.

    Where a fold is a category, this estimates the performance on kinds of prompts that were not seen.

    Args:
        model: of :func:`fit_pooled` on the same prompts.
        x: as there, and so are the others.
        adequate: bool ``(n, k)``.
        judged: bool ``(n, k)``.
        fold: intp ``(n,)``, 0 … f − 1, f ≥ 2; outside each fold, attempts are adequate and inadequate.
        seed: of the trees.
        counts: ``(n, BUCKETS)``, where ``model`` reads words.
        weights: float64 ``(n, k)`` ≥ 0.
    """
    found = np.empty(judged.shape)
    for number in range(int(fold.max()) + 1):
        rows, out = fold != number, fold == number
        predict = refitted(
            model,
            x[rows],
            adequate[rows],
            judged[rows],
            seed=seed,
            counts=None if counts is None else counts[rows],
            weights=None if weights is None else weights[rows],
        )
        found[out] = predict(x[out], None if counts is None else counts[out])
    return found


def _side_by_side(logits: Mapping[str, Floats]) -> Floats:
    """The logits of the heads, ``(n, k)`` by name, as ``(n, k, h)``."""
    return np.stack(list(logits.values()), axis=2)
