"""What settled usage teaches about quotes: factors per model and scope for tokens and output lengths.

Token counts of models without a public tokenizer are estimates, and the lengths that a classifier
predicts are those of an arm, not of every model and caller. Both are off by a factor that settled
decisions show. A factor is learned for each model, then for each model and scope below it, where every
step is drawn towards the one above by as many made-up observations as :data:`PRIOR` says: a scope with
few decisions gets the factor of its model, one with many its own (partial pooling).

Three factors are quantiles of ratios, so that one absurd report moves nothing: the median of actual over
counted tokens, the median of actual over predicted median length, and the 90th percentile of actual over
predicted 90th percentile with the rank of split conformal prediction, so that nine in ten answers are no
longer than quoted. The fourth corrects the mean, which the expected price and the sum of a batch rest on: it
is the sum of actual lengths over the sum of predicted means, each answer cut off at :data:`MOST` times its
mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from router.core.conformal import conformal_rank

__all__ = [
    "MOST",
    "PRIOR",
    "UNCORRECTED",
    "Correction",
    "Corrections",
    "LearnedCorrections",
    "Observation",
    "learn",
]

PRIOR = 30
"""How many observations the factor of the level above is worth."""
MOST = 10.0
"""No factor leaves 0.1 to 10: beyond that something else is wrong, such as a unit."""


class Correction(NamedTuple):
    """Factors > 0: on estimated input tokens, and on the median, 90th percentile and mean of the length."""

    tokens: float
    p50: float
    p90: float
    mean: float


UNCORRECTED = Correction(1.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Observation:
    """One settled decision: what was foretold, and what was reported. All counts in tokens.

    Attributes:
        model: that was called.
        scope: labels of the request.
        counted: input tokens as counted, before any correction; > 0.
        exact: whether that was the model's own tokenizer, so that there is nothing to correct.
        input_tokens: reported, ≥ 0.
        p50: predicted median of the output length, hidden reasoning included, before correction and cap, > 0.
        p90: the same for the 90th percentile, ≥ p50.
        mean: the same for the mean, > 0.
        told_p50: the median that was quoted, ≥ 0.
        told_p90: the 90th percentile that was quoted, ≥ told_p50.
        cap: the most output tokens that the call allowed.
        output_tokens: reported, hidden reasoning included, ≥ 0.
    """

    model: str
    scope: Mapping[str, str]
    counted: int
    exact: bool
    input_tokens: int
    p50: float
    p90: float
    mean: float
    told_p50: int
    told_p90: int
    cap: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class LearnedCorrections:
    """What one model, or one model in one scope, taught.

    Attributes:
        model: the model.
        scope: labels of the level, from the widest to the narrowest; empty for the model as a whole.
        observations: settled decisions that it rests on, > 0.
        correction: the factors.
        within_p50: share of answers no longer than the quoted median, 0..1: one half where quotes are good.
        within_p90: the same for the quoted 90th percentile: nine tenths where quotes are good.
    """

    model: str
    scope: tuple[tuple[str, str], ...]
    observations: int
    correction: Correction
    within_p50: float
    within_p90: float


Place = tuple[str, tuple[tuple[str, str], ...]]
"""A model, and a scope down to some level."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Everything that was learned; immutable.

    Attributes:
        levels: names of labels from the widest scope to the narrowest, such as ("tenant", "team").
        learned: by model and scope.
    """

    levels: tuple[str, ...] = ()
    learned: Mapping[Place, LearnedCorrections] = field(default_factory=dict)

    def of(self, model: str, scope: Mapping[str, str]) -> Correction:
        """The factors for a model asked for by a scope: of the narrowest level that is known."""
        found = UNCORRECTED
        for place in _places(model, scope, self.levels):
            known = self.learned.get(place)
            if known is not None:
                found = known.correction
        return found


def learn(observations: Iterable[Observation], levels: Sequence[str] = ()) -> Corrections:
    """Learn the factors of every model and scope that was observed.

    Args:
        observations: settled decisions, in any order.
        levels: names of labels from the widest scope to the narrowest; a request without one of them
            passes over this level.
    """
    seen: defaultdict[Place, list[Observation]] = defaultdict(list)
    for each in observations:
        for place in _places(each.model, each.scope, levels):
            seen[place].append(each)
    learned: dict[Place, LearnedCorrections] = {}
    for place in sorted(seen, key=lambda one: len(one[1])):  # the wider level comes first
        model, scope = place
        above = learned[model, scope[:-1]].correction if scope else UNCORRECTED
        learned[place] = _learned(place, seen[place], above)
    return Corrections(tuple(levels), learned)


def _places(model: str, scope: Mapping[str, str], levels: Sequence[str]) -> Iterator[Place]:
    yield model, ()
    within: tuple[tuple[str, str], ...] = ()
    for name in levels:
        value = scope.get(name)
        if value is not None:
            within = (*within, (name, value))
            yield model, within


def _learned(place: Place, seen: Sequence[Observation], above: Correction) -> LearnedCorrections:
    estimated = [each for each in seen if not each.exact]
    # A cap below the prediction cuts answers off: their length says little. It was known before the
    # call, so leaving these out favours neither long answers nor short ones.
    free = [each for each in seen if each.cap > each.p90]
    correction = Correction(
        _factor([_ratio(each.input_tokens, each.counted) for each in estimated], 0.5, above.tokens),
        _factor([_ratio(each.output_tokens, each.p50) for each in free], 0.5, above.p50),
        _factor([_ratio(each.output_tokens, each.p90) for each in free], 0.9, above.p90),
        _mean_factor(free, above.mean),
    )
    count = len(seen)
    return LearnedCorrections(
        *place,
        count,
        correction,
        sum(each.output_tokens <= each.told_p50 for each in seen) / count,
        sum(each.output_tokens <= each.told_p90 for each in seen) / count,
    )


def _ratio(actual: int, predicted: float) -> float:
    # An answer of no tokens is as good as one of one token: the logarithm needs something.
    return math.log(max(actual, 1) / predicted)


def _factor(logs: list[float], share: float, above: float) -> float:
    """A quantile of log ratios, drawn towards the factor of the level above."""
    if not logs:
        return above
    rank = conformal_rank(len(logs), share)
    return _pooled(math.exp(sorted(logs)[rank - 1]), len(logs), above)


def _mean_factor(seen: Sequence[Observation], above: float) -> float:
    """The ratio of sums, drawn towards the factor of the level above."""
    if not seen:
        return above
    actual = math.fsum(min(each.output_tokens, MOST * each.mean) for each in seen)
    own = actual / math.fsum(each.mean for each in seen)
    return _pooled(own, len(seen), above)


def _pooled(own: float, count: int, above: float) -> float:
    own = min(max(own, 1 / MOST), MOST)
    return math.exp((count * math.log(own) + PRIOR * math.log(above)) / (count + PRIOR))
