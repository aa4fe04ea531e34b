"""A new model without training: eight models of MMLU-Pro as newcomers to a bundle of three arms.

Three models are fitted. Each other one gets an arm from 100 random attempts, ten times, and is judged on
prompts that neither the fit nor the arm has seen: half of those held out; the other half gives the attempts.
Beside it: the tier's head as it is, the base rate of the same attempts, the same update by 100 attempts at
prompts of the fit, and what a fit of all eleven models on all their attempts says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy import sparse

from benchmarks.report import Figure
from benchmarks.training import HISTORY
from router.classifier.encoder import find_encoder, load_encoder
from router.paths import ENCODERS
from training.arrivals.arm_posterior import PRIOR_SPREAD, Attempts, fit_posterior, logits
from training.arrivals.length_transfer import fit_length_transfer
from training.encoders.embedding import encode_prompts
from training.evaluation.calibration_metrics import ece, ece_floor
from training.evaluation.metrics import apgr, coverage, pinball
from training.fitting.estimator import fit_pooled
from training.fitting.lengths import fit_lengths
from training.fitting.ngrams import ngram_counts
from training.histories.outcome_table import ReadOptions, read_table
from training.histories.outcomes import Outcomes
from training.histories.split import SEED, folds, held_out

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

LADDER = {
    "low": "Meta-Llama-3_1-8B-Instruct",
    "medium": "gemini-1.5-flash-002",
    "high": "gemini-1.5-pro-002",
}
NEWCOMERS = {
    "Mistral-7B-Instruct-v0.2": "low",
    "Phi-3-mini-4k-instruct": "low",
    "Mixtral-8x7B-Instruct-v0.1": "low",
    "mathstral-7B": "low",
    "Qwen1.5-110B": "medium",
    "Meta-Llama-3-70B": "medium",
    "Meta-Llama-3_1-70B-Instruct": "medium",
    "DeepSeek-Coder-V2": "medium",
}
"""By size, as people would place them; three of them are .1 or more from their tier in mean quality."""
ATTEMPTS = 100
DRAWS = 10
WAYS = {
    "tier": "baseline: the tier's head as it is",
    "rate": f"baseline: the base rate of {ATTEMPTS} attempts",
    "fit": "baseline: a fit of all models on all attempts",
    "arm": f"an arm from {ATTEMPTS} attempts",
    "arm, seen": f"an arm from {ATTEMPTS} attempts at prompts of the fit",
}


@dataclass(frozen=True)
class _FitPredictions:
    """What a fit of ``k`` arms predicts for all prompts: P(adequate) ``(n, k)``, lengths ``(n, k, 3)``."""

    arms: Sequence[str]
    p_adequate: Floats
    lengths: Floats


@dataclass(frozen=True)
class _Scores:
    """How well predictions for a model fit its attempts: nats, excess ECE, APGR against the strongest arm."""

    log_loss: float
    excess_ece: float
    apgr: float


def _with_arms(table: Outcomes, arms: Sequence[str]) -> Outcomes:
    """The table with some of its arms only."""
    columns = [table.arms.index(arm) for arm in arms]
    return Outcomes(
        **{
            **vars(table),
            "arms": tuple(arms),
            "quality": table.quality[:, columns],
            "cost_nanos": table.cost_nanos[:, columns],
            "output_tokens": table.output_tokens[:, columns],
        }
    )


def _fitted(
    table: Outcomes,
    rows: npt.NDArray[np.bool_],
    x: npt.NDArray[np.float32],
    counts: sparse.csr_matrix,
    dimensions: int,
) -> _FitPredictions:
    train = table.rows(rows)
    model = fit_pooled(
        x[rows],
        train.adequate,
        train.judged,
        train.groups.tolist(),
        seed=SEED,
        counts=counts[rows],
        dimensions=dimensions,
    )
    lengths = fit_lengths(x[rows], train, seed=SEED, dimensions=dimensions, counts=counts[rows])
    return _FitPredictions(table.arms, model.p_adequate(x, counts), lengths.of(x, counts))


def _spread(newcomers: Sequence[tuple[Attempts, float]]) -> tuple[float, float]:
    """Standard deviations of shift and slope around those of the tier's head, by empirical Bayes (EM)."""
    spread = PRIOR_SPREAD
    for _ in range(50):
        posteriors = [fit_posterior(attempts, centre, spread) for attempts, centre in newcomers]
        squares = [posterior.mean**2 + np.diag(posterior.covariance) for posterior in posteriors]
        shift, slope = np.sqrt(np.mean(squares, axis=0))
        spread = (float(shift), float(slope))
    return spread


@dataclass(frozen=True)
class _NewModel:
    """One new model, and what the fits predict for all prompts.

    Attributes:
        z: logits of the tier's head, ``(n,)``.
        good: quality, ``(n,)``; NaN without an attempt.
        tokens: ``(n,)``.
        tier_lengths: ``(n, 3)``.
        high: quality of the strongest arm, ``(n,)``.
        p_high: by the fit of three models, ``(n,)``.
        new: which prompts are not of the fit.
        test: which it is judged on.
    """

    z: Floats
    good: Floats
    tokens: Floats
    tier_lengths: Floats
    high: Floats
    p_high: Floats
    new: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]

    @property
    def centre(self) -> float:
        return float(self.z[self.new].mean())

    def attempts(self, rows: Places) -> Attempts:
        return Attempts(self.z[rows], self.good[rows] > 0.5, self.new[rows], np.ones(len(rows)))

    def scores(self, p: Floats, p_high: Floats) -> _Scores:
        good, predicted = self.good[self.test], np.clip(p[self.test], 1e-6, 1 - 1e-6)
        outcome = good > 0.5
        return _Scores(
            float(-np.log(np.where(outcome, predicted, 1 - predicted)).mean()),
            ece(outcome, predicted) - ece_floor(predicted, seed=SEED),
            apgr(good, self.high[self.test], p_high[self.test] - predicted),
        )

    def draw(self, side: npt.NDArray[np.bool_], rng: np.random.Generator) -> Places:
        return rng.permutation(np.flatnonzero(side & ~np.isnan(self.good) & ~self.test))[:ATTEMPTS]

    def arm(self, rows: Places) -> _Scores:
        return self.scores(
            fit_posterior(self.attempts(rows), self.centre).p_adequate(self.z), self.p_high
        )

    def rate(self, rows: Places) -> _Scores:
        rate = (self.good[rows].sum() + 0.5) / (len(rows) + 1)
        return self.scores(np.full(len(self.z), rate), self.p_high)

    def lengths(self, rows: Places) -> list[float]:
        """Coverage of the .9 quantile by tier and arm, pinball loss over the tier's at .5 and .9."""
        tokens, tier = self.tokens[self.test], self.tier_lengths[self.test]
        own = fit_length_transfer(self.tier_lengths[rows], self.tokens[rows]).quantiles(tier)
        ratios = [
            pinball(tokens, own[:, at], level) / pinball(tokens, tier[:, at], level)
            for at, level in enumerate((0.5, 0.9))
        ]
        return [coverage(tokens, tier[:, 1]), coverage(tokens, own[:, 1]), *ratios]


def _newcomers(
    table: Outcomes, base: _FitPredictions, new: npt.NDArray[np.bool_]
) -> Iterator[tuple[str, _NewModel]]:
    judging = new & (folds(table.groups.tolist(), count=2, seed=SEED) == 0)
    at_high = table.arms.index("high")
    for model, tier in NEWCOMERS.items():
        arm, column = base.arms.index(tier), table.arms.index(model)
        yield (
            model,
            _NewModel(
                z=logits(base.p_adequate[:, arm]),
                good=table.quality[:, column],
                tokens=table.output_tokens[:, column],
                tier_lengths=base.lengths[:, arm],
                high=table.quality[:, at_high],
                p_high=base.p_adequate[:, base.arms.index("high")],
                new=new,
                test=judging & table.judged[:, column] & table.judged[:, at_high],
            ),
        )


def measure() -> Iterator[Figure]:
    """Skipped without the history."""
    if not HISTORY.is_file():
        Console(stderr=True).print(f"no {HISTORY}: arrivals are not measured; set HISTORIES=folder")
        return
    models = LADDER | {model: model for model in NEWCOMERS}
    table = read_table([HISTORY], ReadOptions(models, need_prices=False)).outcomes
    encoder = load_encoder(find_encoder(ENCODERS, "static"))
    texts = table.texts.tolist()
    prompts = encode_prompts(encoder, texts)
    x = np.hstack([prompts.vectors, prompts.features])
    counts = ngram_counts(prompts.word_ids)
    new = held_out(table.groups, seed=SEED, share=0.2)
    size = encoder.manifest.dimensions
    started = time.perf_counter()
    base = _fitted(_with_arms(table, list(LADDER)), ~new, x, counts, size)
    seconds = time.perf_counter() - started
    # In ascending order, as a ladder is: by the adequate share in training.
    order = np.argsort(np.nanmean(table.quality[~new], axis=0), kind="stable")
    whole = _fitted(_with_arms(table, [table.arms[at] for at in order]), ~new, x, counts, size)
    yield from _figures(table, new, base, whole)
    yield Figure("baseline: a fit of three models", seconds, "s")


def _figures(
    table: Outcomes, new: npt.NDArray[np.bool_], base: _FitPredictions, whole: _FitPredictions
) -> Iterator[Figure]:
    rng = np.random.default_rng(SEED)
    scores: dict[str, list[_Scores]] = {way: [] for way in WAYS}
    lengths, attempts, durations, gains = [], [], [], []
    for model, newcomer in _newcomers(table, base, new):
        fitted, high = (whole.p_adequate[:, whole.arms.index(arm)] for arm in (model, "high"))
        scores["fit"].append(newcomer.scores(fitted, high))
        scores["tier"].append(newcomer.scores(1 / (1 + np.exp(-newcomer.z)), newcomer.p_high))
        own = []
        for _ in range(DRAWS):
            rows = newcomer.draw(new, rng)
            started = time.perf_counter()
            fit_posterior(newcomer.attempts(rows), newcomer.centre)
            durations.append(time.perf_counter() - started)
            own.append(newcomer.arm(rows))
            scores["rate"].append(newcomer.rate(rows))
            scores["arm, seen"].append(newcomer.arm(newcomer.draw(~new, rng)))
            lengths.append(newcomer.lengths(rows))
        scores["arm"] += own
        gains.append(scores["tier"][-1].log_loss - np.mean([score.log_loss for score in own]))
        answered = np.flatnonzero(new & ~np.isnan(newcomer.good))
        attempts.append((newcomer.attempts(answered), newcomer.centre))

    def mean(way: str, name: str) -> float:
        return float(np.mean([getattr(score, name) for score in scores[way]]))

    loss = {way: mean(way, "log_loss") for way in WAYS}
    for way, words in WAYS.items():
        target = min(loss["tier"], loss["rate"]) if way.startswith("arm") else None
        yield Figure(f"log-loss, {words}", loss[way], "nats", target)
    gain = (loss["tier"] - loss["arm"]) / (loss["tier"] - loss["fit"])
    yield Figure(f"share of the fit's gain over the tier's head, {WAYS['arm']}", gain, "")
    most, least = float(max(gains)), float(min(gains))
    yield Figure("log-loss, most that a newcomer gains over its tier's head", most, "nats")
    # A model that is like its tier pays for what chance taught: with two terms, 2 / (2 · attempts) nats.
    yield Figure("log-loss, most that a newcomer loses to its tier's head", -least, "nats", 0.01)
    for way, words in WAYS.items():
        target = mean("tier", "excess_ece") if way.startswith("arm") else None
        yield Figure(f"excess ECE, {words}", mean(way, "excess_ece"), "", target)
    for way, words in WAYS.items():
        # Where all prompts move alike, so does their order: no worse is all that is asked.
        target = mean("tier", "apgr") - 0.005 if way.startswith("arm") else None
        yield Figure(f"APGR newcomer > high, {words}", mean(way, "apgr"), "", target, ">=")
    tier, arm, *ratios = np.mean(lengths, axis=0).tolist()
    yield Figure("lengths within p90, baseline: the tier's", tier, "")
    yield Figure(f"lengths within p90, {WAYS['arm']}", arm, "", 0.88, ">=")
    for level, ratio in zip((".5", ".9"), ratios, strict=True):
        yield Figure(f"pinball loss of lengths at {level} over the tier's", ratio, "", 1.0)
    for name, value, prior in zip(("shift", "slope"), _spread(attempts), PRIOR_SPREAD, strict=True):
        yield Figure(f"spread of the {name} between models of a tier (prior {prior})", value, "")
    yield Figure(f"learning {ATTEMPTS} attempts", 1e3 * float(np.median(durations)), "ms")
