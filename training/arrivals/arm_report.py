"""The report on an arm that was added without training, and the section of the model card on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from router.classifier.bundle import Bundle
from training.arrivals.arm_evidence import ArmEvidence
from training.arrivals.arm_plan import ArmPlan
from training.arrivals.arm_posterior import PRIOR_SPREAD, posterior_steps
from training.arrivals.graph_extension import ArmExtension
from training.arrivals.length_transfer import MIN_LENGTHS, LengthTransfer, prequential_figures
from training.evaluation.evaluation_report import json_ready
from training.histories.outcome_table import HistoryTable

__all__ = ["arm_report", "card_section", "report_notes"]

Floats = npt.NDArray[np.float64]


def report_notes(
    evidence: ArmEvidence, table: HistoryTable, bundle: Bundle, tokens: int, arm: str
) -> list[str]:
    """What the user should know of the evidence and of the bundle.

    Args:
        evidence: what the arm is fitted on.
        table: the attempts as read, with notes of their own.
        bundle: the bundle that the arm is added to.
        tokens: attempts whose output tokens are known.
        arm: name of the new arm.
    """
    notes = [*table.notes, f"serving uses this arm for the catalog model with the id {arm}"]
    seen = int((~evidence.new).sum())
    if not evidence.known:
        notes.append(
            "the bundle does not record its training prompts: all prompts are taken to be new"
        )
    elif seen:
        notes.append(
            f"{seen:,} of {len(evidence.outcomes):,} prompts were training prompts of the bundle, whose "
            "predictions there are too confident: these attempts inform the shift alone"
        )
    if tokens < MIN_LENGTHS:
        notes.append(
            f"{tokens} attempts have output tokens, {MIN_LENGTHS} are needed: the lengths are the tier's"
        )
    thresholds = {source.adequacy_threshold for source in bundle.manifest.histories}
    strange = {source.adequacy_threshold for source in table.histories} - thresholds
    if strange:
        notes.append(
            f"adequate from {', '.join(f'{value:g}' for value in sorted(strange))} here, from "
            f"{', '.join(f'{value:g}' for value in sorted(thresholds))} in the bundle's histories"
        )
    return notes


def arm_report(
    arrival: ArmPlan,
    bundle: Bundle,
    evidence: ArmEvidence,
    extension: ArmExtension,
    reference: Floats,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The report, ready for JSON: ``metrics.arrivals.ARM`` of the manifest.

    Args:
        arrival: which arm to which bundle.
        bundle: the bundle that the arm is added to.
        evidence: what the arm is fitted on.
        extension: the fitted arm.
        reference: float64 ``(m,)``, logits of the tier's head for typical prompts.
        notes: of :func:`report_notes`.
    """
    attempts, posterior = evidence.attempts, extension.posterior
    tier, tokens = evidence.lengths
    steps = posterior_steps(attempts, posterior.centre, reference, seed=arrival.seed)
    report = {
        "model": arrival.model,
        "tier": arrival.tier,
        "parent": bundle.version,
        "attempts": len(attempts),
        "effective_attempts": float(attempts.counts.sum()),
        "seen_prompts": int((~attempts.new).sum()),
        "adequate_share": float(attempts.adequate.mean()),
        "seed": arrival.seed,
        "prior_spread": {"shift": PRIOR_SPREAD[0], "slope": PRIOR_SPREAD[1]},
        "centre": posterior.centre,
        "shift": posterior.mean[0],
        "slope": 1 + posterior.mean[1],
        "covariance": posterior.covariance,
        "prediction": "mean of P(adequate) under the posterior",
        "steps": [asdict(step) for step in steps],
        "length": {"attempts": len(tokens), **_length_report(extension.transfer, tier, tokens)},
        "notes": list(notes),
    }
    made: dict[str, Any] = json_ready(report)
    return made


def _length_report(known: LengthTransfer, tier: Floats, tokens: Floats) -> dict[str, Any]:
    found = {"shift": known.shift, "widths": known.widths}
    return found if len(tokens) < MIN_LENGTHS else {**found, **prequential_figures(tier, tokens)}


def card_section(arm: str, report: Mapping[str, Any]) -> str:
    """The section of the model card on an added arm, as Markdown.

    Args:
        arm: its name.
        report: of :func:`arm_report`.
    """
    first, last = report["steps"][0]["p_adequate"], report["steps"][-1]["p_adequate"]
    loss = report["steps"][-1]["log_loss"]
    return (
        f"## The arm {arm}, added without training\n\n"
        f"`{report['model']}`, tier {report['tier']}: the tier's head after a Bayesian update by "
        f"{report['attempts']:,} attempts, {report['adequate_share']:.1%} of them adequate; "
        f"{report['seen_prompts']:,} at training prompts of the bundle. Added to `{report['parent']}`. "
        f"Mean P(adequate) over reference prompts: {last['mean']:.3f} [{last['low']:.3f}, "
        f"{last['high']:.3f}] (90 %), before any attempt {first['mean']:.3f} [{first['low']:.3f}, "
        f"{first['high']:.3f}]. Log-loss, each attempt predicted before the arm learnt from it: "
        f"{loss['arm']:.4f}; the tier's head unchanged {loss['tier']:.4f}, the base rate "
        f"{loss['base_rate']:.4f}. The figures above were measured without this arm.\n"
    )
