"""``python -m training judge``: attempts get a quality, from a judge model on a rubric or from people."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from router.catalog.catalog import load_catalog
from router.catalog.tokens import TokenCounter
from router.core.errors import InvalidInput, MitsumoriError
from router.core.money import parse_usd, short_usd
from router.core.plurals import counted
from router.core.types import Lengths
from training.calls.journal import Journal, journal_path, open_journal
from training.calls.paid_calls import Call
from training.calls.quotation import RunQuote, quote_run
from training.calls.session import RunResult, Terms, run_within
from training.calls.tariff import tariffs_of
from training.commands.options import AsJson, Price, SkipBadRows
from training.commands.outputs import print_json, write_whole
from training.commands.spending import (
    INCOMPLETE,
    ApiKeyEnv,
    Concurrency,
    DryRun,
    Retries,
    RetryFailed,
    Seconds,
    Stream,
    Yes,
    check_unused,
    check_within,
    key_notes,
    print_lines,
    progress_of,
    quote_summary,
    run_lines,
    run_summary,
    show_quote,
    terms_of,
)
from training.histories.attempt_rows import AttemptRows, check_output, read_rows, write_rows
from training.histories.history import LISTED
from training.histories.ladders import parse_prices
from training.histories.split import SEED
from training.judgement.agreement import agreement_of
from training.judgement.grades import GRADE_TASK, PAIR_TASK
from training.judgement.grading import Graded, Grading, PairGrading, RubricGrading, Subject
from training.judgement.judged_history import (
    Selection,
    judged_rows,
    select_repeated,
    select_subjects,
)
from training.judgement.judgement_run import (
    OFF_THE_RUBRIC,
    Judgement,
    judgement_tasks,
    repetitions,
)
from training.judgement.paid_replies import off_the_rubric, unpaid_calls
from training.judgement.rubric import PAIRS, RUBRIC, load_rubric
from training.judgement.verdicts import JudgedByPeople, VerdictFile, read_verdicts, with_verdicts

__all__ = ["judge_command"]

_WAY_ON = "name another --judge or --rubric, or have the judge asked again, and paid once more, with --again"
_REPLY = Lengths(80, 200, 400)
"""Tokens of three sentences of reasons and a grade."""


def _now() -> datetime:
    return datetime.now(UTC)


def _grading(judge: str, rubric: Path | None, pairs: str | None, most: int) -> Grading:
    if pairs is None:
        return RubricGrading.of(judge, load_rubric(rubric or RUBRIC, GRADE_TASK), most)
    return PairGrading.of(judge, load_rubric(rubric or PAIRS, PAIR_TASK), most, baseline=pairs)


def _ungraded(
    read: AttemptRows, selection: Selection, graded: Mapping[int, Graded]
) -> list[dict[str, Any]]:
    """The attempts that could not be graded, by their row in the file."""
    reasons = {
        **selection.left,
        **{n: one.reason for n, one in graded.items() if one.quality is None},
    }
    return [
        {
            "row": read.numbers[place],
            "prompt_id": read.rows[place]["prompt_id"],
            "model": read.rows[place]["model"],
            "reason": reasons[place],
        }
        for place in sorted(reasons)
    ]


def _write_ungraded(ungraded: Sequence[Mapping[str, Any]], out: Path) -> Path | None:
    target = out.with_name(f"{out.stem}-ungraded.jsonl")
    if not ungraded:
        target.unlink(missing_ok=True)
        return None
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in ungraded]
    write_whole("".join(lines), target, "out")
    return target


def _agreement_line(found: Mapping[str, Any], who: str) -> str:
    kappa = "not defined (all the same)"
    if found["kappa"] is not None:
        kappa = f"{found['kappa']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    return (
        f"{who}: {counted(found['attempts'], 'attempt')} judged more than once: {found['exact']:.0%} the "
        f"same, {found['within']:.0%} within one step; weighted kappa {kappa}"
    )


def _lines(summary: Mapping[str, Any], api_key_env: str) -> Iterator[str]:
    yield (
        f"history: {summary['out']}: {counted(summary['graded'], 'attempt')} graded by {summary['judge']}, "
        f"mean quality {summary['mean_quality']:.2f}"
    )
    if summary["kept"]:
        yield f"kept: {counted(summary['kept'], 'attempt')} that had a quality (--regrade grades them, too)"
    if summary["outside_sample"]:
        yield f"note: {counted(summary['outside_sample'], 'attempt')} outside the sample have no quality"
    for one in summary["ungraded"][:LISTED]:
        yield f"not graded: row {one['row']} ({one['model']}): {one['reason']}"
    if len(summary["ungraded"]) > LISTED:
        yield f"not graded: {len(summary['ungraded']) - LISTED:,} more, in {summary['ungraded_file']}"
    if summary["off_rubric"] and summary["complete"]:
        off = counted(summary["off_rubric"], "attempt was", "attempts were")
        yield f"note: {off} judged off the rubric, and paid for: {_WAY_ON}"
    if summary["position_disagreements"]:
        yield (
            f"note: {counted(summary['position_disagreements'], 'comparison')} went with the position: ties. "
            "Ties are adequate with --adequate-at 0.5"
        )
    if summary["self_agreement"]:
        yield _agreement_line(summary["self_agreement"], "self-agreement")
    if summary["judges_itself"]:
        yield "note: the judge is one of the models that it grades, and judges prefer their own answers"
    yield from run_lines(summary, api_key_env)


@dataclass(frozen=True)
class _Job:
    """What is to be judged, how and on what terms."""

    read: AttemptRows
    selection: Selection
    grading: Grading
    model: str
    work: Sequence[tuple[Subject, int]]
    terms: Terms
    out: Path
    seed: int
    kind: str
    again: bool


def _wanted(job: _Job, journal: Journal) -> tuple[list[Call], list[str]]:
    """The calls that are not paid for, and the keys of the answers that are given up for new ones."""
    given_up = off_the_rubric(job.work, job.grading, journal.known) if job.again else []
    left = set(given_up)
    calls = unpaid_calls(
        job.work, job.grading, lambda key: None if key in left else journal.known(key)
    )
    return calls, given_up


def _calls_line(job: _Job) -> Iterator[str]:
    """Why there are more calls than attempts."""
    repeats = Counter(repetition for _, repetition in job.work)
    if len(repeats) == 1 and job.kind == "grades":
        return
    said = counted(repeats[0], "attempt")
    if len(repeats) > 1:
        said += f", {repeats[1]:,} of them judged {len(repeats)} times for the self-agreement (--repeat)"
    if job.kind == "pairs":
        said += ", each compared in both orders (--pairs)"
    calls = {call.key for one in job.work for call in job.grading.calls(*one)}
    yield f"note: {said}: {counted(len(calls), 'call')} with those that are paid for"


def _judge(
    job: _Job,
    journal: Journal,
    price: list[str] | None,
    catalog: Path | None,
    yes: bool,
    dry_run: bool,
) -> tuple[dict[str, Any], RunResult] | RunQuote:
    """Quote, run, and write; the quote alone for a dry run."""
    progress = Console(stderr=True)
    prices = parse_prices(price or [])
    tariffs = tariffs_of([job.model], load_catalog(catalog), prices, TokenCounter(), _now())
    journal.book_lost()
    with progress.status("quoting"):
        wanted, given_up = _wanted(job, journal)
        quote = quote_run(
            wanted,
            tariffs,
            lambda _, __: _REPLY,
            budget=job.terms.budget,
            when=_now(),
        )
    show_quote(quote, job.terms.budget, journal.spent, progress)
    print_lines(progress, _calls_line(job))
    if dry_run:
        return quote
    prompts = len({one.prompt for one, _ in job.work})
    check_within(
        quote, job.terms.budget - journal.spent, yes, -(-len(quote.calls) // max(prompts, 1))
    )
    for key in given_up:
        journal.ask_again(key)
    found = Judgement()
    with progress_of("judging", len(job.work), job.terms.budget, progress) as done:
        result = run_within(
            job.terms,
            tariffs,
            journal,
            lambda paid: judgement_tasks(job.work, job.grading, found, paid),
            now=_now,
            done=done,
            notify=lambda words: print_lines(progress, [words]),
        )
    return _written(job, journal, found, quote, result), result


def _written(
    job: _Job, journal: Journal, found: Judgement, quote: RunQuote, result: RunResult
) -> dict[str, Any]:
    graded = found.first
    given = [one.quality for one in graded.values() if one.quality is not None]
    ungraded = _ungraded(job.read, job.selection, graded)
    report = _write_ungraded(ungraded, job.out)
    grading = job.grading
    if given:
        rows = judged_rows(
            job.read.rows, job.selection, graded, grading.judge, grades=job.kind == "grades"
        )
        write_rows(rows, job.out)
    agreement = found.agreement(grading.step, job.seed)
    return {
        "out": str(job.out),
        "journal": str(journal.path),
        "judge": grading.judge,
        "kind": job.kind,
        "graded": len(given),
        "mean_quality": sum(given) / len(given) if given else None,
        "kept": job.selection.kept,
        "outside_sample": job.selection.outside,
        "ungraded": ungraded,
        "off_rubric": sum(one.off_rubric for one in graded.values()),
        "way_on": _WAY_ON if result.stopped == OFF_THE_RUBRIC else None,
        "ungraded_file": None if report is None else str(report),
        "position_disagreements": sum(one.swapped for one in graded.values()),
        "self_agreement": None if agreement is None else asdict(agreement),
        "judges_itself": job.model in {row["model"] for row in job.read.rows},
        "quote": quote_summary(quote),
        **run_summary(journal, journal.outcomes, result, job.terms.budget),
    }


def _by_people(
    read: AttemptRows, given: VerdictFile, out: Path, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """Write the history with people's verdicts; the summary, and its lines."""
    made: JudgedByPeople = with_verdicts(read.rows, given)
    write_rows(made.rows, out)
    agreement = agreement_of(made.several, step=0.25, seed=seed)
    judge = next(row["judge"] for row in made.rows if row.get("judge") is not None)
    summary = {
        "out": str(out),
        "kind": "people",
        "graded": made.judged,
        "attempts": len(read.rows),
        "bad_rows": len(given.bad),
        "unknown": [{"prompt_id": one, "model": model} for one, model in made.unknown],
        "averaged": len(made.several),
        "agreement": None if agreement is None else asdict(agreement),
    }
    lines = [
        f"history: {out}: {made.judged:,} of {counted(len(read.rows), 'attempt')} judged ({judge})"
    ]
    lines += [
        f"unknown: prompt_id {one} of {model}: the history has no such attempt"
        for one, model in made.unknown[:LISTED]
    ]
    if len(made.unknown) > LISTED:
        lines.append(f"unknown: {len(made.unknown) - LISTED:,} more")
    if made.several:
        lines.append(f"averaged: {counted(len(made.several), 'attempt')} judged by several people")
    if agreement is not None:
        lines.append(_agreement_line(asdict(agreement), "agreement of people"))
    if given.bad:
        lines.append(f"note: {counted(len(given.bad), 'bad row was', 'bad rows were')} left out")
    return summary, lines


def judge_command(
    history: Annotated[
        Path, typer.Option(help="History with the column answer, as `collect` writes it.")
    ],
    out: Annotated[Path, typer.Option(help="Judged history to write: .parquet or .jsonl.")],
    judge: Annotated[
        str | None, typer.Option(help="Model that judges, as the endpoint knows it.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible API.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="USD for all runs of the same --out together; never passed.")
    ] = None,
    verdicts: Annotated[
        Path | None,
        typer.Option(
            help="Instead of a model: CSV with prompt_id, model, quality (0..1) or adequate (yes or no), and "
            "judge. Verdicts of several people are averaged; a second by the same named person is refused."
        ),
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(help="Compare with this model's answers, in both orders, instead of grading."),
    ] = None,
    rubric: Annotated[
        Path | None,
        typer.Option(
            help="What the judge is told (default: training/judgement/rubric.md, pairs.md)."
        ),
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, max=10, help="Judge a sample so often, for the self-agreement.")
    ] = 1,
    repeat_sample: Annotated[int, typer.Option(min=2, help="Size of that sample, attempts.")] = 50,
    sample: Annotated[int | None, typer.Option(min=1, help="Grade only so many prompts.")] = None,
    regrade: Annotated[
        bool, typer.Option("--regrade", help="Grade attempts that have a quality, too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of samples and of the order.")] = SEED,
    max_output_tokens: Annotated[
        int, typer.Option(min=1, help="Limit of a reply, hidden reasoning included.")
    ] = 2048,
    price: Price = None,
    api_key_env: ApiKeyEnv = "OPENAI_API_KEY",
    concurrency: Concurrency = 8,
    timeout: Seconds = 300.0,
    stream: Stream = False,
    retries: Retries = 4,
    retry_failed: RetryFailed = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Ask again what was judged off the rubric; it is paid for once more."
        ),
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    skip_bad_rows: SkipBadRows = False,
    catalog: Annotated[Path | None, typer.Option(help="Catalog with prices.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give attempts a quality from 0 to 1: by a judge model on a rubric, or by people's verdicts.

    A judge gives grades from 1 to 10 (quality: (grade - 1) / 9; from 8 on an answer does its job). What is
    off the rubric is asked once more, then reported by row; ten such attempts in a row stop the run. Budget,
    quote, journal and exit codes are those of `collect`; the column judge names the model and the version of
    the rubric.
    """
    if (judge is None) == (verdicts is None):
        raise InvalidInput(
            "name a model with --judge, or people's verdicts with --verdicts", field="judge"
        )
    check_output(out)
    read = read_rows(history, skip_bad_rows=skip_bad_rows)
    if verdicts is not None:
        if out.resolve() in (history.resolve(), verdicts.resolve()):
            raise InvalidInput(f"--out: {out} is the input itself; name another file", field="out")
        given = read_verdicts(verdicts, skip_bad_rows=skip_bad_rows)
        told, lines = _by_people(read, given, out, seed)
        _print(told, lines, as_json)
        return
    if judge is None or endpoint is None or budget is None:
        raise InvalidInput("--judge needs --endpoint URL and --budget USD", field="endpoint")
    check_unused(out, str(history))
    terms = terms_of(endpoint, budget, api_key_env, concurrency, timeout, stream, retries)
    selection = select_subjects(
        read.rows, baseline=pairs, regrade=regrade, sample=sample, seed=seed
    )
    repeated = select_repeated(selection.subjects, repeat_sample, seed)
    job = _Job(
        read,
        selection,
        _grading(judge, rubric, pairs, max_output_tokens),
        judge,
        repetitions(selection.subjects, repeated, repeat),
        terms,
        out,
        seed,
        "grades" if pairs is None else "pairs",
        again,
    )
    print_lines(Console(stderr=True), key_notes(terms, api_key_env))
    purpose = {"kind": "judge", "endpoint": terms.endpoint, "max_output_tokens": max_output_tokens}
    with open_journal(journal_path(out), purpose, about=("model",)) as journal:
        if retry_failed:
            journal.forget_failures()
        found = _judge(job, journal, price, catalog, yes, dry_run)
    if isinstance(found, RunQuote):
        if as_json:
            print_json({"quote": quote_summary(found)})
        return
    summary, result = found
    if not summary["graded"]:
        print_lines(Console(stderr=True), list(run_lines(summary, api_key_env)))
        raise _nothing_graded(summary)
    _print(summary, _lines(summary, api_key_env), as_json)
    if not result.complete:
        raise typer.Exit(INCOMPLETE)


def _nothing_graded(summary: Mapping[str, Any]) -> MitsumoriError:
    where = f"; the reasons are in {summary['ungraded_file']}" if summary["ungraded"] else ""
    why = ""
    if summary["off_rubric"]:
        spent = short_usd(parse_usd(summary["spent_usd"], field="spent_usd"))
        why = (
            f": the judge was off the rubric at {counted(summary['off_rubric'], 'attempt')}, and {spent} is "
            f"spent; {_WAY_ON}"
        )
    return MitsumoriError(
        f"no attempt was graded, so nothing is written{why}{where}", reason="NOTHING_GRADED"
    )


def _print(summary: Mapping[str, Any], lines: Iterable[str], as_json: bool) -> None:
    if as_json:
        print_json(summary)
    else:
        print_lines(Console(), list(lines))
