"""The evaluation report of a router: quality, calibration, cost, lengths, and the same of every baseline.

The keys are a fixed interface that programs read. A figure that the rows do not allow is ``None``, and
``notes`` gives the reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
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
from training.evaluation.metrics import (
    MIN_PROMPTS,
    Figures,
    Statistic,
    apgr,
    apgr_statistic,
    bootstrap,
    cpt,
    interval,
    mean,
    within_category_apgr,
)
from training.evaluation.money_figures import (
    PricedPrompts,
    money_figures,
    oracle_figures,
    priced_prompts,
)
from training.evaluation.predictions import Predictions
from training.evaluation.slice_figures import category_figures, language_figures, length_figures
from training.histories.outcomes import Outcomes

__all__ = ["evaluate", "json_ready", "pair_name"]

Floats = npt.NDArray[np.float64]


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


def _arm(test: Outcomes, p_adequate: Floats, arm: int, seed: int) -> Figures:
    rows = test.judged[:, arm]
    cost = test.cost_nanos[:, arm]
    outcome, probability = test.adequate[rows, arm], p_adequate[rows, arm]
    return {
        "n": int(rows.sum()),
        "mean_quality": mean(test.quality[rows, arm]),
        "mean_cost_usd": mean(cost[cost > 0]) / 1e9,
        "adequate_share": mean(outcome.astype(np.float64)),
        "auc": auc(outcome, probability),
        "ece": ece(outcome, probability),
        "ece_floor": ece_floor(probability, seed=seed),
        "brier": brier(outcome, probability),
    }


# --- Pairs -------------------------------------------------------------------------------------


def _pair(test: Outcomes, pair: tuple[int, int], score: Floats) -> Figures:
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
) -> tuple[dict[str, Figures], dict[str, dict[str, Figures]]]:
    """Figures of the router (the name ``""``) and of each baseline on every pair.

    A bootstrap over the prompts of a pair draws the same resamples for all of them, so the
    difference to a baseline has an interval of its own.
    """
    ours: dict[str, Figures] = {}
    baselines: dict[str, dict[str, Figures]] = {name: {} for name in scores if name}
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
) -> Figures:
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
    return json_ready(  # type: ignore[no-any-return]
        {
            "n_prompts": len(test),
            "seed": seed,
            "arms": arms,
            "pairs": pairs,
            **money_figures(priced, test.arms, predictions, baselines, seed),
            "baselines": rivals
            | {
                "single": {
                    name: {key: figures[key] for key in ("mean_quality", "mean_cost_usd")}
                    for name, figures in arms.items()
                },
                "oracle": oracle_figures(test),
            },
            "baselines_fitted_on": "test rows, cross-fitted" if train is None else "training rows",
            "length": length_figures(test, lengths, train[0] if train else None),
            "by_language": language_figures(test, widest, p_adequate, lengths, seed=seed),
            "by_category": category_figures(test, widest, lengths),
            "notes": _notes(test, priced, baselines),
        }
    )
