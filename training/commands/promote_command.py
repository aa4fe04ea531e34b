"""``python -m training promote``: the gate in front of production.

Exits with code 0 where the bundle is (or with ``--dry-run`` would be) the champion, with :data:`REFUSED`
where the gate refuses it, with 2 on an error. Nothing is written to MLflow unless the bundle passes.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Printed

from router.core.errors import InvalidInput, NotPossible
from router.files import sha256_of
from router.paths import ENCODERS
from training.artifacts.provenance import git_commit
from training.commands.options import (
    AdequateAt,
    Arms,
    AsJson,
    Cache,
    Encoders,
    Judge,
    Price,
    SkipBadRows,
    TrackingUri,
    asked_reading,
)
from training.commands.outputs import write_json
from training.encoders.embedding import CACHE
from training.evaluation.baselines import baseline_scores
from training.evaluation.evaluation_report import json_ready
from training.evaluation.evaluation_set import (
    EvaluationSet,
    NamedBundle,
    load_named,
    predict_all,
    read_evaluation_set,
)
from training.evaluation.promotion_gate import GateVerdict, gate
from training.histories.split import SEED
from training.tracking.datasets import history_splits
from training.tracking.promotion import CHAMPION, ChampionAlias, ChampionVersion, manifest_sha256
from training.tracking.store import MODEL, tracking_uri

__all__ = ["REFUSED", "REPORT", "promote_command"]

REFUSED = 3
"""Exit code where the gate refuses, so that a scheduled job can tell it from an error."""
REPORT = Path("build/reports/promote.json")

_REGISTRY, _NONE = "registry", "none"


@dataclass(frozen=True)
class _Champion:
    """What the bundle is compared with.

    Attributes:
        words: description for the output and for MLflow.
        current: the version that the alias names.
        directory: of the bundle to compare with; ``None``: the baselines alone.
    """

    words: str
    current: ChampionVersion | None
    directory: Path | None


def _champion(
    asked: str | None, alias: ChampionAlias, current: ChampionVersion | None, scratch: Path
) -> _Champion:
    """What to compare with, by the option ``--champion``.

    Raises:
        InvalidInput: the registry was asked for, and names no champion.
        BadArtifact: the champion's files are missing or altered.
    """
    if asked == _NONE:
        return _Champion("none, as asked: the baselines alone", current, None)
    if asked not in (None, _REGISTRY):
        return _Champion(f"the bundle in {asked}", current, Path(asked))
    if current is None:
        if asked == _REGISTRY:
            raise InvalidInput(
                f"--champion registry: {alias.uri} has no {MODEL}@{CHAMPION} yet; leave the option out to "
                "compare with the baselines alone, or name a bundle's directory",
                reason="CHAMPION_MISSING",
                field="champion",
            )
        where = "" if alias.exists else " (there is no registry yet)"
        return _Champion(f"none yet in {alias.uri}{where}: the baselines alone", None, None)
    directory = alias.fetch(current.version, scratch)
    return _Champion(f"version {current.version} of {MODEL}", current, directory)


def _current_version(asked: str | None, alias: ChampionAlias) -> ChampionVersion | None:
    """The version in production. It must not change during the comparison, whatever bundle is compared."""
    try:
        return alias.champion()
    except NotPossible:
        if asked in (None, _REGISTRY):
            raise
        return None  # the alias names a deleted version, and promoting repairs that


# --- Output -------------------------------------------------------------------------------------


def _figures(verdict: GateVerdict, console: Console) -> None:
    made = Printed(title="Promotion gate", title_justify="left", header_style="bold")
    made.add_column("figure")
    for name in ("value", "target"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("holds", no_wrap=True)
    held = {True: "yes", False: "[bold red]NO[/]", None: ""}
    for one in verdict.figures():
        made.add_row(
            one["figure"],
            "–" if one["value"] is None else f"{one['value']:z.4f}",
            "" if one["target"] is None else f"{one['target']:g}",
            held[one["holds"]],
        )
    console.print(made)


def _summary(
    bundle: NamedBundle,
    champion: _Champion,
    held: EvaluationSet,
    verdict: GateVerdict,
    number: int | None,
) -> dict[str, Any]:
    return {
        "bundle": bundle.bundle.version,
        "champion": champion.words,
        "n_prompts": len(held.outcomes),
        "histories": [one.name for one in held.table.histories],
        **verdict.as_dict(),
        "promoted_version": number,
        "notes": [*verdict.notes, *held.notes],
    }


def _tags(champion: _Champion, held: EvaluationSet, verdict: GateVerdict) -> dict[str, str]:
    """Tags of the version: the data it was judged on, the champion then, and the findings."""
    histories = held.table.histories
    return {
        "gate_champion": champion.words,
        "gate_data_sha256": sha256_of("".join(one.sha256 for one in histories).encode()),
        "gate_histories": ", ".join(one.name for one in histories),
        "gate_prompts": str(len(held.outcomes)),
        "gate_git_commit": git_commit() or "",
        "gate_found": "; ".join(one.words for one in verdict.criteria),
        "gate_figures": json.dumps(json_ready(verdict.figures()), ensure_ascii=False),
    }


def _promoted(
    alias: ChampionAlias,
    bundle: NamedBundle,
    champion: _Champion,
    held: EvaluationSet,
    verdict: GateVerdict,
) -> int:
    number = alias.find(manifest_sha256(bundle.directory))
    if number is None:
        gate_found = json_ready(verdict.as_dict())
        splits = history_splits(held.table.histories, None, held.outcomes)
        number = alias.register(bundle.directory, bundle.bundle.manifest, gate_found, splits)
    else:
        alias.renew_signature(number, bundle.directory)
    with tempfile.TemporaryDirectory(prefix="mitsumori-") as scratch:
        alias.fetch(number, Path(scratch))  # what serving will load: whole, and as registered
    alias.promote(number, champion.current, _tags(champion, held, verdict))
    return number


def _judged(
    sides: list[NamedBundle], held: EvaluationSet, cache: Path, seed: int, progress: Console
) -> GateVerdict:
    predicted, rows = predict_all(
        sides, held.outcomes, cache=cache, console=progress, seed=seed, timed=False
    )
    with progress.status(f"judging on {len(held.outcomes):,} prompts, baselines and intervals"):
        return gate(
            held.outcomes,
            predicted[0].predictions,
            baselines=baseline_scores(None, rows, seed=seed),
            champion=predicted[1].predictions if len(predicted) > 1 else None,
            seed=seed,
            demonstration=sides[0].bundle.manifest.demonstration,
        )


def promote_command(
    bundle: Annotated[Path, typer.Option(help="Directory of the bundle to promote.")],
    history: Annotated[
        list[Path],
        typer.Option(help="History to evaluate it on: Parquet, JSONL or CSV; repeatable."),
    ],
    champion: Annotated[
        str | None,
        typer.Option(
            help="What to compare with: a bundle's directory, `registry` (the alias champion, which must "
            "exist), or `none` (the baselines alone). Default: the alias, if it exists."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Evaluate and report; register and promote nothing.")
    ] = False,
    arms: Arms = None,
    price: Price = None,
    judge_name: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    mlflow_uri: TrackingUri = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the resamples.")] = SEED,
    report: Annotated[Path, typer.Option(help="File for the figures, as JSON.")] = REPORT,
    as_json: AsJson = False,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
) -> None:
    """Promote a bundle to champion if it beats the champion and the baselines.

    On prompts that neither bundle was trained on it must beat the best single arm at equal cost, prompt
    length and the champion, each with a 95 % interval above zero, and its calibration must not be worse.
    Exit code 0: it is the champion now. 3: refused, with every reason. 2: an error.
    """
    progress, console = Console(stderr=True), Console()
    alias = ChampionAlias(tracking_uri(mlflow_uri))
    candidate = load_named("the bundle", bundle, encoders)
    with tempfile.TemporaryDirectory(prefix="mitsumori-") as scratch:
        with progress.status("looking for the champion"):
            current = _current_version(champion, alias)
            if current is not None and current.sha256 == manifest_sha256(bundle):
                renewed = not dry_run and alias.renew_signature(current.version, bundle)
                _say_already(candidate, current, renewed, as_json, console)
                return
            there = _champion(champion, alias, current, Path(scratch))
        sides = [candidate]
        if there.directory is not None:
            sides.append(load_named("the champion", there.directory, encoders))
        reading = asked_reading(arms, judge_name, adequate_at, price, skip_bad_rows)
        held = read_evaluation_set(sides, history, reading)
        verdict = _judged(sides, held, cache, seed, progress)
    write_json(json_ready(verdict.figures()), report, "report")
    number = None
    if verdict.passes and not dry_run:
        with progress.status("promoting"):
            number = _promoted(alias, candidate, there, held, verdict)
    summary = _summary(candidate, there, held, verdict, number)
    if as_json:
        typer.echo(json.dumps(json_ready(summary), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(summary, verdict, report, console)
    if not verdict.passes:
        Console(stderr=True, soft_wrap=True).print(
            f"refused: {candidate.bundle.version}: {'; '.join(verdict.reasons)}",
            markup=False,
            highlight=False,
        )
        raise typer.Exit(REFUSED)


def _say_already(
    bundle: NamedBundle, current: ChampionVersion, renewed: bool, as_json: bool, console: Console
) -> None:
    done = "its signature is the new one now" if renewed else "nothing to do"
    text = f"{bundle.bundle.version} is the champion already (version {current.version}); {done}"
    if as_json:
        summary = {
            "bundle": bundle.bundle.version,
            "passes": None,
            "promoted_version": current.version,
            "notes": [text],
        }
        typer.echo(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _print(summary: dict[str, Any], verdict: GateVerdict, report: Path, console: Console) -> None:
    _figures(verdict, console)
    lines = [
        f"champion: {summary['champion']}",
        f"{summary['n_prompts']:,} prompts that no bundle here was trained on",
        *(f"{'yes' if one.holds else 'NO '}: {one.words}" for one in verdict.criteria),
        *(f"· {note}" for note in summary["notes"]),
        f"figures: {report}",
    ]
    if summary["promoted_version"] is not None:
        lines.append(
            f"promoted: {summary['bundle']} is {MODEL}@{CHAMPION} now, version {summary['promoted_version']}"
        )
    elif verdict.passes:
        lines.append(f"dry run: {summary['bundle']} would be promoted; nothing was changed")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
