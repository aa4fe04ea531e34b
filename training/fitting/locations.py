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
        found = x.astype(np.float64) @ self.weights + self.bias
        if self.words is not None and self.inverse is not None and counts is not None:
            found = found + ngram_logits(counts, self.inverse, self.words)
        return np.asarray(found, dtype=np.float32)

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
        found = x @ self.slope + self.bias
        return np.asarray(
            found if self.words is None or rows is None else found + rows @ self.words
        )


@dataclass(frozen=True)
class _Chosen:
    """A line on one of several blocks of columns, and its predictions out of fold ``(n,)``."""

    line: _Line
    elsewhere: Floats
    block: int


def _line(
    x: Columns, rows: sparse.csr_matrix | None, y: Floats, penalties: tuple[float, float]
) -> _Line:
    """Fit with a penalty of the inputs and one of the words; 0 for the latter: they are not read."""
    made = Ridge(alpha=penalties[0]).fit(x, y)
    slope, bias = np.asarray(made.coef_, dtype=np.float64), float(made.intercept_)
    if rows is None or not penalties[1]:
        return _Line(slope, bias, None)
    rest = Ridge(alpha=penalties[1], fit_intercept=False, solver="sparse_cg", tol=1e-3)
    rest.fit(rows, y - x @ slope - bias)
    return _Line(slope, bias, np.asarray(rest.coef_, dtype=np.float64))


def _best(
    blocks: Sequence[Columns], rows: sparse.csr_matrix | None, y: Floats, fold: npt.NDArray[np.intp]
) -> _Chosen:
    """The line that cross-validation chooses: columns and their penalty first, then that of the words."""

    def elsewhere(block: int, penalty: float, words: float) -> Floats:
        x = blocks[block]

        def fitted(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
            part = None if rows is None else rows[train]
            line = _line(x[train], part, y[train], (penalty, words))
            return line.of(x[test], None if rows is None else rows[test])[:, None]

        return out_of_fold(fold, 1, fitted)[:, 0]

    def error(one: tuple[int, float, float]) -> float:
        return float(np.abs(y - tried[one]).sum())

    plain = [(block, penalty, 0.0) for block in range(len(blocks)) for penalty in _PENALTIES]
    tried = {one: elsewhere(*one) for one in plain}
    block, penalty, _ = min(tried, key=error)
    if rows is not None:
        tried |= {
            (block, penalty, words): elsewhere(block, penalty, words) for words in _WORD_PENALTIES
        }
    best = min(tried, key=error)
    return _Chosen(_line(blocks[block], rows, y, best[1:]), tried[best], block)


def _shared(
    blocks: Sequence[Columns],
    rows: sparse.csr_matrix | None,
    logs: Floats,
    fold: npt.NDArray[np.intp],
) -> _Chosen:
    """Learn from the mean over the arms of each prompt's distance to the mean of the arm, logs ``(n, k)``."""
    there = ~np.isnan(logs)
    seen = there.any(axis=1)
    distance = np.where(there, logs - np.nanmean(logs, axis=0), 0.0)[seen]
    y = distance.sum(axis=1) / there[seen].sum(axis=1)
    some = None if rows is None else rows[seen]
    made = _best([block[seen] for block in blocks], some, y, fold[seen])
    found = np.zeros(len(logs))
    found[seen] = made.elsewhere
    return replace(made, elsewhere=found)


def fit_locations(
    x: Columns,
    logs: Floats,
    fold: npt.NDArray[np.intp],
    *,
    dimensions: int,
    counts: sparse.csr_matrix | None = None,
) -> tuple[Locations, Columns]:
    """Fit the locations of some arms.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        logs: float64 ``(n, k)``, logarithms of output tokens, NaN where there are none; k ≥ 1, each arm
            with some in every fold.
        fold: intp ``(n,)``, 0 … f − 1.
        dimensions: of the embedding.
        counts: ``(n, BUCKETS)`` of :func:`ngrams.ngram_counts`; ``None``: without words.

    Returns:
        The locations, and those of each row by a fit that did not see it, float32 ``(n, k)``.
    """
    standard, mean, scale = standardised(x)
    inverse = None if counts is None else inverse_frequency(counts)
    rows = None if counts is None or inverse is None else tf_idf(counts, inverse)
    # One penalty for all columns of a block: a factor of a column makes the penalty on it weaker.
    lexical = np.arange(x.shape[1]) >= dimensions
    factors = [np.where(lexical, math.sqrt(easier), 1.0) for easier in _EASIER]
    blocks = [(standard * one).astype(np.float32) for one in factors]
    shared = _shared(blocks, rows, logs, fold)
    block, scale = blocks[shared.block], scale * factors[shared.block]
    slopes, biases, words = [], [], []
    found = np.zeros(logs.shape)
    for arm, y in enumerate(logs.T):
        seen = ~np.isnan(y)
        some = None if rows is None else rows[seen]
        own = _best([block[seen]], some, y[seen] - shared.elsewhere[seen], fold[seen])
        found[seen, arm] = shared.elsewhere[seen] + own.elsewhere
        slopes.append(shared.line.slope + own.line.slope)
        biases.append(shared.line.bias + own.line.bias)
        if inverse is not None:
            heard = [one.words for one in (shared.line, own.line) if one.words is not None]
            words.append(np.sum([np.zeros(len(inverse)), *heard], axis=0))
    weights = np.stack(slopes, axis=1) * scale[:, None]
    bias = np.array(biases) - mean @ weights
    if inverse is None:
        return Locations(weights, bias), found.astype(np.float32)
    table = half_precision(np.stack(words, axis=1) * inverse[:, None])
    return Locations(weights, bias, table, inverse), found.astype(np.float32)
