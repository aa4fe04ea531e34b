"""How long answers get: quantiles of the output length per arm and prompt.

The logarithm of the length is taken as a location plus a spread times a noise of unknown shape:

    log tokens = m_k(x) + s_k(x) · z

``m`` and ``log s`` are ridge regressions on the inputs of serving (and ``m`` on the bag of n-grams), each
fitted on what the fold before had not seen, so that the spread is that of new prompts. What makes answers
long is mostly the same for all arms, so ``m`` is a location that they share and a deviation of each arm
from it: with few prompts that is much less noise (partial pooling). The quantiles of
``z`` are those of residuals out of fold with the rank of split conformal prediction (Lei et al. 2018;
normalised residuals: Papadopoulos et al. 2002), so that nine in ten answers are no longer than the .9
quantile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.fitting.heads import out_of_fold, standardised
from training.fitting.ngrams import halved, inverse_frequency, said, weighted
from training.histories.splitting import folds
from training.histories.table import Outcomes
from training.judging.metrics import pinball

__all__ = ["LEVELS", "Lengths", "constant_lengths", "fit_lengths"]

Floats = npt.NDArray[np.float64]

LEVELS = (0.5, 0.9, 0.99)
MIN_ATTEMPTS = 20
"""Fewer lengths than this say nothing about a 90th percentile."""
MIN_LEARNT = 200
"""Fewer lengths than this say nothing about how length depends on the prompt."""
LONGEST = 2.0
"""No quantile is predicted beyond this many times the longest answer of an arm in training."""
FOLDS = 5
_PENALTIES = (100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 1e9)
"""Ridge penalties tried on standardised columns; the last means the same location for all prompts."""
_WORD_PENALTIES = (2.0, 6.0)
"""Ridge penalties tried on the bag of n-grams, whose rows have unit length; or no words at all."""
_SPREADS = (0.25, 4.0)
"""The spread of a prompt is at least and at most this many times that of its arm."""
_SPREAD_PENALTIES = (3e3, 3e4, 3e5, 1e12)
"""Ridge penalties tried for the spread; the last: one spread for all prompts."""
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""How far the location is followed; 0 means the same for all prompts."""
_TINY = 1e-2


@dataclass(frozen=True)
class Lengths:
    """Output tokens per arm, as functions of the inputs; standardisation is folded in.

    Attributes:
        weights: float64 ``(p, k)``, on embedding and lexical features, for the location.
        bias: float64 ``(k,)``.
        words: float64 ``(BUCKETS, k)`` on the bag of n-grams, inverse frequency in it; ``None``: no words.
        inverse: float32 ``(BUCKETS,)``, inverse document frequency; ``None`` with ``words``.
        spread_weights: float64 ``(p, k)``, for the logarithm of the spread.
        spread_bias: float64 ``(k,)``.
        spread_bounds: float64 ``(k, 2)``, least and greatest logarithm of the spread.
        offsets: float64 ``(k, 3)``, quantiles of the noise at :data:`LEVELS`, ascending.
        top: float64 ``(k,)``, greatest logarithm of a quantile, ≥ 0.
        known: bool ``(k,)``, which arms have lengths; the others predict 1 token.
    """

    weights: Floats
    bias: Floats
    words: Floats | None
    inverse: npt.NDArray[np.float32] | None
    spread_weights: Floats
    spread_bias: Floats
    spread_bounds: Floats
    offsets: Floats
    top: Floats
    known: npt.NDArray[np.bool_]

    def of(self, x: npt.NDArray[np.float32], counts: sparse.csr_matrix | None = None) -> Floats:
        """Quantiles in tokens, ≥ 1 and ascending, ``(n, k, 3)``; NaN where an arm has no lengths.

        Args:
            x: float ``(n, p)``.
            counts: ``(n, BUCKETS)`` of :func:`training.fitting.ngrams.counted`.
        """
        values = self.quantiles(x, counts)
        values[:, ~self.known] = np.nan
        return values

    def quantiles(
        self, x: npt.NDArray[np.float32], counts: sparse.csr_matrix | None = None
    ) -> Floats:
        """The same with 1 where an arm has no lengths, as the graph gives them."""
        wide = x.astype(np.float64)
        location = wide @ self.weights + self.bias
        if self.words is not None and self.inverse is not None and counts is not None:
            location = location + said(counts, self.inverse, self.words)
        low, high = self.spread_bounds.T
        spread = np.exp(np.clip(wide @ self.spread_weights + self.spread_bias, low, high))
        logs = location[:, :, None] + spread[:, :, None] * self.offsets
        return np.asarray(np.exp(np.clip(logs, 0.0, self.top[:, None])))


@dataclass(frozen=True)
class _Arm:
    """One arm of :class:`Lengths`."""

    weights: Floats
    bias: float
    words: Floats | None
    spread_weights: Floats
    spread_bias: float
    spread_bounds: tuple[float, float]
    offsets: Floats
    top: float


def _conformal(noise: Floats) -> Floats:
    """Quantiles at :data:`LEVELS` with the rank of split conformal prediction, ascending."""
    ordered = np.sort(noise)
    ranks = [min(math.ceil((len(noise) + 1) * level), len(noise)) for level in LEVELS]
    return np.asarray(ordered[[rank - 1 for rank in ranks]])


def _constant(logs: Floats, p: int) -> _Arm:
    """The same quantiles for every prompt."""
    return _Arm(
        np.zeros(p),
        0.0,
        None,
        np.zeros(p),
        0.0,
        (0.0, 0.0),
        _conformal(logs),
        float(logs.max() + math.log(LONGEST)),
    )


def _empty(p: int) -> _Arm:
    return _Arm(np.zeros(p), 0.0, None, np.zeros(p), 0.0, (0.0, 0.0), np.zeros(3), 0.0)


def _ridge(x: npt.NDArray[np.float32], y: Floats, alpha: float) -> tuple[Floats, float]:
    made = Ridge(alpha=alpha).fit(x, y)
    return np.asarray(made.coef_, dtype=np.float64), float(made.intercept_)


@dataclass(frozen=True)
class _Location:
    """Slope and bias on the inputs, then slope of the words on what is left."""

    slope: Floats
    bias: float
    words: Floats | None

    def of(self, x: npt.NDArray[np.float32], rows: sparse.csr_matrix | None) -> Floats:
        found = x @ self.slope + self.bias
        return np.asarray(
            found if self.words is None or rows is None else found + rows @ self.words
        )


def _location(
    x: npt.NDArray[np.float32],
    rows: sparse.csr_matrix | None,
    y: Floats,
    penalties: tuple[float, float],
) -> _Location:
    slope, bias = _ridge(x, y, penalties[0])
    if rows is None:
        return _Location(slope, bias, None)
    rest = y - x @ slope - bias
    made = Ridge(alpha=penalties[1], fit_intercept=False, solver="sparse_cg", tol=1e-3)
    return _Location(slope, bias, np.asarray(made.fit(rows, rest).coef_, dtype=np.float64))


def _elsewhere(
    x: npt.NDArray[np.float32],
    rows: sparse.csr_matrix | None,
    y: Floats,
    fold: npt.NDArray[np.intp],
    penalties: tuple[float, float],
) -> Floats:
    """The location of each row by the fit that did not see it."""

    def part(chosen: npt.NDArray[np.bool_]) -> sparse.csr_matrix | None:
        return None if rows is None else rows[chosen]

    def fitted(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
        made = _location(x[train], part(train), y[train], penalties)
        return made.of(x[test], part(test))[:, None]

    return out_of_fold(fold, 1, fitted)[:, 0]


def _best(
    x: npt.NDArray[np.float32],
    rows: sparse.csr_matrix | None,
    y: Floats,
    fold: npt.NDArray[np.intp],
) -> tuple[tuple[float, float], Floats]:
    """Penalties by cross-validation, and the location of each row by the fit that did not see it.

    A penalty of 0 for the words means that they are not read.
    """

    def error(found: Floats) -> float:
        return float(np.abs(y - found).sum())

    plain = {p: _elsewhere(x, None, y, fold, (p, 0.0)) for p in _PENALTIES}
    best = min(plain, key=lambda p: error(plain[p]))
    penalties, centre = (best, 0.0), plain[best]
    for penalty in _WORD_PENALTIES if rows is not None else ():
        found = _elsewhere(x, rows, y, fold, (best, penalty))
        if error(found) < error(centre):
            penalties, centre = (best, penalty), found
    return penalties, centre


@dataclass(frozen=True)
class _Shared:
    """What is long for every arm: the location, and that of each row by the fit that did not see it."""

    location: _Location
    out_of_fold: Floats


def _shared(
    x: npt.NDArray[np.float32],
    rows: sparse.csr_matrix | None,
    logs: Floats,
    fold: npt.NDArray[np.intp],
) -> _Shared:
    """Learn from the mean over the arms of each prompt's distance to the mean of the arm, logs ``(n, k)``."""
    there = ~np.isnan(logs)
    seen = there.any(axis=1)
    distance = np.where(there, logs - np.nanmean(logs, axis=0), 0.0)[seen]
    y = distance.sum(axis=1) / there[seen].sum(axis=1)
    some = None if rows is None else rows[seen]
    penalties, centre = _best(x[seen], some, y, fold[seen])
    found = np.zeros(len(logs))
    found[seen] = centre
    return _Shared(_location(x[seen], some if penalties[1] else None, y, penalties), found)


def _learnt(
    x: npt.NDArray[np.float32],
    rows: sparse.csr_matrix | None,
    y: Floats,
    fold: npt.NDArray[np.intp],
    shared: _Shared,
) -> _Arm:
    """Location, spread and quantiles of one arm, on standardised inputs; penalties by cross-validation."""
    rest = y - shared.out_of_fold
    penalties, found = _best(x, rows, rest, fold)
    centre = shared.out_of_fold + found
    rows = rows if penalties[1] else None
    tokens, middle = np.exp(y), float(y.mean())

    def noise(share: float, penalty: float) -> tuple[float, Floats, tuple[float, float], Floats]:
        """Pinball loss in tokens, quantiles of the noise, bounds of the spread, and the log sizes."""
        left = (y - middle) - share * (centre - middle)
        size = np.log(np.abs(left) + _TINY)
        logs, bounds = _spread(x, size, fold, penalty)
        scale = np.exp(np.clip(logs, *bounds))
        offsets = _conformal(left / scale)
        loss = sum(
            pinball(tokens, np.exp(y - left + scale * offset), level)
            for offset, level in zip(offsets[:2], LEVELS[:2], strict=True)
        )
        return loss, offsets, bounds, size

    # A length that is long in the logarithm is far too long in tokens: how far to follow the location
    # is chosen by the loss in tokens.
    tried = [(share, penalty) for share in _SHARES for penalty in _SPREAD_PENALTIES]
    share, penalty = min(tried, key=lambda one: noise(*one)[0])
    _, offsets, bounds, size = noise(share, penalty)
    made, common = _location(x, rows, rest, penalties), shared.location
    slope, bias = _ridge(x, size, penalty)
    read = [share * one.words for one in (made, common) if one.words is not None]
    words = np.sum(read, axis=0) if read else None
    location = share * (made.bias + common.bias) + (1 - share) * middle
    top = float(y.max() + math.log(LONGEST))
    follows = share * (made.slope + common.slope)
    return _Arm(follows, location, words, slope, bias, bounds, offsets, top)


def _spread(
    x: npt.NDArray[np.float32], size: Floats, fold: npt.NDArray[np.intp], penalty: float
) -> tuple[Floats, tuple[float, float]]:
    """Log spread out of fold and its bounds; an endless penalty means one spread for all."""

    def fitted(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
        slope, bias = _ridge(x[train], size[train], penalty)
        return np.asarray(x[test] @ slope + bias)[:, None]

    found = out_of_fold(fold, 1, fitted)[:, 0]
    typical = float(np.median(found))
    return found, (typical + math.log(_SPREADS[0]), typical + math.log(_SPREADS[1]))


def fit_lengths(
    x: npt.NDArray[np.float32],
    train: Outcomes,
    *,
    seed: int,
    counts: sparse.csr_matrix | None = None,
) -> Lengths:
    """Learn how long the answers of each arm get.

    Args:
        x: float32 ``(n, p)``, the inputs of serving.
        train: the table.
        seed: of the folds.
        counts: ``(n, BUCKETS)`` of :func:`training.fitting.ngrams.counted`; ``None``: without words.
    """
    standard, mean, scale = standardised(x)
    inverse = None if counts is None else inverse_frequency(counts)
    rows = None if counts is None or inverse is None else weighted(counts, inverse)
    fold = folds(train.groups.tolist(), count=min(FOLDS, len(set(train.groups))), seed=seed)
    logs = np.log(np.maximum(train.output_tokens, 1.0))
    there = ~np.isnan(logs)
    arms = []
    with threadpool_limits(limits=1):
        many = there.sum(axis=0) >= MIN_LEARNT
        shared = _shared(standard, rows, logs[:, many], fold) if many.any() else None
        for arm, seen in zip(logs.T, there.T, strict=True):
            if seen.sum() < MIN_ATTEMPTS:
                arms.append(_empty(x.shape[1]))
            elif seen.sum() < MIN_LEARNT or shared is None:
                arms.append(_constant(arm[seen], x.shape[1]))
            else:
                some = None if rows is None else rows[seen]
                theirs = _Shared(shared.location, shared.out_of_fold[seen])
                arms.append(_learnt(standard[seen], some, arm[seen], fold[seen], theirs))
    known = there.sum(axis=0) >= MIN_ATTEMPTS
    return _folded(arms, known, mean, scale, inverse)


def constant_lengths(quantiles: Floats, known: npt.NDArray[np.bool_], p: int) -> Lengths:
    """Lengths that do not depend on the prompt: tokens ``(k, 3)`` for arms that are known."""
    arms = [
        _constant(np.log(row), p) if there else _empty(p)
        for row, there in zip(quantiles, known, strict=True)
    ]
    made = _folded(arms, known, np.zeros(p), np.ones(p), None)
    offsets = np.where(known[:, None], np.log(np.maximum(quantiles, 1.0)), 0.0)
    return Lengths(**{**vars(made), "offsets": offsets})


def _folded(
    arms: list[_Arm],
    known: npt.NDArray[np.bool_],
    mean: Floats,
    scale: Floats,
    inverse: npt.NDArray[np.float32] | None,
) -> Lengths:
    """All arms in one, with the standardisation ``(raw - mean) * scale`` folded into the weights."""
    weights = np.stack([arm.weights for arm in arms], axis=1) * scale[:, None]
    spread = np.stack([arm.spread_weights for arm in arms], axis=1) * scale[:, None]
    words = None
    if inverse is not None:
        empty = np.zeros(len(inverse))
        words = np.stack([empty if arm.words is None else arm.words for arm in arms], axis=1)
        words = halved(words * inverse[:, None])
    return Lengths(
        weights=weights,
        bias=np.array([arm.bias for arm in arms]) - mean @ weights,
        words=words,
        inverse=inverse,
        spread_weights=spread,
        spread_bias=np.array([arm.spread_bias for arm in arms]) - mean @ spread,
        spread_bounds=np.array([arm.spread_bounds for arm in arms]),
        offsets=np.stack([arm.offsets for arm in arms]),
        top=np.array([arm.top for arm in arms]),
        known=known,
    )
