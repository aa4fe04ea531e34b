"""Quantiles of the output length per tier, for requests of kinds and sources that training never saw.

One model of the length of a prompt serves all tiers (:mod:`training.scale.length_examples`); a tier speaks it
with its own voice. As in :mod:`training.fitting.lengths`, a linear location and two small forests give the
median and the ninth decile, but everything is cross-fitted by leaving out whole *sources* of histories, and
whole kinds of work among annotated requests. So the spread is that of requests from elsewhere, not of other
prompts of the same exam.

A history that asks its models to be brief, or shows them short examples, has other answers than its
requests alone would get (``instructed`` in ``ladders.yaml``). By how much they differ is estimated and taken
out, and such a history counts less.

Two things no history teaches well: a text of n words has n words, and a translation is as long as what is
translated. Where the prompt says so, the quantiles are at least that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import t
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from router.classifier.features.lexical import FEATURES
from training.fitting.forests import TargetForest
from training.fitting.heads import out_of_fold
from training.fitting.lengths import FOREST_LEVELS, LEVELS, LengthModel, grown, spread_bounds
from training.fitting.locations import Locations
from training.scale.length_examples import LengthExamples
from training.scale.talkativeness import TODAY

__all__ = ["FLOORS", "fit_tier_lengths"]

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

FLOORS = (("asked_text", (-0.35, 0.3, 0.7)), ("changed_tokens", (-0.1, 0.5, 0.9)))
"""Features that name a length, and what is added to them for the least quantiles, in the logarithm of tokens:
models write a third less than they are asked to, and a translation is as long as the text, give or take."""
REQUESTS_WEIGHT, INSTRUCTED_WEIGHT = 10.0, 0.1
"""How much the annotated requests count, and a family whose models were told the form of the answer; any
other family counts 1. Chosen on families that were left out."""
PENALTY, EASIER = 1_000.0, 10.0
"""Ridge penalty on a standardised dimension of the vector, and how many times weaker it is on a feature."""
LEAVES = 8
SOURCE_SHIFT, SOURCES = 0.85, 3.0
"""By how much the answers of an unseen source are longer or shorter than what its prompts say, as a standard
deviation in the logarithm of tokens, and how many families this counts as. Measured on families that were
left out."""
MOST_TOKENS = 16_000.0
_KIND_FOLDS = 6


def _trust(examples: LengthExamples) -> Floats:
    """How much each family of histories counts, and the requests, ``(f + 1,)``."""
    histories = [INSTRUCTED_WEIGHT if told else 1.0 for told in examples.instructed]
    return np.array([*histories, REQUESTS_WEIGHT])


def _weights(trust: Floats, family: Places) -> Floats:
    """Weight of each length, mean 1: all of a family together count what it is trusted."""
    weights = (trust / np.maximum(np.bincount(family, minlength=len(trust)), 1))[family]
    return np.asarray(weights * len(weights) / weights.sum())


class _Location:
    """Weighted ridge regression of the length of prompts on all inputs."""

    def __init__(self, x: Columns, y: Floats, weights: Floats, dimensions: int) -> None:
        total = weights.sum()
        mean = weights @ x / total
        scale = np.sqrt(np.maximum(weights @ (x - mean) ** 2 / total, 0.0))
        easier = np.where(np.arange(x.shape[1]) >= dimensions, math.sqrt(EASIER), 1.0)
        # A column that is the same in nearly all rows says nothing.
        factor = np.where(scale > 1e-6, easier / np.maximum(scale, 1e-6), 0.0)
        ridge = Ridge(alpha=PENALTY).fit((x - mean) * factor, y, sample_weight=weights)
        self.slope = np.asarray(ridge.coef_, dtype=np.float64) * factor
        self.bias = float(ridge.intercept_ - mean @ self.slope)

    def of(self, x: Columns) -> Floats:
        return np.asarray(x @ self.slope + self.bias)


def _style(x: Columns, examples: LengthExamples, weights: Floats, dimensions: int) -> Floats:
    """How much longer the answers of instructed families are than their requests say, ``(f + 1,)``.

    0 for other families and, in the last place, for requests.
    """
    style = np.zeros(len(examples.families) + 1)
    family = examples.family[examples.prompt]
    y = examples.length[examples.prompt]
    for _ in range(2):
        line = _Location(x[examples.prompt], y - style[family], weights, dimensions)
        rest = examples.length - line.of(x)
        for one, told in enumerate(examples.instructed):
            if told and (examples.family == one).any():
                style[one] = rest[examples.family == one].mean()
    return style


def _folds(examples: LengthExamples, seed: int) -> Places:
    """The fold of each length: families of histories apart, and kinds of requests apart."""
    count = max(len(examples.families), _KIND_FOLDS)
    kinds = int(examples.kinds.max(initial=-1)) + 1
    of_kind = np.random.default_rng(seed).permutation(kinds) % count
    fold = np.where(examples.kinds >= 0, np.append(of_kind, 0)[examples.kinds], examples.family)
    return np.asarray(fold[examples.prompt], dtype=np.intp)


def _weighted_quantile(values: Floats, weights: Floats, level: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(values[order][min(int(np.searchsorted(share, level)), len(values) - 1)])


def _noise(
    rest: Floats, spread: Floats, family: Places, told: npt.NDArray[np.bool_]
) -> tuple[Floats, float]:
    """How far the quantiles of unseen sources are from the median: the scatter of prompts, and of sources.

    A source as a whole has longer or shorter answers than its prompts say. This shift is independent of the
    scatter within it, so that their squares add up; as few sources are known, its quantile is one of
    Student's t.

    Args:
        rest: float64 ``(r,)``, lengths less their medians by fits without their family.
        spread: float64 ``(r,)``, from the median to the ninth decile by the same fits.
        family: intp ``(r,)``; the last is that of the requests.
        told: of each family, whether it is instructed: what such a source adds is taken out as its style.

    Returns:
        Quantiles of the scatter at :data:`LEVELS` in units of the spread, ascending from 0, and what
        is added to every spread for the shift of the source.
    """
    there = np.bincount(family, minlength=len(told)) > 0
    shifts = np.array(
        [np.median(rest[family == one]) if there[one] else 0.0 for one in range(len(told))]
    )
    free = ~told & there
    sources = SOURCES + free.sum()
    shift = math.sqrt((SOURCES * SOURCE_SHIFT**2 + (shifts[free] ** 2).sum()) / sources)
    weights = _weights(np.where(told, INSTRUCTED_WEIGHT, 1.0), family)
    noise = (rest - shifts[family]) / spread
    # Never narrower than the forests have it, who know how unsure a kind of answer is.
    within = [max(_weighted_quantile(noise, weights, level), 1.0) for level in LEVELS[1:]]
    scatter = within[0] * float(np.median(spread[family < len(told) - 1]))
    added = math.hypot(scatter, float(t.ppf(LEVELS[1], sources)) * shift) - scatter
    return np.maximum.accumulate([0.0, *within]), added / within[0]


def fit_tier_lengths(
    x: Columns, examples: LengthExamples, arms: Sequence[str], *, seed: int, dimensions: int
) -> LengthModel:
    """Fit the output lengths of tiers.

    Args:
        x: float32 ``(n, p)``, the inputs of serving for each prompt: embedding and lexical features.
        examples: ``n`` prompts.
        arms: tiers; one without a voice speaks as the mean of today's models.
        seed: of the folds and the forests.
        dimensions: of the embedding.
    """
    family = examples.family[examples.prompt]
    weights = _weights(_trust(examples), family)
    style = _style(x, examples, weights, dimensions)
    y = examples.length[examples.prompt] - style[family]
    logs = examples.logs - style[family]
    fold = _folds(examples, seed)
    rows = x[examples.prompt]

    def located(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
        line = _Location(rows[train], y[train], weights[train], dimensions)
        return line.of(rows[test])[:, None]

    with threadpool_limits(limits=1):
        location = out_of_fold(fold, 1, located)
        inputs = np.hstack([rows[:, dimensions:], location]).astype(np.float32)

        def forest(train: npt.NDArray[np.bool_], test: npt.NDArray[np.bool_]) -> Floats:
            fitted = grown(inputs[train], logs[train], LEAVES, seed, weights[train])
            return np.stack([one.predict(inputs[test]) for one in fitted], axis=1)

        middle, high = out_of_fold(fold, len(FOREST_LEVELS), forest).T
        forests = grown(inputs, logs, LEAVES, seed, weights)
        line = _Location(rows, y, weights, dimensions)
    bounds = spread_bounds(high - middle)
    spread = np.clip(high - middle, *bounds)
    offsets, added = _noise(logs - middle, spread, family, np.array([*examples.instructed, False]))
    voices = [examples.voices.get(arm, TODAY) for arm in arms]
    slope = np.array([voice.slope for voice in voices])
    k, features = len(arms), x.shape[1] - dimensions
    columns = np.append(np.arange(features), features)
    base = np.array([voice.of(np.zeros(1))[0] for voice in voices])
    names = FEATURES[:features]
    return LengthModel(
        locations=Locations(np.repeat(line.slope[:, None], k, axis=1), np.full(k, line.bias)),
        dimensions=dimensions,
        forests=tuple(
            TargetForest(one, level * k + arm, columns, float(slope[arm]))
            for arm in range(k)
            for level, one in enumerate(forests)
        ),
        base=np.concatenate([base, base + added]),
        spread_bounds=slope[:, None] * np.array(bounds) + added,
        offsets=np.tile(offsets, (k, 1)),
        top=np.full(k, math.log(MOST_TOKENS)),
        known=np.ones(k, dtype=bool),
        floors=tuple((names.index(name), shifts) for name, shifts in FLOORS if name in names),
    )
