"""A new model without training: models of two histories, as if the bundle at ``BUNDLE`` did not know them.

Each model is taken from the bundle's abilities and placed again by 20, 100 and 500 random attempts at
prompts of the bundle's training, five times. It is judged on its attempts at prompts that no training saw.
Beside it: its tier, taken to be that of the nearest arm, the ability and the strengths that training gave it
with all its attempts, and the base rate of the same attempts. 95 % bootstrap intervals over prompts in
brackets; negative differences are gains. «Near its tier»: within the prior's standard deviation of its arm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.report import Figure
from router.classifier.bundle import Bundle, load_bundle
from router.core.ability import NEVER_SURE
from router.paths import DEFAULT_BUNDLE, ENCODERS
from training.arrivals.arrival_evidence import PromptScores
from training.arrivals.arrival_report import WIDTH_90
from training.arrivals.model_place import PRIOR_SPREAD, JudgedPrompts, Place, fit_place
from training.encoders.embedding import encode_prompts
from training.evaluation.bundle_predictions import unseen_prompts
from training.evaluation.calibration_metrics import ece
from training.fitting.demands import MIN_MODEL_ATTEMPTS
from training.histories.history import read_history
from training.histories.ladders import standard_of
from training.histories.split import SEED
from training.scale.attempt_table import AttemptTable, attempt_table

Floats = npt.NDArray[np.float64]

BUNDLE = Path(os.environ.get("BUNDLE", DEFAULT_BUNDLE))
HISTORIES = Path(os.environ.get("HISTORIES", "../shared/data/history"))
NAMES = ("mmlu_pro", "shaberi_ja")
MODELS = 29
"""Models of each history: all of mmlu_pro, every sixth of shaberi_ja."""
LEAST = 150
"""Attempts that a model needs to be among them."""
ATTEMPTS = (20, 100, 500)
DRAWS = 5
RESAMPLES = 1_000
BASE_RATE, TIER, SCALE, STRONG = (
    "its base rate", "its tier", "the ability by all attempts", "the same with strengths",
)  # fmt: skip


@dataclass(frozen=True)
class _World:
    """A history with what the bundle says of its prompts; ``unseen`` bool ``(prompts,)``."""

    name: str
    table: AttemptTable
    scores: PromptScores
    unseen: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Judged:
    """What became of one way of serving a model.

    Attributes:
        losses: float64 ``(prompts,)``, log-loss in nats, NaN where the model has no attempt.
        ece: 0..1.
        distance: from the ability by all attempts, in points; NaN where the way has no ability of its own.
        inside: whether that ability is in the 90 % interval.
    """

    losses: Floats
    ece: float
    distance: float = float("nan")
    inside: float = float("nan")


def _world(bundle: Bundle, name: str) -> _World:
    history = read_history(HISTORIES / f"{name}.parquet")
    table, prompts = attempt_table([history], [standard_of(history)])
    encoded = encode_prompts(bundle.encoder, prompts.texts.tolist(), cache=None)
    scores = PromptScores.of(bundle, encoded, np.arange(table.prompts), table.prompts)
    unseen = unseen_prompts(bundle, BUNDLE, prompts)
    return _World(name, table, scores, np.ones(table.prompts, bool) if unseen is None else unseen)


def _judged(world: _World, rows: npt.NDArray[np.bool_], test: JudgedPrompts, p: Floats) -> _Judged:
    right = np.where(test.adequate, p, 1 - p)
    losses = np.full(world.table.prompts, np.nan)
    losses[world.table.prompt[rows]] = -np.log(np.maximum(right, NEVER_SURE))
    return _Judged(losses, ece(test.adequate, p))


def _ways(
    world: _World, bundle: Bundle, model: int, rng: np.random.Generator
) -> Iterator[tuple[str, _Judged]]:
    """The ways of serving one model, each possibly several times."""
    table, scores = world.table, world.scores
    known = dict(bundle.manifest.abilities)
    full = known.pop(table.models[model])
    own, new = table.model == model, world.unseen[table.prompt]
    there = own & new
    test = scores.attempts(table, there)
    arms = scores.arm_points
    tier = float(arms[np.abs(arms - full.points).argmin()])
    plain = Place(full.points, full.uncertainty, np.zeros(0), np.zeros(1))
    fixed = {
        TIER: Place(tier, 0.0, np.zeros(0), np.zeros(1)),
        SCALE: plain,
        STRONG: replace(plain, strengths=np.array(full.strengths)),
    }
    for way, place in fixed.items():
        yield way, _judged(world, there, test, place.p_adequate(test))
    candidates = np.flatnonzero(own & ~new)
    for _ in range(DRAWS):
        order = rng.permutation(candidates)
        for count in (one for one in ATTEMPTS if one <= len(order)):
            learnt = np.zeros(len(own), dtype=bool)
            learnt[order[:count]] = True
            attempts = scores.attempts(table, learnt)
            peers = scores.peers(table, learnt, known)
            rate = (attempts.adequate.sum() + 0.5) / (count + 1)
            yield (
                f"{BASE_RATE}, {count} attempts",
                _judged(world, there, test, np.full(len(test), rate)),
            )
            for strengths in (False, True):
                if strengths and count < MIN_MODEL_ATTEMPTS:
                    continue
                place = fit_place(attempts, tier, peers, strengths=strengths)
                # As served: how strict a judge is, is not the model's.
                served = replace(place, leniency=np.zeros(1)).p_adequate(test)
                away = abs(place.points - full.points)
                yield (
                    f"placed by {count} attempts{', with strengths' if strengths else ''}",
                    replace(
                        _judged(world, there, test, served),
                        distance=away,
                        inside=float(away <= WIDTH_90 * place.uncertainty),
                    ),
                )


def _interval(losses: Floats, baseline: Floats) -> str:
    """Of the mean difference of losses, ``(prompts,)`` each, over resampled prompts."""
    difference = losses - baseline
    difference = difference[~np.isnan(difference)]
    drawn = np.random.default_rng(SEED).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.percentile(difference[drawn].mean(axis=1), [2.5, 97.5])
    return f"{difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def _mean(losses: list[Floats]) -> Floats:
    """Of each prompt over models and draws, ``(prompts,)``; NaN where there are none."""
    table = np.array(losses)
    counts = (~np.isnan(table)).sum(axis=0)
    empty = np.full(table.shape[1], np.nan)
    return np.asarray(np.divide(np.nansum(table, axis=0), counts, out=empty, where=counts > 0))


def _figures(title: str, found: Mapping[str, list[_Judged]]) -> Iterator[Figure]:
    losses = {way: _mean([one.losses for one in several]) for way, several in found.items()}
    tier = float(np.nanmean(losses[TIER]))
    prompts = int((~np.isnan(losses[TIER])).sum())
    title = f"{title}, {len(found[TIER])} models, {prompts} prompts"
    for way in sorted(found):
        against = f"; to {TIER} {_interval(losses[way], losses[TIER])}" if way != TIER else ""
        if way.startswith("placed"):
            against += f"; to {SCALE} {_interval(losses[way], losses[SCALE])}"
        yield Figure(
            f"{title}: log-loss, {way}{against}",
            float(np.nanmean(losses[way])),
            "nats",
            tier if way.startswith("placed") else None,
        )
        yield Figure(f"{title}: ECE, {way}", float(np.mean([one.ece for one in found[way]])), "")
        if way.startswith("placed"):
            away = float(np.mean([one.distance for one in found[way]]))
            inside = float(np.mean([one.inside for one in found[way]]))
            yield Figure(f"{title}: distance from {SCALE}, {way}", away, "points")
            yield Figure(f"{title}: 90 % intervals that have {SCALE}, {way}", 100 * inside, "%")


def measure() -> Iterator[Figure]:
    """Skipped without the histories, or where the bundle has no scale."""
    bundle, console = load_bundle(BUNDLE, ENCODERS), Console(stderr=True)
    if len(bundle.manifest.placed_arms) < 2:
        console.print(f"{BUNDLE} has no scale of ability; set BUNDLE=directory")
        return
    for name in NAMES:
        if not (HISTORIES / f"{name}.parquet").is_file():
            console.print(f"no {name} in {HISTORIES}: set HISTORIES=folder")
            continue
        world, rng = _world(bundle, name), np.random.default_rng(SEED)
        counts = np.bincount(world.table.model, minlength=len(world.table.models))
        models = [
            place
            for place, model in enumerate(world.table.models)
            if model in bundle.manifest.abilities and counts[place] >= LEAST
        ]
        models = models[:: -(-len(models) // MODELS)]
        groups: dict[str, dict[str, list[_Judged]]] = {}
        for model in models:
            points = bundle.manifest.abilities[world.table.models[model]].points
            near = np.abs(world.scores.arm_points - points).min() <= PRIOR_SPREAD
            for way, judged in _ways(world, bundle, model, rng):
                for title in (name, f"{name}, near its tier") if near else (name,):
                    groups.setdefault(title, {}).setdefault(way, []).append(judged)
        for title, found in groups.items():
            yield from _figures(title, found)
