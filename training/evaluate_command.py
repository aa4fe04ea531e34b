"""``python -m training evaluate``: a bundle judged on a history, every baseline beside it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table as Printed

from router.bundle import Bundle, load_bundle
from router.core.errors import InvalidInput, MitsumoriError
from router.files import read_checked, sha256_of
from router.paths import ENCODERS
from training.baselines import Rows, baseline_scores
from training.embedding import CACHE, embed_all, features_of
from training.evaluating import evaluate
from training.export import label_distribution
from training.footprint import CORE_HOUR_USD
from training.full_report import as_served, facts
from training.ladders import parse_arms, parse_prices
from training.options import AdequateAt, Arms, Cache, Encoders, Judge, Price, SkipBadRows
from training.plots import render
from training.report_page import report_page
from training.splitting import SEEN_FILE, seen_prompts
from training.table import Outcomes
from training.tabulating import Reading, Table, read_table
from training.tracking import start_run, tracking_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Predictions",
    "check_prices",
    "evaluate_command",
    "predictions",
    "print_report",
    "unseen",
    "write_json",
    "write_whole",
]


@dataclass(frozen=True)
class Predictions:
    """What a bundle says about ``n`` prompts, columns in the order of the arms asked for.

    Attributes:
        label_distribution: float64 ``(n, arms of the bundle + 1)``, ``none`` last.
        p_adequate: float64 ``(n, k)``.
        lengths: float64 ``(n, k, 3)``, output tokens at .5, .9 and .99; NaN for an arm without.
    """

    label_distribution: npt.NDArray[np.float64]
    p_adequate: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]


def predictions(
    bundle: Bundle,
    texts: Sequence[str],
    embeddings: npt.NDArray[np.float32],
    features: npt.NDArray[np.float32],
    arms: Sequence[str],
) -> Predictions:
    """Run the bundle's own graph over many prompts, one at a time as serving does.

    Args:
        bundle: loaded.
        texts: ``n`` prompts, for what the bundle reads of their words.
        embeddings: float32 ``(n, d)``.
        features: float32 ``(n, f)``.
        arms: ``k`` of the bundle's arms.
    """
    every = len(bundle.manifest.arms)
    names = [arm.name for arm in bundle.manifest.arms]
    columns = [names.index(arm) for arm in arms]
    labels = np.empty((len(texts), every + 1))
    adequate, lengths = np.empty((len(texts), every)), np.empty((len(texts), every, 3))
    for row, text in enumerate(texts):
        ids = bundle.encoder.word_ids(text) if bundle.reads_tokens else ()
        labels[row], adequate[row], lengths[row] = bundle.outputs(
            embeddings[row], features[row], ids, text
        )
    lengths = lengths[:, columns]
    lengths[:, [not bundle.manifest.arms[column].has_lengths for column in columns]] = np.nan
    return Predictions(labels, adequate[:, columns], lengths)


# --- What is asked for -------------------------------------------------------------------------


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


def unseen(bundle: Bundle, directory: Path, test: Outcomes) -> npt.NDArray[np.bool_] | None:
    """Which prompts the bundle was not trained on, bool ``(n,)``.

    ``None`` where the bundle does not tell what it was trained on.

    Raises:
        BadArtifact: what it tells is damaged.
    """
    files = bundle.manifest.files
    if SEEN_FILE not in files:
        return None
    content = read_checked(
        directory, {SEEN_FILE: files[SEEN_FILE]}, remedy="train the bundle again"
    )[SEEN_FILE]
    return ~seen_prompts(test.groups.tolist(), content, seed=bundle.manifest.split.seed)


def check_prices(prices: Mapping[str, Any], models: Mapping[str, Sequence[str]]) -> None:
    """Refuse a price that nothing has use for, such as one with a misspelt name.

    Raises:
        InvalidInput: ``--price`` names neither an arm nor a model of the histories.
    """
    names = {*models, *(model for several in models.values() for model in several)}
    strange = sorted(set(prices) - names)
    if strange:
        raise InvalidInput(
            f"--price: {', '.join(strange)} is neither an arm nor a model here; "
            f"there: {', '.join(sorted(names))}",
            reason="PRICE_UNUSED",
            field="price",
        )


# --- What comes out ----------------------------------------------------------------------------


def write_whole(text: str, target: Path, option: str) -> None:
    """Write a text file whole or not at all.

    Args:
        text: in UTF-8 then.
        target: its folder is made if need be.
        option: of the command line, by which another file can be named.

    Raises:
        MitsumoriError: the file cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(scratch).chmod(0o644)
            Path(scratch).replace(target)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError as error:
        raise MitsumoriError(
            f"{target} cannot be written ({error.strerror}); name another file with --{option}",
            reason="NOT_WRITABLE",
            field=option,
        ) from None


def write_json(report: Any, target: Path, option: str = "json") -> None:
    """Write JSON, as :func:`write_whole` does.

    Raises:
        MitsumoriError: the file cannot be written.
    """
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(text, target, option)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _with_interval(value: float | None, bounds: Sequence[float | None] | None) -> str:
    if value is None or bounds is None or None in bounds:
        return _number(value)
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def _table(title: str, first: str, *columns: str) -> Printed:
    made = Printed(title=title, title_justify="left", header_style="bold")
    made.add_column(first, no_wrap=True)
    for column in columns:
        made.add_column(column, justify="right")
    return made


def _arms_table(report: Mapping[str, Any]) -> Printed:
    made = _table(
        "Arms", "arm", "quality", "USD per 1,000", "AUC", "ECE", "floor", "Brier", "attempts"
    )
    for name, arm in report["arms"].items():
        cost = None if arm["mean_cost_usd"] is None else 1000 * arm["mean_cost_usd"]
        made.add_row(
            name,
            _number(arm["mean_quality"]),
            _number(cost, 4),
            *(_number(arm[key]) for key in ("auc", "ece", "ece_floor", "brier")),
            f"{arm['n']:,}",
        )
    return made


def _pairs_table(report: Mapping[str, Any]) -> Printed:
    made = _table(
        "Ranking prompts between two arms",
        "router",
        "APGR [95 %]",
        "in category",
        "new category",
        "CPT 50",
        "CPT 80",
    )
    baselines = report["baselines"]
    named = [name for name in baselines if name not in ("single", "oracle")]
    for pair, ours in report["pairs"].items():
        routers = {"this bundle": ours} | {name: baselines[name][pair] for name in named}
        made.add_row(f"{pair} ({ours['n']:,})", style="bold")
        for name, figures in routers.items():
            made.add_row(
                f"  {name}",
                _with_interval(figures["apgr"], figures["apgr_interval"]),
                _number(figures["within_category_apgr"]),
                _number(figures.get("held_out_category_apgr")),
                _number(figures["cpt50"]),
                _number(figures["cpt80"]),
                style="bold cyan" if name == "this bundle" else None,
            )
        made.add_section()
    return made


def _money_table(report: Mapping[str, Any]) -> Printed | None:
    if report["aiq"] is None:
        return None
    made = _table(
        f"Money ({report['priced_prompts']:,} prompts; cost as a share of always the strongest arm)",
        "figure",
        "value [95 %]",
    )
    made.add_row("AIQ", _with_interval(report["aiq"], report["aiq_interval"]), style="bold")
    for name, value in report["aiq_baselines"].items():
        made.add_row(f"AIQ, {name}", _number(value))
    made.add_row("AIQ, single arms (zero router)", _number(report["aiq_zero"]))
    made.add_row("AIQ, oracle", _number(report["aiq_oracle"]))
    for share, cost in report["cost_at_quality"].items():
        made.add_row(
            f"cost at {float(share):.0%} of the strongest arm's quality",
            _with_interval(cost, report["cost_at_quality_interval"][share]),
        )
    return made


def _languages_table(report: Mapping[str, Any]) -> Printed:
    arms = list(report["arms"])
    title = f"Languages: APGR {arms[0]}>{arms[-1]}, mean quality of each arm, worst ECE"
    made = _table(title, "language", "prompts", "APGR", *arms, "ECE / floor", "p90 coverage")
    for code, one in report["by_language"].items():
        if one["few"]:
            made.add_row(code, f"{one['n']:,}", "too few")
            continue
        errors = [(one["ece"][arm], one["ece_floor"][arm]) for arm in arms]
        worst = max((pair for pair in errors if pair[0] is not None), default=(None, None))
        made.add_row(
            code,
            f"{one['n']:,}",
            _number(one["apgr"]),
            *(_number(one["mean_quality"][arm]) for arm in arms),
            f"{_number(worst[0])} / {_number(worst[1])}",
            _number(one["length"]["coverage_p90"]),
        )
    return made


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """The report as tables, the baselines beside the bundle."""
    console.print(_arms_table(report), _pairs_table(report))
    money = _money_table(report)
    if money is not None:
        console.print(money)
    console.print(_languages_table(report))
    encode = report.get("encode_ms")
    if encode:
        console.print(
            f"encode and classify: p50 {_number(encode['p50'], 2)} ms, "
            f"p99 {_number(encode['p99'], 2)} ms over {encode['n']} prompts",
            highlight=False,
        )
    for note in report["notes"]:
        console.print(f"· {note}", highlight=False, markup=False)


def evaluate_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle.")],
    history: Annotated[
        list[Path], typer.Option(help="History to judge it on: Parquet, JSONL or CSV; repeatable.")
    ],
    arms: Arms = None,
    price: Price = None,
    judge: Judge = None,
    adequate_at: AdequateAt = None,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Keep prompts that the bundle was trained on.")
    ] = False,
    skip_bad_rows: SkipBadRows = False,
    json_out: Annotated[
        Path | None, typer.Option("--json", help="Write the report to this file as JSON.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the report to this file as a page that needs no other file."),
    ] = None,
    mlflow: Annotated[
        bool, typer.Option("--mlflow", help="Log report, page and pictures as a run in MLflow.")
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
        typer.Option(min=0, help="USD per hour of one core: what the router's own time costs."),
    ] = CORE_HOUR_USD,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
) -> None:
    """Judge a bundle on prompts it has not seen: quality, calibration, money, speed, and baselines."""
    progress, console = Console(stderr=True), Console()
    loaded = load_bundle(bundle, encoders)
    prices = parse_prices(price or [])
    asked = None if arms is None else _arms_of(loaded, parse_arms(arms))
    table = read_table(history, Reading(asked, judge, adequate_at, prices, skip_bad_rows))
    check_prices(prices, table.models)
    test = table.outcomes
    _arms_of(loaded, dict.fromkeys(test.arms, ""))
    seen: int | None = 0
    if not include_seen:
        fresh = unseen(loaded, bundle, test)
        seen = None if fresh is None else int((~fresh).sum())
        test = test if fresh is None else test.rows(fresh)
    if not len(test):
        raise InvalidInput(
            f"the bundle was trained on every prompt of {', '.join(map(str, history))}; give another "
            "history, or --include-seen to judge it on what it knows",
            reason="NOTHING_UNSEEN",
            field="history",
        )
    embeddings = embed_all(loaded.encoder, test.texts.tolist(), cache=cache, console=progress)
    features = features_of(test.texts.tolist())
    said = predictions(loaded, test.texts.tolist(), embeddings, features, test.arms)
    seed = loaded.manifest.split.seed
    with progress.status(f"evaluating on {len(test):,} prompts, baselines and intervals"):
        rivals = baseline_scores(None, Rows(test, embeddings, features), seed=seed)
        report = evaluate(
            test, said.p_adequate, embeddings, features,
            train=None, lengths=said.lengths, seed=seed, baselines=rivals,
        )  # fmt: skip
        report = as_served(
            report, loaded, bundle, encoders, test, said.p_adequate, rivals,
            core_hour_usd=core_hour_usd,
        )  # fmt: skip
    report["models"] = dict(table.models)
    report["seen_left_out"] = seen
    report["notes"] = [
        *report["notes"],
        *table.notes,
        *_seen_notes(seen, include_seen),
        *_add_held_out_categories(report, loaded),
    ]
    if json_out is not None:
        write_json(report, json_out)
    if html is not None or mlflow or mlflow_uri is not None:
        labels = label_distribution(said.p_adequate)
        figures = render(test, said.p_adequate, labels, baselines=rivals, seed=seed)
        page = report_page(report, figures, facts(loaded, table))
        if html is not None:
            write_whole(page, html, "html")
        if mlflow or mlflow_uri is not None:
            _track(tracking_uri(mlflow_uri), loaded, table, report, page, figures)
    print_report(report, console)


def _add_held_out_categories(report: dict[str, Any], bundle: Bundle) -> list[str]:
    """Put beside each pair what training measured on held-out categories; a note on it.

    Cross-fitting over categories fits again, which an evaluation does not.
    """
    known = bundle.manifest.metrics.get("pairs", {})
    found = {name: known.get(name, {}).get("held_out_category_apgr") for name in report["pairs"]}
    for name, value in found.items():
        report["pairs"][name]["held_out_category_apgr"] = value
    if all(value is None for value in found.values()):
        return ["held-out categories: not measured when this bundle was trained"]
    return ["held-out categories: as measured when this bundle was trained, on its own histories"]


def _track(
    uri: str,
    bundle: Bundle,
    table: Table,
    report: Mapping[str, Any],
    page: str,
    figures: Mapping[str, Figure],
) -> None:
    """The report, the page and the pictures as a run of their own."""
    names = "+".join(one.name for one in table.histories)
    tags = {
        "command": "evaluate",
        "bundle": bundle.version,
        "data_sha256": sha256_of("".join(one.sha256 for one in table.histories).encode()),
        "training_data_sha256": bundle.manifest.training_data_sha256,
        "demonstration": str(bundle.manifest.demonstration).lower(),
    }
    with start_run(uri, name=f"evaluate {bundle.manifest.name} on {names}", tags=tags) as run:
        run.log_params({"bundle": bundle.version, "histories": names, "seed": report["seed"]})
        run.log_report(report)
        run.log_figures(figures)
        run.log_text(page, "evaluation.html")


def _seen_notes(seen: int | None, include_seen: bool) -> list[str]:
    if include_seen:
        return ["prompts that the bundle was trained on were kept: these figures flatter it"]
    if seen is None:
        return ["the bundle does not tell what it was trained on: some of these may be among it"]
    return [f"{seen:,} prompts that the bundle was trained on were left out"] if seen else []
