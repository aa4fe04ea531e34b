"""What a report says of a bundle as it will serve: speed, size, savings net of its own time, the gate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from router.classifier.bundle import Bundle
from training.histories.table import Outcomes
from training.histories.tabulating import Table
from training.judging.baselines import BaselineScores
from training.judging.beliefs import Beliefs
from training.judging.evaluating import plain
from training.judging.footprint import CORE_HOUR_USD, encode_ms, footprint, net_of_router
from training.judging.gating import gate
from training.tracking.runs import git_commit

__all__ = ["as_served", "facts"]


def as_served(
    report: Mapping[str, Any],
    bundle: Bundle,
    directory: Path,
    encoders: Path,
    test: Outcomes,
    beliefs: Beliefs,
    baselines: BaselineScores | None,
    *,
    core_hour_usd: float = CORE_HOUR_USD,
) -> dict[str, Any]:
    """The report of :func:`training.judging.evaluating.evaluate` and what only the written bundle can tell.

    Args:
        report: on these prompts.
        bundle: loaded from ``directory``.
        directory: of the bundle.
        encoders: folder of encoders.
        test: ``n`` prompts that the bundle was not trained on.
        beliefs: what it believes of them.
        baselines: what they say of the same prompts.
        core_hour_usd: what an hour of one core costs.

    Returns:
        It adds ``encode_ms``, ``footprint``, ``net_of_router``, ``gate`` and ``bundle``.
    """
    seed = bundle.manifest.split.seed
    verdict = gate(
        test, beliefs, baselines=baselines, champion=None, seed=seed,
        demonstration=bundle.manifest.demonstration,
    )  # fmt: skip
    timed = {**report, "encode_ms": plain(encode_ms(bundle, test.texts, seed))}
    return {
        **timed,
        "footprint": footprint(directory, encoders),
        "net_of_router": net_of_router(timed, core_hour_usd),
        "gate": plain(verdict.as_dict()),
        "bundle": bundle.version,
    }


def facts(bundle: Bundle, table: Table) -> dict[str, str]:
    """What a page says of where its figures come from."""
    manifest = bundle.manifest
    return {
        "Bundle": bundle.version + (" (DEMONSTRATION)" if manifest.demonstration else ""),
        "Encoder": "; ".join(f"{one.name}, sha256 {one.sha256[:12]}" for one in manifest.encoders),
        "Histories": ", ".join(
            f"{one.name} (sha256 {one.sha256[:12]}, adequate from {one.adequacy_threshold:g})"
            for one in table.histories
        ),
        "Arms": "; ".join(f"{arm}: {', '.join(models)}" for arm, models in table.models.items()),
        "Made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, git commit {(git_commit() or '–')[:12]}",
    }
