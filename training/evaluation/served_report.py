"""Figures of a bundle as it will serve: speed, size, savings net of its own time, and the promotion gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from router.classifier.bundle import Bundle
from training.artifacts.provenance import time_and_commit
from training.evaluation.baselines import BaselineScores
from training.evaluation.evaluation_report import json_ready
from training.evaluation.footprint import CORE_HOUR_USD, encode_ms, footprint, net_of_router
from training.evaluation.predictions import Predictions
from training.evaluation.promotion_gate import gate
from training.histories.outcome_table import HistoryTable
from training.histories.outcomes import Outcomes

__all__ = ["facts", "served_report"]


def served_report(
    report: Mapping[str, Any],
    bundle: Bundle,
    directory: Path,
    encoders: Path,
    test: Outcomes,
    predictions: Predictions,
    baselines: BaselineScores | None,
    *,
    core_hour_usd: float = CORE_HOUR_USD,
) -> dict[str, Any]:
    """The report of :func:`evaluation_report.evaluate` with the figures that need the written bundle.

    Args:
        report: on these prompts.
        bundle: loaded from ``directory``.
        directory: of the bundle.
        encoders: folder of encoders.
        test: ``n`` prompts that the bundle was not trained on.
        predictions: of the bundle for them.
        baselines: scores of the same prompts.
        core_hour_usd: what an hour of one core costs.

    Returns:
        It adds ``encode_ms``, ``footprint``, ``net_of_router``, ``gate`` and ``bundle``.
    """
    seed = bundle.manifest.split.seed
    verdict = gate(
        test, predictions, baselines=baselines, champion=None, seed=seed,
        demonstration=bundle.manifest.demonstration,
    )  # fmt: skip
    timed = {**report, "encode_ms": json_ready(encode_ms(bundle, test.texts, seed))}
    return {
        **timed,
        "footprint": footprint(directory, encoders),
        "net_of_router": net_of_router(timed, core_hour_usd),
        "gate": json_ready(verdict.as_dict()),
        "bundle": bundle.version,
    }


def facts(bundle: Bundle, table: HistoryTable) -> dict[str, str]:
    """The origin of the figures, as the head of a page shows it."""
    manifest = bundle.manifest
    return {
        "Bundle": bundle.version + (" (DEMONSTRATION)" if manifest.demonstration else ""),
        "Encoder": "; ".join(f"{one.name}, sha256 {one.sha256[:12]}" for one in manifest.encoders),
        "Histories": ", ".join(
            f"{one.name} (sha256 {one.sha256[:12]}, adequate from {one.adequacy_threshold:g})"
            for one in table.histories
        ),
        "Arms": "; ".join(f"{arm}: {', '.join(models)}" for arm, models in table.models.items()),
        "Made": time_and_commit(),
    }
