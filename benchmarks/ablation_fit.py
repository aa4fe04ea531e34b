"""The fit of everything without some of its parts, or without some of its sources: see :mod:`ablation`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import expit, logit

from training.evaluation.predictions import p_of_models
from training.fitting.demands import Demands, attempts_at, fit_demands
from training.fitting.estimator import (
    FOLDS,
    Hyperparameters,
    PooledLogistic,
    cross_fitted,
    fit_pooled,
    refitted,
)
from training.fitting.heads import Data, fit_once
from training.fitting.ngrams import BUCKETS
from training.fitting.stacking import Stack, fit_stack
from training.histories.split import folds
from training.pipeline.training_data import EncodedData
from training.pipeline.unseen_sources import Source
from training.scale.examples import ANNOTATED, calibration_weights
from training.scale.model_names import NamedModels
from training.scale.placement import PlacedTiers

MOST_WEIGHT = float(os.environ.get("MOST_WEIGHT", "inf"))
"""What an example weighs at most: 1 makes an annotation one attempt, as most measured prompts are."""
ENCODER = os.environ.get("ENCODER", "static")
VECTOR = {"multilingual": Hyperparameters(0.0003, 1.0)}.get(ENCODER, Hyperparameters(0.001, 4.0))
"""What the fits of everything chose."""
FEWER = BUCKETS // 4
WORDS_IN_FEWER = f"words in {FEWER:,} places"
HEADS = ("vector", "words", "trees", WORDS_IN_FEWER)
BASE, LENGTH = "share of each tier alone", "prompt length alone"
SHIPPED = "as shipped"

Floats = npt.NDArray[np.float64]
Logits = dict[str, Floats]


@dataclass(frozen=True)
class Variant:
    """A classifier with some of the parts."""

    heads: tuple[str, ...]
    strengths: bool = True


BASELINES = {name: Variant((name,), strengths=False) for name in (BASE, LENGTH)}


def variants(shipped: tuple[str, ...]) -> dict[str, Variant]:
    """By name. ``shipped`` are the heads of the fit of everything."""
    whole = Variant(shipped)
    found = {SHIPPED: whole}
    for head in shipped:
        found[f"without {head}"] = Variant(tuple(one for one in shipped if one != head))
    fewer = tuple(WORDS_IN_FEWER if one == "words" else one for one in shipped)
    return found | {
        f"with {WORDS_IN_FEWER}": Variant(fewer),
        "without strengths": replace(whole, strengths=False),
        "vector alone": Variant(("vector",)),
        "trees alone": Variant(("trees",)),
        "words alone": Variant(("words",)),
        **{f"baseline {name}": one for name, one in BASELINES.items()},
    }


# --- Gathering ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """What a classifier reads of ``n`` prompts: x ``(n, p)``, counts ``(n, BUCKETS)``."""

    x: npt.NDArray[np.float32]
    counts: sparse.csr_matrix
    characters: Floats

    def take(self, rows: npt.NDArray[np.bool_]) -> Inputs:
        return Inputs(self.x[rows], self.counts[rows], self.characters[rows])

    def counts_of(self, head: str) -> sparse.csr_matrix:
        """The counts that a head reads. Those of places folded together are added up."""
        if head != WORDS_IN_FEWER:
            return self.counts
        there = self.counts.tocoo()
        shape = (self.counts.shape[0], FEWER)
        return sparse.csr_matrix((there.data, (there.row, there.col % FEWER)), shape=shape)


def inputs_of(
    texts: npt.NDArray[np.object_], x: npt.NDArray[np.float32], counts: sparse.csr_matrix
) -> Inputs:
    return Inputs(x, counts, np.array([[np.log1p(len(text))] for text in texts]))


@dataclass(frozen=True)
class Known:
    """The examples of a fit: ``n`` prompts, ``k`` arms, fold ``(n,)``; outcome and weights in the heads and
    in the stack, each ``(n, k)``."""

    inputs: Inputs
    outcome: Floats
    weight: Floats
    stack_weight: Floats
    fold: npt.NDArray[np.intp]

    def take(self, rows: npt.NDArray[np.bool_]) -> Known:
        return Known(
            self.inputs.take(rows),
            self.outcome[rows],
            self.weight[rows],
            self.stack_weight[rows],
            self.fold[rows],
        )


# --- Fitting -----------------------------------------------------------------------------------


def alone(fit: PooledLogistic, head: str) -> PooledLogistic:
    """One head as a model of its own, as :func:`refitted` and :func:`cross_fitted` read it."""
    k = len(fit.bias)
    kind = "words" if head == WORDS_IN_FEWER else head
    return replace(fit, heads=(kind,), stack=Stack(np.ones((k, 1)), np.zeros(k)))


def to_logits(p: Floats) -> Floats:
    return np.asarray(logit(np.clip(p, 1e-12, 1 - 1e-12)))


def head_logits(
    fit: PooledLogistic, known: Known, asked: Sequence[Inputs], seed: int
) -> list[Logits]:
    """The logits of every head and baseline, fitted on some prompts, for others.

    Args:
        fit: has the hyperparameters.
        known: what is fitted.
        asked: inputs of others, any number of sets.
        seed: of the trees.
    """
    found: list[Logits] = [{} for _ in asked]
    for head in HEADS:
        predict = refitted(
            alone(fit, head),
            known.inputs.x,
            known.outcome,
            known.weight > 0,
            seed=seed,
            counts=known.inputs.counts_of(head),
            weights=known.weight,
        )
        for told, one in zip(found, asked, strict=True):
            told[head] = to_logits(predict(one.x, one.counts_of(head)))
    share = np.average(known.outcome, axis=0, weights=np.maximum(known.weight, 1e-12))
    columns = known.inputs.characters
    line = fit_once(
        Data(columns.astype(np.float32), known.outcome, known.weight), Hyperparameters(1.0, 1.0)
    )
    for told, one in zip(found, asked, strict=True):
        told[BASE] = np.tile(to_logits(share), (len(one.x), 1))
        told[LENGTH] = line(one.characters.astype(np.float32))
    return found


def out_of_fold_logits(fit: PooledLogistic, known: Known, seed: int) -> Logits:
    """The logits of every head at the prompts of the fit, by fits on other folds."""
    return {
        head: to_logits(
            cross_fitted(
                alone(fit, head),
                known.inputs.x,
                known.outcome,
                known.weight > 0,
                known.fold,
                seed=seed,
                counts=known.inputs.counts_of(head),
                weights=known.weight,
            )
        )
        for head in HEADS
    }


@dataclass(frozen=True)
class Combination:
    """How a variant combines the logits of its heads."""

    heads: tuple[str, ...]
    stack: Stack

    def p_adequate(self, logits: Logits) -> Floats:
        """Of the tiers, ``(n, k)``."""
        heads = np.stack([logits[head] for head in self.heads], axis=2)
        return np.asarray(expit(self.stack.of(heads)))


def combination(variant: Variant, logits: Logits, known: Known) -> Combination:
    """The stack on out-of-fold logits; a baseline is taken as it is."""
    if variant in BASELINES.values():
        k = known.outcome.shape[1]
        return Combination(variant.heads, Stack(np.ones((k, 1)), np.zeros(k)))
    heads = np.stack([logits[head] for head in variant.heads], axis=2)
    return Combination(variant.heads, fit_stack(heads, known.outcome, known.stack_weight))


@dataclass
class Ablation:
    """The fit of everything, its variants, and what they say.

    Attributes:
        encoded: the data.
        seed: of the run.
        fit: of everything, as shipped.
        known: its examples.
        logits: of the heads, out of fold.
        variants: by name.
    """

    encoded: EncodedData
    seed: int
    fit: PooledLogistic
    known: Known
    logits: Logits
    variants: Mapping[str, Variant] = field(default_factory=dict)

    @classmethod
    def of(cls, encoded: EncodedData, seed: int) -> Ablation:
        examples, (x, counts) = encoded.data.examples, encoded.examples
        fold = folds(examples.groups, count=FOLDS, seed=seed)
        weight = np.minimum(examples.weight, MOST_WEIGHT)
        stack_weight = np.minimum(calibration_weights(examples), MOST_WEIGHT)
        fit = fit_pooled(
            x,
            examples.outcome,
            examples.weight > 0,
            examples.groups.tolist(),
            seed=seed,
            counts=counts,
            weights=weight,
            stack_weights=stack_weight,
            grid=[VECTOR],
            dimensions=encoded.dimensions,
        )
        inputs = inputs_of(examples.texts, x, counts)
        known = Known(inputs, examples.outcome, weight, stack_weight, fold)
        logits = out_of_fold_logits(fit, known, seed)
        return cls(encoded, seed, fit, known, logits, variants(fit.heads))

    @property
    def placed(self) -> PlacedTiers:
        if self.encoded.data.placed is None:
            raise ValueError("the tiers are not on the scale of ability")
        return self.encoded.data.placed

    def tiers(
        self, asked: Sequence[Inputs], kept: npt.NDArray[np.bool_]
    ) -> tuple[list[dict[str, Floats]], Demands | None]:
        """What every variant fitted on some examples says of other prompts.

        Args:
            asked: inputs of these.
            kept: bool ``(n,)``, the examples that are fitted.

        Returns:
            Of each of ``asked``, by variant, P(adequate) of the tiers; and the demands.
        """
        known = self.known.take(kept)
        logits = {head: rows[kept] for head, rows in self.logits.items()}
        ways = {name: combination(one, logits, known) for name, one in self.variants.items()}
        said = head_logits(self.fit, known, asked, self.seed)
        found = [{name: way.p_adequate(told) for name, way in ways.items()} for told in said]
        examples = self.encoded.data.examples.rows(kept)
        p = ways[SHIPPED].p_adequate(logits)
        untried = np.asarray(examples.sources == ANNOTATED)
        attempts = attempts_at(self.placed, examples, p)
        return found, fit_demands(known.inputs.x, attempts, untried, seed=self.seed)

    def at_models(
        self, source: Source, tiers: Mapping[str, Floats], demands: Demands | None
    ) -> dict[str, Floats]:
        """P(adequate) of the models of a source by every variant, ``(n, k)``."""
        models = source.test.models
        if models is None:
            return dict(tiers)
        named = NamedModels.of(models)
        points = self.placed.points_of(named)
        shift = np.zeros(models.shape)
        if demands is not None:
            shift = named.shifts(demands.strengths, demands.of(source.x))
        return {
            name: p_of_models(
                p, self.placed.points, points, shift if self.variants[name].strengths else 0.0
            )
            for name, p in tiers.items()
        }
