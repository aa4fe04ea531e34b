"""What people see on a terminal: tables of models, decisions and checks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.type.money_pb2 import Money

from mitsumori.money import nanos_of
from mitsumori.v1 import router_pb2
from router.core.money import short_usd

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = [
    "as_dict",
    "console",
    "demo_table",
    "price_text",
    "print_json",
    "print_reply",
    "table",
]

WIDE = 120
"""Width of a terminal, in characters, from which tables show every column."""


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console of rich; rich is imported only when something is printed."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=soft_wrap)


def as_dict(message: Message) -> dict[str, Any]:
    """A message as JSON-ready values, with the names of the proto files, unset fields included."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def print_json(value: Any) -> None:
    """Print a value as indented JSON on standard output."""
    console(soft_wrap=True).print(
        json.dumps(value, indent=2, ensure_ascii=False), markup=False, highlight=False
    )


def price_text(amount: Money) -> str:
    """Money in short form."""
    return short_usd(nanos_of(amount))


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, width: int = WIDE
) -> Table:
    """A plain table.

    Args:
        title: printed above it.
        columns: names; a leading ``>`` aligns a column to the right, a leading ``?`` drops it on a terminal
            narrower than :data:`WIDE`.
        rows: a cell per column.
        width: of the terminal, characters.
    """
    from rich.table import Table

    shown = [place for place, name in enumerate(columns) if width >= WIDE or name[0] != "?"]
    made = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for place in shown:
        made.add_column(
            columns[place].lstrip("?>"),
            justify="right" if ">" in columns[place] else "left",
            no_wrap=place == 0,  # the name stays whole on a narrow terminal
        )
    for row in rows:
        made.add_row(*(row[place] for place in shown))
    return made


def _option_row(option: router_pb2.Option) -> list[str]:
    quote = option.quote
    tokens = f"{'' if quote.input_tokens.exact else '~'}{quote.input_tokens.tokens:,}"
    return [
        option.model,
        option.tier,
        f"{option.p_adequate:.2f}",
        tokens,
        f"{quote.output_tokens.p50:,}–{quote.output_tokens.p90:,}",
        *(
            price_text(amount)
            for amount in (
                quote.price.low,
                quote.price.expected,
                quote.price.high,
                quote.price.worst,
            )
        ),
        f"{quote.latency.p50.ToTimedelta().total_seconds():.1f} s",
    ]


def print_reply(reply: router_pb2.RouteResponse, tenant: str = "") -> None:
    """Print a reply: the chosen model, the reasons, all quotes, and the hold."""
    shown = console()
    assessment = reply.assessment
    labels = "  ".join(f"{arm.arm} {arm.p_label:.2f}" for arm in assessment.arms)
    shown.print(f"[bold]{reply.chosen.model}[/bold]  ({reply.chosen.provider})", highlight=False)
    for reason in reply.reasons:
        shown.print(f"  • {reason.text}", highlight=False, markup=False)
    shown.print(
        f"complexity {assessment.complexity:.2f}   cheapest adequate: {labels}  "
        f"none {assessment.p_none:.2f}   bundle {reply.bundle_version}",
        highlight=False,
        markup=False,
    )
    columns = (
        "model", "?tier", ">P(adequate)", ">tokens in", "?>tokens out",
        "?>low", ">expected", ">high", "?>worst", "?>latency",
    )  # fmt: skip
    options = (reply.chosen, *reply.alternatives)
    rows = [_option_row(option) for option in options]
    shown.print(table("Quotes, best first", columns, rows, width=shown.width))
    allowed = [
        f"{option.model} {reasoning.p50:,}–{reasoning.p90:,}"
        for option in options
        if (reasoning := option.quote.reasoning_tokens).p90
    ]
    if allowed:
        text = f"Of the tokens out, hidden reasoning: {', '.join(allowed)}."
        shown.print(text, style="dim", highlight=False)
    _print_hold(reply, tenant, shown)
    shown.print(
        f"~ estimated. Prices: {reply.chosen.quote.price_table_version}. "
        f"Decision {reply.decision_id}",
        style="dim",
        highlight=False,
    )


def _print_hold(reply: router_pb2.RouteResponse, tenant: str, shown: Console) -> None:
    """Print the hold, when it expires, and the commands that end it."""
    if not reply.HasField("hold"):
        shown.print("Nothing is held.", highlight=False)
        return
    owner = f" --tenant {shlex.quote(tenant)}" if tenant else ""
    until = reply.hold.expire_time.ToDatetime()
    shown.print(
        f"{price_text(reply.hold.amount)} is held until {until:%Y-%m-%d %H:%M:%S} UTC. After the call:\n"
        f"  mitsumori settle {reply.decision_id} --input-tokens N --output-tokens N{owner}\n"
        f"or, if it is not made (`route --quote-only` holds nothing):\n"
        f"  mitsumori release {reply.decision_id}{owner}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def demo_table(rows: Iterable[tuple[str, router_pb2.RouteResponse]]) -> Table:
    """One row per prompt: its label probabilities, the chosen model, the quote and the first reason."""

    def row(name: str, reply: router_pb2.RouteResponse) -> list[str]:
        price = reply.chosen.quote.price
        labels = [f"{arm.p_label:.2f}" for arm in reply.assessment.arms]
        return [
            name,
            " ".join([*labels, f"{reply.assessment.p_none:.2f}"]),
            reply.chosen.model,
            price_text(price.low),
            price_text(price.expected),
            price_text(price.high),
            reply.reasons[0].text,
        ]

    replies = list(rows)
    arms = " ".join(arm.arm for arm in replies[0][1].assessment.arms) if replies else ""
    return table(
        "Which model, and what will it cost?",
        (
            "prompt",
            f"P(cheapest adequate)\n{arms} none",
            "model",
            ">low",
            ">expected",
            ">high",
            "why",
        ),
        [row(name, reply) for name, reply in replies],
    )
