"""Quantiles of the output length per arm and prompt.

The model has two steps. A *location* per arm, linear in all inputs, estimates the length on a log scale
(:mod:`training.fitting.locations`). Small forests then predict the median and the ninth decile of an arm's
answers from the location and the lexical features, by gradient boosting on the pinball loss (Friedman 2001;
Koenker & Bassett 1978). They capture what a line cannot: answers level off at the limit of an arm, short
answers are less predictable than long ones, and an arm may loop on formulas.

    log tokens = m_k(x) + s_k(x) · z,   m the median forest, s the decile forest above it

Both steps are cross-fitted, so that the spread is that of new prompts. The
quantiles of ``z`` are those of residuals out of fold with the rank of split conformal prediction (Lei et
al. 2018; normalised residuals: Papadopoulos et al. 2002), so that nine in ten answers are no longer than
the .9 quantile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from router.core.conformal import conformal_rank
from training.fitting.forests import TargetForest
from training.fitting.heads import out_of_fold
from training.fitting.locations import Locations, fit_locations
from training.histories.outcomes import Outcomes
from training.histories.split import folds

__all__ = ["FOREST_LEVELS", "LEVELS", "LengthModel", "fit_lengths", "grown", "spread_bounds"]

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float32]

LEVELS = (0.5, 0.9, 0.99)
FOREST_LEVELS = LEVELS[:2]
"""Levels with a forest of their own; the last level is too rare to learn and is scaled from the others."""
MIN_ATTEMPTS = 20
"""Fewest lengths of an arm from which quantiles are estimated."""
MIN_FOREST_ATTEMPTS = 200
"""Fewest lengths of an arm from which the dependence on the prompt is learnt."""
MAX_OVER_LONGEST = 2.0
"""No quantile is predicted beyond this many times the longest answer of an arm in training."""
FOLDS = 5
TREES = 60
LEARNING_RATE = 0.08
MIN_LEAF_ATTEMPTS = 20
"""Attempts in a leaf."""
COLUMNS = 0.5
"""Share of the inputs that each split may choose from: more diverse trees have a smaller joint error."""
LEAVES, MORE_LEAVES, MANY = 4, 8, 2_000
"""Leaves of a tree; ``MORE_LEAVES`` from ``MANY`` attempts on."""
_SPREADS = (0.1, 4.0)
"""The spread of a prompt is at least and at most this many times that of its arm."""


@dataclass(frozen=True)
class LengthModel:
    """Output tokens per arm, as functions of the inputs.

    Attributes:
        locations: of the ``k`` arms; 0 where nothing was learnt.
        dimensions: of the embedding: the inputs from there on are the lexical features.
        forests: each reads the ``f`` lexical features and its arm's location, which stand side by side in
            ``f + k`` columns; of arm ``a``, target ``a`` is the median and ``k + a`` the ninth decile, in
            the logarithm.
        base: float64 ``(2 k,)``, added to the forests; alone where there are none.
        spread_bounds: float64 ``(k, 2)``, least and greatest spread.
        offsets: float64 ``(k, 3)``, quantiles of the noise at :data:`LEVELS`, ascending.
        top: float64 ``(k,)``, greatest logarithm of a quantile, ≥ 0.
        known: bool ``(k,)``, which arms have lengths; the others predict 1 token.
        floors: place of a lexical feature that names a length, and what is added to it for the least quantile
            at each of :data:`LEVELS`, in the logarithm of tokens.
    """

    locations: Locations
    dimensions: int
    forests: tuple[TargetForest, ...]
    base: Floats
    spread_bounds: Floats
    offsets: Floats
    top: Floats
    known: npt.NDArray[np.bool_]
    floors: tuple[tuple[int, tuple[float, float, float]], ...] = ()

    def of(self, x: Columns, counts: sparse.csr_matrix | None = None) -> Floats:
        """Quantiles in tokens, ≥ 1 and ascending, ``(n, k, 3)``; NaN where an arm has no lengths.

        Args:
            x: float32 ``(n, p)``.
            counts: ``(n, BUCKETS)`` of :func:`ngrams.ngram_counts`.
        """
        values = self.quantiles(x[:, self.dimensions :], self.locations.of(x, counts))
        values[:, ~self.known] = np.nan
        return values

    def quantiles(self, features: Columns, locations: Columns) -> Floats:
        """The same with 1 where an arm has no lengths, as the graph gives them.

        Args:
            features: float32 ``(n, f)``, lexical.
            locations: float32 ``(n, k)``.
        """
        inputs = np.hstack([features, locations])
        levels = np.tile(self.base, (len(inputs), 1))
        for target_forest in self.forests:
            levels[:, target_forest.target] += target_forest.scale * target_forest.forest.predict(
                inputs[:, target_forest.columns]
            )
        middle, high = np.split(levels, 2, axis=1)
        spread = np.clip(high - middle, *self.spread_bounds.T)
        logs = middle[:, :, None] + spread[:, :, None] * self.offsets
        for column, shifts in self.floors:
            logs = np.maximum(logs, features[:, column, None, None] + np.array(shifts))
        return np.asarray(np.exp(np.clip(logs, 0.0, self.top[:, None])))


@dataclass(frozen=True)
class _Arm:
    """One arm of :class:`LengthModel`: a base alone, or a forest for each of :data:`FOREST_LEVELS`."""

    forests: tuple[HistGradientBoostingRegressor, ...]
    base: tuple[float, float]
    spread_bounds: tuple[float, float]
    offsets: Floats
    top: float


_UNKNOWN = _Arm((), (0.0, 1.0), (1.0, 1.0), np.zeros(len(LEVELS)), 0.0)


def _conformal(noise: Floats) -> Floats:
    """Quantiles at :data:`LEVELS` with the rank of split conformal prediction, ascending."""
    ordered = np.sort(noise)
    ranks = [conformal_rank(len(noise), level) for level in LEVELS]
    return np.asarray(ordered[[rank - 1 for rank in ranks]])


def _top(logs: Floats) -> float:
    return float(logs.max() + math.log(MAX_OVER_LONGEST))


def _constant(logs: Floats) -> _Arm:
    """The same quantiles for every prompt."""
    return _Arm((), (0.0, 1.0), (1.0, 1.0), _conformal(logs), _top(logs))


def grown(
    inputs: Columns, logs: Floats, leaves: int, seed: int, weights: Floats | None = None
) -> tuple[HistGradientBoostingRegressor, ...]:
    """A forest for each level in :data:`FOREST_LEVELS`.

    Args:
        inputs: float32 ``(n, q)``.
        logs: float64 ``(n,)``, logarithms of tokens.
        leaves: of a tree.
        seed: of the choice of columns.
        weights: float64 ``(n,)`` ≥ 0; ``None``: all alike.
    """
    return tuple(
        HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            max_iter=TREES,
            learning_rate=LEARNING_RATE,
            max_leaf_nodes=leaves,
            min_samples_leaf=MIN_LEAF_ATTEMPTS,
            max_features=COLUMNS,
            early_stopping=False,
            random_state=seed,
        ).fit(inputs, logs, weights)
        for level in FOREST_LEVELS
    )


def spread_bounds(spreads: Floats) -> tuple[float, float]:
    """Least and greatest spread of a prompt, from those of many ``(n,)``."""
    typical = max(float(np.median(spreads)), 1e-3)
    return _SPREADS[0] * typical, _SPREADS[1] * typical


def _learnt(inputs: Columns, logs: Floats, fold: npt.NDArray[np.intp], seed: int) -> _Arm:
    """Forests of one arm and the noise around them.

    Args:
        inputs: float32 ``(n, f + 1)``, lexical features and the location out of fold.
        logs: float64 ``(n,)``, logarithms of tokens.
        fold: intp ``(n,)``.
        seed: of the forests.
    """
    leaves = MORE_LEAVES if len(logs) >= MANY else LEAVES

    def fitted(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
        forests = grown(inputs[train], logs[train], leaves, seed)
        return np.stack([forest.predict(inputs[test]) for forest in forests], axis=1)

    middle, high = out_of_fold(fold, len(FOREST_LEVELS), fitted).T
    bounds = spread_bounds(high - middle)
    noise = (logs - middle) / np.clip(high - middle, *bounds)
    forests = grown(inputs, logs, leaves, seed)
    return _Arm(forests, (0.0, 0.0), bounds, _conformal(noise), _top(logs))


def fit_lengths(
    x: Columns,
    train: Outcomes,
    *,
    seed: int,
    dimensions: int,
    counts: sparse.csr_matrix | None = None,
    inverse: npt.NDArray[np.float32] | None = None,
) -> LengthModel:
    """Fit the output lengths of each arm.

    Args:
        x: float32 ``(n, p)``, the inputs of serving: embedding and lexical features side by side.
        train: the table.
        seed: of the folds and the forests.
        dimensions: of the embedding.
        counts: ``(n, BUCKETS)`` of :func:`ngrams.ngram_counts`; ``None``: without words.
        inverse: float32 ``(BUCKETS,)``, the inverse document frequency of the fit of P(adequate), which the
            graph shares; ``None``: that of ``counts``.
    """
    fold = folds(train.groups.tolist(), count=min(FOLDS, len(set(train.groups))), seed=seed)
    logs = np.log(np.maximum(train.output_tokens, 1.0))
    measured = ~np.isnan(logs)
    forest_arms = np.flatnonzero(measured.sum(axis=0) >= MIN_FOREST_ATTEMPTS)
    locations = Locations(np.zeros((x.shape[1], logs.shape[1])), np.zeros(logs.shape[1]))
    forest_fits: dict[int, _Arm] = {}
    with threadpool_limits(limits=1):
        if len(forest_arms):
            fitted, out_of_fold_locations = fit_locations(
                x,
                logs[:, forest_arms],
                fold,
                dimensions=dimensions,
                counts=counts,
                inverse=inverse,
            )
            locations = fitted.among(logs.shape[1], forest_arms)
            for location, arm in zip(out_of_fold_locations.T, forest_arms.tolist(), strict=True):
                rows = measured[:, arm]
                inputs = np.hstack([x[rows, dimensions:], location[rows, None]])
                forest_fits[arm] = _learnt(inputs, logs[rows, arm], fold[rows], seed)
    arms = [
        forest_fits.get(arm) or (_constant(y[rows]) if rows.sum() >= MIN_ATTEMPTS else _UNKNOWN)
        for arm, (y, rows) in enumerate(zip(logs.T, measured.T, strict=True))
    ]
    features, k = x.shape[1] - dimensions, len(arms)
    return LengthModel(
        locations=locations,
        dimensions=dimensions,
        forests=tuple(
            TargetForest(
                forest, level * k + place, np.append(np.arange(features), features + place)
            )
            for place, arm in enumerate(arms)
            for level, forest in enumerate(arm.forests)
        ),
        base=np.array([arm.base for arm in arms]).T.ravel(),
        spread_bounds=np.array([arm.spread_bounds for arm in arms]),
        offsets=np.stack([arm.offsets for arm in arms]),
        top=np.array([arm.top for arm in arms]),
        known=measured.sum(axis=0) >= MIN_ATTEMPTS,
    )
