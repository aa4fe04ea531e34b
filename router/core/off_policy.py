"""What another policy would have brought, estimated from what the logged one did. Pure.

With logged decisions (x, a, r), the probability p with which the logged policy chose a, the probability
π with which the new policy would have, and a model r̂ of the outcome:

- **ips** = mean of w·r with w = π/p: inverse propensity scores (Horvitz & Thompson 1952). Unbiased where
  the logged policy sometimes did whatever the new one does; of large variance where it rarely did.
- **snips** = Σ w·r / Σ w: self-normalised (Swaminathan & Joachims 2015). Slightly biased, steadier.
- **dr** = mean of r̂(x, π) + w·(r − r̂(x, a)): doubly robust (Dudík, Langford & Li 2011). Right where
  either the propensities or the model are.

Intervals are percentiles of a bootstrap over groups of decisions (Efron 1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.core.errors import InvalidInput

__all__ = [
    "LEAST_EFFECTIVE",
    "LEAST_GROUPS",
    "RESAMPLES",
    "Estimates",
    "Evidence",
    "Interval",
    "Overlap",
    "cautions",
    "estimate",
    "overlap",
]

RESAMPLES = 1_000
LEAST_GROUPS = 30
"""Distinct prompts below which intervals of a bootstrap are no guide."""
LEAST_EFFECTIVE = 100.0
"""Effective decisions below which the overlap is thin: a share is then known to no better than ± .1."""
_MOST_UNCOVERED = 0.05
_SURE = 1.0 - 1e-9
_LEAST_PROPENSITY = 1e-9
"""Smaller ones are taken for this: a weight must stay a finite number."""
_CELLS = 4_000_000
"""Draws of the bootstrap that are held at once, which bounds its memory."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """Logged decisions made anew by the new policy: ``n`` decisions, ``m`` kinds of outcome.

    Attributes:
        outcomes: float64 ``(n, m)``, what happened: quality, cost …
        expected_logged: float64 ``(n, m)``, r̂ of what was done.
        expected_new: float64 ``(n, m)``, r̂ of what the new policy does, averaged over its choices; of the
            same model, so that it is ``expected_logged`` where the new policy does the same.
        chance: float64 ``(n,)``, probability 0..1 with which the new policy does what was done; of a
            deterministic one 0 or 1.
        propensity: float64 ``(n,)``, probability with which the logged policy did, above 0 up to 1.
        groups: integers ``(n,)``; decisions on the same prompt share one, and are drawn together.

    Raises:
        InvalidInput: there are no decisions, or a value is not finite or out of range.
    """

    outcomes: Values
    expected_logged: Values
    expected_new: Values
    chance: Values
    propensity: Values
    groups: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        n = len(self.outcomes)
        if n == 0:
            raise InvalidInput("there are no decisions to replay", reason="NOTHING_TO_REPLAY")
        tables = (self.outcomes, self.expected_logged, self.expected_new)
        if any(t.shape != self.outcomes.shape or not np.isfinite(t).all() for t in tables):
            raise InvalidInput("outcomes and expectations must be finite, and of one shape")
        if not (((self.chance >= 0) & (self.chance <= 1)).all() and self.chance.shape == (n,)):
            raise InvalidInput("chance must be from 0 to 1", field="chance")
        sound = (self.propensity > 0) & (self.propensity <= 1)
        if not (sound.all() and self.propensity.shape == (n,)):
            raise InvalidInput("propensity must be above 0 and at most 1", field="propensity")

    @property
    def weights(self) -> Values:
        """``(n,)``: chance over propensity, ≥ 0 and finite."""
        return np.asarray(self.chance / np.maximum(self.propensity, _LEAST_PROPENSITY))


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds of its 95 % interval; always finite."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimates:
    """One kind of outcome: the mean of the logged policy, and the new one's by three estimators.

    ``snips`` is ``None`` where no decision agrees. ``difference`` is dr − logged, paired: both are
    taken of the same resamples.
    """

    logged: Interval
    ips: Interval
    snips: Interval | None
    dr: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of the log speaks of the new policy.

    Attributes:
        decisions: how many.
        groups: how many distinct prompts.
        agreement: share of decisions that stay, 0..1.
        effective: (Σ w)² / Σ w² (Kish 1965): as many equally weighted decisions know as much; 0 where
            none agrees.
        mean_weight: 1 in expectation where the propensities are right and cover the new policy.
        largest_share: of one decision in the sum of weights, 0..1.
        deterministic: share of decisions that the logged policy made with certainty.
        uncovered: share of decisions where it did so, and the new policy does otherwise: of these no
            outcome can tell, however many are logged.
    """

    decisions: int
    groups: int
    agreement: float
    effective: float
    mean_weight: float
    largest_share: float
    deterministic: float
    uncovered: float

    @property
    def thin(self) -> bool:
        """Whether the log is too thin to tell by outcomes alone."""
        return (
            self.groups < LEAST_GROUPS
            or self.effective < LEAST_EFFECTIVE
            or self.uncovered > _MOST_UNCOVERED
        )


def overlap(evidence: Evidence) -> Overlap:
    """How much of the log speaks of the new policy."""
    weights = evidence.weights
    total, largest = float(weights.sum()), float(weights.max())
    relative = weights / largest if largest > 0 else weights  # the squares of tiny ones would be 0
    sure = evidence.propensity >= _SURE
    return Overlap(
        decisions=len(weights),
        groups=len(np.unique(evidence.groups)),
        agreement=float(evidence.chance.mean()),
        effective=float(relative.sum()) ** 2 / float(relative @ relative) if total > 0 else 0.0,
        mean_weight=float(weights.mean()),
        largest_share=largest / total if total > 0 else 0.0,
        deterministic=float(sure.mean()),
        uncovered=float(((1 - evidence.chance) * sure).mean()),
    )


def cautions(known: Overlap) -> list[str]:
    """What must be said beside the figures, in sentences; empty where the log is enough to tell."""
    said = []
    if known.groups < LEAST_GROUPS:
        said.append(
            f"too few to tell: {known.groups} distinct prompts; intervals are no guide below "
            f"{LEAST_GROUPS}, so wait for more settled decisions with quality"
        )
    if known.agreement == 0:
        said.append(
            "too thin to tell: no logged decision stays, so ips is 0 and dr is the classifier's word alone"
        )
    if known.uncovered > 0:
        thin = "too thin to tell: " if known.uncovered > _MOST_UNCOVERED else ""
        said.append(
            f"{thin}the logged policy was certain (propensity 1) on {known.deterministic:.0%} of the "
            f"decisions, and the new one does otherwise on {known.uncovered:.1%} of all: there only the "
            "classifier's own P(adequate) and quotes speak (in dr); ips counts them as 0, snips leaves them "
            "out. To learn of them, leave some choices to chance, and log the probability of each"
        )
    elif abs(known.mean_weight - 1) > 0.1 and known.agreement > 0:
        said.append(
            f"weights average {known.mean_weight:.2f} instead of 1: chance in a small log, or the logged "
            "propensities are not those that were used"
        )
    if 0 < known.effective < LEAST_EFFECTIVE:
        said.append(
            f"too thin to tell: the weights leave {known.effective:.0f} effective decisions of "
            f"{known.decisions:,}; {LEAST_EFFECTIVE:.0f} are the least"
        )
    return said


def _interval(value: float, draws: Values) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(value, float(low), float(high))


def _resampled(sums: Values, resamples: int, seed: int) -> Values:
    """Column sums of ``resamples`` bootstrap samples of the rows of ``sums``, ``(resamples, columns)``."""
    rows = len(sums)
    rng = np.random.default_rng(seed)
    at_once = max(_CELLS // rows, 1)
    parts = []
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = rng.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
        parts.append(times @ sums)
    return np.concatenate(parts)


def estimate(
    evidence: Evidence, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Estimates, ...]:
    """Estimate every kind of outcome under the new policy.

    Args:
        evidence: the decisions.
        resamples: of the bootstrap, ≥ 1.
        seed: of its draws; the same seed gives the same intervals.

    Returns:
        ``m`` estimates in the order of the columns; every number in them is finite.
    """
    weights = evidence.weights
    logged = evidence.outcomes
    weighted = weights[:, None] * logged
    robust = evidence.expected_new + weights[:, None] * (logged - evidence.expected_logged)
    ones = np.ones((len(weights), 1))
    table = np.concatenate([ones, weights[:, None], logged, weighted, robust], axis=1)
    _, place = np.unique(evidence.groups, return_inverse=True)
    sums = np.zeros((place.max() + 1, table.shape[1]))
    np.add.at(sums, place, table)
    whole = sums.sum(axis=0)
    draws = _resampled(sums, resamples, seed)
    kinds = logged.shape[1]

    def made(kind: int) -> Estimates:
        columns = [2 + kind, 2 + kinds + kind, 2 + 2 * kinds + kind]
        value_logged, value_ips, value_dr = (float(whole[c] / whole[0]) for c in columns)
        drawn_logged, drawn_ips, drawn_dr = (draws[:, c] / draws[:, 0] for c in columns)
        # A resample in which nothing agrees says nothing of the ratio.
        told = draws[:, 1] > 0
        snips = None
        if whole[1] > 0 and told.any():
            drawn = draws[told, columns[1]] / draws[told, 1]
            snips = _interval(float(whole[columns[1]] / whole[1]), drawn)
        return Estimates(
            logged=_interval(value_logged, drawn_logged),
            ips=_interval(value_ips, drawn_ips),
            snips=snips,
            dr=_interval(value_dr, drawn_dr),
            difference=_interval(value_dr - value_logged, drawn_dr - drawn_logged),
        )

    return tuple(made(kind) for kind in range(kinds))
