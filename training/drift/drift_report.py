"""Drift of traffic from the training data of a bundle, and of outcomes from its predictions.

Every comparison is a test with a p-value and an effect size. The p-values are corrected for multiple tests
(Holm 1979): without drift, the chance of *any* alarm is at most α. With enough prompts every difference is
significant, so an alarm also needs an effect size that matters.

- Vectors and form (the lexical features): a classifier two-sample test (Lopez-Paz & Oquab 2017, "Revisiting
  Classifier Two-Sample Tests"): a logistic regression is fitted on one half to separate training prompts
  from recent ones; its AUC on the other half is .5 where the two are alike. The p-value permutes the labels
  of that half.
- Length, language, score: the population stability index (Siddiqi 2006, "Credit Risk Scorecards") over
  deciles of both sides together, or over scripts; its usual reading is .1 some, .25 much. The p-value draws
  from the permutation distribution of the counts, which is multivariate hypergeometric.
- Calibration, per arm: ECE of P(adequate) on settled outcomes, compared with its distribution under
  perfect calibration. The reference is the excess over that floor on the bundle's held-out prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from router.classifier.features.lexical import FEATURES, SCRIPTS
from training.drift.traffic import SettledOutcomes, Traffic
from training.drift.two_sample_tests import (
    DRAWS,
    classifier_two_sample_test,
    p_value_of,
    population_stability_index,
)
from training.evaluation.calibration_metrics import ece, ece_draws

__all__ = ["ALPHA", "ArmCalibration", "DriftReport", "Finding", "drift"]

Floats = npt.NDArray[np.float64]

ALPHA = 0.01
"""Chance of any alarm without drift."""
BINS = 10
MIN_PROMPTS = 100
"""Fewest distinct prompts on each side for a comparison."""
MIN_OUTCOMES = 100
"""Fewest settled outcomes of an arm for a judgement of its calibration."""
MIN_WEEK = 30

AUC_BOUND = 0.55
PSI_BOUND = 0.1
ECE_BOUND = 0.02
"""Allowed growth of the excess ECE over that of the bundle's evaluation."""


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        what: ``vectors``, ``form``, ``length``, ``language``, ``score of ARM`` or ``calibration of ARM``.
        measure: ``AUC``, ``PSI`` or ``excess ECE``.
        value: of the measure.
        bound: the value from which the difference matters.
        p_value: corrected for the number of comparisons, 0..1.
        drifted: whether value and p-value both indicate drift.
        words: the finding, as a user reads it.
        remedy: what to do about drift.
    """

    what: str
    measure: str
    value: float
    bound: float
    p_value: float
    drifted: bool
    words: str
    remedy: str


@dataclass(frozen=True)
class ArmCalibration:
    """Predicted and observed shares of adequate outcomes of an arm, in total or in one week.

    Attributes:
        n: settled outcomes.
        promised: mean P(adequate), 0..1.
        observed: share that was adequate, 0..1.
        ece: 0..1.
        floor: the ECE that perfect calibration would show on as many outcomes.
    """

    n: int
    promised: float
    observed: float
    ece: float
    floor: float

    @property
    def excess(self) -> float:
        """ECE over its floor."""
        return self.ece - self.floor


@dataclass(frozen=True)
class DriftReport:
    """All comparisons.

    Attributes:
        alpha: chance of an alarm without drift.
        findings: in the order of the module's docstring.
        calibration: by arm.
        promised_excess: by arm, of the bundle's own evaluation.
        weeks: by arm, then by ISO week such as ``2026-W48``.
        untold: what could not be compared, and why.
    """

    alpha: float
    findings: tuple[Finding, ...]
    calibration: Mapping[str, ArmCalibration]
    promised_excess: Mapping[str, float]
    weeks: Mapping[str, Mapping[str, ArmCalibration]]
    untold: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """Whether any comparison found drift."""
        return any(finding.drifted for finding in self.findings)

    @property
    def undecided(self) -> bool:
        """Whether nothing could be compared, so that drift is neither found nor ruled out."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON types."""
        return {"drifted": self.drifted, "undecided": self.undecided, **asdict(self)}


def _binned(
    reference: npt.NDArray[Any], recent: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Bins by deciles of both sides together, so that without drift they are independent of the side."""
    edges = np.unique(
        np.quantile(np.concatenate([reference, recent]), np.linspace(0, 1, BINS + 1)[1:-1])
    )
    return np.searchsorted(edges, reference, "left"), np.searchsorted(edges, recent, "left")


def _holm(p_values: Sequence[float]) -> list[float]:
    order = np.argsort(p_values, kind="stable")
    corrected = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min((len(p_values) - rank) * p_values[place], 1.0))
        corrected[place] = highest
    return corrected.tolist()


# --- Comparisons -------------------------------------------------------------------------------


def _separation(
    what: str,
    reference: npt.NDArray[np.float32],
    recent: npt.NDArray[np.float32],
    rng: np.random.Generator,
) -> Finding:
    value, p_value = classifier_two_sample_test(reference, recent, rng)
    return Finding(
        what, "AUC", value, AUC_BOUND, p_value, False,
        f"a classifier tells recent prompts from training prompts in {value:.0%} of pairs"
        " (50% is by chance)",
        "the prompts are about other things: import recent logs with `python -m training import`, have"
        " some judged, and train with them (`make train`)",
    )  # fmt: skip


_MOVED = 3


def _form(reference: Traffic, recent: Traffic, rng: np.random.Generator) -> Finding:
    # The sample of an older bundle holds fewer features; only the features of both sides are compared.
    width = min(reference.features.shape[1], recent.features.shape[1])
    before, now = reference.features[:, :width], recent.features[:, :width]
    found = _separation("form", before, now, rng)
    old, new = before.mean(axis=0), now.mean(axis=0)
    spread = np.concatenate([before, now]).std(axis=0) + 1e-9
    most = np.argsort(-np.abs(new - old) / spread)[:_MOVED]
    moved = ", ".join(f"{FEATURES[one]} {old[one]:.2f} → {new[one]:.2f}" for one in most)
    return replace(found, words=f"{found.words}; what moved most: {moved}")


def _length(reference: Traffic, recent: Traffic, rng: np.random.Generator) -> Finding:
    column = FEATURES.index("log_characters")
    old, new = reference.features[:, column], recent.features[:, column]
    value, p_value = population_stability_index(*_binned(old, new), rng)
    before, now = (float(np.expm1(np.median(side))) for side in (old, new))
    return Finding(
        "length", "PSI", value, PSI_BOUND, p_value, False,
        f"the median prompt has {now:,.0f} characters, in training {before:,.0f}",
        "train with prompts of these lengths; until then look at `mitsumori corrections` for quotes that"
        " are off",
    )  # fmt: skip


def _language(
    reference: npt.NDArray[np.intp], recent: npt.NDArray[np.intp], rng: np.random.Generator
) -> Finding:
    value, p_value = population_stability_index(reference, recent, rng)
    old, new = (
        np.bincount(side, minlength=len(SCRIPTS)) / len(side) for side in (reference, recent)
    )
    most = int(np.argmax(np.abs(new - old)))
    rising = int(np.argmax(new - old))
    return Finding(
        "language", "PSI", value, PSI_BOUND, p_value, False,
        f"{SCRIPTS[rising if value >= PSI_BOUND else most]}: "
        f"{_shares(old, new, rising if value >= PSI_BOUND else most)}",
        f"train with a history that has more {SCRIPTS[rising]} prompts, and an encoder that reads them",
    )  # fmt: skip


def _shares(old: Floats, new: Floats, place: int) -> str:
    return f"{new[place]:.1%} of recent prompts, {old[place]:.1%} of training prompts"


def _score(arm: str, old: Floats, new: Floats, rng: np.random.Generator) -> Finding:
    value, p_value = population_stability_index(*_binned(old, new), rng)
    way = "harder" if new.mean() < old.mean() else "easier"
    return Finding(
        f"score of {arm}", "PSI", value, PSI_BOUND, p_value, False,
        f"mean P(adequate) of {arm} is {new.mean():.2f}, in training {old.mean():.2f}: recent prompts look"
        f" {way}",
        "the mix of arms moves with it: look at `mitsumori usage --by tier` against the budget, and train"
        " with recent prompts where vectors or calibration drifted too",
    )  # fmt: skip


def _calibration(
    probability: Floats, adequate: npt.NDArray[np.bool_], null: Floats
) -> ArmCalibration:
    return ArmCalibration(
        len(probability),
        float(probability.mean()),
        float(adequate.mean()),
        ece(adequate, probability),
        float(null.mean()),
    )


def _calibrated(
    arm: str, settled: SettledOutcomes, promised: float, seed: int
) -> tuple[ArmCalibration, Finding]:
    null = ece_draws(settled.p_adequate, seed=seed, draws=DRAWS)
    found = _calibration(settled.p_adequate, settled.adequate, null)
    way = "too high" if found.observed < found.promised else "too low"
    finding = Finding(
        f"calibration of {arm}", "excess ECE", found.excess, promised + ECE_BOUND,
        p_value_of(null, found.ece), False,
        f"{arm} was predicted to be adequate in {found.promised:.0%} and was in {found.observed:.0%} of"
        f" {found.n:,} settled outcomes (P is {way} on average)",
        f"train again with settled outcomes of {arm} (`python -m training import`); until then set the"
        f" quality target {'higher' if way == 'too high' else 'lower'} by the difference",
    )  # fmt: skip
    return found, finding


def _weeks(settled: SettledOutcomes, seed: int) -> dict[str, ArmCalibration]:
    found = {}
    for week in sorted(set(settled.weeks) - {""}):
        rows = settled.weeks == week
        if rows.sum() >= MIN_WEEK:
            one = settled.rows(rows)
            null = ece_draws(one.p_adequate, seed=seed)
            found[week] = _calibration(one.p_adequate, one.adequate, null)
    return found


def drift(
    reference: Traffic,
    recent: Traffic,
    promised: Mapping[str, float],
    *,
    alpha: float = ALPHA,
    seed: int,
) -> DriftReport:
    """Compare recent traffic with a bundle's training data, and its predictions with outcomes.

    Args:
        reference: distinct prompts of the training data, preferably held-out ones, because a bundle is
            sharper on prompts that it was trained on.
        recent: distinct prompts of recent traffic, and its settled outcomes.
        promised: excess ECE per arm, of the bundle's own evaluation, ≥ 0.
        alpha: chance of an alarm without drift, 0..1.
        seed: of halves, permutations and draws.
    """
    rng = np.random.default_rng(seed)
    untold = [*reference.untold, *recent.untold]
    findings: list[Finding] = []

    def enough(what: str, old: int, new: int) -> bool:
        if min(old, new) >= MIN_PROMPTS:
            return True
        if old and new:
            untold.append(
                f"{what}: {new:,} recent and {old:,} training prompts are too few; {MIN_PROMPTS} of each"
                " are needed"
            )
        return False

    vectors = (reference.embeddings, recent.embeddings)
    if enough("vectors", len(vectors[0]), len(vectors[1])):
        findings.append(_separation("vectors", *vectors, rng))
    if enough("form and length", len(reference.features), len(recent.features)):
        findings += [_form(reference, recent, rng), _length(reference, recent, rng)]
    if enough("language", len(reference.scripts), len(recent.scripts)):
        findings.append(_language(reference.scripts, recent.scripts, rng))
    for place, arm in enumerate(recent.arms):
        if len(reference.p_adequate) and len(recent.p_adequate):
            old, new = reference.p_adequate[:, place], recent.p_adequate[:, place]
            if enough(f"score of {arm}", len(old), len(new)):
                findings.append(_score(arm, old, new, rng))
    calibration: dict[str, ArmCalibration] = {}
    weeks = {}
    for place, arm in enumerate(recent.arms):
        settled = recent.settled.rows(recent.settled.arms == place)
        if len(settled) < MIN_OUTCOMES:
            untold.append(
                f"calibration of {arm}: {len(settled):,} settled outcomes with a quality are too few;"
                f" {MIN_OUTCOMES} are needed (report quality with `settle`)"
            )
            continue
        calibration[arm], finding = _calibrated(arm, settled, promised.get(arm, 0.0), seed)
        findings.append(finding)
        weeks[arm] = _weeks(settled, seed)
    corrected = _holm([finding.p_value for finding in findings])
    judged = tuple(
        replace(one, p_value=p, drifted=p <= alpha and one.value >= one.bound)
        for one, p in zip(findings, corrected, strict=True)
    )
    return DriftReport(alpha, judged, calibration, dict(promised), weeks, tuple(untold))
