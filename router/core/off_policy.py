"""Off-policy evaluation: the outcomes of a new policy, estimated from decisions that another one made.

A logged decision is (x, a, r): context, action, outcome. With the probability p that the logged policy
chose a, the probability π that the new policy chooses a, and a model r̂ of the outcome:

- **ips** = mean of w·r with w = π/p: inverse propensity scores (Horvitz & Thompson 1952). Unbiased if the
  logged policy sometimes does whatever the new one does; the variance is large if it rarely does.
- **snips** = Σ w·r / Σ w: self-normalised (Swaminathan & Joachims 2015). Slightly biased, less variance.
- **dr** = mean of r̂(x, π) + w·(r − r̂(x, a)): doubly robust (Dudík, Langford & Li 2011). Consistent if
  either the propensities or the model are right.

Intervals are percentiles of a bootstrap over groups of decisions (Efron 1979). Everything here is pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from router.core.errors import InvalidInput
from router.core.plurals import counted

__all__ = [
    "MIN_EFFECTIVE",
    "MIN_GROUPS",
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
MIN_GROUPS = 30
"""With fewer distinct prompts, bootstrap intervals are not reliable."""
MIN_EFFECTIVE = 100.0
"""With fewer effective decisions the overlap is too thin: a share is known to ± .1 at best."""
_MAX_UNCOVERED = 0.05
_CERTAIN = 1.0 - 1e-9
_MIN_PROPENSITY = 1e-9
"""Smaller propensities are raised to this, so that weights stay finite."""
_CELLS = 4_000_000
"""Bootstrap draws in memory at a time."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """``n`` logged decisions with ``m`` kinds of outcome, and what the new policy does in each case.

    Attributes:
        outcomes: float64 ``(n, m)``, the observed outcomes: quality, cost …
        expected_logged: float64 ``(n, m)``, r̂ of the logged action.
        expected_new: float64 ``(n, m)``, r̂ averaged over the new policy's actions; equal to
            ``expected_logged`` where both policies choose the same action.
        chance: float64 ``(n,)``, probability 0..1 that the new policy chooses the logged action; 0 or 1
            for a deterministic policy.
        propensity: float64 ``(n,)``, probability with which the logged policy chose it, above 0, at most 1.
        groups: integers ``(n,)``; decisions on the same prompt share a group, which the bootstrap draws as
            a whole.
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
        """Chance over propensity, float64 ``(n,)``, ≥ 0 and finite."""
        return np.asarray(self.chance / np.maximum(self.propensity, _MIN_PROPENSITY))


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds ``low`` and ``high`` of its 95 % interval; all finite."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimates:
    """Estimates for one kind of outcome.

    Attributes:
        logged: mean outcome of the logged policy.
        ips: mean outcome of the new policy by inverse propensity scores.
        snips: the same, self-normalised; ``None`` if the policies agree on no decision.
        dr: the same, doubly robust.
        difference: dr − logged, both computed from the same resamples.
    """

    logged: Interval
    ips: Interval
    snips: Interval | None
    dr: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much the log says about the new policy.

    Attributes:
        decisions: the number of logged decisions.
        groups: the number of distinct prompts.
        agreement: share of decisions on which both policies agree, 0..1.
        effective: effective sample size (Σ w)² / Σ w² (Kish 1965); 0 if the policies never agree.
        mean_weight: mean of the weights; 1 in expectation if the propensities are right and cover the new
            policy.
        largest_share: share of the largest weight in the sum of weights, 0..1.
        deterministic: share of decisions that the logged policy made with probability 1.
        uncovered: share of decisions in which it could not have chosen what the new policy does, such as
            those that it made with probability 1 and the new one makes differently; no number of logged
            outcomes can say anything about these.
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
        """Whether the logged outcomes alone are too few for an estimate."""
        return (
            self.groups < MIN_GROUPS
            or self.effective < MIN_EFFECTIVE
            or self.uncovered > _MAX_UNCOVERED
        )


def overlap(evidence: Evidence, reach: Values | None = None) -> Overlap:
    """Measure how much the log says about the new policy.

    Args:
        evidence: ``n`` decisions.
        reach: float64 ``(n,)``, probability 0..1 with which the logged policy would have chosen what the new
            one does, NaN where it was not logged; ``None``: nowhere.
    """
    weights = evidence.weights
    total, largest = float(weights.sum()), float(weights.max())
    relative = weights / largest if largest > 0 else weights  # squares of tiny weights underflow
    certain = evidence.propensity >= _CERTAIN
    unseen = certain if reach is None else np.where(np.isnan(reach), certain, reach == 0)
    return Overlap(
        decisions=len(weights),
        groups=len(np.unique(evidence.groups)),
        agreement=float(evidence.chance.mean()),
        effective=float(relative.sum()) ** 2 / float(relative @ relative) if total > 0 else 0.0,
        mean_weight=float(weights.mean()),
        largest_share=largest / total if total > 0 else 0.0,
        deterministic=float(certain.mean()),
        uncovered=float(((1 - evidence.chance) * unseen).mean()),
    )


def cautions(known: Overlap) -> list[str]:
    """Warnings to print beside the estimates, as sentences; empty if the log is sufficient."""
    warnings = []
    if known.groups < MIN_GROUPS:
        warnings.append(
            f"too few to tell: {counted(known.groups, 'distinct prompt')}; intervals are not reliable below "
            f"{MIN_GROUPS}, so wait for more settled decisions with quality"
        )
    if known.agreement == 0:
        warnings.append(
            "too thin to tell: no logged decision stays, so ips is 0 and dr is only the classifier's "
            "estimate"
        )
    if known.uncovered > 0:
        thin = "too thin to tell: " if known.uncovered > _MAX_UNCOVERED else ""
        warnings.append(
            f"{thin}the logged policy was certain (propensity 1) on {known.deterministic:.0%} of the "
            f"decisions, and could not have decided as the new one does on {known.uncovered:.1%} of all: "
            "for these dr relies on the classifier's own P(adequate) and quotes, ips counts 0, and snips "
            "leaves them out. To learn about them, leave some choices to chance (setting explore)"
        )
    elif abs(known.mean_weight - 1) > 0.1 and known.agreement > 0:
        warnings.append(
            f"weights average {known.mean_weight:.2f} instead of 1: chance in a small log, or the logged "
            "propensities are not those that were used"
        )
    if 0 < known.effective < MIN_EFFECTIVE:
        warnings.append(
            f"too thin to tell: the weights leave {counted(round(known.effective), 'effective decision')} of "
            f"{known.decisions:,}; at least {MIN_EFFECTIVE:.0f} are needed"
        )
    return warnings


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
        evidence: the logged decisions.
        resamples: number of bootstrap samples, ≥ 1.
        seed: of the bootstrap; the same seed gives the same intervals.

    Returns:
        ``m`` estimates in the order of the columns of ``evidence.outcomes``.
    """
    weights = evidence.weights
    logged = evidence.outcomes
    weighted = weights[:, None] * logged
    robust = evidence.expected_new + weights[:, None] * (logged - evidence.expected_logged)
    ones = np.ones((len(weights), 1))
    table = np.concatenate([ones, weights[:, None], logged, weighted, robust], axis=1)
    _, group = np.unique(evidence.groups, return_inverse=True)
    sums = np.zeros((group.max() + 1, table.shape[1]))
    np.add.at(sums, group, table)
    whole = sums.sum(axis=0)
    draws = _resampled(sums, resamples, seed)
    kinds = logged.shape[1]

    def estimates(kind: int) -> Estimates:
        columns = [2 + kind, 2 + kinds + kind, 2 + 2 * kinds + kind]
        value_logged, value_ips, value_dr = (float(whole[c] / whole[0]) for c in columns)
        drawn_logged, drawn_ips, drawn_dr = (draws[:, c] / draws[:, 0] for c in columns)
        # The ratio is undefined in a resample without any agreement.
        defined = draws[:, 1] > 0
        snips = None
        if whole[1] > 0 and defined.any():
            drawn = draws[defined, columns[1]] / draws[defined, 1]
            snips = _interval(float(whole[columns[1]] / whole[1]), drawn)
        return Estimates(
            logged=_interval(value_logged, drawn_logged),
            ips=_interval(value_ips, drawn_ips),
            snips=snips,
            dr=_interval(value_dr, drawn_dr),
            difference=_interval(value_dr - value_logged, drawn_dr - drawn_logged),
        )

    return tuple(estimates(kind) for kind in range(kinds))
