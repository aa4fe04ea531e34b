"""``python -m training evaluate``: evaluate a bundle on a history, beside every baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from router.classifier.bundle import Bundle, load_bundle
from router.core.errors import InvalidInput
from router.files import sha256_of
from router.paths import ENCODERS
from training.commands.options import (
    AdequateAt,
    Arms,
    Cache,
    Encoders,
    HtmlOut,
    JsonOut,
    Judge,
    Price,
    SkipBadRows,
)
from training.commands.outputs import write_json, write_whole
from training.commands.report_tables import print_report
from training.encoders.embedding import CACHE, encode_prompts
from training.evaluation.baselines import EncodedOutcomes, baseline_scores
from training.evaluation.bundle_predictions import for_models, predict, unseen_prompts
from training.evaluation.evaluation_report import evaluate
from training.evaluation.footprint import CORE_HOUR_USD
from training.evaluation.served_report import facts, served_report
from training.evaluation.unseen_figures import unseen_notes
from training.export.classifier_graph import label_distribution
from training.histories.ladders import check_prices, parse_arms, parse_prices
from training.histories.outcome_table import HistoryTable, ReadOptions, read_table
from training.histories.outcomes import Outcomes
from training.pages.plots import render
from training.pages.report_page import report_page
from training.tracking.datasets import history_splits
from training.tracking.headline import verdict
from training.tracking.runs import start_run
from training.tracking.store import tracking_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["evaluate_command"]


def _arms_of(bundle: Bundle, arms: Mapping[str, str]) -> dict[str, str]:
    """The arms in the bundle's order of capability.

    Raises:
        InvalidInput: one of them is no arm of the bundle.
    """
    names = [arm.name for arm in bundle.manifest.arms]
    unknown = [arm for arm in arms if arm not in names]
    if unknown:
        raise InvalidInput(
            f"--arms: {', '.join(unknown)} is no arm of this bundle; it has {', '.join(names)}: "
            f"write --arms {','.join(f'{name}=MODEL' for name in names)}",
            reason="ARM_UNKNOWN",
            field="arms",
        )
    return {name: arms[name] for name in names if name in arms}


def evaluate_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    history: Annotated[
        list[Path],
        typer.Option(help="History to evaluate it on: Parquet, JSONL or CSV; repeatable."),
    ],
    arms: Arms = None,
    price: Price = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Keep prompts that the bundle was trained on.")
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    json_out: JsonOut = None,
    html: HtmlOut = None,
    mlflow: Annotated[
        bool,
        typer.Option(
            "--mlflow", help="Log the report, the page and the pictures as a run in MLflow."
        ),
    ] = False,
    mlflow_uri: Annotated[
        str | None,
        typer.Option(
            "--tracking-uri",
            help="MLflow's address, implies --mlflow (default: $MLFLOW_TRACKING_URI, else SQLite "
            "under build/).",
        ),
    ] = None,
    core_hour_usd: Annotated[
        float,
        typer.Option(min=0, help="Price of the router's own time, USD per core and hour."),
    ] = CORE_HOUR_USD,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
) -> None:
    """Evaluate a bundle on prompts it was not trained on: quality, calibration, cost, speed, baselines."""
    progress, console = Console(stderr=True), Console()
    loaded = load_bundle(bundle, encoders)
    prices = parse_prices(price or [])
    asked = None if arms is None else _arms_of(loaded, parse_arms(arms))
    table = read_table(history, ReadOptions(asked, judge, adequate_at, prices, skip_bad_rows))
    check_prices(prices, table.models)
    test = table.outcomes
    _arms_of(loaded, dict.fromkeys(test.arms, ""))
    seen: int | None = 0
    if not include_seen:
        fresh = unseen_prompts(loaded, bundle, test)
        seen = None if fresh is None else int((~fresh).sum())
        test = test if fresh is None else test.rows(fresh)
    if not len(test):
        raise InvalidInput(
            f"the bundle was trained on every prompt of {', '.join(map(str, history))}; give another "
            "history, or --include-seen to evaluate it on its training prompts",
            reason="NOTHING_UNSEEN",
            field="history",
        )
    prompts = encode_prompts(loaded.encoder, test.texts.tolist(), cache=cache, console=progress)
    predicted = predict(loaded, prompts, test.arms)
    predictions = for_models(loaded, predicted, test)
    seed = loaded.manifest.split.seed
    with progress.status(f"evaluating on {len(test):,} prompts, baselines and intervals"):
        rivals = baseline_scores(
            None, EncodedOutcomes(test, prompts.vectors, prompts.features), seed=seed
        )
        report = evaluate(
            test, predictions, prompts.vectors, prompts.features,
            train=None, lengths=predicted.lengths, seed=seed, baselines=rivals,
        )  # fmt: skip
        report = served_report(
            report, loaded, bundle, encoders, test, predictions, rivals,
            core_hour_usd=core_hour_usd,
        )  # fmt: skip
    report["models"] = dict(table.models)
    report["seen_left_out"] = seen
    report["notes"] = [
        *report["notes"],
        *table.notes,
        *_seen_notes(seen, include_seen),
        *_add_held_out_categories(report, loaded),
        *_add_unseen_sources(report, loaded),
    ]
    if json_out is not None:
        write_json(report, json_out)
    if html is not None or mlflow or mlflow_uri is not None:
        labels = label_distribution(predictions.standard)
        figures = render(test, predictions, labels, baselines=rivals, seed=seed)
        page = report_page(report, figures, facts(loaded, table))
        if html is not None:
            write_whole(page, html, "html")
        if mlflow or mlflow_uri is not None:
            _track(tracking_uri(mlflow_uri), loaded, table, test, report, page, figures)
    print_report(report, console)


def _add_held_out_categories(report: dict[str, Any], bundle: Bundle) -> list[str]:
    """Add to each pair the figure that training measured on held-out categories; return a note on it.

    To measure it anew the heads would have to be fitted again, which an evaluation does not do.
    """
    known = bundle.manifest.metrics.get("pairs", {})
    found = {name: known.get(name, {}).get("held_out_category_apgr") for name in report["pairs"]}
    for name, value in found.items():
        report["pairs"][name]["held_out_category_apgr"] = value
    if all(value is None for value in found.values()):
        return ["held-out categories: not measured when this bundle was trained"]
    return ["held-out categories: as measured when this bundle was trained, on its own histories"]


def _add_unseen_sources(report: dict[str, Any], bundle: Bundle) -> list[str]:
    """Add what training measured on sources that were left out, where it did; return a note on it."""
    found = bundle.manifest.metrics.get("unseen_sources")
    if found is None:
        return []
    report["unseen_sources"] = found
    return [
        "unseen sources: as measured when this bundle was trained, on its own histories",
        *unseen_notes(found),
    ]


def _track(
    uri: str,
    bundle: Bundle,
    table: HistoryTable,
    test: Outcomes,
    report: Mapping[str, Any],
    page: str,
    figures: Mapping[str, Figure],
) -> None:
    """Log the report, the page and the pictures as a run of their own."""
    names = "+".join(one.name for one in table.histories)
    manifest = bundle.manifest
    tags = {
        "bundle": bundle.version,
        "encoder": "+".join(one.name for one in manifest.encoders),
        "data_sha256": sha256_of("".join(one.sha256 for one in table.histories).encode()),
        "training_data_sha256": manifest.training_data_sha256,
        "demonstration": str(manifest.demonstration).lower(),
        "verdict": verdict(report),
    }
    splits = history_splits(table.histories, None, test)
    with start_run(uri, name=f"evaluate {manifest.name} on {names}", tags=tags) as run:
        run.log_datasets(splits)
        run.log_params({"bundle": bundle.version, "histories": names, "seed": report["seed"]})
        run.log_report(report)
        run.log_page(page)
        run.log_figures(figures)
        run.describe_report(report, splits, demonstration=manifest.demonstration)


def _seen_notes(seen: int | None, include_seen: bool) -> list[str]:
    if include_seen:
        return [
            "prompts that the bundle was trained on are included, so these figures are too good"
        ]
    if seen is None:
        return ["the bundle does not record its training prompts: some of these may be among them"]
    return [f"{seen:,} prompts that the bundle was trained on were left out"] if seen else []
