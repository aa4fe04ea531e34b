"""The evaluation report of a router: quality, calibration, cost, lengths, and the same of every baseline.

The keys are a fixed interface that programs read. A figure that the rows do not allow is ``None``, and
``notes`` gives the reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from training.evaluation.baselines import (
    BaselineScores,
    EncodedOutcomes,
    arm_pairs,
    baseline_scores,
)
from training.evaluation.calibration_metrics import auc, brier, ece, ece_floor
from training.evaluation.cost_quality import (
    Points,
    Sweep,
    aiq_over_singles,
    cost_at_quality,
    quality_at_cost,
    single_arms,
    sweep,
)
from training.evaluation.metrics import (
    MIN_CATEGORY,
    Statistic,
    apgr,
    apgr_statistic,
    bootstrap,
    coverage,
    cpt,
    interval,
    pinball,
    within_category_apgr,
)
from training.evaluation.predictions import Predictions
from training.histories.outcomes import Outcomes

__all__ = ["PricedPrompts", "evaluate", "json_ready", "pair_name", "priced_prompts"]

Floats = npt.NDArray[np.float64]
EvaluationReport = dict[str, Any]

QUALITY_SHARES = ("1.00", "0.99", "0.95")
MIN_PROMPTS = 2
MIN_SLICE = 100
"""Fewest prompts of a language for which its figures are reported; with fewer they are ``None``."""


def json_ready(value: Any) -> Any:
    """The same report with JSON types only: numpy scalars unwrapped, NaN and infinities ``None``."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [json_ready(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def pair_name(arms: Sequence[str], pair: tuple[int, int]) -> str:
    """``WEAK>STRONG``."""
    return f"{arms[pair[0]]}>{arms[pair[1]]}"


# --- Arms --------------------------------------------------------------------------------------


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _arm(test: Outcomes, p_adequate: Floats, arm: int, seed: int) -> EvaluationReport:
    rows = test.judged[:, arm]
    cost = test.cost_nanos[:, arm]
    outcome, probability = test.adequate[rows, arm], p_adequate[rows, arm]
    return {
        "n": int(rows.sum()),
        "mean_quality": _mean(test.quality[rows, arm]),
        "mean_cost_usd": _mean(cost[cost > 0]) / 1e9,
        "adequate_share": _mean(outcome.astype(np.float64)),
        "auc": auc(outcome, probability),
        "ece": ece(outcome, probability),
        "ece_floor": ece_floor(probability, seed=seed),
        "brier": brier(outcome, probability),
    }


# --- Pairs -------------------------------------------------------------------------------------


def _pair(test: Outcomes, pair: tuple[int, int], score: Floats) -> EvaluationReport:
    """The figures of one score; rows are those that both arms answered."""
    rows = test.judged[:, pair[0]] & test.judged[:, pair[1]]
    weak, strong, ranked = test.quality[rows, pair[0]], test.quality[rows, pair[1]], score[rows]
    return {
        "n": int(rows.sum()),
        "apgr": apgr(weak, strong, ranked),
        "cpt50": cpt(weak, strong, ranked, 0.5),
        "cpt80": cpt(weak, strong, ranked, 0.8),
        "within_category_apgr": within_category_apgr(weak, strong, ranked, test.categories[rows]),
    }


def _pairs(
    test: Outcomes, scores: Mapping[str, Floats], seed: int
) -> tuple[dict[str, EvaluationReport], dict[str, dict[str, EvaluationReport]]]:
    """Figures of the router (the name ``""``) and of each baseline on every pair.

    A bootstrap over the prompts of a pair draws the same resamples for all of them, so the
    difference to a baseline has an interval of its own.
    """
    ours: dict[str, EvaluationReport] = {}
    baselines: dict[str, dict[str, EvaluationReport]] = {name: {} for name in scores if name}
    for column, pair in enumerate(arm_pairs(len(test.arms))):
        name = pair_name(test.arms, pair)
        rows = test.judged[:, pair[0]] & test.judged[:, pair[1]]
        weak, strong = test.quality[rows, pair[0]], test.quality[rows, pair[1]]
        statistics: dict[str, Statistic] = {}
        if rows.sum() >= MIN_PROMPTS:
            statistics = {
                who: apgr_statistic(weak, strong, score[rows, column])
                for who, score in scores.items()
            }
        drawn = bootstrap(int(rows.sum()), statistics, seed=seed)
        nothing = np.full(1, np.nan)
        for who, score in scores.items():
            figures = _pair(test, pair, score[:, column])
            figures["apgr_interval"] = interval(drawn.get(who, nothing))
            (baselines[who] if who else ours)[name] = figures
        ours[name]["gain_over"] = {
            who: {
                "difference": ours[name]["apgr"] - baselines[who][name]["apgr"],
                "interval": interval(drawn.get("", nothing) - drawn.get(who, nothing)),
            }
            for who in baselines
        }
    return ours, baselines


# --- Money -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PricedPrompts:
    """The prompts that every arm answered at a known cost, on which routing by cost is judged.

    Attributes:
        rows: bool ``(n,)``, which prompts of the table they are.
        quality: float64 ``(m, k)``.
        cost_nanos: int64 ``(m, k)``, all > 0.
        decision_cost: float64 ``(1, k)``, USD, the mean cost of each arm: what a router can know before
            the call. The real cost would leak the length of the answer.
    """

    rows: npt.NDArray[np.bool_]
    quality: Floats
    cost_nanos: npt.NDArray[np.int64]
    decision_cost: Floats

    def __len__(self) -> int:
        return len(self.quality)

    def singles(self) -> Sweep:
        """Each arm for every prompt."""
        return single_arms(self.quality, self.cost_nanos)

    def routed(self, predictions: Predictions) -> Sweep:
        """A router with these predictions for the prompts of the table, at every willingness to pay."""
        predicted = predictions.take(self.rows)
        again = (
            None
            if predicted.second is None
            else partial(predicted.at_worth, prices=self.decision_cost[0])
        )
        return sweep(predicted.first, self.decision_cost, self.quality, self.cost_nanos, again)

    def oracle(self) -> Sweep:
        """A router that knows quality and cost beforehand."""
        return sweep(self.quality, self.cost_nanos / 1e9, self.quality, self.cost_nanos)


def priced_prompts(test: Outcomes) -> PricedPrompts | None:
    """The priced rows of a table, or ``None`` where there are too few to compare arms."""
    rows = test.complete & (test.cost_nanos > 0).all(axis=1)
    if rows.sum() < MIN_PROMPTS:
        return None
    cost = test.cost_nanos[rows]
    return PricedPrompts(rows, test.quality[rows], cost, cost.mean(axis=0, keepdims=True) / 1e9)


def _money(
    priced: PricedPrompts,
    arms: Sequence[str],
    predictions: Predictions,
    baselines: BaselineScores | None,
    seed: int,
) -> EvaluationReport:
    rivals = baselines.adequate if baselines else {}
    sweeps = {"": priced.routed(predictions), "zero": priced.singles()}
    sweeps |= {name: priced.routed(Predictions(scores)) for name, scores in rivals.items()}
    drawn = bootstrap(
        len(priced),
        {name: router_sweep.statistic for name, router_sweep in sweeps.items()},
        seed=seed,
    )
    plain_points = {name: router_sweep.points() for name, router_sweep in sweeps.items()}
    drawn_points = {name: Points.of(values) for name, values in drawn.items()}

    def both(figure: Callable[[Points, Points], Floats], name: str = "") -> tuple[float, Floats]:
        """A figure of one sweep against the single arms: on the prompts, and on the resamples."""
        value = figure(plain_points[name], plain_points["zero"])
        return float(value[0]), figure(drawn_points[name], drawn_points["zero"])

    value, values = both(aiq_over_singles)
    zero, zeros = both(aiq_over_singles, "zero")
    costs = {share: both(partial(cost_at_quality, share=float(share))) for share in QUALITY_SHARES}
    gains = {name: both(partial(quality_at_cost, arm=arm)) for arm, name in enumerate(arms)}
    return {
        "aiq": value,
        "aiq_zero": zero,
        "aiq_oracle": float(aiq_over_singles(priced.oracle().points(), plain_points["zero"])[0]),
        "aiq_interval": interval(values),
        "aiq_over_zero_interval": interval(values - zeros),
        "aiq_baselines": {
            name: float(aiq_over_singles(plain_points[name], plain_points["zero"])[0])
            for name in rivals
        },
        "cost_at_quality": {share: cost for share, (cost, _) in costs.items()},
        "cost_at_quality_interval": {share: interval(draws) for share, (_, draws) in costs.items()},
        "quality_gain_at_cost": {
            name: {"gain": gain, "interval": interval(draws)}
            for name, (gain, draws) in gains.items()
        },
        "priced_prompts": len(priced),
    }


def _no_money() -> EvaluationReport:
    nothing: dict[str, None] = dict.fromkeys(QUALITY_SHARES)
    return {
        "aiq": None,
        "aiq_zero": None,
        "aiq_oracle": None,
        "aiq_interval": None,
        "aiq_over_zero_interval": None,
        "aiq_baselines": {},
        "cost_at_quality": nothing,
        "cost_at_quality_interval": dict(nothing),
        "quality_gain_at_cost": {},
        "priced_prompts": 0,
    }


def _oracle(test: Outcomes) -> EvaluationReport:
    """The upper bound for any router: the cheapest adequate arm for each prompt."""
    rows = test.complete
    adequate = test.adequate[rows]
    choice = np.where(adequate.any(axis=1), adequate.argmax(axis=1), 0)
    index = np.arange(len(choice))
    cost = test.cost_nanos[rows][index, choice]
    has_costs = len(cost) > 0 and bool((test.cost_nanos[rows] > 0).any(axis=0).all())
    return {
        "n": len(choice),
        "mean_quality": _mean(test.quality[rows][index, choice]),
        "mean_cost_usd": _mean(cost) / 1e9 if has_costs else None,
    }


# --- Output length -----------------------------------------------------------------------------


def _length(test: Outcomes, lengths: Floats | None, train: Outcomes | None) -> EvaluationReport:
    """Coverage and pinball ratio of the length quantiles, mean over the arms that have lengths.

    The reference of an arm is its global quantile, of the training rows where they are given.
    """
    report: EvaluationReport = {"arms": {}}
    for arm, name in enumerate(test.arms):
        if lengths is None:
            break
        rows = ~np.isnan(test.output_tokens[:, arm]) & ~np.isnan(lengths[:, arm]).any(axis=1)
        past = (train or test).output_tokens[:, arm]
        past = past[~np.isnan(past)]
        if not rows.any() or not len(past):
            continue
        actual = test.output_tokens[rows, arm]
        figures = {}
        for position, (key, level) in enumerate((("p50", 0.5), ("p90", 0.9))):
            predicted = lengths[rows, arm, position]
            reference = pinball(actual, float(np.quantile(past, level)), level)
            figures[f"coverage_{key}"] = coverage(actual, predicted)
            figures[f"pinball_ratio_{key}"] = (
                pinball(actual, predicted, level) / reference if reference > 0 else float("nan")
            )
        report["arms"][name] = figures
    for key in ("coverage_p50", "coverage_p90", "pinball_ratio_p50", "pinball_ratio_p90"):
        values = [figures[key] for figures in report["arms"].values()]
        report[key] = float(np.mean(values)) if values else None
    return report


# --- Slices ------------------------------------------------------------------------------------


def _slices(
    test: Outcomes,
    keys: npt.NDArray[np.object_],
    widest: Floats,
    more: Callable[[npt.NDArray[np.bool_]], EvaluationReport],
    *,
    least: int = MIN_CATEGORY,
) -> dict[str, EvaluationReport]:
    """Prompts, APGR of the widest pair and mean quality per arm, for each key.

    ``more`` adds figures; below ``least`` prompts that both arms answered the APGR is ``None``.
    """
    slices = {}
    for key in sorted(set(keys)):
        rows = keys == key
        both = rows & test.judged[:, 0] & test.judged[:, -1]
        enough = both.sum() >= least
        slices[str(key) or "unknown"] = {
            "n": int(rows.sum()),
            "apgr": apgr(test.quality[both, 0], test.quality[both, -1], widest[both])
            if enough
            else None,
            "mean_quality": {
                name: _mean(test.quality[rows & test.judged[:, arm], arm])
                for arm, name in enumerate(test.arms)
            },
            **more(rows),
        }
    return slices


def _of_language(
    test: Outcomes, p_adequate: Floats, lengths: Floats | None, seed: int
) -> Callable[[npt.NDArray[np.bool_]], EvaluationReport]:
    """Further figures of a language: calibration per arm and coverage of the length quantiles."""

    def figures(rows: npt.NDArray[np.bool_]) -> EvaluationReport:
        few = bool(rows.sum() < MIN_SLICE)
        errors, floors = {}, {}
        for arm, name in enumerate(test.arms):
            chosen = rows & test.judged[:, arm]
            enough = chosen.sum() >= MIN_SLICE
            probability = p_adequate[chosen, arm]
            errors[name] = ece(test.adequate[chosen, arm], probability) if enough else None
            floors[name] = ece_floor(probability, seed=seed) if enough else None
        known_lengths = None if few or lengths is None else lengths[rows]
        length = _length(test.rows(rows), known_lengths, None)
        return {
            "few": few,
            "ece": errors,
            "ece_floor": floors,
            "length": {key: length[key] for key in ("coverage_p50", "coverage_p90")},
        }

    return figures


def _of_category(
    test: Outcomes, lengths: Floats | None
) -> Callable[[npt.NDArray[np.bool_]], EvaluationReport]:
    """Further figures of a category: quoted lengths against real ones, over all arms."""

    def figures(rows: npt.NDArray[np.bool_]) -> EvaluationReport:
        real = test.output_tokens[rows].ravel()
        quoted = (
            np.full((len(real), 3), np.nan) if lengths is None else lengths[rows].reshape(-1, 3)
        )
        known = ~np.isnan(real) & ~np.isnan(quoted).any(axis=1)
        if not known.any():
            return {"length": None}
        return {
            "length": {
                "real_p50": float(np.median(real[known])),
                "quoted_p50": float(np.median(quoted[known, 0])),
                "real_p90": float(np.quantile(real[known], 0.9)),
                "quoted_p90": float(np.median(quoted[known, 1])),
                "coverage_p90": coverage(real[known], quoted[known, 1]),
            }
        }

    return figures


# --- The whole ---------------------------------------------------------------------------------


def _notes(
    test: Outcomes, priced: PricedPrompts | None, baselines: BaselineScores | None
) -> list[str]:
    notes = []
    if not test.complete.any():
        notes.append(
            "no prompt was answered by every arm: AIQ, cost at quality and oracle are null"
        )
    elif priced is None:
        notes.append("no prompt has a known cost for every arm: AIQ and cost at quality are null")
    else:
        notes.append(
            f"AIQ and cost at quality: {len(priced)} of {len(test)} prompts have every arm's quality "
            "and cost; cost range from the cheapest to the most expensive single arm; the router "
            "decides by each arm's mean cost"
        )
    if baselines is None:
        notes.append("too few prompts to fit the baselines")
    return [*notes, *_dominated(test)]


def _dominated(test: Outcomes) -> Iterator[str]:
    """A warning for every arm that costs more than another and is adequate less often."""
    with_cost = test.judged & (test.cost_nanos > 0)
    for arm, other in itertools.permutations(range(len(test.arms)), 2):
        rows = with_cost[:, arm] & with_cost[:, other]
        if not rows.any():
            continue
        cost, better = test.cost_nanos[rows].mean(axis=0) / 1e6, test.adequate[rows].mean(axis=0)
        if cost[arm] > cost[other] and better[arm] < better[other]:
            yield (
                f"arm {test.arms[arm]} costs more than {test.arms[other]} and is adequate less often: "
                f"{cost[arm]:.3g} against {cost[other]:.3g} USD per 1,000 prompts, {better[arm]:.1%} against "
                f"{better[other]:.1%}, on {rows.sum():,} prompts that both answered; give it another model "
                "with --arms, or leave it out"
            )


def evaluate(
    test: Outcomes,
    predictions: Predictions,
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    *,
    train: tuple[Outcomes, npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
    lengths: Floats | None,
    seed: int,
    baselines: BaselineScores | None = None,
) -> EvaluationReport:
    """The whole report, as JSON types.

    Args:
        test: ``n`` prompts that the router did not see in training, ``k`` arms.
        predictions: of the router. Figures of single arms are those under the standard goal.
        embeddings: float32 ``(n, d)``, for the baselines.
        features: float32 ``(n, f)``, lexical, for the baselines.
        train: the table, embeddings and features that the baselines are fitted on. ``None``
            cross-fits them on the test rows, which favours them because they then know this data.
        lengths: float64 ``(n, k, 3)``, predicted output-token quantiles .5, .9 and .99; NaN for an
            arm without lengths. ``None`` where the router predicts none.
        seed: of resamples, draws and folds.
        baselines: of :func:`baselines.baseline_scores` for the same ``train`` and ``test``, where the
            caller has computed them already.

    Returns:
        The keys of the fixed interface (``n_prompts``, ``arms``, ``pairs``, ``aiq`` …); costs in USD,
        ``cost_at_quality`` as a share of always using the strongest arm.
    """
    if baselines is None:
        train_prompts = None if train is None else EncodedOutcomes(*train)
        baselines = baseline_scores(
            train_prompts, EncodedOutcomes(test, embeddings, features), seed=seed
        )
    p_adequate, pair_scores = predictions.standard, predictions.pairs()
    scores = {"": pair_scores} | (baselines.pairs if baselines else {})
    pairs, rivals = _pairs(test, scores, seed)
    priced = priced_prompts(test)
    arms = {name: _arm(test, p_adequate, arm, seed) for arm, name in enumerate(test.arms)}
    widest = pair_scores[:, arm_pairs(len(test.arms)).index((0, len(test.arms) - 1))]
    language_figures = _of_language(test, p_adequate, lengths, seed)
    return json_ready(  # type: ignore[no-any-return]
        {
            "n_prompts": len(test),
            "seed": seed,
            "arms": arms,
            "pairs": pairs,
            **(_money(priced, test.arms, predictions, baselines, seed) if priced else _no_money()),
            "baselines": rivals
            | {
                "single": {
                    name: {key: figures[key] for key in ("mean_quality", "mean_cost_usd")}
                    for name, figures in arms.items()
                },
                "oracle": _oracle(test),
            },
            "baselines_fitted_on": "test rows, cross-fitted" if train is None else "training rows",
            "length": _length(test, lengths, train[0] if train else None),
            "by_language": _slices(test, test.languages, widest, language_figures, least=MIN_SLICE),
            "by_category": _slices(test, test.categories, widest, _of_category(test, lengths)),
            "notes": _notes(test, priced, baselines),
        }
    )
