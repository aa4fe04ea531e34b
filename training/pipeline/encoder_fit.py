"""The fit with one encoder: P(adequate), demands and lengths."""

from __future__ import annotations

import numpy as np

from training.export.stages import CASCADE, Fit
from training.fitting.demands import Demands, attempts_at, fit_demands
from training.fitting.estimator import PooledLogistic, fit_pooled
from training.fitting.lengths import LengthModel, fit_lengths
from training.fitting.tier_lengths import fit_tier_lengths
from training.pipeline.stage_timer import StageTimer
from training.pipeline.training_data import EncodedData
from training.plan import TrainingPlan
from training.scale.examples import ANNOTATED, calibration_weights

__all__ = ["fit_encoder"]


def fit_encoder(plan: TrainingPlan, encoded: EncodedData, stage: StageTimer) -> Fit:
    """Fit with one encoder.

    Args:
        plan: of the run.
        encoded: what is fitted.
        stage: times the stages.
    """
    of = f" ({encoded.encoder.manifest.name})" if plan.encoder == CASCADE else ""
    with stage(f"fitting P(adequate){of}"):
        model = _pooled(plan, encoded)
    with stage(f"fitting demands{of}"):
        demands = None if plan.encoder == CASCADE else _demands(plan, encoded, model)
    with stage(f"fitting lengths{of}"):
        lengths = _lengths(plan, encoded, model)
    rows, aside = encoded.rows, encoded.data.aside
    return Fit(encoded.encoder, rows.take(~aside), rows.take(aside), model, lengths, demands)


def _pooled(plan: TrainingPlan, encoded: EncodedData) -> PooledLogistic:
    examples, (x, counts) = encoded.data.examples, encoded.examples
    return fit_pooled(
        x,
        examples.outcome,
        examples.weight > 0,
        examples.groups.tolist(),
        seed=plan.seed,
        counts=counts,
        weights=examples.weight,
        stack_weights=calibration_weights(examples),
        dimensions=encoded.dimensions,
    )


def _demands(plan: TrainingPlan, encoded: EncodedData, model: PooledLogistic) -> Demands | None:
    data = encoded.data
    if data.placed is None:
        return None
    attempts = attempts_at(data.placed, data.examples, model.out_of_fold)
    untried = np.asarray(data.examples.sources == ANNOTATED)
    return fit_demands(encoded.examples[0], attempts, untried, seed=plan.seed)


def _lengths(plan: TrainingPlan, encoded: EncodedData, model: PooledLogistic) -> LengthModel:
    data = encoded.data
    if data.lengths is not None:
        return fit_tier_lengths(
            encoded.lengths[0],
            data.lengths,
            data.outcomes.arms,
            seed=plan.seed,
            dimensions=encoded.dimensions,
        )
    train = encoded.rows.take(~data.aside)
    return fit_lengths(
        train.x,
        train.outcomes,
        seed=plan.seed,
        dimensions=encoded.dimensions,
        counts=train.counts,
        inverse=None if model.words is None else model.words.inverse,
    )
