"""``mitsumori settle | release``: what became of a decision."""

from __future__ import annotations

from typing import Annotated

import typer

from mitsumori.v1 import router_pb2
from router.cli.commands.arguments import Json, Server, Tenant, choice, router_client
from router.cli.render import as_dict, console, price_text, print_json
from router.core.money import parse_usd
from router.rpc.messages.values import nanos

__all__ = ["release", "settle"]

_OUTCOMES = {
    name.removeprefix("OUTCOME_").lower(): value
    for name, value in router_pb2.Outcome.items()
    if value
}


def settle(
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    input_tokens: Annotated[int, typer.Option(help="Input tokens, cached ones included.")],
    output_tokens: Annotated[int, typer.Option(help="Output tokens, reasoning included.")],
    cached_input_tokens: Annotated[int, typer.Option(help="Of the input, from the cache.")] = 0,
    reasoning_tokens: Annotated[int, typer.Option(help="Of the output, hidden reasoning.")] = 0,
    latency: Annotated[float | None, typer.Option(help="Of the whole answer, seconds.")] = None,
    outcome: Annotated[str, typer.Option(help=f"One of {', '.join(_OUTCOMES)}.")] = "success",
    model: Annotated[str, typer.Option(help="The model called (default: the chosen one).")] = "",
    cost: Annotated[str | None, typer.Option(help="What the provider charged, USD.")] = None,
    quality: Annotated[float | None, typer.Option(help="Of the answer, 0 to 1.")] = None,
    tenant: Tenant = "",
    server: Server = "",
    json_output: Json = False,
) -> None:
    """Report what a decision really took; its hold turns into spend."""
    choice(outcome, _OUTCOMES, "--outcome")
    with router_client(server) as client:
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
    console().print(f"booked {price_text(reply.spent)} {', '.join(notes)}", highlight=False)


def release(
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    tenant: Tenant = "",
    server: Server = "",
) -> None:
    """Give a hold back, for a call that was never made."""
    with router_client(server) as client:
        now = client.release(decision_id, tenant=tenant)
    console().print("released" if now else "had been given back before")
