"""What commands that pay for calls share: options, the quote before they start, progress, the summary."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Printed

from router.core.errors import InvalidInput
from router.core.money import parse_usd, short_usd
from router.core.plurals import counted
from router.decision_log.export import usd
from training.calls.journal import Answered, Failed, Journal, journal_path
from training.calls.paid_calls import Patience
from training.calls.quotation import RunQuote
from training.calls.reply import checked_url
from training.calls.session import RunResult, Terms, doubts_of, failures_of

__all__ = [
    "INCOMPLETE",
    "ApiKeyEnv",
    "Budget",
    "Concurrency",
    "DryRun",
    "Endpoint",
    "Retries",
    "RetryFailed",
    "Seconds",
    "Stream",
    "Yes",
    "check_unused",
    "check_within",
    "key_notes",
    "money",
    "print_lines",
    "progress_of",
    "quote_summary",
    "run_lines",
    "run_summary",
    "show_quote",
    "terms_of",
]

_SAME_AGAIN = "start the same command again to go on; what is paid for is not paid for twice"
INCOMPLETE = 3
"""Exit code of a run that stopped early, so that a scheduled job can tell it from an error."""

Endpoint = Annotated[
    str,
    typer.Option(help="Base URL of an OpenAI-compatible API, such as https://api.openai.com/v1."),
]
Budget = Annotated[
    str, typer.Option(help="USD for all runs of the same --out together; never passed.")
]
ApiKeyEnv = Annotated[
    str, typer.Option(help="Environment variable with the API key; a key is never an argument.")
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Calls at a time.")]
Seconds = Annotated[float, typer.Option("--timeout", min=0.05, help="Seconds per call.")]
Stream = Annotated[bool, typer.Option("--stream/--no-stream", help="Stream the answers.")]
Retries = Annotated[
    int,
    typer.Option(min=0, max=20, help="Further requests after failures that may pass; one, where the provider "
                 "may bill the failure."),
]  # fmt: skip
RetryFailed = Annotated[
    bool,
    typer.Option(
        "--retry-failed", help="Ask again what earlier runs gave up, even if it was billed."
    ),
]
Yes = Annotated[
    bool,
    typer.Option("--yes", help="Start although the quote is above the budget; stop where it ends."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the quote; ask nothing.")]


def terms_of(
    endpoint: str,
    budget: str,
    api_key_env: str,
    concurrency: int,
    timeout_s: float,
    stream: bool,
    retries: int,
) -> Terms:
    """The terms of a run, from the options of a command.

    Args:
        endpoint: ``--endpoint``.
        budget: ``--budget``, USD.
        api_key_env: name of the environment variable with the key.
        concurrency: calls at a time.
        timeout_s: seconds per call.
        stream: whether answers are streamed.
        retries: further requests after failures.

    Raises:
        InvalidInput: the address, the budget or the key cannot be one.
    """
    key = os.environ.get(api_key_env, "").strip()  # files of secrets end with a line break
    if not (key.isascii() and all(33 <= ord(letter) < 127 for letter in key)):
        raise InvalidInput(
            f"{api_key_env}: holds characters that no key has; set it again", field="api_key_env"
        )
    return Terms(
        checked_url(endpoint),
        key or None,
        parse_usd(budget, field="--budget"),
        concurrency,
        timeout_s,
        stream,
        Patience(tries=retries + 1),
    )


def check_unused(out: Path, *inputs: str) -> None:
    """Refuse an output that is an input, or a file that no run of ours has begun.

    Args:
        out: ``--out``.
        inputs: files and addresses that are read.

    Raises:
        InvalidInput: it is.
    """
    if any(Path(one).resolve() == out.resolve() for one in inputs if "://" not in one):
        raise InvalidInput(f"--out: {out} is the input itself; name another file", field="out")
    if out.exists() and not _has_calls(journal_path(out)):
        raise InvalidInput(
            f"--out: {out} is there already, and has no journal beside it to go on from; name another file",
            field="out",
        )


def _has_calls(journal: Path) -> bool:
    """Whether a journal tells of a call: it has a whole line after the first."""
    if not journal.is_file():
        return False
    with journal.open("rb") as file:
        file.readline()
        return file.readline().endswith(b"\n")


def key_notes(terms: Terms, api_key_env: str) -> Iterator[str]:
    """What is to be said of the key."""
    parts = urlsplit(terms.endpoint)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if terms.key is None and not local:
        yield f"{api_key_env} is not set: calls go out without a key"
    if terms.key is not None and parts.scheme == "http" and not local:
        yield "the endpoint is http: the key and the prompts travel unencrypted"


def money(nanos: int) -> str:
    """Exact USD, for JSON."""
    return f"{usd(nanos):f}"


def show_quote(quote: RunQuote, budget: int, spent: int, console: Console) -> None:
    """Print the quote of a run.

    Args:
        quote: of the calls that are not yet paid for.
        budget: nano-dollars.
        spent: nano-dollars, by earlier runs.
        console: where it goes.
    """
    made = Printed(
        title=f"Quote of {counted(len(quote.calls), 'call')}", title_justify="left", box=SIMPLE_HEAD
    )
    made.add_column("model", overflow="fold")
    for name in ("calls", "tokens in", "out", "expected", "high", "at most"):
        made.add_column(name, justify="right", no_wrap=True)
    for name, one in quote.models.items():
        made.add_row(
            name, f"{one.calls:,}", f"{one.input_tokens:,}", f"{one.output_tokens:,}",
            short_usd(one.expected), short_usd(one.high), short_usd(one.worst),
        )  # fmt: skip
    console.print(made)
    before = f", {short_usd(spent)} of it spent by earlier runs" if spent else ""
    high, left = sum(one.high for one in quote.models.values()), budget - spent
    early = quote.total <= left < high
    lines = [
        f"expected: {short_usd(quote.total)} of a budget of {short_usd(budget)}{before}",
        *(["note: if answers are long, the budget ends before the run does"] if early else []),
        *(
            f"note: {counted(n, 'call is', 'calls are')} left out: {why}"
            for why, n in quote.left_out.items()
        ),
    ]
    print_lines(console, lines)


def quote_summary(quote: RunQuote) -> dict[str, Any]:
    """The quote, for ``--json``."""
    return {
        "calls": len(quote.calls),
        "left_out": dict(quote.left_out),
        "expected_usd": money(quote.total),
        "worst_usd": money(quote.worst),
        "per_model": {
            name: {
                "calls": one.calls,
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "expected_usd": money(one.expected),
                "high_usd": money(one.high),
                "worst_usd": money(one.worst),
            }
            for name, one in quote.models.items()
        },
    }


def check_within(quote: RunQuote, left: int, yes: bool, width: int) -> None:
    """Ask, or refuse where nobody can be asked, if a run is expected to cost more than is left.

    Args:
        quote: of the run.
        left: of the budget, nano-dollars.
        yes: nobody is asked.
        width: calls per prompt or attempt, for the size of a sample that fits.

    Raises:
        InvalidInput: the run must not start.
    """
    if yes or quote.total <= left:
        return
    fitting = quote.affordable(left)
    said = (
        f"the run is expected to cost {short_usd(quote.total)}, and {short_usd(max(left, 0))} of the budget "
        f"is left: enough for about {fitting:,} of {len(quote.calls):,} calls"
    )
    if sys.stdin.isatty() and sys.stderr.isatty():
        if typer.confirm(f"{said}. Go on until the budget ends?", err=True):
            return
        raise InvalidInput("nothing was asked and nothing spent", reason="NOT_STARTED")
    raise InvalidInput(
        f"--budget: {said}; take a sample (--sample {max(fitting // width, 1)}), raise --budget, or go on "
        "until it ends with --yes",
        reason="OVER_BUDGET",
        field="budget",
    )


@contextmanager
def progress_of(
    what: str, total: int, budget: int, console: Console
) -> Iterator[Callable[[Journal], None]]:
    """A progress bar with the money spent; yields what is called after each task.

    Args:
        what: is done, such as ``collecting``.
        total: tasks.
        budget: nano-dollars.
        console: where it goes.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[spent]} of " + short_usd(budget)), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total, spent=short_usd(0))
        yield lambda journal: progress.update(task, advance=1, spent=short_usd(journal.spent))


def run_summary(
    journal: Journal, outcomes: Mapping[str, Answered | Failed], result: RunResult, budget: int
) -> dict[str, Any]:
    """What a run took, for ``--json``.

    Args:
        journal: after the run.
        outcomes: of its calls, by key.
        result: how it ended.
        budget: nano-dollars.
    """
    answers = [one for one in outcomes.values() if isinstance(one, Answered)]
    return {
        "complete": result.complete,
        "stopped": result.stopped or None,
        "answered": len(answers),
        "from_earlier_runs": result.used,
        "failed": dict(failures_of(outcomes.values())),
        "not_asked": dict(result.not_asked),
        "models_left_out": dict(result.left_out),
        "usage_not_believed": {model: dict(n) for model, n in doubts_of(answers).items()},
        "cut": sum(one.finish == "length" for one in answers),
        "lost": journal.lost,
        "budget_usd": money(budget),
        "spent_usd": money(journal.spent),
        "replaced_usd": money(journal.replaced),
        "cost_usd": money(sum(one.cost for one in answers)),
    }


def run_lines(summary: Mapping[str, Any], api_key_env: str) -> Iterator[str]:
    """What is to be told of a run, from its :func:`run_summary`."""
    spent, cost, replaced = (
        parse_usd(summary[name], field=name) for name in ("spent_usd", "cost_usd", "replaced_usd")
    )
    more = f", {short_usd(replaced)} of it for answers that were asked again" if replaced else ""
    if spent > cost + replaced:
        beyond = short_usd(spent - cost - replaced)
        more += f", {beyond} of it set aside for what may have been billed beyond the answers"
    yield f"spent: {short_usd(spent)} of {short_usd(parse_usd(summary['budget_usd'], field='budget'))}{more}"
    for kind, count in summary["failed"].items():
        yield f"failed: {counted(count, 'call')}: {kind.replace('_', ' ')}"
    for model, doubts in summary["usage_not_believed"].items():
        for doubt, count in doubts.items():
            yield (
                f"note: {model}: {doubt} in {counted(count, 'answer')}: our own count is written, and "
                "the most that may be billed is booked"
            )
    if summary["cut"]:
        yield (
            f"note: {counted(summary['cut'], 'answer was', 'answers were')} cut at the limit: raise "
            "--max-output-tokens for whole ones"
        )
    if summary["lost"]:
        yield (
            f"note: {counted(summary['lost'], 'call was', 'calls were')} under way when a run was killed: "
            "booked at the worst case, and asked again"
        )
    for model, why in summary["models_left_out"].items():
        yield f"left out: {model}: {why}"
    for why, count in summary["not_asked"].items():
        yield f"not done: {count:,}: {why}"
    if summary["stopped"] and "key refused" in summary["stopped"]:
        yield f"note: the key is read from {api_key_env} (--api-key-env)"
    if not summary["complete"]:
        yield summary.get("way_on") or _SAME_AGAIN


def print_lines(console: Console, lines: Iterator[str] | list[str]) -> None:
    """Print lines as they are."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
