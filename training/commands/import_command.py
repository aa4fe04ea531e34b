"""``python -m training import``: from logs to a history."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from router.core.errors import InvalidInput
from training.histories.log_import import decisions, litellm, openai, routerbench
from training.histories.log_import.history_writer import AdaptedRows, Imported, write_history
from training.histories.log_import.row_adapters import (
    LogAdapter,
    LoggedAttempt,
    Options,
)

__all__ = ["Kind", "import_command"]


class Kind(enum.Enum):
    """Kinds of log."""

    DECISIONS = "decisions"
    LITELLM = "litellm"
    OPENAI = "openai"
    ROUTERBENCH = "routerbench"


_ADAPTERS: dict[Kind, LogAdapter] = {
    Kind.DECISIONS: decisions.adapted_rows,
    Kind.LITELLM: litellm.adapted_rows,
    Kind.OPENAI: openai.adapted_rows,
    Kind.ROUTERBENCH: routerbench.adapted_rows,
}


def _watched(found: AdaptedRows, console: Console) -> Iterator[tuple[str, Any]]:
    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.completed:,.0f} rows, {task.fields[attempts]:,} attempts"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("importing", total=None, attempts=0)
        attempts = 0
        for source, one in found:
            yield source, one
            attempts += isinstance(one, LoggedAttempt)
            progress.update(task, advance=1, attempts=attempts)


def _excluded(done: Imported) -> list[dict[str, object]]:
    return [
        {"reason": reason, "rows": count, "remedy": remedy}
        for (reason, remedy), count in done.excluded.most_common()
    ]


def _summary(done: Imported, kind: Kind, out: Path, reports: list[Path]) -> dict[str, object]:
    return {
        "out": str(out),
        "from": kind.value,
        "read": done.read,
        "attempts": done.attempts,
        "prompts": done.prompts,
        "judged": done.judged,
        "with_propensity": done.with_propensity,
        "repeats": done.repeats,
        "redacted": done.redacted,
        "left_out": _excluded(done),
        "rejected_rows": done.rejected_rows,
        "rejected": [str(path) for path in reports],
    }


def _lines(done: Imported, out: Path, reports: list[Path]) -> Iterator[str]:
    yield (
        f"history: {out}: {done.attempts:,} attempts at {done.prompts:,} prompts, {done.judged:,} judged, "
        f"{done.with_propensity:,} with propensity"
    )
    if done.redacted is None:
        yield "note: prompts are written as logged, with any personal data and secrets in them (--no-redact)"
    else:
        yield f"redacted: text was replaced in {done.redacted:,} attempts; names of people are not replaced"
    if done.repeats:
        yield f"repeats: {done.repeats:,} exact repeats of prompt, model, answer and time were left out"
    for one in _excluded(done):
        remedy = f"; {one['remedy']}" if one["remedy"] else ""
        yield f"left out: {one['rows']:,} rows: {one['reason']}{remedy}"
    if done.rejected_rows:
        yield f"rejected: {done.rejected_rows:,} bad rows, listed in {', '.join(map(str, reports))}"
    if done.judged < done.attempts:
        yield (
            f"note: {done.attempts - done.judged:,} attempts have no quality: training learns "
            "lengths and costs from them, not P(adequate)"
        )


def _redactor() -> Callable[[str], str]:
    # Imported only for --redact: it needs an extra, and reports where that is missing.
    from router.decision_log.redaction import redact

    return redact


def _check_paths(logs: list[str], out: Path) -> None:
    if out.suffix.lower() != ".parquet":
        raise InvalidInput(f"--out: {out} must end in .parquet", field="out")
    if any(Path(log).resolve() == out.resolve() for log in logs if "://" not in log):
        raise InvalidInput(f"--out: {out} is the log itself; name another file", field="out")


def import_command(
    log: Annotated[
        list[str],
        typer.Argument(
            help="The logs: files, and for `decisions` also a ledger (sqlite:PATH, postgresql://…)."
        ),
    ],
    kind: Annotated[Kind, typer.Option("--from", help="Kind of the logs.")],
    out: Annotated[Path, typer.Option(help="History to write: a .parquet file.")],
    model: Annotated[
        str | None, typer.Option(help="Model that answered, where the log does not name it.")
    ] = None,
    redact: Annotated[
        bool,
        typer.Option(
            "--redact/--no-redact", help="Replace personal data and secrets in the prompts."
        ),
    ] = True,
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Skip bad rows and report them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Turn logs into a history: checked, redacted, without repeats; rows that are left out are counted.

    decisions: our own decision log, from a ledger or a file of `mitsumori decisions --out`.
    litellm: the table LiteLLM_SpendLogs as JSON, CSV or Parquet.
    openai: chat logs as JSON lines: calls, batch output with its input, fine-tuning files.
    routerbench: one row per prompt, with quality, NAME|total_cost and NAME|model_response per model.
    """
    _check_paths(log, out)
    progress = Console(stderr=True)
    found = _watched(_ADAPTERS[kind](log, Options(model=model)), progress)
    done, reports = write_history(
        found, out, redact=_redactor() if redact else None, skip_bad_rows=skip_bad_rows
    )
    if as_json:
        typer.echo(json.dumps(_summary(done, kind, out, reports), indent=2, ensure_ascii=False))
        return
    console = Console()
    for line in _lines(done, out, reports):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
