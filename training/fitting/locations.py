"""Location of the output length per prompt and arm, linear in the inputs of serving and the words.

The drivers of length are mostly the same for all arms, so an arm's location is a shared one plus a
deviation of its own (partial pooling), which reduces the noise with few prompts. Both are ridge regressions
of the logarithm of the length, first on the vector and the lexical features, whose penalties differ, then
of what is left on the bag of n-grams.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.linear_model import Ridge

from training.fitting.heads import out_of_fold, standardised
from training.fitting.ngrams import half_precision, inverse_frequency, ngram_logits, tf_idf

__all__ = ["Locations", "fit_locations"]

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float32]

_PENALTIES = (100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 1e9)
"""Ridge penalties tried on standardised columns; the last means the same location for all prompts."""
_WORD_PENALTIES = (2.0, 6.0)
"""Ridge penalties tried on the bag of n-grams, whose rows have unit length; or no words at all."""
_EASIER = (1.0, 10.0, 30.0)
"""How many times weaker the penalty is on a lexical feature than on a dimension of the vector."""


@dataclass(frozen=True)
class Locations:
    """The locations of all arms as functions of the inputs; standardisation is folded in.

    Attributes:
        weights: float64 ``(p, k)``, on embedding and lexical features.
        bias: float64 ``(k,)``.
        words: float64 ``(BUCKETS, k)`` on the bag of n-grams, inverse frequency in it; ``None``: no words.
        inverse: float32 ``(BUCKETS,)``, inverse document frequency; ``None`` with ``words``.
    """

    weights: Floats
    bias: Floats
    words: Floats | None = None
    inverse: npt.NDArray[np.float32] | None = None

    def of(self, x: Columns, counts: sparse.csr_matrix | None = None) -> Columns:
        """Locations float32 ``(n, k)``, in the logarithm of tokens.

        Args:
            x: float32 ``(n, p)``.
            counts: ``(n, BUCKETS)`` of :func:`ngrams.ngram_counts`.
        """
        locations = x.astype(np.float64) @ self.weights + self.bias
        if self.words is not None and self.inverse is not None and counts is not None:
            locations = locations + ngram_logits(counts, self.inverse, self.words)
        return np.asarray(locations, dtype=np.float32)

    def among(self, arms: int, places: npt.NDArray[np.intp]) -> Locations:
        """These as the ones at some ``places`` of more arms, whose other locations are 0."""

        def spread(table: Floats) -> Floats:
            wide = np.zeros((*table.shape[:-1], arms))
            wide[..., places] = table
            return wide

        words = None if self.words is None else spread(self.words)
        return Locations(spread(self.weights), spread(self.bias), words, self.inverse)


@dataclass(frozen=True)
class _Line:
    """Slope and bias on the inputs, then slope of the words on what is left."""

    slope: Floats
    bias: float
    words: Floats | None

    def of(self, x: Columns, rows: sparse.csr_matrix | None) -> Floats:
        values = x @ self.slope + self.bias
        return np.asarray(
            values if self.words is None or rows is None else values + rows @ self.words
        )


@dataclass(frozen=True)
class _Chosen:
    """A line on one of several blocks of columns, and its predictions out of fold ``(n,)``."""

    line: _Line
    predictions: Floats
    block: int


def _line(
    x: Columns, rows: sparse.csr_matrix | None, y: Floats, penalties: tuple[float, float]
) -> _Line:
    """Fit with a penalty of the inputs and one of the words; 0 for the latter: they are not read."""
    ridge = Ridge(alpha=penalties[0]).fit(x, y)
    slope, bias = np.asarray(ridge.coef_, dtype=np.float64), float(ridge.intercept_)
    if rows is None or not penalties[1]:
        return _Line(slope, bias, None)
    word_ridge = Ridge(alpha=penalties[1], fit_intercept=False, solver="sparse_cg", tol=1e-3)
    word_ridge.fit(rows, y - x @ slope - bias)
    return _Line(slope, bias, np.asarray(word_ridge.coef_, dtype=np.float64))


def _best(
    blocks: Sequence[Columns], rows: sparse.csr_matrix | None, y: Floats, fold: npt.NDArray[np.intp]
) -> _Chosen:
    """The line that cross-validation chooses: columns and their penalty first, then that of the words."""

    def cross_predicted(block: int, penalty: float, words: float) -> Floats:
        x = blocks[block]

        def fit_and_predict(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
            part = None if rows is None else rows[train]
            line = _line(x[train], part, y[train], (penalty, words))
            return line.of(x[test], None if rows is None else rows[test])[:, None]

        return out_of_fold(fold, 1, fit_and_predict)[:, 0]

    def error(candidate: tuple[int, float, float]) -> float:
        return float(np.abs(y - predictions[candidate]).sum())

    without_words = [
        (block, penalty, 0.0) for block in range(len(blocks)) for penalty in _PENALTIES
    ]
    predictions = {candidate: cross_predicted(*candidate) for candidate in without_words}
    block, penalty, _ = min(predictions, key=error)
    if rows is not None:
        predictions |= {
            (block, penalty, words): cross_predicted(block, penalty, words)
            for words in _WORD_PENALTIES
        }
    best = min(predictions, key=error)
    return _Chosen(_line(blocks[block], rows, y, best[1:]), predictions[best], block)


def _shared(
    blocks: Sequence[Columns],
    rows: sparse.csr_matrix | None,
    logs: Floats,
    fold: npt.NDArray[np.intp],
) -> _Chosen:
    """Learn from the mean over the arms of each prompt's distance to the mean of the arm, logs ``(n, k)``."""
    measured = ~np.isnan(logs)
    answered = measured.any(axis=1)
    distance = np.where(measured, logs - np.nanmean(logs, axis=0), 0.0)[answered]
    y = distance.sum(axis=1) / measured[answered].sum(axis=1)
    answered_rows = None if rows is None else rows[answered]
    chosen = _best([block[answered] for block in blocks], answered_rows, y, fold[answered])
    predictions = np.zeros(len(logs))
    predictions[answered] = chosen.predictions
    return replace(chosen, predictions=predictions)


def fit_locations(
    x: Columns,
    logs: Floats,
    fold: npt.NDArray[np.intp],
    *,
    dimensions: int,
    counts: sparse.csr_matrix | None = None,
    inverse: npt.NDArray[np.float32] | None = None,
) -> tuple[Locations, Columns]:
    """Fit the locations of some arms.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        logs: float64 ``(n, k)``, logarithms of output tokens, NaN where there are none; k ≥ 1, each arm
            with some in every fold.
        fold: intp ``(n,)``, 0 … f − 1.
        dimensions: of the embedding.
        counts: ``(n, BUCKETS)`` of :func:`ngrams.ngram_counts`; ``None``: without words.
        inverse: float32 ``(BUCKETS,)``, the inverse document frequency of the fit of P(adequate), which the
            graph shares; ``None``: that of ``counts``.

    Returns:
        The locations, and those of each row by a fit that did not see it, float32 ``(n, k)``.
    """
    standard, mean, scale = standardised(x)
    if counts is None:
        inverse = None
    elif inverse is None:
        inverse = inverse_frequency(counts)
    rows = None if counts is None or inverse is None else tf_idf(counts, inverse)
    # One penalty for all columns of a block: a factor of a column makes the penalty on it weaker.
    lexical = np.arange(x.shape[1]) >= dimensions
    factors = [np.where(lexical, math.sqrt(easier), 1.0) for easier in _EASIER]
    blocks = [(standard * factor).astype(np.float32) for factor in factors]
    shared = _shared(blocks, rows, logs, fold)
    block, scale = blocks[shared.block], scale * factors[shared.block]
    slopes, biases, words = [], [], []
    predictions = np.zeros(logs.shape)
    for arm, y in enumerate(logs.T):
        measured = ~np.isnan(y)
        measured_rows = None if rows is None else rows[measured]
        own = _best(
            [block[measured]],
            measured_rows,
            y[measured] - shared.predictions[measured],
            fold[measured],
        )
        predictions[measured, arm] = shared.predictions[measured] + own.predictions
        slopes.append(shared.line.slope + own.line.slope)
        biases.append(shared.line.bias + own.line.bias)
        if inverse is not None:
            word_slopes = [line.words for line in (shared.line, own.line) if line.words is not None]
            words.append(np.sum([np.zeros(len(inverse)), *word_slopes], axis=0))
    weights = np.stack(slopes, axis=1) * scale[:, None]
    bias = np.array(biases) - mean @ weights
    if inverse is None:
        return Locations(weights, bias), predictions.astype(np.float32)
    table = half_precision(np.stack(words, axis=1) * inverse[:, None])
    return Locations(weights, bias, table, inverse), predictions.astype(np.float32)
