"""What people see on a terminal: tables of models, decisions and checks."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.type.money_pb2 import Money

from mitsumori.money import nanos_of
from mitsumori.v1 import router_pb2
from router.core.money import short_usd
from router.core.plurals import counted

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

    from router.core.off_policy import Interval
    from router.decision_log.savings import Savings

__all__ = [
    "FittedTable",
    "as_dict",
    "console",
    "demo_table",
    "price_text",
    "print_json",
    "print_reply",
    "savings_lines",
    "table",
]

WIDE = 120
"""Width of a terminal, in characters, from which tables show every column."""
_UNLIMITED = 100_000
"""Width where standard output is no terminal: whatever reads a pipe or a file gets whole lines."""


def console(*, stderr: bool = False, soft_wrap: bool = False) -> Console:
    """A console of rich, without a limit of width where it is no terminal.

    Rich is imported only when something is printed.
    """
    from rich.console import Console

    made = Console(stderr=stderr, soft_wrap=soft_wrap)
    if not made.is_terminal:
        made.width = _UNLIMITED
    return made


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


@dataclass(frozen=True, slots=True)
class FittedTable:
    """A table that never shortens a cell.

    Numbers and the first column stay on one line; other texts are folded. Where that does not fit, the
    headings are folded, and where that is not enough, each row is a block with one line per column.

    Attributes:
        title: printed above it.
        columns: names; a leading ``>`` marks numbers, which are aligned to the right; a leading ``?`` drops
            the column on a terminal narrower than :data:`WIDE`.
        rows: a cell per column, in rich's markup.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The widest form that fits, as rich asks for it."""
        from rich.measure import Measurement

        width = options.max_width
        shown = [i for i, name in enumerate(self.columns) if width >= WIDE or name[0:1] != "?"]
        free = options.update_width(_UNLIMITED)
        for made in (self._table(shown, folded=False), self._table(shown, folded=True)):
            if Measurement.get(console, free, made).minimum <= width:
                yield made
                return
        yield from self._blocks(shown)

    def _table(self, shown: Sequence[int], *, folded: bool) -> Table:
        from rich.cells import cell_len
        from rich.table import Table
        from rich.text import Text

        made = Table(title=self.title, title_justify="left", header_style="bold", expand=False)
        for place in shown:
            number, name = ">" in self.columns[place], self.columns[place].lstrip("?>")
            cells = [Text.from_markup(row[place]).cell_len for row in self.rows]
            if folded:
                name = "\n".join(wrap(name, max([1, *cells]), break_long_words=False))
            whole = number or place == shown[0]
            made.add_column(
                name,
                justify="right" if number else "left",
                no_wrap=whole,
                min_width=max([0, *cells, *map(cell_len, name.split("\n"))]) if whole else None,
                overflow="fold",
            )
        for row in self.rows:
            made.add_row(*(row[place] for place in shown))
        return made

    def _blocks(self, shown: Sequence[int]) -> RenderResult:
        from rich.cells import cell_len, set_cell_size
        from rich.text import Text

        first, *others = shown
        names = {place: " ".join(self.columns[place].lstrip("?>").split()) for place in others}
        width = max([0, *map(cell_len, names.values())])
        if self.title:
            yield Text(self.title, style="italic")
        for row in self.rows:
            yield Text.assemble((Text.from_markup(row[first]).plain, "bold"), overflow="fold")
            for place, name in names.items():
                yield Text.assemble(
                    f"  {set_cell_size(name, width)}  ",
                    Text.from_markup(row[place]),
                    overflow="fold",
                )


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> FittedTable:
    """A plain table that fits the terminal without shortening a cell: see :class:`FittedTable`.

    Args:
        title: printed above it.
        columns: names, with marks.
        rows: a cell per column.
    """
    return FittedTable(title, tuple(columns), tuple(map(tuple, rows)))


def _option_row(option: router_pb2.Option, miss_cost: int | None) -> list[str]:
    quote = option.quote
    expected = nanos_of(quote.price.expected)
    risk = round((1 - option.p_adequate) * (miss_cost or 0))
    tokens = f"{'' if quote.input_tokens.exact else '~'}{quote.input_tokens.tokens:,}"
    return [
        option.model,
        option.tier,
        f"{option.p_adequate:.2f}",
        tokens,
        f"{quote.output_tokens.p50:,}–{quote.output_tokens.p90:,}",
        price_text(quote.price.low),
        short_usd(expected),
        *([] if miss_cost is None else [short_usd(expected + risk)]),
        price_text(quote.price.high),
        price_text(quote.price.worst),
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
    miss_cost = nanos_of(reply.miss_cost) if reply.HasField("miss_cost") else None
    columns = (
        "model", "?tier", ">P(adequate)", ">tokens in", "?>tokens out",
        "?>low", ">expected", *([] if miss_cost is None else [">with risk"]), ">high", "?>worst", "?>latency",
    )  # fmt: skip
    options = (reply.chosen, *reply.alternatives)
    rows = [_option_row(option, miss_cost) for option in options]
    shown.print(table("Quotes, best first", columns, rows))
    if miss_cost is not None:
        text = (
            f"With risk: expected + (1 − P(adequate)) × {short_usd(miss_cost)}, the cost of a miss at this "
            "complexity."
        )
        shown.print(text, style="dim", highlight=False)
    shown.print(_what_p_rests_on(options), style="dim", highlight=False, markup=False)
    allowed = [
        f"{option.model} {reasoning.p50:,}–{reasoning.p90:,}"
        for option in options
        if (reasoning := option.quote.reasoning_tokens).p90
    ]
    if allowed:
        text = f"Of the tokens out, hidden reasoning: {', '.join(allowed)}."
        shown.print(text, style="dim", highlight=False)
    _print_hold(reply, tenant, shown)
    if reply.HasField("task"):
        task = reply.task
        left, cap = short_usd(nanos_of(task.left)), short_usd(nanos_of(task.cap))
        shown.print(
            f"Turn {task.turns:,} of task {task.task_id}: {left} of {cap} are left.",
            highlight=False,
            markup=False,
        )
    shown.print(
        f"~ estimated. Prices: {reply.chosen.quote.price_table_version}. "
        f"Decision {reply.decision_id}",
        style="dim",
        highlight=False,
    )


def _what_p_rests_on(options: Iterable[router_pb2.Option]) -> str:
    """Of each model what its P(adequate) rests on; those that rest on their tier together."""
    known = {option.model: option.p_adequate_basis for option in options}
    own = [f"{model} {basis}" for model, basis in known.items() if not basis.startswith("its tier")]
    if not own:
        return "P(adequate) rests on the tier of each model."
    others = "; the others on their tier" if len(own) < len(known) else ""
    return f"P(adequate) rests on: {'; '.join(own)}{others}."


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


def savings_lines(found: Savings) -> list[str]:
    """What was saved against a single model, and what cannot be said, a line each."""

    def usd(amount: float) -> str:
        shown = short_usd(round(abs(amount) * 1e9))
        return f"−{shown}" if amount < 0 else shown

    def interval(one: Interval, form: Callable[[float], str]) -> str:
        return f"{form(one.value)} (95 %: {form(one.low)} … {form(one.high)})"

    lines = []
    if found.saved_usd is not None:
        lines.append(
            f"saved against always {found.model}: {interval(found.saved_usd, usd)} in {found.covered:,} of "
            f"{counted(found.decisions, 'decision')}, which cost {usd(found.spent_usd)}; chance chose it "
            f"{counted(found.trials, 'time')} where another was the best"
        )
    if found.quality_gained is not None:
        lines.append(
            f"mean quality against always {found.model}: "
            f"{interval(found.quality_gained, '{:+.3f}'.format)}, of {found.judged:,} that were judged"
        )
    told = "savings against one model" + (f", {found.model}" if found.model else "")
    return [*lines, *(f"{told}: {line}" for line in found.cautions)]


def demo_table(replies: Iterable[tuple[str, router_pb2.RouteResponse]]) -> FittedTable:
    """One row per prompt: its complexity, the chosen model, P(adequate) of it, and the quote."""

    def row(name: str, reply: router_pb2.RouteResponse) -> list[str]:
        chosen, price = reply.chosen, reply.chosen.quote.price
        return [
            name,
            f"{reply.assessment.complexity:.2f}",
            chosen.tier,
            chosen.model,
            f"{chosen.p_adequate:.0%}",
            price_text(price.low),
            price_text(price.expected),
            price_text(price.high),
        ]

    return table(
        "Which model, and what will it cost?",
        (
            "prompt", ">complexity", "tier", "model", ">P(adequate)", ">low", ">expected", ">high",
        ),
        [row(name, reply) for name, reply in replies],
    )  # fmt: skip
