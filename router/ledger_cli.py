"""The commands about money: quote, settle, release, limits, usage, decisions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.progress import Progress

from router.calling import DEFAULT_ADDRESS
from router.client import AdminClient, RouterClient, route_request
from router.core.errors import InvalidInput
from router.core.money import parse_usd, short_usd
from router.core.types import Constraints, Message
from router.exporting import parse_currency, usd, write_table
from router.ledger.sqlite_file import back_up
from router.render import as_dict, price_text, print_json, table
from router.settings import load_settings
from router.v1 import admin_pb2, limit_pb2, router_pb2
from router.wire.values import nanos

__all__ = ["labels_of", "limits_app", "register"]

Server = Annotated[str, typer.Option(envvar="MITSUMORI_SERVER", help="host:port of the server.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="Only with this label, team=search; repeatable.")
]
Since = Annotated[str | None, typer.Option(help="From this day or moment on, ISO 8601.")]
Until = Annotated[str | None, typer.Option(help="Before this day or moment, ISO 8601.")]
Out = Annotated[Path | None, typer.Option(help="Write .csv, .jsonl or .parquet instead.")]
Tenant = Annotated[str, typer.Option(help="The tenant label of the request, where it had one.")]

_UNITS = {
    name.removeprefix("UNIT_").lower(): value for name, value in limit_pb2.Unit.items() if value
}
_WINDOWS = {
    name.removeprefix("WINDOW_").lower(): value for name, value in limit_pb2.Window.items() if value
}
_ACTIONS = {
    name.removeprefix("SOFT_ACTION_").lower(): value
    for name, value in limit_pb2.SoftAction.items()
    if value
}
_STATES = {
    name.removeprefix("DECISION_STATE_").lower(): value
    for name, value in admin_pb2.DecisionState.items()
    if value
}

limits_app = typer.Typer(help="Budgets, quotas and rates.", no_args_is_help=True)


def labels_of(pairs: Sequence[str] | None, option: str) -> dict[str, str]:
    """Labels from ``key=value`` texts.

    Raises:
        InvalidInput: one has another form.
    """
    labels = {}
    for pair in pairs or ():
        key, _, value = pair.partition("=")
        if not (key and value):
            raise InvalidInput(f"{option}: {pair!r} is not a label; write it as team=search")
        labels[key] = value
    return labels


def _choice(name: str, known: dict[str, int], option: str) -> Any:
    if name not in known:
        raise InvalidInput(f"{option}: {name!r} is none of {', '.join(known)}")
    return known[name]


# --- batches ------------------------------------------------------------------------------------


def _requests(path: Path, labels: dict[str, str]) -> list[router_pb2.RouteRequest]:
    """One request per line: a text, or an object with ``prompt`` or ``messages``.

    Raises:
        InvalidInput: the file cannot be read, or a line has another form; names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError):
        raise InvalidInput(f"{path} cannot be read as UTF-8 text", field="file") from None
    requests = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            row = {"prompt": row} if isinstance(row, str) else row
            prompt: str | list[Message] = (
                [Message(turn["role"], turn["content"]) for turn in row["messages"]]
                if "messages" in row
                else row["prompt"]
            )
            constraints = Constraints(max_output_tokens=row.get("max_output_tokens"))
            requests.append(route_request(prompt, scope=labels, constraints=constraints))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(
                f"{path}, line {number}: write a JSON string, or an object with prompt or messages",
                field="file",
            ) from None
    if not requests:
        raise InvalidInput(f"{path} has no prompts", field="file")
    return requests


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
    ]


def quote(
    file: Annotated[Path, typer.Argument(help="JSON lines: a prompt each.")],
    server: Server = DEFAULT_ADDRESS,
    scope: Annotated[
        list[str] | None, typer.Option(help="Who would ask, as team=search; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write each quote to this JSONL file.")] = None,
    json_output: Json = False,
) -> None:
    """Price a whole batch before it is sent: per model and for the recommended routing."""
    requests = _requests(file, labels_of(scope, "--scope"))
    replies = []
    with RouterClient(server) as client, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("quoting", total=len(requests))
        for reply in client.quote_batch(iter(requests)):
            replies.append(reply)
            progress.advance(task)
    summary = replies.pop().summary
    if out is not None:
        columns = ("index", "model", "expected_usd", "low_usd", "high_usd", "error")
        write_table(out, columns, map(_quote_row, replies))
    if json_output:
        print_json(as_dict(summary))
        return
    console = Console()
    shown = ("model", ">low", ">expected", ">high", ">worst", ">left of the budget", "fits")
    rows = [_batch_row(price) for price in (summary.recommended, *summary.per_model)]
    title = f"{summary.quoted:,} prompts, low to high: an 80 % interval of the sum"
    console.print(table(title, shown, rows))
    if summary.failed:
        first = next(reply for reply in replies if reply.HasField("error"))
        console.print(
            f"{summary.failed} could not be quoted; the first, prompt {first.index}: "
            f"{first.error.text}",
            highlight=False,
            markup=False,
        )


def _quote_row(reply: router_pb2.QuoteBatchResponse) -> list[object]:
    if reply.HasField("error"):
        return [reply.index, "", None, None, None, reply.error.reason]
    price = reply.response.chosen.quote.price
    amounts = [usd(nanos(a, "price")) for a in (price.expected, price.low, price.high)]
    return [reply.index, reply.response.chosen.model, *amounts, ""]


# --- decisions ----------------------------------------------------------------------------------


def settle(
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    input_tokens: Annotated[int, typer.Option(help="Input tokens, cached ones included.")],
    output_tokens: Annotated[int, typer.Option(help="Output tokens, reasoning included.")],
    cached_input_tokens: Annotated[int, typer.Option(help="Of the input, from the cache.")] = 0,
    model: Annotated[str, typer.Option(help="The model called (default: the chosen one).")] = "",
    cost: Annotated[str | None, typer.Option(help="What the provider charged, USD.")] = None,
    quality: Annotated[float | None, typer.Option(help="Of the answer, 0 to 1.")] = None,
    tenant: Tenant = "",
    server: Server = DEFAULT_ADDRESS,
    json_output: Json = False,
) -> None:
    """Report what a decision really took; its hold turns into spend."""
    with RouterClient(server) as client:
        reply = client.settle(
            decision_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_input_tokens=cached_input_tokens,
            model=model,
            cost_nanos=None if cost is None else parse_usd(cost, field="--cost"),
            quality=quality,
            tenant=tenant,
        )
    if json_output:
        print_json(as_dict(reply))
        return
    notes = [f"overage {price_text(reply.overage)}"] if nanos(reply.overage, "overage") else []
    notes += ["the hold had run out"] if reply.late else []
    notes += ["reported before"] if reply.repeated_report else []
    Console().print(f"booked {price_text(reply.spent)} {', '.join(notes)}", highlight=False)


def release(
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    tenant: Tenant = "",
    server: Server = DEFAULT_ADDRESS,
) -> None:
    """Give a hold back, for a call that was never made."""
    with RouterClient(server) as client:
        now = client.release(decision_id, tenant=tenant)
    Console().print("released" if now else "had been given back before")


def _moment(text: str | None, option: str) -> Timestamp | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{option}: {text!r} is no day or moment such as 2026-11-01") from None
    stamp = Timestamp()
    stamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return stamp


def _filter(
    labels: list[str] | None, since: str | None, until: str | None, state: str | None = None
) -> admin_pb2.DecisionFilter:
    return admin_pb2.DecisionFilter(
        labels=labels_of(labels, "--label"),
        since_time=_moment(since, "--since"),
        until_time=_moment(until, "--until"),
        state=_choice(state, _STATES, "--state") if state else None,
    )


def erase(
    before: Annotated[str, typer.Option(help="Made before this day or moment, ISO 8601.")],
    labels: Labels = None,
    server: Server = DEFAULT_ADDRESS,
) -> None:
    """Delete finished decisions of a scope, for retention or on a user's demand."""
    moment = _moment(before, "--before")
    assert moment is not None  # noqa: S101 — a text was given
    with AdminClient(server) as client:
        erased = client.erase(labels_of(labels, "--label"), moment.ToDatetime(tzinfo=UTC))
    Console().print(f"{erased:,} decisions erased; balances keep what was spent", highlight=False)


def backup(
    target: Annotated[Path, typer.Argument(help="The file to write.")],
    ledger: Annotated[
        str | None,
        typer.Option(envvar="MITSUMORI_LEDGER", help="sqlite:PATH (default: as for serve)."),
    ] = None,
) -> None:
    """Copy a SQLite ledger to a file while the server goes on."""
    kind, _, path = load_settings(ledger=ledger).ledger.partition(":")
    if kind != "sqlite":
        raise InvalidInput("--ledger: only SQLite is backed up here; for PostgreSQL use pg_dump")
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("copying", total=None)
        back_up(
            Path(path).expanduser(),
            target,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    Console().print(f"copied to {target}", highlight=False, soft_wrap=True)


_USAGE = ("decisions", "tokens", "spent_usd", "held_usd", "quoted_usd", "overage_usd")


def usage(
    by: Annotated[
        str, typer.Option(help="Comma-separated: labels, model, provider, tier, day.")
    ] = "model",
    labels: Labels = None,
    since: Since = None,
    until: Until = None,
    time_zone: Annotated[str, typer.Option(help="Says when a day begins.")] = "UTC",
    currency: Annotated[
        str | None, typer.Option(help="Also in this one, with a dated rate: JPY=154.30@2026-11-20.")
    ] = None,
    out: Out = None,
    server: Server = DEFAULT_ADDRESS,
    json_output: Json = False,
) -> None:
    """What was spent, added up by label, model, tier or day."""
    groups = [name for name in by.split(",") if name]
    display = parse_currency(currency) if currency else None
    with AdminClient(server) as client:
        found = client.usage(_filter(labels, since, until), groups, time_zone)
    columns = [*groups, *_USAGE]
    if display:
        columns.append(f"spent_{display.code.lower()}_at_{display.day}")
    rows: list[list[Any]] = []
    for row in found:
        amounts = [nanos(a, "usage") for a in (row.spent, row.held, row.quoted, row.overage)]
        values = [*row.group, row.decisions, row.tokens, *map(usd, amounts)]
        rows.append([*values, display.convert(amounts[0])] if display else values)
    _show("Usage", columns, rows, out, json_output)


def decisions(
    labels: Labels = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(_STATES)}.")] = None,
    out: Out = None,
    server: Server = DEFAULT_ADDRESS,
    json_output: Json = False,
) -> None:
    """The decision log, oldest first."""
    with AdminClient(server) as client:
        found = list(client.decisions(_filter(labels, since, until, state)))
    names = {value: name for name, value in _STATES.items()}
    columns = [
        "decision_id", "state", "created", "model", "tier", "held_usd", "spent_usd", "tokens",
        "late", "labels", "record",
    ]  # fmt: skip
    rows = [
        [
            row.decision_id,
            names[row.state],
            row.create_time.ToJsonString(),
            row.labels.get("model", ""),
            row.labels.get("tier", ""),
            usd(nanos(row.held, "held")),
            usd(nanos(row.spent, "spent")) if row.HasField("spent") else None,
            row.tokens,
            row.late,
            " ".join(f"{k}={v}" for k, v in sorted(row.labels.items())),
            row.record_json,
        ]
        for row in found
    ]
    if out is None and not json_output:  # the record is for machines
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    _show("Decisions", columns, rows, out, json_output)


def _show(
    title: str,
    columns: Sequence[str],
    rows: list[list[Any]],
    out: Path | None,
    json_output: bool,
) -> None:
    if out is not None:
        count = write_table(out, columns, rows)
        Console().print(f"{count:,} rows written to {out}", highlight=False, soft_wrap=True)
    elif json_output:
        print_json(
            [
                {
                    c: str(v) if isinstance(v, Decimal | date) else v
                    for c, v in zip(columns, row, strict=True)
                }
                for row in rows
            ]
        )
    else:
        shown = ([f"{v:f}" if isinstance(v, Decimal) else str(v) for v in row] for row in rows)
        Console().print(table(title, columns, shown))


# --- limits -------------------------------------------------------------------------------------


def _value(text: str | None, unit: str, option: str) -> int | None:
    if text is None:
        return None
    if unit == "money":
        return parse_usd(text, field=option)
    if not (text.isascii() and text.isdigit()):
        raise InvalidInput(f"{option}: {text!r} is not a whole number, 0 or more")
    return int(text)


def _amount(value: int, unit: int) -> str:
    return short_usd(value) if unit == limit_pb2.UNIT_MONEY else f"{value:,}"


def _limit_row(status: limit_pb2.LimitStatus, balances: bool) -> list[str]:
    limit = status.limit
    scope = " ".join(f"{key}={value}" for key, value in sorted(limit.scope.items())) or "everything"
    row = [
        limit.limit_id,
        scope,
        limit_pb2.Unit.Name(limit.unit).removeprefix("UNIT_").lower(),
        f"{limit_pb2.Window.Name(limit.window).removeprefix('WINDOW_').lower()} {limit.time_zone}",
        _amount(limit.soft, limit.unit) if limit.HasField("soft") else "–",
        _amount(limit.hard, limit.unit) if limit.HasField("hard") else "–",
    ]
    if balances:
        row += [
            _amount(status.spent, limit.unit),
            _amount(status.held, limit.unit),
            _amount(status.remaining, limit.unit) if status.HasField("remaining") else "–",
        ]
    return row


@limits_app.command("list")
def list_limits(
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label", help="With the balances of a decision with this label; repeatable."
        ),
    ] = None,
    server: Server = DEFAULT_ADDRESS,
    json_output: Json = False,
) -> None:
    """List every limit; with labels, those that apply and what is left of them."""
    wanted = labels_of(labels, "--label")
    with AdminClient(server) as client:
        found = client.limits(wanted)
    if json_output:
        print_json([as_dict(status) for status in found])
        return
    columns = ["limit", "scope", "unit", "window", ">soft", ">hard"]
    columns += [">spent", ">held", ">left"] if wanted else []
    rows = [_limit_row(status, bool(wanted)) for status in found]
    Console().print(table("Limits", columns, rows))


@limits_app.command("set")
def set_limit(
    limit_id: Annotated[str, typer.Argument(help="Names the limit.")],
    hard: Annotated[str | None, typer.Option(help="Never exceeded; USD for money.")] = None,
    soft: Annotated[str | None, typer.Option(help="From here on --on-soft happens.")] = None,
    unit: Annotated[str, typer.Option(help=f"One of {', '.join(_UNITS)}.")] = "money",
    window: Annotated[str, typer.Option(help=f"One of {', '.join(_WINDOWS)}.")] = "month",
    scope: Annotated[
        list[str] | None, typer.Option(help="Whom it binds, as team=search or user=*; repeatable.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Says when a day begins.")] = "UTC",
    on_soft: Annotated[str, typer.Option(help=f"One of {', '.join(_ACTIONS)}.")] = "warn",
    paced: Annotated[bool, typer.Option("--paced", help="Let spend follow the calendar.")] = False,
    server: Server = DEFAULT_ADDRESS,
) -> None:
    """Make a limit, or replace the one of the same name."""
    limit = limit_pb2.Limit(
        limit_id=limit_id,
        scope=labels_of(scope, "--scope"),
        unit=_choice(unit, _UNITS, "--unit"),
        window=_choice(window, _WINDOWS, "--window"),
        time_zone=time_zone,
        soft=_value(soft, unit, "--soft"),
        hard=_value(hard, unit, "--hard"),
        on_soft=_choice(on_soft, _ACTIONS, "--on-soft"),
        paced=paced,
    )
    with AdminClient(server) as client:
        client.set_limit(limit)
    Console().print(f"limit {limit_id} is set", highlight=False)


@limits_app.command("delete")
def delete_limit(
    limit_id: Annotated[str, typer.Argument(help="Names the limit.")],
    server: Server = DEFAULT_ADDRESS,
) -> None:
    """Remove a limit."""
    with AdminClient(server) as client:
        client.delete_limit(limit_id)
    Console().print(f"limit {limit_id} is gone", highlight=False)


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (quote, settle, release, usage, decisions, erase, backup):
        app.command()(command)
    app.add_typer(limits_app, name="limits")
