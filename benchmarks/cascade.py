"""The share of the slower encoder's gain that remains if it scores at most a third of the prompts.

Five grouped folds on the real histories, both stages fitted as ``fit`` does it. For a pair of arms,
each threshold selects its own prompts for the second stage, as the service does for every goal. The baseline
selects the same share of prompts at random.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.quality import (
    GPT4,
    HISTORIES,
    MIXTRAL,
    PRO,
    SEED,
    Data,
    grouped,
    judged_elsewhere,
    read,
    some,
    source,
)
from benchmarks.report import Figure
from training.evaluation.baselines import arm_pairs, pair_differences
from training.evaluation.evaluation_report import pair_name
from training.evaluation.metrics import apgr_statistic, bootstrap, interval, unit_counts
from training.evaluation.predictions import Predictions, SecondStagePredictions
from training.export.stages import SHARE, STAGES
from training.histories.split import sample
from training.pipeline.training_run import REFERENCE_PROMPTS

Floats = npt.NDArray[np.float64]


def _histories(encoder: str) -> Iterator[tuple[str, Data]]:
    routellm = read("routellm", {"mixtral": MIXTRAL, "gpt-4": GPT4}, encoder)
    for name in ("mmlu", "gsm8k"):
        yield name, some(routellm, lambda known, name=name: source(known) == name)
    yield "mmlu_pro", read("mmlu_pro", PRO, encoder)


def _scores(first: Floats, second: Floats) -> dict[str, Floats]:
    """A score of every pair by each way of asking, float64 ``(n, pairs)``."""
    reference = first[sample(len(first), REFERENCE_PROMPTS, SEED)]
    both = Predictions(
        first, SecondStagePredictions(second, reference, SHARE, np.zeros(len(first), dtype=bool))
    )
    lucky = np.random.default_rng(SEED).random(len(first)) < SHARE
    return {
        "first": pair_differences(first),
        "second": pair_differences(second),
        "asked": both.pairs(),
        "random": pair_differences(np.where(lucky[:, None], second, first)),
    }


def _pairs(data: Data, scores: dict[str, Floats]) -> Iterator[tuple[str, int, dict[str, Floats]]]:
    """Each pair with its prompts, and APGR by each way of asking: on them, then on resamples."""
    outcomes = data.rows.outcomes
    for column, (weak, strong) in enumerate(arm_pairs(len(outcomes.arms))):
        rows = outcomes.judged[:, weak] & outcomes.judged[:, strong]
        count = int(rows.sum())
        quality = outcomes.quality[rows]
        statistics = {
            name: apgr_statistic(quality[:, weak], quality[:, strong], score[rows, column])
            for name, score in scores.items()
        }
        drawn = bootstrap(count, statistics, seed=SEED)
        found = {
            name: np.r_[statistic(unit_counts(count)), drawn[name]]
            for name, statistic in statistics.items()
        }
        yield pair_name(outcomes.arms, (weak, strong)), count, found


def measure() -> Iterator[Figure]:
    """APGR of every pair by either stage and by both. Skipped without the histories."""
    if not (HISTORIES / "mmlu_pro.parquet").is_file():
        Console(stderr=True).print(f"no {HISTORIES}: set HISTORIES=folder")
        return
    gains: dict[str, list[Floats]] = {"second": [], "asked": [], "random": []}
    weights = []
    stages = (_histories(encoder) for encoder in STAGES)
    for (name, quick), (_, slow) in zip(*stages, strict=True):
        fold = grouped(quick)
        scores = _scores(judged_elsewhere(quick, fold), judged_elsewhere(slow, fold))
        for pair, count, found in _pairs(quick, scores):
            weights.append(count)
            for way, values in gains.items():
                values.append(found[way] - found["first"])
            title = f"{name}, {pair}: APGR"
            yield Figure(f"{title}, {STAGES[0]} alone", float(found["first"][0]), "")
            yield Figure(f"{title}, {STAGES[1]} everywhere", float(found["second"][0]), "")
            yield Figure(
                f"{title}, {STAGES[1]} asked about {SHARE:.0%}", float(found["asked"][0]), ""
            )
            yield Figure("· baseline: asked at random", float(found["random"][0]), "")
    # The gain of a single pair is about as large as its noise, so the share is reported over all pairs.
    total = {way: np.average(values, axis=0, weights=weights) for way, values in gains.items()}
    kept = total["asked"] / total["second"]
    low, high = interval(kept[1:])
    yield Figure(
        f"share of the gain kept, all pairs [{low:.2f}, {high:.2f}]", float(kept[0]), "", 0.98, ">="
    )
    yield Figure("· baseline: asked at random", float(total["random"][0] / total["second"][0]), "")
