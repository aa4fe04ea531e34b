"""What the shipped bundles say of everyday prompts that no training saw, and what the default policy does.

Prompts and levels are those of ``examinations/``, decisions those of ``mitsumori serve`` without limits.
A tier stands for the model that the policy takes in it. Each figure has its 95 % bootstrap interval over
prompts in brackets. ``BUNDLES=directory,…`` chooses other bundles.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from benchmarks.report import Figure
from router.classifier.bundle import Bundle
from router.classifier.encoder import Encoder
from router.core.goals import quote_of
from router.core.types import Candidate, Constraints, Importance, Message, Prompt
from router.paths import MODELS
from router.routing.router import RouteQuery, Router
from router.rpc.assembly import build_router
from router.settings import Settings
from training.encoders.embedding import embed_all
from training.evaluation.metrics import Statistic, bootstrap, interval, unit_counts
from training.requests.request_set import LEVELS, read_requests

EXAMINATIONS = Path(__file__).parent / "examinations"
LOOKED_AT = ("a", "b", "c", "d")
"""Sets by which variants and defaults were chosen; only others are unseen."""
BUNDLES = [Path(name) for name in os.environ.get("BUNDLES", "").split(",") if name] or [
    MODELS / "bundles" / name for name in ("static", "multilingual")
]
LENGTH = "prompt length, characters"
SEED = 1
NEIGHBOURS = 5
ROUNDS = 5
TABLE = np.array([0, 0, 1, 2])
"""The place of the tier by level: trivial and routine low, demanding medium, expert high."""
ORDER = {"en": 0.95, "ja": 0.94}
"""Least order agreement by language."""
SENT = {("trivial", "low"): 28 / 30, ("expert", "high"): 24 / 30}
"""Least share of a level that a tier gets."""
COST, SAVED, P50_MS = 1.25, 0.40, 0.75

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]

# What marks code, reasoning and simple requests, in English and Japanese; not tuned on any result.
_CODE = re.compile(
    r"```|\b(?:code|function|class|script|sql|query|regex|api|bug|debug|python|javascript|java|rust|docker"
    r"|algorithm|database|test)s?\b|コード|関数|スクリプト|クエリ|正規表現|バグ|実装|アルゴリズム|データベース",
    re.IGNORECASE,
)
_REASONING = re.compile(
    r"\b(?:prove|proof|derive|analy[sz]e|compare|evaluate|design|optimi[sz]e|explain|why|justify|assess"
    r"|trade-?offs?|step by step|architecture|strategy)\b"
    r"|証明|導出|分析|比較|評価|設計|最適化|説明|なぜ|理由|検討|論じ|戦略",
    re.IGNORECASE,
)
_SIMPLE = re.compile(
    r"\b(?:hi|hello|thanks|thank you|what is|what's|who is|when is|where is|how many|define|translate"
    r"|spell|convert|capital of|synonym)\b"
    r"|こんにちは|おはよう|ありがとう|とは|何ですか|いつ|どこ|誰|いくつ|翻訳|英語で|読み方",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Examination:
    """``n`` prompts of one or several sets.

    Attributes:
        sets: name of the set of each, object ``(n,)``.
        texts: object ``(n,)``.
        languages: object ``(n,)``.
        levels: intp ``(n,)``, places in :data:`LEVELS`.
    """

    sets: npt.NDArray[np.object_]
    texts: npt.NDArray[np.object_]
    languages: npt.NDArray[np.object_]
    levels: Places


def read_examinations(folder: Path = EXAMINATIONS) -> Examination:
    """Every set of the folder."""
    lines = [
        (path.stem, row["prompt"], row["language"], row["level"])
        for path in sorted(folder.glob("*.jsonl"))
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]
    sets, texts, languages, levels = np.array(lines, dtype=object).T
    return Examination(sets, texts, languages, levels.astype(np.intp))


@dataclass(frozen=True)
class Answers:
    """What a bundle, its baselines and the default policy say of ``n`` prompts.

    Attributes:
        languages: object ``(n,)``.
        levels: intp ``(n,)``.
        scores: name → float64 ``(n,)``, larger where a prompt needs more of a model; ours is ``complexity``.
        policy: intp ``(n,)``, the place of the tier that the policy chose.
        prices: float64 ``(n, tiers)``, expected price of the model that the policy takes in each tier.
        adequacy: float64 ``(n, tiers)``, P(adequate) that the bundle says of these models.
    """

    languages: npt.NDArray[np.object_]
    levels: Places
    scores: Mapping[str, Floats]
    policy: Places
    prices: Floats
    adequacy: Floats

    def take(self, rows: npt.NDArray[np.bool_]) -> Answers:
        return Answers(
            self.languages[rows],
            self.levels[rows],
            {name: score[rows] for name, score in self.scores.items()},
            self.policy[rows],
            self.prices[rows],
            self.adequacy[rows],
        )

    def by_language(self) -> Iterator[tuple[str, Answers]]:
        for language in sorted(set(self.languages)):
            yield language, self.take(self.languages == language)


# --- Gathering ---------------------------------------------------------------------------------


def keyword_score(text: str) -> float:
    """Prompt length and keywords, as rule-based routers score; a small scorer of our own."""
    code, reasoning, simple = (len(each.findall(text)) for each in (_CODE, _REASONING, _SIMPLE))
    return float(np.log1p(len(text))) + code + reasoning - simple


def neighbours(encoder: Encoder, texts: npt.NDArray[np.object_]) -> Floats:
    """The mean level of the nearest annotated requests, which training reads, by cosine."""
    requests = read_requests()
    asked = [*texts, *(request.prompt for request in requests)]
    vectors = embed_all(encoder, asked, console=Console(stderr=True))
    cosine = vectors[: len(texts)] @ vectors[len(texts) :].T
    nearest = np.argpartition(-cosine, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    return np.asarray(np.array([request.level for request in requests])[nearest].mean(axis=1))


def choices(router: Router, text: str) -> tuple[float, Candidate, list[Candidate]]:
    """Complexity, the policy's choice, and its choice within each tier; no limits apply."""
    query = RouteQuery(
        request_id="",
        scope={},
        prompt=Prompt((Message("user", text),)),
        constraints=Constraints(),
        goal=None,
        importance=Importance.MEDIUM,
        conversation_id="",
        max_alternatives=0,
        quote_only=True,
    )
    assessed = router.assess(query)

    def chosen(*tiers: str) -> Candidate:
        within = replace(query, constraints=Constraints(tiers=frozenset(tiers)))
        return router.decide(within, assessed, assessed.candidates).decision.chosen

    return assessed.score.complexity, chosen(), [chosen(tier) for tier in router.catalog.tiers]


def answers(router: Router, exam: Examination) -> Answers:
    told = [choices(router, text) for text in exam.texts]
    scores = {
        "complexity": np.array([complexity for complexity, _, _ in told]),
        LENGTH: np.array([len(text) for text in exam.texts], dtype=float),
        "length and keywords": np.array([keyword_score(text) for text in exam.texts]),
        f"{NEIGHBOURS} nearest requests": neighbours(router.bundle.encoder, exam.texts),
        "random": np.zeros(len(told)),  # ties count half, as chance does on average
    }
    tiers = list(router.catalog.tiers)
    return Answers(
        exam.languages,
        exam.levels,
        scores,
        np.array([tiers.index(choice.model.tier) for _, choice, _ in told]),
        np.array([[quote_of(one).price.expected / 1e9 for one in within] for _, _, within in told]),
        np.array([[one.p_adequate for one in within] for _, _, within in told]),
    )


# --- Statistics --------------------------------------------------------------------------------


def order_agreement(levels: Places, score: Floats) -> Statistic:
    """The share of pairs of different levels that a score puts in the right order, ties half."""
    harder = (levels[:, None] > levels).astype(float)
    right = harder * (np.sign(score[:, None] - score) + 1) / 2

    def statistic(counts: Floats) -> Floats:
        return np.asarray((counts * (right @ counts)).sum(0) / (counts * (harder @ counts)).sum(0))

    return statistic


def ratio(above: Floats, below: Floats | float = 1.0) -> Statistic:
    """The sum of one value over that of another; a mean where the other is 1."""
    whole = np.broadcast_to(below, above.shape)
    return lambda counts: np.asarray((above @ counts) / (whole @ counts))


def mixture_price(prices: Floats, adequacy: Floats, wanted: Floats) -> Floats:
    """The price of the cheapest random mixture of two tiers that reaches an adequacy.

    Args:
        prices: of always taking each tier, ``(tiers, b)``.
        adequacy: likewise.
        wanted: ``(b,)``. Where no tier reaches it, the price is that of the most adequate tier.
    """
    best = np.take_along_axis(prices, adequacy.argmax(axis=0)[None], axis=0)[0]
    for weak, strong in combinations(range(len(prices)), 2):
        gap = adequacy[strong] - adequacy[weak]
        share = np.divide(wanted - adequacy[weak], gap, out=np.zeros_like(gap), where=gap != 0)
        share = np.clip(share, 0, 1)
        price = prices[weak] + share * (prices[strong] - prices[weak])
        reached = adequacy[weak] + share * gap >= wanted - 1e-12
        best = np.where(reached, np.minimum(best, price), best)
    return np.asarray(best)


def saved(told: Answers, weight: Floats) -> Statistic:
    """Share saved against the cheapest mixture of constant tiers of the same weighted P(adequate)."""
    price = at(told.prices, told.policy)
    mine, tiers = weight * at(told.adequacy, told.policy), weight[:, None] * told.adequacy

    def statistic(counts: Floats) -> Floats:
        total = weight @ counts
        equal = mixture_price(
            told.prices.T @ counts, tiers.T @ counts / total, mine @ counts / total
        )
        return np.asarray(1 - (price @ counts) / equal)

    return statistic


def at(values: Floats, tiers: Places) -> Floats:
    """The value of each prompt in its tier, ``(n,)``."""
    return np.asarray(np.take_along_axis(values, tiers[:, None], axis=1)[:, 0])


def by_length(told: Answers) -> Places:
    """Tiers by thresholds on the length of the prompt, each with as many prompts as the policy gives it."""
    tiers = np.empty_like(told.policy)
    tiers[np.argsort(told.scores[LENGTH], kind="stable")] = np.sort(told.policy)
    return tiers


def rivals(told: Answers, tiers: tuple[str, ...]) -> dict[str, Places]:
    """What others than the policy would choose, intp ``(n,)`` each."""
    constant = {
        f"always {tier}": np.full_like(told.policy, place) for place, tier in enumerate(tiers)
    }
    return constant | {"length, same shares": by_length(told)}


def figure(
    name: str,
    statistic: Statistic,
    count: int,
    unit: str = "",
    target: float | None = None,
    direction: Literal["<=", ">="] = ">=",
) -> Figure:
    """A statistic of ``count`` prompts with its interval in the name.

    Args:
        name: of the figure, without the interval.
        statistic: of the prompts.
        count: how many prompts it is about.
        unit: of the figure.
        target: the bound to keep; ``None``: none.
        direction: on which side of the target the value must be.
    """
    low, high = interval(bootstrap(count, {"": statistic}, seed=SEED)[""])
    value = float(statistic(unit_counts(count))[0])
    return Figure(f"{name} [{low:.3f}, {high:.3f}]", value, unit, target, direction)


# --- Figures -----------------------------------------------------------------------------------


def order_figures(title: str, told: Answers) -> Iterator[Figure]:
    for language, some in told.by_language():
        for name, score in some.scores.items():
            ours = name == "complexity"
            label = f"{title}, {language}: order agreement" if ours else f"· baseline {name}"
            statistic = order_agreement(some.levels, score)
            target = ORDER.get(language) if ours else None
            yield figure(label, statistic, len(score), target=target)


def share_figures(title: str, told: Answers, tiers: tuple[str, ...]) -> Iterator[Figure]:
    rival = by_length(told)
    for level, name in enumerate(LEVELS):
        rows = told.levels == level
        for place, tier in enumerate(tiers):
            target = SENT.get((name, tier))
            sent = ratio((told.policy[rows] == place).astype(float))
            yield figure(f"{title}: {name} sent to {tier}", sent, rows.sum(), target=target)
            if target is not None:
                sent = ratio((rival[rows] == place).astype(float))
                yield figure("· baseline length, same shares", sent, rows.sum())


def cost_figures(title: str, told: Answers, tiers: tuple[str, ...]) -> Iterator[Figure]:
    """Expected prices, as shares of those of the table by level and of always the highest tier."""
    for language, some in told.by_language():
        count = len(some.levels)
        mine, table = at(some.prices, some.policy), at(some.prices, TABLE[some.levels])
        name = f"{title}, {language}: expected cost to"
        yield figure(f"{name} always {tiers[-1]}", ratio(mine, some.prices[:, -1]), count, "×")
        yield figure("· oracle table by level", ratio(table, some.prices[:, -1]), count, "×")
        yield figure(f"{name} the table by level", ratio(mine, table), count, "×", COST, "<=")
        for rival, place in rivals(some, tiers).items():
            yield figure(f"· baseline {rival}", ratio(at(some.prices, place), table), count, "×")


def adequacy_figures(title: str, told: Answers, tiers: tuple[str, ...]) -> Iterator[Figure]:
    """P(adequate) as the bundle says it, and what the policy saves at the same P(adequate).

    It is a mean over prompts, all alike or by what is at stake: the policy has a miss cost in proportion to
    the complexity, for which the annotated level stands here.
    """
    count = len(told.levels)
    table = {"oracle table by level": TABLE[told.levels]}
    others = {f"baseline {name}": place for name, place in rivals(told, tiers).items()} | table
    alike, stake = np.ones(count), told.levels / (len(LEVELS) - 1)
    for kind, weight, target in (("", alike, SAVED), (", by stake", stake, None)):
        mine = ratio(weight * at(told.adequacy, told.policy), weight)
        yield figure(f"{title}: expected adequacy{kind}", mine, count)
        for name, place in others.items():
            yield figure(f"· {name}", ratio(weight * at(told.adequacy, place), weight), count)
        name = f"{title}: saved against mixed constant tiers of equal adequacy{kind}"
        yield figure(name, saved(told, weight), count, target=target)


def groups(sets: npt.NDArray[np.object_]) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """What figures are about: all sets, the unseen ones, each set."""
    unseen = ~np.isin(sets, LOOKED_AT)
    yield "all sets", np.ones(len(sets), dtype=bool)
    if unseen.any():
        yield "unseen sets", unseen
    for name in sorted(set(sets)):
        yield f"set {name}", sets == name


def p50_ms(works: Mapping[str, Callable[[str], object]], texts: list[str]) -> dict[str, float]:
    """Median ms of each work over different texts, each every round in a new order, warmed up before."""
    rng = np.random.default_rng(SEED)
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in track(range(ROUNDS + 1), description="timing", transient=True):
        for name, work in works.items():
            for place in rng.permutation(len(texts)):
                begun = time.perf_counter()
                work(texts[place])
                if number:
                    times[name].append(time.perf_counter() - begun)
    return {name: 1000 * float(np.median(some)) for name, some in times.items()}


def time_figures(title: str, bundle: Bundle, texts: list[str]) -> Iterator[Figure]:
    """One thread: tokens, vector, lexical features and classifier, beside tokens and vector alone."""
    found = p50_ms({"encode": bundle.encoder.embed, "whole": bundle.score}, texts)
    target = P50_MS if bundle.encoder.manifest.kind == "static" else None
    yield Figure(f"{title}: features, encode and classify, p50", found["whole"], "ms", target)
    yield Figure("· baseline encode alone, p50", found["encode"], "ms")
    yield Figure("· over encode alone", found["whole"] / found["encode"], "×")


def measure() -> Iterator[Figure]:
    """Every figure for every bundle: all sets together, the unseen ones, each alone."""
    exam = read_examinations()
    for directory in BUNDLES:
        router = build_router(Settings(bundle=directory))
        router.warm_up()
        told = answers(router, exam)
        for name, rows in groups(exam.sets):
            title, some = f"{directory.name}: {name}", told.take(rows)
            yield from order_figures(title, some)
            for part in (share_figures, cost_figures, adequacy_figures):
                yield from part(title, some, router.catalog.tiers)
        yield from time_figures(directory.name, router.bundle, exam.texts.tolist())
