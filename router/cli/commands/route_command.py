"""``mitsumori route``: ask for a decision about one prompt."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mitsumori import Usd
from router.cli.commands.arguments import Json, goal_of, labels_of
from router.cli.commands.connection import Connection, takes_connection
from router.cli.commands.request_options import (
    BatchOption,
    CapabilitiesOption,
    ImportanceOption,
    LanguageOption,
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
    language_of,
)
from router.cli.explanation_view import print_explanation
from router.cli.render import as_dict, console, print_json, print_reply
from router.core.money import parse_usd
from router.core.types import QualityTarget, WillingnessToPay

__all__ = ["route"]


@takes_connection()
def route(
    connection: Connection,
    prompt: Annotated[str, typer.Argument(help="Prompt; - reads it from standard input.")],
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
    batch: BatchOption = False,
    request_id: Annotated[
        str | None, typer.Option(help="Id of the request; the same id gets the same answer again.")
    ] = None,
    task_id: Annotated[
        str, typer.Option(help="Of the task whose turn this is: the hold is drawn from its cap.")
    ] = "",
    quote_only: Annotated[
        bool, typer.Option("--quote-only", help="Ask for the price only; hold no money.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say what each model lost to, and what would have to change."
        ),
    ] = False,
    language: LanguageOption = "",
    timeout: Annotated[float, typer.Option(help="Seconds for the whole call.", min=0.001)] = 5.0,
    json_output: Json = False,
) -> None:
    """Ask a running server which model should answer a prompt, and at what price.

    The quoted money is held against budgets until `settle`, `release`, or the hold expires.
    """
    told_in = language_of(language)
    text = sys.stdin.read() if prompt == "-" else prompt
    goal = goal_of(quality_target, willingness_to_pay)
    most = None if max_price is None else Usd(parse_usd(max_price, field="--max-price"))
    labels = labels_of(scope, "--scope")
    with connection.router(timeout_s=timeout) as client:
        reply = client.route(
            text,
            scope=labels,
            models=model or (),
            tiers=tier or (),
            capabilities=capability or (),
            regions=region or (),
            max_price_usd=most,
            max_latency_s=max_latency,
            max_first_token_s=max_first_token,
            max_output_tokens=max_output_tokens,
            quality_target=goal.p_adequate if isinstance(goal, QualityTarget) else None,
            willingness_to_pay_usd=Usd(goal.nanos) if isinstance(goal, WillingnessToPay) else None,
            importance=importance,
            batch=batch,
            request_id=request_id,
            quote_only=quote_only,
            explain=explain,
            task_id=task_id,
        ).message
    if json_output:
        print_json(as_dict(reply))
    else:
        print_reply(reply, labels.get("tenant", ""))
        if reply.HasField("explanation"):
            console().print()
            print_explanation(reply.explanation, told_in)
