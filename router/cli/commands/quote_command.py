"""``mitsumori quote``: the price of a batch before it is sent."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mitsumori import CallFailed, Router, Usd
from mitsumori.money import nanos_of
from mitsumori.v1 import router_pb2
from router.cli.commands.arguments import Json, goal_of, labels_of
from router.cli.commands.batch_file import Defaults, Line, read_lines, refusal
from router.cli.commands.connection import Connection, takes_connection
from router.cli.commands.request_options import (
    CapabilitiesOption,
    ImportanceOption,
    MaxFirstTokenOption,
    MaxLatencyOption,
    MaxOutputTokensOption,
    MaxPriceOption,
    ModelsOption,
    QualityTargetOption,
    RegionsOption,
    ScopeOption,
    TiersOption,
    WillingnessToPayOption,
)
from router.cli.render import as_dict, console, price_text, print_json, table
from router.core.money import parse_usd, short_usd
from router.core.plurals import counted
from router.core.types import WillingnessToPay
from router.decision_log.export import check_suffix, usd, write_table

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["quote"]


_COLUMNS = (
    "index", "model", "tier", "arm", "complexity", "p_adequate", "output_tokens_p50", "output_tokens_p90",
    "expected_usd", "low_usd", "high_usd", "error",
)  # fmt: skip
"""Of the file that ``--out`` writes, a line per prompt."""


_FIELD = re.compile(r"[a-z]\w*(?:\.\w+|\[\d+\])*", re.ASCII)
"""A field of a request, such as ``prompt[0].role``."""
_ALWAYS_TAKEN = 1 << 20
"""Bytes of a request that every server takes: this much it allows besides its largest prompt."""


def _takes(client: Router, request: router_pb2.RouteRequest) -> bool:
    """Whether the server takes a message of this size. It ends a whole batch where one is too large.

    Raises:
        CallFailed: there is no answer.
    """
    try:
        for _ in client.quote_batch([request]):
            pass
    except CallFailed as error:
        # The server's own refusals are part of a reply, or have a reason of their own.
        if (error.code, error.reason) != ("RESOURCE_EXHAUSTED", "CALL_FAILED"):
            raise
        return False
    return True


def _without_too_large(client: Router, lines: list[Line]) -> list[Line]:
    """The lines, with an error for each request that is larger than the server takes.

    Only the server knows its limit, so the largest request is sent alone first. Where it is refused, halving
    the interval finds the least that is.

    Raises:
        CallFailed: there is no answer.
    """
    large = sorted(
        (
            line.request
            for line in lines
            if isinstance(line.request, router_pb2.RouteRequest)
            and line.request.ByteSize() > _ALWAYS_TAKEN
        ),
        key=lambda request: request.ByteSize(),
    )
    if not large or _takes(client, large[-1]):
        return lines
    first = bisect_left(large[:-1], True, key=lambda request: not _takes(client, request))
    least = large[first].ByteSize()
    return [
        line._replace(
            request=refusal(
                f"prompt: a request of {size:,} bytes is more than the server takes; shorten it, or raise "
                "the server's max_prompt_bytes",
                "PROMPT_TOO_LARGE",
            )
        )
        if isinstance(line.request, router_pb2.RouteRequest)
        and (size := line.request.ByteSize()) >= least
        else line
        for line in lines
    ]


def _replies(
    lines: list[Line], quoted: Iterator[router_pb2.QuoteBatchResponse]
) -> Iterator[router_pb2.QuoteBatchResponse]:
    """A reply per line, numbered like the lines: the server's, or why none was asked for."""
    for index, line in enumerate(lines):
        if isinstance(line.request, router_pb2.QuoteError):
            yield router_pb2.QuoteBatchResponse(index=index, error=line.request)
        else:
            reply = next(quoted)
            reply.index = index
            yield reply


def _batch_row(price: router_pb2.BatchPrice) -> list[str]:
    limit = price.tightest_limit
    left = short_usd(limit.remaining) if limit.HasField("remaining") else "–"
    return [
        price.model or "recommended routing",
        price_text(price.price.low),
        price_text(price.price.expected),
        price_text(price.price.high),
        price_text(price.price.worst),
        left,
        "yes" if price.fits else "NO",
        _finish(price),
    ]


def _finish(price: router_pb2.BatchPrice) -> str:
    """When all answers can be there at the earliest, and which limit says so."""
    if not price.HasField("earliest_finish_time"):
        return "–"
    moment = f"{price.earliest_finish_time.ToDatetime():%Y-%m-%dT%H:%M:%SZ}"
    return f"{moment}, {price.slowest_limit}" if price.slowest_limit else moment


@takes_connection()
def quote(
    connection: Connection,
    file: Annotated[Path, typer.Argument(help="JSONL file with one prompt per line.")],
    quality_target: QualityTargetOption = None,
    willingness_to_pay: WillingnessToPayOption = None,
    importance: ImportanceOption = "medium",
    model: ModelsOption = None,
    tier: TiersOption = None,
    capability: CapabilitiesOption = None,
    region: RegionsOption = None,
    max_price: MaxPriceOption = None,
    max_latency: MaxLatencyOption = None,
    max_first_token: MaxFirstTokenOption = None,
    max_output_tokens: MaxOutputTokensOption = None,
    scope: ScopeOption = None,
    out: Annotated[Path | None, typer.Option(help="Write each quote to this JSONL file.")] = None,
    json_output: Json = False,
) -> None:
    """Price a batch before it is sent: per model and for the recommended routing.

    A line of the file is a JSON string, or an object with `prompt` or `messages`, such as

    {"prompt": "Prove that √2 is irrational.", "max_output_tokens": 500}

    It may have all that a Route request has: importance, quality_target or willingness_to_pay (USD),
    max_price (USD), max_latency and max_first_token (seconds), max_output_tokens, allowed_models,
    allowed_tiers, required_capabilities, regions, scope (labels), request_id, conversation_id,
    max_alternatives, quote_only and batch; also by the names of the Python client, such as max_price_usd or
    models. The labels language, category and user may stand beside them. The options stand for what a line
    does not say. A line with an unknown field is not quoted. Where no line could be quoted, the exit code
    is 1.
    """
    from rich.progress import Progress

    if out is not None:
        check_suffix(out)
    goal = goal_of(quality_target, willingness_to_pay)
    defaults: Defaults = {
        name: value
        for name, value in {
            "scope": labels_of(scope, "--scope"),
            "quality_target": quality_target,
            "willingness_to_pay": Usd(goal.nanos) if isinstance(goal, WillingnessToPay) else None,
            "importance": importance,
            "allowed_models": model,
            "allowed_tiers": tier,
            "required_capabilities": capability,
            "regions": region,
            "max_price": None
            if max_price is None
            else Usd(parse_usd(max_price, field="--max-price")),
            "max_latency": max_latency,
            "max_first_token": max_first_token,
            "max_output_tokens": max_output_tokens,
        }.items()
        if value is not None
    }
    lines = read_lines(file, defaults)
    replies = []
    told = console(stderr=True)
    with (
        connection.router() as client,
        Progress(console=told, disable=not told.is_terminal) as progress,
    ):
        task = progress.add_task("quoting", total=len(lines))
        lines = _without_too_large(client, lines)
        requests = [
            one.request for one in lines if isinstance(one.request, router_pb2.RouteRequest)
        ]
        quoted = client.quote_batch(iter(requests))
        for reply in _replies(lines, quoted):
            replies.append(reply)
            progress.advance(task)
        summary = next(quoted).summary
    summary.failed += len(lines) - len(requests)
    for line, reply in zip(lines, replies, strict=True):
        if reply.HasField("error"):
            text = f"{file}, line {line.number}: {reply.error.text}"
            told.print(text, highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        write_table(out, _COLUMNS, map(_quote_row, replies))
    if json_output:
        print_json(as_dict(summary))
    else:
        _print_summary(summary, lines, replies)
    if not summary.quoted:
        raise typer.Exit(1)


def _print_summary(
    summary: router_pb2.BatchSummary,
    lines: list[Line],
    replies: list[router_pb2.QuoteBatchResponse],
) -> None:
    """The costs, if any, how they were weighed, and how many lines have no quote."""
    shown = console()
    if summary.quoted:
        _print_costs(summary, replies, shown)
    if summary.failed:
        number, text = next(
            (line.number, reply.error.text)
            for line, reply in zip(lines, replies, strict=True)
            if reply.HasField("error")
        )
        shown.print(
            f"{summary.failed} could not be quoted; the first, line {number}: {text}",
            highlight=False,
            markup=False,
        )


def _print_costs(
    summary: router_pb2.BatchSummary,
    replies: list[router_pb2.QuoteBatchResponse],
    shown: Console,
) -> None:
    columns: tuple[str, ...] = (
        *("model", ">low", ">expected", ">high", ">worst", ">left of the budget", "fits"),
        "earliest finish",
    )
    prices = (summary.recommended, *summary.per_model)
    rows = [_batch_row(price) for price in prices]
    if not any(price.HasField("earliest_finish_time") for price in prices):
        columns, rows = columns[:-1], [row[:-1] for row in rows]  # no limit of a provider is known
    title = f"{counted(summary.quoted, 'prompt')}, low to high: an 80 % interval of the sum"
    shown.print(table(title, columns, rows))
    weighed = [
        nanos_of(one.response.miss_cost) for one in replies if one.response.HasField("miss_cost")
    ]
    if weighed:
        which = (
            "per prompt"
            if len(weighed) == summary.quoted
            else f"for {counted(len(weighed), 'prompt')}"
        )
        shown.print(
            f"Recommended: {which} the model with the least expected price + (1 − P(adequate)) × the cost "
            f"of a miss, {short_usd(min(weighed))} to {short_usd(max(weighed))} by complexity.",
            style="dim",
            highlight=False,
        )


def _error_text(error: router_pb2.QuoteError) -> str:
    """The reason, with the field that the text begins with, as in ``INVALID_INPUT: max_price``."""
    field, colon, _ = error.text.partition(": ")
    return f"{error.reason}: {field}" if colon and _FIELD.fullmatch(field) else error.reason


def _quote_row(reply: router_pb2.QuoteBatchResponse) -> list[object]:
    if reply.HasField("error"):
        return [reply.index, *[""] * 3, *[None] * 7, _error_text(reply.error)]
    chosen = reply.response.chosen
    made = chosen.quote
    amounts = [usd(nanos_of(a)) for a in (made.price.expected, made.price.low, made.price.high)]
    return [
        reply.index,
        chosen.model,
        chosen.tier,
        chosen.arm,
        reply.response.assessment.complexity,
        chosen.p_adequate,
        made.output_tokens.p50,
        made.output_tokens.p90,
        *amounts,
        "",
    ]
