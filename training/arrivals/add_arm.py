"""A bundle with one more arm, learnt from a few attempts: no training, and no other arm moves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import (
    CLASSIFIER,
    REFERENCE_FILE,
    Arm,
    Bundle,
    BundleManifest,
    ReferencePrice,
    load_bundle,
)
from router.core.errors import InvalidInput
from router.core.types import NONE_LABEL, Rates
from router.files import read_checked
from router.paths import ENCODERS
from training.arrivals.arriving import PRIOR_SPREAD, Attempts, learn, logits, tightening
from training.arrivals.grafting import Graft, check_grafted, grafted
from training.arrivals.stretching import MIN_LENGTHS, Stretch, beforehand, stretch
from training.bundling.export import check_target, write_bundle
from training.encoders.embedding import CACHE, embed_all, features_of
from training.histories.history import History, read_history
from training.histories.ladders import check_prices, choose_ladder
from training.histories.splitting import SEED, SEEN_FILE, more_seen
from training.histories.table import Outcomes
from training.histories.tabulating import Reading, Table, tabulate_all
from training.judging.asking import Predictions, predictions, unseen
from training.judging.evaluating import plain

__all__ = ["CARD_FILE", "MIN_ATTEMPTS", "Added", "Arrival", "add_arm", "parse_arm"]

Floats = npt.NDArray[np.float64]

MIN_ATTEMPTS = 10
"""Judged attempts without which an arm is its tier's guess."""
CHECKED_ROWS = 512
"""Prompts on which the graph is checked against what was learnt."""
CARD_FILE = "model_card.md"


@dataclass(frozen=True)
class Arrival:
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
    reading: Reading = field(default_factory=Reading)
    seed: int = SEED
    encoders: Path = ENCODERS
    cache: Path | None = CACHE


@dataclass(frozen=True)
class Added:
    """What came of it.

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


def _check_names(arrival: Arrival, manifest: BundleManifest) -> None:
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
                f"--arm: the model {arrival.model} has taught the arm {arm.name} already; to teach it "
                "more, train again with all attempts",
                reason="MODEL_EXISTS",
                field="arm",
            )


def _one_judge(arrival: Arrival, histories: Sequence[History]) -> None:
    """Refuse attempts of several judges, in one history or between them, where nobody chose one.

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


def _check_attempts(arrival: Arrival, judged: int) -> None:
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
    """Judged attempts in the order in which they are learnt, and what the bundle says of their prompts.

    Attributes:
        outcomes: ``n`` prompts, one arm: the new one.
        embeddings: float32 ``(n, d)``.
        features: float32 ``(n, f)``.
        said: of the tier's arm alone.
        new: bool ``(n,)``, which prompts did not teach the bundle.
        known: whether the bundle tells that.
    """

    outcomes: Outcomes
    embeddings: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    said: Predictions
    new: npt.NDArray[np.bool_]
    known: bool

    @property
    def attempts(self) -> Attempts:
        weights = self.outcomes.weights
        return Attempts(
            logits(self.said.beliefs.first[:, 0]),
            self.outcomes.adequate[:, 0],
            self.new,
            np.ones(len(self.outcomes)) if weights is None else weights[:, 0],
        )

    @property
    def lengths(self) -> tuple[Floats, Floats]:
        """The tier's quantiles ``(m, 3)`` and the tokens ``(m,)`` of attempts where both are known."""
        tokens, tier = self.outcomes.output_tokens[:, 0], self.said.lengths[:, 0]
        both = ~np.isnan(tokens) & ~np.isnan(tier).any(axis=1)
        return tier[both], tokens[both]


def _read(arrival: Arrival) -> Table:
    reading = arrival.reading
    histories = [
        read_history(path, skip_bad_rows=reading.skip_bad_rows) for path in arrival.histories
    ]
    _one_judge(arrival, histories)
    asked = Reading(
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


def _gather(arrival: Arrival, bundle: Bundle, outcomes: Outcomes, console: Console) -> _Evidence:
    # In the order of the file, one kind of prompt may come after the other.
    shuffled = np.random.default_rng(arrival.seed).permutation(len(outcomes))
    outcomes = outcomes.rows(shuffled[outcomes.judged[shuffled, 0]])
    _check_attempts(arrival, len(outcomes))
    texts = outcomes.texts.tolist()
    embeddings = embed_all(bundle.encoder, texts, cache=arrival.cache, console=console)
    features = features_of(texts)[:, : bundle.classifier.features]
    said = predictions(bundle, texts, embeddings, features, [arrival.tier])
    new = unseen(bundle, arrival.bundle, outcomes)
    everything = np.ones(len(outcomes), dtype=bool)
    return _Evidence(
        outcomes, embeddings, features, said, everything if new is None else new, new is not None
    )


def _reference(contents: Mapping[str, bytes], tier: int, evidence: _Evidence) -> Floats:
    """What the tier's head says of prompts such as those to come: logits ``(m,)``."""
    if REFERENCE_FILE not in contents:
        return logits(evidence.said.beliefs.first[:, 0])
    told = np.asarray(json.loads(contents[REFERENCE_FILE])["p_adequate"], dtype=np.float64)
    return logits(told[:, tier])


# --- What is said of it ------------------------------------------------------------------------


def _notes(evidence: _Evidence, table: Table, bundle: Bundle, tokens: int, arm: str) -> list[str]:
    notes = [*table.notes, f"serving uses this arm for the catalog model with the id {arm}"]
    seen = int((~evidence.new).sum())
    if not evidence.known:
        notes.append("the bundle does not tell which prompts taught it: all are taken to be new")
    elif seen:
        notes.append(
            f"{seen:,} of {len(evidence.outcomes):,} prompts taught the bundle, which says more of them "
            "than it knows of new ones: these attempts teach the shift alone"
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
    arrival: Arrival,
    bundle: Bundle,
    evidence: _Evidence,
    graft: Graft,
    reference: Floats,
    notes: Sequence[str],
) -> dict[str, Any]:
    attempts, belief = evidence.attempts, graft.belief
    tier, tokens = evidence.lengths
    steps = tightening(attempts, belief.centre, reference, seed=arrival.seed)
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
        "centre": belief.centre,
        "shift": belief.mean[0],
        "slope": 1 + belief.mean[1],
        "covariance": belief.covariance,
        "prediction": "mean of P(adequate) under the posterior",
        "steps": [asdict(step) for step in steps],
        "length": {"attempts": len(tokens), **_told(graft.stretch, tier, tokens)},
        "notes": list(notes),
    }
    told: dict[str, Any] = plain(report)
    return told


def _told(known: Stretch, tier: Floats, tokens: Floats) -> dict[str, Any]:
    found = {"shift": known.shift, "widths": known.widths}
    return found if len(tokens) < MIN_LENGTHS else {**found, **beforehand(tier, tokens)}


def card_section(arm: str, report: Mapping[str, Any]) -> str:
    """What the model card says of an arm that was added, as Markdown."""
    first, last = report["steps"][0]["p_adequate"], report["steps"][-1]["p_adequate"]
    loss = report["steps"][-1]["log_loss"]
    return (
        f"## The arm {arm}, added without training\n\n"
        f"`{report['model']}`, tier {report['tier']}: the tier's head after a Bayesian update by "
        f"{report['attempts']:,} attempts, {report['adequate_share']:.1%} of them adequate; "
        f"{report['seen_prompts']:,} at prompts that had taught the bundle. Added to `{report['parent']}`. "
        f"Mean P(adequate) over reference prompts: {last['mean']:.3f} [{last['low']:.3f}, "
        f"{last['high']:.3f}] (90 %), before any attempt {first['mean']:.3f} [{first['low']:.3f}, "
        f"{first['high']:.3f}]. Log-loss, each attempt predicted before it was learnt: "
        f"{loss['arm']:.4f}; the tier's head as it is {loss['tier']:.4f}, the base rate "
        f"{loss['base_rate']:.4f}. The figures above were measured without this arm.\n"
    )


# --- What is written ---------------------------------------------------------------------------


def _data_sha256(arrival: Arrival, bundle: Bundle, outcomes: Outcomes) -> str:
    """What the bundle was trained on, and what was learnt since; not the order of rows."""
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
    arrival: Arrival,
    bundle: Bundle,
    table: Table,
    evidence: _Evidence,
    graft: Graft,
    report: Mapping[str, Any],
) -> BundleManifest:
    before = bundle.manifest
    tier = before.arms[graft.tier]
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
    arms.insert(graft.place, arm)
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
    arrival: Arrival,
    contents: Mapping[str, bytes],
    classifier: bytes,
    evidence: _Evidence,
    graft: Graft,
    bundle: Bundle,
    report: Mapping[str, Any],
) -> dict[str, bytes]:
    """All files of the bundle as it was, those changed that speak of arms or of what was learnt from."""
    card = contents.get(CARD_FILE, b"").decode().rstrip("\n")
    files = {**contents, CLASSIFIER: classifier}
    files[CARD_FILE] = f"{card}\n\n{card_section(arrival.arm, report)}".lstrip("\n").encode()
    if SEEN_FILE in contents:
        files[SEEN_FILE] = more_seen(
            contents[SEEN_FILE],
            evidence.outcomes.groups.tolist(),
            seed=bundle.manifest.split.seed,
        )
    if REFERENCE_FILE in contents:
        reference = json.loads(contents[REFERENCE_FILE])
        told = np.asarray(reference["p_adequate"], dtype=np.float64)
        reference["p_adequate"] = np.round(graft.p_adequate(told), 6).tolist()
        files[REFERENCE_FILE] = json.dumps(reference, separators=(",", ":")).encode()
    return files


def add_arm(arrival: Arrival, console: Console) -> Added:
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
        reference = _reference(contents, tier, evidence)
        graft = Graft(
            tier,
            names.index(arrival.after or arrival.tier) + 1,
            learn(evidence.attempts, float(reference.mean())),
            stretch(*evidence.lengths),
        )
        notes = _notes(evidence, table, bundle, len(evidence.lengths[1]), arrival.arm)
        report = _report(arrival, bundle, evidence, graft, reference, notes)
    with console.status("checking"):
        classifier = grafted(contents[CLASSIFIER], graft)
        some = slice(CHECKED_ROWS)
        texts = evidence.outcomes.texts[some]
        check_grafted(
            contents[CLASSIFIER],
            classifier,
            graft,
            evidence.embeddings[some],
            evidence.features[some],
            [bundle.encoder.word_ids(text) for text in texts]
            if bundle.classifier.reads_tokens
            else None,
        )
    manifest = _manifest(arrival, bundle, table, evidence, graft, report)
    files = _files(arrival, contents, classifier, evidence, graft, bundle, report)
    return Added(write_bundle(arrival.out, manifest, files), report)
