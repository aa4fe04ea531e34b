"""Output lengths on sources that training never saw: each family of histories is left out in turn.

What is predicted for a tier is compared with what its models of today answered there, where they did; and,
for every model of the source, with the tier shifted by what other sources say of its talkativeness. Beside
it stand the same quantile for every prompt, the length of the prompt alone, and, for today's models, a fit
of their own attempts as if all prompts were of one source, which is what ``--arms`` does. Quantiles are
bounded by what a prompt asks for, as in serving; prompts that ask have figures of their own, beside the
unbounded.
``ENCODERS=static`` chooses the encoders.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from sklearn.linear_model import QuantileRegressor

from benchmarks.report import Figure
from router.classifier.encoder import find_encoder, load_encoder
from router.classifier.features.asked_length import asked_length
from router.core.asked_length import UNASKED, bounded
from router.core.types import Lengths
from router.paths import ENCODERS
from training.encoders.embedding import encode_prompts
from training.evaluation.metrics import coverage, pinball
from training.fitting.lengths import LengthModel, fit_lengths
from training.fitting.tier_lengths import fit_tier_lengths
from training.histories.history import read_history
from training.histories.ladders import standard_of
from training.histories.outcomes import Outcomes
from training.requests.request_set import (
    ANSWERS,
    history_annotations,
    prompt_key,
    read_requests,
)
from training.scale.length_examples import LengthExamples, length_examples
from training.scale.length_table import LengthTable, length_table
from training.scale.reference import read_reference
from training.scale.talkativeness import TODAY, fit_talkativeness

HISTORIES = Path(os.environ.get("HISTORIES", "../shared/data/history"))
NAMES = os.environ.get("ENCODERS", "static,multilingual").split(",")
SEED = 1
LEVELS = (0.5, 0.9)
MIN_LENGTHS = 100
"""Fewest lengths of which a figure is given."""
UNBOUNDED = "whatever the prompt asks for"
"""The name of the quantiles that serving would bound."""

Floats = npt.NDArray[np.float64]
Columns = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """Inputs of serving by text."""

    x: Columns
    place: Mapping[str, int]
    dimensions: int

    def of(self, texts: npt.NDArray[np.object_]) -> Columns:
        return self.x[[self.place[text] for text in texts]]


@dataclass(frozen=True)
class Unseen:
    """Lengths of a family that was left out, and quantiles for them.

    Attributes:
        tokens: float64 ``(a,)``.
        predicted: name of a predictor → float64 ``(a, 2)``, quantiles at :data:`LEVELS` in tokens.
        prompt: intp ``(a,)``, place in the table.
    """

    tokens: Floats
    predicted: Mapping[str, Floats]
    prompt: npt.NDArray[np.intp]


def encoded(table: LengthTable, name: str) -> Inputs:
    """Prompts of histories and annotated requests, from the cache if they are there."""
    encoder = load_encoder(find_encoder(ENCODERS, name))
    texts = [*table.texts, *(request.prompt for request in read_requests())]
    prompts = encode_prompts(encoder, texts, console=Console(stderr=True))
    place = {text: at for at, text in enumerate(texts)}
    return Inputs(
        np.hstack([prompts.vectors, prompts.features]), place, encoder.manifest.dimensions
    )


def plain(known: LengthExamples, texts: npt.NDArray[np.object_]) -> dict[str, Floats]:
    """Logarithms by the baselines, at the talkativeness of today's models, ``(n, 2)`` each.

    Only lengths of histories count, each family alike.
    """
    measured = known.kinds[known.prompt] < 0
    prompt, logs = known.prompt[measured], known.logs[measured]
    weights = 1 / np.bincount(known.family[prompt])[known.family[prompt]]
    order = np.argsort(logs)
    share = np.cumsum(weights[order]) / weights.sum()
    constant = [logs[order][np.searchsorted(share, level)] for level in LEVELS]

    def size(some: npt.NDArray[np.object_]) -> Floats:
        return np.log1p([[len(text)] for text in some])

    rng = np.random.default_rng(SEED)
    drawn = rng.choice(len(logs), size=min(3_000, len(logs)), p=weights / weights.sum())
    lines = [
        QuantileRegressor(quantile=level, alpha=0.0)
        .fit(size(known.texts[prompt[drawn]]), logs[drawn])
        .predict(size(texts))
        for level in LEVELS
    ]
    return {
        "one quantile for all": np.tile(constant, (len(texts), 1)),
        "length of the prompt": np.stack(lines, axis=1),
    }


def alone(
    table: LengthTable, inputs: Inputs, arm: npt.NDArray[np.intp], arms: Sequence[str]
) -> LengthModel:
    """Lengths fitted on the attempts of the arms, as ``--arms`` fits them.

    Args:
        table: without the family.
        inputs: of its prompts.
        arm: intp, of each model, −1 for none.
        arms: names.
    """
    of_attempt = arm[table.model]
    rows = of_attempt >= 0
    prompts, place = np.unique(table.prompt[rows], return_inverse=True)
    shape = (len(prompts), len(arms))
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (place, of_attempt[rows]), np.exp(table.logs[rows]))
    np.add.at(counts, (place, of_attempt[rows]), 1)
    tokens: Floats = np.full(shape, np.nan)
    np.divide(sums, counts, out=tokens, where=counts > 0)
    texts = table.texts[prompts]
    nothing = np.full(len(prompts), "", dtype=object)
    outcomes = Outcomes(
        arms=tuple(arms), prompt_ids=texts, texts=texts, groups=texts, categories=nothing,
        languages=nothing, sources=nothing, thresholds=np.zeros(len(prompts)), quality=tokens * np.nan,
        cost_nanos=np.zeros(shape, dtype=np.int64), output_tokens=tokens,
    )  # fmt: skip
    return fit_lengths(inputs.of(texts), outcomes, seed=SEED, dimensions=inputs.dimensions)


def as_served(tokens: Floats, texts: npt.NDArray[np.object_]) -> Floats:
    """Quantiles bounded by what each prompt asks for.

    Args:
        tokens: float64 ``(n, k, 3)``.
        texts: of the ``n`` prompts.
    """
    served = tokens.copy()
    for row, asked in enumerate(map(asked_length, texts)):
        if asked != UNASKED:
            served[row] = [[*_quantiles(bounded(Lengths(*arm), asked))] for arm in tokens[row]]
    return served


def _quantiles(lengths: Lengths) -> tuple[float, float, float]:
    return lengths.p50, lengths.p90, lengths.p99


def left_out(table: LengthTable, inputs: Inputs, family: int) -> tuple[Unseen | None, Unseen]:
    """Quantiles of a family by fits without it: for today's models of each tier, and for every model."""
    tiers = read_reference().tiers
    rest = table.without(family)
    known = length_examples(rest, read_requests(), history_annotations(), tiers, seed=SEED)
    arms = list(tiers)
    fit = fit_tier_lengths(
        inputs.of(known.texts), known, arms, seed=SEED, dimensions=inputs.dimensions
    )
    rows = np.flatnonzero(table.family[table.prompt] == family)
    prompts, place = np.unique(table.prompt[rows], return_inverse=True)
    texts = table.texts[prompts]
    unbounded = fit.of(inputs.of(texts))
    quantiles = np.log(as_served(unbounded, texts))[:, :, :2]
    unbounded = np.log(unbounded)[:, :, :2]
    others = plain(known, texts)
    tier_of = {model: arms.index(tier) for tier, models in tiers.items() for model in models}
    arm = np.array([tier_of.get(name, -1) for name in table.models])[table.model[rows]]
    talk = fit_talkativeness(rest, set(tier_of)).models
    usual = float(np.mean(list(talk.values())))
    own = np.array([talk.get(name, usual) for name in table.models])[table.model[rows]]
    tokens = np.exp(table.logs[rows])

    def unseen(chosen: npt.NDArray[np.bool_], mine: dict[str, Floats], shift: Floats) -> Unseen:
        at = place[chosen]
        logs = mine | {name: line[at] + shift[:, None] for name, line in others.items()}
        predicted = {name: np.exp(np.maximum(one, 0.0)) for name, one in logs.items()}
        return Unseen(tokens[chosen], predicted, table.prompt[rows][chosen])

    today = arm >= 0
    of_today = None
    if today.sum() >= MIN_LENGTHS:
        shifts = np.array([known.voices.get(name, TODAY).shift for name in arms])
        of_model = np.array([tier_of.get(name, -1) for name in table.models])
        own_attempts = alone(rest, inputs, of_model, arms).of(inputs.of(texts))[:, :, :2]
        chosen = place[today], arm[today]
        logs = {
            "": quantiles[chosen],
            UNBOUNDED: unbounded[chosen],
            "the tiers' own attempts": np.log(own_attempts[chosen]),
        }
        of_today = unseen(today, logs, shifts[arm[today]])
    # The tier of medium ability, at the talkativeness of each model.
    middle = arms[len(arms) // 2]
    voice = known.voices.get(middle, TODAY)
    logs = {
        name: voice.length(one[place, len(arms) // 2]) + own[:, None]
        for name, one in (("", quantiles), (UNBOUNDED, unbounded))
    }
    every = unseen(np.ones(len(rows), dtype=bool), logs, own)
    return of_today, every


def figures(title: str, found: Unseen, target: bool) -> Iterator[Figure]:
    """Coverage and pinball of ours and of the baselines."""
    mine = found.predicted[""]
    cover = coverage(found.tokens, mine[:, 1])
    bounds = (0.85, 0.95) if target else (None, None)
    yield Figure(f"{title}: p90 of the length, coverage (at least)", cover, "", bounds[0], ">=")
    if target:
        yield Figure(f"{title}: p90 of the length, coverage (at most)", cover, "", bounds[1], "<=")
    yield Figure(f"· {title}: p50, coverage", coverage(found.tokens, mine[:, 0]), "")
    yield Figure(f"· {title}: p90 / p50, median", float(np.median(mine[:, 1] / mine[:, 0])), "×")
    yield Figure(f"· {title}: p50 / real, median", float(np.median(mine[:, 0] / found.tokens)), "×")
    for name, other in found.predicted.items():
        if not name:
            continue
        yield Figure(f"· baseline {name}: p90, coverage", coverage(found.tokens, other[:, 1]), "")
        for place, level in enumerate(LEVELS):
            ratio = pinball(found.tokens, mine[:, place], level) / pinball(
                found.tokens, other[:, place], level
            )
            yield Figure(f"· {title}: pinball p{100 * level:.0f}, to {name}", ratio, "×")


def by_answer(title: str, table: LengthTable, found: Unseen) -> Iterator[Figure]:
    """Coverage by the annotated kind of answer."""
    annotations = history_annotations()
    known = [annotations.get(prompt_key(text)) for text in table.texts]
    answer = np.array([-1 if one is None else one.answer for one in known])[found.prompt]
    for place, kind in enumerate(ANSWERS):
        rows = answer == place
        if rows.sum() >= MIN_LENGTHS:
            cover = coverage(found.tokens[rows], found.predicted[""][rows, 1])
            yield Figure(f"· {title}, answers of a {kind}: p90, coverage", cover, "")


def where_asked(title: str, table: LengthTable, found: Unseen) -> Iterator[Figure]:
    """The prompts that say how long the answer shall be: coverage and width, bounded by it and not."""
    asks = np.array([asked_length(text) != UNASKED for text in table.texts])[found.prompt]
    if asks.sum() < MIN_LENGTHS:
        return
    for name in ("", UNBOUNDED):
        said = f"{title}, asked lengths" + (f", {name}" if name else "")
        quantiles, tokens = found.predicted[name][asks], found.tokens[asks]
        for place, level in enumerate(LEVELS):
            cover = coverage(tokens, quantiles[:, place])
            yield Figure(f"· {said}: p{100 * level:.0f}, coverage", cover, "")
        yield Figure(
            f"· {said}: p90 / real, median", float(np.median(quantiles[:, 1] / tokens)), "×"
        )


def measure() -> Iterator[Figure]:
    """Every family, left out in turn. Skipped without the histories."""
    paths = sorted(HISTORIES.glob("*.parquet"))
    if not paths:
        Console(stderr=True).print(
            f"no {HISTORIES}: lengths are not measured; set HISTORIES=folder"
        )
        return
    histories = [read_history(path) for path in paths]
    table = length_table(histories, [standard_of(one) for one in histories])
    for encoder in NAMES:
        inputs = encoded(table, encoder)
        for family, name in enumerate(table.families):
            today, every = left_out(table, inputs, family)
            title = f"{encoder}: {name} left out"
            if today is not None:
                yield from figures(f"{title}, today's models", today, True)
            yield from figures(f"{title}, every model", every, False)
            yield from where_asked(title, table, every)
            yield from by_answer(title, table, every)
