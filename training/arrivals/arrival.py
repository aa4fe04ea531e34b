"""A bundle with one more model on its scale of ability; its classifier stays the same, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from router.classifier.bundle import load_bundle
from router.classifier.manifest import BundleManifest, ModelAbility
from router.files import read_checked
from training.arrivals.arrival_evidence import gather_evidence
from training.arrivals.arrival_plan import ArrivalPlan, check_names
from training.arrivals.arrival_report import (
    arrival_report,
    card_section,
    cross_validated,
    with_section,
)
from training.arrivals.model_place import fit_place
from training.export.bundle_files import check_target, write_bundle
from training.histories.history import check_files

__all__ = ["Arrival", "place_model"]

CARD_FILE = "model_card.md"


@dataclass(frozen=True)
class Arrival:
    """The result of :func:`place_model`.

    Attributes:
        manifest: of the new bundle, as written.
        report: ``metrics.arrivals.NAME`` of the manifest.
    """

    manifest: BundleManifest
    report: Mapping[str, Any]


def place_model(plan: ArrivalPlan, console: Console) -> Arrival:
    """Place a model on the scale of a bundle, and write the new bundle, whole or not at all.

    Args:
        plan: which model in which bundle.
        console: where progress goes.

    Raises:
        InvalidInput: the bundle has no scale, a name is taken or unknown, or the histories do not have
            enough judged attempts.
        BadArtifact: the bundle or its encoder is damaged, or the directory is taken.
        MitsumoriError: the cache cannot be used.
    """
    check_target(plan.out)
    check_files(plan.histories)
    bundle = load_bundle(plan.bundle, plan.encoders)
    before = bundle.manifest
    check_names(plan, before)
    files = read_checked(plan.bundle, before.files, remedy="train it again with `make train`")
    evidence = gather_evidence(plan, bundle, console)
    tier_points = {arm.name: arm.ability or 0.0 for arm in before.placed_arms}[plan.tier]
    with console.status("placing"):
        checked = cross_validated(
            evidence.attempts, evidence.peers, tier_points, evidence.groups, seed=plan.seed
        )
        place = fit_place(
            evidence.attempts, tier_points, evidence.peers, strengths=checked.strengths_help
        )
        report = arrival_report(plan, bundle, evidence, place, checked)
    ability = ModelAbility(
        points=place.points,
        uncertainty=place.uncertainty,
        attempts=len(evidence.attempts),
        strengths=tuple(place.strengths.tolist()),
    )
    arrivals = {**before.metrics.get("arrivals", {}), plan.key: report}
    manifest = before.model_copy(
        update={
            "created": datetime.now(UTC).replace(microsecond=0),
            "abilities": {**before.abilities, plan.key: ability},
            "mlflow_run_id": None,
            "metrics": {**before.metrics, "arrivals": arrivals},
        }
    )
    card = files.get(CARD_FILE, b"").decode()
    files[CARD_FILE] = with_section(card, plan.key, card_section(plan.key, report)).encode()
    return Arrival(write_bundle(plan.out, manifest, files), report)
