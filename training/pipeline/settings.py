"""The settings that a training run chose, as text for the model card and for MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from training.evaluation.predictions import STANDARD_GOAL
from training.export.stages import Stages
from training.fitting.estimator import PooledLogistic
from training.histories.outcome_table import HistoryTable
from training.plan import TrainingPlan

__all__ = ["IN_CARD", "chosen_settings"]


def _stack_descriptions(model: PooledLogistic) -> Iterator[str]:
    """How the heads are combined and calibrated for each arm, as text."""
    for arm, weights in enumerate(model.stack.weights):
        heads = " + ".join(f"{w:.3f} {h}" for w, h in zip(weights, model.heads, strict=True))
        yield f"{heads}, shift {model.stack.shift[arm]:.3f}"


def chosen_settings(plan: TrainingPlan, table: HistoryTable, cascade: Stages) -> dict[str, Any]:
    """Name → setting, of the plan and of what the fits chose."""
    parameters: dict[str, Any] = {
        "encoder": plan.encoder,
        "seed": plan.seed,
        "holdout": plan.holdout,
        "arms": {arm: ", ".join(models) for arm, models in table.models.items()},
        "histories": ", ".join(history.name for history in table.histories),
        "training_prompts": len(cascade.first.train.outcomes),
    }
    for made in cascade.fits:
        model, name = made.model, made.encoder.manifest.name
        of = f" of {name}" if cascade.second else ""
        parameters[f"hyperparameters{of}"] = "; ".join(
            f"{head}: C {chosen.c:g}, deviations {chosen.ratio:g} times heavier"
            for head, chosen in zip(model.heads, model.chosen, strict=False)
        )
        parameters[f"calibration{of}"] = "; ".join(
            f"{arm}: {one}"
            for arm, one in zip(table.outcomes.arms, _stack_descriptions(model), strict=True)
        )
        if made.demands is not None:
            plain, better = made.demands.log_loss
            parameters[f"strengths{of}"] = (
                f"{len(made.demands.strengths)} models along {len(made.demands.bias)} directions: log-loss "
                f"of their attempts at prompts left out {better:.4f}, by ability alone {plain:.4f}"
            )
    if cascade.second is not None:
        parameters["second stage"] = (
            f"{cascade.closest.encoder.manifest.name}, consulted for the {cascade.second.share:.0%} of "
            "prompts whose choice is closest; figures of single arms are at a quality target of "
            f"{STANDARD_GOAL.p_adequate:g}; rankings and AIQ consult it again at every threshold"
        )
    return parameters


IN_CARD = ("hyperparameters", "calibration", "strengths", "second stage")
"""Settings that the model card shows, by how their names begin."""
