"""``mitsumori limits``: budgets, quotas and rates."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from mitsumori.v1 import limit_pb2
from router.cli.commands.arguments import Json, choice, labels_of
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import as_dict, console, print_json, table
from router.core.errors import InvalidInput
from router.core.money import parse_usd, short_usd

__all__ = ["delete_limit", "list_limits", "set_limit"]

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


def _share(limit: limit_pb2.Limit) -> str:
    free = f" from {_amount(limit.free, limit.unit)}" if limit.free else ""
    return f"{100 * limit.share:.6g}%{free}"


def _parsed_share(text: str | None) -> float | None:
    """A share of the command line, such as ``10%`` or ``0.1``."""
    if text is None:
        return None
    try:
        found = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except InvalidOperation:
        found = Decimal(0)
    if not found.is_finite() or not 0 < found < 1:
        raise InvalidInput(
            f"--share: {text!r} is not between 0 and 100 %; write 10% or 0.1", field="share"
        )
    return float(found)


def _limit_row(status: limit_pb2.LimitStatus, balances: bool, shares: bool) -> list[str]:
    """A row of the table, with balances and shares where some are shown."""
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
    if shares:
        row.append(_share(limit) if limit.HasField("share") else "–")
    if balances:
        row += [
            _amount(status.spent, limit.unit),
            _amount(status.held, limit.unit),
            _amount(status.remaining, limit.unit) if status.HasField("remaining") else "–",
        ]
    return row


@takes_connection(admin=True)
def list_limits(
    connection: Connection,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label", help="Show the balances that a decision with this label uses; repeatable."
        ),
    ] = None,
    json_output: Json = False,
) -> None:
    """List every limit; with labels, only those that apply, and their balances."""
    wanted = labels_of(labels, "--label")
    with connection.admin() as client:
        found = client.limits(wanted)
    if json_output:
        print_json([as_dict(status) for status in found])
        return
    shares = any(status.limit.HasField("share") for status in found)
    columns = ["limit", "scope", "unit", "window", ">soft", ">hard"]
    columns += [">share"] if shares else []
    columns += [">spent", ">held", ">left"] if wanted else []
    rows = [_limit_row(status, bool(wanted), shares) for status in found]
    console().print(table("Limits", columns, rows))


@takes_connection(admin=True)
def set_limit(
    connection: Connection,
    limit_id: Annotated[str, typer.Argument(help="Names the limit.")],
    hard: Annotated[
        str | None, typer.Option(help="Value that is never exceeded; USD for money.")
    ] = None,
    soft: Annotated[str | None, typer.Option(help="Value from which --on-soft applies.")] = None,
    unit: Annotated[str, typer.Option(help=f"One of {', '.join(_UNITS)}.")] = "money",
    window: Annotated[str, typer.Option(help=f"One of {', '.join(_WINDOWS)}.")] = "month",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Labels that it applies to, such as team=search or user=*; repeatable."),
    ] = None,
    time_zone: Annotated[
        str, typer.Option(help="IANA time zone of days, weeks and months.")
    ] = "UTC",
    on_soft: Annotated[str, typer.Option(help=f"One of {', '.join(_ACTIONS)}.")] = "warn",
    paced: Annotated[
        bool, typer.Option("--paced", help="Spread spend evenly over the window.")
    ] = False,
    share: Annotated[
        str | None,
        typer.Option(
            help="Largest share of what the scope takes without its tier, model and provider, such as 10%."
        ),
    ] = None,
    free: Annotated[
        str | None,
        typer.Option(help="With --share: what may be taken at any share; USD for money."),
    ] = None,
    json_output: Json = False,
) -> None:
    """Create a limit, or replace the one with the same id."""
    if hard is None and soft is None and share is None:
        raise InvalidInput("give --hard, --soft or --share, such as --hard 500", field="hard")
    limit = limit_pb2.Limit(
        limit_id=limit_id,
        scope=labels_of(scope, "--scope"),
        unit=choice(unit, _UNITS, "--unit"),
        window=choice(window, _WINDOWS, "--window"),
        time_zone=time_zone,
        soft=_value(soft, unit, "--soft"),
        hard=_value(hard, unit, "--hard"),
        on_soft=choice(on_soft, _ACTIONS, "--on-soft"),
        paced=paced,
        share=_parsed_share(share),
        free=_value(free, unit, "--free"),
    )
    with connection.admin() as client:
        made = client.set_limit(limit)
    if json_output:
        print_json(as_dict(made))
        return
    console().print(f"limit {limit_id} is set", highlight=False)
    for note in made.notes:
        console().print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)


@takes_connection(admin=True)
def delete_limit(
    connection: Connection,
    limit_id: Annotated[str, typer.Argument(help="Names the limit.")],
) -> None:
    """Delete a limit."""
    with connection.admin() as client:
        client.delete_limit(limit_id)
    console().print(f"limit {limit_id} is deleted", highlight=False)
