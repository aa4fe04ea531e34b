"""Corrections: factors on token counts and output lengths, learned from settled usage per model and scope.

Token counts of models without a public tokenizer are estimates, and the classifier predicts output lengths
per arm, not per model and caller. Settled decisions show by what factor both are wrong. A factor is learned
for each model, then for each scope of the model from the widest to the narrowest. The estimate of each level
is pooled with the level above, which weighs as much as :data:`PRIOR_STRENGTH` observations: a scope with few
decisions gets the factor of its model, a scope with many its own (partial pooling).

Three factors are quantiles of ratios, so that a single absurd report changes nothing: the median of actual
over counted tokens, the median of actual over predicted median length, and the 90th percentile of actual
length over predicted 90th percentile. The last uses the rank of split conformal prediction
(:mod:`router.core.conformal`), so that nine in ten answers are no longer than quoted. The fourth factor
corrects the mean, from which expected prices are computed: the sum of the actual lengths over the sum of the
predicted means, each answer capped at :data:`MAX_FACTOR` times its mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from router.core.conformal import conformal_rank
from router.core.timing import LearnedTiming

__all__ = [
    "LEARN_EVERY_S",
    "MAX_FACTOR",
    "PRIOR_STRENGTH",
    "UNCORRECTED",
    "Correction",
    "Corrections",
    "LearnedCorrections",
    "Observation",
    "learn",
]

PRIOR_STRENGTH = 30
"""The weight of the factor of the level above, in observations."""
LEARN_EVERY_S = 300.0
"""How often a server learns anew, seconds."""
MAX_FACTOR = 10.0
"""Factors stay within 0.1 to 10; a larger error has another cause, such as a wrong unit."""


class Correction(NamedTuple):
    """Factors that correct a quote, each > 0.

    Attributes:
        tokens: on estimated input tokens.
        p50: on the median of the output length.
        p90: on its 90th percentile.
        mean: on its mean.
    """

    tokens: float
    p50: float
    p90: float
    mean: float


UNCORRECTED = Correction(1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Observation:
    """Prediction and report of one settled decision; all counts in tokens.

    Attributes:
        model: the model that was called.
        scope: labels of the request.
        counted: input tokens counted before any correction, > 0.
        exact: whether the model's own tokenizer counted them, which needs no correction.
        input_tokens: input tokens reported, ≥ 0.
        p50: predicted median of the output length, hidden reasoning included, before correction and cap, > 0.
        p90: the same for the 90th percentile, ≥ p50.
        mean: the same for the mean, > 0.
        quoted_p50: median of the output length in the quote, ≥ 0.
        quoted_p90: 90th percentile of the output length in the quote, ≥ quoted_p50.
        cap: the longest output that the call allowed.
        output_tokens: output tokens reported, hidden reasoning included, ≥ 0.
    """

    model: str
    scope: Mapping[str, str]
    counted: int
    exact: bool
    input_tokens: int
    p50: float
    p90: float
    mean: float
    quoted_p50: int
    quoted_p90: int
    cap: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class LearnedCorrections:
    """The factors learned for one model, or for one model in one scope.

    Attributes:
        model: id of the model.
        scope: label names and values from the widest to the narrowest level; empty for the whole model.
        observations: the number of settled decisions, > 0.
        correction: the factors.
        within_p50: share of answers no longer than the quoted median, 0..1; .5 for accurate quotes.
        within_p90: share of answers no longer than the quoted 90th percentile, 0..1; .9 likewise.
    """

    model: str
    scope: tuple[tuple[str, str], ...]
    observations: int
    correction: Correction
    within_p50: float
    within_p90: float


ModelScope = tuple[str, tuple[tuple[str, str], ...]]
"""A model, and label names and values from the widest level down to some level."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """All learned corrections; immutable.

    Attributes:
        levels: label names from the widest scope to the narrowest, such as ("tenant", "team").
        learned: the factors by model and scope.
        timings: how long each model takes, by its id (:mod:`router.core.latency`).
    """

    levels: tuple[str, ...] = ()
    learned: Mapping[ModelScope, LearnedCorrections] = field(default_factory=dict)
    timings: Mapping[str, LearnedTiming] = field(default_factory=dict)

    def of(self, model: str, scope: Mapping[str, str]) -> Correction:
        """The factors for a model and a request's labels, from the narrowest level that was learned."""
        correction = UNCORRECTED
        for level in _model_scopes(model, scope, self.levels):
            learned = self.learned.get(level)
            if learned is not None:
                correction = learned.correction
        return correction


def learn(observations: Iterable[Observation], levels: Sequence[str] = ()) -> Corrections:
    """Learn the factors of every model and scope among the observations.

    Args:
        observations: settled decisions, in any order.
        levels: label names from the widest scope to the narrowest; a request without one of these
            labels skips that level.
    """
    grouped: defaultdict[ModelScope, list[Observation]] = defaultdict(list)
    for each in observations:
        for level in _model_scopes(each.model, each.scope, levels):
            grouped[level].append(each)
    learned: dict[ModelScope, LearnedCorrections] = {}
    for level in sorted(grouped, key=lambda one: len(one[1])):  # wider levels first
        model, scope = level
        above = learned[model, scope[:-1]].correction if scope else UNCORRECTED
        learned[level] = _learned(level, grouped[level], above)
    return Corrections(tuple(levels), learned)


def _model_scopes(
    model: str, scope: Mapping[str, str], levels: Sequence[str]
) -> Iterator[ModelScope]:
    yield model, ()
    within: tuple[tuple[str, str], ...] = ()
    for name in levels:
        value = scope.get(name)
        if value is not None:
            within = (*within, (name, value))
            yield model, within


def _learned(
    level: ModelScope, observed: Sequence[Observation], above: Correction
) -> LearnedCorrections:
    estimated = [each for each in observed if not each.exact]
    # A cap below the prediction truncates answers, so their length says little. The cap was known before
    # the call, so leaving these out does not bias the lengths.
    untruncated = [each for each in observed if each.cap > each.p90]
    correction = Correction(
        _factor(
            [_log_ratio(each.input_tokens, each.counted) for each in estimated], 0.5, above.tokens
        ),
        _factor([_log_ratio(each.output_tokens, each.p50) for each in untruncated], 0.5, above.p50),
        _factor([_log_ratio(each.output_tokens, each.p90) for each in untruncated], 0.9, above.p90),
        _mean_factor(untruncated, above.mean),
    )
    count = len(observed)
    return LearnedCorrections(
        *level,
        count,
        correction,
        sum(each.output_tokens <= each.quoted_p50 for each in observed) / count,
        sum(each.output_tokens <= each.quoted_p90 for each in observed) / count,
    )


def _log_ratio(actual: int, predicted: float) -> float:
    # An empty answer counts as one token, because log(0) does not exist.
    return math.log(max(actual, 1) / predicted)


def _factor(log_ratios: list[float], share: float, above: float) -> float:
    """A quantile of log ratios as a factor, pooled with the level above."""
    if not log_ratios:
        return above
    rank = conformal_rank(len(log_ratios), share)
    return _pooled(math.exp(sorted(log_ratios)[rank - 1]), len(log_ratios), above)


def _mean_factor(observed: Sequence[Observation], above: float) -> float:
    """The ratio of summed lengths to summed means, pooled with the level above."""
    if not observed:
        return above
    actual = math.fsum(min(each.output_tokens, MAX_FACTOR * each.mean) for each in observed)
    own = actual / math.fsum(each.mean for each in observed)
    return _pooled(own, len(observed), above)


def _pooled(own: float, count: int, above: float) -> float:
    """The weighted geometric mean of a level's own factor and the one of the level above."""
    own = min(max(own, 1 / MAX_FACTOR), MAX_FACTOR)
    return math.exp(
        (count * math.log(own) + PRIOR_STRENGTH * math.log(above)) / (count + PRIOR_STRENGTH)
    )
