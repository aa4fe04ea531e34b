"""From histories to a bundle: read, split, encode, fit, calibrate, evaluate, export, track."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from router.classifier.bundle import (
    FORMAT_VERSION,
    Arm,
    BundleManifest,
    Evidence,
    ModelAbility,
    ReferencePrice,
    Split,
    load_bundle,
)
from router.classifier.encoder import Encoder, find_encoder, load_encoder
from router.classifier.features.lexical import FEATURES, scripts_of
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from router.core.errors import InvalidInput
from router.core.types import Rates
from training.encoders.embedding import encode_prompts, features_of
from training.evaluation.baselines import EncodedOutcomes, baseline_scores
from training.evaluation.evaluation_report import evaluate, json_ready
from training.evaluation.predictions import STANDARD_GOAL
from training.evaluation.served_report import facts, served_report
from training.evaluation.stage_figures import stage_figures
from training.export.bundle_files import check_target, write_bundle
from training.export.classifier_graph import label_distribution
from training.export.model_card import model_card
from training.export.stages import CASCADE, STAGES, Fit, SplitSide, Stages
from training.fitting.estimator import PooledLogistic, fit_pooled
from training.fitting.held_out_categories import held_out_categories
from training.fitting.lengths import LengthModel, fit_lengths
from training.fitting.ngrams import ngram_counts
from training.fitting.tier_lengths import fit_tier_lengths
from training.histories import demonstration
from training.histories.history import check_files, read_history, write_rejected
from training.histories.ladders import standard_of
from training.histories.outcome_table import HistoryTable, ReadOptions, read_table, tabulate_all
from training.histories.outcomes import Outcomes
from training.histories.split import SEEN_FILE, held_out, pack_seen, sample
from training.pages.plots import render
from training.pages.report_page import report_page
from training.plan import TrainingPlan, bundle_name, check_split, check_table, model_name
from training.scale.examples import Examples, attempted_examples
from training.scale.length_examples import LengthExamples
from training.scale.placement import ANNOTATION_WEIGHT, PlacedTiers, place_tiers
from training.scale.reference import read_reference
from training.tracking.datasets import history_splits
from training.tracking.headline import summary, verdict, version_tags
from training.tracking.runs import Run, start_run

__all__ = ["REFERENCE_PROMPTS", "TrainingResult", "fit"]

REFERENCE_PROMPTS = 1000
"""Held-out prompts in the reference sample of a bundle."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training run made.

    Attributes:
        out: directory of the bundle.
        manifest: as written.
        report: of :func:`evaluation_report.evaluate` on the held-out prompts.
        notes: for the user.
        seconds: wall time by stage.
        registered: version in MLflow's registry, ``None`` where nothing was tracked.
        model: name in MLflow's registry.
    """

    out: Path
    manifest: BundleManifest
    report: dict[str, Any]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    registered: int | None
    model: str


class _Timer:
    """Names the stage that runs on the console, and keeps the time of each.

    A terminal shows a spinner; a log gets a line when a stage is done, with the seconds so far.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str, *, spinner: bool = True) -> Iterator[None]:
        start = perf_counter()
        if spinner and self._console.is_terminal:
            with self._console.status(name):
                yield
        else:
            yield
        now = perf_counter()
        self.seconds[name] = now - start
        if not self._console.is_terminal:
            self._console.print(f"{now - self._begun:7.1f} s  {name}", highlight=False)


def _read(plan: TrainingPlan) -> tuple[HistoryTable, PlacedTiers | None]:
    """The outcomes of the arms, and today's tiers on the scale where several histories are pooled by tier.

    The models of one history have attempts of their own at all its prompts, which tell more than a scale.
    """
    if plan.histories and (plan.reading.arms is not None or len(plan.histories) == 1):
        return read_table(plan.histories, plan.reading), None
    if plan.histories:
        skip = plan.reading.skip_bad_rows
        histories = [read_history(path, skip_bad_rows=skip) for path in plan.histories]
        standards = [
            standard_of(one, adequate_at=plan.reading.adequate_at, judge=plan.reading.judge)
            for one in histories
        ]
        graded = [
            one
            for one, standard in zip(histories, standards, strict=True)
            if standard.grades == "answers"
        ]
        table = tabulate_all(graded or histories, plan.reading)
        if table.outcomes.arms != tuple(read_reference().tiers):
            return table, None
        placed = place_tiers(histories, standards)
        return replace(table, notes=(*table.notes, *placed.notes)), placed
    if plan.reading.arms is not None:
        raise InvalidInput(
            "--arms needs a --history; the demonstration history has arms of its own", field="arms"
        )
    made = demonstration.demonstration_history(plan.seed)
    reading = ReadOptions(arms=demonstration.ARMS, prices=demonstration.PRICES)
    return tabulate_all([made], reading), None


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


def _manifest(
    plan: TrainingPlan,
    table: HistoryTable,
    placed: PlacedTiers | None,
    cascade: Stages,
    report: Any,
) -> BundleManifest:
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
        abilities={} if placed is None else _abilities(placed),
        evidence=None
        if placed is None
        else Evidence(
            measured=len(placed.measured),
            annotated=len(placed.annotated),
            weight=ANNOTATION_WEIGHT,
        ),
        mlflow_run_id=None,
        metrics=report,
        files={},
    )


def _abilities(placed: PlacedTiers) -> dict[str, ModelAbility]:
    return {
        name: ModelAbility(points=one.points, uncertainty=one.uncertainty, attempts=one.attempts)
        for name, one in placed.abilities.items()
    }


def _stack_descriptions(model: PooledLogistic) -> Iterator[str]:
    """How the heads are combined and calibrated for each arm, as text."""
    bend = model.calibration
    for arm, weights in enumerate(model.stack.weights):
        heads = " + ".join(f"{w:.3f} {h}" for w, h in zip(weights, model.heads, strict=True))
        text = f"{heads}, shift {model.stack.shift[arm]:.3f}"
        if bend.changed_arms[arm]:
            text += (
                f", beta {bend.positive[arm]:.3f} / {bend.negative[arm]:.3f}"
                f", shift {bend.shift[arm]:.3f}"
            )
        yield text


def _parameters(plan: TrainingPlan, table: HistoryTable, cascade: Stages) -> dict[str, Any]:
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
        if model.neighbours is not None:
            parameters[f"neighbours{of}"] = (
                f"the bundle holds the vectors of {len(model.neighbours.vectors):,} training prompts in 8 "
                "bits, from which their texts might be guessed; --no-neighbours leaves them out"
            )
    if cascade.second is not None:
        parameters["second stage"] = (
            f"{cascade.closest.encoder.manifest.name}, consulted for the {cascade.second.share:.0%} of "
            "prompts whose choice is closest; figures of single arms are at a quality target of "
            f"{STANDARD_GOAL.p_adequate:g}; rankings and AIQ consult it again at every threshold"
        )
    return parameters


_IN_CARD = ("hyperparameters", "calibration", "neighbours", "second stage")


def _write(
    plan: TrainingPlan,
    manifest: BundleManifest,
    files: Mapping[str, bytes],
    settings: Mapping[str, Any],
    notes: Sequence[str],
) -> BundleManifest:
    shown = {key: value for key, value in settings.items() if key.startswith(_IN_CARD)}
    card = model_card(manifest, manifest.metrics, settings=shown, notes=notes)
    return write_bundle(
        plan.out,
        manifest,
        {**files, "model_card.md": card.encode()},
    )


def _fitted(
    plan: TrainingPlan,
    encoder: Encoder,
    outcomes: Outcomes,
    examples: Examples,
    spoken: LengthExamples | None,
    features: npt.NDArray[np.float32],
    aside: npt.NDArray[np.bool_],
    stage: _Timer,
    console: Console,
) -> Fit:
    """Encode, split and fit with one encoder.

    Args:
        plan: of the run.
        encoder: loaded.
        outcomes: ``n`` prompts with the attempts of the arms.
        examples: ``m`` prompts to fit P(adequate) on, none of them held out.
        spoken: ``l`` prompts to fit the lengths of tiers on, none of them held out; ``None``: lengths are
            fitted on the attempts of the arms.
        features: float32 ``(n + m + l, f)``, lexical, of all of these.
        aside: bool ``(n,)``, which of the prompts are held out.
        stage: times the stages.
        console: where progress goes.
    """
    of = f" ({encoder.manifest.name})" if plan.encoder == CASCADE else ""
    texts = [*outcomes.texts, *examples.texts, *([] if spoken is None else spoken.texts)]
    with stage(f"encoding{of}", spinner=False):
        prompts = encode_prompts(
            encoder, texts, cache=plan.cache, console=console, features=features
        )
    with stage(f"features{of}"):
        ids = np.empty(len(texts), dtype=object)
        ids[:] = prompts.word_ids
        counts = ngram_counts(prompts.word_ids)
        n, end = len(outcomes), len(outcomes) + len(examples)
        rows = SplitSide(outcomes, prompts.vectors[:n], features[:n], ids[:n], counts[:n])
    train, test = rows.take(~aside), rows.take(aside)
    known = train.outcomes
    with stage(f"fitting{of}"):
        model = fit_pooled(
            np.hstack([prompts.vectors[n:end], features[n:end]]),
            examples.outcome,
            examples.weight > 0,
            examples.groups.tolist(),
            seed=plan.seed,
            counts=counts[n:end],
            weights=examples.weight,
            dimensions=encoder.manifest.dimensions,
            neighbours=plan.neighbours,
            scripts=scripts_of(features[n:end]),
        )
        if spoken is None:
            lengths = fit_lengths(
                train.x,
                known,
                seed=plan.seed,
                dimensions=encoder.manifest.dimensions,
                counts=train.counts,
            )
        else:
            lengths = fit_tier_lengths(
                np.hstack([prompts.vectors[end:], features[end:]]),
                spoken,
                outcomes.arms,
                seed=plan.seed,
                dimensions=encoder.manifest.dimensions,
            )
    return Fit(encoder, train, test, model, lengths)


def _unfamiliar(plan: TrainingPlan, cascade: Stages, report: dict[str, Any]) -> None:
    """Add to each pair its figure on held-out categories, of the stage that all prompts pass."""
    first = cascade.first
    found = held_out_categories(
        first.model,
        first.train.outcomes,
        first.train.x,
        seed=plan.seed,
        counts=first.train.counts,
    )
    for pair, figures in found.items():
        report["pairs"][pair] |= json_ready(figures)


@contextmanager
def _part(run: Run | None, encoder: Encoder) -> Iterator[Run | None]:
    """The run of one of several encoders, below that of the whole; ``None`` where there is none."""
    if run is None:
        yield None
        return
    name = encoder.manifest.name
    with run.nested(f"encoder {name}", {"encoder": name}) as part:
        yield part


def fit(plan: TrainingPlan, console: Console) -> TrainingResult:
    """Train a bundle. Nothing is written to ``plan.out`` unless all went well.

    Where the plan tracks, a run in MLflow is open from the start to the end; it is FAILED where this raises.

    Args:
        plan: what to train.
        console: where progress goes.

    Raises:
        InvalidInput: the histories, arms or options cannot be trained on.
        BadArtifact: the encoder is damaged, the graph differs from the fit, or the directory is taken.
        MitsumoriError: the cache or MLflow cannot be used.
    """
    check_target(plan.out)
    check_files(plan.histories)
    name, model = bundle_name(plan), model_name(plan)
    if plan.tracking is None:
        return _trained(plan, model, console, None)
    names = "+".join(path.stem for path in plan.histories) or demonstration.NAME
    tags = {"encoder": plan.encoder, "bundle": name}
    title = f"{plan.encoder} on {names}, {datetime.now(UTC):%Y-%m-%d %H:%M}"
    with start_run(plan.tracking, name=title, tags=tags) as run:
        return _trained(plan, model, console, run)


def _trained(plan: TrainingPlan, model: str, console: Console, run: Run | None) -> TrainingResult:
    """Train, evaluate and write the bundle, and log it to the run, where there is one."""
    stage = _Timer(console)
    names = STAGES if plan.encoder == CASCADE else (plan.encoder,)
    encoders = [load_encoder(find_encoder(plan.encoders, name)) for name in names]
    with stage("reading"):
        table, placed = _read(plan)
    check_table(table.outcomes)
    aside = held_out(table.outcomes.groups, seed=plan.seed, share=plan.holdout)
    check_split(table.outcomes.rows(~aside), table.outcomes.rows(aside))
    splits = history_splits(
        table.histories, table.outcomes.rows(~aside), table.outcomes.rows(aside)
    )
    if run is not None:
        run.log_datasets(splits)
    if placed is None:
        examples = attempted_examples(table.outcomes.rows(~aside))
    else:
        examples = placed.examples
        examples = examples.rows(~held_out(examples.groups, seed=plan.seed, share=plan.holdout))
    lengths = None if placed is None else placed.lengths
    if lengths is not None:
        lengths = lengths.rows(~held_out(lengths.groups, seed=plan.seed, share=plan.holdout))
    more = () if lengths is None else tuple(lengths.texts)
    features = features_of([*table.outcomes.texts, *examples.texts, *more])
    fits = []
    for one in encoders:
        with _part(run if len(encoders) > 1 else None, one) as part:
            fits.append(
                _fitted(
                    plan, one, table.outcomes, examples, lengths, features, aside, stage, console
                )
            )
            if part is not None:
                part.log_metrics(stage_figures(fits[-1].test.outcomes, fits[-1].p_adequate()))
    cascade = Stages(tuple(fits))
    graphs = cascade.files()
    train, test = cascade.closest.train, cascade.closest.test
    # Held-out prompts: their scores are like those of prompts to come.
    kept = sample(len(test.outcomes), REFERENCE_PROMPTS, plan.seed)
    predictions = served = cascade.predictions(kept)
    if placed is not None and test.outcomes.models is not None:
        # What stands for a tier in an old history is not what stands for it today.
        predictions = served.at_abilities(placed.points, placed.points_of(test.outcomes.models))
    with stage("evaluating"):
        baselines = baseline_scores(
            EncodedOutcomes(train.outcomes, train.embeddings, train.features),
            EncodedOutcomes(test.outcomes, test.embeddings, test.features),
            seed=plan.seed,
        )
        report = evaluate(
            test.outcomes, predictions, test.embeddings, test.features,
            train=(train.outcomes, train.embeddings, train.features),
            lengths=cascade.tokens(predictions),
            seed=plan.seed,
            baselines=baselines,
        )  # fmt: skip
    if placed is None:
        with stage("held-out categories"):
            _unfamiliar(plan, cascade, report)
    files = graphs | {
        SEEN_FILE: pack_seen(sorted({*train.outcomes.groups, *examples.groups}), seed=plan.seed),
        REFERENCE_FILE: ReferenceSample(test.features[kept], served.first[kept]).to_json(),
    }
    manifest = _manifest(plan, table, placed, cascade, report)
    settings = _parameters(plan, table, cascade)
    registered = None
    if run is None:
        manifest = _write(plan, manifest, files, settings, table.notes)
    else:
        with stage("tracking"):
            run.set_tags(
                {
                    "data_sha256": manifest.training_data_sha256,
                    "demonstration": str(manifest.demonstration).lower(),
                }
            )
            run.log_params(settings, unlisted=_IN_CARD[1:])
            labels = label_distribution(predictions.standard)
            figures = render(
                test.outcomes, predictions, labels, baselines=baselines, seed=plan.seed
            )
            manifest = manifest.model_copy(update={"mlflow_run_id": run.id})
            manifest = _write(plan, manifest, files, settings, table.notes)
            written = load_bundle(plan.out, plan.encoders)
            whole = served_report(
                report, written, plan.out, plan.encoders, test.outcomes, predictions, baselines
            )
            run.log_report(whole)
            run.log_page(report_page(whole, figures, facts(written, table)))
            run.log_figures(figures)
            run.describe_report(whole, splits, demonstration=manifest.demonstration)
            run.set_tags({"verdict": verdict(whole), "bundle": written.version})
            run.log_bundle(plan.out)
            registered = run.register(
                model,
                description=summary(whole, demonstration=manifest.demonstration),
                tags={"bundle": manifest.name, "encoder": plan.encoder, **version_tags(whole)},
            )
    for name, rejected in table.rejected.items():
        write_rejected(rejected, plan.out.with_name(f"{plan.out.name}-rejected-{name}.jsonl"))
    return TrainingResult(plan.out, manifest, report, table.notes, stage.seconds, registered, model)
