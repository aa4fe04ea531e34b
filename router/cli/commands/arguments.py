"""What the commands share: options, parsers of their texts, and output as table, JSON or file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from mitsumori.v1 import admin_pb2
from router.cli.render import console, print_json, table
from router.core.errors import InvalidInput
from router.core.money import parse_usd
from router.core.plurals import counted
from router.core.types import TARGET_REGRET, Goal, MissCost, QualityTarget, WillingnessToPay
from router.decision_log.export import write_table

__all__ = [
    "STATES",
    "Against",
    "CurrencyText",
    "Json",
    "Labels",
    "Out",
    "Since",
    "Tenant",
    "Until",
    "choice",
    "filter_of",
    "goal_of",
    "labels_of",
    "moment_of",
    "show",
]


Against = Annotated[
    str,
    typer.Option(
        "--always",
        help="Compare what was chosen with always this model (default: the cheapest that was expected to be "
        "as adequate).",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label", help="Only decisions with this label, such as team=search; repeatable."
    ),
]
Since = Annotated[
    str | None, typer.Option(help="Only decisions from this day or moment on, ISO 8601.")
]
Until = Annotated[
    str | None, typer.Option(help="Only decisions before this day or moment, ISO 8601.")
]
Out = Annotated[
    Path | None, typer.Option(help="Write this .csv, .jsonl or .parquet file instead of a table.")
]
CurrencyText = Annotated[
    str | None,
    typer.Option(
        "--currency",
        envvar="MITSUMORI_CURRENCY",
        help="Also show amounts in this currency, at a dated rate: JPY=154.30@2026-11-20.",
    ),
]
Tenant = Annotated[str, typer.Option(help="Tenant label of the request, if it had one.")]

STATES = {
    name.removeprefix("DECISION_STATE_").lower(): value
    for name, value in admin_pb2.DecisionState.items()
    if value
}


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


def goal_of(
    quality_target: float | None,
    willingness_to_pay: str | None,
    miss_cost: str | None = None,
    *,
    target_regret: float = TARGET_REGRET,
) -> Goal | None:
    """A goal from the values of options; ``None`` where none is given.

    Args:
        quality_target: P(adequate) to reach, 0..1.
        willingness_to_pay: what an adequate answer is worth, USD.
        miss_cost: what an inadequate answer costs, USD.
        target_regret: of the quality target, 0..1.

    Raises:
        InvalidInput: more than one is given, or an amount has another form.
    """
    given = {
        "--quality-target": quality_target,
        "--willingness-to-pay": willingness_to_pay,
        "--miss-cost": miss_cost,
    }
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise InvalidInput(f"give {' or '.join(named)}, not both")
    if quality_target is not None:
        return QualityTarget(quality_target, target_regret)
    if willingness_to_pay is not None:
        return WillingnessToPay(parse_usd(willingness_to_pay, field="--willingness-to-pay"))
    if miss_cost is not None:
        return MissCost(parse_usd(miss_cost, field="--miss-cost"))
    return None


def choice(name: str, known: Mapping[str, int], option: str) -> Any:
    """The value of an enum of the protocol from its short name.

    Args:
        name: as given, such as ``money``.
        known: value by short name.
        option: the option that it was given to, for the error.

    Raises:
        InvalidInput: there is none of this name.
    """
    if name not in known:
        raise InvalidInput(f"{option}: {name!r} is none of {', '.join(known)}")
    return known[name]


def moment_of(text: str | None, option: str) -> Timestamp | None:
    """A moment from ISO 8601 text; without a time zone it is UTC.

    Raises:
        InvalidInput: the text has another form.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{option}: {text!r} is no day or moment such as 2026-11-01") from None
    stamp = Timestamp()
    stamp.FromDatetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return stamp


def filter_of(
    labels: list[str] | None, since: str | None, until: str | None, state: str | None = None
) -> admin_pb2.DecisionFilter:
    """A filter of the decision log from the texts of options.

    Args:
        labels: ``key=value`` texts; a decision must carry all of them.
        since: ISO 8601; only decisions made at or after it.
        until: ISO 8601; only decisions made before it.
        state: a name of :data:`STATES`; ``None``: every state.

    Raises:
        InvalidInput: one has another form; names the option.
    """
    return admin_pb2.DecisionFilter(
        labels=labels_of(labels, "--label"),
        since_time=moment_of(since, "--since"),
        until_time=moment_of(until, "--until"),
        state=choice(state, STATES, "--state") if state else None,
    )


def show(
    title: str,
    columns: Sequence[str],
    rows: list[list[Any]],
    out: Path | None,
    json_output: bool,
) -> None:
    """Print rows as a table or as JSON, or write them to a file; money stays exact in all of them.

    Args:
        title: of the table.
        columns: names.
        rows: a value per column.
        out: the file to write; ``None``: print.
        json_output: print JSON instead of a table.

    Raises:
        MitsumoriError: the file cannot be written.
    """
    if out is not None:
        count = write_table(out, columns, rows)
        console().print(
            f"{counted(count, 'row')} written to {out}", highlight=False, soft_wrap=True
        )
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
        console().print(table(title, columns, shown))
