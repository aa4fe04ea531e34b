"""A bundle with one more arm, fitted on a few attempts without training; the other arms stay the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import Bundle, load_bundle
from router.classifier.manifest import CLASSIFIER, Arm, BundleManifest, ReferencePrice
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.core.errors import InvalidInput
from router.core.types import Rates
from router.files import read_checked
from training.arrivals.arm_evidence import ArmEvidence, gather_evidence, read_attempts
from training.arrivals.arm_plan import ArmPlan, check_names
from training.arrivals.arm_posterior import fit_posterior, logits
from training.arrivals.arm_report import arm_report, card_section, report_notes
from training.arrivals.graph_extension import ArmExtension, check_extended_graph, extended_graph
from training.arrivals.length_transfer import fit_length_transfer
from training.export.bundle_files import check_target, write_bundle
from training.histories.outcome_table import HistoryTable
from training.histories.outcomes import Outcomes
from training.histories.split import SEEN_FILE, more_seen

__all__ = ["AddedArm", "add_arm"]

Floats = npt.NDArray[np.float64]

CHECKED_ROWS = 512
"""Prompts on which the graph is checked against the fit."""
CARD_FILE = "model_card.md"


@dataclass(frozen=True)
class AddedArm:
    """The result of :func:`add_arm`.

    Attributes:
        manifest: of the new bundle, as written.
        report: ``metrics.arrivals.ARM`` of the manifest.
    """

    manifest: BundleManifest
    report: Mapping[str, Any]


def _reference(contents: Mapping[str, bytes], bundle: Bundle) -> ReferenceSample | None:
    """The reference prompts of the bundle; ``None`` for an older bundle without them."""
    content = contents.get(REFERENCE_FILE)
    if content is None:
        return None
    arms = len(bundle.manifest.arms)
    return ReferenceSample.from_json(content, arms, file=f"{bundle.version}/{REFERENCE_FILE}")


def _data_sha256(arrival: ArmPlan, bundle: Bundle, outcomes: Outcomes) -> str:
    """Hash of the bundle's training data and of the attempts learnt since, whatever the order of rows."""
    order = np.argsort(outcomes.prompt_ids.astype(str), kind="stable")
    digest = hashlib.sha256(
        json.dumps(
            [bundle.manifest.training_data_sha256, arrival.arm, arrival.model, arrival.tier]
        ).encode()
    )
    digest.update("".join(outcomes.groups[order]).encode())
    for column in (outcomes.quality, outcomes.thresholds, outcomes.output_tokens):
        digest.update(np.ascontiguousarray(column[order], dtype="<f8").tobytes())
    return digest.hexdigest()


def _price(rates: Rates | None) -> ReferencePrice | None:
    return None if rates is None else ReferencePrice(input=rates.input, output=rates.output)


def _manifest(
    arrival: ArmPlan,
    bundle: Bundle,
    table: HistoryTable,
    evidence: ArmEvidence,
    extension: ArmExtension,
    report: Mapping[str, Any],
) -> BundleManifest:
    before = bundle.manifest
    tier = before.arms[extension.tier]
    arm = Arm(
        name=arrival.arm,
        # The tier of its tier's arm, so that other models of that tier go on using the tier's.
        tier=tier.tier,
        models=[arrival.model],
        reference_price=_price(table.rates[arrival.arm]),
        attempts=len(evidence.outcomes),
        adequate_share=report["adequate_share"],
        has_lengths=tier.has_lengths,
    )
    arms = [*before.arms]
    arms.insert(extension.place, arm)
    arrivals = {**before.metrics.get("arrivals", {}), arrival.arm: report}
    return before.model_copy(
        update={
            "created": datetime.now(UTC).replace(microsecond=0),
            "arms": arms,
            "histories": [*before.histories, *table.histories],
            "training_data_sha256": _data_sha256(arrival, bundle, evidence.outcomes),
            "mlflow_run_id": None,
            "metrics": {**before.metrics, "arrivals": arrivals},
        }
    )


def _files(
    arrival: ArmPlan,
    contents: Mapping[str, bytes],
    classifier: bytes,
    reference: ReferenceSample | None,
    evidence: ArmEvidence,
    extension: ArmExtension,
    bundle: Bundle,
    report: Mapping[str, Any],
) -> dict[str, bytes]:
    """The files of the new bundle: those of the old one, with the arm and its attempts added."""
    card = contents.get(CARD_FILE, b"").decode().rstrip("\n")
    files = {**contents, CLASSIFIER: classifier}
    files[CARD_FILE] = f"{card}\n\n{card_section(arrival.arm, report)}".lstrip("\n").encode()
    if SEEN_FILE in contents:
        files[SEEN_FILE] = more_seen(
            contents[SEEN_FILE],
            evidence.outcomes.groups.tolist(),
            seed=bundle.manifest.split.seed,
        )
    if reference is not None:
        scores = extension.p_adequate(reference.p_adequate)
        files[REFERENCE_FILE] = replace(reference, p_adequate=scores).to_json()
    return files


def add_arm(arrival: ArmPlan, console: Console) -> AddedArm:
    """Add an arm to a bundle. Nothing is written unless all went well.

    Args:
        arrival: which arm to which bundle.
        console: where progress goes.

    Raises:
        InvalidInput: names that are taken or unknown, fewer than :data:`arm_plan.MIN_ATTEMPTS` judged
            attempts, several judges, or a history that cannot be read.
        BadArtifact: the bundle or its encoder is damaged, the graph differs from what was learnt, or the
            directory is taken.
        MitsumoriError: the cache cannot be used.
    """
    check_target(arrival.out)
    bundle = load_bundle(arrival.bundle, arrival.encoders)
    check_names(arrival, bundle.manifest)
    if bundle.second is not None:
        raise InvalidInput(
            f"{arrival.bundle} is a bundle of two stages, which takes no further arm; add it to a bundle of "
            "one encoder, or train again with the new model in --arms",
            reason="TWO_STAGES",
            field="bundle",
        )
    contents = read_checked(
        arrival.bundle, bundle.manifest.files, remedy="train it again with `make train`"
    )
    with console.status("reading"):
        table = read_attempts(arrival)
    evidence = gather_evidence(arrival, bundle, table.outcomes, console)
    names = [arm.name for arm in bundle.manifest.arms]
    tier = names.index(arrival.tier)
    with console.status("learning"):
        reference = _reference(contents, bundle)
        # Logits of the tier's head for typical prompts.
        typical = logits(
            evidence.predicted.predictions.first[:, 0]
            if reference is None
            else reference.p_adequate[:, tier]
        )
        extension = ArmExtension(
            tier,
            names.index(arrival.after or arrival.tier) + 1,
            fit_posterior(evidence.attempts, float(typical.mean())),
            fit_length_transfer(*evidence.lengths),
        )
        notes = report_notes(evidence, table, bundle, len(evidence.lengths[1]), arrival.arm)
        report = arm_report(arrival, bundle, evidence, extension, typical, notes)
    with console.status("checking"):
        classifier = extended_graph(contents[CLASSIFIER], extension)
        some = slice(CHECKED_ROWS)
        check_extended_graph(
            contents[CLASSIFIER],
            classifier,
            extension,
            evidence.prompts.vectors[some],
            evidence.prompts.features[some],
            evidence.prompts.word_ids[some] if bundle.classifier.reads_tokens else None,
        )
    manifest = _manifest(arrival, bundle, table, evidence, extension, report)
    files = _files(arrival, contents, classifier, reference, evidence, extension, bundle, report)
    return AddedArm(write_bundle(arrival.out, manifest, files), report)
