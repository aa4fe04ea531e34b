"""``mitsumori route``: ask for a decision about one prompt."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mitsumori import Router, Usd
from mitsumori.request import Importance
from router.cli.commands.arguments import Json, Server, goal_of, labels_of
from router.cli.render import as_dict, print_json, print_reply
from router.core.money import parse_usd
from router.core.types import QualityTarget, WillingnessToPay

__all__ = ["route"]


def route(
    prompt: Annotated[str, typer.Argument(help="Prompt; - reads it from standard input.")],
    server: Server = "",
    quality_target: Annotated[
        float | None, typer.Option(help="P(adequate) to reach, 0 to 1.")
    ] = None,
    willingness_to_pay: Annotated[
        str | None, typer.Option(help="What an adequate answer is worth, USD.")
    ] = None,
    importance: Annotated[
        Importance,
        typer.Option(
            help="How costly a wrong answer would be; without a goal, it is weighed against prices."
        ),
    ] = "medium",
    model: Annotated[
        list[str] | None, typer.Option(help="Allow only this model; repeatable.")
    ] = None,
    tier: Annotated[
        list[str] | None, typer.Option(help="Allow only this tier; repeatable.")
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option(help="Require this capability; repeatable.")
    ] = None,
    max_price: Annotated[
        str | None, typer.Option(help="Highest price at the 90th percentile, USD.")
    ] = None,
    max_latency: Annotated[
        float | None, typer.Option(help="Longest latency at the 90th percentile, seconds.")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Largest number of output tokens the call will allow.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Label of the caller, such as team=search; repeatable.")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option(help="Id of the request; the same id gets the same answer again.")
    ] = None,
    quote_only: Annotated[
        bool, typer.Option("--quote-only", help="Ask for the price only; hold no money.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for the whole call.", min=0.001)] = 5.0,
    json_output: Json = False,
) -> None:
    """Ask a running server which model should answer a prompt, and at what price.

    The quoted money is held against budgets until `settle`, `release`, or the hold expires.
    """
    text = sys.stdin.read() if prompt == "-" else prompt
    goal = goal_of(quality_target, willingness_to_pay)
    most = None if max_price is None else Usd(parse_usd(max_price, field="--max-price"))
    labels = labels_of(scope, "--scope")
    with Router(server, timeout_s=timeout) as client:
        reply = client.route(
            text,
            scope=labels,
            models=model or (),
            tiers=tier or (),
            capabilities=capability or (),
            max_price_usd=most,
            max_latency_s=max_latency,
            max_output_tokens=max_output_tokens,
            quality_target=goal.p_adequate if isinstance(goal, QualityTarget) else None,
            willingness_to_pay_usd=Usd(goal.nanos) if isinstance(goal, WillingnessToPay) else None,
            importance=importance,
            request_id=request_id,
            quote_only=quote_only,
        ).message
    if json_output:
        print_json(as_dict(reply))
    else:
        print_reply(reply, labels.get("tenant", ""))
