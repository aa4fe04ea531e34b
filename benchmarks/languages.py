"""Accuracy and time of each encoder in English and Japanese, and routing between tiers in Japanese.

English: RouteLLM's MMLU and MMLU-Pro, five grouped folds, the logistic head on vector and form alone, so
that only the vectors differ. Japanese: the 180 prompts of shaberi that one
judge judged for every model, vector, form and words, three times five grouped folds, paired bootstrap over
prompts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from scipy import sparse

from benchmarks.report import Figure
from router.classifier.encoder import Encoder, find_encoder, load_encoder
from router.paths import ENCODERS
from training.encoders.embedding import embed_all, encode_prompts, features_of
from training.evaluation.cost_quality import Points
from training.evaluation.metrics import Statistic, apgr_statistic, bootstrap, interval, unit_counts
from training.evaluation.money_figures import PricedPrompts
from training.evaluation.predictions import Predictions
from training.fitting.estimator import fit_pooled
from training.fitting.ngrams import ngram_counts
from training.histories.ladders import reference_rates
from training.histories.outcome_table import ReadOptions, read_table
from training.histories.split import folds, group_of

HISTORIES = Path(os.environ.get("HISTORIES", "../shared/data/history"))
MULTILINGUAL = "multilingual"
NAMES = ("static", "minilm", MULTILINGUAL)
SEED, FOLDS, REPEATS = 1, 5, 3

Floats = npt.NDArray[np.float64]

# A question, the same in other words, and something else; written for this measurement.
JAPANESE = (
    (
        "日本の首都はどこですか。",
        "日本の首都を教えてください。",
        "祖母は日曜日に林檎のケーキを焼きます。",
    ),
    ("リストを並べ替える方法は？", "リストをソートするには？", "契約違反の時効は何年ですか。"),
    (
        "次の英文を和訳してください。",
        "この英語を日本語に翻訳して。",
        "二次方程式を解いてください。",
    ),
    (
        "自己紹介のメールを書いてください。",
        "自分を紹介するメールの文面を考えて。",
        "素数とは何ですか。",
    ),
    (
        "なぜ空は青いのですか。",
        "空が青く見える理由を説明して。",
        "株主総会の議事録を要約してください。",
    ),
)
ACROSS = (
    ("What is the capital of Japan?", "日本の首都はどこですか。", "契約違反の時効は何年ですか。"),
    (
        "How do I sort a list in Python?",
        "Pythonでリストを並べ替えるには？",
        "祖母はケーキを焼きます。",
    ),
    (
        "Solve the quadratic equation.",
        "二次方程式を解いてください。",
        "自己紹介のメールを書いてください。",
    ),
    ("Why is the sky blue?", "なぜ空は青いのですか。", "株主総会の議事録を要約してください。"),
    ("Write an email introducing yourself.", "自己紹介のメールを書いて。", "素数とは何ですか。"),
)
ENGLISH = {
    "RouteLLM MMLU": (
        "routellm",
        {"low": "mistralai/Mixtral-8x7B-Instruct-v0.1", "high": "gpt-4-1106-preview"},
    ),
    "MMLU-Pro 8B → pro": (
        "mmlu_pro",
        {"low": "Meta-Llama-3_1-8B-Instruct", "high": "gemini-1.5-pro-002"},
    ),
}
JUDGE = "gpt-4.1-2025-04-14"
# Every model of shaberi that has a list price, by its class of size: 1–8B, 14–235B, and the largest. Size,
# price and mean quality (.46, .76, .86) agree in order. Left out are gemini-2.5-flash and -pro, whose hidden
# reasoning tokens are missing there, so that their costs would be too low.
TIERS = {
    "low": (
        "meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-3B-Instruct",
        "google/gemma-3-4b-it", "microsoft/Phi-4-mini-instruct",
        "mistralai/Mistral-7B-Instruct-v0.1", "meta-llama/Llama-2-7b-chat-hf",
        "allenai/Olmo-3-7B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-8B",
    ),
    "medium": (
        "unsloth/phi-4", "google/gemma-3-27b-it", "Qwen/Qwen3-30B-A3B",
        "Qwen/Qwen3-30B-A3B-Instruct-2507", "meta-llama/Llama-3.3-70B-Instruct",
        "Qwen/Qwen3-235B-A22B",
    ),
    "high": ("moonshotai/Kimi-K2-Instruct-0905", "gpt-4o-2024-11-20"),
}  # fmt: skip
SINGLE = {
    "low": ("meta-llama/Llama-3.1-8B-Instruct",),
    "medium": ("meta-llama/Llama-3.3-70B-Instruct",),
    "high": ("gpt-4o-2024-11-20",),
}
"""The ladder of training/histories/ladders.yaml, one model for each tier."""
ADEQUATE_AT = 0.75
LENGTH = "prompt length"


# --- What a vector knows -----------------------------------------------------------------------


def margin(encoder: Encoder, triples: Sequence[tuple[str, str, str]]) -> float:
    """Mean over triples: cosine to the paraphrase less cosine to something else."""
    vectors = [[encoder.embed(text) for text in triple] for triple in triples]
    return float(np.mean([a @ b - a @ c for a, b, c in vectors]))


def milliseconds(encoder: Encoder, tokens: int) -> float:
    """Median time of one text of so many tokens; tokenizing is not included."""
    ids = np.random.default_rng(SEED).integers(1_000, 20_000, tokens).tolist()
    taken = []
    for _ in range(50):
        started = time.perf_counter()
        encoder.embed_ids(ids)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e3


@dataclass(frozen=True)
class Ranked:
    """Figures of one encoder on an English history: APGR, log-loss per attempt, and the number of prompts."""

    apgr: Statistic
    log_loss: Statistic
    prompts: int


def in_english(encoder: Encoder, name: str) -> Ranked:
    """Fit and judge on the prompts of a history that both arms answered."""
    file, arms = ENGLISH[name]
    reading = ReadOptions(arms=arms, need_prices=False)
    known = read_table([HISTORIES / f"{file}.parquet"], reading).outcomes
    # GSM8K and MT-Bench have one category each; the rest of RouteLLM is MMLU.
    rows = known.rows(
        known.complete & ~np.isin(known.categories.astype(str), ("gsm8k", "mt_bench"))
    )
    texts = rows.texts.tolist()
    x = np.hstack([embed_all(encoder, texts, console=Console(stderr=True)), features_of(texts)])
    fold = folds(rows.groups.tolist(), count=FOLDS, seed=SEED)
    p = np.empty(rows.quality.shape)
    for number in range(FOLDS):
        seen, out = fold != number, fold == number
        model = fit_pooled(
            x[seen], rows.adequate[seen], rows.judged[seen], rows.groups[seen].tolist(), seed=number
        )
        p[out] = model.p_adequate(x[out])
    loss = -np.log(np.where(rows.adequate, p, 1 - p)).mean(axis=1)

    def log_loss(counts: Floats) -> Floats:
        return np.asarray(loss @ counts / counts.sum(axis=0))

    ranked = apgr_statistic(rows.quality[:, 0], rows.quality[:, 1], p[:, 1] - p[:, 0])
    return Ranked(ranked, log_loss, len(rows))


def english(loaded: Mapping[str, Encoder], title: str) -> Iterator[Figure]:
    """APGR and log-loss of every encoder, and what the multilingual one gains over each other one."""
    found = {name: in_english(encoder, title) for name, encoder in loaded.items()}
    (prompts,) = {ranked.prompts for ranked in found.values()}
    statistics = {
        (name, key): getattr(ranked, key)
        for name, ranked in found.items()
        for key in ("apgr", "log_loss")
    }
    plain = {which: float(one(unit_counts(prompts))[0]) for which, one in statistics.items()}
    named = {"/".join(which): one for which, one in statistics.items()}
    drawn = bootstrap(prompts, named, seed=SEED)
    for name in found:
        yield Figure(f"{title}, {name}: APGR", plain[name, "apgr"], "")
        yield Figure(f"{title}, {name}: log-loss", plain[name, "log_loss"], "")
    for name in found:
        if name == MULTILINGUAL:
            continue
        low, high = interval(drawn[f"{MULTILINGUAL}/apgr"] - drawn[f"{name}/apgr"])
        gain = plain[MULTILINGUAL, "apgr"] - plain[name, "apgr"]
        yield Figure(f"· APGR over {name} [{low:+.4f}, {high:+.4f}]", gain, "")
        # The log-loss of every attempt tells more than one ranking does. Against the table that the
        # fastest bundle uses, nothing may be lost.
        low, high = interval(drawn[f"{MULTILINGUAL}/log_loss"] - drawn[f"{name}/log_loss"])
        bound = 0.0 if name == "static" else None
        figure = f"· log-loss over {name}, high end of 95 % (low {low:+.4f})"
        yield Figure(figure, high, "", bound, "<=")


# --- Tiers in Japanese -------------------------------------------------------------------------


@dataclass(frozen=True)
class Tiered:
    """Prompts that several models of each tier answered: a tier is a model of it drawn at random.

    Attributes:
        texts: ``n`` prompts.
        good: float64 ``(n, k)``, how many models of the tier were adequate.
        judged: float64 ``(n, k)``, of how many.
        quality: float64 ``(n, k)``, their mean quality.
        cost_nanos: int64 ``(n, k)``, their mean cost at list prices.
    """

    texts: list[str]
    good: Floats
    judged: Floats
    quality: Floats
    cost_nanos: npt.NDArray[np.int64]


def tiered(tiers: Mapping[str, Sequence[str]]) -> Tiered:
    """The prompts that the judge judged for any model of each tier."""
    frame = pd.read_parquet(HISTORIES / "shaberi_ja.parquet")
    frame = frame[(frame["judge"] == JUDGE) & frame["quality"].notna()]
    of = {model: tier for tier, models in tiers.items() for model in models}
    frame = frame[frame["model"].isin(list(of))].assign(tier=lambda rows: rows["model"].map(of))
    now = datetime.now(UTC)
    rates = {model: reference_rates(tier, model, {}, now) for model, tier in of.items()}
    assert None not in rates.values(), "every model of these ladders has a price"
    frame["usd"] = [
        (float(rate.input) * read + float(rate.output) * written) / 1e6
        for rate, read, written in zip(
            (rates[model] for model in frame["model"]),
            frame["input_tokens"],
            frame["output_tokens"],
            strict=True,
        )
        if rate is not None
    ]
    frame["adequate"] = (frame["quality"] >= ADEQUATE_AT).astype(float)
    cells = frame.groupby(["prompt_id", "tier"])

    def wide(values: pd.Series) -> pd.DataFrame:
        return values.unstack("tier")[list(tiers)]

    quality = wide(cells["quality"].mean()).dropna()
    rows = quality.index
    texts = frame.drop_duplicates("prompt_id").set_index("prompt_id")["prompt"][rows].tolist()
    usd = wide(cells["usd"].mean()).loc[rows].to_numpy()
    return Tiered(
        texts,
        wide(cells["adequate"].sum()).loc[rows].to_numpy(float),
        wide(cells["adequate"].size()).loc[rows].to_numpy(float),
        quality.to_numpy(float),
        np.rint(1e9 * usd).astype(np.int64),
    )


def judged_elsewhere(
    known: Tiered, x: npt.NDArray[np.float32], seed: int, counts: sparse.csr_matrix | None = None
) -> Floats:
    """P(adequate) of each prompt by fits on other folds, float64 ``(n, k)``.

    The models of a tier count as attempts: a prompt has a row for the adequate ones and a row for the others,
    weighted by their number.

    Args:
        known: ``n`` prompts, ``k`` tiers.
        x: float32 ``(n, d)``, what the fit reads of each prompt.
        seed: of the folds.
        counts: of words, ``(n, places)``; ``None``: without.
    """
    groups = [group_of(text) for text in known.texts]
    fold = folds(groups, count=FOLDS, seed=seed)
    found = np.empty(known.quality.shape)
    for number in range(FOLDS):
        seen, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        twice = np.r_[seen, seen]
        good = known.good[seen]
        weight = np.r_[good, known.judged[seen] - good]
        adequate = np.r_[np.ones_like(good, bool), np.zeros_like(good, bool)]
        words = None
        if counts is not None:
            # Words of at most one training prompt carry no information.
            words = counts[:, np.bincount(counts[seen].indices, minlength=counts.shape[1]) > 1]
        model = fit_pooled(
            x[twice],
            adequate,
            weight > 0,
            [groups[i] for i in twice],
            seed=number,
            weights=weight,
            counts=None if words is None else words[twice],
        )
        found[out] = model.p_adequate(x[out], None if words is None else words[out])
    return found


def averaged(statistics: Sequence[Statistic]) -> Statistic:
    """The mean of the same figure over the repeats."""

    def statistic(counts: Floats) -> Floats:
        return np.asarray(np.mean([one(counts) for one in statistics], axis=0))

    return statistic


def halfway(routed: Points, singles: Points, weak: int, strong: int) -> Floats:
    """Quality gained for the mean of two arms' costs, over the weak arm and over both at random.

    Args:
        routed: cost and quality of the router at each setting.
        singles: cost and quality of each arm.
        weak: place of the weak arm.
        strong: place of the strong arm.

    Returns:
        float64 ``(2, b)``; the weak arm is the best single arm for that money.
    """
    cost = singles.cost[:, [weak, strong]].mean(axis=1, keepdims=True)
    reached = np.where(routed.cost <= cost, routed.quality, -np.inf).max(axis=1)
    mixed = singles.quality[:, [weak, strong]].mean(axis=1)
    return np.stack([reached - singles.quality[:, weak], reached - mixed])


def in_japanese(
    name: str, encoder: Encoder, tiers: Mapping[str, Sequence[str]], *, claimed: bool
) -> Iterator[Figure]:
    """APGR beside prompt length, and quality beside single arms for the same money, with intervals.

    Args:
        name: begins the name of each figure.
        encoder: gives vectors and words.
        tiers: tier → its models, from the weakest tier.
        claimed: whether the figures have targets; otherwise they are only reported.
    """
    known = tiered(tiers)
    texts, arms = known.texts, list(tiers)
    prompts = encode_prompts(encoder, texts, cache=None)
    x = np.hstack([prompts.vectors, prompts.features])
    counts = ngram_counts(prompts.word_ids)
    believed = [judged_elsewhere(known, x, seed, counts) for seed in range(REPEATS)]
    length = np.asarray([len(text) for text in texts], float)
    # Ranking by length takes longer for harder. Where the contrary holds, a fit finds that out.
    log_length = np.log1p(length)[:, None].astype(np.float32)
    by_length = [judged_elsewhere(known, log_length, seed) for seed in range(REPEATS)]
    everyone = np.ones(len(texts), bool)
    money = PricedPrompts(
        everyone, known.quality, known.cost_nanos, known.cost_nanos.mean(0, keepdims=True) / 1e9
    )
    for weak, strong in ((0, len(arms) - 1), (len(arms) - 2, len(arms) - 1)):
        pair = known.quality[:, weak], known.quality[:, strong]
        ours = [apgr_statistic(*pair, p[:, strong] - p[:, weak]) for p in believed]

        rivals: dict[str, Statistic] = {
            LENGTH: apgr_statistic(*pair, length),
            f"{LENGTH}, its direction fitted": averaged(
                [apgr_statistic(*pair, p[:, strong] - p[:, weak]) for p in by_length]
            ),
        }
        mean = averaged(ours)
        drawn = bootstrap(len(texts), {"ours": mean} | rivals, seed=SEED)
        low, high = interval(drawn["ours"])
        title = f"{name}, {arms[weak]} → {arms[strong]}"
        plain = float(mean(unit_counts(len(texts)))[0])
        yield Figure(f"{title}: APGR [{low:.3f}, {high:.3f}]", plain, "")
        for rival, statistic in rivals.items():
            other = float(statistic(unit_counts(len(texts)))[0])
            low, high = interval(drawn["ours"] - drawn[rival])
            yield Figure(f"· baseline {rival}", other, "")
            bound = 0.0 if claimed and rival == LENGTH else None
            gain = f"· gain over it, low end of 95 % (high {high:+.3f})"
            yield Figure(gain, low, "", bound, ">=")
    sweeps: dict[str, Statistic] = {
        str(number): money.routed(Predictions(p)).statistic for number, p in enumerate(believed)
    }
    sweeps["singles"] = money.singles().statistic
    drawn = bootstrap(len(texts), sweeps, seed=SEED)
    for weak, strong in ((0, 1), (1, 2)):

        def gains(values: Mapping[str, Floats], weak: int = weak, strong: int = strong) -> Floats:
            singles = Points.of(values["singles"])
            routed = [Points.of(values[str(one)]) for one in range(REPEATS)]
            found = [halfway(points, singles, weak, strong) for points in routed]
            return np.asarray(np.mean(found, axis=0))

        gained = gains({key: one(unit_counts(len(texts))) for key, one in sweeps.items()})[:, 0]
        bounds = gains(drawn)
        title = f"{name}, halfway in cost from {arms[weak]} to {arms[strong]}"
        for place, rival in enumerate(("best single arm", "both at random")):
            low, high = interval(bounds[place])
            yield Figure(f"{title}: quality over {rival}", gained[place], "")
            bound = 0.0 if claimed else None
            yield Figure(f"· low end of 95 % (high {high:+.3f})", low, "", bound, ">=")


def measure() -> Iterator[Figure]:
    """Every figure for every encoder. Skipped without the histories."""
    loaded = {name: load_encoder(find_encoder(ENCODERS, name)) for name in NAMES}
    for name, encoder in loaded.items():
        size = (find_encoder(ENCODERS, name) / "model.onnx").stat().st_size / 1e6
        yield Figure(f"{name}: model.onnx", size, "MB")
        for tokens in (16, 64, 128):
            yield Figure(
                f"{name}: one text of {tokens} tokens", milliseconds(encoder, tokens), "ms"
            )
        reads = "ja" in encoder.manifest.languages
        for title, triples in (("Japanese", JAPANESE), ("English to Japanese", ACROSS)):
            found = margin(encoder, triples)
            yield Figure(
                f"{name}: cosine, paraphrase over unrelated, {title}",
                found,
                "",
                0.3 if reads else None,
                ">=",
            )
    if not (HISTORIES / "shaberi_ja.parquet").is_file():
        Console(stderr=True).print(f"no {HISTORIES}: no routing is measured; set HISTORIES=folder")
        return
    for title in ENGLISH:
        yield from english(loaded, title)
    for name, encoder in loaded.items():
        reads = "ja" in encoder.manifest.languages
        yield from in_japanese(f"Japanese, {name}", encoder, TIERS, claimed=reads)
    alone = "Japanese, multilingual, one model per tier"
    yield from in_japanese(alone, loaded[MULTILINGUAL], SINGLE, claimed=False)
