"""``python -m training collect``: the answers of a ladder's models to real prompts become a history."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from router.catalog.catalog import load_catalog
from router.catalog.tokens import TokenCounter
from router.classifier.bundle import load_bundle
from router.core.errors import InvalidInput, MitsumoriError
from router.core.plurals import counted
from router.paths import DEFAULT_BUNDLE, ENCODERS
from training.calls.journal import Answered, Failed, Journal, journal_path, open_journal
from training.calls.paid_calls import Call, PaidCalls
from training.calls.quotation import RunQuote, length_of, quote_run
from training.calls.run import Task
from training.calls.session import RunResult, Terms, run_within
from training.calls.tariff import Tariff, tariffs_of
from training.collection.collection_plan import (
    ABOUT,
    attempt_of,
    collection_calls,
    failure_of,
    parse_models,
)
from training.collection.prompts import PromptFile, read_prompts, sampled
from training.commands.options import AsJson, Price, SkipBadRows
from training.commands.outputs import print_json, write_whole
from training.commands.spending import (
    INCOMPLETE,
    ApiKeyEnv,
    Budget,
    Concurrency,
    DryRun,
    Endpoint,
    Retries,
    RetryFailed,
    Seconds,
    Stream,
    Yes,
    check_unused,
    check_within,
    key_notes,
    money,
    print_lines,
    progress_of,
    quote_summary,
    run_lines,
    run_summary,
    show_quote,
    terms_of,
)
from training.histories.attempt_rows import check_output, write_rows
from training.histories.ladders import parse_prices
from training.histories.split import SEED

__all__ = ["collect_command"]


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class _Collection:
    """What is asked.

    Attributes:
        calls: all, also those that are paid for already.
        tariffs: by model.
        quote: of the calls that are not paid for.
    """

    calls: Sequence[Call]
    tariffs: Mapping[str, Tariff]
    quote: RunQuote


def _tasks(calls: Iterable[Call], paid: PaidCalls) -> Iterable[Task]:
    def task(call: Call) -> Task:
        async def ask() -> None:
            await paid.ask(call)

        return ask

    return map(task, calls)


def _run(asked: _Collection, terms: Terms, journal: Journal, console: Console) -> RunResult:
    calls = asked.quote.calls
    with progress_of("collecting", len(calls), terms.budget, console) as done:
        return run_within(
            terms,
            asked.tariffs,
            journal,
            lambda paid: _tasks(calls, paid),
            now=_now,
            done=done,
            notify=lambda words: print_lines(console, [words]),
        )


def _outcomes(journal: Journal, calls: Sequence[Call]) -> dict[str, Answered | Failed]:
    """The outcomes of all runs: those of this one's calls in their order, then those of others.

    A ``prompt_id`` stands for one text: answers to an earlier wording stay in the journal only.
    """
    order = [call.key for call in calls if call.key in journal.outcomes]
    wordings = {call.about["prompt_id"]: call.about["prompt"] for call in calls}
    found = {key: journal.outcomes[key] for key in order}
    for key, one in journal.outcomes.items():
        prompt = one.about["prompt"]
        if wordings.setdefault(one.about["prompt_id"], prompt) == prompt:
            found.setdefault(key, one)
    return found


def _write(outcomes: Mapping[str, Answered | Failed], journal: Journal, out: Path) -> Path | None:
    """The history, and the failed attempts beside it; the path of these, if there are any."""
    attempts = [attempt_of(one) for one in outcomes.values() if isinstance(one, Answered)]
    failed = [
        failure_of(one, journal.booked(key))
        for key, one in outcomes.items()
        if isinstance(one, Failed)
    ]
    if attempts:
        write_rows(attempts, out)
    target = out.with_name(f"{out.stem}-failed.jsonl")
    if not failed:
        target.unlink(missing_ok=True)
        return None
    write_whole(
        "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in failed), target, "out"
    )
    return target


def _per_model(outcomes: Mapping[str, Answered | Failed], models: Sequence[str]) -> dict[str, Any]:
    found = {}
    for model in models:
        theirs = [one for one in outcomes.values() if one.about.get("model") == model]
        answers = [one for one in theirs if isinstance(one, Answered)]
        count = max(len(answers), 1)
        found[model] = {
            "answered": len(answers),
            "failed": len(theirs) - len(answers),
            "cost_usd": money(sum(one.cost for one in answers)),
            "mean_output_tokens": sum(one.output_tokens for one in answers) / count,
            "mean_latency_s": sum(one.latency_s for one in answers) / count,
        }
    return found


def _lines(summary: Mapping[str, Any], api_key_env: str) -> Iterable[str]:
    if summary["answered"]:
        yield (
            f"history: {summary['out']}: {counted(summary['answered'], 'attempt')} at "
            f"{counted(summary['prompts'], 'prompt')}; none is judged yet (`python -m training judge`)"
        )
    for model, one in summary["per_model"].items():
        yield (
            f"  {model}: {one['answered']:,} answered, {one['failed']:,} failed, ${one['cost_usd']}, "
            f"{one['mean_output_tokens']:,.0f} output tokens and {one['mean_latency_s']:.1f} s on average"
        )
    if summary["failed_attempts"]:
        yield f"failed attempts: {summary['failed_attempts']}"
    yield from run_lines(summary, api_key_env)


def _read_lines(read: PromptFile) -> Iterable[str]:
    if read.repeats:
        yield f"note: {counted(read.repeats, 'row repeats', 'rows repeat')} a prompt, which is asked once"
    if read.bad:
        yield f"note: {counted(len(read.bad), 'bad row was', 'bad rows were')} left out (--skip-bad-rows)"
    for why, count in read.left_out.items():
        yield f"note: {counted(count, 'row was', 'rows were')} left out: {why}"


def collect_command(
    prompts: Annotated[
        str,
        typer.Option(
            help="JSONL, CSV or Parquet with prompt or messages, a history, or a decision log: a file of "
            "`mitsumori decisions --out`, or sqlite:PATH."
        ),
    ],
    models: Annotated[str, typer.Option(help="NAME,NAME…, as the endpoint knows them.")],
    endpoint: Endpoint,
    budget: Budget,
    out: Annotated[Path, typer.Option(help="History to write: .parquet or .jsonl.")],
    sample: Annotated[int | None, typer.Option(min=1, help="Ask only so many prompts.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample and of the order.")] = SEED,
    max_output_tokens: Annotated[
        int, typer.Option(min=1, help="Limit of an answer, hidden reasoning included.")
    ] = 4096,
    price: Price = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 8,
    timeout: Seconds = 300.0,
    stream: Stream = False,
    retries: Retries = 4,
    retry_failed: RetryFailed = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    skip_bad_rows: SkipBadRows = False,
    bundle: Annotated[Path, typer.Option(help="Bundle that predicts lengths.")] = DEFAULT_BUNDLE,
    catalog: Annotated[Path | None, typer.Option(help="Catalog with prices.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send prompts to the models of a ladder, and write a history of their answers, cost and latency.

    The run is quoted first, and never passes its budget: the worst case of a call is held before it is sent. An
    endpoint that sends more than --max-output-tokens is stopped, and can pass the budget by the calls under way.
    A journal beside --out keeps every outcome, so that the same command goes on after a kill, and pays for no
    answer twice. Exit code 0: all is answered or given up. 3: stopped early, what was paid for is written.
    """
    check_output(out)
    check_unused(out, prompts)
    terms = terms_of(endpoint, budget, api_key_env, concurrency, timeout, stream, retries)
    names = parse_models(models)
    if not names:
        raise InvalidInput("--models: name at least one model", field="models")
    progress = Console(stderr=True)
    tariffs = tariffs_of(
        names, load_catalog(catalog), parse_prices(price or []), TokenCounter(), _now()
    )
    read = read_prompts(prompts, skip_bad_rows=skip_bad_rows)
    print_lines(progress, [*_read_lines(read), *key_notes(terms, api_key_env)])
    chosen = sampled(read.prompts, sample, seed)
    calls = collection_calls(chosen, names, max_output_tokens)
    purpose = {
        "kind": "collect",
        "endpoint": terms.endpoint,
        "max_output_tokens": max_output_tokens,
    }
    with open_journal(journal_path(out), purpose, about=ABOUT) as journal:
        journal.book_lost()
        if retry_failed:
            journal.forget_failures()
        wanted = [call for call in calls if journal.known(call.key) is None]
        lengths = length_of(load_bundle(bundle, ENCODERS), lambda call: str(call.about["prompt"]))
        with progress.status("quoting"):
            quote = quote_run(wanted, tariffs, lengths, budget=terms.budget, when=_now())
        asked = _Collection(calls, tariffs, quote)
        show_quote(quote, terms.budget, journal.spent, progress)
        if dry_run:
            if as_json:
                print_json({"quote": quote_summary(quote)})
            return
        check_within(quote, terms.budget - journal.spent, yes, len(names))
        result = _run(asked, terms, journal, progress) if quote.calls else RunResult()
        outcomes = _outcomes(journal, calls)
        failed = _write(outcomes, journal, out)
        summary = {
            "out": str(out),
            "journal": str(journal.path),
            "failed_attempts": None if failed is None else str(failed),
            "prompts": len(chosen),
            "calls": len(calls),
            "quote": quote_summary(quote),
            "per_model": _per_model(outcomes, names),
            **run_summary(journal, outcomes, result, terms.budget),
        }
    if as_json:
        print_json(summary)
    else:
        print_lines(Console(), list(_lines(summary, api_key_env)))
    if not summary["answered"]:
        raise MitsumoriError(
            "no call was answered, so there is no history; the failures are named above"
            + (f" and in {failed}" if failed else ""),
            reason="NOTHING_ANSWERED",
        )
    if not result.complete:
        raise typer.Exit(INCOMPLETE)
