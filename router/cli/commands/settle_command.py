"""``mitsumori settle | amend | release``: what a decision's call used, if it was made at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from mitsumori import OUTCOMES, CallFailed, Usd
from mitsumori.money import nanos_of
from router.cli.commands.arguments import Json, Tenant, choice
from router.cli.commands.connection import Connection, takes_connection
from router.cli.render import as_dict, console, print_json
from router.core.errors import InvalidInput, shown
from router.core.money import parse_usd, short_usd

__all__ = ["amend", "release", "settle"]


@contextmanager
def _tenant_named(decision_id: str, tenant: str) -> Iterator[None]:
    """Name the option that is missing where an id shows a tenant, and the caller is of every tenant.

    Raises:
        CallFailed: what the block raises, with the option in its message.
    """
    try:
        yield
    except CallFailed as error:
        of, separator, _ = decision_id.partition(":")
        if error.code == "NOT_FOUND" and separator and not tenant:
            raise InvalidInput(
                f"{error.message}; if it is one of the tenant {shown(of)}, say so with --tenant"
            ) from None
        raise


@takes_connection()
def settle(
    connection: Connection,
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    input_tokens: Annotated[int, typer.Option(help="Input tokens, including cached ones.")],
    output_tokens: Annotated[int, typer.Option(help="Output tokens, including reasoning.")],
    cached_input_tokens: Annotated[
        int, typer.Option(help="Input tokens that came from the cache.")
    ] = 0,
    reasoning_tokens: Annotated[
        int, typer.Option(help="Output tokens that were hidden reasoning.")
    ] = 0,
    latency: Annotated[
        float | None,
        typer.Option(help="Seconds until the whole answer had arrived, or the call had failed."),
    ] = None,
    first_token: Annotated[
        float | None, typer.Option(help="Seconds until the first token had arrived.")
    ] = None,
    outcome: Annotated[str, typer.Option(help=f"One of {', '.join(OUTCOMES)}.")] = "success",
    model: Annotated[
        str, typer.Option(help="Model that was called (default: the chosen one).")
    ] = "",
    cost: Annotated[str | None, typer.Option(help="Amount that the provider charged, USD.")] = None,
    quality: Annotated[float | None, typer.Option(help="Quality of the answer, 0 to 1.")] = None,
    tenant: Tenant = "",
    json_output: Json = False,
) -> None:
    """Report the usage of a decision's call; its hold turns into spend."""
    choice(outcome, OUTCOMES, "--outcome")
    with connection.router() as client, _tenant_named(decision_id, tenant):
        settled = client.settle(
            decision_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_input_tokens=cached_input_tokens,
            reasoning_tokens=reasoning_tokens,
            latency_s=latency,
            first_token_s=first_token,
            outcome=outcome,  # type: ignore[arg-type]  # checked above
            model=model,
            cost_usd=None if cost is None else Usd(parse_usd(cost, field="--cost")),
            quality=quality,
            tenant=tenant,
        )
    if json_output:
        print_json(as_dict(settled.message))
        return
    notes = [f"overage {short_usd(settled.overage.nanos)}"] if settled.overage.nanos else []
    notes += ["the hold had expired"] if settled.late else []
    notes += ["already booked by an earlier report"] if settled.repeated else []
    booked = f"booked {short_usd(settled.spent.nanos)}"
    console().print(", ".join([booked, *notes]), highlight=False)


@takes_connection(admin=True)
def amend(
    connection: Connection,
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    cost: Annotated[str, typer.Option(help="Amount that the call really cost, USD.")],
    reason: Annotated[str, typer.Option(help="Why, for the books: 1 to 500 characters.")],
    tokens: Annotated[
        int | None,
        typer.Option(help="Input and output tokens that it really used (default: as reported)."),
    ] = None,
    tenant: Tenant = "",
    json_output: Json = False,
) -> None:
    """Correct what a settled decision spent; its row keeps what was booked before, and why."""
    with connection.admin() as client, _tenant_named(decision_id, tenant):
        amended = client.amend(
            decision_id,
            cost_usd=Usd(parse_usd(cost, field="--cost")),
            reason=reason,
            tokens=tokens,
            tenant=tenant,
        )
    if json_output:
        print_json(as_dict(amended))
        return
    before, now = (short_usd(nanos_of(each)) for each in (amended.spent_before, amended.spent))
    again = ", as an earlier request had asked" if amended.repeated_request else ""
    console().print(f"booked {now} instead of {before}{again}", highlight=False)


@takes_connection()
def release(
    connection: Connection,
    decision_id: Annotated[str, typer.Argument(help="Of the decision.")],
    tenant: Tenant = "",
    json_output: Json = False,
) -> None:
    """Release the hold of a decision whose call was never made."""
    with connection.router() as client, _tenant_named(decision_id, tenant):
        now = client.release(decision_id, tenant=tenant)
    if json_output:
        print_json({"decision": decision_id, "released_now": now})
    else:
        console().print("released" if now else "was already released")
