"""``python -m training compare A B``: two bundles on the same prompts, with intervals of the differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Printed

from router.core.errors import InvalidInput
from router.paths import ENCODERS
from training.artifacts.provenance import time_and_commit
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
    asked_reading,
)
from training.commands.outputs import write_json, write_whole
from training.encoders.embedding import CACHE
from training.evaluation.comparison import compare
from training.evaluation.evaluation_set import (
    EvaluationSet,
    NamedBundle,
    load_named,
    predict_all,
    read_evaluation_set,
)
from training.histories.split import SEED
from training.pages.page import Grid, Line, Page, Part, number, ranged, rendered

__all__ = ["compare_command", "comparison_page"]

Report = Mapping[str, Any]

_BETTER = {"a": "A", "b": "B", None: "–"}


@dataclass(frozen=True)
class _Row:
    """One line of the comparison; ``found`` as :func:`comparison.compare` gives it."""

    name: str
    found: Report
    digits: int = 3


def _groups(report: Report) -> Iterator[tuple[str, list[_Row]]]:
    """The figures under their headings, in the order in which they are shown."""
    rows = [_Row("all pairs together", report["pooled_apgr"])] if report["pooled_apgr"] else []
    rows += [_Row(f"{pair} ({one['n']:,})", one["apgr"]) for pair, one in report["pairs"].items()]
    yield "APGR", rows
    if report["aiq"] is not None:
        yield "AIQ", [_Row(f"bundles (single arms {number(report['aiq_zero'])})", report["aiq"], 4)]
    arms = report["arms"].items()
    yield (
        "ECE",
        [
            _Row(
                f"{arm} (floor {one['ece']['floor_a']:.3f})",
                one["ece"],
            )
            for arm, one in arms
        ],
    )
    yield "Excess ECE", [_Row(arm, one["excess_ece"]) for arm, one in arms]
    yield "Brier", [_Row(arm, one["brier"], 4) for arm, one in arms]
    yield (
        "Length, pinball",
        [
            _Row(f"at .{key[-2]}", one)
            for key, one in report["length"].items()
            if one["a"] is not None and one["b"] is not None
        ],
    )
    yield (
        "Encode, ms",
        [_Row(key, one, 2) for key, one in report["encode_ms"].items() if key != "n"],
    )
    yield (
        "APGR by language",
        [
            _Row(f"{language} ({one['n']:,})", one["pooled_apgr"])
            for language, one in report["by_language"].items()
            if one["pooled_apgr"] is not None
        ],
    )


def _cells(row: _Row) -> list[str]:
    found = row.found
    return [
        row.name,
        number(found["a"], row.digits),
        number(found["b"], row.digits),
        ranged(found["difference"], found["interval"], row.digits, sign=True),
        _BETTER[found["better"]],
    ]


_LEGEND = (
    "Shaded: the 95 % interval of the difference excludes zero. Both bundles are measured on the same "
    "resamples of the prompts, so that chance cancels out.",
    "Higher is better for APGR and AIQ, lower for all other figures. Floor: the ECE that perfect calibration "
    "would show, here of A; excess: over each bundle's own floor. Length: pinball loss over that of each "
    "arm's global quantile. Encode: time to encode and classify one prompt, the bundles in turn.",
)
_HEADER = ("figure", "A", "B", "B − A [95 %]", "better")


def _print(report: Report, console: Console) -> None:
    made = Printed(title_justify="left", header_style="bold")
    made.add_column(_HEADER[0])
    for name in _HEADER[1:]:
        made.add_column(name, justify="right", no_wrap=True)
    for title, rows in _groups(report):
        if not rows:
            continue
        made.add_row(title, style="bold")
        for row in rows:
            name, *rest = _cells(row)
            made.add_row(f"  {name}", *rest, style="cyan" if row.found["better"] else None)
        made.add_section()
    for side in ("a", "b"):
        one = report["bundles"][side]
        console.print(
            f"{side.upper()}: {one['version']} ({one['directory']})", highlight=False, markup=False
        )
    console.print(made)
    console.print(
        f"{report['n_prompts']:,} prompts that neither was trained on; intervals by paired bootstrap; a dash "
        "where the interval of the difference includes zero",
        highlight=False,
    )
    for note in report["notes"]:
        console.print(f"· {note}", highlight=False, markup=False)


def comparison_page(report: Report) -> str:
    """The comparison as one self-contained HTML page.

    Args:
        report: as ``python -m training compare --json`` writes it.
    """
    a, b = (report["bundles"][side] for side in ("a", "b"))
    lines = []
    for title, rows in _groups(report):
        if rows:
            lines.append(Line([title], group=True))
            lines += [Line(_cells(row), strong=row.found["better"] is not None) for row in rows]
    facts = [
        ("A", f"{a['version']} ({a['directory']})"),
        ("B", f"{b['version']} ({b['directory']})"),
        ("Histories", ", ".join(report["histories"])),
        ("Made", time_and_commit()),
    ]
    return rendered(
        Page(
            title=f"{a['version']} and {b['version']}",
            subtitle=f"{report['n_prompts']:,} prompts that neither bundle was trained on.",
            facts=facts,
            parts=(
                Part(
                    "Differences",
                    _LEGEND,
                    (Grid(_HEADER, lines, wordy=(0,)),),
                ),
                Part("Notes", [f"{note}." for note in report["notes"]]),
            ),
        )
    )


def _report(
    sides: tuple[NamedBundle, NamedBundle], held: EvaluationSet, found: dict[str, Any]
) -> Report:
    return {
        **found,
        "bundles": {
            key: {"version": one.bundle.version, "directory": str(one.directory)}
            for key, one in zip(("a", "b"), sides, strict=True)
        },
        "histories": [one.name for one in held.table.histories],
        "models": dict(held.table.models),
        "notes": [*found["notes"], *held.notes],
    }


def compare_command(
    a: Annotated[
        Path, typer.Argument(help="Directory of one bundle, such as the one in production.")
    ],
    b: Annotated[Path, typer.Argument(help="Directory of the other bundle.")],
    history: Annotated[
        list[Path],
        typer.Option(help="History to compare them on: Parquet, JSONL or CSV; repeatable."),
    ],
    arms: Arms = None,
    price: Price = None,
    judge_name: Judge = None,
    adequate_at: AdequateAt = None,
    skip_bad_rows: SkipBadRows = False,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the resamples.")] = SEED,
    json_out: JsonOut = None,
    html: HtmlOut = None,
    encoders: Encoders = ENCODERS,
    cache: Cache = CACHE,
) -> None:
    """Compare two bundles on prompts that neither was trained on, with intervals of all differences."""
    progress = Console(stderr=True)
    sides = load_named("A", a, encoders), load_named("B", b, encoders)
    if sides[0].bundle.version == sides[1].bundle.version:
        raise InvalidInput(
            f"A and B are the same bundle, {sides[0].bundle.version}; name two different ones",
            reason="SAME_BUNDLE",
            field="b",
        )
    reading = asked_reading(arms, judge_name, adequate_at, price, skip_bad_rows)
    held = read_evaluation_set(sides, history, reading)
    predicted, _ = predict_all(sides, held.outcomes, cache=cache, console=progress, seed=seed)
    with progress.status(f"comparing on {len(held.outcomes):,} prompts"):
        report = _report(sides, held, compare(held.outcomes, *predicted, seed=seed))
    if json_out is not None:
        write_json(report, json_out)
    if html is not None:
        write_whole(comparison_page(report), html, "html")
    _print(report, Console())
