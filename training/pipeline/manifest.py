"""The manifest of a bundle, from what a training run read and fitted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import numpy as np

from router.catalog.catalog import Catalog
from router.classifier.features.lexical import FEATURES
from router.classifier.manifest import (
    FORMAT_VERSION,
    Arm,
    BundleManifest,
    Evidence,
    ModelAbility,
    ReferencePrice,
    Split,
)
from router.core.model_names import canonical_name
from router.core.rates import Rates
from training.export.stages import Stages
from training.fitting.demands import Demands
from training.fitting.lengths import LengthModel
from training.histories.outcome_table import HistoryTable
from training.histories.outcomes import Outcomes
from training.pipeline.sources import Sources
from training.pipeline.training_data import TrainingData
from training.plan import TrainingPlan, bundle_name
from training.scale.ability import Ability
from training.scale.arm_placement import PlacedArms
from training.scale.examples import ANNOTATED
from training.scale.placement import ANNOTATION_SPREAD, PlacedTiers

__all__ = ["bundle_manifest"]


def _data_sha256(table: HistoryTable) -> str:
    """Hash of the training data: prompts, outcomes, lengths, arms and thresholds, in any order of files."""
    outcomes = table.outcomes
    order = np.lexsort((outcomes.prompt_ids.astype(str), outcomes.groups.astype(str)))
    digest = hashlib.sha256(json.dumps([outcomes.arms, dict(table.models)]).encode())
    digest.update("".join(outcomes.groups[order]).encode())
    for column in (outcomes.quality, outcomes.thresholds, outcomes.output_tokens):
        digest.update(np.ascontiguousarray(column[order], dtype="<f8").tobytes())
    return digest.hexdigest()


def _reference(rates: Rates | None) -> ReferencePrice | None:
    return None if rates is None else ReferencePrice(input=rates.input, output=rates.output)


def _listed_price(models: Collection[str], catalog: Catalog, when: datetime) -> Rates | None:
    """The price in the catalog that all models of an arm have, for histories that log costs instead."""
    names = {canonical_name(model) for model in models}
    listed = [(canonical_name(one.spec.id), one.rates_at(when)) for one in catalog.entries]
    rates = [price for name, price in listed if name in names]
    known = names <= {name for name, _ in listed}
    return rates[0] if known and all(price == rates[0] for price in rates) else None


def _arms(
    sources: Sources, train: Outcomes, lengths: LengthModel, catalog: Catalog, when: datetime
) -> list[Arm]:
    table, placed = sources.table, sources.placed
    scale = placed or sources.arms
    judged, adequate = train.judged.sum(axis=0), (train.adequate & train.judged).sum(axis=0)
    return [
        Arm(
            name=name,
            tier=name,
            models=list(table.models[name] if placed is None else placed.anchors[name]),
            reference_price=_reference(
                table.rates[name]
                if placed is not None
                else table.rates[name] or _listed_price(table.models[name], catalog, when)
            ),
            attempts=int(judged[place]),
            adequate_share=float(adequate[place] / judged[place]),
            has_lengths=bool(lengths.known[place]),
            ability=None if scale is None else round(float(scale.points[place]), 1),
        )
        for place, name in enumerate(table.outcomes.arms)
    ]


def _languages(train: Outcomes) -> dict[str, int]:
    names, counts = np.unique(train.languages.astype(str), return_counts=True)
    return {name or "unknown": int(count) for name, count in zip(names, counts, strict=True)}


def bundle_manifest(
    plan: TrainingPlan,
    sources: Sources,
    data: TrainingData,
    cascade: Stages,
    report: Any,
    catalog: Catalog,
) -> BundleManifest:
    """Describe the bundle; its files are hashed when they are written.

    Args:
        plan: of the run.
        sources: that it read.
        data: that it fitted.
        cascade: the fits.
        report: held-out figures.
        catalog: prices of arms that the histories have no price of.
    """
    table, now = sources.table, datetime.now(UTC)
    thresholds, counts = np.unique(table.outcomes.thresholds, return_counts=True)
    train = cascade.first.train.outcomes
    return BundleManifest(
        format_version=FORMAT_VERSION,
        name=bundle_name(plan),
        created=now.replace(microsecond=0),
        demonstration=not plan.histories,
        arms=_arms(sources, train, cascade.first.lengths, catalog, now),
        encoder=cascade.first.reference,
        second=cascade.second,
        features=list(FEATURES),
        # Every history has its own threshold, listed with it; this one is that of most prompts.
        adequacy_threshold=float(thresholds[counts.argmax()]),
        histories=list(table.histories),
        training_data_sha256=_data_sha256(table),
        split=Split(seed=plan.seed, holdout=plan.holdout),
        languages=_languages(train),
        abilities=_abilities(sources, cascade.first.demands),
        evidence=_evidence(sources, data),
        mlflow_run_id=None,
        metrics=report,
        files={},
    )


def _evidence(sources: Sources, data: TrainingData) -> Evidence | None:
    weight = 4 / ANNOTATION_SPREAD**2
    if sources.placed is not None:
        measured, annotated = len(sources.placed.measured), len(sources.placed.annotated)
        return Evidence(measured=measured, annotated=annotated, weight=round(weight, 1))
    if sources.arms is None:
        return None
    annotated = data.examples.sources == ANNOTATED
    weights = data.examples.weight
    return Evidence(
        measured=int((~annotated).sum()),
        annotated=int(annotated.sum()),
        weight=round(weight * data.annotation, 3),
        share=round(float(weights[annotated].sum() / weights.sum()), 4),
    )


def _abilities(sources: Sources, demands: Demands | None) -> dict[str, ModelAbility]:
    if sources.placed is not None:
        return _measured(sources.placed, demands)
    if sources.arms is not None:
        return _measured_and_known(sources.arms)
    return {}


def _measured(placed: PlacedTiers, demands: Demands | None) -> dict[str, ModelAbility]:
    strengths = {} if demands is None else demands.strengths
    return {
        name: _told(
            one, strengths=tuple(round(float(value), 4) for value in strengths.get(name, ()))
        )
        for name, one in placed.abilities.items()
    }


def _measured_and_known(placed: PlacedArms) -> dict[str, ModelAbility]:
    """Models of the histories and others."""
    found = {name: _told(one, elsewhere=one.histories) for name, one in placed.elsewhere.items()}
    return found | {name: _told(one) for name, one in placed.abilities.items()}


def _told(
    one: Ability, *, strengths: tuple[float, ...] = (), elsewhere: tuple[str, ...] = ()
) -> ModelAbility:
    return ModelAbility(
        points=one.points,
        uncertainty=one.uncertainty,
        attempts=one.attempts,
        strengths=strengths,
        elsewhere=elsewhere,
    )
