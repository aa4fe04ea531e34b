"""``mitsumori settle | release``: what became of a decision."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from mitsumori.client import OUTCOMES, RouterClient
from mitsumori.retrying_channel import DEFAULT_ADDRESS
from router.cli.commands.arguments import Json, Server, Tenant, choice
from router.cli.render import as_dict, price_text, print_json
from router.core.money import parse_usd
from router.rpc.messages.values import nanos

__all__ = ["release", "settle"]


def settle(
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    input_tokens: Annotated[int, typer.Option(help="Input tokens, cached ones included.")],
    output_tokens: Annotated[int, typer.Option(help="Output tokens, reasoning included.")],
    cached_input_tokens: Annotated[int, typer.Option(help="Of the input, from the cache.")] = 0,
    reasoning_tokens: Annotated[int, typer.Option(help="Of the output, hidden reasoning.")] = 0,
    latency: Annotated[float | None, typer.Option(help="Of the whole answer, seconds.")] = None,
    outcome: Annotated[str, typer.Option(help=f"One of {', '.join(OUTCOMES)}.")] = "success",
    model: Annotated[str, typer.Option(help="The model called (default: the chosen one).")] = "",
    cost: Annotated[str | None, typer.Option(help="What the provider charged, USD.")] = None,
    quality: Annotated[float | None, typer.Option(help="Of the answer, 0 to 1.")] = None,
    tenant: Tenant = "",
    server: Server = DEFAULT_ADDRESS,
    json_output: Json = False,
) -> None:
    """Report what a decision really took; its hold turns into spend."""
    choice(outcome, OUTCOMES, "--outcome")
    with RouterClient(server) as client:
        reply = client.settle(
            decision_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_input_tokens=cached_input_tokens,
            reasoning_tokens=reasoning_tokens,
            latency_s=latency,
            outcome=outcome,  # type: ignore[arg-type]  # checked above
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
