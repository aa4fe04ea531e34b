"""The manifest of a bundle, from what a training run read and fitted."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import numpy as np

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
from router.core.types import Rates
from training.export.stages import Stages
from training.fitting.demands import Demands
from training.fitting.lengths import LengthModel
from training.histories.outcome_table import HistoryTable
from training.histories.outcomes import Outcomes
from training.plan import TrainingPlan, bundle_name
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


def _arms(
    table: HistoryTable, train: Outcomes, lengths: LengthModel, placed: PlacedTiers | None
) -> list[Arm]:
    judged, adequate = train.judged.sum(axis=0), (train.adequate & train.judged).sum(axis=0)
    return [
        Arm(
            name=name,
            tier=name,
            models=list(table.models[name] if placed is None else placed.anchors[name]),
            reference_price=_reference(table.rates[name]),
            attempts=int(judged[place]),
            adequate_share=float(adequate[place] / judged[place]),
            has_lengths=bool(lengths.known[place]),
            ability=None if placed is None else round(float(placed.points[place]), 1),
        )
        for place, name in enumerate(table.outcomes.arms)
    ]


def _languages(train: Outcomes) -> dict[str, int]:
    names, counts = np.unique(train.languages.astype(str), return_counts=True)
    return {name or "unknown": int(count) for name, count in zip(names, counts, strict=True)}


def bundle_manifest(
    plan: TrainingPlan,
    table: HistoryTable,
    placed: PlacedTiers | None,
    cascade: Stages,
    report: Any,
) -> BundleManifest:
    """Describe the bundle; its files are hashed when they are written.

    Args:
        plan: of the run.
        table: the outcomes of the arms.
        placed: the tiers on the scale of ability, where they are.
        cascade: the fits.
        report: held-out figures.
    """
    thresholds, counts = np.unique(table.outcomes.thresholds, return_counts=True)
    train = cascade.first.train.outcomes
    return BundleManifest(
        format_version=FORMAT_VERSION,
        name=bundle_name(plan),
        created=datetime.now(UTC).replace(microsecond=0),
        demonstration=not plan.histories,
        arms=_arms(table, train, cascade.first.lengths, placed),
        encoder=cascade.first.reference,
        second=cascade.second,
        features=list(FEATURES),
        # Every history has its own threshold, listed with it; this one is that of most prompts.
        adequacy_threshold=float(thresholds[counts.argmax()]),
        histories=list(table.histories),
        training_data_sha256=_data_sha256(table),
        split=Split(seed=plan.seed, holdout=plan.holdout),
        languages=_languages(train),
        abilities={} if placed is None else _abilities(placed, cascade.first.demands),
        evidence=None
        if placed is None
        else Evidence(
            measured=len(placed.measured),
            annotated=len(placed.annotated),
            weight=round(4 / ANNOTATION_SPREAD**2, 1),
        ),
        mlflow_run_id=None,
        metrics=report,
        files={},
    )


def _abilities(placed: PlacedTiers, demands: Demands | None) -> dict[str, ModelAbility]:
    strengths = {} if demands is None else demands.strengths
    return {
        name: ModelAbility(
            points=one.points,
            uncertainty=one.uncertainty,
            attempts=one.attempts,
            strengths=tuple(round(float(value), 4) for value in strengths.get(name, ())),
        )
        for name, one in placed.abilities.items()
    }
