"""A training run, from histories to a bundle: read, split, encode, fit, evaluate, export, track."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from router.catalog.catalog import load_catalog
from router.classifier.bundle import load_bundle
from router.classifier.encoder import Encoder, find_encoder, load_encoder
from router.classifier.manifest import BundleManifest
from router.classifier.reference_sample import REFERENCE_FILE, ReferenceSample
from training.evaluation.baselines import EncodedOutcomes, baseline_scores
from training.evaluation.evaluation_report import evaluate, json_ready
from training.evaluation.served_report import facts, served_report
from training.evaluation.stage_figures import stage_figures
from training.evaluation.unseen_figures import unseen_notes
from training.export.bundle_files import check_target, write_bundle
from training.export.classifier_graph import label_distribution
from training.export.model_card import model_card
from training.export.stages import CASCADE, STAGES, Fit, Stages
from training.fitting.held_out_categories import held_out_categories
from training.histories import demonstration
from training.histories.history import check_files, write_rejected
from training.histories.split import SEEN_FILE, pack_seen, sample
from training.pages.plots import render
from training.pages.report_page import report_page
from training.pipeline.catalog_basis import CatalogBasis, catalog_basis
from training.pipeline.encoder_fit import fit_encoder
from training.pipeline.manifest import bundle_manifest
from training.pipeline.settings import IN_CARD, chosen_settings
from training.pipeline.sources import read_sources
from training.pipeline.stage_timer import StageTimer
from training.pipeline.training_data import EncodedData, features_of_data, training_data
from training.pipeline.unseen_sources import unseen_sources
from training.plan import TrainingPlan, bundle_name, model_name
from training.scale.model_names import NamedModels
from training.tracking.datasets import history_splits
from training.tracking.headline import flattened, summary, verdict, version_tags
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
        catalog: what P(adequate) of the models of the catalog rests on.
        seconds: wall time by stage.
        registered: version in MLflow's registry, ``None`` where nothing was tracked.
        model: name in MLflow's registry.
    """

    out: Path
    manifest: BundleManifest
    report: dict[str, Any]
    notes: tuple[str, ...]
    catalog: CatalogBasis
    seconds: Mapping[str, float]
    registered: int | None
    model: str


def _write(
    plan: TrainingPlan,
    manifest: BundleManifest,
    files: Mapping[str, bytes],
    settings: Mapping[str, Any],
    notes: Sequence[str],
    *,
    tiers: bool,
) -> BundleManifest:
    shown = {key: value for key, value in settings.items() if key.startswith(IN_CARD)}
    card = model_card(manifest, manifest.metrics, settings=shown, notes=notes, tiers=tiers)
    return write_bundle(
        plan.out,
        manifest,
        {**files, "model_card.md": card.encode()},
    )


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
    stage = StageTimer(console)
    names = STAGES if plan.encoder == CASCADE else (plan.encoder,)
    encoders = [load_encoder(find_encoder(plan.encoders, name)) for name in names]
    with stage("reading"):
        sources = read_sources(plan)
    table, placed = sources.table, sources.placed
    data = training_data(plan, sources)
    splits = history_splits(
        table.histories, table.outcomes.rows(~data.aside), table.outcomes.rows(data.aside)
    )
    if run is not None:
        run.log_datasets(splits)
    with stage("features"):
        features = features_of_data(data)
    fits: list[Fit] = []
    inputs: list[EncodedData] = []
    for one in encoders:
        with _part(run if len(encoders) > 1 else None, one) as part:
            with stage(f"encoding ({one.manifest.name})", spinner=False):
                encoded = EncodedData.of(data, one, features, plan, console)
            fits.append(fit_encoder(plan, encoded, stage))
            inputs.append(encoded)
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
        models = NamedModels.of(test.outcomes.models)
        predictions = served.at_abilities(
            placed.points, placed.points_of(models), cascade.first.shifts(models)
        )
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
    elif plan.unseen_sources:
        found = unseen_sources(plan, inputs[0], cascade.first, stage)
        report["unseen_sources"] = json_ready(found)
        report["notes"] += unseen_notes(found)
    files = graphs | {
        SEEN_FILE: pack_seen(
            sorted({*train.outcomes.groups, *data.examples.groups}), seed=plan.seed
        ),
        REFERENCE_FILE: ReferenceSample(test.features[kept], served.first[kept]).to_json(),
    }
    listed = load_catalog(plan.catalog)
    manifest = bundle_manifest(plan, sources, data, cascade, report, listed)
    settings = chosen_settings(plan, table, cascade)
    catalog = catalog_basis(manifest, listed.entries)
    told, tiers = (*table.notes, str(catalog)), placed is not None
    registered = None
    if run is None:
        manifest = _write(plan, manifest, files, settings, told, tiers=tiers)
    else:
        with stage("tracking"):
            run.set_tags(
                {
                    "data_sha256": manifest.training_data_sha256,
                    "demonstration": str(manifest.demonstration).lower(),
                }
            )
            run.log_params(settings, unlisted=IN_CARD[1:])
            labels = label_distribution(predictions.standard)
            figures = render(
                test.outcomes, predictions, labels, baselines=baselines, seed=plan.seed
            )
            manifest = manifest.model_copy(update={"mlflow_run_id": run.id})
            manifest = _write(plan, manifest, files, settings, told, tiers=tiers)
            written = load_bundle(plan.out, plan.encoders)
            whole = served_report(
                report, written, plan.out, plan.encoders, test.outcomes, predictions, baselines
            )
            for name, figures_of in report.get("unseen_sources", {}).items():
                run.log_nested(f"without {name}", flattened(figures_of))
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
    return TrainingResult(
        plan.out, manifest, report, table.notes, catalog, stage.seconds, registered, model
    )
