"""How well the estimator judges, by five grouped folds on the real histories, plain baselines beside it.

Each fold is fitted as ``fit`` does it, hyperparameters and stack by cross-validation on its training rows
only, and judged on prompts that it has not seen. ``ENCODERS=static`` chooses the encoders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy import sparse

from benchmarks.report import Figure
from router.classifier.encoder import Encoder, find_encoder, load_encoder
from router.paths import ENCODERS
from training.encoders.embedding import encode_prompts
from training.evaluation.baselines import (
    EncodedOutcomes,
    arm_pairs,
    baseline_scores,
    pair_differences,
)
from training.evaluation.calibration_metrics import ece, ece_floor
from training.evaluation.metrics import apgr, apgr_statistic, bootstrap, coverage, interval, pinball
from training.fitting.estimator import fit_pooled
from training.fitting.held_out_categories import category_folds
from training.fitting.lengths import fit_lengths
from training.fitting.ngrams import ngram_counts
from training.histories.history import read_history
from training.histories.ladders import standard_of
from training.histories.outcome_table import ReadOptions, read_table
from training.histories.outcomes import Outcomes
from training.histories.split import folds
from training.scale.arm_placement import place_arms, prior_beside
from training.scale.examples import Examples, attempted_examples, calibration_weights

HISTORIES = Path(os.environ.get("HISTORIES", "../shared/data/history"))
NAMES = os.environ.get("ENCODERS", "static,multilingual,minilm").split(",")
SEED = 1
FOLDS = 5
DRAWS = 3
"""Number of random draws of the arm that answered, for figures with one attempt per prompt."""

Floats = npt.NDArray[np.float64]
MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
PRO = {
    "8B": "Meta-Llama-3_1-8B-Instruct",
    "flash": "gemini-1.5-flash-002",
    "pro": "gemini-1.5-pro-002",
}
ALPACA = ("gpt-3.5-turbo-1106", "claude-2.1", "gpt4_1106_preview", "FuseChat-Llama-3.1-8B-Instruct")


@dataclass(frozen=True)
class Prior:
    """Annotated requests as the fit reads them: inputs ``(m, p)``, counts ``(m, BUCKETS)``."""

    x: npt.NDArray[np.float32]
    counts: sparse.csr_matrix
    examples: Examples


@dataclass(frozen=True)
class Data:
    """Prompts of one history with all that a fit reads of them.

    Attributes:
        rows: the prompts, their outcomes and inputs.
        counts: ``(n, BUCKETS)``, of their n-grams.
        prior: the annotated requests that the fit gets beside them; ``None``: nothing links the arms.
    """

    rows: EncodedOutcomes
    counts: sparse.csr_matrix
    prior: Prior | None = None

    @property
    def x(self) -> npt.NDArray[np.float32]:
        return np.hstack([self.rows.embeddings, self.rows.features])

    def take(self, chosen: npt.NDArray[np.bool_]) -> Data:
        return replace(
            self, rows=self.rows.take(np.flatnonzero(chosen)), counts=self.counts[chosen]
        )


def read(name: str, arms: Mapping[str, str], encoder_name: str) -> Data:
    """A history with its vectors, from the cache if they are there.

    Args:
        name: of the history, without ``.parquet``.
        arms: arm → model.
        encoder_name: of the encoder.
    """
    path = HISTORIES / f"{name}.parquet"
    outcomes = read_table([path], ReadOptions(arms=dict(arms), need_prices=False)).outcomes
    encoder = load_encoder(find_encoder(ENCODERS, encoder_name))
    texts = outcomes.texts.tolist()
    prompts = encode_prompts(encoder, texts, console=Console(stderr=True))
    rows = EncodedOutcomes(outcomes, prompts.vectors, prompts.features)
    history = read_history(path)
    placed = place_arms([history], [standard_of(history)], arms, {})
    prior = None if placed is None else _prior(placed.annotated, encoder)
    return Data(rows, ngram_counts(prompts.word_ids), prior)


def _prior(annotated: Examples, encoder: Encoder) -> Prior:
    prompts = encode_prompts(encoder, annotated.texts.tolist(), console=Console(stderr=True))
    x = np.hstack([prompts.vectors, prompts.features])
    return Prior(x, ngram_counts(prompts.word_ids), annotated)


def judged_elsewhere(
    data: Data, fold: npt.NDArray[np.intp], judged: npt.NDArray[np.bool_] | None = None
) -> Floats:
    """P(adequate) of each prompt by fits on the other folds, float64 ``(n, k)``.

    Args:
        data: ``n`` prompts, ``k`` arms.
        fold: the fold of each prompt, from 0.
        judged: bool ``(n, k)``, which outcomes the fits use; ``None``: all.
    """
    known = data.rows.outcomes
    judged = known.judged if judged is None else judged
    found = np.empty(known.quality.shape)
    for number in range(int(fold.max()) + 1):
        rows, out = fold != number, fold == number
        own = attempted_examples(known.rows(rows))
        own = replace(own, weight=own.weight * judged[rows])
        x, counts = data.x[rows], data.counts[rows]
        if data.prior is not None:
            prior, _ = prior_beside(own, data.prior.examples)
            new = ~np.isin(prior.groups, own.groups)
            own = own.and_those_of([prior])
            x = np.vstack([x, data.prior.x[new]])
            counts = sparse.vstack([counts, data.prior.counts[new]], format="csr")
        model = fit_pooled(
            x,
            own.outcome,
            own.weight > 0,
            own.groups.tolist(),
            seed=number,
            counts=counts,
            weights=own.weight,
            stack_weights=calibration_weights(own),
            dimensions=data.rows.embeddings.shape[1],
        )
        found[out] = model.p_adequate(data.x[out], data.counts[out])
    return found


def baselines_elsewhere(data: Data, fold: npt.NDArray[np.intp]) -> dict[str, Floats]:
    """What each baseline says of every pair, by fits on other folds."""
    found: dict[str, Floats] = {}
    for number in range(int(fold.max()) + 1):
        rows, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        scores = baseline_scores(data.rows.take(rows), data.rows.take(out), seed=number)
        for name, values in scores.pairs.items() if scores else ():
            found.setdefault(name, np.empty((len(fold), values.shape[1])))[out] = values
    return found


def ranking(outcomes: Outcomes, pair: tuple[int, int], score: Floats) -> tuple[float, list[Any]]:
    """APGR of a score for a pair of arms, and its 95 % interval.

    Args:
        outcomes: ``n`` prompts.
        pair: places of the weak and the strong arm.
        score: float64 ``(n,)``; higher for prompts that need the strong arm.
    """
    rows = outcomes.judged[:, pair[0]] & outcomes.judged[:, pair[1]]
    given = outcomes.quality[rows, pair[0]], outcomes.quality[rows, pair[1]], score[rows]
    drawn = bootstrap(int(rows.sum()), {"": apgr_statistic(*given)}, seed=SEED)
    return float(apgr(*given)), interval(drawn[""])


def rankings(
    title: str,
    data: Data,
    fold: npt.NDArray[np.intp],
    targets: Mapping[tuple[int, int], float],
    mine: Floats,
) -> Iterator[Figure]:
    """APGR of our estimator and of the baselines for the pairs that have a target.

    Args:
        title: begins the name of each figure.
        data: ``n`` prompts, ``k`` arms.
        fold: the fold of each prompt, from 0.
        targets: pair of arms → least APGR.
        mine: P(adequate) by our estimator, float64 ``(n, k)``.
    """
    rivals = baselines_elsewhere(data, fold)
    outcomes = data.rows.outcomes
    for pair, target in targets.items():
        column = arm_pairs(len(outcomes.arms)).index(pair)
        value, (low, high) = ranking(outcomes, pair, pair_differences(mine)[:, column])
        name = f"{title}, {outcomes.arms[pair[0]]} → {outcomes.arms[pair[1]]}"
        yield Figure(f"{name}: APGR [{low:.3f}, {high:.3f}]", value, "", target, ">=")
        for rival in ("independent", "multinomial", "knn", "length"):
            other, _ = ranking(outcomes, pair, rivals[rival][:, column])
            yield Figure(f"· baseline {rival}", other, "")


def calibration(title: str, outcomes: Outcomes, p_adequate: Floats) -> Figure:
    """The worst excess of the calibration error over its noise floor among the arms.

    Args:
        title: begins the name of the figure.
        outcomes: ``n`` prompts, ``k`` arms.
        p_adequate: float64 ``(n, k)``, 0..1.
    """
    excess = []
    for arm, judged in enumerate(outcomes.judged.T):
        p = p_adequate[judged, arm]
        excess.append(ece(outcomes.adequate[judged, arm], p) - ece_floor(p, seed=SEED))
    return Figure(f"{title}: excess ECE, worst arm", max(excess), "", 0.005, "<=")


def lengths(title: str, data: Data, fold: npt.NDArray[np.intp], target: float) -> Iterator[Figure]:
    """Coverage and pinball ratios of the length quantiles, mean over arms.

    Args:
        title: begins the name of each figure.
        data: ``n`` prompts.
        fold: the fold of each prompt, from 0.
        target: largest pinball ratio.
    """
    tokens = data.rows.outcomes.output_tokens
    found, plain = np.empty((*tokens.shape, 3)), np.empty((*tokens.shape, 2))
    for number in range(FOLDS):
        rows, out = fold != number, fold == number
        train = data.take(rows)
        fit = fit_lengths(
            data.x[rows],
            train.rows.outcomes,
            seed=number,
            dimensions=data.rows.embeddings.shape[1],
            counts=train.counts,
        )
        found[out] = fit.of(data.x[out], data.counts[out])
        plain[out] = np.nanquantile(tokens[rows], (0.5, 0.9), axis=0).T
    figures: dict[str, list[float]] = {"cover": [], "p50": [], "p90": []}
    for arm in range(tokens.shape[1]):
        there = ~np.isnan(tokens[:, arm])
        actual = tokens[there, arm]
        figures["cover"].append(coverage(actual, found[there, arm, 1]))
        for place, (name, level) in enumerate((("p50", 0.5), ("p90", 0.9))):
            ours = pinball(actual, found[there, arm, place], level)
            figures[name].append(ours / pinball(actual, plain[there, arm, place], level))
    mean = {name: float(np.mean(values)) for name, values in figures.items()}
    yield Figure(f"{title}: p90 of the length, coverage (at least)", mean["cover"], "", 0.88, ">=")
    yield Figure(f"{title}: p90 of the length, coverage (at most)", mean["cover"], "", 0.92, "<=")
    for name in ("p50", "p90"):
        yield Figure(f"{title}: pinball ratio, {name}", mean[name], "", target, "<=")


def some(data: Data, chosen: Callable[[Outcomes], npt.NDArray[np.bool_]]) -> Data:
    return data.take(chosen(data.rows.outcomes))


def one_attempt(
    title: str, data: Data, fold: npt.NDArray[np.intp], full: Floats
) -> Iterator[Figure]:
    """Share of the gain (APGR − .5) that is left when each prompt was answered by one random arm.

    Which arm answered is drawn several times, because the figure varies by a tenth between draws.

    Args:
        title: begins the name of each figure.
        data: ``n`` prompts, ``k`` arms.
        fold: the fold of each prompt, from 0.
        full: P(adequate) by fits on all attempts, float64 ``(n, k)``.
    """
    outcomes = data.rows.outcomes
    shares = []
    for seed in range(DRAWS):
        # One of the arms that answered, each as likely.
        draw = np.random.default_rng(SEED + seed).random(outcomes.judged.shape) * outcomes.judged
        kept = outcomes.judged & (draw == draw.max(axis=1, keepdims=True))
        mine = judged_elsewhere(data, fold, kept)
        left = []
        for column, pair in enumerate(arm_pairs(len(outcomes.arms))):
            few, _ = ranking(outcomes, pair, pair_differences(mine)[:, column])
            all_of_them, _ = ranking(outcomes, pair, pair_differences(full)[:, column])
            left.append((few - 0.5) / (all_of_them - 0.5))
        shares.append(float(np.mean(left)))
        yield Figure(
            f"· {title}, one attempt per prompt: share of the gain, draw {seed + 1}", shares[-1], ""
        )
    name = (
        f"{title}, one attempt per prompt: share of the gain, mean of three pairs and {DRAWS} draws"
    )
    yield Figure(name, float(np.mean(shares)), "", 0.85, ">=")


def grouped(data: Data) -> npt.NDArray[np.intp]:
    return folds(data.rows.outcomes.groups.tolist(), count=FOLDS, seed=SEED)


def _routellm(encoder: str, ease: float) -> Iterator[Figure]:
    both = read("routellm", {"mixtral": MIXTRAL, "gpt-4": GPT4}, encoder)
    for name, wanted, target in (("MMLU", "mmlu", 0.69), ("GSM8K", "gsm8k", 0.65)):
        data = some(both, lambda known, wanted=wanted: source(known) == wanted)
        fold = grouped(data)
        mine = judged_elsewhere(data, fold)
        title = f"{encoder}: RouteLLM {name}"
        yield from rankings(title, data, fold, {(0, 1): target - ease}, mine)
        yield calibration(title, data.rows.outcomes, mine)
        if wanted == "mmlu":
            by_category = category_folds(data.rows.outcomes.categories, SEED)
            assert by_category is not None
            strange = judged_elsewhere(data, by_category)
            title = f"{title}, held-out categories"
            yield from rankings(title, data, by_category, {(0, 1): 0.615 - ease}, strange)


def source(outcomes: Outcomes) -> npt.NDArray[np.object_]:
    """Where prompts of RouteLLM are from: MT-Bench and GSM8K have one category each, MMLU all others."""
    named = outcomes.categories.astype(str)
    return np.where(np.isin(named, ("gsm8k", "mt_bench")), named, "mmlu").astype(object)


def _mmlu_pro(encoder: str, ease: float) -> Iterator[Figure]:
    data = read("mmlu_pro", PRO, encoder)
    fold = grouped(data)
    mine = judged_elsewhere(data, fold)
    title = f"{encoder}: MMLU-Pro"
    targets = {(1, 2): 0.83 - ease, (0, 2): 0.595 - ease}
    yield from rankings(title, data, fold, targets, mine)
    yield calibration(title, data.rows.outcomes, mine)
    yield from one_attempt(title, data, fold, mine)
    yield from lengths(title, data, fold, 0.85)


def _alpaca(encoder: str) -> Iterator[Figure]:
    data = read("alpaca_eval", {name: name for name in ALPACA}, encoder)
    yield from lengths(f"{encoder}: AlpacaEval", data, grouped(data), 0.75)


def measure() -> Iterator[Figure]:
    """Every figure for every encoder. Skipped without the histories."""
    console = Console(stderr=True)
    if not (HISTORIES / "mmlu_pro.parquet").is_file():
        console.print(f"no {HISTORIES}: quality is not measured; set HISTORIES=folder")
        return
    parts: Sequence[Callable[[str, float], Iterator[Figure]]] = (_routellm, _mmlu_pro)
    for encoder in NAMES:
        # The static encoder is some hundred times faster and may rank a little less well.
        ease = 0.02 if encoder == "static" else 0.0
        for part in parts:
            yield from part(encoder, ease)
        yield from _alpaca(encoder)
