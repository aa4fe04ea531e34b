"""A bundle with one more arm, fitted on a few attempts without training; the other arms stay the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import (
    CLASSIFIER,
    Arm,
    Bundle,
    BundleManifest,
    ReferencePrice,
    load_bundle,
)
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.core.errors import InvalidInput
from router.core.types import NONE_LABEL, Rates
from router.files import read_checked
from router.paths import ENCODERS
from training.arrivals.arm_posterior import (
    PRIOR_SPREAD,
    Attempts,
    fit_posterior,
    logits,
    posterior_steps,
)
from training.arrivals.graph_extension import ArmExtension, check_extended_graph, extended_graph
from training.arrivals.length_transfer import (
    MIN_LENGTHS,
    LengthTransfer,
    fit_length_transfer,
    prequential_figures,
)
from training.encoders.embedding import CACHE, EncodedPrompts, encode_prompts, features_of
from training.evaluation.bundle_predictions import BundlePredictions, predict, unseen_prompts
from training.evaluation.evaluation_report import json_ready
from training.export.bundle_files import check_target, write_bundle
from training.histories.history import History, read_history
from training.histories.ladders import check_prices, choose_ladder
from training.histories.outcome_table import HistoryTable, ReadOptions, tabulate_all
from training.histories.outcomes import Outcomes
from training.histories.split import SEED, SEEN_FILE, more_seen

__all__ = ["CARD_FILE", "MIN_ATTEMPTS", "AddedArm", "ArmPlan", "add_arm", "parse_arm"]

Floats = npt.NDArray[np.float64]

MIN_ATTEMPTS = 10
"""Fewest judged attempts from which an arm of its own is fitted."""
CHECKED_ROWS = 512
"""Prompts on which the graph is checked against the fit."""
CARD_FILE = "model_card.md"


@dataclass(frozen=True)
class ArmPlan:
    """Which arm to add to which bundle.

    Attributes:
        bundle: directory of the bundle.
        histories: files with attempts of ``model``.
        arm: name of the new arm: the id of a catalog model, which then uses it.
        model: its name in the histories.
        tier: the arm whose head is the starting point.
        out: directory of the bundle to be written.
        after: the arm that it follows on the ladder; ``None``: ``tier``.
        reading: judge, threshold and prices; its arms are not read.
        seed: of the order in which attempts are learnt and of the draws behind intervals.
        encoders: folder of encoders.
        cache: folder of cached embeddings; ``None`` keeps none.
    """

    bundle: Path
    histories: Sequence[Path]
    arm: str
    model: str
    tier: str
    out: Path
    after: str | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    seed: int = SEED
    encoders: Path = ENCODERS
    cache: Path | None = CACHE


@dataclass(frozen=True)
class AddedArm:
    """The result of :func:`add_arm`.

    Attributes:
        manifest: of the new bundle, as written.
        report: ``metrics.arrivals.ARM`` of the manifest.
    """

    manifest: BundleManifest
    report: Mapping[str, Any]


def parse_arm(text: str) -> tuple[str, str]:
    """Name and model from ``NAME=MODEL``; ``NAME`` alone stands for both.

    Raises:
        InvalidInput: one of them is empty.
    """
    name, separator, model = (part.strip() for part in text.partition("="))
    if not name or (separator and not model):
        raise InvalidInput(
            f"--arm: {text!r} is not NAME=MODEL: the id in the catalog, and the model in the history",
            field="arm",
        )
    return name, model or name


# --- What cannot be added ----------------------------------------------------------------------


def _check_names(arrival: ArmPlan, manifest: BundleManifest) -> None:
    names = [arm.name for arm in manifest.arms]
    for option, name in (("tier", arrival.tier), ("after", arrival.after or arrival.tier)):
        if name not in names:
            raise InvalidInput(
                f"--{option}: {name} is no arm of this bundle; it has {', '.join(names)}",
                reason="ARM_UNKNOWN",
                field=option,
            )
    taken = {NONE_LABEL, *names, *(arm.tier for arm in manifest.arms)}
    if arrival.arm in taken:
        raise InvalidInput(
            f"--arm: {arrival.arm} is an arm or tier of this bundle already; name the arm by the id of "
            "its model in the catalog",
            reason="ARM_EXISTS",
            field="arm",
        )
    for arm in manifest.arms:
        if arrival.model in arm.models:
            raise InvalidInput(
                f"--arm: the arm {arm.name} was trained on the model {arrival.model} already; to use "
                "more attempts, train again with all of them",
                reason="MODEL_EXISTS",
                field="arm",
            )


def _one_judge(arrival: ArmPlan, histories: Sequence[History]) -> None:
    """Refuse attempts of several judges unless one judge was chosen.

    Raises:
        InvalidInput: they are mixed, or a history does not have the model.
    """
    judges: set[str] = set()
    for history in histories:
        ladder = choose_ladder(history, {arrival.arm: arrival.model}, judge=arrival.reading.judge)
        if ladder.judge is not None:
            judges.add(ladder.judge)
            continue
        rows = history.counts
        judged = rows[(rows["model"] == arrival.model) & rows["judged"]]
        judges.update(judged["judge"].fillna(""))
    if len(judges) > 1:
        named = ", ".join(sorted(judge or "an unnamed judge" for judge in judges))
        raise InvalidInput(
            f"the attempts of {arrival.model} are judged by {named}, and judges are never mixed; choose "
            "one with --judge",
            reason="JUDGES_DIFFER",
            field="judge",
        )


def _check_attempts(arrival: ArmPlan, judged: int) -> None:
    if judged < MIN_ATTEMPTS:
        raise InvalidInput(
            f"{arrival.model} has {judged} judged attempts, and an arm needs {MIN_ATTEMPTS}; until then "
            f"give the model the tier {arrival.tier} in the catalog, which needs none",
            reason="TOO_FEW_ATTEMPTS",
            field="history",
        )


# --- What is learnt from -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Evidence:
    """Judged attempts in the order in which they are learnt, with the bundle's predictions for their prompts.

    Attributes:
        outcomes: ``n`` prompts, one arm: the new one.
        prompts: the same, as the bundle reads them.
        predicted: of the tier's arm alone.
        new: bool ``(n,)``, which prompts the bundle was not trained on.
        known: whether the bundle records its training prompts.
    """

    outcomes: Outcomes
    prompts: EncodedPrompts
    predicted: BundlePredictions
    new: npt.NDArray[np.bool_]
    known: bool

    @property
    def attempts(self) -> Attempts:
        weights = self.outcomes.weights
        return Attempts(
            logits(self.predicted.predictions.first[:, 0]),
            self.outcomes.adequate[:, 0],
            self.new,
            np.ones(len(self.outcomes)) if weights is None else weights[:, 0],
        )

    @property
    def lengths(self) -> tuple[Floats, Floats]:
        """The tier's quantiles ``(m, 3)`` and the tokens ``(m,)`` of attempts where both are known."""
        tokens, tier = self.outcomes.output_tokens[:, 0], self.predicted.lengths[:, 0]
        both = ~np.isnan(tokens) & ~np.isnan(tier).any(axis=1)
        return tier[both], tokens[both]


def _read(arrival: ArmPlan) -> HistoryTable:
    reading = arrival.reading
    histories = [
        read_history(path, skip_bad_rows=reading.skip_bad_rows) for path in arrival.histories
    ]
    _one_judge(arrival, histories)
    asked = ReadOptions(
        {arrival.arm: arrival.model},
        reading.judge,
        reading.adequate_at,
        reading.prices,
        reading.skip_bad_rows,
        need_prices=False,
    )
    table = tabulate_all(histories, asked)
    check_prices(reading.prices, table.models)
    return table


def _gather(arrival: ArmPlan, bundle: Bundle, outcomes: Outcomes, console: Console) -> _Evidence:
    # A file may be sorted by kind of prompt.
    shuffled = np.random.default_rng(arrival.seed).permutation(len(outcomes))
    outcomes = outcomes.rows(shuffled[outcomes.judged[shuffled, 0]])
    _check_attempts(arrival, len(outcomes))
    texts = outcomes.texts.tolist()
    features = features_of(texts)[:, : bundle.classifier.features]
    prompts = encode_prompts(
        bundle.encoder, texts, cache=arrival.cache, console=console, features=features
    )
    predicted = predict(bundle, prompts, [arrival.tier])
    new = unseen_prompts(bundle, arrival.bundle, outcomes)
    everything = np.ones(len(outcomes), dtype=bool)
    return _Evidence(
        outcomes, prompts, predicted, everything if new is None else new, new is not None
    )


def _reference(contents: Mapping[str, bytes], bundle: Bundle) -> ReferenceSample | None:
    """The reference prompts of the bundle; ``None`` for an older bundle without them."""
    content = contents.get(REFERENCE_FILE)
    if content is None:
        return None
    arms = len(bundle.manifest.arms)
    return ReferenceSample.from_json(content, arms, file=f"{bundle.version}/{REFERENCE_FILE}")


# --- The report --------------------------------------------------------------------------------


def _notes(
    evidence: _Evidence, table: HistoryTable, bundle: Bundle, tokens: int, arm: str
) -> list[str]:
    notes = [*table.notes, f"serving uses this arm for the catalog model with the id {arm}"]
    seen = int((~evidence.new).sum())
    if not evidence.known:
        notes.append(
            "the bundle does not record its training prompts: all prompts are taken to be new"
        )
    elif seen:
        notes.append(
            f"{seen:,} of {len(evidence.outcomes):,} prompts were training prompts of the bundle, whose "
            "predictions are too sharp there: these attempts inform the shift alone"
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


def _report(
    arrival: ArmPlan,
    bundle: Bundle,
    evidence: _Evidence,
    extension: ArmExtension,
    reference: Floats,
    notes: Sequence[str],
) -> dict[str, Any]:
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
        report: of :func:`add_arm`.
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
        f"{first['high']:.3f}]. Log-loss, each attempt predicted before it was learnt: "
        f"{loss['arm']:.4f}; the tier's head as it is {loss['tier']:.4f}, the base rate "
        f"{loss['base_rate']:.4f}. The figures above were measured without this arm.\n"
    )


# --- What is written ---------------------------------------------------------------------------


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
    evidence: _Evidence,
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
    evidence: _Evidence,
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
        InvalidInput: names that are taken or unknown, fewer than :data:`MIN_ATTEMPTS` judged attempts,
            several judges, or a history that cannot be read.
        BadArtifact: the bundle or its encoder is damaged, the graph differs from what was learnt, or the
            directory is taken.
        MitsumoriError: the cache cannot be used.
    """
    check_target(arrival.out)
    bundle = load_bundle(arrival.bundle, arrival.encoders)
    _check_names(arrival, bundle.manifest)
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
        table = _read(arrival)
    evidence = _gather(arrival, bundle, table.outcomes, console)
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
        notes = _notes(evidence, table, bundle, len(evidence.lengths[1]), arrival.arm)
        report = _report(arrival, bundle, evidence, extension, typical, notes)
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
