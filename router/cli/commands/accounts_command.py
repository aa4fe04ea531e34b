"""``mitsumori usage | decisions | corrections | erase | backup``: reports, and care of the decision log."""

from __future__ import annotations

from datetime import UTC, timedelta
from decimal import Decimal
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from mitsumori import Admin
from mitsumori.money import nanos_of
from mitsumori.v1 import admin_pb2
from router.cli.commands.arguments import (
    STATES,
    Against,
    CurrencyText,
    Json,
    Labels,
    Out,
    Since,
    Until,
    filter_of,
    labels_of,
    moment_of,
    show,
)
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import as_dict, console, price_text, print_json, table
from router.clock import utc_now
from router.core.corrections import LEARN_EVERY_S, PRIOR_STRENGTH
from router.core.errors import InvalidInput
from router.core.limits import CHOICE_LABELS
from router.core.plurals import counted
from router.decision_log.export import parse_currency, usd

__all__ = ["backup", "corrections", "decisions", "erase", "usage"]

_NAMES = {value: name for name, value in STATES.items()}


@takes_connection(admin=True)
def corrections(
    connection: Connection,
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    json_output: Json = False,
) -> None:
    """Show how accurate quotes were per model and scope, and the factors that now correct them.

    A second table shows how fast models are by their settled calls; with --json `models` has that.
    """
    with connection.admin() as client:
        found = client.corrections(model)
        speeds = [] if json_output else client.speeds(model)
    if json_output:
        print_json([as_dict(each) for each in found])
        return
    rows = [
        [
            each.model,
            " ".join(f"{name}={value}" for name, value in sorted(each.scope.items())) or "all",
            f"{each.observations:,}",
            f"× {each.tokens_factor:.2f}",
            *(f"× {x:.2f}" for x in (each.p50_factor, each.mean_factor, each.p90_factor)),
            f"{each.within_p50:.0%}",
            f"{each.within_p90:.0%}",
        ]
        for each in found
    ]
    columns = (
        "model", "scope", ">settled", ">tokens", ">length p50", ">mean", ">p90", ">within p50",
        ">within p90",
    )  # fmt: skip
    if not rows and not speeds:
        minutes, latest = LEARN_EVERY_S / 60, utc_now() + timedelta(seconds=LEARN_EVERY_S)
        console().print(
            "Nothing is learnt yet. A server learns from the settled decisions of its log when it starts and "
            f"every {minutes:g} minutes, so next by {latest:%H:%M:%S} UTC (with correct_from: 0 never). One "
            f"settled decision of a model is enough; {PRIOR_STRENGTH} weigh as much as what was quoted.",
            highlight=False,
        )
    if rows:
        console().print(table("Corrections from settled usage", columns, rows))
    if speeds:
        hour = utc_now().hour
        timed = [_speed_row(each, hour) for each in speeds]
        title = f"Latency from settled calls, now ({hour}:00 to {hour + 1}:00 UTC)"
        console().print(table(title, _SPEED_COLUMNS, timed))


_SPEED_COLUMNS = (
    "model", ">calls", "?>failed", ">first token", ">p90", ">tokens/s", "?>over the day", ">within p50",
    ">within p90",
)  # fmt: skip


def _speed_row(speed: admin_pb2.LearnedSpeed, hour: int) -> list[str]:
    now, rates = speed.hours[hour], [each.output_tokens_per_s for each in speed.hours]
    return [
        speed.model,
        f"{speed.calls:,}",
        f"{speed.unfinished:,}",
        f"{now.first_token_p50_s:.2f} s",
        f"{now.first_token_p90_s:.2f} s",
        f"{now.output_tokens_per_s:.0f}",
        f"{min(rates):.0f}–{max(rates):.0f}",
        f"{speed.within_p50:.0%}" if speed.HasField("within_p50") else "–",
        f"{speed.within_p90:.0%}" if speed.HasField("within_p90") else "–",
    ]


@takes_connection(admin=True)
def erase(
    connection: Connection,
    before: Annotated[
        str, typer.Option(help="Delete decisions made before this day or moment, ISO 8601.")
    ],
    labels: Labels = None,
    json_output: Json = False,
) -> None:
    """Delete finished decisions with given labels, for retention or at a user's request."""
    moment = moment_of(before, "--before")
    assert moment is not None  # noqa: S101 — a text was given
    with connection.admin() as client:
        erased = client.erase(labels_of(labels, "--label"), moment.ToDatetime(tzinfo=UTC))
    if json_output:
        print_json({"erased": erased})
        return
    console().print(
        f"{counted(erased, 'decision')} erased; balances keep what was spent", highlight=False
    )


def backup(
    target: Annotated[Path, typer.Argument(help="File to write.")],
    ledger: Annotated[
        str | None,
        typer.Option(
            envvar="MITSUMORI_LEDGER", help="Ledger to copy, sqlite:PATH (default: as for serve)."
        ),
    ] = None,
) -> None:
    """Copy a SQLite ledger to a file while the server keeps running."""
    from rich.progress import Progress

    from router.ledger.address import sqlite_path
    from router.ledger.sqlite.file import back_up
    from router.settings_sources import load_settings

    path = sqlite_path(load_settings(ledger=ledger).ledger)
    if path is None:
        raise InvalidInput("--ledger: only SQLite is backed up here; for PostgreSQL use pg_dump")
    told = console(stderr=True)
    # In a log or a mail of cron it would be an empty line.
    with Progress(console=told, transient=True, disable=not told.is_terminal) as progress:
        task = progress.add_task("copying", total=None)
        back_up(
            path,
            target,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    console().print(f"copied to {target}", highlight=False, soft_wrap=True)


_BUILT_IN = frozenset({*CHOICE_LABELS, "day"})
_NEWEST = 200
"""Decisions whose labels are read to find the one that was meant."""
_DECISIONS = (
    "decision_id", "state", "created", "model", "tier", "quoted_usd", "held_usd", "spent_usd", "tokens",
    "late", "labels",
)  # fmt: skip
# Columns of the table; files and --json also have the sums that the ratios come from.
_TABLE_COLUMNS = (
    ">decisions", ">tokens", ">spent", ">held", ">quoted / spent", ">overruns", ">unused holds", ">overage",
)  # fmt: skip
_USAGE = (
    "decisions", "settled", "overruns", "tokens", "spent_usd", "held_usd", "quoted_usd",
    "reserved_usd", "unused_usd", "overage_usd", "quoted_over_spent", "overrun_rate",
    "over_reservation_rate",
)  # fmt: skip


@takes_connection(admin=True)
def usage(
    connection: Connection,
    by: Annotated[
        str,
        typer.Option(
            help="What to group by, comma-separated: model, provider, tier, day, or labels such as team."
        ),
    ] = "model",
    labels: Labels = None,
    since: Since = None,
    until: Until = None,
    time_zone: Annotated[str, typer.Option(help="IANA time zone of days.")] = "UTC",
    currency: CurrencyText = None,
    savings: Annotated[
        bool,
        typer.Option(
            "--savings",
            help="Say what the choices saved against one model, from what was left to chance.",
        ),
    ] = False,
    always: Against = "",
    out: Out = None,
    json_output: Json = False,
) -> None:
    """Show spend by label, model, tier or day, and how accurate quotes and holds were.

    Three columns describe the settled decisions. quoted / spent: their expected cost divided by their
    actual cost. overruns: the share that cost more than their hold. unused holds: the share of the held
    money that was not needed.

    --savings reads the records of the decisions. It goes to standard error, so that files and JSON stay
    as they are.
    """
    groups = [name for name in by.split(",") if name]
    display = parse_currency(currency) if currency else None
    chosen = filter_of(labels, since, until)
    with connection.admin() as client:
        found = client.usage(chosen, groups, time_zone)
        for note in _notes_on_groups(client, chosen, groups, found):
            console(stderr=True).print(f"note: {note}", highlight=False, markup=False)
        for line in _savings(client, chosen, always) if savings or always else ():
            console(stderr=True).print(line, highlight=False, markup=False)
    if out is None and not json_output:
        columns = [*groups, *_TABLE_COLUMNS, *([f">spent, {display}"] if display else [])]
        rows = [
            _seen(row) + ([display.text(nanos_of(row.spent))] if display else []) for row in found
        ]
        console().print(table("Usage", columns, rows))
        return
    columns = [*groups, *_USAGE, *([f"spent_{display.column}"] if display else [])]
    values = [
        _usage_row(row) + ([display.convert(nanos_of(row.spent))] if display else [])
        for row in found
    ]
    show("Usage", columns, values, out, json_output)


def _savings(client: Admin, chosen: admin_pb2.DecisionFilter, model: str) -> list[str]:
    """What the decisions of a filter saved against a single model."""
    from router.cli.render import savings_lines
    from router.decision_log.reader import LoggedDecision
    from router.decision_log.record_json import RecordError, parse
    from router.decision_log.savings import SavingsTally

    tally = SavingsTally()
    for row in client.decisions(chosen):
        try:
            record = parse(row.record_json)
        except RecordError as error:
            tally.left_out[error.reason] += 1
            continue
        spent = nanos_of(row.spent) if row.HasField("spent") else None
        created = row.create_time.ToDatetime(tzinfo=UTC)
        tally.add(
            LoggedDecision(
                row.decision_id, _NAMES[row.state], created, dict(row.labels), spent, record
            )
        )
    return savings_lines(tally.savings(model))


def _notes_on_groups(
    client: Admin,
    chosen: admin_pb2.DecisionFilter,
    groups: list[str],
    found: list[admin_pb2.UsageRow],
) -> list[str]:
    """A note on every group that is no label of a decision that was counted."""
    nobodys = [
        name
        for place, name in enumerate(groups)
        if found and name not in _BUILT_IN and not any(row.group[place] for row in found)
    ]
    if not nobodys:
        return []
    newest = islice(client.decisions(chosen, newest_first=True), _NEWEST)
    known = sorted(_BUILT_IN.union(*(row.labels for row in newest)))
    return [
        f"no decision counted here has the label {name}; "
        + (
            f"did you mean {near[0]}?"
            if (near := get_close_matches(name, known, n=1))
            else f"group by {', '.join(known)}"
        )
        for name in nobodys
    ]


def _rate(part: int, whole: int) -> Decimal | None:
    """``part / whole`` to four decimals; ``None`` if ``whole`` is 0."""
    return (Decimal(part) / whole).quantize(Decimal("0.0001")) if whole else None


def _rates(row: admin_pb2.UsageRow) -> list[Decimal | None]:
    return [
        _rate(nanos_of(row.quoted), nanos_of(row.spent)),
        _rate(row.overruns, row.settled),
        _rate(nanos_of(row.unused), nanos_of(row.reserved)),
    ]


def _usage_row(row: admin_pb2.UsageRow) -> list[Any]:
    amounts = (row.spent, row.held, row.quoted, row.reserved, row.unused, row.overage)
    money = [usd(nanos_of(amount)) for amount in amounts]
    counts = [row.decisions, row.settled, row.overruns, row.tokens]
    return [*row.group, *counts, *money, *_rates(row)]


def _seen(row: admin_pb2.UsageRow) -> list[str]:
    ratio, overruns, unused = _rates(row)
    return [
        *row.group,
        f"{row.decisions:,}",
        f"{row.tokens:,}",
        price_text(row.spent),
        price_text(row.held),
        "–" if ratio is None else f"{ratio:.2f}",
        "–" if overruns is None else f"{overruns:.1%}",
        "–" if unused is None else f"{unused:.1%}",
        price_text(row.overage),
    ]


@takes_connection(admin=True)
def decisions(
    connection: Connection,
    labels: Labels = None,
    since: Since = None,
    until: Until = None,
    state: Annotated[str | None, typer.Option(help=f"One of {', '.join(STATES)}.")] = None,
    last: Annotated[
        int | None, typer.Option(help="Show only this many decisions, newest first.", min=1)
    ] = None,
    currency: CurrencyText = None,
    out: Out = None,
    json_output: Json = False,
) -> None:
    """List decisions, oldest first; with --last, the newest ones, newest first."""
    display = parse_currency(currency) if currency else None
    with connection.admin() as client:
        chosen = filter_of(labels, since, until, state)
        found = list(islice(client.decisions(chosen, newest_first=last is not None), last))
    if out is None and not json_output:
        columns = (
            "decision", "made (UTC)", "state", "model", "?>quoted", ">held", ">spent", "?>tokens", "?scope",
            *([f">spent, {display}"] if display else []),
        )  # fmt: skip
        rows = [
            _seen_decision(row) + ([display.text(nanos_of(row.spent))] if display else [])
            for row in found
        ]
        console().print(table("Decisions", columns, rows))
        return
    names = [*_DECISIONS, *([f"spent_{display.column}"] if display else []), "record"]
    values = []
    for row in found:
        converted = display.convert(nanos_of(row.spent)) if display else None
        shown = [converted if row.HasField("spent") else None] if display else []
        values.append([*_decision_row(row), *shown, row.record_json])
    show("Decisions", names, values, out, json_output)


def _seen_decision(row: admin_pb2.DecisionRow) -> list[str]:
    return [
        row.decision_id,
        f"{row.create_time.ToDatetime():%Y-%m-%d %H:%M:%S}",
        _NAMES[row.state] + (" late" if row.late else ""),
        row.labels.get("model", ""),
        price_text(row.quoted),
        price_text(row.held),
        price_text(row.spent) if row.HasField("spent") else "–",
        f"{row.tokens:,}" if row.HasField("spent") else "–",
        " ".join(f"{k}={v}" for k, v in sorted(row.labels.items()) if k not in CHOICE_LABELS),
    ]


def _decision_row(row: admin_pb2.DecisionRow) -> list[Any]:
    return [
        row.decision_id,
        _NAMES[row.state],
        row.create_time.ToJsonString(),
        row.labels.get("model", ""),
        row.labels.get("tier", ""),
        usd(nanos_of(row.quoted)),
        usd(nanos_of(row.held)),
        usd(nanos_of(row.spent)) if row.HasField("spent") else None,
        row.tokens,
        row.late,
        " ".join(f"{name}={value}" for name, value in sorted(row.labels.items())),
    ]
