"""What each part of the classifier gains on sources that its fit did not see, and what it costs.

Parts are the heads and the strengths of models. Each family of histories is left out in turn, as in
training; heads are fitted anew without it, with the hyperparameters of the fit of everything. A variant's
stack is fitted on the out-of-fold logits of that fit at prompts outside the family: heads that gave those
logits did see the family. Strengths are fitted once without the family, on what the shipped variant leaves
unexplained. Differences are paired: the same resamples of prompts for all variants. ``ablation.md`` is the
page that follows from it.
``ENCODER=multilingual`` chooses another encoder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from scipy.optimize import brentq
from scipy.special import expit, logit

from benchmarks.ablation_fit import ENCODER, SHIPPED, Ablation, inputs_of
from benchmarks.everyday import order_agreement, p50_ms, ratio, read_examinations
from benchmarks.part_size import PARTS, lines_of, test_lines_of
from benchmarks.report import Figure
from router.classifier.bundle import Classifier
from router.classifier.encoder import find_encoder, load_encoder
from router.classifier.features.lexical import FEATURES, lexical_features
from router.paths import ENCODERS
from training.encoders.embedding import encode_prompts
from training.evaluation.calibration_metrics import ece
from training.evaluation.metrics import apgr_statistic, bootstrap, interval, unit_counts
from training.export.classifier_graph import classifier_graph, complexities
from training.fitting.demands import Demands, attempts_at, fit_demands
from training.fitting.estimator import PooledLogistic
from training.fitting.ngrams import ngram_counts
from training.fitting.tier_lengths import fit_tier_lengths
from training.pipeline.sources import read_sources
from training.pipeline.training_data import EncodedData, features_of_data, training_data
from training.pipeline.unseen_sources import MIN_PROMPTS, Source, all_sources, comparable_sources
from training.plan import TrainingPlan
from training.scale.examples import ANNOTATED
from training.scale.families import first_of_family

HISTORIES = Path(os.environ.get("HISTORIES", "../shared/data/history"))
NAMES = (
    "mmlu_pro", "routellm", "llmrouter_dc", "shaberi_ja", "shaberi_ja_gpt51", "ko_arena_hard",
    "arena_hard_en", "alpaca_eval",
)  # fmt: skip
"""Those of ``make bundles``."""
LOSS, LEVELLED = "log-loss", "log-loss at the right level"

Floats = npt.NDArray[np.float64]
Draws = dict[str, dict[str, Floats]]
"""Variant → metric → the figure, then the figure on each resample, ``(1 + resamples,)``."""


def gathered(plan: TrainingPlan) -> EncodedData:
    data = training_data(plan, read_sources(plan))
    encoder = load_encoder(find_encoder(ENCODERS, plan.encoder))
    return EncodedData.of(data, encoder, features_of_data(data), plan, Console(stderr=True))


# --- Figures -----------------------------------------------------------------------------------


def _losses(adequate: Floats, z: Floats) -> Floats:
    """The mean log-loss of the attempts at each prompt, ``(n,)``, from logits ``(n, k)``."""
    return np.asarray((np.logaddexp(0.0, z) - adequate * z).mean(axis=1))


def _level(adequate: Floats, z: Floats) -> Floats:
    """The shift of each arm's logits that makes their mean P(adequate) right, ``(k,)``."""

    def shift(real: float, column: Floats) -> float:
        return float(brentq(lambda more: float(expit(column + more).mean()) - real, -30.0, 30.0))

    real = adequate.mean(axis=0).clip(0.5 / len(z), 1 - 0.5 / len(z))
    return np.array([shift(*one) for one in zip(real, z.T, strict=True)])


def draws(source: Source, said: Mapping[str, Floats], seed: int) -> Draws:
    """Log-loss per attempt, as said and with the level of each arm right, APGR, worst ECE.

    APGR is that of the weakest and the strongest arm. ECE has no resamples.

    Args:
        source: has the outcomes.
        said: variant → P(adequate) ``(n, k)``.
        seed: of the resamples.
    """
    test = source.test
    arms = np.flatnonzero(test.judged.any(axis=0))
    adequate, quality = test.adequate[:, arms].astype(float), test.quality[:, arms]
    statistics, errors = {}, {}
    for name, every in said.items():
        p = np.clip(every[:, arms], 1e-6, 1 - 1e-6)
        z = logit(p)
        statistics[name, LOSS] = ratio(_losses(adequate, z))
        statistics[name, LEVELLED] = ratio(_losses(adequate, z + _level(adequate, z)))
        statistics[name, "APGR"] = apgr_statistic(quality[:, 0], quality[:, -1], p[:, -1] - p[:, 0])
        errors[name] = max(ece(test.adequate[:, arm], p[:, at]) for at, arm in enumerate(arms))
    keyed = {str(number): one for number, one in enumerate(statistics.values())}
    drawn = bootstrap(len(test), keyed, seed=seed)
    found: Draws = {name: {"worst ECE": np.array([error])} for name, error in errors.items()}
    for (name, metric), (key, statistic) in zip(statistics, keyed.items(), strict=True):
        found[name][metric] = np.r_[statistic(unit_counts(len(test))), drawn[key]]
    return found


def _bounds(values: Floats) -> str:
    low, high = interval(values)
    return f"[{low:+.4f}, {high:+.4f}]"


def source_figures(where: str, sources: Mapping[str, Draws]) -> Iterator[Figure]:
    """Means over sources; differences to the shipped variant, with interval and spread over sources.

    Args:
        where: what the sources are.
        sources: by name.
    """
    for metric in (LOSS, LEVELLED, "worst ECE", "APGR"):
        shipped = np.stack([one[SHIPPED][metric] for one in sources.values()])
        for name in next(iter(sources.values())):
            mine = np.stack([one[name][metric] for one in sources.values()])
            title = f"{where}, {metric}, mean of {len(mine)}: {name}"
            yield Figure(title, float(mine[:, 0].mean()), "")
            if name == SHIPPED:
                continue
            away = mine - shipped
            drawn = f" {_bounds(away[:, 1:].mean(axis=0))}" if away.shape[1] > 1 else ""
            each = ", ".join(
                f"{source} {value:+.4f}" for source, value in zip(sources, away[:, 0], strict=True)
            )
            yield Figure(f"· less {SHIPPED}{drawn} ({each})", float(away[:, 0].mean()), "")


def unseen_figures(ablation: Ablation) -> Iterator[Figure]:
    sources = list(all_sources(ablation.encoded, ablation.seed))
    examples = ablation.encoded.data.examples
    first = first_of_family([one.name for one in sources], [one.test.groups for one in sources])
    found: dict[str, Draws] = {}
    for family in dict.fromkeys(first):
        members = [one for one, start in zip(sources, first, strict=True) if start == family]
        groups = {group for one in members for group in one.test.groups}
        kept = ~np.isin(examples.sources.astype(str), [one.name for one in members])
        kept &= np.array([group not in groups for group in examples.groups])
        asked = [inputs_of(one.test.texts, one.x, one.counts) for one in members]
        graded = bool((~kept).any())
        if graded:
            asked.append(ablation.known.inputs.take(~kept))
        tiers, demands = ablation.tiers(asked, kept)
        for one, told in zip(members, tiers, strict=False):
            said = ablation.at_models(one, told, demands)
            found[one.name] = draws(one, said, ablation.seed)
        if graded and demands is not None:
            yield from strength_figures(ablation, ~kept, tiers[-1][SHIPPED], demands)
    yield from source_figures("unseen sources", found)


def strength_figures(
    ablation: Ablation, rows: npt.NDArray[np.bool_], p_adequate: Floats, demands: Demands
) -> Iterator[Figure]:
    """Log-loss per attempt of all models that have strengths, with these and without; prompts count alike.

    Args:
        ablation: has the attempts.
        rows: bool ``(n,)``, the examples that were left out.
        p_adequate: of the tiers at these.
        demands: fitted without them.
    """
    placed = ablation.placed
    attempts = attempts_at(placed, ablation.encoded.data.examples.rows(rows), p_adequate)
    attempts = attempts.take(
        np.isin(np.array(attempts.models)[attempts.model], [*demands.strengths])
    )
    asked = demands.of(ablation.known.inputs.x[rows])
    table = np.array(
        [demands.strengths.get(name, np.zeros(asked.shape[1])) for name in attempts.models]
    )
    for number, history in enumerate(placed.attempts.histories):
        mine = attempts.take(attempts.history == number)
        prompts, place, count = np.unique(mine.prompt, return_inverse=True, return_counts=True)
        if len(prompts) < MIN_PROMPTS:
            continue
        shift = np.einsum("ad,ad->a", asked[mine.prompt], table[mine.model])
        losses = {
            name: np.bincount(place, np.logaddexp(0.0, z) - mine.adequate * z) / count
            for name, z in (("with", mine.expected + shift), ("without", mine.expected))
        }
        models = len(np.unique(mine.model))
        title = f"strengths, unseen {history}, {models} models: log-loss"
        away = ratio(losses["without"] - losses["with"])
        bounds = _bounds(bootstrap(len(prompts), {"": away}, seed=ablation.seed)[""])
        yield Figure(title, float(losses["with"].mean()), "")
        gain = float(np.mean(losses["without"] - losses["with"]))
        yield Figure(f"· without strengths less this {bounds}", gain, "")


def known_figures(ablation: Ablation) -> Iterator[Figure]:
    """Held-out prompts of known sources, and the order of the examinations, by fits on everything."""
    encoded, exam = ablation.encoded, read_examinations()
    rows = encoded.rows.take(encoded.data.aside)
    sources = list(comparable_sources(rows.outcomes, rows.x, rows.counts, ablation.seed))
    read = encode_prompts(encoded.encoder, exam.texts.tolist(), console=Console(stderr=True))
    examined = np.hstack([read.vectors, read.features])
    asked = [inputs_of(one.test.texts, one.x, one.counts) for one in sources]
    asked.append(inputs_of(exam.texts, examined, ngram_counts(read.word_ids)))
    (*held_out, examination), demands = ablation.tiers(
        asked, np.ones(len(ablation.known.fold), bool)
    )
    found = {
        one.name: draws(one, ablation.at_models(one, told, demands), ablation.seed)
        for one, told in zip(sources, held_out, strict=True)
    }
    yield from source_figures("held-out prompts", found)
    for language in ("en", "ja"):
        mine = exam.languages == language
        statistics = {}
        for name, tiers in examination.items():
            statistics[name] = order_agreement(exam.levels[mine], complexities(tiers[mine]))
        drawn = bootstrap(int(mine.sum()), statistics, seed=ablation.seed)
        plain = {
            name: float(one(unit_counts(int(mine.sum())))[0]) for name, one in statistics.items()
        }
        for name, value in plain.items():
            yield Figure(f"order of the examinations, {language}: {name}", value, "")
            if name != SHIPPED:
                bounds = _bounds(drawn[name] - drawn[SHIPPED])
                yield Figure(f"· less {SHIPPED} {bounds}", value - plain[SHIPPED], "")


def cost_figures(ablation: Ablation) -> Iterator[Figure]:
    """Median time of the classifier's graph over the examinations, its size, and lines of code."""
    encoded, fit, known = ablation.encoded, ablation.fit, ablation.known
    dimensions, data = encoded.dimensions, encoded.data
    if data.lengths is None:
        raise ValueError("the histories have no lengths")
    lengths = fit_tier_lengths(
        encoded.lengths[0],
        data.lengths,
        data.outcomes.arms,
        seed=ablation.seed,
        dimensions=dimensions,
    )
    p = fit.out_of_fold
    attempts = attempts_at(ablation.placed, data.examples, p)
    untried = np.asarray(data.examples.sources == ANNOTATED)
    demands = fit_demands(known.inputs.x, attempts, untried, seed=ablation.seed)
    models = {
        SHIPPED: (fit, demands),
        "without words": (replace(fit, words=None), demands),
        "without trees": (replace(fit, trees=None), demands),
        "without words and trees": (replace(fit, words=None, trees=None), demands),
        "without strengths": (fit, None),
    }
    texts = read_examinations().texts.tolist()
    encoder = encoded.encoder
    read = {
        text: (encoder.embed(text), lexical_features(text), encoder.word_ids(text))
        for text in texts
    }
    graphs = {
        name: classifier_graph(model, lengths, dimensions, asked)
        for name, (model, asked) in models.items()
    }
    loaded = {name: Classifier.load(graph, len(FEATURES)) for name, graph in graphs.items()}

    def work(classifier: Classifier) -> Callable[[str], object]:
        return lambda text: classifier.outputs(*read[text])

    found = p50_ms({name: work(one) for name, one in loaded.items()}, texts)
    for name, milliseconds in found.items():
        yield Figure(f"graph, p50: {name}", milliseconds, "ms")
        yield Figure("· its size", len(graphs[name]) / 1e6, "MB")
    for name, part in PARTS.items():
        yield Figure(f"lines of {name}", lines_of(part), "lines")
        yield Figure("· tests of it alone", test_lines_of(part), "lines")


def measure() -> Iterator[Figure]:
    """Every figure for every variant. Skipped without the histories."""
    console = Console(stderr=True)
    paths = [HISTORIES / f"{name}.parquet" for name in NAMES]
    if not all(path.is_file() for path in paths):
        console.print(f"no {HISTORIES}: the ablation is not measured; set HISTORIES=folder")
        return
    begun = time.perf_counter()
    plan = TrainingPlan(histories=paths, out=Path("build/bundle"), encoder=ENCODER)
    ablation = Ablation.of(gathered(plan), plan.seed)
    console.print(f"fitted in {time.perf_counter() - begun:.0f} s: {describe(ablation.fit)}")
    yield from unseen_figures(ablation)
    yield from known_figures(ablation)
    yield from cost_figures(ablation)


def describe(fit: PooledLogistic) -> str:
    """Heads, hyperparameters and stack of a fit."""
    return f"{fit.heads}, {fit.chosen}, stack {fit.stack.weights.round(3).tolist()}"
